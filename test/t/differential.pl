
# The expression language against Python's own parser and exact decimals: random
# expressions and random tokens, each with the value or the SQLSTATE that
# test/fuzz/differential.py expects.
#
# Two sequences are run: one of a fixed seed, one of a random seed, or only
# that of DUCTO_SEED. DUCTO_CASES is the number of cases of each.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cases = $ENV{DUCTO_CASES} || 4000;
my @seeds = $ENV{DUCTO_SEED} ? ($ENV{DUCTO_SEED}) : (1, 2 + int rand 1_000_000_000);
my $node = PostgreSQL::Test::Cluster->new('differential');

$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
foreach my $seed (@seeds)
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');
	my ($said, $errors) = run_command([ 'python3', 'test/fuzz/differential.py', $cases, $seed ]);

	like($said, qr/^\d+ passed, 0 failed$/m, "DUCTO_SEED=$seed: $cases expressions")
	  or diag($said, $errors);
}
$node->stop;
done_testing();
