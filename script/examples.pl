# Runs the examples of a Markdown file and prints the file with what they
# answered.
#
# usage: perl script/examples.pl [--check] FILE
#
#   --check  prints the first line that would be another, instead, and fails
#
# An example is a block marked sql, python or js; what it answers is the block
# marked text right after it. Those in sql run in order in one psql, those in
# python in one Python, whichever comes first on the page; those in js are one
# program, which Node.js runs at the first of them and which finds packages in the
# working directory. They find the server, and a database for examples, in the
# environment.

use strict;
use warnings FATAL => 'all';

use IPC::Open2;

use constant MARK => '=== example ===';

# Each example is sent with its length; what it prints is followed by the mark.
my $driver = <<"END";
import sys
names = {"__name__": "__main__"}
while size := sys.stdin.buffer.readline():
    exec(compile(sys.stdin.buffer.read(int(size)), "example", "exec"), names)
    print("@{[MARK]}", flush=True)
END
my %sessions;

my $check = @ARGV > 1 && $ARGV[0] eq '--check' && shift(@ARGV);
my ($file) = @ARGV;
my $page = contents($file);

# an example, and the answer that the page shows now
my $example = qr/^```(sql|python|js)\n(.*?)^```\n(?:\n?^```text\n.*?^```\n)?/ms;
my @program;
while ($page =~ /$example/g)
{
	push(@program, $2) if $1 eq 'js';
}
my @answers;

(my $made = $page) =~ s{$example}{
	my ($language, $text) = ($1, $2);
	my $answer = $language eq 'js' ? next_of_program() : answer_of($language, $text);
	$answer =~ s/[ \t]+$//mg;
	$answer =~ s/\s+\z/\n/;
	"```$language\n$text```\n" . ($answer =~ m/\S/ ? "```text\n$answer```\n" : '')
}ge;
foreach my $session (values(%sessions))
{
	close($session->{to});
	waitpid($session->{pid}, 0);
}

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

# session starts psql or Python, or gives the one that was started.
sub session
{
	my ($language) = @_;
	my @command = $language eq 'sql' ? ('stdbuf', '-oL', 'psql', '-Xq', '-v', 'PROMPT1=')
		: ($ENV{PYTHON} // '/usr/bin/python3', '-c', $driver);

	return $sessions{$language} if $sessions{$language};
	my $pid = open2(my $from, my $to, '/bin/sh', '-c', 'exec "$@" 2>&1', 'sh', @command);
	return $sessions{$language} = { pid => $pid, from => $from, to => $to };
}

# answer_of runs an example in its session and gives what it printed.
sub answer_of
{
	my ($language, $text) = @_;
	my $session = session($language);
	my $answer = '';

	print { $session->{to} } $language eq 'sql' ? "$text\n\\echo @{[MARK]}\n" : length($text) . "\n$text";
	$session->{to}->flush;
	while (my $line = readline($session->{from}))
	{
		return $answer if $line eq MARK . "\n";
		$answer .= $line;
	}
	die "$language ended early in $file, at:\n$text$answer";
}

# next_of_program gives what the next example in js printed; the first time it runs
# them all.
sub next_of_program
{
	if (@program)
	{
		my $name = "./examples-$$.mjs";
		my $count = @program;

		open(my $to, '>:raw', $name) or die "cannot write $name: $!\n";
		print {$to} map { "console.log('@{[MARK]}');\n$_" } splice(@program);
		close($to);
		(undef, @answers) = split(/^\Q@{[MARK]}\E\n/m, `node $name 2>&1`, -1);
		unlink($name);
		die "js ended early in $file: " . ($answers[-1] // '') if $? || @answers != $count;
	}
	return shift(@answers);
}
