# Runs the examples of a Markdown file and prints the file with what they
# answered.
#
# usage: perl script/examples.pl FILE
#
# An example is a block marked sql. All of a file run in order in one psql,
# which finds the server, an empty database and the program in the environment.
# What an example answers is the block marked text right after it.

use strict;
use warnings FATAL => 'all';

use IPC::Open2;

use constant MARK => '=== example ===';

my ($file) = @ARGV;
open(my $in, '<:raw', $file) or die "cannot read $file: $!\n";
my $page = do { local $/; <$in> };
close($in);

# an example, and the answer that the page shows now
my $example = qr/^```sql\n(.*?)^```\n(?:\n?^```text\n.*?^```\n)?/ms;
my @inputs = $page =~ /$example/g;

my $input = join('', map { '\echo ' . MARK . "\n$_" } @inputs);
my $pid = open2(my $out, my $to, 'exec psql -Xq -v PROMPT1= 2>&1');
# psql reads all before it is read from: its input must not wait for its output
if (!fork)
{
	close($out);
	print {$to} $input;
	close($to);
	exit;
}
close($to);
my (undef, @answers) = split(/^\Q@{[MARK]}\E\n/m, do { local $/; <$out> }, -1);
waitpid($pid, 0);
die "psql ended early, at example " . @answers . " of $file\n" if $? || @answers != @inputs;

$page =~ s{$example}{
	my ($sql, $answer) = ($1, shift @answers);
	$answer =~ s/[ \t]+$//mg;
	$answer =~ s/\s+\z/\n/;
	"```sql\n$sql```\n" . ($answer =~ m/\S/ ? "```text\n$answer```\n" : '')
}ge;
print $page;
