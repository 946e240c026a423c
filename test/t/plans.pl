# Plans are kept for the life of a session. One that is made while the tables
# are empty, and known to be, must not read a whole table for ever after.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('plans');
$node->init;
# Statements that do without the executor are not seen otherwise.
$node->append_conf('postgresql.conf', "autovacuum = off\nducto.direct = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
$node->safe_psql('postgres', 'VACUUM ANALYZE');

my $scans = q{SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables
	WHERE schemaname = 'ducto' AND relname IN ('accounts', 'ledger', 'reservations', 'grants')};
my $before = $node->safe_psql('postgres', $scans);

my $user = q{lpad(to_hex(n), 32, '0')::uuid};
$node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM generate_series(1, 50) n,
	ducto_add_credits(user_id => $user, amount => 100, expires_at => now() + interval '1 hour', idempotency_key => 'c'),
	LATERAL (SELECT (ducto_reserve(user_id => $user, amount => 10, idempotency_key => 'r')).reservation_id OFFSET 0) r,
	ducto_deduct(user_id => $user, reservation_id => r.reservation_id, amount => 5, idempotency_key => 'd') d,
	ducto_charge(user_id => $user, amount => 1, idempotency_key => 'k') k,
	LATERAL ducto_refund(transaction_id => k.transaction_id, idempotency_key => 'f');
SQL

is($node->safe_psql('postgres', $scans), $before, 'none of them read a whole table');
is($node->safe_psql('postgres', 'SELECT count(*) FROM ducto.ledger'), 200, 'all calls were made in one session');
is($node->safe_psql('postgres', 'SELECT count(*) FROM ducto_verify()'), 0, 'every invariant holds');

# What must read a whole table is planned as that, not with the cost of a scan
# that was to be avoided: it would be compiled at every call.
my ($status, $answer, $plans) = $node->psql('postgres', <<'SQL');
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET client_min_messages = log;
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"pro": {"name": "Pro"}}}');
SELECT version FROM ducto_activate_pricing(1);
SELECT amount FROM generate_series(1, 2) n, ducto_charge_usage('00000000-0000-0000-0000-000000000001', jsonb_build_object('input_tokens', n));
SET ducto.test_clock = on;
SELECT count(ducto_advance_clock('0')) FROM generate_series(1, 2);
SQL
is($answer, "1\n1\n1.0000\n1.0000\n2", 'a pricing was published and activated, and charged by, and the test clock moved');
like($plans, qr/Update on plans/, 'its plans were made those that can be assigned');
like($plans, qr/Update on test_clock/, 'the one row of the test clock was written');
like($plans, qr/Index Scan using pricing_active/, 'the active version is found by its index');
unlike($plans, qr/Bitmap/, 'and not by a bitmap of one row');
unlike($plans, qr/cost=\d{11}/, 'no plan has the cost of a forbidden scan');

# A reservation is found by its primary key. Entries of the open ones stay in
# their index until a vacuum, and an account has as many as it ever reserved.
($status, $answer, $plans) = $node->psql('postgres', <<'SQL');
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET client_min_messages = log;
SELECT reservation_id FROM ducto_reserve(user_id => '00000000-0000-0000-0000-000000000001', amount => 2, min_balance => 0) \gset
SELECT amount FROM ducto_deduct(user_id => '00000000-0000-0000-0000-000000000001', reservation_id => :'reservation_id', amount => 1, final => false);
SELECT released FROM ducto_release(user_id => '00000000-0000-0000-0000-000000000001', reservation_id => :'reservation_id');
SQL
is($answer, "1.0000\nt", 'a reservation was charged and released');
like($plans, qr/using reservations_pkey/, 'it is found by its id');
unlike($plans, qr/using reservations_open[^\n]*\n[^\n]*\n[^\n]*\bid = /, 'and not among those that were open once');

# What a call of a plain account does, no more, once a session has read the lines
# of the active pricing. The reservations are made in the
# same statement as what ends them, which sees them all the same.
my $plain = q{'00000000-0000-0000-0000-00000000ffff'};
$node->safe_psql('postgres', "SELECT ducto_add_credits($plain, 100)");
my $hold = "ducto_reserve($plain, 4, min_balance => 0) r";

# The plans of a SELECT FROM a call, of a session that has charged others, made
# the call, and may be set to something.
my $setting = '';

sub plans_of
{
	my ($from, @charged) = @_;
	my $before = join '', map { "SELECT count(ducto_charge($_, 0.0001)) FROM generate_series(1, 8);\n" } @charged;

	($status, $answer, $plans) = $node->psql('postgres', <<"SQL");
$setting
$before
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET client_min_messages = log;
SELECT FROM $from;
SQL
	return $plans;
}

# How many statements a call takes in it.
sub statements
{
	return scalar(() = plans_of(@_) =~ /^Query Text:/mg) - 1;
}

