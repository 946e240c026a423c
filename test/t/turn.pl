
# The turn of a cycle where the books are not at home: a standby shows what the new
# cycle gives at its first instant, although nobody has booked it, and gives it once
# when it is promoted; a dump from before the turn, or from after it with nothing
# booked, gives it once where it is restored, and one with it booked not again.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $alice   = "'00000000-0000-4000-8000-00000000000a'";
my $bob     = "'00000000-0000-4000-8000-00000000000b'";
my $primary = PostgreSQL::Test::Cluster->new('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');
my $dir     = PostgreSQL::Test::Utils::tempdir();
my @reads   = map {
	("ducto_get_balance($_)", "ducto_list_grants($_)", "ducto_check_allowance($_)", "ducto_can_afford($_, 110)", "ducto_list_spend_caps($_)",
		"ducto_balance_at($_, '2090-03-31 22:00Z')", "ducto_balance_at($_, '2090-03-31 21:59:59.999999Z')", "ducto_get_user_plan($_)")
} ($alice, $bob);
push @reads, 'ducto_sweep_expired(dry_run => true)', "ducto_verify() WHERE check_name <> 'test clock'";

# clock_to moves the test clock of a database.
sub clock_to
{
	my ($session, $at) = @_;
	$session->run("SELECT ducto_advance_clock(timestamptz '$at' - ducto.clock())");
	is($session->sqlstate, '00000', "it is $at");
	return;
}

# shown is what a user has: balance, what is in grants, allowance left.
sub shown
{
	my ($session, $user) = @_;
	return join(' ', @{ $session->row("SELECT balance, (SELECT coalesce(sum(remaining), 0) FROM ducto_list_grants($user)), allowance_remaining"
			  . " FROM ducto_get_balance($user), ducto_check_allowance($user)") });
}

# rest is all that can be read, but for the time of the call.
sub rest
{
	my ($session) = @_;
	return join("\n", map { ($_, $session->run("SELECT * FROM $_")) } @reads);
}

# gifts lists what cycles gave, with the ids.
sub gifts
{
	my ($session) = @_;
	return join("\n", $session->run('SELECT account_id, seq, id, amount, balance_after, effective_at, expires_at FROM ducto.ledger WHERE cycle_end IS NOT NULL ORDER BY 1, 2'));
}

# wrong is what the auditor says, but for the test clock.
sub wrong
{
	my ($session) = @_;
	return join("\n", $session->run("SELECT * FROM ducto_verify() WHERE check_name <> 'test clock'"));
}

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off\nducto.test_clock = on");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION ducto');
$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# Alice's months are those of Berlin, what she saves lives on; Bob's begin with a 31st, and he is in debt.
my $here = Session->new($primary);
my $there = Session->new($standby);
clock_to($here, '2090-03-05 12:00Z');
$here->run(qq{SELECT ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {
		"pro": {"name": "Pro", "free_allowance": 30, "grants": [{"amount": 100, "rollover": {"max": 20, "cycles": 1}}],
			"caps": [{"cap_type": "monthly", "cap_limit": 500}]}}}');
	SELECT ducto_set_user_plan($alice, 'pro', timezone => 'Europe/Berlin');
	SELECT ducto_set_user_plan($bob, 'pro', anchor => '2090-01-31 22:00Z');
	SELECT ducto_charge($alice, 90, skip_allowance => true);
	SELECT ducto_charge($alice, 25);
	SELECT ducto_reserve($alice, 12, idempotency_key => 'hold', ttl_seconds => 2592000);
	SELECT ducto_charge($bob, 145, overrun => 'full')});
is($here->sqlstate, '00000', 'the primary has data');
clock_to($here, '2090-03-31 21:30Z');
$here->run('CHECKPOINT');
$primary->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(before unbooked booked);
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is(shown($there, $alice), '10.0000 10.0000 5.0000', 'in March the standby shows what is left of March');
is(shown($there, $bob), '-15.0000 0 0.0000', '... of Bob a debt');
$primary->command_ok([ 'pg_dump', '-f', "$dir/before.sql", '-d', 'postgres' ], 'a dump of March');

