
# The documentation says what is so: every example of README.md and docs answers
# what the page shows, an error too; README is short; no link leads nowhere; and
# docs/reference.md has every function, and is what the catalog says now; and so
# are the files for language models.

use strict;
use warnings FATAL => 'all';

use File::Basename;
use File::Find;
use File::Spec::Functions qw(canonpath);
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

cmp_ok(() = page('README.md') =~ /\n/g, '<=', 300, 'README can be read in one go');

# The anchor that a heading of a page has.
sub anchor
{
	my ($heading) = map { lc } @_;

	$heading =~ s/[^\w\- ]//g;
	return $heading =~ s/ /-/gr;
}

my %anchors;
foreach my $name (@pages)
{
	my $text = page($name) =~ s/^```.*?^```$//gmsr;
	$anchors{$name} = { map { anchor($_) => 1 } $text =~ /^#+ (.*)$/mg };
}
my @lost;
foreach my $name (@pages)
{
	foreach my $link (page($name) =~ /\]\(([^)\s]+)\)/g)
	{
		my ($file, $anchor) = split(/#/, $link, 2);
		my $target = $file eq '' ? $name : canonpath(dirname($name) . "/$file");

		next if $link =~ /^https?:/;
		1 while $target =~ s{[^/]+/\.\./}{};
		push(@lost, "$name: $link")
			if !-e "$root/$target" || defined($anchor) && $anchors{$target} && !$anchors{$target}{$anchor};
	}
}
is(join("\n", @lost), '', 'every link of these pages leads somewhere');

$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
my @functions = split(/\n/, $node->safe_psql('postgres', q{
	SELECT p.proname FROM pg_proc p
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'ducto' AND p.pronamespace <> 'ducto'::regnamespace ORDER BY 1}));
my %can_reject = map { $_ => 1 } split(/\n/, $node->safe_psql('postgres', q{
	SELECT p.proname FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype JOIN pg_attribute a ON a.attrelid = t.typrelid
	WHERE p.proname LIKE 'ducto\_%' AND a.attname = 'error'}));

# The problems of the calls in an example: an argument without its name, and a
# rejection that would not be seen.
sub problems
{
	my ($example) = @_;
	my @problems;

	foreach my $statement (split(/;\n|\n\n/, $example =~ s/--.*//gr))
	{
		while ($statement =~ /(?<!['"])\b(ducto_\w+)(\((?:[^()']|'[^']*'|(?2))*\))/g)
		{
			my ($function, $arguments, $before) = ($1, substr($2, 1, -1), substr($statement, 0, $-[0]));

			next if $before =~ /\bON FUNCTION [^;]*$/;
			$arguments =~ s/'[^']*'|(\((?:[^()]|(?1))*\))/x/g;
			push(@problems, "$function($arguments)") if grep { !/^\s*\w+ => / } split(/,/, $arguments);
			push(@problems, "$function without error")
				if $can_reject{$function} && $before !~ /\berror\b[^;]*$|SELECT \*[^;]*$|row_to_json/;
		}
	}
	return @problems;
}

my @problems;
foreach my $name (@pages)
{
	push(@problems, map { "$name: $_" } map { problems($_) } page($name) =~ /^```(?:sql|python|js)\n(.*?)^```$/gms);
}
is(join("\n", @problems), '', 'every example of a call names its arguments, and shows its rejection');

my $page = page('docs/reference.md');
my $listed = join(' ', sort($page =~ m{^\| \[(ducto_\w+)\]\(#\1\) \|}mg));
is($listed, join(' ', @functions), 'docs/reference.md lists every function');
my $described = join(' ', sort($page =~ m{^#### (ducto_\w+)\n\n```}mg));
is($described, join(' ', @functions), 'docs/reference.md describes every function');

is($node->safe_psql('postgres', q{
		SELECT p.oid::regprocedure, a FROM pg_proc p
			JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e',
			unnest(p.proargnames) a
		WHERE p.proname LIKE 'ducto\_%' AND obj_description(p.oid, 'pg_proc') !~ ('\n' || a || ': ')}),
	'', 'the comment of each function has a line for each argument');

my ($reference) = run_command([ 'psql', '-XAtq', '-d', 'postgres', '-f', "$root/script/reference.sql" ]);
same('docs/reference.md', $page, "$reference\n", 'script/reference');

my $llms = PostgreSQL::Test::Utils::tempdir();
run_command([ "$root/script/llms", $llms ]);
same($_, page($_), slurp_file("$llms/$_"), 'script/llms') foreach 'llms.txt', 'llms-full.txt';

$node->stop;
done_testing();
