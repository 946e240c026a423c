
# The tables distributed over the nodes of a Citus cluster: a filled database is
# distributed under a session that goes on, every function answers as on one
# server, from whichever node it is called, its dump goes back into one, a worker is killed and comes back,
# a shard moves and a node joins. Then the property test of model.pl is run on
# such a database.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/lib";

use Books;
use Citus;
use Crash qw(kill_all);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => Citus::missing() if Citus::missing();

use constant STEPS => 250;    # of the property test

my $cluster = Citus->new('cluster', workers => 3);
my $node    = $cluster->coordinator;
my ($first, $second, $third) = $cluster->workers;
my @users   = map { sprintf "'00000000-0000-4000-9000-%012d'", $_ } 1 .. 24;
my @home;    # those of them that are on the first worker
my $where   = "'2020-01-01', now() + interval '1 day'";

# a value of the database on the coordinator
sub value { return $node->safe_psql('shop', $_[0]) }

# whether an account is on a node
sub is_on
{
	my ($at, $user) = @_;

	return value("SELECT nodeport FROM pg_dist_shard_placement WHERE shardid = get_shard_id_for_distribution_column('ducto.accounts', $user)") == $at->port;
}

# What an error says that a statement ends with on a node.
sub error_of
{
	my ($at, $dbname, $sql) = @_;
	my (undef, undef, $error) = $at->psql($dbname, $sql);

	return $error;
}

# Check that a statement is at work on both workers at once: their shards of a
# table are locked, and a part of it waits on each.
sub meet
{
	my ($sql, $what, $table, $part) = @_;
	my @locks = map { Session->new($_, dbname => 'shop') } $first, $second;
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
	my $told  = '';
	my $call;

	foreach my $lock (@locks)
	{
		my $shards = $lock->value(qq(SELECT string_agg(shard_name(logicalrelid, shardid), ', ') FROM pg_dist_shard
			JOIN pg_dist_placement USING (shardid) JOIN pg_dist_local_group USING (groupid) WHERE logicalrelid = 'ducto.$table'::regclass));

		$lock->run("SET citus.enable_manual_changes_to_shards = on; BEGIN; LOCK TABLE $shards IN SHARE MODE");
		die $lock->error->{message} if $lock->error;
	}
	$call = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('shop'), '-c', $sql ], '>', \$told, '2>&1');
	foreach my $worker ($first, $second, $first)
	{
		my $waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%$part%'";

		usleep(50_000) while $tries-- > 0 && !$worker->safe_psql('shop', $waits) && $call->pumpable && $call->pump_nb;
		cmp_ok($worker->safe_psql('shop', $waits), '>', 0, "$what: " . $worker->name . ' has its part') or diag($told);
	}
	$_->run('ROLLBACK') foreach @locks;
	$call->finish;
	$_->quit foreach @locks;
	return $told;
}

# --- what it needs ---------------------------------------------------------

$node->safe_psql('postgres', "CREATE DATABASE $_") foreach 'plain', 'lonely';
$node->safe_psql('plain',  'CREATE EXTENSION ducto');
$node->safe_psql('lonely', 'CREATE EXTENSION citus; CREATE EXTENSION ducto');
like(error_of($node, 'plain', 'SELECT ducto_distribute()'), qr/Citus is not in this database/, 'without Citus it says so');
$node->safe_psql('lonely', sprintf(q(SELECT citus_set_coordinator_host('%s', %d, node_role => 'primary')), $node->host, $node->port));
like(error_of($node, 'lonely', 'SELECT ducto_distribute()'), qr/no node that shards could be on/, 'and where there is no worker');
$node->safe_psql('lonely', 'SELECT citus_set_node_property(nodename, nodeport, \'shouldhaveshards\', true) FROM pg_dist_node');
is($node->safe_psql('lonely', "SELECT new_balance FROM ducto_add_credits($users[0], 5)"), '5.0000', 'all works as before there');
like(error_of($node, 'plain', 'SELECT ducto_undistribute()'), qr/Citus is not in this database/, 'nor is there a way back');
unlike($node->safe_psql('lonely', 'SELECT * FROM ducto_undistribute()'), qr/brought back/, 'nothing comes back where nothing was sent');

# --- there and back on one server -------------------------------------------