# The turn: nobody books, the row of the test clock is all that is replicated.
my $entries = $here->value('SELECT count(*) FROM ducto.ledger');
clock_to($here, '2090-03-31 22:00Z');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is(shown($there, $alice), '110.0000 110.0000 30.0000', 'in April it shows what April gives, and what lives on');
is(shown($there, $bob), '85.0000 85.0000 30.0000', '... to Bob what his debt leaves');
is(join(' ', @{ $there->row("SELECT ducto_balance_at($alice, '2090-03-31 21:59:59.999999Z'), ducto_balance_at($alice, '2090-03-31 22:00Z')") }),
	'10.0000 110.0000', '... from its first instant');
is($there->value("SELECT available FROM ducto_can_afford($alice, 1)"), '98.0000', '... beside what is held');
is(rest($there), rest($here), '... as the primary does');
is($here->value('SELECT count(*) FROM ducto.ledger'), $entries, '... which has booked nothing');
$there->run("SELECT ducto_charge($alice, 1)");
is($there->sqlstate, '25006', '... and nothing can be booked there');
$there->run("SELECT ducto_advance_clock('1 day')");
is($there->sqlstate, '25006', '... nor can its clock be moved');
$primary->command_ok([ 'pg_dump', '-f', "$dir/unbooked.sql", '-d', 'postgres' ], 'a dump of April, with nothing booked');

# The primary books it: nothing that is shown changes.
my $before = rest($there) =~ s/^ducto_sweep.*//msr;
$here->run("SELECT ducto_charge($alice, 0.0001, skip_allowance => true); SELECT ducto_sweep_expired()");
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is(shown($there, $alice), '109.9999 109.9999 30.0000', 'booked, it is what was shown');
is(shown($there, $bob), '85.0000 85.0000 30.0000', '... to Bob too');
is(gifts($there), gifts($here), '... on both sides');
is(wrong($here), '', '... and nothing to find for the auditor');
my $april = gifts($here);
$primary->command_ok([ 'pg_dump', '-f', "$dir/booked.sql", '-d', 'postgres' ], 'a dump of April, booked');

# Restored, each of them is in April, and gives it once: the same entries, with the same ids.
foreach my $dump (qw(before unbooked booked))
{
	subtest "restored: $dump" => sub {
		$primary->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', "$dir/out", '-d', $dump, '-f', "$dir/$dump.sql" ], 'it is restored');
		my $session = Session->new($primary, dbname => $dump);

		is(shown($session, $bob), '-15.0000 0 0.0000', 'it is March still') if $dump eq 'before';
		clock_to($session, '2090-03-31 22:01Z');
		is(shown($session, $bob), '85.0000 85.0000 30.0000', 'Bob has what April gives');
		is(join(' ', @{ $session->row("SELECT d.amount, d.allowance_consumed, d.error FROM ducto.reservations r, ducto_deduct($alice, r.id, 12) d WHERE idempotency_key = 'hold'") }[ 0, 1 ]),
			'0.0000 12.0000', 'the hold is settled, on the allowance');
		$session->run('SELECT ducto_sweep_expired()');
		is(gifts($session), $april, 'April has given once, under the same ids');
		is(wrong($session), '', 'nothing to find for the auditor');
		clock_to($session, '2090-04-30 22:00Z');
		is($session->value("SELECT count(*) FROM ducto_sweep_expired()"), 1, 'May comes');
		is($session->value('SELECT count(*) FROM ducto.ledger WHERE cycle_end IS NOT NULL'), 6, '... and gives once');
		is(wrong($session), '', '... and nothing to find for the auditor');
		$session->quit;
	};
}

# A turn that nobody books before the standby takes the primary's place.
clock_to($here, '2090-05-31 22:00:01Z');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
my $shown = rest($here);
$here->quit;
$primary->stop;
$standby->promote;
is(rest($there), $shown, 'promoted, it shows what the primary showed');
is($there->value("SELECT balance_after FROM ducto_charge($alice, 1, skip_allowance => true)"), '119.0000', '... gives what two cycles gave, of which 20 live on');
$there->run('SELECT ducto_sweep_expired()');
is($there->value("SELECT string_agg(type || ' ' || amount, ', ' ORDER BY seq) FROM ducto.ledger WHERE account_id = $alice AND effective_at > '2090-04-15Z'"),
	'expiry -9.9999, expiry -80.0000, subscription 100.0000, expiry -20.0000, expiry -80.0000, subscription 100.0000, usage -1.0000', '... entry by entry');
is(wrong($there), '', '... and nothing to find for the auditor');

$there->quit;
$standby->stop;
done_testing();
