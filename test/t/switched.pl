
# A database that was switched from the SDKs' own engine travels as any other: a
# dump has the views in place of their tables, the old rows beside, and the
# functions that the views need, which belong to no extension. What was restored
# goes on: calls, retries, caps by INSERT, policies, the refusal of their
# migrations, and the way back.
#
# The database is that of the test sdk_switch, up to the switch.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Books;
use Session;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('switched');
my $dir  = PostgreSQL::Test::Utils::tempdir();
my $ann  = "'00000000-0000-4000-8000-000000000001'";
my $bob  = "'00000000-0000-4000-8000-000000000002'";
my $eve  = "'00000000-0000-4000-8000-000000000003'";
my @theirs = qw(user_credits credit_transactions credit_reservations credit_pricing_config credit_plans
  credit_usage_window credit_teams credit_team_members credit_spend_caps);

# theirs reads the nine views or tables of a database, or what was in them.
sub theirs
{
	my ($dbname, $schema) = @_;

	return join("\n", map {
		"$_:\n" . $node->safe_psql($dbname, "SELECT t FROM $schema.$_ AS t ORDER BY t::text COLLATE \"C\"")
	} @theirs);
}

# goes_on_switched uses a switched database.
sub goes_on_switched
{
	my ($dbname) = @_;
	my $session = Session->new($node, dbname => $dbname);

	is($session->value("SELECT deduct_with_allowance($ann, 2, 'key-1') ->> 'idempotent'"), 'true', 'a retry is none');
	is($session->value("SELECT deduct_with_allowance($ann, 1) ->> 'balance_after'"), '35.0000', 'a call works');
	is($session->value("SELECT balance FROM user_credits WHERE user_id = $ann"), '35.0000', '... and the view shows it');
	$session->run("INSERT INTO credit_spend_caps (user_id, cap_type, cap_limit) VALUES ($ann, 'monthly', 24)");
	is($session->sqlstate, '00000', 'a cap by INSERT');
	is($session->value("SELECT deduct_with_allowance($ann, 2) ->> 'error'"), 'cap_reached', '... counts');
	$session->run("UPDATE credit_spend_caps SET cap_limit = 1000 WHERE user_id = $ann AND cap_type = 'monthly'");
	is($session->value("SELECT deduct_with_allowance($ann, 2) ->> 'error'"), undef, '... and is raised by UPDATE');
	is($session->value("SELECT check_spend_cap($bob, NULL, 40) ->> 'capped'"), 'true', 'that of before the dump counts too');
	$session->run("UPDATE user_credits SET balance = 1000");
	is($session->sqlstate, '55000', 'their tables are not written');
	like($session->error->{hint}, qr/credits_add/, '... and the hint says what to call');
	$session->run('CREATE OR REPLACE FUNCTION public.get_credits_balance(p_user_id uuid) RETURNS jsonb LANGUAGE sql'
		  . q( AS $$ SELECT '{}'::jsonb $$));
	isnt($session->sqlstate, '00000', 'their migrations are refused');
	$session->run("INSERT INTO auth.users VALUES ($eve)");
	is($session->value("SELECT get_credits_balance($eve) ->> 'balance'"), '50.0000', 'a sign-up has its bonus');
	$session->run("SET ROLE regress_ducto_user; SET request.jwt.claim.sub = $ann");
	is($session->value('SELECT count(*) FROM user_credits'), 1, 'a user sees its own row');
	is($session->value('SELECT count(*) FROM credit_teams'), 0, '... and not what was the server\'s');
	$session->run("INSERT INTO credit_spend_caps (user_id, cap_type, cap_limit) VALUES ($ann, 'daily', 1000000)");
	is($session->sqlstate, '42501', '... and sets no cap');
	$session->run('RESET ROLE');
	is($session->value('SELECT count(*) FROM ducto_verify()'), 0, 'nothing to find for the auditor');
	$session->quit;
	return;
}

