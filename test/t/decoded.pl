# What is written without the executor is decoded, and counted, as what is
# written by it: the same changes in the same order, old rows where the table's
# identity is all of the row, and values that are kept beside it.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ada  = "'00000000-0000-4000-8000-00000000000a'";
my $node = PostgreSQL::Test::Cluster->new('decoded');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\n");
$node->start;

my $big   = "(SELECT jsonb_build_object('big', string_agg(md5(n::text), '')) FROM generate_series(1, 1000) n)";
my $batch = "(SELECT jsonb_agg(jsonb_build_object('user_id', $ada, 'amount', 1, 'idempotency_key', 'b' || n)) FROM generate_series(1, 60) n)";
my $lines = "(SELECT jsonb_agg(jsonb_build_object('key', 'l' || n, 'amount', 0.01)) FROM generate_series(1, 60) n)";
my $calls = qq{
	SELECT balance_after FROM ducto_charge($ada, 1);
	SELECT balance_after FROM ducto_charge($ada, 1, 'once', metadata => $big);
	SELECT balance_after FROM ducto_charge($ada, 1, 'once');
	BEGIN;
	SELECT balance_after FROM ducto_charge($ada, 1);
	SAVEPOINT back;
	SELECT balance_after FROM ducto_charge($ada, 1, 'twice');
	ROLLBACK TO back;
	SELECT balance_after FROM ducto_charge($ada, 2, 'twice');
	COMMIT;
	SELECT reservation_id AS hold FROM ducto_reserve($ada, 10, idempotency_key => 'hold') \\gset
	SELECT amount FROM ducto_deduct($ada, :'hold', 1, 'part', final => false);
	SELECT booked FROM ducto_settle($ada, :'hold', $lines);
	SELECT amount FROM ducto_deduct($ada, :'hold', 1, 'rest');
	SELECT count(amount) FROM ducto_charge_many($batch);
};

# The answers of the calls, what is decoded of them, without what no two of them
# have in common, and the counts of the tables.
sub told
{
	my ($direct) = @_;
	my $database = "direct_$direct";

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{
		CREATE EXTENSION ducto;
		SELECT ducto_add_credits($ada, 1000), ducto_set_spend_cap($ada, 'daily', 500);
		ALTER TABLE ducto.accounts REPLICA IDENTITY FULL;
		ALTER TABLE ducto.reservations REPLICA IDENTITY FULL;
		SELECT pg_create_logical_replication_slot('$database', 'test_decoding');
	});
	my $answers = $node->safe_psql($database, "SET ducto.direct = $direct;\n$calls");
	my $changes = $node->safe_psql($database,
		"SELECT data FROM pg_logical_slot_get_changes('$database', NULL, NULL, 'skip-empty-xacts', '1', 'include-xids', '0')");
	$changes =~ s/'20\d\d-[^']*'|'[0-9a-f]{8}-[0-9a-f]{4}-7[-0-9a-f]*'|\b(?:xact|caps_version)\[bigint\]:-?\d+/-/g;
	my $counts = $node->safe_psql($database, q{
		SELECT relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, idx_scan > 0 FROM pg_stat_user_tables
		WHERE schemaname = 'ducto' AND n_tup_ins > 0 ORDER BY relname});
	is($node->safe_psql($database, 'SELECT count(*) FROM ducto_verify()'), 0, 'every invariant holds');
	return ($answers, $changes, $counts);
}

my @direct   = told('on');
my @executed = told('off');
is($direct[0], $executed[0], 'the calls answer the same');
is($direct[1], $executed[1], 'the same is decoded of them');
is($direct[2], $executed[2], 'and counted');
is(scalar(() = $direct[1] =~ /^table ducto\.ledger: INSERT/mg), 67, 'each entry is there');
is(scalar(() = $direct[1] =~ /^table ducto\.usage_lines: INSERT/mg), 60, 'each line');
like($direct[1], qr/^table ducto\.accounts: UPDATE: old-key: .*balance\[numeric\]:1000\.0000 .*new-tuple: .*balance\[numeric\]:999\.0000/m,
	'and the row of the account as it was before');
$node->stop;
done_testing();
