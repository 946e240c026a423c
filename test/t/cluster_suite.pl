
# Regression tests that one server passes, on tables that are distributed over a
# Citus cluster: those of test/cluster.list that give the same there, the SDKs'
# among them, each in a database of its own. And the move from the SDKs.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use Listed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

my %tests   = map { $_ => [ Listed::same($_) ] } qw(sql sdk);
my $root    = $Listed::root;
my $cluster = Citus->new('suite', workers => 2);
my $node    = $cluster->coordinator;

# What the tests' own SQL takes: one connection a node, joins that are not of
# accounts, and functions that are called on a shard for each of its rows.
my @settings = (
	"citus.multi_shard_modify_mode = 'sequential'",
	'citus.enable_repartition_joins = on',
	'citus.enable_unsafe_triggers = on',
	'citus.allow_nested_distributed_execution = on');

# Those that let rows be changed by hand switch triggers off: so are the shards'.
my $unguarded = q(DO $$ BEGIN PERFORM FROM pg_dist_partition,
	LATERAL run_command_on_placements(logicalrelid, 'ALTER TABLE %s DISABLE TRIGGER USER'); END $$);

# What test/sql/include/own_database.sql makes in a test's own database.
my $found = q(SET citus.enable_ddl_propagation = off; CREATE FUNCTION found() RETURNS SETOF ducto_discrepancy LANGUAGE sql AS
	$$ SELECT * FROM ducto_verify() WHERE check_name <> 'test clock' $$);

# A regression test, in a database of its own.
sub regress
{
	my ($dir, $test, $kept) = @_;
	my $text  = slurp_file("$dir/sql/$test.sql");
	my $clock = $text =~ /^\\i .*own_database/m;

	$cluster->copy($kept, "suite_$test", @settings, $clock ? 'ducto.test_clock = on' : ());
	$node->safe_psql("suite_$test", $unguarded) if $text =~ /DISABLE TRIGGER/;
	$node->safe_psql("suite_$test", $found)     if $clock;
	Listed::alike(Listed::kept(Listed::psql(Listed::kept($text), $node->connstr("suite_$test"))),
		Listed::kept(slurp_file("$dir/expected/$test.out")), "regress $test");
	is($node->safe_psql("suite_$test", q(SELECT count(*) FROM ducto_verify() WHERE check_name <> 'test clock')),
		'0', 'nothing to find for the auditor');
	$cluster->drop("suite_$test");
	return;
}

# --- regression tests ---------------------------------------------------------

$cluster->database('kept', shards => 3);
$cluster->database('kept_sdk', shards => 3, before => 'CREATE EXTENSION ducto_sdk');
$cluster->keep($_) foreach 'kept', 'kept_sdk';
regress("$root/test",     $_, 'kept')     foreach @{ $tests{sql} };
regress("$root/sdk/test", $_, 'kept_sdk') foreach @{ $tests{sdk} };

# --- who may only read ----------------------------------------------------------

