
# Who may call on a cluster: what is granted and revoked on the coordinator holds
# on every node once it is committed, what was granted before is told when the
# tables are distributed, and a node that joins is told when that is called again.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use Crash qw(kill_all);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

my $cluster = Citus->new('access', workers => 3);
my $node    = $cluster->coordinator;
my ($first, $second, $third) = $cluster->workers;
my $user    = q('00000000-0000-4000-9000-000000000001');
my $alone   = 'SET citus.enable_ddl_propagation = off';
my %call    = (
	read  => "SELECT ducto_get_balance($user)",
	write => "SELECT ducto_add_credits($user, 1)",
	price => 'SELECT ducto_get_active_pricing()');

# what a statement on the coordinator says
sub told { return join "\n", (grep { $_ ne '' } ($node->psql('shop', $_[0]))[1, 2]) }

# Check what a role may call on nodes: each of the calls, or none.
sub may
{
	my ($role, $calls, $what, @nodes) = @_;

	foreach my $at (@nodes)
	{
		my @can = grep { $at->psql('shop', "SET ROLE $role; $call{$_}") == 0 } sort keys %call;

		is("@can", $calls, "$what: $role on " . $at->name);
	}
	return;
}

# --- what was granted before -------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', q(CREATE EXTENSION ducto; CREATE ROLE early LOGIN; CREATE ROLE "Odd'role" LOGIN;
	SELECT ducto_grant_access('early', 'read'), ducto_grant_access('"Odd''role"', 'ducto_add_credits');
	GRANT EXECUTE ON FUNCTION ducto_get_active_pricing TO PUBLIC));
$cluster->join('shop', $first, $second);
$node->safe_psql('shop', "$alone; CREATE ROLE late LOGIN");
{
	my $steps = told('SELECT * FROM ducto_distribute(4)');

	like($steps, qr/^role early\|may call the same of ducto on every node$/m, 'the nodes are told who may call');
	like($steps, qr/^PUBLIC\|may call the same/m, 'and what everybody may');
	unlike($steps, qr/WARNING/, 'Citus has sent the roles');
}
may('early', 'price read', 'what was granted before', $node, $first, $second);
may(q("Odd'role"), 'price write', 'by its name', $node, $first, $second);
may('late', 'price', 'who was not named', $node);

# --- what is granted and revoked --------------------------------------------

is(told(q(SELECT ducto_grant_access('early'))), '', 'a grant');
may('early', 'price read write', 'is for all nodes', $node, $first, $second);
told(q(BEGIN; SELECT ducto_revoke_access('early'); ROLLBACK));
may('early', 'price read write', 'what is rolled back is so on all nodes', $node, $first, $second);
is(told(q(SELECT ducto_grant_access('early', 'read'))), '', 'less');
may('early', 'price read', 'is for all nodes', $node, $first, $second);
is(told(q(SELECT ducto_revoke_access('early'))), '', 'and nothing');
may('early', 'price', 'too', $node, $first, $second);
is($first->safe_psql('shop', q(SELECT count(*) FROM ducto_list_access() WHERE role = 'early')), '0', 'so that nothing stands in the way of DROP ROLE');
is(told(q(BEGIN; CREATE ROLE same LOGIN; SELECT ducto_grant_access('same'); COMMIT)), '', 'a role of the same transaction');
may('same', 'price read write', 'may call everywhere', $node, $first, $second);
like(told(q(SELECT ducto_grant_access('late'))), qr/ERROR:  role "late" does not exist/, 'a role that the workers do not have');
is(told("$alone; SELECT ducto_grant_access('late')"), '', 'may be told here');
may('late', 'price read write', 'to call', $node);
like(told('SELECT * FROM ducto_distribute()'), qr/WARNING:  role "late" is missing on a worker/, 'and those who do not know it say so');
told(q(GRANT SELECT ON ducto.accounts TO early; SELECT run_command_on_all_nodes('GRANT USAGE ON SCHEMA ducto TO early')));
is($_->psql('shop', 'SET ROLE early; SELECT FROM ducto.accounts LIMIT 0'), 0, 'what SQL grants on a table is for all nodes: ' . $_->name)
  foreach $node, $first, $second;
told(q(SELECT ducto_revoke_access('early')));
isnt($_->psql('shop', 'SET ROLE early; SELECT FROM ducto.accounts LIMIT 0'), 0, 'and what takes it away: ' . $_->name)
  foreach $node, $first, $second;
is($second->safe_psql('shop', q(SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = 'early'::regrole)), '0',
	'of the shards, too');

$first->safe_psql('shop', q(SELECT ducto_revoke_access('same')));
may('same', 'price', 'a worker is told by itself', $first);
may('same', 'price read write', 'and no other', $node, $second);
told("$alone; SELECT ducto_revoke_access('same')");
may('same', 'price', 'and so is the coordinator where the session says so', $node);
may('same', 'price read write', 'and no other', $second);

# --- nodes that are down, and that join --------------------------------------

kill_all($second);
like(told(q(SELECT ducto_grant_access('early'))), qr/ERROR: .*connection/, 'a node that is down cannot be told');
may('early', 'price', 'so none is', $node, $first);
$second->start;
is(told(q(SELECT ducto_grant_access('early'))), '', 'when it is back');
may('early', 'price read write', 'all are', $node, $first, $second);
$third->safe_psql('postgres', 'CREATE DATABASE shop');
$third->safe_psql('shop', 'CREATE EXTENSION citus');
$cluster->add('shop', $third);
$node->safe_psql('shop', q(SELECT rebalance_table_shards(shard_transfer_mode => 'block_writes')));
like(told('SELECT * FROM ducto_distribute()'), qr/^role early\|may call the same/m, 'a node that has joined');
may('early', 'price read write', 'is told', $third);
is($node->safe_psql('shop', 'SELECT * FROM ducto_verify()'), '', 'nothing to find for the auditor');

$cluster->stop;
done_testing();
