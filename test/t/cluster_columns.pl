
# Columns that somebody has added to the tables, or dropped from them, on a
# cluster: before the tables were distributed, before a node joined, and after. The
# tables of a worker lack those that were added before, those of the coordinator
# have gaps that the shards do not have. Calls on every node do what they do
# without such columns, which get their default. Then the property test of
# model.pl is run on such tables.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

use constant STEPS => 150;    # of the property test

my @tables = qw(accounts alerts grants ledger plans reservations spend_caps team_members teams usage_lines);

# A column that is there for a while only, and one that stays, of each table.
my $add = join '; ', map { ("ALTER TABLE ducto.$_ ADD COLUMN passing integer", "ALTER TABLE ducto.$_ DROP COLUMN passing",
	"ALTER TABLE ducto.$_ ADD COLUMN note text NOT NULL DEFAULT 'own'") } @tables;

my $cluster = Citus->new('columns', workers => 2);
my $node    = $cluster->coordinator;
my ($first, $second) = $cluster->workers;
my @users   = map { sprintf "'00000000-0000-4000-9000-%012d'", $_ } 1 .. 12;
my $all     = '(VALUES ' . (join ', ', map { "(${_}::uuid)" } @users) . ') u (id)';
my $calls   = 0;    # how often calls were tried

# a value of the database on the coordinator
sub value { return $node->safe_psql('shop', $_[0]) }

# Check what calls of every kind answer on a node.
sub call
{
	my ($at) = @_;
	my $name = $at->name;
	my %calls = (
		'credit'     => "SELECT sum(c.amount) = 60 FROM $all, ducto_add_credits(u.id, 5) c",
		'terms'      => "SELECT sum(c.amount) = 60 FROM $all, ducto_add_credits(u.id, 5, 'promo', expires_at => now() + interval '1 day') c",
		'charges'    => "SELECT sum(c.amount) = 12 FROM $all, ducto_charge(u.id, 1) c",
		'usages'     => qq(SELECT sum(c.amount) = 12 FROM $all, ducto_charge_usage(u.id, '{"model": "m", "input_tokens": 100}') c),
		'holds'      => "SELECT sum(c.amount) = 12 FROM $all, ducto_reserve(u.id, 2) r, ducto_deduct(u.id, r.reservation_id, 1) c",
		'lines'      => qq(SELECT sum(c.booked) = 12 FROM $all, ducto_reserve(u.id, 2) r, ducto_settle(u.id, r.reservation_id, '[{"key": "line $calls", "amount": 1}]') c),
		'releases'   => "SELECT count(*) = 12 FROM $all, ducto_reserve(u.id, 2) r, ducto_release(u.id, r.reservation_id) c WHERE c.released",
		'a batch'    => "SELECT sum(c.amount) = 12 FROM ducto_charge_many((SELECT jsonb_agg(jsonb_build_object('user_id', id, 'amount', 1)) FROM $all)) c",
		'credits'    => "SELECT sum(c.amount) = 60 FROM ducto_add_credits_many((SELECT jsonb_agg(jsonb_build_object('user_id', id, 'amount', 5)) FROM $all)) c",
		'caps'       => "SELECT count(*) = 12 FROM $all, ducto_set_spend_cap(u.id, 'daily', 1000) c",
		'alerts'     => "SELECT count(*) = 12 FROM $all, ducto_set_alerts(u.id, '{30}') c",
		'plans'      => "SELECT count(*) = 12 FROM $all, ducto_set_user_plan(u.id, 'pro') c",
		'transfers'  => "SELECT amount = 1 FROM ducto_transfer($users[0], $users[5], 1)",
		'reversals'  => "SELECT sum(c.amount) = 12 FROM $all, ducto_add_credits(u.id, 1) a, ducto_reverse_credits(a.transaction_id, account_id => u.id) c",
		'refunds'    => "SELECT sum(c.amount) = 12 FROM $all, ducto_charge(u.id, 1) a, ducto_refund(a.transaction_id, account_id => u.id) c",
		'a sweep'    => 'SELECT expired_count = 0 FROM ducto_sweep_expired()',
		'lists'      => "SELECT count(DISTINCT u.id) = 12 FROM $all, ducto_list_transactions(u.id) t",
		'balances'   => "SELECT count(*) = 12 FROM $all, ducto_get_balance(u.id) b WHERE b.balance > 10",
		'a pool'     => "SELECT d.amount = 1 FROM ducto_create_team('crew of $name', 100) t, ducto_add_team_member(t.team_id, $users[1]) m, ducto_deduct_team(m.team_id, $users[1], 1) d");

	$calls++;
	foreach my $what (sort keys %calls)
	{
		my (undef, $told, $error) = $at->psql('shop', $calls{$what});

		is($told || $error, 't', "$name: $what");
	}
	return;
}

# Check that rows have the column, of every table that has accounts' rows.
sub noted
{
	my ($column, $default) = @_;

	foreach my $table (@tables)
	{
		is(value("SELECT count(*) > 0, count(*) FILTER (WHERE $column IS DISTINCT FROM '$default') FROM ducto.$table"), 't|0', "rows of $table have it");
	}
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	return;
}

$cluster->empty('shop', $first);
value('CREATE EXTENSION ducto');
value($add);
value(q(SELECT ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.01"}, "plans": {"pro": {"name": "Pro", "free_allowance": 0}}}')));
value("SELECT ducto_add_credits($_, 100)") foreach @users;
value(sprintf q(SELECT citus_set_node_property('%s', %d, 'shouldhaveshards', true)), $node->host, $node->port);
is(value('SELECT count(*) > 10 FROM ducto_distribute(8)'), 't', 'tables that have columns of somebody are distributed');
is(value(q(SELECT count(DISTINCT p.groupid) FROM pg_dist_placement p JOIN pg_dist_shard s USING (shardid) WHERE s.logicalrelid = 'ducto.accounts'::regclass)),
	'2', 'over the coordinator and a worker');
is($first->safe_psql('shop', q(SELECT count(*) FROM pg_attribute WHERE attrelid = 'ducto.accounts'::regclass AND attname = 'note')), '0', 'whose table has no such column');
call($_) foreach $node, $first;
noted('note', 'own');

value(qq(ALTER TABLE ducto.$_ ADD COLUMN later text DEFAULT 'too')) foreach @tables;
$second->safe_psql('postgres', 'CREATE DATABASE shop');
$second->safe_psql('shop', 'CREATE EXTENSION citus');
$cluster->add('shop', $second);
value(q(SELECT rebalance_table_shards(shard_transfer_mode => 'block_writes')));
is(value(q(SELECT count(DISTINCT p.groupid) FROM pg_dist_placement p JOIN pg_dist_shard s USING (shardid) WHERE s.logicalrelid = 'ducto.accounts'::regclass)),
	'3', 'a node that joined has shards');
call($_) foreach $node, $first, $second;
noted('later', 'too');
noted('note', 'own');

value('SELECT count(*) FROM ducto_undistribute()');
call($node);
noted('note', 'own');
$cluster->stop;

# --- the property test -----------------------------------------------------

{
	local $ENV{DUCTO_CITUS} = $add;
	local $ENV{DUCTO_STEPS} = STEPS;
	local $ENV{DUCTO_SEED}  = int(rand(2**31));
	my $told = `$^X $FindBin::RealBin/model.pl 2>&1`;

	ok($? == 0, "the property test on such a cluster, seed $ENV{DUCTO_SEED}") or diag($told);
}

done_testing();
