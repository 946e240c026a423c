
# Data outlives everything: a dump has all of it, and a restore gives a
# database that goes on as if nothing had happened. Retries still replay, grants
# are still spent in order, holds still hold, the ledger still refuses changes.
#
# The accounts travel as a plain script, in the custom format with two jobs, as
# schema and data apart, chosen by extension and schema, and with an extension
# that has another schema.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Books;
use Session;
use Test::More;

my $node  = PostgreSQL::Test::Cluster->new('dump');
my $dir   = PostgreSQL::Test::Utils::tempdir();
my $alice = "'00000000-0000-4000-8000-00000000000a'";

# restored compares a restored database with the one that was dumped.
sub restored
{
	my ($name, $from, $to, $at) = @_;

	subtest $name => sub {
		is(content($node, $to), content($node, $from), 'the tables are equal');
		is(readings($node, $to, $at), readings($node, $from, $at), 'what can be read is equal');
		goes_on($node, $to, $at);
	};
	return;
}

# dump and restore run the programs; a restore must not say anything.
sub dump_to
{
	my ($file, @options) = @_;
	$node->command_ok([ 'pg_dump', '-f', "$dir/$file", @options ], "pg_dump @options");
	return;
}

sub restore_script
{
	my ($dbname, @files) = @_;

	foreach my $file (@files)
	{
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', "$dir/out", '-d', $dbname, '-f', "$dir/$file" ],
			"restore $file into $dbname");
	}
	return;
}

$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('one', 'CREATE EXTENSION ducto');
fill($node, 'one', 'public');

subtest 'what is dumped is what it should be' => sub {
	is($node->safe_psql('one', "SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM ducto.reservations"),
		'open released settled', 'reservations of each kind');
	is($node->safe_psql('one', 'SELECT * FROM ducto_verify()'), '', 'nothing to find for the auditor');
	# what ducto_rollup makes of the ledger is made anew
	is($node->safe_psql('one', "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class AS c"
			  . " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'ducto' AND c.relkind IN ('r', 'S', 'p')"
			  . " AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'ducto' AND c.oid = ANY (extconfig))"),
		'usage_rollup', 'no other table and no sequence is left out of a dump');
	is($node->safe_psql('one', "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind IN ('r', 'm', 'S', 'f')"
			  . " AND relnamespace = 'public'::regnamespace"),
		'', 'and none is elsewhere');
};

dump_to('plain.sql', '-d', 'one');
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(plain custom parts early);
restore_script('plain', 'plain.sql');
restored('a plain script', 'one', 'plain', 'public');

dump_to('custom', '-Fc', '-d', 'one');
$node->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', 'custom', "$dir/custom" ], 'pg_restore -j 2');
restored('the custom format with two jobs', 'one', 'custom', 'public');

dump_to('schema.sql', '--schema-only', '-d', 'one');
dump_to('data.sql', '--data-only', '-d', 'one');
restore_script('parts', 'schema.sql', 'data.sql');
restored('schema and data apart', 'one', 'parts', 'public');

$node->safe_psql('early', 'CREATE EXTENSION ducto');
restore_script('early', 'data.sql');
restored('the data alone, the extension being there', 'one', 'early', 'public');

# What belongs to an extension comes only with the extension: of schema ducto alone there is nothing.
subtest 'chosen by extension, schema, table' => sub {
	my %chosen = (
		'the extension and the schema'        => [ '-e', 'ducto', '-n', 'ducto' ],
		'the extension and another schema'    => [ '-e', 'ducto', '-n', 'shop' ],
		'the extension and the tables'        => [ '-e', 'ducto', '-t', 'ducto.*' ]);
	my $count = 0;

	$node->safe_psql('one', 'CREATE SCHEMA shop; CREATE TABLE shop.orders AS SELECT 1 AS id');
	dump_to('ducto.sql', '-n', 'ducto', '-d', 'one');
	unlike(slurp_file("$dir/ducto.sql"), qr/^(?:COPY|CREATE)/m, '-n ducto has neither tables nor rows');
	foreach my $name (sort keys %chosen)
	{
		my $to = 'chosen' . ++$count;

		dump_to($to, '-Fc', @{ $chosen{$name} }, '-d', 'one');
		$node->safe_psql('postgres', "CREATE DATABASE $to");
		$node->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', $to, "$dir/$to" ], 'pg_restore');
		restored($name, 'one', $to, 'public');
	}
	dump_to('rest.sql', '-N', 'ducto', '-d', 'one');
	is(join(' ', slurp_file("$dir/rest.sql") =~ /^COPY (\S+)/mg), 'shop.orders', '-N ducto leaves the books out');
	like(slurp_file("$dir/rest.sql"), qr/^CREATE EXTENSION .*ducto/m, '... but not the extension');
	$node->safe_psql('one', 'DROP SCHEMA shop CASCADE');
};

# A dump of what was restored is the dump that it was restored from.
$node->safe_psql('postgres', 'CREATE DATABASE again');
restore_script('again', 'plain.sql');
dump_to('again.sql', '-d', 'again');
my ($first, $second) = map {
	join("\n", grep { !/^\\(?:un)?restrict / } split /\n/, slurp_file("$dir/$_"))
} ('plain.sql', 'again.sql');
is($second, $first, 'a dump of the restored database is the same dump');

subtest 'another schema' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
	$node->safe_psql('postgres', 'CREATE DATABASE arrived');
	$node->safe_psql('elsewhere', 'CREATE SCHEMA api; CREATE EXTENSION ducto SCHEMA api');
	fill($node, 'elsewhere', 'api');
	is($node->safe_psql('elsewhere', "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"),
		'0', 'nothing is in public');
	dump_to('elsewhere', '-Fc', '-d', 'elsewhere');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'arrived', "$dir/elsewhere" ], 'pg_restore');
	restored('... travels too', 'elsewhere', 'arrived', 'api');
};

subtest 'drop and create again' => sub {
	my $session = Session->new($node, dbname => 'plain');

	is($session->value("SELECT error FROM ducto_charge($alice, 1)"), undef, 'a session has used it');
	$session->run('DROP EXTENSION ducto');
	is($session->sqlstate, '00000', 'DROP EXTENSION');
	is($session->value("SELECT count(*) FROM pg_namespace WHERE nspname = 'ducto'"), 0, '... takes the tables away');
	is($session->value("SELECT count(*) FROM pg_proc WHERE proname LIKE 'ducto%'"), 0, '... and the functions');
	is($session->value("SELECT count(*) FROM pg_type WHERE typname LIKE '%ducto%'"), 0, '... and the types');
	$session->run('CREATE EXTENSION ducto');
	is($session->sqlstate, '00000', 'CREATE EXTENSION again');
	is($session->value("SELECT balance FROM ducto_get_balance($alice)"), '0.0000', '... is empty, in the same session');
	is(join(' ', @{ $session->row("SELECT new_balance, idempotent FROM ducto_add_credits($alice, 5, 'purchase', idempotency_key => 'order o-1')") }),
		'5.0000 f', '... and works there');
	is($session->value("SELECT balance_after FROM ducto_charge($alice, 1)"), '4.0000', '... with plans that were kept before');
	is($session->value('SELECT count(*) FROM ducto_verify()'), 0, 'nothing to find for the auditor');
	$session->quit;
};

$node->stop;
done_testing();
