
# On a standby everything can be read, and the figures are those of the primary
# at that moment: what has expired is not shown, although nobody has swept it
# and a standby cannot. Whatever would write gets PostgreSQL's own error there,
# and in a READ ONLY transaction of the primary. After a promotion the standby
# goes on where the primary ended.

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
my $nobody  = "'00000000-0000-4000-8000-0000000000ff'";
my $primary = PostgreSQL::Test::Cluster->new('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');
my $usage   = q('{"model": "m", "input_tokens": 1500}');
my $window  = "'2020-01-01', now() + interval '1 day'";
my ($here, $there);    # sessions on the primary and on the standby
my $team;

# All that only reads.
my @reads = (
	(map { ("ducto_get_balance($_)", "ducto_list_grants($_)", "ducto_list_transactions($_)",
			"ducto_list_transactions($_, ARRAY['promo', 'usage'], '2020-01-01', '2100-01-01', 2, 1)",
			"ducto_list_usage_events($_)", "ducto_can_afford($_, 20)",
			"ducto_can_afford($_, 100000)", "ducto_balance_at($_, now() - interval '1 second')",
			"ducto_verify($_)", "ducto_get_user_plan($_)", "ducto_check_allowance($_)", "ducto_check_feature($_, 'agents')",
			"ducto_list_spend_caps($_)", "ducto_check_spend_cap($_, amount => 100000)") } ($alice, $bob, $nobody)),
	'ducto_verify()', "ducto_verify(:team)", "ducto_get_team_balance(:team)", "ducto_get_team_members(:team)",
	'ducto_get_active_pricing()', 'ducto_get_pricing_config(1)', 'ducto_get_pricing_history()',
	q(ducto_validate_pricing('{"models": {"_default": "1 +"}}')), "ducto_price($usage)", "ducto_price($usage, 'pro')", "ducto_reprice($window)",
	"ducto_spend_by_user($window)", "ducto_spend_by_model($window)", "ducto_top_users(3, $window)",
	"ducto_daily_spend($window)", "ducto_aggregate_stats($window)",
	'ducto_my_balance()', 'ducto_my_grants()', 'ducto_my_transactions(3)', 'ducto_my_plan()',
	'ducto_list_access()', 'ducto_sweep_expired(dry_run => true)');

# All that writes in any case; sweeps do when something is due.
my %writes = (
	'ducto_add_credits'         => "ducto_add_credits($alice, 1)",
	'... for a new user'        => "ducto_add_credits($nobody, 1)",
	'ducto_charge'              => "ducto_charge($alice, 1)",
	'... beyond the balance'    => "ducto_charge($alice, 1000)",
	'... for a known key'       => "ducto_charge($alice, 1, 'first')",
	'... step by step'          => "ducto_charge($bob, 1)",
	'ducto_reserve'             => "ducto_reserve($alice, 1)",
	'... limited'               => "ducto_reserve($alice, 1, max_concurrent => 1)",
	'ducto_deduct'              => "ducto_deduct($alice, :reservation, 1)",
	'... of nothing'            => "ducto_deduct($alice, :reservation, 0)",
	'ducto_release'             => "ducto_release($alice, :reservation)",
	'ducto_renew'               => "ducto_renew($alice, :reservation)",
	'ducto_refund'              => "ducto_refund(:transaction)",
	'ducto_reverse_credits'     => "ducto_reverse_credits(:transaction)",
	'ducto_transfer'            => "ducto_transfer($alice, $bob, 1)",
	'ducto_set_user_plan'       => "ducto_set_user_plan($alice, 'free')",
	'... and the same again'    => "ducto_set_user_plan($alice, 'pro')",
	'ducto_set_spend_cap'       => "ducto_set_spend_cap($alice, 'daily', 10)",
	'ducto_remove_spend_cap'    => "ducto_remove_spend_cap($alice, 'monthly')",
	'ducto_increment_usage_window' => "ducto_increment_usage_window($alice, 'pro', 1)",
	'ducto_reserve_usage'       => "ducto_reserve_usage($alice, $usage)",
	'ducto_charge_usage'        => "ducto_charge_usage($alice, $usage)",
	'ducto_set_active_pricing'  => q(ducto_set_active_pricing('{"models": {"_default": "2"}}')),
	'ducto_activate_pricing'    => 'ducto_activate_pricing(1)',
	'ducto_create_team'         => "ducto_create_team('Another')",
	'ducto_add_team_credits'    => 'ducto_add_team_credits(:team, 1)',
	'ducto_add_team_member'     => "ducto_add_team_member(:team, $bob)",
	'ducto_remove_team_member'  => "ducto_remove_team_member(:team, $alice)",
	'ducto_deduct_team'         => "ducto_deduct_team(:team, $alice, 1)",
	'ducto_reserve for a team'  => "ducto_reserve($alice, 1, team_id => :team)",
	'ducto_rollup'              => 'ducto_rollup()',
	'ducto_rollup_rebuild'      => 'ducto_rollup_rebuild()',
	'ducto_grant_access'        => "ducto_grant_access('app')",
	'ducto_revoke_access'       => "ducto_revoke_access('app')",
	'ducto_repair'              => "ducto_repair($alice)",
	'ducto_setup'               => 'ducto_setup()');
