
# Another major version of PostgreSQL: the data gets there by dump and restore,
# made by the newer one's programs, and by pg_upgrade. The other version is that
# in DUCTO_OTHER_BINDIR, or one of Debian's packages; it needs pg_upgrade and the
# headers, for ducto is built for it and installed next to a copy of it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Books;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $dir  = PostgreSQL::Test::Utils::tempdir();

# output is what a program prints.
sub output
{
	my ($output) = run_command([@_]);
	return $output;
}

# major_of tells the version of the programs in a directory.
sub major_of
{
	my ($bindir) = @_;
	return (output("$bindir/pg_config", '--version') =~ /(\d+)/)[0];
}

# usable tells whether ducto can be built for what is in a directory.
sub usable
{
	my ($bindir) = @_;
	return -x "$bindir/pg_config" && -x "$bindir/pg_upgrade" && -x "$bindir/initdb"
	  && -e output("$bindir/pg_config", '--includedir-server') . '/postgres.h';
}

my $here = output('pg_config', '--bindir');
my $this = major_of($here);
my ($there) = grep { usable($_) && major_of($_) != $this }
  (defined $ENV{DUCTO_OTHER_BINDIR} ? $ENV{DUCTO_OTHER_BINDIR} : glob('/usr/lib/postgresql/*/bin'));
plan(skip_all => "no other PostgreSQL than $this with pg_upgrade and headers; DUCTO_OTHER_BINDIR may name its directory")
  unless defined $there;

# The other one's private installation is made as script/test makes this one's.
my ($installed, $trouble) = run_command([ 'bash', '-c', q{
	set -euo pipefail
	. "$1/script/lib.sh"
	T=$2
	PG_CONFIG=$3/pg_config
	plain=(LANG=C.UTF-8 LC_ALL=C)
	mkdir "$T/src" "$T/inst"
	copy_sources
	build_ducto
	install_ducto
	printf '%s\n' "$BIN"
}, 'bash', $root, $dir, $there ]);
is(-x "$installed/postgres" ? 'installed' : $trouble, 'installed', "ducto is built for PostgreSQL @{[ major_of($there) ]}");
my ($old_bin, $new_bin) = sort { major_of($a) <=> major_of($b) } ($here, $installed);
my ($old, $restored, $upgraded) = map {
	my ($name, $bin) = @$_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $bin =~ s{/bin$}{}r);
	# what initdb makes of itself differs between versions
	$node->init(extra => [ '--locale=C', '--encoding=UTF8', major_of($bin) >= 18 ? '--no-data-checksums' : () ]);
	$node->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off");
	$node
} ([ 'old', $old_bin ], [ 'restored', $new_bin ], [ 'upgraded', $new_bin ]);
note("from $old_bin to $new_bin");

$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE one');
$old->safe_psql('one', 'CREATE EXTENSION ducto');
fill($old, 'one', 'public');
$old->safe_psql('one', 'SELECT ducto_rollup()');
my $window    = "'2020-01-01', now() + interval '1 day'";
my $analytics = "SELECT * FROM ducto_spend_by_user($window); SELECT * FROM ducto_daily_spend($window)";
my $content   = content($old, 'one');
my $readings  = readings($old, 'one', 'public');
my $spent     = $old->safe_psql('one', $analytics);

# arrived compares what is in another version with what was in the old one.
sub arrived
{
	my ($name, $node) = @_;

	subtest $name => sub {
		is(content($node, 'one'), $content, 'the tables are equal');
		is(readings($node, 'one', 'public'), $readings, 'what can be read is equal');
		is($node->safe_psql('one', $analytics), $spent, '... and analytics');
		$node->safe_psql('one', 'SELECT ducto_rollup()');
		is($node->safe_psql('one', $analytics), $spent, '... and what is rolled up there');
		goes_on($node, 'one', 'public');
	};
	return;
}

$restored->start;
command_ok([ "$new_bin/pg_dump", '-Fc', '-f', "$dir/dump", '-d', $old->connstr('one') ], 'the newer pg_dump');
$restored->safe_psql('postgres', 'CREATE DATABASE one');
command_ok([ "$new_bin/pg_restore", '-j', '2', '--exit-on-error', '-d', $restored->connstr('one'), "$dir/dump" ], 'the newer pg_restore');
arrived('dump and restore', $restored);
$restored->stop;

# pg_upgrade writes where it is started
$old->stop;
chdir($dir) or die "cannot go to $dir: $!";
command_ok([ "$new_bin/pg_upgrade", '-b', $old_bin, '-B', $new_bin, '-d', $old->data_dir, '-D', $upgraded->data_dir,
		'-s', $upgraded->host, '-p', $old->port, '-P', $upgraded->port ], 'pg_upgrade');
$upgraded->start;
arrived('pg_upgrade', $upgraded);
$upgraded->stop;
done_testing();
