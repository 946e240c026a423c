# Checks install scripts against the rules that keep a hostile search_path, a
# hostile object and a careless default privilege out, and the SQL in sources
# of C against those that apply to it. Reads files of SQL and C; prints
# FILE:LINE: RULE and ends with 1 where one is broken. For script/lint.
#
# - No OR REPLACE and no IF NOT EXISTS: both would take over what another made.
# - Every object is named with its schema, ducto or @extschema@, and so is every
#   relation that SQL reads or writes.
# - SECURITY DEFINER has SET search_path = pg_catalog, pg_temp, and no function has
#   another. A function of SQL or PL/pgSQL without it calls nothing unqualified.
#   Functions of ducto that BEGIN ATOMIC calls need no schema: they are found when
#   it is made, in the schemas of the extension and of those that it requires.
# - The body of a function of ducto does not name the schema of the API, not for a type
#   either: ducto.set_schema moves the API, and no body with it.
# - Every function and procedure has its COMMENT and its REVOKE … FROM PUBLIC; an aggregate
#   is revoked as a function.
# - Every table and type has its COMMENT, every table row level security.
# - A line of a script has 132 characters at most, its literals not counted.
# - No clock but the one: no clock_timestamp(), now() and the like in SQL, ducto.clock()
#   in bodies, clock_now() in C, a parameter where SQL in C needs the time.
# - No CASE x WHEN y, but CASE WHEN x = y: the former comes back wrong where a statement is sent
#   to other nodes of a cluster.
# - SQL in C: relations with their schema, but for the server's (pg_…); what reads
#   and writes rows has its values as parameters, not printed into it or quoted.

use strict;
use warnings;

my $SCHEMA = qr/(?:ducto(?:_\w+)?|\@extschema(?::\w+)?\@)\./;
my $ROUTINE = qr/FUNCTION|PROCEDURE|AGGREGATE/;
my $KIND = qr/$ROUTINE|FOREIGN\s+TABLE|MATERIALIZED\s+VIEW|TABLE|TYPE|DOMAIN|VIEW|SEQUENCE|COLUMN|INDEX/;
# what is followed by a parenthesis without being a call of a function
my $NO_CALL = qr/and|any|array|as|all|by|case|cast|coalesce|conflict|distinct|else|elsif|except|exists|extract|filter|
	from|greatest|grouping|if|in|intersect|into|lateral|least|materialized|not|nullif|numeric|on|operator|or|over|over
	lay|partition|perform|position|return|returning|row|rows|select|set|sets|some|substring|table|then|trim|union|
	using|values|varchar|varying|when|where|while|with|within|exception|raise|assert|call/xi;