my @sweeps = qw(ducto_sweep_expired ducto_expire_reservations);

# named gives a call the id of the team.
sub named
{
	my ($call) = @_;
	return $call =~ s/:team/'$team'/r;
}

# same compares what can be read on both sides.
sub same
{
	my ($when) = @_;

	foreach my $read (@reads)
	{
		my $query = 'SELECT * FROM ' . named($read) . ' AS r';
		my @there = $there->run($query);
		is($there->sqlstate, '00000', "$when: $read works on the standby") or next;
		is(join("\n", @there), join("\n", $here->run($query)), '... and is what the primary shows');
	}
	return;
}

# refused tries all that writes where nothing can be written.
sub refused
{
	my ($session, $before, $after) = @_;
	my $reservation = $session->value("SELECT id FROM ducto.reservations WHERE idempotency_key = 'held'");
	my $transaction = $session->value("SELECT id FROM ducto.ledger WHERE idempotency_key = 'first'");

	foreach my $name (sort keys %writes)
	{
		my $call = named($writes{$name});

		$call =~ s/:reservation/'$reservation'/;
		$call =~ s/:transaction/'$transaction'/;
		$session->run($before) if $before;
		$session->run("SELECT * FROM $call");
		is($session->sqlstate, '25006', "refused: $call");
		like($session->error ? $session->error->{message} : '', qr/^cannot execute .* (?:in a read-only transaction|during recovery)$/,
			'... with PostgreSQL\'s own words');
		$session->run($after) if $after;
	}
	return;
}

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION ducto; CREATE ROLE app; '
	  . join('; ', map { "CREATE ROLE $_" } qw(anon authenticated service_role)));
$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$here  = Session->new($primary);
$there = Session->new($standby);
$_->run(q{SET request.jwt.claims = '{"sub": "00000000-0000-4000-8000-00000000000a"}'}) foreach ($here, $there);

# Alice has what lasts. Of Bob's credit and holds some end soon: a hold after 3
# seconds, a credit after 3.5, a hold after 6, a credit after 8.
my $start = $here->value('SELECT clock_timestamp()');
$here->run("SELECT ducto_add_credits($alice, 100, 'purchase');
	SELECT ducto_add_credits($alice, 10, 'promo', expires_at => now() + interval '1 day', priority => 1);
	SELECT ducto_charge($alice, 15, 'first');
	SELECT ducto_reserve($alice, 20, idempotency_key => 'held', ttl_seconds => 3600);
	SELECT ducto_refund(id, 7) FROM ducto.ledger WHERE idempotency_key = 'first';
	SELECT ducto_add_credits($bob, 5, 'purchase');
	SELECT ducto_add_credits($bob, 30, 'promo', expires_at => clock_timestamp() + interval '3.5 s');
	SELECT ducto_add_credits($bob, 40, 'promo', expires_at => clock_timestamp() + interval '8 s');
	SELECT ducto_reserve($bob, 33, min_balance => 0, ttl_seconds => 3);
	SELECT ducto_reserve($bob, 42, min_balance => 0, ttl_seconds => 6)");
is($here->sqlstate, '00000', 'the primary has data');
$team = $here->value("SELECT team_id FROM ducto_create_team('Team', 50)");
$here->run(qq{SELECT ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.001"}, "plans": {
		"free": {"name": "Free"},
		"pro": {"name": "Pro", "free_allowance": 30, "features": {"agents": 3}, "rate_overrides": {"m": "1"}}}}');
	SELECT ducto_set_user_plan($alice, 'pro');
	SELECT ducto_set_spend_cap($alice, 'monthly', 1000);
	SELECT ducto_add_team_member('$team', $alice, spend_cap => 40);
	SELECT ducto_deduct_team('$team', $alice, 12, '{}', 'pool', 'gpt');
	SELECT ducto_rollup();
	SELECT ducto_deduct_team('$team', $alice, 3)});
