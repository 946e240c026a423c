
# The documentation says what is so: every example of README.md and docs answers
# what the page shows, an error too; README lists every function; and
# docs/reference.md is what the catalog says now.

use strict;
use warnings FATAL => 'all';

use File::Basename;
use File::Find;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = dirname(__FILE__) . '/../..';
my @pages = ('README.md');
find(sub { push(@pages, $File::Find::name =~ s{^\Q$root\E/}{}r) if /\.md$/ }, "$root/docs");

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->start;

# Reads a file of the checkout, as bytes: what programs print is that too.
sub page
{
	my ($name) = @_;

	open(my $in, '<:raw', "$root/$name") or die "cannot read $name: $!";
	local $/;
	return <$in>;
}

# Compares what a page has with what it should have, and shows where they part.
sub same
{
	my ($name, $has, $should, $fix) = @_;
	my @has = split(/\n/, $has);
	my @should = split(/\n/, $should);

	return if ok($has eq $should, "$name is as $fix would make it");
	for my $i (0 .. $#should)
	{
		next if defined $has[$i] && $has[$i] eq $should[$i];
		diag("$name, line @{[$i + 1]}\n  has:       @{[$has[$i] // '(the end)']}\n  should be: $should[$i]");
		last;
	}
}

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGTZ} = 'UTC';

# Pages with examples in another language have tests of their own: they need more.
foreach my $name (grep { page($_) =~ /^```sql$/m && page($_) !~ /^```(python|js)$/m } sort(@pages))
{
	$node->safe_psql('postgres', 'CREATE DATABASE example');
	local $ENV{PGDATABASE} = 'example';
	my ($made, $errors) = run_command([ $^X, "$root/script/examples.pl", "$root/$name" ]);
	is($errors, '', "$name: all examples run");
	same($name, page($name), "$made\n", 'script/examples');
	$node->safe_psql('postgres', "DROP DATABASE example;\n"
			. "SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE oid >= 16384 \\gexec");
}

$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
my @functions = split(/\n/, $node->safe_psql('postgres', q{
	SELECT p.proname FROM pg_proc p
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'ducto' AND p.pronamespace <> 'ducto'::regnamespace ORDER BY 1}));
my $readme = page('README.md');
my $listed = join(' ', sort($readme =~ m{^\| \[(ducto_\w+)\]\(docs/reference\.md#\1\) \|}mg));
is($listed, join(' ', @functions), 'README lists every function');
my $described = join(' ', sort(page('docs/reference.md') =~ m{^#### (ducto_\w+)\n\n```}mg));
is($described, join(' ', @functions), 'docs/reference.md describes every function');

my ($reference) = run_command([ 'psql', '-XAtq', '-d', 'postgres', '-f', "$root/script/reference.sql" ]);
same('docs/reference.md', page('docs/reference.md'), "$reference\n", 'script/reference');

$node->stop;
done_testing();
