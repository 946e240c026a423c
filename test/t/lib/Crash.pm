# A server that is killed, all of its processes at once.

package Crash;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time usleep);

our @EXPORT_OK = qw(kill_all);

# The children of a process that are not dead.
sub children
{
	my ($parent) = @_;

	return grep { my $stat = eval { slurp_file("/proc/$_/stat") } // ''; $stat =~ /.*\) (\S) (\d+) /s && $1 ne 'Z' && $2 == $parent }
	  map { m{(\d+)$} } glob('/proc/[0-9]*');
}

# kill_all kills every process of a node's server, waits until they are gone, and
# returns how many the postmaster had. The postmaster is stopped first, so that no
# other begins meanwhile, which would keep the memory that they share; and all are
# before the first is killed, or one that waits would do more when it finds the
# postmaster gone.
sub kill_all
{
	my ($node) = @_;
	my $postmaster = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)$/m ? $1 : die 'no postmaster';
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	my @pids;

	kill 'STOP', $postmaster;
	usleep(1000) while slurp_file("/proc/$postmaster/stat") !~ /\) T / && time < $until;
	@pids = children($postmaster);
	kill 'STOP', @pids;
	kill 'KILL', $postmaster, @pids;
	$node->kill9;
	while (kill(0, $postmaster, @pids) && time < $until)
	{
		sleep(0.05);
	}
	return scalar @pids;
}

1;
