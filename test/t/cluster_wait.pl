
# Calls that wait while the tables of a database are distributed over a Citus
# cluster: each session has made the same call before, and its statements are
# planned. Each does then what it does on one server. And who has read a table,
# and goes on, while somebody waits to distribute the tables, or to bring them back.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/lib";

use Citus;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

use constant BEFORE => 6;    # how often a session makes its call before: its plans are kept then

my $cluster = Citus->new('wait', workers => 2);
my $node    = $cluster->coordinator;
my @users   = map { sprintf "'00000000-0000-4000-9000-%012d'", $_ } 1 .. 24;

# a value of the database on the coordinator
sub value { return $node->safe_psql('shop', $_[0]) }

# What is called, by what is said of it: as the nth call of a session, which has what it needs in @with.
my $many  = sub { my ($fields) = @_; return join ',', map { my $id = tr/'//dr; qq({"user_id": "$id", $fields}) } @users };
my %calls = (
	'a charge'               => sub { "SELECT amount FROM ducto_charge($users[0], 1)" },
	'another of the account' => sub { "SELECT amount FROM ducto_charge($users[0], 1)" },
	'a charge under a key'   => sub { "SELECT amount, idempotent FROM ducto_charge($users[1], 1, 'charge$_[0]')" },
	'its retry'              => sub { "SELECT count(*) FROM ducto_charge($users[1], 1, 'charge1')" },
	'a usage'                => sub { qq(SELECT amount FROM ducto_charge_usage($users[2], '{"model": "m", "input_tokens": 100}')) },
	'a hold'                 => sub { "SELECT amount FROM ducto_reserve($users[3], 1)" },
	'a deduct'               => sub { "SELECT amount FROM ducto_deduct($users[4], '$_[1]', 1, 'deduct$_[0]')" },
	'a renewal'              => sub { "SELECT amount FROM ducto_renew($users[5], '$_[1]')" },
	'a release'              => sub { "SELECT released FROM ducto_release($users[6], '$_[1]')" },
	'lines'                  => sub { qq(SELECT booked, amount FROM ducto_settle($users[7], '$_[1]', '[{"key": "$_[0]", "amount": 1}]')) },
	'credit'                 => sub { "SELECT amount FROM ducto_add_credits($users[8], 1, 'promo', expires_at => now() + interval '1 day')" },
	'a refund'               => sub { "SELECT amount FROM ducto_refund('$_[1]')" },
	'a transfer'             => sub { "SELECT amount FROM ducto_transfer($users[9], $users[10], 1)" },
	'a charge of a plan'     => sub { "SELECT allowance_consumed FROM ducto_charge($users[11], 1)" },
	'a charge of a cap'      => sub { "SELECT amount FROM ducto_charge($users[12], 1)" },
	'a pool'                 => sub { "SELECT d.amount FROM ducto_list_teams() t, ducto_deduct_team(t.team_id, $users[13], 1) d" },
	'a batch'                => sub { "SELECT count(*), count(error), sum(amount) FROM ducto_charge_many('[" . $many->(qq("amount": 1, "idempotency_key": "b$_[0]")) . "]')" },
	'a batch of credits'     => sub { "SELECT count(*), count(error), sum(amount) FROM ducto_add_credits_many('[" . $many->('"amount": 1') . "]')" },
	'two in a transaction'   => sub { "BEGIN; SELECT amount FROM ducto_charge($users[14], 1); SELECT amount FROM ducto_charge($users[15], 1); COMMIT" },
	'a charge in a block'    => sub { "DO \$\$ BEGIN PERFORM ducto_charge($users[16], 1); EXCEPTION WHEN division_by_zero THEN NULL; END \$\$; SELECT 'done'" },
	'a sweep'                => sub { 'SELECT expired_count FROM ducto_sweep_expired()' },
	'a balance'              => sub { "SELECT balance FROM ducto_get_balance($users[17])" },
	'a page'                 => sub { "SELECT amount FROM ducto_list_transactions($users[18], types => '{purchase}')" },
	'a cap that is asked'    => sub { "SELECT cap_limit FROM ducto_list_spend_caps($users[12])" },
	'what can be afforded'   => sub { "SELECT affordable FROM ducto_can_afford($users[19], 5)" },
	'figures'                => sub { q(SELECT total_spend > 0 FROM ducto_spend_by_user('2020-01-01')) . " WHERE user_id = $users[20]" },
	'a statement'            => sub { "SELECT amount FROM ducto.ledger WHERE account_id = $users[18] AND type = 'purchase'" });

# What a call needs: a hold or an entry for each time that it is made.
my %needs = (
	'a deduct'  => "SELECT reservation_id FROM ducto_reserve($users[4], 1)",
	'a renewal' => "SELECT reservation_id FROM ducto_reserve($users[5], 1)",
	'a release' => "SELECT reservation_id FROM ducto_reserve($users[6], 1)",
	'lines'     => "SELECT reservation_id FROM ducto_reserve($users[7], 1)",
	'a refund'  => "SELECT transaction_id FROM ducto_charge($users[18], 1)");

# Let calls wait while the tables are distributed, which somebody delays who lets nothing be written of shards.
sub waited
{
	my $function = 'ducto_distribute(4)';
	my $waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND wait_event_type = 'Lock'";
	my ($gate, $work) = map { Session->new($node, dbname => 'shop') } 1, 2;
	my (%session, %before, %next);
	my $entries;

	foreach my $what (sort keys %calls)
	{
		$session{$what} = Session->new($node, dbname => 'shop');
		foreach my $n (1 .. BEFORE + 1)
		{
			$next{$what} = $calls{$what}->($n, $needs{$what} ? value($needs{$what}) : ());
			$before{$what} = join ',', $session{$what}->run($next{$what}) if $n <= BEFORE;
			die "$what: $session{$what}{error}{message}" if $session{$what}->error;
		}
	}
	$entries = value('SELECT count(*) FROM ducto.ledger');
	$gate->run('BEGIN; LOCK TABLE pg_dist_shard IN SHARE MODE');
	$work->start("SELECT count(*) > 10 FROM $function");
	ok($node->poll_query_until('shop', "$waits AND query LIKE '%$function%'", '1'), "$function has the tables");
	$session{$_}->start($next{$_}) foreach sort keys %calls;
	ok($node->poll_query_until('shop', $waits, 1 + keys %calls), 'all calls wait');
	$gate->run('COMMIT');
	is(join(',', $work->finish), 't', 'it is done');
	foreach my $what (sort keys %calls)
	{
		is(join(',', $session{$what}->finish), $before{$what}, "$what goes on") or diag($session{$what}->error && $session{$what}{error}{message});
		$session{$what}->quit;
	}
	cmp_ok(value('SELECT count(*) FROM ducto.ledger'), '>=', $entries + 60, 'and what was called is booked');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	$_->quit foreach $gate, $work;
	return;
}

# Let a function wait for somebody who has read a table and goes on to write.
sub passed
{
	my ($function, $table) = @_;
	my ($reader, $work) = map { Session->new($node, dbname => 'shop') } 1, 2;

	$reader->run("SET deadlock_timeout = '20s'; BEGIN; SELECT count(*) FROM ducto.$table");
	$work->run("SET lock_timeout = '300ms'; SELECT count(*) FROM $function");
	is($work->sqlstate, '55P03', "$function waits for who reads $table as long as the session says");
	$work->run('RESET lock_timeout');
	$work->start("SELECT count(*) > 10 FROM $function");
	ok($node->poll_query_until('shop', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE '%$function%'"),
		'and without end where it says nothing');
	is(value("SELECT amount FROM ducto_charge($users[1], 1)"), '1.0000', 'others go on');
	is($reader->value("SELECT amount FROM ducto_charge($users[0], 1)"), '1.0000', 'as does who reads, and writes now');
	$reader->run('COMMIT');
	is(join(',', $work->finish), 't', 'it is done then');
	$_->quit foreach $reader, $work;
	return;
}

# Let the tables be brought back while calls are under way in the shards of workers, each of which goes on to the other worker.
sub under_way
{
	my @workers = $cluster->workers;
	my %port    = map { split /\|/ } split /\n/, value('SELECT id, nodeport FROM ducto.accounts, pg_dist_shard_placement WHERE shardid = get_shard_id_for_distribution_column($$ducto.accounts$$, id)');
	my @on      = map { my $at = $_->port; [ grep { $port{ tr/'//dr } == $at } @users[0 .. 10] ] } @workers;
	my @session = map { Session->new($_, dbname => 'shop') } @workers;
	my $work    = Session->new($node, dbname => 'shop');
	my $entries = value('SELECT count(*) FROM ducto.ledger');
	my $charge  = sub { my ($n, $of) = @_; return $session[$n]->value("SELECT amount FROM ducto_charge($on[$of][$n], 1)") };

	foreach my $n (0, 1)
	{
		$charge->($n, $_) foreach (0) x BEFORE, (1) x BEFORE;
		$session[$n]->run('BEGIN');
		is($charge->($n, $n), '1.0000', 'a call is under way on a worker');
	}
	$work->start('SELECT count(*) > 10 FROM ducto_undistribute()');
	ok($node->poll_query_until('shop', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE '%undistribute%'"),
		'which is waited for');
	is($charge->($_, 1 - $_), '1.0000', 'and goes on to the other') foreach 0, 1;
	$_->run('COMMIT') foreach @session;
	is(join(',', $work->finish), 't', 'the tables are brought back then');
	is(value('SELECT count(*) FROM ducto.ledger'), $entries + 4 * BEFORE + 4, 'with all that was booked');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	$session[0]->run("SELECT ducto_charge($users[0], 1)");
	like($session[0]->error->{message}, qr/this node is a worker/, 'a worker has no accounts any more');
	$_->quit foreach @session, $work;
	return;
}

# Let the tables be brought back while clients charge and transfer on all nodes, who note what was done.
sub under_load
{
	my $entries = 'SELECT count(*) FROM ducto.ledger';
	my $before  = value($entries);
	my $booked  = 0;
	my $script  = $node->basedir . '/under_load.sql';
	my @load;

	PostgreSQL::Test::Utils::append_to_file($script, q(\set a random(1, 11)
\set b random(1, 11)
SELECT ducto_charge(('00000000-0000-4000-9000-' || lpad(:a::text, 12, '0'))::uuid, 0.01);
SELECT ducto_transfer(('00000000-0000-4000-9000-' || lpad(least(:a, :b)::text, 12, '0'))::uuid,
	('00000000-0000-4000-9000-' || lpad((greatest(:a, :b) + 1)::text, 12, '0'))::uuid, 0.01);
));
	foreach my $at ($cluster->workers)
	{
		my ($out, $told) = ('', '');

		push @load, { told => \$told, out => \$out,
			run => IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-T', '60', '-f', $script, $at->connstr('shop') ], '>', \$out, '2>', \$told) };
	}
	$node->poll_query_until('shop', "SELECT count(*) > $before + 100 FROM ducto.ledger") or die 'nobody does anything';
	is(value('SELECT count(*) > 10 FROM ducto_undistribute()'), 't', 'the tables are brought back from under clients');
	foreach my $load (@load)
	{
		$load->{run}->finish;
		is(scalar(grep { /ERROR/ && !/this node is a worker/ } split /\n/, ${ $load->{told} }), 0, 'none of whom is told anything but that')
		  or diag(${ $load->{told} });
		$booked += 3 * $1 if ${ $load->{out} } =~ /actually processed: (\d+)/;
	}
	cmp_ok(value($entries), '>=', $before + $booked, 'what they have done is there');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	return;
}

$cluster->empty('shop', $cluster->workers);
value('CREATE EXTENSION ducto');
value(q(SELECT ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.01"}, "plans": {"pro": {"name": "Pro", "free_allowance": 1000}}}')));
value("SELECT ducto_add_credits($_, 10000, 'purchase')") foreach @users;
value("SELECT ducto_set_user_plan($users[11], 'pro'); SELECT ducto_set_spend_cap($users[12], 'daily', 5000)");
value("SELECT ducto_add_team_member(team_id, $users[13]) FROM ducto_create_team('crew', 1000)");

waited();
is(value('SELECT ducto.is_distributed()'), 't', 'the tables are distributed');
value('SELECT ducto_undistribute()');
foreach my $table ('plans', 'reservations', 'usage_lines')
{
	passed($_, $table) foreach 'ducto_distribute(4)', 'ducto_undistribute()';
}
is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
foreach my $work (\&under_way, \&under_load)
{
	value('SELECT ducto_distribute(4)');
	$work->();
}

$cluster->stop;
done_testing();
