
# Lines are written a page at a time: they reach a standby and a subscriber as
# they are, a row filter is minded, a crash leaves all of a call or nothing, and
# the indexes have each of them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $user    = "'00000000-0000-4000-8000-00000000000a'";
my $primary = PostgreSQL::Test::Cluster->new('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');
my $other   = PostgreSQL::Test::Cluster->new('subscriber');

# settle is a call for so many lines whose keys begin so.
sub settle
{
	my ($prefix, $n) = @_;
	return "SELECT booked, skipped FROM ducto.reservations r, ducto_settle(r.account_id, r.id, (SELECT jsonb_agg(jsonb_build_object('key', '$prefix' || n,"
	  . " 'amount', 0.001 * n, 'model', 'm' || n % 7, 'metadata', CASE WHEN n % 1000 = 0 THEN jsonb_build_object('text', repeat(md5(n::text), 9000)) END))"
	  . " FROM generate_series(1, $n) n)) WHERE r.account_id = $user";
}

# content is a checksum of the lines that a filter lets pass.
sub content
{
	my ($node, $filter) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(*), md5(string_agg(l::text, ',' ORDER BY key)) FROM ducto.usage_lines l WHERE $filter");
}

# sound compares the indexes with the table.
sub sound
{
	my ($node, $when) = @_;

	is($node->safe_psql('postgres', 'SELECT bt_index_check(indexrelid, true) FROM pg_index JOIN pg_class i ON i.oid = indexrelid'
			  . " JOIN pg_am a ON a.oid = i.relam WHERE indrelid = 'ducto.usage_lines'::regclass AND amname = 'btree'"), '',
		"$when: the index of keys has each line");
	is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT count(*) FROM (SELECT DISTINCT entry FROM ducto.usage_lines OFFSET 0) e'
			  . ' WHERE (SELECT count(*) FROM ducto.usage_lines l WHERE l.entry = e.entry) <> (SELECT count(*) FROM ducto.usage_lines l WHERE l.entry::text = e.entry::text)'),
		'0', '... and the index of blocks finds those of each entry');
	is($node->safe_psql('postgres', 'SELECT * FROM ducto_verify()'), '', '... and the books are right');
	return;
}

$primary->init(allows_streaming => 'logical');
$primary->append_conf('postgresql.conf', "autovacuum = off\nmax_wal_senders = 10");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION ducto; CREATE EXTENSION amcheck');
$primary->safe_psql('postgres', "SELECT ducto_add_credits($user, 1000000); SELECT ducto_reserve($user, 900000, ttl_seconds => 86400)");
$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$other->init;
$other->start;
$other->safe_psql('postgres', 'CREATE EXTENSION ducto');

my $version = $primary->safe_psql('postgres', "SELECT current_setting('server_version_num')");
my $filter  = $version >= 150000 ? 'line % 3 > 0' : 'true';

$primary->safe_psql('postgres', 'CREATE PUBLICATION lines FOR TABLE ducto.usage_lines'
	  . ($version >= 150000 ? " WHERE ($filter) WITH (publish = 'insert')" : ''));
$other->safe_psql('postgres', "CREATE SUBSCRIPTION lines CONNECTION '" . $primary->connstr . " dbname=postgres' PUBLICATION lines");
$other->wait_for_subscription_sync($primary, 'lines') if $other->can('wait_for_subscription_sync');

my $session = Session->new($primary);
my $from    = $session->value('SELECT pg_current_wal_insert_lsn()');

is(join('|', $session->run(settle('a', 10000))), "10000\x{1f}0", '10,000 lines');
my $to = $session->value('SELECT pg_current_wal_insert_lsn()');

# what comes next goes to blocks that are summed up already
$session->run("SELECT brin_summarize_new_values('ducto.usage_lines_entry')");
$session->run('BEGIN; SAVEPOINT one');
is(join('|', $session->run(settle('b', 300))), "300\x{1f}0", 'lines after a savepoint');
$session->run('ROLLBACK TO one');
is(join('|', $session->run(settle('b', 200))), "200\x{1f}0", '... which are new again after its rollback');
$session->run('COMMIT');

my $file    = $session->value("SELECT pg_relation_filepath('ducto.usage_lines')") =~ s{^base/}{}r;
my ($records) = run_command([ 'pg_waldump', '-p', $primary->data_dir . '/pg_wal', '-s', $from, '-e', $to ]);
my @own     = grep { m{rel \d+/$file } } split /\n/, $records;
my $many    = grep { /MULTI_INSERT/ } @own;
my $single  = grep { /rmgr: Heap / && /desc: INSERT/ } @own;

cmp_ok($many, '>', 10000 / 200, 'WAL has a record for each page of them');
cmp_ok($many, '<', 10000 / 20, '... which has many');
is($single, 0, '... and none for a single line');

$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is(content($standby, 'true'), content($primary, 'true'), 'a standby has them');
$primary->wait_for_catchup('lines');
is(content($other, 'true'), content($primary, $filter), 'a subscriber has those that the filter lets pass');
sound($primary, 'on the primary');

# What is not committed when the server crashes was never there, though its
# pages were written.
my $before = content($primary, 'true');

$session->run('BEGIN');
is(join('|', $session->run(settle('c', 2000))), "2000\x{1f}0", 'lines of a transaction that does not end');
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->stop('immediate');
$primary->start;
is(content($primary, 'true'), $before, 'after a crash they are not there, and the others are');
sound($primary, 'after a crash');
is($primary->safe_psql('postgres', settle('c', 2000)), '2000|0', 'they are new again');
$primary->stop('immediate');
$primary->start;
is($primary->safe_psql('postgres', settle('c', 2000)), '0|2000', '... and known after the next crash');
sound($primary, 'after the next crash');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is(content($standby, 'true'), content($primary, 'true'), 'the standby has followed');
$primary->wait_for_catchup('lines');
is(content($other, 'true'), content($primary, $filter), 'and the subscriber');

$standby->promote;
is($standby->safe_psql('postgres', settle('c', 2001)), '1|2000', 'a promoted standby knows their keys');
sound($standby, 'after a promotion');

# Keys of the ledger have the order of the database, lines have that of bytes.
SKIP:
{
	skip 'databases have no ICU locale before 15', 2 if $version < 150000;
	$primary->safe_psql('postgres', "CREATE DATABASE english TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en'");
	$primary->safe_psql('english', "CREATE EXTENSION ducto; SELECT ducto_add_credits($user, 100); SELECT ducto_charge($user, 1, 'B');"
		  . " SELECT ducto_reserve($user, 50); SELECT ducto_deduct($user, reservation_id, 0, 'E') FROM ducto_reserve($user, 5)");
	is($primary->safe_psql('english', "SELECT booked, skipped, error FROM ducto.reservations r, ducto_settle(r.account_id, r.id,"
			  . qq( '[{"key": "B", "amount": 1}, {"key": "a", "amount": 1}]') . ") WHERE state = 'open'"),
		'1|1|', 'a key is found in the order of a language');
	is($primary->safe_psql('english', "SELECT booked, error FROM ducto.reservations r, ducto_settle(r.account_id, r.id,"
			  . qq( '[{"key": "F", "amount": 1}, {"key": "E", "amount": 1}, {"key": "d", "amount": 1}]') . ") WHERE state = 'open'"),
		'0|idempotency_conflict', '... and that of a deduct of nothing');
}

done_testing();
