
# No space left, first for WAL, then for tables. A limit on the size of files is
# to PostgreSQL as a full disk, and anybody can set it and take it away while a
# server runs. Every charge that was acknowledged is there once, of one that was
# not there is nothing, and it goes on as soon as there is space.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my ($prlimit) = grep { -x } map { "$_/prlimit" } split(/:/, $ENV{PATH});
plan(skip_all => 'no prlimit, which limits what the server may write') unless $prlimit;

my $alice = "'00000000-0000-4000-8000-00000000000a'";
my $bob   = "'00000000-0000-4000-8000-00000000000b'";
my $node  = PostgreSQL::Test::Cluster->new('full');
my $tries = 0;
my @acknowledged;

# limit sets the size that the files of the server's processes may have.
sub limit
{
	my ($size) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	# those that end before their turn do not matter
	foreach my $process (map { m{(\d+)$} } glob('/proc/[0-9]*'))
	{
		my $stat = eval { slurp_file("/proc/$process/stat") } // '';
		my ($parent) = $stat =~ /.*\) \w (\d+)/s;
		next unless $process == $postmaster || defined $parent && $parent == $postmaster;
		run_command([ $prlimit, "--fsize=$size:", '--pid', $process ]);
	}
	return;
}

# charge charges a credit under a new key, with metadata that fill a third of a
# page, and tells what came of it.
sub charge
{
	my ($session) = @_;
	my $key = 'key ' . ++$tries;

	$session->run("SELECT error FROM ducto_charge($alice, 1, '$key', jsonb_build_object('text', repeat('x', 1800)))");
	return $session->sqlstate if $session->error;
	push @acknowledged, $key;
	return 'done';
}

# counted compares the ledger with what was acknowledged.
sub counted
{
	my ($session, $when) = @_;
	my $keys = join(' ', $session->run("SELECT idempotency_key FROM ducto.ledger WHERE type = 'usage' AND idempotency_key LIKE 'key %' ORDER BY seq"));

	is($keys, join(' ', @acknowledged), "$when: what was acknowledged is there, once, and nothing else");
	is($session->value("SELECT balance FROM ducto_get_balance($alice)"), sprintf('%.4f', 10000 - @acknowledged), '... and so is the balance');
	is(join("\n", $session->run('SELECT * FROM ducto_verify()')), '', '... nothing to find for the auditor');
	is($session->sqlstate, '00000', '... who can look');
	return;
}

# ended waits until the server has, and lets the node know.
sub ended
{
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		if (!-e $node->data_dir . '/postmaster.pid')
		{
			$node->_update_pid(0);
			return 1;
		}
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

$node->init(extra => ['--wal-segsize=1']);
$node->append_conf('postgresql.conf', join("\n", 'log_statement = none', 'autovacuum = off', 'min_wal_size = 2MB', 'max_wal_size = 64MB',
	'wal_recycle = off', 'checkpoint_timeout = 1h'));
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION ducto;
	SELECT ducto_add_credits($alice, 10000, 'purchase');
	SELECT ducto_add_credits($bob, 10, 'purchase');
	VACUUM;
	CHECKPOINT;
});

# No space for WAL: the server cannot make a new segment and stops.
my $session = Session->new($node);
is(charge($session), 'done', 'there is space') for 1 .. 3;
limit(500 * 1024);
my $lost = eval {
	for (1 .. 200)
	{
		$session->run('SELECT pg_switch_wal()') if $_ % 5 == 0;
		last if charge($session) ne 'done';
	}
	0;
} // 1;
ok($lost || $session->error, 'there is no space for WAL');
$session->quit;
ok(ended(), 'the server ends');
like(slurp_file($node->logfile), qr/PANIC:  could not write to (?:log )?file /, '... for that reason');
$node->start;
$session = Session->new($node);
my $last = $session->value("SELECT count(*) FROM ducto.ledger WHERE idempotency_key = 'key $tries'");
# the last one may have been written without the client being told
push @acknowledged, "key $tries" if $last && $acknowledged[-1] ne "key $tries";
counted($session, 'after the start');
is($session->value("SELECT idempotent FROM ducto_charge($alice, 1, 'key 1')"), 't', 'a retry is replayed');
is(charge($session), 'done', 'it goes on');

# No space for tables: the operation fails, the server goes on.
limit(1024 * 1024);
my $said = 'done';
for (1 .. 2000)
{
	last if ($said = charge($session)) ne 'done';
}
isnt($said, 'done', 'there is no space for tables');
like($session->error->{message}, qr/^could not extend file ".*": /, '... PostgreSQL says so');
note("$said: $session->{error}{message}");
counted($session, 'with a full disk');
my $failed = "key $tries";
$session->run("BEGIN; SELECT ducto_charge($bob, 1, 'bob')");
$session->run("SELECT ducto_charge($alice, 1, '$failed', jsonb_build_object('text', repeat('x', 1800)))");
isnt($session->sqlstate, '00000', 'a retry fails as well, in a transaction');
$session->run('COMMIT');
is($session->value("SELECT balance FROM ducto_get_balance($bob)"), '10.0000', '... of which nothing is left');
is($session->value("SELECT count(*) FROM ducto.ledger WHERE idempotency_key IN ('bob', '$failed')"), 0, '... in the ledger, too');
counted($session, 'still');

# Space again, for the same session.
limit('unlimited');
is(join(' ', @{ $session->row("SELECT error IS NULL, idempotent FROM ducto_charge($alice, 1, '$failed', jsonb_build_object('text', repeat('x', 1800)))") }),
	't f', 'with space the retry is done');
push @acknowledged, $failed;
is(charge($session), 'done', 'it goes on') for 1 .. 5;
counted($session, 'at last');

$session->quit;
$node->stop;
done_testing();
