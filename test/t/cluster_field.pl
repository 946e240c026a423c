
# A cluster in the field: clients that do everything at once, over all of its
# nodes, while a worker is killed, shards move and a node joins. Then their money
# is counted again from their notes. And what of that can be told one by one:
# what a session knows of the shards, and that they stay while an account is locked.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use Crash qw(kill_all);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

my $patience = $PostgreSQL::Test::Utils::timeout_default;
my @settings = (q(citus.recover_2pc_interval = '1s'), 'synchronous_commit = on');
my $cluster  = Citus->new('field', workers => 3, settings => \@settings);
my $node     = $cluster->coordinator;
my ($first, $second, $third) = $cluster->workers;
my $prepared = 'SELECT count(*) FROM pg_prepared_xacts';

# a value of a database on the coordinator
sub value { return $node->safe_psql(@_) }

# --- everything at once -----------------------------------------------------

# Wait until so many more entries are booked.
sub work
{
	my ($entries) = @_;
	my $before = value('hammer', 'SELECT count(*) FROM ducto.ledger');

	return $node->poll_query_until('hammer', "SELECT count(*) > $before + $entries FROM ducto.ledger");
}

# Call a function of Citus that moves shards, again while it is ended because of a deadlock, as an operator does.
sub moved
{
	my ($call) = @_;

	return $node->poll_query_until('hammer', "SELECT true FROM set_config('client_min_messages', 'error', false), LATERAL ($call) m");
}

# Move a shard of accounts from the first node to the second.
sub move
{
	my ($mode) = @_;
	my ($from, $to) = map { sprintf "'%s', %d", $_->host, $_->port } $first, $second;

	return moved("SELECT citus_move_shard_placement(min(shardid), $from, $to, '$mode') FROM pg_dist_shard JOIN pg_dist_shard_placement
		USING (shardid) WHERE logicalrelid = 'ducto.accounts'::regclass AND nodeport = @{[ $first->port ]}");
}

$cluster->empty('hammer', $first, $second);
value('hammer', 'CREATE EXTENSION ducto; SELECT * FROM ducto_distribute(6)');
my $notes = PostgreSQL::Test::Utils::tempdir();
my ($out, $err) = ('', '');
my $run;
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'hammer');
	my $ports = join ',', map { $_->port } $node, $cluster->workers;

	my @hammer = ("$FindBin::RealBin/../hammer/hammer.py", '--still', '--seed', '1', '--patience', $patience, '--nodes', $ports);

	$run = IPC::Run::start([ '/usr/bin/python3', @hammer, '--notes', $notes, $patience, 6, 8 ], '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout(3 * $patience));
}
$node->poll_query_until('hammer', 'SELECT count(*) > 100 FROM ducto.ledger') or die 'nobody works';

