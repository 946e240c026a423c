
# A cluster that is restored from backups of its nodes, each taken at another
# moment while credits were transferred between them, to a restore point that
# Citus made on all of them: no transfer is there by half. And dumps that were made
# beside that, while operations waited.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

my $cluster = Citus->new('restore', workers => 2, init => [ has_archiving => 1 ]);
my @nodes   = ($cluster->coordinator, $cluster->workers);
my $node    = $nodes[0];
my $stop    = 3 * $PostgreSQL::Test::Utils::timeout_default;
my $entries = 'SELECT count(*) FROM ducto.ledger';
my $dump    = $node->basedir . '/ducto.dump';
my @loads;

# Wait until so many more entries are booked.
sub work
{
	my ($more) = @_;
	my $before = $node->safe_psql('shop', $entries);

	return $node->poll_query_until('shop', "SELECT count(*) > $before + $more FROM ducto.ledger");
}

# Try something, again where Citus ends it because of a deadlock, as an operator does.
sub again
{
	my ($try) = @_;

	foreach (1 .. 20)
	{
		return 1 if $try->();
	}
	return 0;
}

$cluster->database('shop', shards => 6);
$node->safe_psql('shop', sprintf "SELECT ducto_add_credits('00000000-0000-4000-9000-%012d', 1000)", $_) foreach 1 .. 20;
$node->safe_psql('shop', q(SELECT ducto_add_credits('00000000-0000-4000-9000-000000000001', 1000, idempotency_key => 'first');
	SELECT ducto_add_credits('00000000-0000-4000-9000-000000000001', -1000);
	SELECT ducto_set_alerts('00000000-0000-4000-9000-000000000100', '{10}');
	SELECT ducto_add_credits('00000000-0000-4000-9000-000000000100', 20); SELECT ducto_charge('00000000-0000-4000-9000-000000000100', 20)));
append_to_file($node->basedir . '/transfer.sql', q(\set n random(1, 10)
	\set m random(11, 20)
	SELECT ducto_transfer(('00000000-0000-4000-9000-' || lpad(:n::text, 12, '0'))::uuid,
		('00000000-0000-4000-9000-' || lpad(:m::text, 12, '0'))::uuid, 1);
));
foreach my $at (@nodes)
{
	my @load = ('--no-vacuum', '--client=2', "--time=$stop", '--file=' . $node->basedir . '/transfer.sql', $at->connstr('shop'));

	push @loads, IPC::Run::start([ $at->installed_command('pgbench'), @load ], '<', \undef, '&>', $node->basedir . '/pgbench.log');
}

# --- a dump, for which the transfers wait --------------------------------------

my @locked = ('BEGIN', 'LOCK TABLE ducto.accounts IN EXCLUSIVE MODE',
	"\\! pg_dump -Fc --extension=ducto -f $dump -d '@{[ $node->connstr('shop') ]}'", 'COMMIT');

ok(work(20), 'credits are transferred');
ok(again(sub { system('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('shop'), map { ('-c', $_) } @locked) == 0 }),
	'while they wait the cluster is dumped');
ok(work(20), 'and they go on');

# --- backups, a point, and what comes after it -------------------------------

foreach my $at (@nodes)
{
	ok(work(20), 'credits are transferred');
	$at->backup('base');
}
ok(work(20), 'they are when all are backed up');
my $before = $node->safe_psql('shop', $entries);
ok(again(sub {
	$node->psql('shop', q(BEGIN; LOCK TABLE ducto.accounts IN EXCLUSIVE MODE; SELECT citus_create_restore_point('nightly'); COMMIT)) == 0;
}), 'a restore point is made amid that');
my $after = $node->safe_psql('shop', $entries);
ok(work(20), 'which go on');
IPC::Run::kill_kill($_) foreach @loads;
foreach my $at (@nodes)
{
	my $last = $at->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn()) FROM pg_switch_wal()');

	$at->poll_query_until('postgres', "SELECT last_archived_wal >= '$last' FROM pg_stat_archiver") or die 'nothing is archived';
}
$cluster->stop;

# --- the cluster of then, in the place of that of now ------------------------

my @restored;
foreach my $at (@nodes)
{
	my $now = PostgreSQL::Test::Cluster->new($at->name . '_back', port => $at->port);

	$now->init_from_backup($at, 'base', has_restoring => 1, standby => 0);
	$now->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_name = 'nightly'\nrecovery_target_action = 'promote'");
	$now->start;
	push @restored, $now;
}
$_->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') foreach @restored;
$node = $restored[0];
$_->safe_psql('shop', 'SELECT recover_prepared_transactions()') foreach @restored;
is($_->safe_psql('shop', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'nothing is prepared on ' . $_->name) foreach @restored;
cmp_ok($node->safe_psql('shop', $entries), '>=', $before, 'all is there that was told before the restore point');
cmp_ok($node->safe_psql('shop', $entries), '<=', $after, 'and nothing from after it');
is($node->safe_psql('shop', 'SELECT sum(balance) FROM ducto.accounts'), '20000.0000', 'all credits');
is($node->safe_psql('shop', 'SELECT * FROM ducto_verify()'), '', 'and nothing to find for the auditor');
foreach my $at (@restored)
{
	my $accounts = q('00000000-0000-4000-9000-000000000001', '00000000-0000-4000-9000-000000000020');

	is($at->safe_psql('shop', "SELECT amount FROM ducto_transfer($accounts, 1)"), '1.0000', 'transfers go on from ' . $at->name);
}

# --- what was dumped, on one server and on a cluster --------------------------

$cluster->{nodes} = \@restored;
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach 'one', 'many';
$cluster->join('many', @restored[1, 2]);
foreach my $dbname ('one', 'many')
{
	$node->command_ok([ 'pg_restore', '-d', $node->connstr($dbname), $dump ], "the dump is restored: $dbname");
	$node->safe_psql($dbname, 'SELECT * FROM ducto_distribute(3)') if $dbname eq 'many';
	is($node->safe_psql($dbname, 'SELECT sum(balance) FROM ducto.accounts'), '20000.0000', 'all credits');
	is($node->safe_psql($dbname, 'SELECT * FROM ducto_verify()'), '', 'and nothing to find for the auditor');
	is($node->safe_psql($dbname, q(SELECT idempotent FROM ducto_add_credits('00000000-0000-4000-9000-000000000001', 1000, idempotency_key => 'first'))), 't',
		'keys are known');
	is($node->safe_psql($dbname, 'SELECT count(*) FROM ducto_take_events()'), '0', 'events are the old cluster\'s');
	$node->safe_psql($dbname, 'UPDATE ducto.events SET origin = ducto.event_origin() WHERE acked_at IS NULL');
	cmp_ok($node->safe_psql($dbname, 'SELECT count(*) FROM ducto_take_events()'), '>', 0, 'until they are adopted');
}
$_->stop('immediate') foreach reverse @restored;

done_testing();
