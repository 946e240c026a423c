
# Tests that one server passes, on tables that are distributed over a Citus
# cluster: regression tests, those of the SDKs' functions and specs, with the
# outputs that they have there. Such a test makes the extension anew, a spec
# before each of its permutations; here each test has a database of its own, and
# the specs one whose tables are emptied.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use File::Basename qw(dirname);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

my $root    = "$FindBin::RealBin/../..";
my $limit   = 3 * $PostgreSQL::Test::Utils::timeout_default;
my $tester  = dirname($ENV{PG_REGRESS}) . '/../isolation/isolationtester';
my $cluster = Citus->new('suite', workers => 2);
my $node    = $cluster->coordinator;

# What a program prints that reads a text.
sub answers
{
	my ($text, @command) = @_;
	my $out = '';

	local %ENV = (%ENV, PGOPTIONS => '-c intervalstyle=postgres_verbose -c datestyle=Postgres,MDY -c timezone=PST8PDT');
	IPC::Run::run(\@command, '<', \$text, '>&', \$out, IPC::Run::timeout($limit));
	return $out;
}

# A text without the statements that make the extension anew, and without what
# tells of nodes: where an error was, and that functions of a session are on one.
sub kept
{
	my ($text) = @_;

	$text =~ s/^\h*(?:DROP|CREATE) EXTENSION (?:IF EXISTS )?ducto\w*(?: CASCADE)?;\n//gm;
	return $text =~ s/^WARNING:  "function pg_temp_.*\nDETAIL:  .*\n|^CONTEXT:  .*\n//gmr;
}

# The first lines that differ.
sub difference
{
	my @expected = split /\n/, $_[0];
	my @got      = split /\n/, $_[1];
	my $line     = 0;

	$line++ while $line < @expected && $line < @got && $expected[$line] eq $got[$line];
	return join "\n", "line $line, expected", grep({ defined } @expected[ $line .. $line + 5 ]), 'got', grep { defined } @got[ $line .. $line + 5 ];
}

# A text is as it is on one server.
sub same
{
	my ($got, $expected, $name) = @_;

	no warnings 'uninitialized';
	return ok($got eq $expected, $name) || diag(difference($expected, $got));
}

# A regression test, on a database of its own.
sub regress
{
	my ($dir, $test) = @_;

	$cluster->database($test, shards => 3, before => 'CREATE EXTENSION ducto_sdk');
	same(kept(answers(kept(slurp_file("$dir/sql/$test.sql")), 'psql', '-Xaq', '-v', 'SHOW_CONTEXT=never', '-d', $node->connstr($test))),
		kept(slurp_file("$dir/expected/$test.out")), "regress $test");
	is($node->safe_psql($test, 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	return;
}

# A spec, on tables that are emptied before each permutation.
sub spec
{
	my ($spec) = @_;
	my $text = kept(slurp_file("$root/test/specs/$spec.spec")) =~ s/^setup\n\{\n/setup\n{\n\tSELECT FROM ducto_empty();\n/mr;

	same(answers($text, $tester, $node->connstr('specs')), slurp_file("$root/expected/$spec.out"), "spec $spec");
	return;
}

# --- regression tests ---------------------------------------------------------

regress("$root/test",     $_) foreach qw(account batch);
regress("$root/sdk/test", $_) foreach qw(sdk_functions sdk_lease sdk_lists);

# --- moving from the SDKs -----------------------------------------------------

# On one server, which becomes the coordinator of a cluster then. Not on a cluster.
{
	my @psql = ('psql', '-Xaq', '-v', 'SHOW_CONTEXT=never', '-d', $node->connstr('moved'));
	my ($read, $told);

	$node->safe_psql('postgres', 'CREATE DATABASE moved');
	same(answers(slurp_file("$root/sdk/test/sql/sdk_import.sql"), @psql), slurp_file("$root/sdk/test/expected/sdk_import.out"),
		'what the SDKs had is moved on one server');
	$read = $node->safe_psql('moved', 'SELECT count(*), sum(balance), sum(held) FROM ducto.accounts');
	$cluster->join('moved', $cluster->workers);
	$node->safe_psql('moved', 'SELECT * FROM ducto_distribute(3)');
	is($node->safe_psql('moved', 'SELECT count(*), sum(balance), sum(held) FROM ducto.accounts'), $read, 'and distributed then');
	is($node->safe_psql('moved', 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	foreach my $worker ($cluster->workers)
	{
		my $balance = "SELECT get_credits_balance('aaaaaaaa-0000-4000-8000-000000000001')";

		$worker->safe_psql('moved', 'SET citus.enable_ddl_propagation = off; CREATE EXTENSION ducto_sdk');
		is($worker->safe_psql('moved', $balance), $node->safe_psql('moved', $balance), 'the SDKs may call ' . $worker->name);
	}
	foreach my $call ('SELECT * FROM ducto_sdk_import()', 'SELECT * FROM ducto_sdk_import(dry_run => true)', 'CALL ducto_sdk_import_batches()')
	{
		(undef, undef, $told) = $node->psql('moved', $call);
		like($told, qr/the import must run before the tables are distributed/, "$call is refused");
	}
}

# --- specs --------------------------------------------------------------------

# Who waits for whom is looked at on all nodes. The guard against removal is off, to empty the tables.
$cluster->database('specs', shards => 3);
$node->safe_psql('specs', $_) foreach 'SELECT citus_internal.replace_isolation_tester_func()',
  'ALTER DATABASE specs SET citus.multi_shard_modify_mode = sequential', 'ALTER DATABASE specs SET citus.max_adaptive_executor_pool_size = 1',
  q(SELECT run_command_on_placements(logicalrelid, 'ALTER TABLE %s DISABLE TRIGGER USER') FROM pg_dist_partition),
  q(SET citus.enable_ddl_propagation = off; DO $$ DECLARE t regclass; BEGIN
	FOR t IN SELECT logicalrelid FROM pg_dist_partition LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', t); END LOOP; END $$),
  q(CREATE FUNCTION ducto_empty() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE (SELECT 'TRUNCATE ' || string_agg(logicalrelid::text, ', ') FROM pg_dist_partition); END $$);
spec($_) foreach qw(charge-charge refund-refund release-deduct transfer-transfer);

$cluster->stop;
done_testing();
