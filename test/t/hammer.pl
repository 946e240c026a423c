# The jack hammer of script/hammer, for a short while: clients that are cancelled
# at random moments, by a timeout and from outside, whose connections end, and
# that are killed themselves. Then the whole server is killed in the midst of it,
# twice, and started again: the clients make the calls again whose outcome they
# do not know. Meanwhile the test clock goes on by days, and cycles of plans begin.
# At the end the money is counted again from their notes.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Crash qw(kill_all);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $hammer = "$FindBin::RealBin/../hammer/hammer.py";
my $node   = PostgreSQL::Test::Cluster->new('hammer');

$node->init;
$node->append_conf('postgresql.conf', "fsync = on\nrestart_after_crash = on\n");
$node->start;

# start lets the clients begin in a new database, and returns the run.
sub start
{
	my ($database, @options) = @_;
	my %run = (out => '', err => '', timer => IPC::Run::timeout(3 * $PostgreSQL::Test::Utils::timeout_default));

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database,  'CREATE EXTENSION ducto');
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $database);
	$run{handle} = IPC::Run::start([ '/usr/bin/python3', $hammer, @options ], '<', \undef, '>', \$run{out}, '2>', \$run{err},
		$run{timer});
	return \%run;
}

# finish waits for the clients and looks at what they found.
sub finish
{
	my ($run, $name) = @_;
	my $good = IPC::Run::finish($run->{handle});

	note($run->{out});
	ok($good, "$name: no difference") or diag($run->{out} . $run->{err});
	like($run->{out}, qr/^0 differences$/m, "$name: the notes were compared");
	my ($calls, $done) = $run->{out} =~ /^(\d+) calls, .* (\d+) done/m;
	cmp_ok($done // 0, '>', 100, "$name: the clients got something done");
	like($run->{out}, qr/^[1-9]\d* usages/m, "$name: usages were priced");
	like($run->{out}, qr/^[1-9]\d* grants of [1-9]\d* cycles, [1-9]\d* lines in [1-9]\d* entries, [1-9]\d* elements/m,
		"$name: cycles gave, lines and batches were booked");
	return $run->{out};
}

# work waits until the clients have booked so many entries, and something of each kind.
sub work
{
	my ($database, $entries) = @_;

	return $node->poll_query_until($database, "SELECT count(*) > $entries AND count(DISTINCT cycle_end) > 2 AND count(pricing) > 5
		AND count(models) > 2 AND count(*) FILTER (WHERE idempotency_key LIKE '%/_') > 5 FROM ducto.ledger");
}

# stop lets the clients end.
sub stop
{
	my ($notes) = @_;

	PostgreSQL::Test::Utils::append_to_file("$notes/stop", '');
	return;
}

# The clients work until they are told to stop: a slow machine takes its time.
my $notes = PostgreSQL::Test::Utils::tempdir();
my $run = start('cancels', '--seed', '1', '--patience', '120', '--notes', $notes, 100, 6, 5);
ok(work('cancels', 250), 'the clients work');
stop($notes);
my $out = finish($run, 'cancels and kills');
unlike($out, qr/ 0 cancelled$/m, 'calls were cancelled');
unlike($out, qr/^0 clients killed, 0 connections ended/m, 'clients and connections were killed');

$notes = PostgreSQL::Test::Utils::tempdir();
$run = start('crashes', '--seed', '2', '--patience', '120', '--notes', $notes, 100, 6, 5);
my $entries = 20;
foreach my $round (1, 2)
{
	ok(work('crashes', $entries + 30), "crash $round: the clients work");
	kill_all($node);
	ok($node->start(fail_ok => 1), "crash $round: the server starts again");
	$entries = $node->safe_psql('crashes', 'SELECT count(*) FROM ducto.ledger');
}
ok(work('crashes', $entries + 30), 'the clients go on');
stop($notes);
$out = finish($run, 'crashes');
is($node->safe_psql('crashes', "SELECT * FROM ducto_verify() WHERE check_name <> 'test clock'"), '', 'nothing to find for the auditor');

$node->stop;
done_testing();
