
# Transactions that are on several nodes of a cluster, and a crash amid their
# commit: what was cut off ends one way or the other on all nodes, and until then
# the accounts wait and the auditor says what is missing.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use Crash qw(kill_all);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

# Nothing is recovered but by hand. A commit in a session with synchronous_commit = on waits for a standby that never comes.
my @settings = ('citus.recover_2pc_interval = -1', 'synchronous_standby_names = nobody', 'synchronous_commit = local');
my $cluster  = Citus->new('crash', workers => 2, settings => \@settings);
my $node     = $cluster->coordinator;
my ($first, $second) = $cluster->workers;
my @nodes    = ($node, $first, $second);
my $patience = 3 * $PostgreSQL::Test::Utils::timeout_default;
my $prepared = q(SELECT count(*) FROM pg_prepared_xacts);
my $auditor  = 'SELECT check_name, actual FROM ducto_verify()';
my $recover  = 'SELECT recover_prepared_transactions()';

# a value of the database on the coordinator
sub value { return $node->safe_psql('shop', $_[0]) }

# An account that is on a node and has 100 credits.
sub account
{
	my ($at, $n) = @_;

	foreach my $id (map { sprintf "'00000000-0000-4000-9000-%012d'", 1000 * $n + $_ } 1 .. 100)
	{
		next if $at->port != value("SELECT nodeport FROM pg_dist_shard_placement
			WHERE shardid = get_shard_id_for_distribution_column('ducto.accounts', $id)");
		value("SELECT ducto_add_credits($id, 100)");
		return $id;
	}
	die 'no account is there';
}

# Begin a statement on a node, and return who waits for its end.
sub begin
{
	my ($at, $sql) = @_;
	my %run = (out => '');

	$run{handle} = IPC::Run::start([ $at->installed_command('psql'), '-XAtq', '-d', $at->connstr('shop'), '-c', $sql ], '<', \undef,
		 '>&', \$run{out}, IPC::Run::timeout($patience));
	return \%run;
}

# Wait for the end of a statement, and return what it printed.
sub ended
{
	my ($run) = @_;

	IPC::Run::finish($run->{handle});
	return $run->{out};
}

# Transfer 10 credits, which a node is asked for, and return when it has committed and has not told the others.
my $halted = q(wait_event = 'SyncRep' AND query LIKE '%ducto_transfer%');

sub transfer_halted
{
	my ($at, $from, $to, $key) = @_;
	my $run = begin($at, "SET synchronous_commit = on; SELECT amount FROM ducto_transfer($from, $to, 10, idempotency_key => '$key')");

	$at->poll_query_until('shop', "SELECT count(*) = 1 FROM pg_stat_activity WHERE $halted") or die 'no commit waits';
	return $run;
}

# The balances of two accounts.
sub balances
{
	my ($from, $to) = @_;

	return join '|', map { value("SELECT balance FROM ducto.accounts WHERE id = $_") } $from, $to;
}

$cluster->database('shop', shards => 6);

# --- who asked dies when it has committed -----------------------------------

foreach my $at ($node, $first)
{
	my $name = $at->name;
	my ($from, $to) = (account($first, 1 + $at->port), account($second, 2 + $at->port));
	my $run = transfer_halted($at, $from, $to, 'once');
	my $told;

	is($second->safe_psql('shop', $prepared), '1', "$name: a transfer is prepared where it takes from and gives to");
	kill_all($at);
	like(ended($run), qr/connection/, "$name: nobody was told of it");
	$at->start;
	is($second->safe_psql('shop', $prepared), '1', "$name: it is prepared still");
	is(balances($from, $to), $at == $node ? '100.0000|100.0000' : '90.0000|100.0000', "$name: and not seen there");
	like(value($auditor), $at == $node ? qr/^$/ : qr/^transfer_out .*\|no other entry$/, "$name: the auditor says what is seen");
	(undef, undef, $told) = $node->psql('shop', "SET lock_timeout = '100ms'; SELECT ducto_charge($to, 1)");
	like($told, qr/lock timeout/, "$name: the account waits for it");
	is($at->safe_psql('shop', $recover), $at == $node ? '2' : '1', "$name: it is ended");
	is(balances($from, $to), '90.0000|110.0000', "$name: on both sides");
	is(value("SELECT idempotent FROM ducto_transfer($from, $to, 10, idempotency_key => 'once')"), 't', "$name: its retry finds it");
	is(value('SELECT count(*) FROM ducto_verify()'), '0', "$name: nothing to find for the auditor");
}

# --- a node dies that was to commit -----------------------------------------

{
	my ($from, $to) = (account($first, 5), account($second, 6));
	my $run = transfer_halted($node, $from, $to, 'half');

	kill_all($second);
	value("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE $halted");
	like(ended($run), qr/^10\.0000$/m, 'a transfer whose end one node has not heard was made');
	$second->start;
	is(balances($from, $to), '90.0000|100.0000', 'of which that node shows nothing');
	like(value($auditor), qr/^transfer_out .*\|no other entry$/, 'which the auditor says');
	is(value("$recover"), '1', 'it is ended');
	is(balances($from, $to), '90.0000|110.0000', 'on both sides');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
}

# --- who asked dies before all are prepared ---------------------------------

{
	my ($from, $to) = (account($first, 7), account($second, 8));
	my $session = Session->new($node, dbname => 'shop');
	my ($run, $pid);

	$session->run("BEGIN; SELECT ducto_transfer($from, $to, 10, idempotency_key => 'never')");
	$pid = $second->safe_psql('shop', q(SELECT pid FROM pg_stat_activity
		WHERE application_name LIKE 'citus_internal%' AND state = 'idle in transaction'));
	kill 'STOP', $pid;
	print { $session->{in} } "COMMIT;\n";
	$first->poll_query_until('shop', "SELECT count(*) = 1 FROM pg_prepared_xacts") or die 'nothing is prepared';
	kill_all($node);
	kill 'CONT', $pid;
	$second->poll_query_until('shop', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid") or die 'the session stays';
	$node->start;
	is(balances($from, $to), '100.0000|100.0000', 'a transfer that was not prepared on all nodes is not made');
	cmp_ok(value($recover), '>=', 1, 'it is ended');
	is($_->safe_psql('shop', $prepared), '0', 'on ' . $_->name) foreach @nodes;
	is(balances($from, $to), '100.0000|100.0000', 'and not made');
	is(value('SELECT count(*) FROM ducto_verify()'), '0', 'nothing to find for the auditor');
	is(value("SELECT idempotent FROM ducto_transfer($from, $to, 10, idempotency_key => 'never')"), 'f', 'its key is free');
}

$cluster->stop;
done_testing();