# Nothing is booked, on whatever node the account is.
{
	my @users = map { sprintf q('5e1f0000-0000-4000-8000-%012d'), $_ } 1 .. 4;
	my $many  = sprintf q('[%s]'), join ', ', map { sprintf '{"user_id": %s, "amount": 1}', $_ =~ tr/'/"/r } @users;
	my $sums  = 'SELECT * FROM (SELECT sum(balance), sum(held) FROM ducto.accounts) a, (SELECT count(*) FROM ducto.ledger) l';
	my $before;

	$cluster->copy('kept', 'readonly');
	$node->safe_psql('readonly', "SELECT FROM ducto_add_credits($_, 10)") foreach @users;
	$before = $node->safe_psql('readonly', $sums);
	foreach my $asked ($node, $cluster->workers)
	{
		foreach my $call ((map { ("ducto_charge($_, 1)", "ducto_reserve($_, 1)", "ducto_add_credits($_, 1)") } @users),
			"ducto_charge_many($many)", "ducto_add_credits_many($many)")
		{
			my (undef, undef, $told) = $asked->psql('readonly', "SET default_transaction_read_only = on; SELECT * FROM $call", extra_params => ['-v', 'VERBOSITY=verbose']);
			like($told, qr/25006/, "$call is refused on " . $asked->name);
		}
		is($asked->safe_psql('readonly', 'BEGIN READ ONLY; SELECT expired_count FROM ducto_sweep_expired(dry_run => true)'), '0', 'a dry run is not');
	}
	is($node->safe_psql('readonly', $sums), $before, 'nothing was booked');
	$cluster->drop('readonly');
}

# --- settings of a role ---------------------------------------------------------

# What is set for a role that a session became later is obeyed on whatever node the account is.
{
	my @users = map { sprintf q('5e1f0000-0000-4000-8000-%012d'), $_ } 1 .. 4;

	$cluster->copy('kept', 'rolled');
	$node->safe_psql('rolled', "CREATE ROLE suite_backend; SELECT ducto_grant_access('suite_backend');
		ALTER ROLE suite_backend IN DATABASE rolled SET ducto.reservation_ttl = '2h';
		ALTER ROLE suite_backend IN DATABASE rolled SET ducto.require_idempotency_key = on;
		ALTER ROLE suite_backend IN DATABASE rolled SET ducto.key_mismatch = 'conflict'");
	$node->safe_psql('rolled', "SELECT FROM ducto_add_credits($_, 100)") foreach @users;
	foreach my $user (@users)
	{
		my (undef, undef, $told) = $node->psql('rolled', "SET ROLE suite_backend; SELECT ducto_charge($user, 1)");

		like($told, qr/The setting ducto.require_idempotency_key is on/, 'a key is required of a role');
		is($node->safe_psql('rolled', "SET ROLE suite_backend; SELECT FROM ducto_charge($user, 1, 'key');
			SELECT error FROM ducto_charge($user, 2, 'key')"), 'idempotency_conflict', 'another amount is a conflict for it');
		is($node->safe_psql('rolled', "SET ROLE suite_backend;
			SELECT expires_at > now() + interval '1 hour' FROM ducto_reserve($user, 1)"), 't', 'its holds last as long as is set for it');
		is($node->safe_psql('rolled', "SELECT error FROM ducto_charge($user, 1)"), '', 'it is not so for others');
	}
	$cluster->drop('rolled');
	$node->safe_psql('postgres', 'DROP ROLE suite_backend');
}

# --- moving from the SDKs -----------------------------------------------------

# On one server that becomes the coordinator of a cluster then, or is it already. Not on tables that are distributed.
foreach my $first ('moved', 'known')
{
	my $text     = slurp_file("$root/sdk/test/sql/sdk_import.sql");
	my $expected = slurp_file("$root/sdk/test/expected/sdk_import.out");
	my ($read, $told);

	$node->safe_psql('postgres', "CREATE DATABASE $first");
	if ($first eq 'known')
	{
		$cluster->join($first, $cluster->workers);
		# From there on the guard is off, which is on on the workers.
		s/^ALTER EVENT TRIGGER ducto_sdk_guard DISABLE;\n.*//ms foreach $text, $expected;
	}
	Listed::alike(Listed::kept(Listed::psql($text, $node->connstr($first))), Listed::kept($expected), "what the SDKs had is moved on one server ($first)");
	$read = $node->safe_psql($first, 'SELECT count(*), sum(balance), sum(held) FROM ducto.accounts');
	$cluster->join($first, $cluster->workers) if $first eq 'moved';
	$node->safe_psql($first, 'SELECT * FROM ducto_distribute(3)');
	is($node->safe_psql($first, 'SELECT count(*), sum(balance), sum(held) FROM ducto.accounts'), $read, 'and distributed then');
	is($node->safe_psql($first, 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	foreach my $worker ($cluster->workers)
	{
		my $balance = "SELECT get_credits_balance('aaaaaaaa-0000-4000-8000-000000000001')";

		$worker->safe_psql($first, 'SET citus.enable_ddl_propagation = off; CREATE EXTENSION IF NOT EXISTS ducto_sdk');
		is($worker->safe_psql($first, $balance), $node->safe_psql($first, $balance), 'the SDKs may call ' . $worker->name);
	}
	foreach my $call ('SELECT * FROM ducto_sdk_import()', 'SELECT * FROM ducto_sdk_import(dry_run => true)', 'CALL ducto_sdk_import_batches()')
	{
		(undef, undef, $told) = $node->psql($first, $call);
		like($told, qr/the import must run before the tables are distributed/, "$call is refused");
	}
	$cluster->drop($first);
}

$cluster->stop;
done_testing();