# goes_back takes a switched database back, with what was in their tables.
sub goes_back
{
	my ($dbname, $before) = @_;

	$node->safe_psql($dbname, 'SELECT ducto_sdk_give_back()');
	is(theirs($dbname, 'public'), $before, 'their tables are as they were at the switch');
	is($node->safe_psql($dbname, "SELECT string_agg(DISTINCT c.relkind::text, '') FROM pg_class AS c"
			  . " WHERE c.relnamespace = 'public'::regnamespace AND c.relname ~ '^(user_credits|credit_)' AND c.relkind IN ('r', 'v')"),
		'r', '... tables, and no views');
	$node->safe_psql($dbname, 'DROP EXTENSION ducto CASCADE');
	is($node->safe_psql($dbname, "SELECT count(*) FROM pg_proc WHERE proname LIKE 'sdk_view%'"), 0,
		'what the views needed goes with ducto');
	is($node->safe_psql($dbname, "UPDATE user_credits SET balance = 1 WHERE user_id = $ann RETURNING balance"), '1.0000',
		'and they are written');
	return;
}

# restored compares a restored database with the one that was dumped, uses it and takes it back.
sub restored
{
	my ($name, $to) = @_;

	subtest $name => sub {
		is(content($node, $to), content($node, 'one'), 'the tables of ducto are equal');
		is(theirs($to, 'public'), theirs('one', 'public'), 'what the views show is equal');
		is(theirs($to, 'ducto_sdk_old'), theirs('one', 'ducto_sdk_old'), 'and so are the old rows');
		goes_on_switched($to);
		goes_back($to, theirs('one', 'ducto_sdk_old'));
	};
	return;
}

$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off\ntimezone = 'UTC'");
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(one plain custom again);

# their database, in use
my ($made) = slurp_file("$FindBin::RealBin/../../sdk/test/sql/sdk_switch.sql") =~ /^(.*?)^-- the switch$/ms;
$node->safe_psql('one', $made);
my $before = theirs('one', 'public');

$node->safe_psql('one', <<"END");
SET client_min_messages = error;
DROP FUNCTION get_credits_balance(uuid);
CREATE EXTENSION ducto_sdk CASCADE;
SELECT * FROM ducto_sdk_import();
SELECT deduct_with_allowance($ann, 2, 'key-1');
SELECT credits_add($ann, 7, 'purchase', '{"expires_at": "2999-01-01"}');
SELECT deduct_with_allowance($bob, 4);
SELECT deduct_team((create_team('Red', 100) ->> 'team_id')::uuid, $ann, 1);
SELECT create_lease($bob, 3, 'chat');
SELECT add_team_member(id, $ann, 'admin', 60) FROM credit_teams;
SELECT deduct_team(id, $ann, 8) FROM credit_teams;
UPDATE credit_spend_caps SET cap_limit = 30 WHERE user_id = $bob;
SELECT refund_credits(id, 1, 'partly', '{"idempotency_key": "back"}') FROM credit_transactions
 WHERE user_id = $ann AND metadata ->> 'idempotency_key' = 'key-1';
END
is(theirs('one', 'ducto_sdk_old'), $before, 'the old rows stay as they were');
is($node->safe_psql('one', 'SELECT * FROM ducto_verify()'), '', 'nothing to find for the auditor');

$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", '-d', 'one' ], 'pg_dump');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', "$dir/out", '-d', 'again', '-f', "$dir/plain.sql" ], 'restore');
$node->command_ok([ 'pg_dump', '-f', "$dir/again.sql", '-d', 'again' ], 'pg_dump of what was restored');
my ($first, $second) = map {
	join("\n", grep { !/^\\(?:un)?restrict / } split /\n/, slurp_file("$dir/$_"))
} ('plain.sql', 'again.sql');
is($second, $first, '... is the same dump');

$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', "$dir/out", '-d', 'plain', '-f', "$dir/plain.sql" ],
	'restore of a plain script');
restored('a plain script', 'plain');

$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", '-d', 'one' ], 'pg_dump -Fc');
$node->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', 'custom', "$dir/custom" ], 'pg_restore -j 2');
restored('the custom format with two jobs', 'custom');

# the functions made anew, after the restore
subtest 'the extension of the functions made anew' => sub {
	$node->safe_psql('again', 'DROP EXTENSION ducto_sdk; CREATE EXTENSION ducto_sdk');
	goes_on_switched('again');
	goes_back('again', $before);
};

$node->stop;
done_testing();
