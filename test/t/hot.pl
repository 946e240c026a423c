# Accounts that are charged again and again stay in their pages: what was
# replaced is pruned there in time, however wide a row is, by one client or by
# many, and by calls that read one row or several.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $accounts = 1000;
my $node     = PostgreSQL::Test::Cluster->new('hot');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nducto.rejections = raise\n");
$node->start;
my $script = $node->basedir . '/calls.sql';
append_to_file($script, join("\n",
	"\\set n random(1, $accounts)",
	'SELECT ducto_charge(user_id => account(:n), amount => 1);',
	'SELECT ducto_deduct(account(:n), reservation_id, 1) FROM ducto_reserve(account(:n), 1);') . "\n");

# The tables whose rows are updated, and their pages.
sub pages
{
	my ($database) = @_;
	return map { $_ => $node->safe_psql($database, "SELECT pg_relation_size('ducto.$_') / 8192") } qw(accounts spend_caps grants);
}

# Many calls on accounts whose rows are so much wider.
sub calls
{
	my ($width, $clients, $more) = @_;
	my $database = "wide_${width}_$clients";
	my $name     = "rows $width bytes wider, clients: $clients";

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{
		CREATE EXTENSION ducto;
		CREATE FUNCTION account(n bigint) RETURNS uuid LANGUAGE sql AS \$\$SELECT lpad(n::text, 32, '0')::uuid\$\$;
		ALTER TABLE ducto.accounts ADD note text DEFAULT repeat('x', $width), ALTER note SET STORAGE PLAIN;
		SELECT count(ducto_add_credits(account(n), 1000000)) FROM generate_series(1, $accounts) n;
		SELECT count(ducto_add_credits(account(n), 1000000, expires_at => now() + interval '1 year'))
		  FROM generate_series(1, $accounts / 2) n;
		SELECT count(c) FROM generate_series(1, $accounts / 4) n, unnest(ARRAY['daily', 'monthly']) period,
			ducto_set_spend_cap(account(n), period, 1000000) c;
		VACUUM FULL ducto.accounts, ducto.spend_caps, ducto.grants;
	});
	my %before = pages($database);
	$node->command_ok([ 'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-t', 10000 / $clients, '-f', $script, $database ],
		"$name: calls");
	my %after = pages($database);
	cmp_ok($after{$_}, '<=', $before{$_} * $more, "$name: pages of $_: $before{$_}") for sort keys %before;
	is($node->safe_psql($database, 'SELECT count(*) FROM ducto_verify()'), 0, 'every invariant holds');
	return;
}

calls(0,    1, 1.1);
calls(1000, 1, 1.5);
calls(0,    4, 1.5);
$node->stop;
done_testing();
