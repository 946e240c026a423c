
# A database of 100,000 ledger entries that is distributed, brought back and
# distributed again on fewer shards: each entry is there, under its key.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

my $cluster = Citus->new('filled', workers => 2);
my $node    = $cluster->coordinator;

# a value of the database on the coordinator
sub value { return $node->safe_psql(@_) }

my $batch = q{SELECT count(*), count(*) FILTER (WHERE idempotent) FROM ducto_add_credits_many('};
my $rows = 'SELECT count(*), sum(amount), sum(seq), sum(hashtext(id::text)::bigint) FROM ducto.ledger';
my ($all, $told, @batches);

foreach my $n (0 .. 9)
{
	my $credit = q({"user_id": "00000000-0000-4000-9000-%012d", "amount": 1, "idempotency_key": "%d"});

	push @batches, join ',', map { sprintf $credit, $_ % 1000, $_ } 10_000 * $n .. 10_000 * $n + 9_999;
}
$cluster->empty('filled', $cluster->workers);
value('filled', 'CREATE EXTENSION ducto');
value('filled', $batch . "[$_]')") foreach @batches;
$all = value('filled', $rows);
like($all, qr/^100000\|100000\.0000\|/, 'there are 100,000 entries');
value('filled', 'SET citus.enable_ddl_propagation = off; CREATE ROLE clerk');
foreach my $function ('ducto_distribute', 'ducto_undistribute')
{
	(undef, undef, $told) = $node->psql('filled', "SET ROLE clerk; SELECT $function()");
	like($told, qr/permission denied for function $function/, "$function is not for everybody");
}
foreach my $call ('ducto_distribute(8)', 'ducto_undistribute()', 'ducto_distribute(4)')
{
	value('filled', "SELECT * FROM $call");
	is(value('filled', $rows), $all, "all are there after $call");
	is(value('filled', 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
}
is(value('filled', q(SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 'ducto.accounts'::regclass)), '4',
	'on the shards asked for');
is(value('filled', $batch . "[$batches[3]]')"), '10000|10000', 'and their keys are known');

$cluster->stop;
done_testing();
