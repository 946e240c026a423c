
# Specs that one server passes, on tables that are distributed over a Citus
# cluster: those of test/cluster.list that give the same there. A spec makes the
# extension anew before each of its permutations; here its database is one of a
# cluster, whose tables are emptied.

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

my @specs   = Listed::same('spec');
my $cluster = Citus->new('specs', workers => 2);
my $node    = $cluster->coordinator;

# Empties the tables of a node. The guard against removal is off.
my $empty_here = q(SET citus.enable_ddl_propagation = off; SET citus.enable_manual_changes_to_shards = on; SET citus.override_table_visibility = off;
	DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', t); END LOOP; END $$;
	CREATE FUNCTION ducto_empty_here() RETURNS void LANGUAGE plpgsql
		SET citus.override_table_visibility = off SET citus.enable_manual_changes_to_shards = on AS $$
	DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r'
		AND (relname ~ '_\d+$' OR relname = 'usage_rollup') LOOP EXECUTE format('DELETE FROM %s', t); END LOOP; END $$);

# Empties those of all nodes.
my $empty = q(SET citus.enable_ddl_propagation = off;
	CREATE FUNCTION ducto_empty() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN PERFORM run_command_on_workers('SELECT ducto_empty_here()'); PERFORM ducto_empty_here(); END $$);

$cluster->database('kept', shards => 3, before => 'CREATE EXTENSION ducto_sdk');
$cluster->everywhere('kept', $empty_here);
# Who waits for whom is looked at on all nodes.
$node->safe_psql('kept', $_) foreach $empty, 'SELECT citus_internal.replace_isolation_tester_func()';
$cluster->keep('kept');
foreach my $spec (@specs)
{
	my $text = Listed::kept(slurp_file("$Listed::root/test/specs/$spec.spec")) =~ s/^setup\n\{\n/setup\n{\n\tSELECT FROM ducto_empty();\n/mr;

	$cluster->copy('kept', 'one', "citus.multi_shard_modify_mode = 'sequential'", 'citus.max_adaptive_executor_pool_size = 1',
		'citus.allow_nested_distributed_execution = on', $text =~ /ducto\.test_clock/ ? 'ducto.test_clock = on' : ());
	Listed::alike(Listed::tester($text, $node->connstr('one')), slurp_file("$Listed::root/expected/$spec.out"), "spec $spec");
	$cluster->drop('one');
}

$cluster->stop;
done_testing();