is($here->sqlstate, '00000', '... plans, a team and pricing');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

# shown is Bob's balance: balance, reserved, available, grants.
sub shown
{
	my ($session) = @_;
	return join(' ', @{ $session->row("SELECT b.balance, b.reserved, b.available, coalesce((SELECT sum(remaining) FROM ducto_list_grants($bob)), 0)"
			  . " FROM ducto_get_balance($bob) AS b") });
}

is(shown($there), '75.0000 75.0000 0.0000 70.0000', 'the standby shows what holds keep');
same('before');
refused($there);

# wait_until waits until so many seconds after the start.
sub wait_until
{
	my ($seconds) = @_;
	$there->run("SELECT pg_sleep(greatest(0, extract(epoch FROM timestamptz '$start' + interval '$seconds s' - clock_timestamp())))");
	return;
}

# Time passes, and nobody writes anything.
my $entries = $here->value('SELECT count(*) FROM ducto.ledger');
wait_until(4);
is(shown($there), '45.0000 42.0000 3.0000 40.0000', 'the first hold and the first credit have expired on the standby');
same('later');
wait_until(6.5);
is(shown($there), '45.0000 0.0000 45.0000 40.0000', 'the second hold has');
wait_until(9);
is(shown($there), '5.0000 0.0000 5.0000 0', 'and the rest');
is($there->value("SELECT next_expiry FROM ducto_get_balance($bob)"), undef, 'nothing is going to');
is(join(' ', @{ $there->row('SELECT * FROM ducto_sweep_expired(dry_run => true)') }), '1 70.0000 t',
	'a dry run on the standby tells what there is to sweep');
same('at last');
is($here->value('SELECT count(*) FROM ducto.ledger'), $entries, 'all that without a single new entry on the primary');
$writes{$_} = "$_()" foreach @sweeps;
refused($there);
is(join("\n", $there->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT balance FROM ducto_get_balance(' . $bob . '); COMMIT')),
	'5.0000', 'reads work in a repeatable read transaction of the standby');

# READ ONLY on the primary.
$here->run('BEGIN READ ONLY');
foreach my $read (@reads)
{
	$here->run('SELECT * FROM ' . named($read));
	is($here->sqlstate, '00000', "READ ONLY on the primary: $read");
}
$here->run('COMMIT');
refused($here, 'BEGIN READ ONLY', 'ROLLBACK');

# What the primary books reaches the standby; what has expired since is booked
# now, and nothing shown changes.
my $before = shown($there);
$here->run('SELECT ducto_sweep_expired(); SELECT ducto_expire_reservations()');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is(shown($there), $before, 'a sweep on the primary changes nothing that the standby shows');
same('swept');

# The primary is gone, and the standby takes its place, in the same session.
my $held = $here->value("SELECT id FROM ducto.reservations WHERE idempotency_key = 'held'");
$here->quit;
$primary->stop;
$standby->promote;
is(join(' ', @{ $there->row("SELECT balance_after, idempotent FROM ducto_charge($alice, 99, 'first')") }),
	'95.0000 t', 'after the promotion a key is still known');
is($there->value("SELECT balance_after FROM ducto_deduct($alice, '$held', 12)"), '102.0000', '... a reservation is settled, on the allowance');
is($there->value("SELECT new_balance FROM ducto_add_credits($bob, 1)"), '6.0000', '... credits are added');
is($there->value("SELECT error FROM ducto_charge($bob, 6.0001)"), 'insufficient_credits', '... and limits kept');
is($there->value("SELECT amount FROM ducto_charge_usage($bob, $usage)"), '1.5000', '... usage is priced');
is(join(' ', @{ $there->row("SELECT balance, total_spent FROM ducto_get_team_balance('$team'), ducto_get_team_members('$team')") }),
	'35.0000 15.0000', '... the pool is there');
is($there->value("SELECT error FROM ducto_deduct_team('$team', $alice, 25.0001)"), 'cap_reached', '... and its caps');
is($there->value("SELECT sum(total_spend) FROM ducto_daily_spend($window)"),
	$there->value("SELECT -sum(amount) FROM ducto.ledger WHERE type = 'usage'"), '... what analytics show is what was spent');
$there->run('SELECT ducto_rollup(); CALL ducto_sweep()');
is($there->sqlstate, '00000', '... and is rolled up');
$there->run('SELECT ducto_setup()');
is($there->sqlstate, '00000', '... ducto_setup works');
is(join("\n", $there->run('SELECT * FROM ducto_verify()')), '', 'nothing to find for the auditor');

$there->quit;
$standby->stop;
done_testing();
