
# What tests of one server give on a cluster: test/cluster.list, and how two
# outputs are compared.
#
#   foreach my $test (Listed::same('sql')) { ... }

package Listed;

use strict;
use warnings FATAL => 'all';

use FindBin;
use File::Basename qw(basename dirname);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our $root = "$FindBin::RealBin/../..";

# Where the tests of a kind are, and what they are called there.
my %files = (sql => [ "$root/test/sql", 'sql' ], sdk => [ "$root/sdk/test/sql", 'sql' ], spec => [ "$root/test/specs", 'spec' ]);

# The list: of each test of a kind what it gives.
sub outcomes
{
	my ($kind) = @_;
	my %outcomes;

	foreach my $line (split /\n/, slurp_file("$root/test/cluster.list"))
	{
		next if $line =~ /^(?:#|$)/;
		my ($of, $name, $outcome) = $line =~ /^(sql|sdk|spec)\h+(\S+)\h+(same|(?:differs|refused): \S.*)$/ or die "test/cluster.list: $line";
		next if $of ne $kind;
		die "test/cluster.list: $name is there twice" if $outcomes{$name};
		$outcomes{$name} = $outcome;
	}
	return \%outcomes;
}

# same returns the tests of a kind that give the same, in their order, after it
# has checked that the list has all tests of that kind, and no others.
sub same
{
	my ($kind)      = @_;
	my ($dir, $ext) = @{ $files{$kind} };
	my $listed      = outcomes($kind);
	my @there       = sort map { basename($_, ".$ext") } glob "$dir/*.$ext";

	is_deeply([ sort keys %$listed ], \@there, "test/cluster.list has each $kind, and no other");
	return grep { ($listed->{$_} // q()) eq q(same) } @there;
}

# answers returns what a program prints that reads a text.
sub answers
{
	my ($text, @command) = @_;
	my $out = '';

	local %ENV = (%ENV, PGOPTIONS => '-c intervalstyle=postgres_verbose -c datestyle=Postgres,MDY -c timezone=PST8PDT');
	IPC::Run::run(\@command, '<', \$text, '>&', \$out, IPC::Run::timeout(3 * $PostgreSQL::Test::Utils::timeout_default));
	return $out;
}

# psql returns what psql prints that reads a text.
sub psql
{
	my ($text, $connstr) = @_;

	return answers($text, 'psql', '-Xaq', '-v', 'SHOW_CONTEXT=never', '-d', $connstr);
}

# tester returns what the tester of specs prints that reads one.
sub tester
{
	my ($text, $connstr) = @_;

	return answers($text, dirname($ENV{PG_REGRESS}) . '/../isolation/isolationtester', $connstr);
}

# kept returns a text without the statements that make the extension anew, or a
# database of the test's own, and without what tells of nodes: where an error
# was, and that views and functions of a session, and databases, are on one.
sub kept
{
	my ($text) = @_;

	$text =~ s/^(?:\\set own|\\i .*own_database|\\c :main|DROP DATABASE :own;|\\set ECHO).*\n//gm
	  if $text =~ /^\\c :main$/m;
	$text =~ s/^\h*(?:DROP|CREATE) EXTENSION (?:IF EXISTS )?ducto\w*(?: CASCADE)?;\n//gm;
	$text =~ s/^WARNING:  "(?:function pg_temp_|view ).*\n(?:DETAIL:  .*\n)?//gm;
	$text =~ s/^NOTICE:  Citus partially .*\nDETAIL:  .*\nHINT:  .*\n//gm;
	return $text =~ s/^CONTEXT:  .*\n//gmr;
}

# alike checks that a text is as it is on one server, and shows the first lines
# that are not.
sub alike
{
	my ($got, $expected, $name) = @_;
	my @expected = split /\n/, $expected;
	my @got      = split /\n/, $got;
	my $line     = 0;

	return pass($name) if $got eq $expected;
	$line++ while $line < @expected && $line < @got && $expected[$line] eq $got[$line];
	fail($name);
	diag(join "\n", "line $line, expected", grep({ defined } @expected[ $line .. $line + 5 ]), 'got', grep { defined } @got[ $line .. $line + 5 ]);
	return;
}

1;