my @calls = (
	['a charge', 2, "ducto_charge($plain, 1)"],
	['a charge with a key', 2, "ducto_charge($plain, 1, 'charge')"],
	['a reserve', 2, "ducto_reserve($plain, 1)"],
	['a reserve and its deduct', 2 + 4, "$hold, LATERAL ducto_deduct($plain, r.reservation_id, 3)"],
	['a reserve and a deduct of a part', 2 + 4, "$hold, LATERAL ducto_deduct($plain, r.reservation_id, 3, 'part', final => false)"],
	['a reserve and its release', 2 + 3, "$hold, LATERAL ducto_release($plain, r.reservation_id)"]);

foreach my $call (@calls)
{
	my ($name, $statements, $from) = @$call;

	is(statements($from, $plain), $statements, "$name takes $statements statements")
		or diag($plans);
}

# None of them needs the executor, from a session's first call on, unless a table
# has a trigger.
foreach my $call (@calls)
{
	my ($name, $statements, $from) = @$call;
	$setting = 'SET ducto.direct = on;';
	is(statements($from =~ s/'(charge|part)'/gen_random_uuid()::text/r), 0, "$name needs no executor")
		or diag($plans);
}
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER seen AFTER UPDATE ON ducto.accounts FOR EACH ROW EXECUTE FUNCTION seen();
SQL
is(statements("ducto_charge($plain, 1)", $plain), 1, 'the one whose table has a trigger does');
$node->safe_psql('postgres', 'DROP FUNCTION seen CASCADE');

# What another method keeps of a table is that method's to read.
SKIP:
{
	my $balance = "ducto_get_balance($plain)";

	is(statements($balance), 0, 'a balance is read without the executor');
	skip 'a table keeps its method before PostgreSQL 15', 1 if $node->pg_version < 15;
	$node->safe_psql('postgres', <<'SQL');
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
ALTER TABLE ducto.accounts SET ACCESS METHOD other;
SQL
	is(statements($balance), 1, 'but not from a table of another method')
		or diag($plans);
	$node->safe_psql('postgres', 'ALTER TABLE ducto.accounts SET ACCESS METHOD heap; DROP ACCESS METHOD other');
}
$setting = '';

# Where most accounts have a plan, none is tried as if it had not.
my $planned = q{'00000000-0000-0000-0000-00000000fffe'};
$node->safe_psql('postgres', "SELECT ducto_add_credits($planned, 100); SELECT ducto_set_user_plan($planned, 'pro')");
my $charge = "ducto_charge($planned, 1)";
is(statements($charge, $plain), 5, 'a charge of an account with a plan takes five statements after plain ones');
is(statements($charge, $planned), 3, 'and three after others that have one: the plan is kept');
is(statements("ducto_charge($plain, 1)", $planned, $plain), 2, 'a plain one takes two again after plain ones');

# Nor is a member looked up who had room when last seen.
my $team = q{'00000000-0000-0000-0000-00000000fffd'};
my $pool = $node->safe_psql('postgres', "SELECT team_id FROM ducto_create_team('Pool', 100)");
$node->safe_psql('postgres', "SELECT ducto_add_team_member('$pool', $team, spend_cap => 3)");
is(scalar(() = plans_of("ducto_deduct_team('$pool', $team, 1) d, LATERAL ducto_deduct_team('$pool', $team, d.amount)") =~
	/using team_members_(?:pkey|user) on team_members m\b/g), 1, 'a member is looked up once')
	or diag($plans);
unlike($plans, qr/using team_members_rank/, 'and not among all the members');
is($node->safe_psql('postgres', "SELECT string_agg(coalesce(error, 'none'), ' ') FROM generate_series(1, 2) n, LATERAL (SELECT (ducto_deduct_team('$pool', $team, n / n)).error OFFSET 0) d"),
	'none cap_reached', 'and what is left of the cap is what the row says');
is($node->safe_psql('postgres', 'SELECT count(*) FROM ducto_verify()'), 0, 'every invariant holds still');

# The members of a team are counted with and without the executor alike: those that there are, and not the one that left.
my $counted = $node->safe_psql('postgres', "SELECT team_id FROM ducto_create_team('Counted', 7)");
$node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM generate_series(1, 3) n, ducto_add_team_member('$counted', $user);
SELECT FROM ducto_remove_team_member('$counted', lpad('2', 32, '0')::uuid);
SQL
my $empty = $node->safe_psql('postgres', "SELECT team_id FROM ducto_create_team('Empty')");
foreach my $direct ('off', 'on')
{
	($status, $answer, $plans) = $node->psql('postgres', <<"SQL");
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET client_min_messages = log;
SET ducto.direct = $direct;
SELECT name, balance, member_count FROM ducto_get_team_balance('$counted');
SELECT name, balance, member_count FROM ducto_get_team_balance('$empty');
SELECT role FROM ducto_get_team_members('$counted');
SQL
	is($answer, "Counted|7.0000|2\nEmpty|0.0000|0\nmember\nmember", "members are counted with ducto.direct $direct");
	is(scalar(() = $plans =~ /\bAggregate\b/g), $direct eq 'off' ? 2 : 0, 'by the executor where it is off')
		or diag($plans);
	unlike($plans, qr/using team_members_(?!pkey)/, 'and never among those of other teams')
		or diag($plans);
}

$node->stop;
done_testing();
