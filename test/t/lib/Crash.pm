# A server that is killed, all of its processes at once.

package Crash;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(kill_all);

# kill_all kills every process of a node's server, waits until they are gone, and
# returns how many served or helped clients. All are stopped before the first is
# killed, or one that waits would do more when it finds the postmaster gone.
sub kill_all
{
	my ($node) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
	my $postmaster = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)$/m ? $1 : die 'no postmaster';
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;

	kill 'STOP', @pids, $postmaster;
	kill 'KILL', $postmaster, @pids;
	$node->kill9;
	while (kill(0, $postmaster, @pids) && time < $until)
	{
		sleep(0.05);
	}
	return scalar @pids;
}

1;
