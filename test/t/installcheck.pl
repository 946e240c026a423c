# make installcheck runs on a server that is in use. Of what belongs to the
# cluster its tests touch nothing but what they make, under names of their own;
# where Supabase's roles are there already, the tests that would make them leave
# them alone.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $OURS = qr/^"?regress[_ ]ducto[_ ]/;
# The tests that need roles of Supabase's names, and look whether these are free.
my %supabase = ('test/sql/supabase.sql' => 'test', 'sdk/test/sql/sdk_access.sql' => 'sdk/test');

# misdeeds gives what a test does to the cluster under other names than ours.
sub misdeeds
{
	my ($text, %other) = @_;
	my (@found, %made);

	while ($text =~ /\b(CREATE|ALTER|DROP)\s+(ROLE|USER|GROUP|DATABASE|TABLESPACE|SUBSCRIPTION|SYSTEM|OWNED\s+BY)\s+(?!MAPPING\b)([^;]+)/gi)
	{
		my ($verb, $kind, $what) = (uc $1, uc $2, $3);
		my @names = $verb eq 'DROP' ? split(/\s*,\s*/, $what) : $what =~ /^("(?:[^"]|"")+"|[^\s,]+)/;

		foreach my $name (map { s/^IF\s+EXISTS\s+//ir } @names)
		{
			next if $verb eq 'ALTER' && $kind eq 'DATABASE' && $name =~ /^:(?:here|"DBNAME")$/;
			next if $verb eq 'ALTER' && $kind eq 'ROLE' && $what =~ /^CURRENT_USER IN DATABASE/;
			push @found, "$verb $kind $name" unless $name =~ $OURS || $other{$name};
			$made{"$kind $name"} = 1 if $verb eq 'CREATE';
			delete $made{"$kind $name"} if $verb eq 'DROP';
		}
	}
	push @found, "$_ is left" foreach sort keys %made;
	return join("\n", @found);
}

foreach my $file (sort(glob('test/sql/*.sql sdk/test/sql/*.sql test/specs/*.spec')))
{
	my $text = slurp_file($file);
	my %other;

	# what it includes, and the name that this is given
	$text =~ s/^\\i (\S+)$/slurp_file($1)/gem;
	my ($own) = $text =~ /^\\set own (\S+)$/m;
	$text =~ s/:own\b/$own/g if defined $own;

	%other = map { $_ => 1 } qw(anon authenticated service_role)
		if $supabase{$file} && $text =~ /'anon', 'authenticated', 'service_role'\) \\gset\n\\if :taken\n\\quit\n\\endif\n/;
	is(misdeeds($text, %other), '', "$file keeps to names of its own");
}
is(misdeeds('CREATE ROLE app; DROP ROLE app; ALTER SYSTEM SET a = 1; CREATE ROLE regress_ducto_a;'),
	"CREATE ROLE app\nDROP ROLE app\nALTER SYSTEM SET\nROLE regress_ducto_a is left", 'what would be seen');

my @databases = `make -s -n installcheck` =~ /--dbname=(\S+)/g;
is_deeply([ grep { !/_ducto(?:_sdk)?$/ } @databases ], [], 'the databases that are dropped first have names of their own');
is(scalar @databases, 3, 'three of them');

# cluster gives what databases share, but for databases.
my @shared = qw(pg_authid pg_auth_members pg_db_role_setting pg_tablespace pg_shdescription pg_shseclabel);
push @shared, '(SELECT datname, datdba, datacl, datconnlimit, datallowconn FROM pg_database)';

sub cluster
{
	my ($node) = @_;

	return join("\n", map { $node->safe_psql('postgres', "SELECT t::text FROM $_ t ORDER BY 1") } @shared);
}

my $node = PostgreSQL::Test::Cluster->new('installcheck');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE service_role BYPASSRLS;
	CREATE ROLE anon;
	CREATE ROLE authenticator LOGIN NOINHERIT;
	GRANT anon, service_role TO authenticator;
	ALTER ROLE service_role SET ducto.rejections = 'http';
	ALTER ROLE anon IN DATABASE postgres SET statement_timeout = '3s';
	COMMENT ON ROLE anon IS 'nobody';
	CREATE TABLE owned (id integer);
	ALTER TABLE owned OWNER TO service_role});
my $before = cluster($node);

foreach my $file (sort keys %supabase)
{
	my ($input, $name) = ($supabase{$file}, $file =~ m{(\w+)\.sql$});
	my @options = $input eq 'test' ? '--load-extension=ducto' : ();

	push @options, "--expecteddir=$input" if $node->safe_psql('postgres', 'SHOW server_version_num') >= 160000;
	$node->command_ok([
		$ENV{PG_REGRESS}, '--dbname=installcheck', "--inputdir=$input", '--outputdir=' . PostgreSQL::Test::Utils::tempdir(),
		'--bindir=', '--host=' . $node->host, '--port=' . $node->port, @options, $name ],
		"$name where there are such roles");
}
$node->safe_psql('postgres', 'DROP DATABASE installcheck');
is(cluster($node), $before, 'all roles, their members and their settings are as they were');
is($node->safe_psql('postgres', q{SELECT tableowner FROM pg_tables WHERE tablename = 'owned'}), 'service_role', 'and so is what they own');

$node->stop;
done_testing();
