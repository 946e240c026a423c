# Runs the examples of a Markdown file and prints the file with what they
# answered.
#
# usage: perl script/examples.pl [--check] FILE
#
#   --check  prints the first line that would be another, instead, and fails
#
# An example is a block marked sql, python or js; what it answers is the block
# marked text right after it. All of one language run in order in one program, as
# one session, those in sql before the others: psql, Python, and Node.js, which
# finds packages in the working directory. They find the server, and a database
# for examples, in the environment.

use strict;
use warnings FATAL => 'all';

use IPC::Open2;

use constant MARK => '=== example ===';

# What is put before each example, and the command that runs them all: from its
# input, or from a file in the working directory.
my %languages = (
	sql => { before => '\echo ' . MARK, run => 'exec psql -Xq -v PROMPT1= 2>&1' },
	python => {
		before => "print('@{[MARK]}', flush=True)",
		run => 'exec ' . ($ENV{PYTHON} // '/usr/bin/python3') . ' - 2>&1'
	},
	js => { before => "console.log('@{[MARK]}');", run => 'exec node %s 2>&1', file => "./examples-$$.mjs" });

my $check = @ARGV > 1 && $ARGV[0] eq '--check' && shift(@ARGV);
my ($file) = @ARGV;
my $page = contents($file);

# an example, and the answer that the page shows now
my $example = qr/^```(sql|python|js)\n(.*?)^```\n(?:\n?^```text\n.*?^```\n)?/ms;
my %answers;
foreach my $language ('sql', 'python', 'js')
{
	my @examples;
	while ($page =~ /$example/g)
	{
		push(@examples, $2) if $1 eq $language;
	}
	$answers{$language} = [ answers($language, @examples) ] if @examples;
}

(my $made = $page) =~ s{$example}{
	my ($language, $text, $answer) = ($1, $2, shift @{$answers{$1}});
	$answer =~ s/[ \t]+$//mg;
	$answer =~ s/\s+\z/\n/;
	"```$language\n$text```\n" . ($answer =~ m/\S/ ? "```text\n$answer```\n" : '')
}ge;

if (!$check)
{
	print $made;
}
elsif ($made ne $page)
{
	my @has = split(/\n/, $page);
	my @should = split(/\n/, $made);
	my ($line) = grep { ($has[$_] // '') ne ($should[$_] // '') } 0 .. ($#has > $#should ? $#has : $#should);
	die "$file, line @{[$line + 1]}\n  has:       @{[$has[$line] // '(the end)']}\n"
		. "  should be: @{[$should[$line] // '(the end)']}\nscript/examples would change that.\n";
}

# contents reads a file, as bytes: what programs print is that too.
sub contents
{
	my ($name) = @_;

	open(my $in, '<:raw', $name) or die "cannot read $name: $!\n";
	local $/ = undef;
	return scalar(<$in>);
}

# answers runs the examples of a language and gives what each answered.
sub answers
{
	my ($language, @examples) = @_;
	my ($before, $command, $program) = @{ $languages{$language} }{ 'before', 'run', 'file' };
	my $input = join('', map { "$before\n$_" } @examples);

	if ($program)
	{
		open(my $to, '>:raw', $program) or die "cannot write $program: $!\n";
		print {$to} $input;
		close($to);
		$command = sprintf($command, $program);
		$input = '';
	}
	my $pid = open2(my $out, my $to, $command);
	# the program reads all before it is read from: its input must not wait for its output
	if (!fork)
	{
		close($out);
		print {$to} $input;
		close($to);
		exit;
	}
	close($to);
	my (undef, @answers) = split(/^\Q@{[MARK]}\E\n/m, do { local $/ = undef; <$out> }, -1);
	waitpid($pid, 0);
	my $status = $?;
	unlink($program) if $program;
	die "$language ended early, at example " . @answers . " of $file: " . ($answers[-1] // '') . "\n"
		if $status || @answers != @examples;
	return @answers;
}
