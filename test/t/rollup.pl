
# The rollup of usage goes where the ledger goes, or is made anew there, and the
# figures are always those of the ledger: on a standby, after a restore into
# another cluster, whose transactions have other numbers, and on a subscriber
# that gets the ledger by logical replication.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $alice = "'00000000-0000-4000-8000-00000000000a'";
my $bob   = "'00000000-0000-4000-8000-00000000000b'";
my $dir   = PostgreSQL::Test::Utils::tempdir();

# What the functions say, and what the ledger says.
my $figures = q{SELECT total_credits_consumed, active_users, top_model, top_user,
	(SELECT sum(transaction_count) FROM ducto_spend_by_user('2020-01-01', '2100-01-01')),
	(SELECT sum(transaction_count) FROM ducto_daily_spend('2020-01-01', '2100-01-01'))
	FROM ducto_aggregate_stats('2020-01-01', '2100-01-01')};
my $ledger = q{SELECT sum(-amount), count(DISTINCT account_id),
	(SELECT model FROM ducto.ledger WHERE type = 'usage' GROUP BY model ORDER BY sum(amount), model LIMIT 1),
	(SELECT account_id FROM ducto.ledger WHERE type = 'usage' GROUP BY 1 ORDER BY sum(amount), 1 LIMIT 1),
	count(*), count(*) FROM ducto.ledger WHERE type = 'usage'};

# What is in the rollup: the number of entries.
my $rolled_up = q{SELECT coalesce(sum(n), 0) FROM ducto.usage_rollup, unnest(user_entries) n WHERE hours = 1};

# exact checks that the figures are those of the ledger and nothing is wrong.
sub exact
{
	my ($node, $what) = @_;

	is($node->safe_psql('postgres', $figures), $node->safe_psql('postgres', $ledger), $what);
	is($node->safe_psql('postgres', 'SELECT * FROM ducto_verify()'), '', "$what: nothing is wrong");
	return;
}

# charge makes a number of charges, each in a transaction of its own.
sub charge
{
	my ($node, $n) = @_;

	$node->safe_psql('postgres', join("\n", map {
		my $user = $_ % 3 ? $alice : $bob;
		"SELECT ducto_charge($user, 1.5, model => 'model-" . $_ % 4 . "');"
	} 1 .. $n));
	return;
}

# all_rolled_up rolls up until nothing is left. A transaction elsewhere, of
# autovacuum say, lets it wait.
sub all_rolled_up
{
	my ($node, $n, $what) = @_;

	foreach (1 .. 100)
	{
		$node->safe_psql('postgres', 'SELECT ducto_rollup()');
		last if $node->safe_psql('postgres', $rolled_up) == $n;
		select(undef, undef, undef, 0.1);
	}
	is($node->safe_psql('postgres', $rolled_up), $n, $what);
	return;
}

my $first = PostgreSQL::Test::Cluster->new('first');
$first->init(allows_streaming => 'logical');
$first->append_conf('postgresql.conf', "fsync = off\n");
$first->start;
$first->safe_psql('postgres', qq{
	CREATE EXTENSION ducto;
	SELECT ducto_add_credits($alice, 1000, 'purchase');
	SELECT ducto_add_credits($bob, 1000, 'purchase');
	-- many transactions: numbers that another cluster has not reached
	DO \$\$ BEGIN FOR i IN 1 .. 3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END \$\$;
});
charge($first, 30);
all_rolled_up($first, 30, 'everything is rolled up');
charge($first, 10);
exact($first, 'rollup and ledger');

# On a standby
$first->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($first, 'base', has_streaming => 1);
$standby->start;
$first->wait_for_catchup($standby);
exact($standby, 'a standby reads the rollup');
is($standby->safe_psql('postgres', $rolled_up), 30, 'it has it');
all_rolled_up($first, 40, 'the rest is rolled up');
$first->wait_for_catchup($standby);
exact($standby, 'what was rolled up since then');
$standby->stop;

# In another cluster
my $second = PostgreSQL::Test::Cluster->new('second');
$second->init(allows_streaming => 'logical');
$second->append_conf('postgresql.conf', "fsync = off\n");
$second->start;
$first->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $first->connstr('postgres') ], 'it is dumped');
$second->command_ok([ 'pg_restore', '-d', $second->connstr('postgres'), "$dir/dump" ], 'and restored in another cluster');
is($second->safe_psql('postgres', $rolled_up), 0, 'the rollup is not part of a dump');
exact($second, 'restored, without a rollup');
charge($second, 5);
exact($second, 'charged there');
is($second->safe_psql('postgres', 'SELECT n BETWEEN 20 AND 45 FROM ducto_rollup(20) AS n'), 't', 'a part of it is rolled up');
exact($second, 'rolled up in part');
all_rolled_up($second, 45, 'what was restored counts as committed');
charge($second, 5);
exact($second, 'and what came then, too');
all_rolled_up($second, 50, 'all of it is rolled up');

# Back in the first one, whose numbers are in the ledger already
$second->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/back", $second->connstr('postgres') ], 'it is dumped again');
$first->safe_psql('postgres', 'CREATE DATABASE back');
$first->command_ok([ 'pg_restore', '-d', $first->connstr('back'), "$dir/back" ], 'and restored in the first cluster');
is($first->safe_psql('back', 'SELECT ducto_rollup()'), 52, 'all of it is rolled up there');
is($first->safe_psql('back', $figures), $first->safe_psql('back', $ledger), 'and exact');
is($first->safe_psql('back', 'SELECT * FROM ducto_verify()'), '', 'and nothing is wrong');

# By logical replication
my $third = PostgreSQL::Test::Cluster->new('third');
$third->init;
$third->append_conf('postgresql.conf', "fsync = off\n");
$third->start;
$third->safe_psql('postgres', 'CREATE EXTENSION ducto');
$first->safe_psql('postgres', 'CREATE PUBLICATION ledger FOR TABLE ducto.accounts, ducto.ledger, ducto.grants, ducto.reservations');
my $connection = $first->connstr . ' dbname=postgres';
$third->safe_psql('postgres', "CREATE SUBSCRIPTION ledger CONNECTION '$connection' PUBLICATION ledger");
$first->wait_for_catchup('ledger');
ok($third->poll_query_until('postgres', 'SELECT count(*) = 40 FROM ducto.ledger WHERE type = \'usage\''), 'the ledger is copied');
exact($third, 'copied');
all_rolled_up($third, 40, 'rolled up by the subscriber');
charge($first, 7);
$first->wait_for_catchup('ledger');
exact($third, 'replicated after that');
all_rolled_up($third, 47, 'and rolled up');
exact($third, 'all of it');
$third->safe_psql('postgres', 'DROP SUBSCRIPTION ledger');

done_testing();