# the clocks of SQL, those of the server's C, and where the latter may stand
my $SQL_CLOCK = qr/\b(?:clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|now)\s*\(
	|\b(?:current_timestamp|current_time|current_date|localtimestamp|localtime)\b/xi;
my $C_CLOCK = qr/^(?:GetCurrentTimestamp|GetCurrentTransactionStartTimestamp|GetCurrentStatementStartTimestamp|
	GetSQLCurrent\w+|gettimeofday|clock_gettime)$/x;
my $CLOCK = qr{(?:^|/)clock\.c$};
my $WIDTH = 132;
my $found = 0;

# report prints what is wrong at a place.
sub report
{
	my ($file, $line, $problem) = @_;

	print "$file:$line: $problem\n";
	$found = 1;
}

# statements splits a script, and gives each statement without comments, with
# empty literals, and with the bodies of its functions aside.
sub statements
{
	my ($text) = @_;
	my ($line, $code, $body, @all) = (1, '', '');
	my $start;

	$text =~ s/^\\.*$//mg;
	while ($text =~ /\G( --[^\n]* | \/\*.*?\*\/ | E?'(?:[^']|'')*' | "(?:[^"]|"")*" | (\$\w*\$)(.*?)\2 | \w+ | . )/gsx)
	{
		my ($token, $quoted) = ($1, $3);

		$start //= $line if $token !~ /^(?:\s|--|\/\*)/;
		if ($token eq ';')
		{
			push @all, { line => $start, code => $code, body => $body };
			($start, $code, $body) = (undef, '', '');
		}
		elsif (defined $quoted) { $code .= q{''}; $body = $quoted }
		elsif ($token =~ /^E?'/) { $code .= q{''} }
		elsif ($token !~ /^(?:--|\/\*)/) { $code .= $token }
		$line += $token =~ tr/\n//;
	}
	push @all, { line => $start, code => $code, body => $body } if $code =~ /\S/;
	return @all;
}

# plain takes comments and literals out of a body.
sub plain
{
	my ($body) = @_;

	return join "\n", map { $_->{code} } statements($body);
}

# with_queries gives the names of the queries in WITH.
sub with_queries
{
	my ($code) = @_;

	return map { lc $_ => 1 } $code =~ /\b(\w+)\s*(?:\([^()]*\)\s*)?\bAS\s+(?:NOT\s+)?(?:MATERIALIZED\s+)?\(/gi;
}

# check_relations finds relations without a schema.
sub check_relations
{
	my ($file, $line, $code, %with) = @_;

	%with = (%with, with_queries($code));
	$code =~ s/\bDISTINCT\s+FROM\b//gi;
	$code =~ s/\b(?:extract|substring|trim|overlay)\s*\([^()]*\bFROM\b//gi;
	$code =~ s/\bFROM\s+PUBLIC\b//gi;
	# a parenthesis after FROM and JOIN makes it a call, elsewhere it is a list of columns
	while ($code =~ /(?:\b(FROM|JOIN)|\b(?:INSERT\s+INTO|REFERENCES|TRUNCATE|LOCK\s+TABLE)
		|(?:^|[;()]|\bAS|\bTHEN|\bBEGIN|\bLOOP)\s*\bUPDATE)
		\s+(?:ONLY\s+)?(?!LATERAL\b|SELECT\b|VALUES\b)([a-z_]\w*)\b(?!\s*\.)(?(1)(?!\s*\())/gxi)
	{
		report($file, $line, "relation without a schema: $2") unless $with{lc $2};
	}
	report($file, $line, "name without a schema: $1") if $code =~ /(?<![\w.\@])(ducto_\w+)\b(?!\.)/;
}

# check_clock finds a clock of SQL.
sub check_clock
{
	my ($file, $line, $code) = @_;

	report($file, $line, "another clock than ducto.clock(): $1") while $code =~ /($SQL_CLOCK)/g;
}

# check_case finds what Citus sends to other nodes wrong: a CASE that compares a
# value with each WHEN, and records compared by their images.
sub check_case
{
	my ($file, $line, $code) = @_;

	report($file, $line, 'CASE x WHEN y instead of CASE WHEN x = y') if $code =~ /(?<!END )\bCASE\s+(?!WHEN\b)\S/i;
	report($file, $line, 'records compared by their images') if $code =~ /\s\*(?:=|<>)\s/;
}

# check_body checks what a function of SQL or PL/pgSQL does.
sub check_body
{
	my ($file, $line, $statement, $safe) = @_;
	my $body = plain($statement->{body});

	$body .= $1 =~ s/(?<![\w.\@])ducto_\w+\s*\(/call(/gr if $statement->{code} =~ /\bBEGIN\s+ATOMIC\b(.*)/is;
	$body =~ s/(?<![\w.\@])pg_\w+/pg_catalog.found/g if $safe;
	check_relations($file, $line, $body);
	while (!$safe && $body =~ /(?<![\w.\@])([a-z_]\w*)\s*\(/gi)
	{
		my $name = $1;

		report($file, $line, "call without a schema, and no SET search_path: $name") if $name !~ /^(?:$NO_CALL)$/;
	}
}

# check_routine checks how a function is made, and gives its name.
sub check_routine
{
	my ($file, $statement) = @_;
	my ($line, $code) = @$statement{qw(line code)};
	my $definer = $code =~ /\bSECURITY\s+DEFINER\b/i;
	my $path = $code =~ /\bSET\s+search_path\s*(?:=|TO)\s*(.*)/is;
	my $safe = $path && $1 =~ /^pg_catalog\s*,\s*pg_temp\b(?!\s*,)/i;

	report($file, $line, 'SECURITY DEFINER without SET search_path = pg_catalog, pg_temp') if $definer && !$safe;
	report($file, $line, 'SET search_path to something else than pg_catalog, pg_temp') if $path && !$safe && !$definer;
	report($file, $line, 'a body names the schema of the API, which may be moved') if $statement->{body} =~ /\@extschema\@/ && $file !~ m{\bsdk/};
	check_body($file, $line, $statement, $safe);
}

# check_width checks the length of lines without what is quoted in them.
sub check_width
{
	my ($file, $text) = @_;

	$text =~ s{('(?:[^']|'')*')|--[^\n]*}{ ($1 // '') =~ s/[^\n]//gr }ge;
	my $line = 0;
	foreach (split /\n/, $text)
	{
		$line++;
		report($file, $line, "more than $WIDTH characters") if length > $WIDTH;
	}
}

# check_c checks the SQL in a source of C: literals with a keyword of SQL in
# them, as many as stand together, with the names of macros among them.
sub check_c
{
	my ($file, $text) = @_;
	my %with = with_queries($text);
	my $next = 1;

	while ($text =~ /\G( \/\*.*?\*\/ | '(?:[^'\\]|\\.)*' | "(?:[^"\\\n]|\\.)*" (?: (?:\s|\\\n)* (?: "(?:[^"\\\n]|\\.)*" | \w+(?:\([^()]*\))? ) )*
		| \w+ | . )/gsx)
	{
		my ($token, $line) = ($1, $next);

		$next += $token =~ tr/\n//;
		report($file, $line, "a value is quoted into SQL: $token") if $token =~ /^quote_literal|^deconstruct_quoted/;
		report($file, $line, "another clock than clock_now(): $token") if $token =~ $C_CLOCK && $file !~ $CLOCK;
		next if $token !~ /^"/;
		$token =~ s{"((?:[^"\\\n]|\\.)*)"|(\w+(?:\([^()]*\))?)|\\?\s+}{$1 // ($2 ? ' ? ' : '')}ge;
		$token =~ s/'[^']*'/''/g;
		check_clock($file, $line, $token);
		check_case($file, $line, $token);
		next if $token !~ /\b(?:SELECT|FROM|JOIN|INSERT\s+INTO|UPDATE|LOCK\s+TABLE|TRUNCATE)\b/;
		next if $token =~ /^\s*(?:GRANT|REVOKE)\b/;
		$token =~ s/\bpg_\w+/?/g;
		check_relations($file, $line, $token, %with);
		report($file, $line, 'a value is printed into SQL') if $token =~ /%[-\d.l]*[sdu]/;
		report($file, $line, uc $1) if $token =~ /\b(OR\s+REPLACE|IF\s+NOT\s+EXISTS)\b/i;
	}
}

# read_file gives what is in a file.
sub read_file
{
	my ($file) = @_;

	open my $handle, '<:encoding(UTF-8)', $file or die "$file: $!\n";
	my $text = do { local $/; <$handle> };
	close $handle;
	return $text;
}

# check_file checks one script.
sub check_file
{
	my ($file, $text) = @_;
	my (%line, %has);

	check_width($file, $text);
	foreach my $statement (statements($text))
	{
		my ($line, $code) = @$statement{qw(line code)};

		$code =~ s/^\s+|\s+$//g;
		check_clock($file, $line, "$code\n" . plain($statement->{body}));
		check_case($file, $line, "$code\n" . plain($statement->{body}));
		report($file, $line, uc $_) foreach "$code\n$statement->{body}" =~ /\b(OR\s+REPLACE|IF\s+NOT\s+EXISTS)\b/gi;
		if ($code =~ /^(CREATE(?:\s+UNIQUE)?|ALTER|DROP|COMMENT\s+ON|(?:GRANT|REVOKE)\b.*?\bON)\s+
			(?:OR\s+REPLACE\s+)?($KIND)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?:ONLY\s+)?([^\s(;]+)/xis)
		{
			my ($verb, $kind, $name) = (uc $1, uc $2, $3);

			if ($verb =~ /^CREATE/ && $kind eq 'INDEX')
			{
				report($file, $line, "index on a table without a schema: $name") if $code !~ /\bON\s+(?:ONLY\s+)?$SCHEMA/i;
			}
			elsif ($name !~ /^$SCHEMA/) { report($file, $line, "\L$kind\E without a schema: $name") }

			$line{"$kind $name"} = $line if $verb eq 'CREATE' && $kind =~ /^(?:$ROUTINE|TABLE|TYPE)$/;
			$has{"comment $kind $name"} = 1 if $verb =~ /^COMMENT/;
			$has{"revoke $kind $name"} = 1 if $verb =~ /^REVOKE\s+(?:ALL|EXECUTE)\b/ && $code =~ /\bFROM\s+PUBLIC\b/i;
			$has{"security $kind $name"} = 1 if $code =~ /\bENABLE\s+ROW\s+LEVEL\s+SECURITY$/i;
			check_routine($file, $statement) if $verb eq 'CREATE' && $kind =~ /^$ROUTINE$/;
		}
		elsif ($code =~ /^CREATE\s+(?:CONSTRAINT\s+)?TRIGGER\b/i)
		{
			report($file, $line, 'trigger on a table without a schema') if $code !~ /\bON\s+$SCHEMA/i;
			report($file, $line, 'trigger calls a function without a schema') if $code !~ /\bEXECUTE\s+\w+\s+$SCHEMA/i;
		}
		elsif ($code =~ /^(?:CREATE|ALTER|COMMENT\s+ON)\s+EVENT\s+TRIGGER\b/i)
		{
			report($file, $line, 'event trigger calls a function without a schema') if $code =~ /\bEXECUTE\s+\w+\s+(?!$SCHEMA)/i;
		}
		elsif ($code =~ /^(?:CREATE|ALTER|DROP|COMMENT)\s+(?!SCHEMA\b|ON\s+SCHEMA\b)(\w+\s+\w+)/i && $code !~ /\bON\s+$SCHEMA/i)
		{
			report($file, $line, "no rule of this lint knows: $1");
		}
		check_body($file, $line, $statement, 0) if $code =~ /^DO\b/i;
		check_relations($file, $line, $code =~ s/\bBEGIN\s+ATOMIC\b.*//isr) if $code !~ /^(?:CREATE\s+TRIGGER|\w+\s+EVENT\s+TRIGGER|COMMENT|GRANT|REVOKE)\b/i;
	}

	foreach my $object (sort keys %line)
	{
		my ($kind, $name) = split / (?=\S+$)/, $object;

		report($file, $line{$object}, "no COMMENT ON $object") unless $has{"comment $object"};
		if ($kind =~ /^$ROUTINE$/)
		{
			report($file, $line{$object}, "no REVOKE of $object FROM PUBLIC") unless $has{"revoke $object"} || $kind eq 'AGGREGATE' && $has{"revoke FUNCTION $name"};
		}
		elsif ($kind eq 'TABLE')
		{
			report($file, $line{$object}, "no row level security on $name") unless $has{"security $object"};
		}
	}
}

binmode STDOUT, ':encoding(UTF-8)';
foreach my $file (@ARGV)
{
	my $text = read_file($file);

	$file =~ /\.[ch]$/ ? check_c($file, $text) : check_file($file, $text);
}
exit $found;
