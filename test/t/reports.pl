
# The pictures of docs/reports.md are those that gnuplot makes of the answers there.
# Another gnuplot draws them a little differently: it must draw all of them.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file('docs/reports.md');
my @pictures = $page =~ /^!\[[^\]]+\]\(reports\/(\w+\.svg)\)$/mg;
my @programs = $page =~ /^```gnuplot\n(.*?)^```$/msg;
is(scalar(@pictures), scalar(@programs), 'each block of gnuplot makes a picture of the page');
is(join(' ', sort @pictures), join(' ', map { s{.*/}{}r } sort glob('docs/reports/*')), 'and there are no others');

SKIP:
{
	skip 'gnuplot is not installed', 1 + 2 * @pictures if system('command -v gnuplot >/dev/null 2>&1') != 0;

	my $made = PostgreSQL::Test::Utils::tempdir();
	my ($out, $errors) = run_command([ 'script/reports', $made ]);
	is($errors, '', 'gnuplot has nothing to say');
	foreach my $name (@pictures)
	{
		my ($has, $should) = map { slurp_file($_) } "docs/reports/$name", "$made/$name";
		my ($version, $its) = map { /<desc>Produced by (.*?) *<\/desc>/ ? $1 : '' } $should, $has;
		like($should, qr/<svg.*<\/svg>\s*\z/s, "$name is a picture");
		SKIP:
		{
			skip "made by $its, and here is $version", 1 if $version ne $its;
			ok($has eq $should, "$name is as script/reports would make it");
		}
	}
}

done_testing();
