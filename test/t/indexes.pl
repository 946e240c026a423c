# Indexes are built, made anew and dropped concurrently while sessions whose
# statements are kept write their tables: none misses a row, as amcheck finds by
# looking for every row of the table in it.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('indexes');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION ducto;
	CREATE EXTENSION amcheck;
	CREATE FUNCTION who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;
	SELECT ducto_add_credits(who(n), 100000) FROM generate_series(1, 10) n;
});

# Transactions of several calls: an index that is built waits for them, and they
# write what it does not know yet.
my $script = $node->basedir . '/calls.sql';
append_to_file($script, q{
	\set u random(1, 10)
	\set k random(1, 1000000000)
	BEGIN;
	SELECT ducto_charge(who(:u::int), 0.01, 'k' || (:k::bigint), model => 'm');
	SELECT ducto_deduct(who(:u::int), reservation_id, 0.5) FROM ducto_reserve(who(:u::int), 1);
	COMMIT;
});
my ($out, $err) = ('', '');
my $calls = IPC::Run::start([ 'pgbench', '--no-vacuum', '--client', 4, '--time', 12, '--protocol', 'prepared', '--file', $script,
		'--host', $node->host, '--port', $node->port, 'postgres' ], '>', \$out, '2>', \$err);
my ($built, $rounds, $lost) = (0, 0, 0);
my $missing = sub {
	my ($status, $answer, $told) = $node->psql('postgres', q{
		SELECT count(bt_index_check(i.indexrelid, true)) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		JOIN pg_am a ON a.oid = c.relam WHERE c.relnamespace = 'ducto'::regnamespace AND a.amname = 'btree'});
	diag($told) if $status != 0;
	return $status != 0;
};
while ($calls->pumpable)
{
	$built += $node->psql('postgres', $_) == 0 ? 1 : 0 foreach (
		'CREATE INDEX CONCURRENTLY added_entry ON ducto.ledger (upper(model), seq) WHERE model IS NOT NULL',
		'CREATE UNIQUE INDEX CONCURRENTLY added_hold ON ducto.reservations (id, remaining)',
		'CREATE INDEX CONCURRENTLY added_account ON ducto.accounts (balance)',
		'REINDEX TABLE CONCURRENTLY ducto.ledger');
	$lost += &$missing;
	$node->safe_psql('postgres', "DROP INDEX CONCURRENTLY ducto.$_") foreach ('added_entry', 'added_hold', 'added_account');
	$rounds++;
	$calls->pump_nb;
}
$calls->finish;
is($calls->result(0), 0, 'every call was made') or diag($err);
cmp_ok($rounds, '>', 0, 'while indexes came and went');
is($built, 4 * $rounds, 'each of which was built');
is($lost + &$missing, 0, 'and had every row');
is($node->safe_psql('postgres', 'SELECT count(*) FROM ducto_verify()'), 0, 'every invariant holds');
$node->stop;
done_testing();
