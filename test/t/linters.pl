# script/lint accepts a small clean checkout, and sees in it one fault of each
# kind that its parts are there for.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Temp ();
use Test::More;

plan(skip_all => 'the linters are not those of Debian 12')
	if grep({ system("command -v $_ >/dev/null") != 0 } 'cppcheck', 'shellcheck', 'clang-tidy')
	|| `clang-tidy --version` !~ /version 14\./;

my $tree = File::Temp->newdir;
my %clean = (
	'script/bootstrap' => "#!/usr/bin/env bash\n# All is there.\n",
	'sql/clean.sql' => "SELECT pg_catalog.version();\n",
	'src/clean.c' => <<'C',
#include "postgres.h"

extern int	twice(int n);

int
twice(int n)
{
	return 2 * n;
}
C
	'docs/design.md' => "<!-- script/floors -->\n<!-- end -->\n",
	'src/floors' => "1 base:\n2 account: things.c=things\n2 analytics:\n3 credit:\n4 .:\n",
	(map { ("src/$_.c" => "#include \"$_.h\"\n", "src/$_.h" => "\n") } 'account/hold', 'analytics/sums', 'base/clock'),
	'test/clean.pl' => "use strict;\nuse warnings;\nprint 1;\n");

# Part, a file with a fault, and what is said of it.
my @faults = (
	[ 'layout', 'src/a.c', "int\t\ta; \n", 'blanks at the end of a line.*src/a\.c:1:' ],
	[ 'layout', 'sql/a.sql', "SELECT 1;\r\n", 'a carriage return.*sql/a\.sql:1:' ],
	[ 'layout', 'test/a.py', 'a = 1', 'no end of the last line.*test/a\.py' ],
	[ 'layout', 'sql/a.sql', "-- TO" . "DO: all\n", 'something left to do.*sql/a\.sql:1:' ],
	[ 'layout', 'script/a.sh', ": # FIX" . "ME\n", 'something left to do.*script/a\.sh:1:' ],
	[ 'layout', 'src/a.c', "{\n    return;\n}\n", 'blanks where a tab is to be.*src/a\.c:2:' ],
	[ 'layout', 'sql/a.sql', "-- \xc3\xa9\n", 'ASCII.*sql/a\.sql:1:' ],
	[ 'layout', 'sdk/sql/a.sql', "-- \xe9\n", 'ASCII.*sdk/sql/a\.sql:1:' ],
	[ 'layout', 'sdk/a.control', "comment = '\xc2\xa0'\n", 'ASCII.*sdk/a\.control:1:' ],
	[ 'layout', 'src/a.c', "/* \xe2\x80\xa6 */\n", 'ASCII.*src/a\.c:1:' ],
	[ 'layout', 'src/a.h', '/* ' . 'a' x 130 . "*/\n", 'more than 132 characters.*src/a\.h:1' ],
	[ 'layout', 'script/a.sh', "\n" x 701, 'more than 700 lines.*script/a\.sh' ],
	[ 'layout', 'sdk/sql/a.sql', "\n" x 701, 'more than 700 lines.*sdk/sql/a\.sql' ],
	[ 'compile', 'src/a.c', "static int\ta;\n", 'src/a\.c:1:.*unused.*src/a\.c:1:.*unused' ],
	[ 'compile', 'src/a.c', "int\nf(void)\n{\n\treturn 1;\n}\n", 'src/a\.c:2:.*prototype.*src/a\.c:2:.*prototype' ],
	[ 'sql', 'sql/a.sql', "CREATE TABLE a ();\n", 'sql/a\.sql:1: table without a schema: a' ],
	[ 'sql', 'src/a.c', "char\t   *a = \"DELETE FROM a\";\n", 'src/a\.c:1: relation without a schema: a' ],
	[ 'floors', 'src/base/a.c', "#include \"account/hold.h\"\n", 'src/base/a\.c:1: base is on floor 1, account on floor 2' ],
	[ 'floors', 'src/account/a.c', "#include \"analytics/sums.h\"\n", 'src/account/a\.c:1: account is on floor 2, analytics on floor 2' ],
	[ 'floors', 'src/account/a.c', "char\t   *a = \"UPDATE ducto.things SET a = 1\";\n",
		'src/account/a\.c:1: ducto\.things is written by src/account/things\.c' ],
	[ 'floors', 'src/credit/a.h', "\n", 'src/credit/a\.h:1: a header without its file' ],
	[ 'floors', 'src/cellar/a.c', "\n", 'src/floors has no folder cellar' ],
	[ 'floors', 'src/account/b.c', "#include \"base/clock.h\"\n", 'docs/design\.md:1: the picture is not that of the code' ],
	[ 'shell', 'script/a.sh', "if true; then\n", 'script/a\.sh: line \d+: syntax error' ],
	[ 'shell', 'script/a', "#!/usr/bin/env bash\nrm \$1\n", 'script/a line 2:.*Double quote' ],
	[ 'perl', 'test/a.pl', "use strict;\n\$a1 = 1;\n", 'Global symbol "\$a1"' ],
	[ 'perl', 'test/a.pl', "my \$a1;\nmy \$a1;\n", 'masks earlier declaration' ],
	[ 'cppcheck', 'src/a.c', "int\nf(void)\n{\n\tint\t\ta[2] = {0};\n\n\treturn a[2];\n}\n", 'arrayIndexOutOfBounds' ],
	[ 'cppcheck', 'src/a.c', "int\nf(void)\n{\n\tint\t\ta;\n\n\treturn a;\n}\n", 'uninit' ],
	[ 'tidy', 'src/a.c', <<'C', 'a\.c:.*clang-analyzer-core\.NullDereference' ],
#include "postgres.h"

extern int	f(int *a);

int
f(int *a)
{
	if (a == NULL)
		return *a;
	return 0;
}
C
	[ 'tidy', 'src/a.c', <<'C', 'a\.c:.*bugprone-sizeof-expression' ]);
#include "postgres.h"

extern int	f(const char *a);

int
f(const char *a)
{
	return memcmp(a, "abcdefghij", sizeof(a)) + (int) sizeof(sizeof(a));
}
C

# put writes a file of the tree.
sub put
{
	my ($name, $content) = @_;

	make_path(dirname("$tree/$name"));
	open(my $file, '>', "$tree/$name") or die "$name: $!";
	print $file $content;
	close $file;
}

# lint gives what the lint of the tree prints.
sub lint
{
	return scalar `'$tree/script/lint' @_ 2>&1`;
}

foreach my $file ('script/lint', 'script/lib.sh', 'script/lint_sql.pl', 'script/floors', 'Makefile', 'ducto.control',
	'sdk/ducto_sdk.control', '.clang-tidy')
{
	make_path(dirname("$tree/$file"));
	copy($file, "$tree/$file") or die "$file: $!";
}
put($_, $clean{$_}) foreach sort keys %clean;
chmod 0755, "$tree/script/lint", "$tree/script/bootstrap";
system("cd '$tree' && perl script/floors --write") == 0 or die;

my %seen;

foreach my $fault (@faults)
{
	my ($part, $file, $content, $said) = @$fault;

	is(lint($part), '', "$part: a clean checkout") unless $seen{$part}++;
	put($file, $content);
	like(lint($part), qr/$said.*found something: $part$/s, "$part: $said");
	unlink "$tree/$file";
}
like(lint('nothing'), qr/no such part: nothing/, 'an unknown part');
done_testing();
