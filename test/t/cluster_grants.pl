# Calls that change many grants of an account of a Citus cluster: however many,
# they send few statements, and do what they do on one server.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

my $cluster = Citus->new('grants', workers => 2);
my $node    = $cluster->coordinator;
my ($first, $second) = $cluster->workers;
my @users = map { sprintf "'96a40000-0000-4000-9000-%012d'", $_ } 1 .. 12;

# a value of the database on the coordinator
sub value { return $node->safe_psql('shop', $_[0]) }

# which of the accounts is on a node
sub one_on
{
	my ($at) = @_;
	my ($one) = grep {
		value("SELECT nodeport FROM pg_dist_shard_placement WHERE shardid = get_shard_id_for_distribution_column('ducto.accounts', $_)") == $at->port
	} @users;

	return $one;
}

# the grants of an account
sub grants
{
	return value("SELECT string_agg(format('%s of %s of %s at %s by %s', remaining, amount, type, priority, expires_at), ', '
		ORDER BY priority, expires_at, id) FROM ducto.grants WHERE account_id = $_[0]");
}

# what remains of them
sub left { return value("SELECT coalesce(sum(remaining), 0) FROM ducto.grants WHERE account_id = $_[0]") }

# Check that a call sends few statements to the grants of the nodes, and return what it did.
sub few
{
	my ($at, $call) = @_;
	my ($rc, $done, $told) = $at->psql('shop', join ';', 'SET citus.log_local_commands = on', 'SET citus.log_remote_commands = on',
		"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT $call", 'COMMIT');
	my $sent = grep { /\bducto\.grants_\d/ } split /NOTICE:/, $told;

	ok($rc == 0 && $sent > 0 && $sent <= 6, "$call on " . $at->name) || diag "$sent statements: $told";
	return $done;
}

$cluster->database('shop', shards => 4);
my ($giver, $taker) = map { one_on($_) } $first, $second;
my $gifts = join ',', map {
	sprintf '{"user_id": %s, "amount": %d.5, "type": "%s", "expires_at": "2222-01-%02d", "priority": %d}',
		$giver =~ tr/'/"/r, $_, $_ % 3 ? 'promo' : 'subscription', $_, 50 + $_ % 2
} 1 .. 30;

value(qq(SELECT count(*) FROM ducto_add_credits_many('[$gifts]')));
my $were = grants($giver);

foreach my $at ($node, $first, $second)
{
	few($at, "ducto_transfer($giver, $taker, 479.75)");
	is(value("SELECT count(*), sum(amount) FROM ducto.grants WHERE account_id = $giver AND NOT live"), '29|0.0000', 'all but one are gone for good');
	is(left($giver), '0.2500', 'of which a bit stays');
	is(left($taker), '479.7500', 'and have come');
	few($at, "ducto_transfer($taker, $giver)");
	is(grants($giver), $were, 'they go back, and join what stayed');
	is(left($taker), '0.0000', 'with all that came');
}
foreach my $at ($node, $first, $second)
{
	my $call  = "transaction_id FROM ducto_charge($giver, 300)";
	my $entry = $at == $first ? few($at, $call) : $at->safe_psql('shop', "SELECT $call");

	isnt(grants($giver), $were, 'many are spent');
	few($at, "ducto_refund('$entry', account_id => $giver)");
	is(grants($giver), $were, 'and given back');
}
value("SELECT ducto_charge($taker, 40, overrun => 'full')");
few($second, "ducto_transfer($giver, $taker)");
is(value("SELECT count(*), sum(remaining) FROM ducto.grants WHERE account_id = $taker AND live"), '25|440.0000', 'a debt eats the first of them');
is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
$_->stop foreach $node, $first, $second;

done_testing();
