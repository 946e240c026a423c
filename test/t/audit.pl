# pgaudit sees what a call reads and writes, each statement once, and the call
# itself: nothing is done without the executor in a session that is watched.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($share) = run_command([ 'pg_config', '--sharedir' ]);
plan skip_all => 'pgaudit is not installed' unless -e "$share/extension/pgaudit.control";

my $ada  = "'00000000-0000-4000-8000-00000000000a'";
my $node = PostgreSQL::Test::Cluster->new('audit');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nshared_preload_libraries = 'pgaudit'\n");
$node->start;
$node->safe_psql('postgres', "CREATE EXTENSION ducto; SELECT ducto_add_credits($ada, 1000)");

# What is audited of a query, which is known by a mark: its class, command and
# table, and whether the text is that of the query itself.
sub audited
{
	my ($query, $rows) = @_;
	my ($status, $answer, $told) = $node->psql('postgres', <<"SQL");
SET client_min_messages = log;
SET pgaudit.log_client = on;
SET pgaudit.log_relation = on;
SET pgaudit.log_rows = $rows;
SET pgaudit.log = 'read, write';
SELECT /* the call */ count(*) FROM $query;
SQL
	die "$query: $told" if $status != 0;
	return join ' ', sort map {
		my ($class, $command, $table, $text) = /LOG:  AUDIT: SESSION,\d+,\d+,(\w+),(\w+),\w*,([\w.]*),(.*)/;
		join '-', lc $command, $text =~ /the call/ ? 'call' : (), $table || ();
	} grep { /AUDIT/ } split /\n/, $told;
}

my $lines = "(SELECT jsonb_agg(jsonb_build_object('key', n::text, 'amount', 0.01)) FROM generate_series(1, 60) n)";
my $batch = "(SELECT jsonb_agg(jsonb_build_object('user_id', $ada, 'amount', 1, 'idempotency_key', 'b' || n)) FROM generate_series(1, 60) n)";
foreach my $rows ('off', 'on')
{
	is(audited("ducto_charge($ada, 1) c WHERE c.error IS NULL", $rows),
		'insert-ducto.ledger select-call select-ducto.pricing update-ducto.accounts', "a charge, with the number of rows $rows");
	like(audited("ducto_charge_many($batch) c WHERE c.error IS NULL", $rows),
		qr/^insert-ducto.ledger (?!.*insert)(?=.*update-ducto.accounts)(?=.*select-call(?! ?.*call))/, 'a batch');
	my $hold = $node->safe_psql('postgres', "SELECT reservation_id FROM ducto_reserve($ada, 10)");
	like(audited("ducto_settle($ada, '$hold', $lines) c WHERE c.error IS NULL", $rows),
		qr/^insert-ducto.ledger insert-ducto.usage_lines (?!.*insert)(?=.*update-ducto.accounts)(?=.*select-call(?! ?.*call))/, 'lines');
	$node->safe_psql('postgres', "SELECT released FROM ducto_release($ada, '$hold')");
	$lines =~ s/n::text/'again' || n/;
	$batch =~ s/'b'/'more'/;
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM ducto_verify()'), 0, 'every invariant holds');
$node->stop;
done_testing();