kill_all($second);
$second->start;
ok(work(100), 'the clients go on when a worker was killed and is back');
ok(move($_), "a shard has moved by $_") foreach 'block_writes', 'force_logical';
ok(work(50), 'and they go on');
$third->safe_psql('postgres', 'CREATE DATABASE hammer');
$third->safe_psql('hammer', 'CREATE EXTENSION citus');
$cluster->add('hammer', $third);
ok(moved('SELECT rebalance_table_shards()'), 'a node has joined');
ok(work(50), 'and they go on');
is(value('hammer', "SELECT count(DISTINCT groupid) FROM pg_dist_placement JOIN pg_dist_shard USING (shardid)
		WHERE logicalrelid = 'ducto.accounts'::regclass"), '3', 'the node has its part');
foreach my $at ($node, $cluster->workers)
{
	ok($at->poll_query_until('hammer', "SELECT count(*) = 0 FROM pg_prepared_xacts WHERE prepared < now() - interval '3 s'"),
		'what was cut off has ended');
}

PostgreSQL::Test::Utils::append_to_file("$notes/stop", '');
ok(IPC::Run::finish($run), 'the notes of the clients explain all money') or diag($out . $err);
note($out);
is(value('hammer', 'SELECT * FROM ducto_verify()'), '', 'nothing to find for the auditor');
is($_->safe_psql('hammer', $prepared), '0', 'and nothing is prepared') foreach $node, $cluster->workers;

# --- what a session knows of the shards -------------------------------------

$cluster->empty('known', $first, $second);
value('known', 'CREATE EXTENSION ducto; ALTER DATABASE known SET citus.max_cached_conns_per_worker = 0');
{
	my $old = Session->new($node, dbname => 'known');
	my $here = Session->new($node, dbname => 'known');
	my $locks = Session->new($node, dbname => 'known');
	my ($user) = "'00000000-0000-4000-9000-000000000001'";

	$old->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT ducto.is_distributed()');
	value('known', 'SELECT * FROM ducto_distribute(4)');
	is($old->value('SELECT ducto.is_distributed()'), 't', 'a snapshot from before the tables were distributed does not hide that');
	$old->run("SELECT ducto_add_credits($user, 100)");
	is($old->sqlstate, '00000', 'nor where the accounts are');
	$old->run('COMMIT');
	$locks->run('BEGIN; LOCK TABLE pg_dist_shard IN ACCESS EXCLUSIVE MODE');
	$here->run("SET lock_timeout = '100ms'; SELECT ducto.is_distributed()");
	is($here->sqlstate, '55P03', 'a session that could not find out where the shards are');
	$locks->run('ROLLBACK');
	is($here->value("SELECT balance_after FROM ducto_charge($user, 1)"), '99.0000', 'finds it out when it can');
	$_->quit foreach $old, $here, $locks;
}

# --- a shard that is to move under an account that is locked -----------------

{
	my $team = value('known', "SELECT team_id FROM ducto_create_team('crew', 10)");
	my $user = "'00000000-0000-4000-9000-000000000001'";
	my $from = "pg_dist_shard_placement p WHERE p.shardid = get_shard_id_for_distribution_column('ducto.accounts', '$team')";
	my $to = "pg_dist_node n WHERE n.shouldhaveshards AND n.nodeport <> (SELECT nodeport FROM $from)";
	my $move = "SELECT citus_move_shard_placement(p.shardid, p.nodename, p.nodeport, n.nodename, n.nodeport, 'block_writes')
		FROM pg_dist_shard_placement p, $to AND p.shardid = get_shard_id_for_distribution_column('ducto.accounts', '$team')";
	my $charge = qq({"user_id": "00000000-0000-4000-9000-000000000001", "team_id": "$team", "amount": 1000});
	my %calls = ('a rejected transfer' => "SELECT ducto_transfer('$team', $user, 1000)",
		'a rejected hold' => "SELECT ducto_reserve($user, 1000, team_id => '$team')",
		'a batch' => "SELECT ducto_charge_many('[$charge]')");
	my $session;

	value('known', "SELECT ducto_add_team_member('$team', $user)");
	foreach my $at ($node, $first)
	{
		foreach my $what (sort keys %calls)
		{
			$session = Session->new($at, dbname => 'known');
			$session->run("BEGIN; $calls{$what}");
			is($session->sqlstate, '00000', $what . ' on ' . $at->name);
			my (undef, undef, $told) = $node->psql('known', "SET statement_timeout = '1s'; $move");
			like($told, qr/statement timeout/, 'keeps the shard where it is');
			$session->run('ROLLBACK');
			$session->quit;
		}
	}
	value('known', $move);
	is(value('known', 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');

	# What a transaction has read of the shard it would go on to write on the node that the shard has left.
	my %reads = ('by a function' => "SELECT ducto_get_team_balance('$team')",
		'by a statement of its own' => "SELECT balance FROM ducto.accounts WHERE id = '$team'");
	foreach my $how (sort keys %reads)
	{
		foreach my $what (sort keys %calls)
		{
			$session = Session->new($node, dbname => 'known');
			$session->run("SELECT ducto_get_team_balance('$team')");
			$session->run("BEGIN; $reads{$how}");
			value('known', $move);
			$session->run($calls{$what});
			is($session->sqlstate, '40001', "$what in a transaction that has read where the shard was, $how");
			$session->run('ROLLBACK');
			$session->run($calls{$what});
			is($session->sqlstate, '00000', 'is made when it is tried again');
			$session->quit;
		}
	}
	is(value('known', 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
}

# --- spend caps of every kind -------------------------------------------------

{
	my $here = Session->new($node, dbname => 'known');
	my $user = "'00000000-0000-4000-9000-000000000002'";
	my $cap = "SELECT current_spend FROM ducto_set_spend_cap($user, ";
	my $usage;

	$here->run("SELECT ducto_add_credits($user, 100)");
	$here->run("SELECT ducto_charge($user, 7, model => 'm')");
	$usage = $here->value("SELECT transaction_id FROM ducto_charge($user, 5, model => 'm')");
	$here->run("SELECT ducto_refund('$usage', 2, account_id => $user)");
	foreach my $kind ('hourly', 'daily', 'weekly', 'monthly', 'total')
	{
		is($here->value("$cap '$kind', 50)"), '10.0000', "what was spent before counts for a cap: $kind");
		is($here->value("$cap '$kind', 50, model => 'm')"), '10.0000', "and for one of a model");
	}
	is($here->value("$cap 'sliding', 50, window_length => '1 hour')"), '10.0000', 'and for one that slides');
	is($here->value("$cap 'session', 50, window_length => '1 hour')"), '10.0000', 'and of a session');
	is($here->value("SELECT error FROM ducto_charge($user, 45)"), 'cap_reached', 'caps are kept');
	is(value('known', 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	$here->quit;
}

$cluster->stop;
done_testing();
