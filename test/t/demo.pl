
# script/demo and script/console need a compiler, make and a server, and no root:
# they run where that is there, install it with apt-get where it is not, say so in
# few lines, and show what apt-get said when it failed.

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $config = $ENV{PG_CONFIG} // 'pg_config';
my $room = File::Temp->newdir;

# program puts a shell script into a directory.
sub program
{
	my ($directory, $name, $text) = @_;

	-d "$room/$directory" or mkdir("$room/$directory") or die "cannot make $directory: $!";
	open(my $out, '>', "$room/$directory/$name") or die "cannot write $name: $!";
	print {$out} "#!/bin/sh\n$text\n";
	close($out) or die "cannot write $name: $!";
	chmod(0755, "$room/$directory/$name");
	return;
}

# path makes a directory with all programs of this machine but some, and gives a
# PATH of it with a directory of ours before.
sub path
{
	my ($directory, @without) = @_;
	my %without = map { $_ => 1 } @without, 'sudo', 'apt-get';

	mkdir("$room/bin-$directory") or die "cannot make bin-$directory: $!";
	foreach my $program (map { glob("$_/*") } '/bin', '/usr/bin', '/usr/local/bin')
	{
		my ($name) = $program =~ m{([^/]+)$};
		symlink($program, "$room/bin-$directory/$name") unless $without{$name};
	}
	return "$room/$directory:$room/bin-$directory";
}

# run runs a script of the checkout and gives its exit code, what it printed, and
# what it said besides.
sub run
{
	my ($environment, @command) = @_;
	local %ENV = (%ENV, PG_CONFIG => $config, TMPDIR => "$room/tmp", %$environment);
	my $command = join(' ', map { "'$_'" } "$root/script/" . shift(@command), @command);
	my $out = `$command 2>"$room/said" </dev/null`;
	my $status = $? >> 8;

	open(my $in, '<', "$room/said") or die "cannot read what was said: $!";
	local $/;
	return ($status, $out, scalar(<$in>) // '');
}

mkdir("$room/tmp") or die "cannot make a directory: $!";
program('none', 'apt-get', "echo called >>'$room/called'");
program('none', 'sudo', "echo called >>'$room/called'");
my $here = "$room/none:$ENV{PATH}";

my ($status, $out, $said) = run({ PATH => $here }, 'bootstrap', '--demo');
is("$status$out$said", '0', 'where all is there, bootstrap does and says nothing');

($status, $out, $said) = run({ PATH => $here }, 'demo');
is($status, 0, 'the demo runs without root');
is($said, "building ducto ...\n", 'it says what it does before the story');
open(my $story, '<', "$root/script/demo.sql") or die "cannot read the story: $!";
is(() = $out =~ /^ *FROM ducto_/mg, grep({ /^ *FROM ducto_/ } <$story>), 'its story has each call');
like($out, qr/^\(0 rows\)$/m, 'and ends with the auditor');
unlike($out . $said, qr/ERROR|WARNING/, 'no call fails');
is_deeply([ glob("$room/tmp/*") ], [], 'nothing stays');
ok(!-e "$room/called", 'neither apt-get nor sudo is called');

# a machine without the headers: an installation whose pg_config names none
my $headers = `$config --includedir-server`;
chomp($headers);
my ($major) = `$config --version` =~ /(\d+)/;
my $package = "postgresql-server-dev-$major";
program('bare', 'pg_config', <<"END");
[ "\$1" = --includedir-server ] && echo '$room/elsewhere' || exec '$config' "\$@"
END
program('bare', 'apt-get', <<"END");
echo 'a line of apt-get'
[ "\$*" = '-q download $package' ] || exit 100
mkdir -p deb/DEBIAN 'deb$room' && cp -R '$headers' 'deb$room/elsewhere' &&
	printf 'Package: $package\\nVersion: 1\\nArchitecture: all\\nMaintainer: none\\nDescription: none\\n' >deb/DEBIAN/control &&
	dpkg-deb -b deb '${package}_1_all.deb' && rm -r deb
END
SKIP:
{
	skip('there is no dpkg-deb', 4) if system('command -v dpkg-deb >/dev/null') != 0;
	my %bare = (PATH => "$room/bare:$ENV{PATH}", PG_CONFIG => "$room/bare/pg_config");
	($status, $out, $said) = run(\%bare, 'console', '-XAtc', 'SELECT balance FROM ducto_get_balance(gen_random_uuid())');
	is("$status $out", "0 0.0000\n", 'the console runs without the headers installed');
	is($said, "fetching the headers of PostgreSQL, for this run only: $package\nbuilding ducto ...\n", 'it fetches them');
	program('bare', 'apt-get', "echo 'a line of apt-get'; exit 100");
	($status, $out, $said) = run(\%bare, 'console', '-XAtc', 'SELECT 1');
	is("$status$out", '1', 'where they are not to be had, it ends');
	like($said, qr/cannot fetch the headers; as root: apt-get install $package\na line of apt-get$/, 'and says why');
}

# a machine without make
my %less = (PATH => path('less', 'make'));
($status, $out, $said) = run(\%less, 'bootstrap', '--demo');
is("$status$out", '1', 'where something is missing and nothing can install it, bootstrap ends');
like($said, qr/no apt-get to install it: make$/, 'and names it');

program('less', 'apt-get', <<"END");
echo 'a line of apt-get'
case "\$*" in
*--assume-no*)
	echo 'Need to get 397 kB of archives.'
	echo 'After this operation, 1696 kB of additional disk space will be used.'
	;;
*install*)
	[ ! -e '$room/refuse' ] || exit 100
	ln -s /bin/true '$room/less/make'
	;;
esac
END
($status, $out, $said) = run(\%less, 'bootstrap', '--demo');
like($said, qr/missing; as root: apt-get install make$/, 'without sudo it says what root is to do');

program('less', 'sudo', 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"');
program('less', 'id', 'echo 1000');
open(my $refuse, '>', "$room/refuse") or die "cannot make a file: $!";
close($refuse);
my $installs = 'installing with apt-get: make (397 kB to fetch) (1696 kB on the disk); the packages stay';
($status, $out, $said) = run(\%less, 'bootstrap', '--demo');
is("$status$out", '1', 'when apt-get fails, bootstrap ends');
like($said, qr/\A\Q$installs\E\n\S* could not install: make\na line of apt-get\na line of apt-get\n\z/, 'and shows its log');

unlink("$room/refuse");
($status, $out, $said) = run(\%less, 'bootstrap', '--demo');
is("$status$out$said", "0$installs\n", 'when it does its work, one line tells what is installed');

done_testing();