$node->safe_psql('lonely', 'ALTER DATABASE lonely SET ducto.test_clock = on');
$node->safe_psql('lonely', q(SELECT ducto_advance_clock('1 day')));
like($node->safe_psql('lonely', 'SELECT * FROM ducto_distribute(2)'), qr/accounts\|distributed by id/, 'the coordinator alone has shards');
is($node->safe_psql('lonely', "SELECT balance_after FROM ducto_charge($users[0], 1)"), '4.0000', 'which are charged');
$node->safe_psql('lonely', q(SELECT ducto_advance_clock('1 day')));
is($node->safe_psql('lonely', 'SELECT ducto.clock_ahead()'), '48:00:00', 'by a test clock that went along');
$node->safe_psql('lonely', 'SELECT ducto_undistribute()');
is($node->safe_psql('lonely', 'SELECT ducto.clock_ahead()'), '48:00:00', 'and comes back');
$node->safe_psql('lonely', 'ALTER DATABASE lonely RESET ducto.test_clock');
$node->safe_psql('lonely', 'DROP EXTENSION citus');
is($node->safe_psql('lonely', "SELECT balance_after FROM ducto_charge($users[0], 1)"), '3.0000', 'when they are back Citus can go');
is($node->safe_psql('lonely', 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');

# --- a filled database -----------------------------------------------------

$cluster->empty('shop', $first, $second);
$node->safe_psql('shop', 'CREATE EXTENSION ducto');
fill($node, 'shop', 'public');
$node->safe_psql('shop', q(SELECT ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.01"},
	"plans": {"pro": {"name": "Pro", "free_allowance": 10}}}')));
$node->safe_psql('shop', "SELECT ducto_add_credits($_, 100, 'purchase')") foreach @users;
$node->safe_psql('shop', 'SELECT ducto_rollup()');
my $team    = value(q(SELECT team_id FROM ducto_create_team('crew', 50)));
my $content = content($node, 'shop');
my $read    = readings($node, 'shop', 'public');
my $session = Session->new($node, dbname => 'shop');

$session->run("SELECT balance_after FROM ducto_charge($users[0], 1)") foreach 1 .. 3;
$session->run("SELECT ducto_refund('$_')") foreach $session->run("SELECT id FROM ducto.ledger WHERE account_id = $users[0] AND type = 'usage'");
$content = content($node, 'shop');
is(value('SELECT ducto.is_distributed()'), 'f', 'not distributed yet');
my $steps = value('SELECT * FROM ducto_distribute(8)');
like($steps, qr/^table ducto\.accounts\|distributed by id$/m,        'accounts are distributed');
like($steps, qr/^table ducto\.ledger\|distributed by account_id$/m,  'so is the ledger');
like($steps, qr/^table ducto\.plans\|put on every node$/m,           'plans are everywhere');
unlike($steps, qr/already/,                                          'nothing was before');
is(value('SELECT ducto.is_distributed()'), 't', 'distributed now');
is(content($node, 'shop'), $content, 'every row is as it was');
is(readings($node, 'shop', 'public'), $read, 'and every reading');
unlike(value('SELECT * FROM ducto_distribute(8)'), qr/\|(distributed by|put on)/, 'a second call changes nothing');
is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
like(error_of($first, 'shop', 'SELECT ducto_distribute()'), qr/this node is a worker/, 'it is called on the coordinator');

# --- the way back -----------------------------------------------------------

# What hangs on the tables of a database: all of it, by definition.
sub hangs_on
{
	my ($dbname) = @_;

	return $node->safe_psql($dbname, q(
		SELECT c.relname, c.relkind, c.relowner, c.relacl, c.reloptions, c.relrowsecurity, pg_get_indexdef(c.oid) FROM pg_class c
		WHERE relnamespace = 'ducto'::regnamespace ORDER BY 1;
		SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'ducto'::regnamespace ORDER BY 1, 2;
		SELECT tgrelid::regclass, tgenabled, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
		WHERE relnamespace = 'ducto'::regnamespace ORDER BY 1, 3;
		SELECT d.deptype, pg_describe_object(d.classid, d.objid, d.objsubid), pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
		FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid WHERE relnamespace = 'ducto'::regnamespace ORDER BY 2, 3;
		SELECT unnest(extconfig)::regclass FROM pg_extension WHERE extname = 'ducto'));
}

# The database dumped and put into another one, which has no Citus.
sub restore
{
	my ($dbname) = @_;
	my $dump = $node->basedir . "/$dbname.dump";

	$node->safe_psql('postgres', "CREATE DATABASE $dbname");
	$node->command_ok([ 'pg_dump', '-Fc', '--extension=ducto', '-f', $dump, '-d', $node->connstr('shop') ], 'the coordinator is dumped');
	$node->command_ok([ 'pg_restore', '-d', $node->connstr($dbname), $dump ], 'and restored into a database without Citus');
	return;
}

# The same, which is what it was and goes on.
sub restored
{
	my ($dbname) = @_;

	restore($dbname);
	is($node->safe_psql($dbname, "SELECT string_agg(extname, ', ') FROM pg_extension WHERE extname <> 'plpgsql'"), 'ducto', 'which it stays');
	is(content($node, $dbname), content($node, 'shop'), 'with every row');
	goes_on($node, $dbname, 'public');
	return;
}

restored('back');
{
	my $there = Session->new($first, dbname => 'shop');
	my $local = 'SET citus.enable_ddl_propagation = off';

	is($there->value("SELECT balance FROM ducto_get_balance($users[0])"), '100.0000', 'a worker is asked');
	$first->safe_psql('shop', "CREATE TABLE cut (); BEGIN; INSERT INTO cut DEFAULT VALUES; PREPARE TRANSACTION 'cut'");
	like(error_of($node, 'shop', 'SELECT ducto_undistribute()'), qr/a transaction is prepared on /, 'what is prepared has to end first');
	$first->safe_psql('shop', q(ROLLBACK PREPARED 'cut'; DROP TABLE cut));
	like(error_of($first, 'shop', 'SELECT ducto_undistribute()'), qr/this node is a worker/, 'the way back begins on the coordinator');

	$first->safe_psql('shop', "SELECT ducto_set_alerts($_, '{80}'); SELECT ducto_charge($_, 30)") foreach @users[14 .. 18];
	is(value('SELECT count(DISTINCT origin) FROM ducto.events'), '2', 'events wait on two nodes');
	$content = content($node, 'shop');
	value("$local; CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''halt''; END';"
		  . 'CREATE TRIGGER halt BEFORE INSERT ON ducto.plans EXECUTE FUNCTION halt()');
	like(error_of($node, 'shop', 'SELECT ducto_undistribute()'), qr/halt/, 'it fails when most is done');
	is(content($node, 'shop'), $content, 'and nothing was');
	is(value('SELECT ducto.is_distributed()'), 't', 'the tables are where they were');
	is($there->value("SELECT balance FROM ducto_get_balance($users[0])"), '100.0000', 'on the workers too');
	value("$local; DROP FUNCTION halt() CASCADE");

	like(value('SELECT * FROM ducto_undistribute()'), qr/^table ducto\.ledger\|brought back to this node$/m, 'all comes back');
	is(value('SELECT ducto.is_distributed()'), 'f', 'not distributed any more');
	is(content($node, 'shop'), $content, 'every row is as it was');
	is(hangs_on('shop'), hangs_on('plain'), 'and all that hangs on the tables');
	is($first->safe_psql('shop', q(SELECT count(*) FROM pg_class WHERE relname ~ '^(ledger|accounts|plans)_\d+$')), '0', 'no shard is left');
	unlike(value('SELECT * FROM ducto_undistribute()'), qr/brought back/, 'a second call changes nothing');
	is($session->value("SELECT balance_after FROM ducto_charge($users[0], 1)"), '99.0000', 'a session goes on');
	is($session->value("SELECT amount FROM ducto_refund((SELECT id FROM ducto.ledger WHERE account_id = $users[0] ORDER BY seq DESC LIMIT 1))"), '1.0000',
		'with all that one server can');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	$there->run("SELECT ducto_add_credits($users[0], 1)");
	is($there->sqlstate, '55000', 'no worker takes credits that nobody would find there');
	like(error_of($second, 'shop', "SELECT ducto_get_balance($users[0])"), qr/the accounts are on the coordinator alone/, 'and it says where they are');
	cmp_ok(value('SELECT ducto_rollup()'), '>', 24, 'all entries are rolled up');
	is(value("SELECT sum(total_spend) FROM ducto_spend_by_user($where)"), value("SELECT sum(-amount) FROM ducto.ledger WHERE type = 'usage'"),
		'and summed from that');
	is(value('SELECT ducto_ack_events(array_agg(id)) FROM ducto_take_events()'), '5', 'events of both nodes are taken');
	restored('home');
	value('SELECT ducto_distribute(8)');
	is($there->value("SELECT balance FROM ducto_get_balance($users[0])"), '100.0000', 'what was distributed again is found on a worker');
	is($node->safe_psql('shop', q(SELECT pg_relation_size('ducto.ledger'))), '0', 'and the coordinator keeps no rows of it');
	$there->quit;
}

# --- a session that was there before ---------------------------------------

is($session->value("SELECT balance_after FROM ducto_charge($users[0], 1)"), '99.0000', 'its kept plans are made anew');
$session->run('DISCARD ALL');
is($session->value("SELECT balance_after FROM ducto_charge($users[0], 1)"), '98.0000', 'they survive DISCARD ALL');
$session->run('SET plan_cache_mode = force_generic_plan');
is($session->value("SELECT balance_after FROM ducto_charge($users[0], 1)"), '97.0000', 'and a forced generic plan');
is($session->value("SELECT count(*) FROM ducto_verify($users[0])"), '0', 'so does the auditor');
$session->run('RESET plan_cache_mode');
$session->value("SELECT balance_after FROM ducto_charge($users[0], 1)") foreach 1 .. 8;
is($session->value("SELECT balance FROM ducto_get_balance($users[0])"), '89.0000', 'as often as one likes');

# --- every function, from every node ---------------------------------------

foreach my $at ($node, $first, $second)
{
	my $name = $at->name;
	my $here = Session->new($at, dbname => 'shop');
	my ($user, $other) = @users[1, 2];
	my $before = $here->value("SELECT balance FROM ducto_get_balance($user)");
	my ($tx, $hold);

	is($here->value("SELECT balance_after FROM ducto_charge($user, 3, '$name')"), sprintf('%.4f', $before - 3), "$name: a charge");
	is($here->value("SELECT idempotent FROM ducto_charge($user, 3, '$name')"), 't', "$name: once under its key");
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($user, 10)");
	is($here->value("SELECT amount FROM ducto_deduct($user, '$hold', 4)"), '4.0000', "$name: a hold and its deduct");
	$tx = $here->value("SELECT transaction_id FROM ducto_charge($user, 2)");
	is($here->value("SELECT amount FROM ducto_refund('$tx', 1)"), '1.0000', "$name: a refund by the id alone");
	is($here->value("SELECT amount FROM ducto_refund('$tx', 1, account_id => $user)"), '1.0000', "$name: and with the account");
	is($here->value("SELECT error FROM ducto_refund('$tx', 1, account_id => $other)"), 'transaction_not_found', "$name: not another's");
	is($here->value("SELECT amount FROM ducto_transfer($user, $other, 1)"), '1.0000', "$name: a transfer to another node");
	$here->run("SELECT ducto_set_user_plan($other, 'pro')");
	is($here->value("SELECT amount FROM ducto_charge_usage($other, '{\"model\": \"m\", \"input_tokens\": 100}')"), '0.0000',
		"$name: an allowance pays") if $at == $node;
	is($here->value("SELECT cap_limit FROM ducto_set_spend_cap($other, 'daily', 1000)"), '1000.0000', "$name: a cap is set");
	is($here->value("SELECT ducto_remove_spend_cap($other, 'daily')"), 't', "$name: and removed");
	$here->run("SELECT ducto_set_spend_cap($other, 'sliding', 1000, window_length => '1 hour')");
	$here->run("SELECT ducto_charge($other, 0.5)");
	$here->run("SELECT ducto_add_team_member('$team', $user)");
	is($here->value("SELECT amount FROM ducto_deduct_team('$team', $user, 1)"), '1.0000', "$name: a team's pool");
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($user, 2, team_id => '$team')");
	is($here->value("SELECT reason FROM ducto_release($user, '$hold', team_id => '$team')"), 'released', "$name: a member's hold");
	is($here->value("SELECT count(*) FROM ducto_get_pricing_history()"), '1', "$name: a list without arguments");
	is($here->value('SELECT count(*) FROM ducto_verify()'), '0', "$name: the auditor");
	$here->quit;
}

# --- calls that are sent to the account -------------------------------------

{
	my $here = Session->new($node, dbname => 'shop');
	my $there = Session->new($node, dbname => 'shop');
	my ($one, $two, $member) = @users[11, 12, 13];
	my $sum = "SELECT sum(balance) FROM ducto.accounts WHERE id IN ($one, $two)";
	my $before = $here->value($sum);
	my $sent = sub {
		my ($at, $sql) = @_;
		my (undef, undef, $told) = $at->psql('shop', "SET client_min_messages = debug1; $sql");

		return $told =~ /pushing down the function call/;
	};
	my $hold;

	ok($sent->($node, "SELECT $_"), "one statement for $_") foreach "ducto_add_credits($one, 10)", "ducto_charge($one, 5)", "ducto_reserve($one, 3)";
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($one, 5)");
	ok($sent->($node, "SELECT ducto_deduct($one, '$hold', 5)"), 'and for a deduct');
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($one, 5)");
	ok($sent->($node, "SELECT $_"), "for $_")
	  foreach qq(ducto_charge_usage($one, '{"model": "m", "input_tokens": 100}')), "ducto_renew($one, '$hold', 300)",
	  qq(ducto_settle($one, '$hold', '[{"key": "s1", "amount": 1}]')), "ducto_release($one, '$hold')";
	is($here->value("SELECT reason FROM ducto_release($one, '$hold')"), 'already_released', 'which did what they should');
	is($here->value("SELECT reason FROM ducto_release($one, '00000000-0000-4000-9000-000000000077')"), 'not_found', 'and find what there is');
	is($here->value("SELECT error FROM ducto_renew($one, '$hold')"), 'reservation_closed', 'and no more');
	@home = grep { !$sent->($first, "SELECT ducto_charge($_, 0)") } @users;
	ok(@home > 0 && @home < @users, 'but none on the node of the account');
	$before = $here->value($sum);

	$here->run("BEGIN; SELECT ducto_charge($one, 1); SAVEPOINT s; SELECT ducto_charge($two, 1); ROLLBACK TO s; SELECT ducto_charge($two, 2); COMMIT");
	is($here->value($sum), sprintf('%.4f', $before - 3), 'what a transaction does on two nodes it does on both');
	$here->run("BEGIN; SELECT ducto_charge($one, 1); SELECT ducto_charge($two, 1); ROLLBACK");
	is($here->value($sum), sprintf('%.4f', $before - 3), 'or on neither');

	# by what text the last call of a transaction was sent, as the account's node was told it
	my $text = sub {
		my ($sql) = @_;
		my ($at) = grep { is_on($_, $one) } $first, $second;
		my $told;

		$here->run("BEGIN; $sql");
		die $here->error->{message} if $here->error;
		$told = $at->safe_psql('shop', "SELECT query FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%charge_there%'");
		$here->run('COMMIT');
		return $told;
	};
	my $kept = $text->("SELECT ducto_charge($one, 0.01)");

	like($kept, qr/charge_there\(\$1, \$2, /, 'a plan is kept: what is sent has parameters');
	is($text->("SELECT ducto_charge($one, 0.02)"), $kept, 'the same for another amount');
	$here->run("SET citus.enable_unsafe_triggers = on; CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
		UPDATE ducto.alerts SET told = told WHERE account_id = NEW.account_id; RETURN NEW; END'");
	$here->run('CREATE TRIGGER look AFTER INSERT ON ducto.ledger FOR EACH ROW EXECUTE FUNCTION look()');
	unlike($text->("SELECT ducto_charge($one, 0.03)"), qr/is_there/, "not where a trigger of somebody else's may ask Citus for something");
	$here->run('DROP TRIGGER look ON ducto.ledger; DROP FUNCTION look()');
	is($text->("SELECT ducto_charge($one, 0.04)"), $kept, 'until it is gone');
	$before -= 0.1;
	is($here->value($sum), sprintf('%.4f', $before - 3), 'and each was booked once');

	$here->run("SET datestyle = 'SQL, DMY'; SET timezone = '<W>+23:59'; SET intervalstyle = sql_standard");
	$here->run("SELECT ducto_add_credits($one, 1, 'promo', expires_at => '2090-02-03 04:05:06+00', idempotency_key => 'february')");
	$here->run("SELECT ducto_charge($one, 1)");
	$here->run('RESET ALL');
	is($here->value("SELECT expires_at = '2090-02-03 04:05:06+00' FROM ducto.grants WHERE account_id = $one AND expires_at > '2090-01-01'"),
		't', 'a day and a month keep their places, however the session writes them');

	$here->run('SET ducto.require_idempotency_key = on');
	$here->run("SELECT ducto_charge($one, 1)");
	is($here->sqlstate, '22004', 'a key that the session requires is required there');
	$here->run('SET ducto.key_mismatch = conflict');
	$here->run("SELECT ducto_charge($one, 1, 'once')");
	is($here->value("SELECT error FROM ducto_charge($one, 2, 'once')"), 'idempotency_conflict', 'and what another amount is');
	$here->run('SET ducto.rejections = raise');
	$here->run("SELECT ducto_charge($one, 100000, 'more')");
	is($here->sqlstate, 'UC001', 'a rejection is told as the session wants it');
	like($here->error->{hint}, qr/^Needed: 100000\.0000; available: /, 'with its reason');
	$here->run('RESET ALL; SET ducto.reservation_ttl = 77');
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($two, 1)");
	is($here->value("SELECT extract(epoch FROM expires_at - created_at)::int FROM ducto.reservations WHERE id = '$hold'"), '77',
		'a hold lasts as the session wants it');

	$there->run("BEGIN; SELECT ducto_charge($one, 1)");
	$here->run("SET lock_timeout = '100ms'; SELECT ducto_charge($one, 1)");
	is($here->sqlstate, '55P03', 'lock_timeout is that of the session');
	$there->run('ROLLBACK');
	$here->run('RESET ALL');
	$here->run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT balance FROM ducto_get_balance($one)");
	$there->run("SELECT ducto_charge($one, 1)");
	$here->run("SELECT ducto_charge($one, 1)");
	is($here->sqlstate, '40001', 'so is the isolation');
	$here->run('ROLLBACK');

	$here->run("SELECT ducto.add_credits_there(NULL::uuid, 1, 'promo', NULL, NULL, NULL, NULL, NULL)");
	is($here->sqlstate, '22004', 'without an account there is an error, and the server lives');

	$here->run("SELECT ducto_add_team_member('$team', $member)");
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($member, 2, team_id => '$team')");
	is($here->value("SELECT amount FROM ducto_deduct($member, '$hold', 2)"), '2.0000', "a team's hold is found by the member's call");
	is($here->value("SELECT error FROM ducto_deduct($member, '$hold', 2)"), 'reservation_closed', 'and closed');
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($member, 2)");
	$here->run(qq(SELECT ducto_settle($member, '$hold', '[{"key": "s1", "amount": 1}]', final => true)));
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($member, 2, team_id => '$team')");
	is($here->value(qq(SELECT booked FROM ducto_settle($member, '$hold', '[{"key": "s1", "amount": 1}]'))), '1', "lines of a team's hold are not those of the member");
	like($here->value("SELECT expires_at FROM ducto_renew($member, '$hold', 100)"), qr/^20/, 'which is renewed');
	is($here->value("SELECT reason FROM ducto_release($member, '$hold')"), 'released', 'and released');
	$hold = $here->value("SELECT reservation_id FROM ducto_reserve($member, 2, team_id => '$team')");
	is($here->value(qq(SELECT amount FROM ducto_charge_usage($member, '{"model": "m", "input_tokens": 100}', '$hold'))), '1.0000', 'a usage of it is charged');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	$_->quit foreach $here, $there;
}

# --- calls on the account's own node -----------------------------------------

{
	my $here = Session->new($first, dbname => 'shop');
	my ($one, $two, $three) = grep { is_on($first, $_) } @users[14 .. 23];
	my ($away) = grep { is_on($second, $_) } @users[14 .. 23];
	my $beta = 'SELECT coalesce(error, amount::text) FROM ducto_charge(%s, 1, required_feature => \'beta\')';
	my $hold = sub { my ($terms, $sql) = @_; return sprintf $sql, $here->value("SELECT reservation_id FROM ducto_reserve($terms)") };
	my $pool = "$three, 2, team_id => '$team'";
	my $told = sub {
		my (undef, undef, $told) = $first->psql('shop', "SET citus.log_local_commands = on; SET citus.log_remote_commands = on; $_[0]");

		return $told;
	};

	value("SELECT ducto_add_credits($_, 100)") foreach $one, $two, $three, $away;
	like($told->("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ducto_charge($one, 1); COMMIT"), qr/executing the command locally/,
		'in a snapshot of a transaction its statements are those of Citus');
	is($told->("SELECT $_"), '', "otherwise it has no part in $_")
	  foreach "ducto_charge($one, 1, 'own')", "ducto_add_credits($one, 1, 'promo', expires_at => now() + interval '1 hour')", "ducto_reserve($one, 1)",
	  $hold->("$one, 2", "ducto_deduct($one, '%s', 1)"), $hold->("$one, 2", "ducto_renew($one, '%s', 300)"), $hold->("$one, 2", "ducto_release($one, '%s')"),
	  $hold->("$one, 2", qq(ducto_settle($one, '%s', '[{"key": "own", "amount": 1}]'))), qq(ducto_charge_usage($one, '{"model": "m", "input_tokens": 100}'));
	is($here->value("SELECT idempotent FROM ducto_charge($one, 1, 'own')"), 't', 'keys are known');
	$here->run("SET ducto.rejections = raise; SELECT ducto_charge($one, 100000)");
	is($here->sqlstate, 'UC001', 'a rejection is raised');
	$here->run("BEGIN; SELECT ducto_charge($one, 1); SAVEPOINT s; SELECT ducto_charge($one, 100000)");
	is($here->sqlstate, 'UC001', 'amid a transaction, too');
	is($here->value("ROLLBACK TO s; SELECT sum(amount) FROM ducto.ledger WHERE account_id = $one"),
		$here->value("SELECT balance FROM ducto_get_balance($one)"), 'which sees what it has done');
	$here->run('ROLLBACK; RESET ALL');

	$here->run("SELECT ducto_set_user_plan($two, 'pro')");
	is($here->value(sprintf $beta, $two), 'feature_not_entitled', 'what a plan has not is refused');
	value(q(SELECT ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.01"},
		"plans": {"pro": {"name": "Pro", "free_allowance": 10, "features": {"beta": true}}}}')));
	is($here->value(sprintf $beta, $two), '0.0000', 'until it is given it, on another node');
	$here->run("SELECT ducto_set_user_plan($two, NULL)");

	$here->run("BEGIN; SELECT ducto_charge($one, 1)");
	like(error_of($node, 'shop', sprintf q(SET statement_timeout = '1s'; SELECT citus_move_shard_placement(
			get_shard_id_for_distribution_column('ducto.accounts', %s), '%s', %d, '%s', %d, 'block_writes')), $one,
			$first->host, $first->port, $second->host, $second->port) || 'moved', qr/timeout/,
		'the shard stays where it is until the transaction ends');
	$here->run('ROLLBACK');

	my $jwt = 'SET request.jwt.claims = \'{"sub": "' . $one =~ tr/'//dr . '"}\'';
	my ($its) = grep { is_on($first, "'$_'") } split /\n/, value(q(SELECT team_id FROM generate_series(1, 12) i, ducto_create_team('own ' || i, 10)));
	my @reads = ("ducto_get_balance($one)", "ducto_get_user_plan($one)", "ducto_check_allowance($one)", "ducto_check_feature($one, 'beta')",
		"ducto_check_spend_cap($one, 'm', 1)", "ducto_list_spend_caps($one)", "ducto_list_transactions($one)", "ducto_list_usage_lines($one)",
		"ducto_balance_at($one, '2020-01-01')", "ducto_list_grants($one)", "ducto_can_afford($one, 5)", "ducto_list_events($one)",
		"ducto_get_team_balance('$its')", "ducto_get_team_members('$its')", 'ducto_my_balance()', 'ducto_my_grants()', 'ducto_my_transactions()',
		'ducto_my_events()', 'ducto_my_plan()');
	my $read = sub { my ($at, $begin) = @_; return $at->safe_psql('shop', join ';', $jwt, $begin, map { "SELECT r FROM $_ r" } @reads) };

	$here->run("SELECT ducto_set_user_plan($one, 'pro'); SELECT ducto_set_spend_cap($one, 'daily', 50); SELECT ducto_set_alerts($one, '{50}');"
		. " SELECT ducto_charge($one, 60, skip_allowance => true); SELECT ducto_add_team_member('$its', $two)");
	is($told->("$jwt; SELECT * FROM $_"), '', "nor in the reading $_") foreach @reads;
	like($told->("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM $_; COMMIT"), qr/executing the command locally/, 'but in a snapshot of a transaction')
	  foreach @reads[ 0, 6 ];
	is($read->($first, 'SELECT 1'), $read->($first, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1'), 'which says the same');
	is($read->($first, 'SELECT 1'), $read->($_, 'SELECT 1'), 'as does who asks ' . $_->name) foreach $node, $second;
	$here->run("BEGIN; SELECT ducto_sweep_expired(); SELECT count(*) FROM ducto_add_credits_many('["
		. join(',', map { '{"user_id": "' . tr/'//dr . '", "amount": 3}' } $one, $two, $away) . "]')");
	is($here->value("SELECT balance FROM ducto_get_balance($one)"), $here->value("SELECT sum(amount) FROM ducto.ledger WHERE account_id = $one"),
		'a transaction reads what it has written by Citus');
	$here->run("ROLLBACK; SELECT ducto_remove_spend_cap($one, 'daily'); SELECT ducto_set_user_plan($one, NULL); SELECT ducto_add_credits($one, 60)");

	my $mover = Session->new($first, dbname => 'shop');
	my $moves = "BEGIN; SELECT lock_shard_metadata(7, ARRAY[get_shard_id_for_distribution_column('ducto.accounts', $one)])";

	$here->run("SET statement_timeout = '1s'");
	$mover->run("SET citus.enable_manual_changes_to_shards = on; $moves");
	is($told->("SELECT ducto_get_balance($one)"), '', 'a reading waits for no shard that is being copied');
	$mover->run("PREPARE TRANSACTION 'moves'");
	die $mover->error->{message} if $mover->error;
	$here->run("SELECT ducto_get_balance($one)");
	is($here->sqlstate, '57014', 'but for one whose move is decided');
	$mover->run("ROLLBACK PREPARED 'moves'");
	isnt($here->value("SELECT balance FROM ducto_get_balance($one)"), '', 'until that is known');
	$here->run('RESET ALL');
	$mover->quit;

	unlike($told->("BEGIN; SELECT ducto_charge($one, 1); SELECT ducto_charge($two, 1); COMMIT"), qr/PREPARE TRANSACTION|executing/,
		'a transaction on its own node is ended there');
	like($told->("BEGIN; SELECT ducto_charge($one, 1); SELECT ducto_charge($away, 1); COMMIT"), qr/PREPARE TRANSACTION/,
		'one that goes to another node, too, in two phases');
	like($told->("BEGIN; SELECT ducto_charge($away, 1); SELECT ducto_charge($one, 1); COMMIT"), qr/PREPARE TRANSACTION/, 'or comes from there');
	like($told->("SELECT ducto_charge($one, 1), ducto_charge($away, 1)"), qr/PREPARE TRANSACTION/, 'by one statement as well');
	like($told->("BEGIN; SELECT ducto_transfer($away, $two, 1); SELECT ducto_charge($one, 1); COMMIT"), qr/PREPARE TRANSACTION/, 'beside a transfer');
	is($first->safe_psql('shop', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'and is not left prepared');

	$here->run("SELECT ducto_add_team_member('$team', $three)");
	$here->run("SELECT ducto_add_team_credits('$team', 20)");
	$here->run('SET ducto.rejections = raise');
	is($here->value($hold->($pool, "SELECT amount FROM ducto_deduct($three, '%s', 2)")), '2.0000', "a team's hold is found");
	is($here->value($hold->($pool, "SELECT reason FROM ducto_release($three, '%s')")), 'released', 'released');
	is($here->value($hold->($pool, qq(SELECT booked FROM ducto_settle($three, '%s', '[{"key": "own", "amount": 1}]')))), '1', 'settled');
	is($here->value($hold->($pool, qq(SELECT amount FROM ducto_charge_usage($three, '{"model": "m", "input_tokens": 100}', '%s')))), '1.0000',
		'and charged what a usage costs');
	$here->run("SELECT ducto_deduct($three, '00000000-0000-4000-9000-000000000077', 1)");
	is($here->sqlstate, 'UC005', 'one that nobody has is not');
	$here->run('RESET ALL');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	$here->quit;
}

# --- a session that stays ---------------------------------------------------

foreach my $at ($node, $first)
{
	my $here = Session->new($at, dbname => 'shop');
	my $charges = "DO \$\$ BEGIN FOR i IN 1 .. 400 LOOP PERFORM ducto_charge($users[7], 0.0001); END LOOP; END \$\$";
	my $bytes = "SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'CachedPlan'";

	$here->run($charges);
	cmp_ok($here->value($bytes), '<', 12_000_000, 'plans of a session on ' . $at->name . ' do not grow with each call');
	$here->quit;
}

# --- events of all nodes ----------------------------------------------------

{
	my ($one, $other) = map { Session->new($node, dbname => 'shop') } 1, 2;
	my %at = ($users[8] => $node, $users[9] => $first, $users[10] => $second);

	$one->run('SELECT ducto_ack_events(array_agg(id)) FROM ducto_take_events()');
	$one->run("SELECT ducto_set_alerts($_, '{50}')") foreach sort keys %at;
	$at{$_}->safe_psql('shop', "SELECT ducto_charge($_, 60)") foreach sort keys %at;
	is(value('SELECT count(DISTINCT origin) FROM ducto.events WHERE acked_at IS NULL'), '2', 'each node writes the events of its accounts');
	$one->run('BEGIN');
	is($one->value('SELECT count(*) FROM ducto_take_events(1)'), '1', 'one session takes an event');
	is($other->value('SELECT count(DISTINCT id) FROM ducto_take_events()'), '2', 'another those that are left, of whichever node');
	$one->run('ROLLBACK');
	is($other->value("SELECT string_agg(kind || ' ' || attempt, ', ') FROM ducto_take_events(kinds => '{balance_low}')"), 'balance_low 1',
		'what was not taken after all comes again');
	is($one->value('SELECT count(*) FROM ducto_take_events()'), '0', 'what is leased does not');
	is($first->safe_psql('shop', q(SELECT ducto_ack_events(array_agg(id)) FROM ducto_list_events('00000000-0000-4000-9000-000000000009'))), '1',
		'an event is acknowledged on any node');
	$one->run("UPDATE ducto.events SET visible_at = '2020-01-01'");
	is($first->safe_psql('shop', 'SELECT count(*), min(attempt) FROM ducto_take_events()'), '2|2', 'the others come when their lease is over, there too');
	$one->run(q(SELECT array_agg(id) AS ids FROM ducto.events \gset));
	is($one->value(q(SELECT ducto_ack_events(:'ids'))), '2', 'and are acknowledged together');
	is($one->value(q(SELECT ducto_ack_events(:'ids'))), '0', 'once');
	$one->run("UPDATE ducto.events SET visible_at = '2020-01-01'");
	is($one->value('SELECT count(*) FROM ducto_take_events()'), '0', 'and never come again');
	$_->quit foreach $one, $other;
}

# --- batches, over all shards ----------------------------------------------

{
	my ($user) = $users[6] =~ /'(.*)'/;
	my $charges = join ',', map { my $id = $_ =~ tr/'//dr; qq({"user_id": "$id", "amount": 2, "idempotency_key": "batch"}) } @users;
	my $credits = $charges =~ s/"batch"/"credit"/gr;
	my $hold = value("SELECT reservation_id FROM ducto_reserve('$user', 10)");
	my $lines = '[{"key": "l1", "amount": 1, "model": "m"}, {"key": "l2", "amount": 2}]';

	is(value("SELECT count(*) FROM ducto_charge_many('[$charges]') WHERE error IS NULL AND NOT idempotent"), scalar @users, 'a batch of charges');
	is(value("SELECT count(*) FROM ducto_charge_many('[$charges]') WHERE idempotent"), scalar @users, 'and its retry');
	is(value("SELECT count(*) FROM ducto_add_credits_many('[$credits]') WHERE error IS NULL AND NOT idempotent"), scalar @users, 'of credits');
	my $zoned = $credits =~ s/"credit"/"zoned", "expires_at": "2099-01-01 12:00"/gr;
	value("SET timezone = 'Pacific/Kiritimati'; SELECT count(*) FROM ducto_add_credits_many('[$zoned]')");
	is(value("SELECT count(*), min(expires_at AT TIME ZONE 'Pacific/Kiritimati'), max(expires_at AT TIME ZONE 'Pacific/Kiritimati')"
			  . " FROM ducto.ledger WHERE idempotency_key = 'zoned'"),
		scalar(@users) . '|2099-01-01 12:00:00|2099-01-01 12:00:00', 'times are those of the zone of who asks, on each node');
	is(value("SELECT booked, skipped, amount FROM ducto_settle('$user', '$hold', '$lines')"), '2|0|3.0000', 'lines under a hold');
	is(value("SELECT booked, skipped, amount FROM ducto_settle('$user', '$hold', '$lines', final => true)"), '0|2|0.0000', 'once each');
	is(value("SELECT count(*) FROM ducto_list_usage_lines('$user')"), '2', 'and listed');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
}

# --- batches and sweeps, shard by shard -----------------------------------

foreach my $at ($node, $first)
{
	my $name = $at->name;
	my $here = Session->new($at, dbname => 'shop');
	my @ids = map { tr/'//dr } @users;
	my $sums = join ',', map { qq({"user_id": "$ids[$_ % 12]", "amount": $_, "idempotency_key": "$name-$_"}) } 1 .. 60;
	my $odd = join ',', map { qq({"user_id": "$ids[$_]", "usage": {"model": "odd", "input_tokens": $_}}) } 1 .. 9;
	my $more = join ',', map { qq({"user_id": "$ids[$_]", "amount": @{[ $_ % 2 ? 1 : 1000000 ]}}) } 0 .. 9;
	my $pool = qq({"user_id": "$ids[1]", "team_id": "$team", "amount": 1}, {"user_id": "$ids[20]", "team_id": "$team", "amount": 1});
	my $entries = 'SELECT count(*) FROM ducto.ledger';
	my ($before, $after, $sent);

	$here->run(q(SELECT ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.01", "odd": "1 / (input_tokens - 7)"}}')));
	is($here->value("SELECT string_agg(position || ' ' || amount::int, ', ' ORDER BY position) FROM ducto_add_credits_many('[$sums]')"),
		join(', ', map { "$_ $_" } 1 .. 60), "$name: each element has its row");
	is($here->value("SELECT count(*) FROM ducto_add_credits_many('[$sums]') WHERE idempotent"), '60', "$name: and its key");
	is($here->value("SELECT string_agg(CASE WHEN error IS NULL THEN '-' ELSE 'no' END, ' ') FROM ducto_charge_many('[$more]')"), join(' ', ('no', '-') x 5),
		"$name: and its rejection");
	is($here->value("SELECT string_agg(coalesce(error, '-'), ' ') FROM ducto_charge_many('[$pool]')"), '- user_not_in_team',
		"$name: pools of teams are charged where they are");
	$before = value($entries);
	$here->run("SELECT ducto_charge_many('[$odd]')");
	is($here->sqlstate, '22012', "$name: an error ends all of it");
	like($at->psql('shop', "SELECT ducto_charge_many('[$odd]')") && error_of($at, 'shop', "SELECT ducto_charge_many('[$odd]')"),
		qr/element 6 of argument/, "$name: it names its element");
	is(value($entries), $before, "$name: and nothing was booked on any node");
	$here->run("SET ducto.rejections = raise; SELECT ducto_charge_many('[$more]')");
	is($here->sqlstate, 'UC001', "$name: a rejection is raised where it is to be");
	$here->run('RESET ducto.rejections');
	$here->run("BEGIN; SELECT ducto_charge_many('[$pool]'); SELECT ducto_add_credits_many('[" . $sums =~ s/"$name-/"$name again-/gr . "]')");
	like(error_of($node, 'shop', "SET statement_timeout = '1s'; SELECT citus_move_shard_placement(shardid, p.nodename, p.nodeport, n.nodename, n.nodeport, 'block_writes')
		FROM pg_dist_shard JOIN pg_dist_shard_placement p USING (shardid)
		JOIN pg_dist_node n ON n.shouldhaveshards AND n.nodeport <> p.nodeport
		WHERE shardid = get_shard_id_for_distribution_column('ducto.accounts', $users[1])") || 'moved', qr/timeout/,
		"$name: a shard stays where it is until the batch ends");
	$here->run('ROLLBACK');
	is(value($entries), $before, "$name: which may be rolled back on all nodes");
	$here->quit;
}
is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');

# --- batches on all nodes at once --------------------------------------------

foreach my $at ($node, $first)
{
	my $name = $at->name;
	my $here = Session->new($at, dbname => 'shop');
	my $other = Session->new($second, dbname => 'shop');
	my @ids = map { tr/'//dr } @users;
	my @new = map { sprintf '00000000-0000-4000-9%03d-%012d', $at == $node ? 1 : 2, $_ } 1 .. 16;
	my $batch = sub { my ($more, @of) = @_; return '[' . (join ',', map { qq({"user_id": "$_", "amount": 1$more}) } @of) . ']' };
	my $booked = sub { return value("SELECT count(*) FROM ducto.ledger WHERE idempotency_key LIKE '$name at once $_[0]%'") };
	my $key = sub { return qq(, "idempotency_key": "$name at once $_[0]") };
	my $charges = sub { return "ducto_charge_many('" . $batch->($key->($_[0]), @ids) . "')" };
	my (undef, undef, $told) = $at->psql('shop', "SET citus.log_remote_commands = on; SELECT count(*) FROM " . $charges->('free'));
	my $waiting = sub {
		my ($call) = @_;
		my $waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'many_shard|lock_shard'";
		my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;

		usleep(50_000) while $tries-- > 0 && !grep({ $_->safe_psql('shop', $waits) } $node, $first, $second) && $call->pumpable && $call->pump_nb;
	};
	my ($found, $call);

	is(scalar(() = $told =~ /charge_many_shards/g), $at == $node ? 2 : 1, "$name: each other node is sent one statement");
	is(scalar(() = $told =~ /array_position[^\n]*charge_many_shards/g), $at == $node ? 2 : 0, "$name: to all of them at once");
	is($booked->('free'), scalar @ids, "$name: each once");
	is($here->value("SELECT count(*) FROM ducto_add_credits_many('" . $batch->($key->('new'), @new) . "') WHERE error IS NULL AND new_balance = 1"),
		scalar @new, "$name: accounts are made, on shards that have none of these");
	is($here->value("SELECT string_agg(idempotent::text, ' ' ORDER BY position) FROM ducto_charge_many('"
			  . $batch->($key->('twice'), @ids[ 0 .. 5, 0 .. 5 ]) . "')"),
		join(' ', ('false') x 6, ('true') x 6), "$name: a key is one of its account, and books once there");
	$here->run('BEGIN; SELECT count(*) FROM ' . $charges->('kept') . '; SAVEPOINT s; SELECT count(*) FROM ' . $charges->('undone') . '; ROLLBACK TO s; COMMIT');
	is(join('|', $booked->('kept'), $booked->('undone')), @ids . '|0', "$name: a savepoint is kept to on all nodes");

	(undef, undef, $told) = $at->psql('shop', 'BEGIN; SET LOCAL citus.force_max_query_parallelization = on; UPDATE ducto.accounts SET kind = kind WHERE balance IS NULL;'
		  . ' SET LOCAL citus.log_remote_commands = on; SELECT count(*) FROM ' . $charges->('apart') . '; COMMIT');
	cmp_ok(scalar(() = $told =~ /charge_many_shards/g), '>', 2, "$name: shards written to by several connections are sent to one by one");
	is($booked->('apart'), scalar @ids, "$name: and each charge is booked once");

	$other->run("BEGIN; SELECT ducto_charge($users[11], 1)");
	$here->run("SET lock_timeout = '400ms'; SELECT " . $charges->('late'));
	is($here->sqlstate, '55P03', "$name: an account that is locked is waited for as long as the session says");
	$here->run("RESET lock_timeout; SET statement_timeout = '700ms'; SELECT " . $charges->('late'));
	is($here->sqlstate, '57014', "$name: and a batch that waits is cancelled");
	is($booked->('late'), '0', "$name: no node has booked anything then");
	$here->run('RESET statement_timeout');
	$call = IPC::Run::start([ 'psql', '-XAtq', '-d', $at->connstr('shop'), '-c',
		'SELECT count(*) FILTER (WHERE error IS NULL AND NOT idempotent) FROM ' . $charges->('patient') ], '>', \$found, '2>&1');
	$waiting->($call);
	$other->run('COMMIT');
	$call->finish;
	is($found, @ids . "\n", "$name: one that waits for it goes on");
	is($booked->('patient'), scalar @ids, "$name: and has booked once, whatever it had begun");
	$_->quit foreach $here, $other;
}

{
	my $elements = sub { return '[' . (join ',', map { my $id = tr/'//dr; qq({"user_id": "$id", "amount": 0.01}) } @_) . ']' };
	my $count = "SELECT count(*) FROM ducto.ledger";
	my $before = value($count);
	my @calls;

	foreach my $way ([ $node, @users ], [ $first, reverse @users ], [ $second, @users ])
	{
		my ($at, @of) = @$way;
		my $file = $at->basedir . '/batches.sql';
		my $out;

		PostgreSQL::Test::Utils::append_to_file($file, "SELECT ducto_charge_many('" . $elements->(@of) . "');\n");
		push @calls, [ IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-t', '15', '-f', $file, $at->connstr('shop') ], '>', \$out, '2>&1'), \$out ];
	}
	foreach my $call (@calls)
	{
		$call->[0]->finish;
		like(${ $call->[1] }, qr{processed: 30/30}, 'batches on the same accounts from several nodes are no deadlock');
	}
	is(value($count), $before + 90 * @users, 'and all of them are booked');
}
is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');

# --- plans given at once ---------------------------------------------------

$node->pgbench('--no-vacuum --client=4 --transactions=40 shop', 0, [qr{processed: 160/160}], [qr{^\s*$}], 'plans change and are used without a deadlock',
	{ 'plans' => q(\set n random(10, 24)
		SELECT ducto_set_user_plan(('00000000-0000-4000-9000-0000000000' || :n)::uuid, 'pro');
		SELECT ducto_charge(('00000000-0000-4000-9000-0000000000' || :n)::uuid, 0.01);
		SELECT ducto_set_user_plan(('00000000-0000-4000-9000-0000000000' || :n)::uuid, NULL);) });

# --- figures over all nodes ------------------------------------------------

is(value("SELECT sum(total_spend) FROM ducto_spend_by_user($where)"), value("SELECT sum(-amount) FROM ducto.ledger WHERE type = 'usage'"),
	'the spend of all is that of the ledger');
{
	my $open = Session->new($second, dbname => 'shop');

	$open->run("BEGIN; SELECT ducto_charge($users[0], 1)");
	is($_->safe_psql('shop', "SELECT sum(total_spend) FROM ducto_spend_by_user($where)"), value("SELECT sum(-amount) FROM ducto.ledger WHERE type = 'usage'"),
		'it is so on ' . $_->name . ', whatever transactions run elsewhere')
	  foreach $node, $first, $second;
	$open->run('ROLLBACK');
	$open->quit;
}
restore('figures');
foreach my $figures (map({ "ducto_$_($where)" } qw(spend_by_user spend_by_model daily_spend aggregate_stats books)), "ducto_top_users(3, $where)")
{
	my ($name) = $figures =~ /ducto_(\w+)/;
	my ($rc, $rows, $told) = $node->psql('shop', "SET citus.log_remote_commands = on; SELECT * FROM $figures");
	my @read = grep { /ducto\.ledger_/ } split /NOTICE:/, $told;

	is($rows, $node->safe_psql('figures', "SELECT * FROM $figures"), "$name is what it is on one server");
	ok(@read >= 8 && !grep({ !/GROUP BY/ } @read), 'and brings the sums of the nodes, not their entries');
}
{
	my $odd   = Session->new($first, dbname => 'shop');
	my $shards = value(q(SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 'ducto.accounts'::regclass));
	my @times = split /\n/, value('SELECT DISTINCT ON (rank) effective_at FROM (SELECT effective_at, ntile(3) OVER (ORDER BY effective_at) AS rank FROM ducto.ledger) e');

	$odd->run("SET datestyle = 'SQL, DMY'; SET timezone = '<W>+23:59'; SET intervalstyle = sql_standard");
	foreach my $owed ('NULL', map { "'$_'" } @times)
	{
		my $sql = "SELECT l FROM ducto_liability($owed) l";

		is(value($sql), $node->safe_psql('figures', $sql), "what is owed at $owed is what it is on one server");
		is($odd->value($sql), value($sql), 'however the session writes times');

		my (undef, undef, $told) = $node->psql('shop', "SET citus.log_remote_commands = on; $sql");
		my @sent = grep { /issuing SELECT/ } split /NOTICE:/, $told;

		is(scalar @sent, $shards, 'by a statement for each shard');
	}
	my $owed = 'SELECT paid + granted + other - in_debt FROM ducto_liability()';
	my $was  = $odd->value($owed);

	$odd->run("BEGIN; SELECT ducto_add_credits($users[0], 3); SELECT ducto_add_credits($users[1], 2, 'promo', expires_at => '2222-01-01')");
	is($odd->value($owed) - $was, 5, 'a transaction finds what it has done');
	$odd->run('ROLLBACK');
	is($odd->value('SELECT count(*) FROM ducto_verify()'), '0', 'nor does the auditor mind');
	is($odd->value(q(SELECT value FROM ducto_metrics() WHERE name = 'ducto_accounts')), value('SELECT count(*) FROM ducto.accounts'), 'or the monitor');
	is($odd->value("SELECT ok FROM (SELECT count(*) = 0 AS ok FROM ducto_repair($users[0])) r"), 't', 'or who repairs');
	$odd->quit;
}
is(value("SELECT total_spend FROM ducto_daily_spend($where)"), value("SELECT sum(-amount) FROM ducto.ledger WHERE type = 'usage'"),
	'so is that of the day');
is(value("SELECT sum(amount) FROM ducto_books($where)"), value('SELECT sum(balance) FROM ducto.accounts'), 'the books are the balances');
is(value('SELECT ducto_rollup()'), '0', 'there is no rollup');
is(value('SELECT paid + granted + other - in_debt FROM ducto_liability()'), value('SELECT sum(balance) FROM ducto_list_accounts(max_rows => 1000)'),
	'what is owed is what there is');
is(value('SELECT count(*) FROM ducto_list_accounts(max_rows => 100)'), value('SELECT count(*) FROM ducto.accounts'), 'all accounts are listed');

{
	my %figure = map { split /\|/ } split /\n/, $first->safe_psql('shop', 'SELECT name, value FROM ducto_metrics()');

	is($figure{ducto_accounts}, value('SELECT count(*) FROM ducto.accounts'), 'a monitor on a worker sees all accounts');
	cmp_ok(abs($figure{ducto_balance_credits} - value('SELECT sum(balance) FROM ducto.accounts')), '<', 1e-6, 'all credits');
	is($figure{ducto_open_holds}, value("SELECT count(*) FROM ducto.reservations WHERE state = 'open' AND expires_at > now()"), 'all holds');
	$first->safe_psql('shop', "SELECT ducto_set_alerts($_, '{30}'); SELECT ducto_charge($_, balance - 20) FROM ducto_get_balance($_)") foreach @users[19 .. 21];
	%figure = map { split /\|/ } split /\n/, value('SELECT name, value FROM ducto_metrics()');
	is($figure{ducto_events_waiting}, value('SELECT count(*) FROM ducto.events WHERE acked_at IS NULL'), 'and the events of all nodes');
	cmp_ok($figure{ducto_events_waiting}, '>=', 3, 'of which there are some');
	ok(!exists $figure{ducto_rollup_lag_seconds}, 'and no rollup that falls behind');
	$node->safe_psql('shop', "SELECT ducto_create_team('team ' || n, n) FROM generate_series(1, 8) n");
	is(value('SELECT sum(balance), sum(member_count) FROM ducto_list_teams(max_rows => 100)'),
		value('SELECT sum(a.balance) FROM ducto.accounts a JOIN ducto.teams t ON t.id = a.id') . '|'
		  . value('SELECT count(*) FROM ducto.team_members WHERE left_at IS NULL'),
		'teams of all nodes are listed');
}

# --- sweeps ----------------------------------------------------------------

value(join '; ', map { "SELECT ducto_add_credits($_, 1, 'promo', expires_at => clock_timestamp() + interval '4 s')" } @users);
value("SELECT ducto_reserve($_, 1, ttl_seconds => 3)") foreach @users[0 .. 3];
value('SELECT pg_sleep(5)');
my $due = value('SELECT expired_count FROM ducto_sweep_expired(dry_run => true)');
cmp_ok($due, '>=', scalar @users, 'what a sweep of all shards would do');
is(meet('BEGIN; SELECT expired_count FROM ducto_sweep_expired(); ROLLBACK', 'on both workers at once', 'ledger', 'sweep_shard'), "$due\n",
	'is done, in the transaction of the caller');
meet('BEGIN; SELECT ducto_expire_reservations(); ROLLBACK', 'reservations that are over', 'reservations', 'sweep_shard');
like(meet('CALL ducto_sweep(100)', 'and a sweep that commits', 'ledger', 'sweep_shard'), qr/swept (\d+) of \1 accounts/, 'does all');
is(value('SELECT expired_count FROM ducto_sweep_expired(dry_run => true)'), '0', 'so that nothing is left');

value(join '; ', map { "SELECT ducto_add_credits($_, 1, 'promo', expires_at => clock_timestamp() + interval '4 s')" } @users);
value("SELECT ducto_reserve($_, 1, ttl_seconds => 3)") foreach @users[0 .. 3];
value('SELECT pg_sleep(5)');
$due = value('SELECT expired_count FROM ducto_sweep_expired(dry_run => true)');
is(value('SELECT expired_count FROM ducto_sweep_expired(max_accounts => 3)'), '3', 'or a part of it');
{
	my $locked = Session->new($second, dbname => 'shop');
	my $swept = value("SELECT count(*) FROM ducto.grants WHERE account_id = $users[23] AND live AND expires_at < now()") ? 4 : 3;

	$locked->run("BEGIN; SELECT FROM ducto.accounts WHERE id = $users[23] FOR UPDATE");
	is($first->safe_psql('shop', 'SELECT expired_count FROM ducto_sweep_expired()'), $due - $swept, 'and from a worker, but for who is locked');
	$locked->run('ROLLBACK');
	$locked->quit;
}
value('CALL ducto_sweep(5)');
is(value("SELECT count(*) FROM ducto.reservations WHERE state = 'open' AND expires_at < now()"), '0', 'and one that commits');

# --- what is removed, and told of --------------------------------------------

{
	my $old = q(state <> 'open' AND closing_key IS NULL AND closed_at < now() + interval '1 minute');
	my $ended = value("SELECT count(*) FROM ducto.reservations WHERE $old");
	my $prune = "SELECT ducto_prune_reservations(now() + interval '1 minute'";
	my $locked = Session->new($first, dbname => 'shop');
	my $kept;

	cmp_ok($ended, '>', 8, 'there are old reservations');
	is(meet("BEGIN; $prune); ROLLBACK", 'they are removed on both workers at once', 'reservations', 'prune_shard'), "$ended\n", 'all of them');
	is(value("$prune, 3)"), '3', 'or as many as one likes');
	$locked->run("BEGIN; SELECT FROM ducto.accounts WHERE id = $users[1] FOR UPDATE");
	$kept = value("SELECT count(*) FROM ducto.reservations WHERE $old AND account_id = $users[1]");
	is($first->safe_psql('shop', "$prune)"), $ended - 3 - $kept, 'from a worker, but for an account that is locked');
	$locked->run('ROLLBACK');
	is(value("BEGIN ISOLATION LEVEL REPEATABLE READ; $prune); COMMIT"), $kept, 'one by one in a snapshot');
	is(value("$prune)"), '0', 'and nothing is left');
	$locked->quit;
}
{
	my $told = q(SELECT count(*), count(DISTINCT origin) FROM ducto.events WHERE kind = 'grant_expiring');
	my $acked;

	value("SELECT ducto_set_alerts($_, expiring_days => 7), ducto_add_credits($_, 1, 'promo', expires_at => now() + interval '5 days')") foreach @users[2 .. 9];
	meet('BEGIN; SELECT ducto_sweep_expired(); ROLLBACK', 'credit that expires soon', 'events', 'tell_expiring_shard');
	value('CALL ducto_sweep()');
	is(value($told), '8|2', 'and is told of where it is');
	my $waiting = value('SELECT count(*) FROM ducto.events WHERE acked_at IS NULL');
	is(value('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ducto_ack_events(array_agg(id)) FROM ducto.events; ROLLBACK'), $waiting, 'and acknowledged one by one in a snapshot');
	{
		my $ids = value('SELECT array_agg(id) || array_agg(id) || gen_random_uuid() FROM ducto.events');
		my (undef, $done, $sent) = $node->psql('shop', "SET citus.log_remote_commands = on; BEGIN; SELECT ducto_ack_events('$ids'); ROLLBACK");
		my @calls = map { my $call; [ IPC::Run::start([ 'psql', '-XAtq', '-d', $_->connstr('shop'), '-c', "SELECT ducto_ack_events('$ids')" ], '>', \$call, '2>&1'), \$call ] }
		  ($first, $second) x 3;

		is($done, $waiting, 'or of each shard together, once each');
		is(scalar(grep { /UPDATE ducto\.events/ } split /\n/, $sent), 0, 'by no statement of each event');
		cmp_ok(scalar(grep { /ack_events_shard/ } split /\n/, $sent), '<=', 8, 'but by one of each shard');
		$_->[0]->finish foreach @calls;
		is(join(' ', sort map { ${ $_->[1] } =~ s/\n//r } @calls), "0 0 0 0 0 $waiting", 'and those who do it at once do it once');
	}
	value("UPDATE ducto.events SET acked_at = '2020-01-01'");
	$acked = value('SELECT count(*) FROM ducto.events');
	is(meet('BEGIN; SELECT ducto.prune_events(); ROLLBACK', 'old events', 'events', 'prune_events_shard'), "$acked\n", 'are removed in the same way');
	value('CALL ducto_sweep()');
	is(value('SELECT count(*) FROM ducto.events WHERE acked_at IS NOT NULL'), '0', 'by a sweep');
}

# --- the auditor ------------------------------------------------------------

{
	my ($rc, $found, $told) = $node->psql('shop', 'SET client_min_messages = debug1; SELECT count(*) FROM ducto_verify()');

	is($found, '0', 'nothing to find for the auditor');
	like($told, qr/generating subplan/, 'who has the shards looked through where they are');
	unlike($told, qr/FROM ducto\.\w+ \w+ WHERE true/, 'and brings no table here');
}

# --- what is kept ----------------------------------------------------------

like(error_of($node, 'shop', "DELETE FROM ducto.$_"), qr/are not removed|append-only/, "rows of $_ are not removed by hand")
  foreach qw(accounts ledger grants team_members);
value("SELECT ducto_set_spend_cap($users[0], 'daily', 1000)");
like(error_of($node, 'shop', 'DELETE FROM ducto.spend_caps'), qr/are not removed/, 'nor those that ducto removes');
like(error_of($node, 'shop', 'UPDATE ducto.ledger SET amount = 0'), qr/append-only/, 'an entry is not changed');
is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');

# --- who may call -----------------------------------------------------------

value('CREATE ROLE caller LOGIN');
foreach my $way ([ grant => qr/^$/ ], [ revoke => qr/permission denied for function ducto_get_balance/ ])
{
	my ($what, $told) = @$way;

	value("SELECT ducto_${what}_access('caller')");
	like(error_of($_, 'shop', "SET ROLE caller; SELECT ducto_get_balance($users[0])"), $told, "each node heeds a $what: " . $_->name)
	  foreach $node, $first, $second;
}

# --- a worker that is killed, a shard that moves, a node that joins ---------

my $sum = value('SELECT sum(balance) FROM ducto.accounts');

kill_all($second);
is($node->psql('shop', 'SELECT sum(balance) FROM ducto.accounts'), 3, 'without a worker there is an error');
$second->start;
$node->poll_query_until('shop', "SELECT sum(balance) = $sum FROM ducto.accounts") or die 'the worker does not come back';
is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing was lost');

my $mover = Session->new($first, dbname => 'shop');
$mover->run("SELECT ducto_charge($_, 0.01)") foreach @users, @users;
$sum = value('SELECT sum(balance) FROM ducto.accounts');
$third->safe_psql('postgres', 'CREATE DATABASE shop');
$third->safe_psql('shop', 'CREATE EXTENSION citus');
$cluster->add('shop', $third);
value(q(SELECT rebalance_table_shards(shard_transfer_mode => 'block_writes')));
is(value(q(SELECT count(DISTINCT p.groupid) FROM pg_dist_placement p JOIN pg_dist_shard s USING (shardid)
		WHERE s.logicalrelid = 'ducto.accounts'::regclass)), '3',
	'a node that joined has shards');
is(value('SELECT sum(balance) FROM ducto.accounts'), $sum, 'and the credits are what they were');
is(scalar(grep { $mover->value("SELECT error IS NULL FROM ducto_charge($_, 0.01)") eq 't' } @users), scalar(@users),
	'a session that was on the node of an account finds it where it went');
my ($stays) = grep { is_on($first, $_) } @home;
foreach my $way ([ $first, $second ], [ $second, $first ])
{
	my ($from, $to) = @$way;

	my $gate  = Session->new($to, dbname => 'shop');
	my $kept  = Session->new($to, dbname => 'shop');
	my $found = '';
	my $older;

	$gate->run('SELECT pg_advisory_lock(7)');
	$older = IPC::Run::start([ 'psql', '-XAtq', '-d', $to->connstr('shop'), '-o', '/dev/null', '-c', "SELECT ducto_get_balance($stays)", '-c', '\o', '-c',
		"SELECT balance FROM (SELECT coalesce(nullif(pg_advisory_lock(7)::text, ''), $stays)::uuid AS id OFFSET 0) u, ducto_get_balance(u.id)" ], '>', \$found, '2>&1');
	$kept->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
	$to->poll_query_until('shop', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'") or die 'nobody waits';
	value(sprintf q(SELECT citus_move_shard_placement(get_shard_id_for_distribution_column('ducto.accounts', %s), '%s', %d, '%s', %d, 'block_writes')),
		$stays, $from->host, $from->port, $to->host, $to->port);
	is($mover->value("SELECT amount FROM ducto_charge($stays, 0.01)"), '0.0100', 'one that moves to ' . $to->name . ' as well');
	$gate->run('SELECT pg_advisory_unlock(7)');
	$older->finish;
	is($found, value("SELECT balance FROM ducto_get_balance($stays)") . "\n", 'a statement that is older than it finds what came with it');
	$kept->run("SELECT balance FROM ducto_get_balance($stays)");
	is($kept->sqlstate, '40001', 'a transaction whose snapshot is older has to be tried again');
	value("SELECT ducto_charge($stays, 0.01)");
	is($_->value("SELECT balance FROM ducto_get_balance($stays)"), value("SELECT balance FROM ducto_get_balance($stays)"),
		'and sessions what is charged there') foreach $mover, $gate;
	$_->quit foreach $gate, $kept;
	value('CALL citus_cleanup_orphaned_resources()');
}
$mover->quit;
is($session->value("SELECT count(*) FROM ducto_charge_many('[" . join(',', map { '{"user_id": "' . tr/'//dr . '", "amount": 0.01}' } @users) . "]') WHERE error IS NULL"),
	scalar @users, 'a batch finds all accounts where they are now');
is($session->value("SELECT amount FROM ducto_charge($users[0], 1)"), '1.0000', 'a session goes on');
is($third->safe_psql('shop', "SELECT amount FROM ducto_charge($_, 1)"), '1.0000', "calls on the new node") foreach @users[3 .. 5];
like(error_of($node, 'shop', 'DELETE FROM ducto.ledger'), qr/append-only/, 'shards that moved are kept, too');
is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');

$session->quit;
$cluster->stop;

# --- the property test -----------------------------------------------------

{
	local $ENV{DUCTO_CITUS} = 1;
	local $ENV{DUCTO_STEPS} = STEPS;
	local $ENV{DUCTO_SEED}  = int(rand(2**31));
	my $told = `$^X $FindBin::RealBin/model.pl 2>&1`;

	ok($? == 0, "the property test on a cluster, seed $ENV{DUCTO_SEED}") or diag($told);
}

done_testing();
