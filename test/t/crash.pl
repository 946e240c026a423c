
# What was acknowledged is there after a crash, once, and nothing is there by
# half.
#
# Clients write down what they are told, in files of their own, as the answers
# come. Under their load the whole server is killed, postmaster and backends at
# once and without any chance to tidy up, and started again; several rounds of
# it. Then every answer that was written down must be in the ledger exactly
# once, and a client that does not know what became of its last call retries it
# under its key and gets one charge, not none and not two.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Crash qw(kill_all);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use constant CLIENTS => 4;
use constant ROUNDS  => 2;
use constant CALLS   => 3000;    # more than a client can make in a round

my $node = PostgreSQL::Test::Cluster->new('crash');
my $dir  = PostgreSQL::Test::Utils::tempdir();
my %acknowledged;                # what was answered: key => [id, amount, account]
my @pairs;                       # keys of transactions with two charges
my @last;                        # the last call of each client in its round

# who is the uuid of a user.
sub who
{
	my ($n) = @_;
	return sprintf("'00000000-0000-4000-8000-%012d'", $n);
}

# write_script writes what a client does in a round, and returns its keys. Each
# answer is a line: key, transaction, amount, balance.
sub write_script
{
	my ($file, $client, $round) = @_;
	my $user = who(1 + $client % 2);
	my $both = who(3);
	my $told = 'transaction_id, amount, balance_after';
	my ($sql, @keys) = ('');

	for (my $i = 0; $i < CALLS; $i++)
	{
		my $key    = "round $round client $client call $i";
		my $amount = 0.0001 * (1 + $i % 7);

		push @keys, $key;
		if ($i % 4 == 0)
		{
			$sql .= "SELECT reservation_id AS id FROM ducto_reserve($user, 1, ttl_seconds => 600) \\gset\n"
			  . "SELECT '$key', $told FROM ducto_deduct($user, :'id', $amount, '$key');\n";
		}
		elsif ($i % 4 == 1)
		{
			# both or neither, written down when both are committed
			$sql .= "BEGIN;\n"
			  . "SELECT transaction_id AS one FROM ducto_charge($user, $amount, '$key') \\gset\n"
			  . "SELECT transaction_id AS two, balance_after AS balance FROM ducto_charge($both, $amount, '$key') \\gset\n"
			  . "COMMIT;\n\\echo $key|:one|$amount|\n";
			push @pairs, $key;
		}
		else
		{
			$sql .= "SELECT '$key', $told FROM ducto_charge($user, $amount, '$key');\n";
		}
	}
	PostgreSQL::Test::Utils::append_to_file($file, $sql);
	return \@keys;
}

# start_clients lets all clients work, each on its script.
sub start_clients
{
	my ($round) = @_;
	my @clients;

	for (my $client = 0; $client < CLIENTS; $client++)
	{
		my $file  = "$dir/$round-$client";
		my $keys  = write_script("$file.sql", $client, $round);
		my $timer = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);

		push @clients, {
			client => $client,
			file   => "$file.out",
			keys   => $keys,
			run    => IPC::Run::start(
				[ $node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1',
					'-d', $node->connstr('postgres'), '-f', "$file.sql" ],
				'<', \undef, '>', "$file.out", '2>', "$file.err", $timer)
		};
	}
	return @clients;
}

# written waits until every client has written down so many answers.
sub written
{
	my ($lines, @clients) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $until)
	{
		return 1 unless grep { !-e $_->{file} || (() = slurp_file($_->{file}) =~ /\n/g) < $lines } @clients;
		sleep(0.05);
	}
	return 0;
}

# read_answers takes what the clients wrote down, and what they were at.
sub read_answers
{
	my (@clients) = @_;
	my $count = 0;

	@last = ();
	foreach my $client (@clients)
	{
		my @lines = split /\n/, slurp_file($client->{file});

		eval { $client->{run}->finish };
		foreach my $line (@lines)
		{
			my ($key, $id, $amount) = split /\|/, $line;

			die "no answer: $line" unless defined $amount && $id =~ /^[-0-9a-f]{36}$/;
			$acknowledged{$key} = [ $id, $amount, $client->{client} ];
			$count++;
		}
		push @last, [ $client->{client}, $client->{keys}[ scalar @lines ] ] if @lines < CALLS;
	}
	return $count;
}

# wait_for waits for clients whose server has gone.
sub wait_for
{
	my (@clients) = @_;

	foreach my $client (@clients)
	{
		IPC::Run::finish($client->{run});
	}
	return;
}

# comes_back waits until a server that has thrown out its sessions takes others.
# A psql that it refuses may end before it has been told its query, and that
# would be an error here.
sub comes_back
{
	my @asks  = ($node->installed_command('pg_isready'), '-q', '-d', $node->connstr('postgres'));
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $until)
	{
		return 1 if IPC::Run::run(\@asks);
		sleep(0.05);
	}
	return 0;
}

# compare proves that all that was acknowledged is there.
sub compare
{
	my ($when) = @_;
	my $file = "$dir/acknowledged";
	my $list = join('', map { "$_\t$acknowledged{$_}[0]\t$acknowledged{$_}[1]\n" } sort keys %acknowledged);
	my $pairs = join(',', map { "'$_'" } @pairs);

	unlink $file;
	PostgreSQL::Test::Utils::append_to_file($file, $list);
	$node->safe_psql('postgres',
		"DROP TABLE IF EXISTS told; CREATE TABLE told (key text, id uuid, amount numeric);\n"
		  . "\\copy told FROM '$file'");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM told'), scalar keys %acknowledged, "$when: all answers are looked at");
	is($node->safe_psql('postgres',
			'SELECT key, id FROM told WHERE (SELECT count(*) FROM ducto.ledger AS l'
			  . ' WHERE l.id = told.id AND l.idempotency_key = told.key AND l.amount = -told.amount) <> 1'),
		'', "$when: every acknowledged charge is in the ledger once");
	is($node->safe_psql('postgres',
			'SELECT idempotency_key FROM ducto.ledger WHERE idempotency_key IS NOT NULL'
			  . ' GROUP BY account_id, idempotency_key HAVING count(*) > 1'),
		'', "$when: no key was used twice");
	is($node->safe_psql('postgres',
			"SELECT idempotency_key FROM ducto.ledger WHERE idempotency_key IN ($pairs)"
			  . ' GROUP BY idempotency_key HAVING count(*) <> 2'),
		'', "$when: of two charges in a transaction, both or neither");
	is($node->safe_psql('postgres',
			'SELECT r.id FROM ducto.reservations AS r LEFT JOIN ducto.ledger AS l ON l.reference = r.id AND l.account_id = r.account_id'
			  . " WHERE (r.state = 'settled') <> (l.id IS NOT NULL)"),
		'', "$when: a reservation is settled when its charge is booked, and not else");
	is($node->safe_psql('postgres', 'SELECT * FROM ducto_verify()'), '', "$when: nothing to find for the auditor");
	return;
}

# retry lets each client do its last call again, and then once more.
sub retry
{
	my ($when) = @_;

	foreach my $last (@last)
	{
		my ($client, $key) = @$last;
		my $user = who(1 + $client % 2);
		my ($i)  = $key =~ /call (\d+)/;
		my $amount = 0.0001 * (1 + $i % 7);
		my ($before, $call, $first, $second);

		next if $i % 4 < 2;    # not one charge alone
		$call   = "SELECT transaction_id FROM ducto_charge($user, $amount, '$key')";
		$before = $node->safe_psql('postgres', "SELECT id FROM ducto.ledger WHERE idempotency_key = '$key'");
		$first  = $node->safe_psql('postgres', $call);
		$second = $node->safe_psql('postgres', $call);
		is($second, $first, "$when: client $client retries its last call and is charged once");
		is($first, $before, '... as it was before the crash') if $before;
		$acknowledged{$key} = [ $first, $amount, $client ];
	}
	return;
}

$node->init;
$node->append_conf('postgresql.conf', q{
	fsync = on
	synchronous_commit = on
	restart_after_crash = on
	log_statement = none
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ducto; '
	  . join(' ', map { 'SELECT ducto_add_credits(' . who($_) . ", 100000, 'purchase');" } 1 .. 3));

foreach my $round (1 .. ROUNDS)
{
	my @clients = start_clients($round);
	my $killed;

	ok(written(40, @clients), "round $round: the clients work");
	sleep(rand(0.3));
	$killed = kill_all($node);
	cmp_ok($killed, '>', CLIENTS, "round $round: the whole server is killed");
	wait_for(@clients);
	cmp_ok(read_answers(@clients), '>=', 40 * CLIENTS, 'there are answers to look for');
	is(scalar @last, CLIENTS, 'all clients were in the midst of something');
	ok($node->start(fail_ok => 1), 'the server starts again');
	compare("round $round");
	retry("round $round");
}

# One backend alone: the server throws out all others and starts anew.
my @clients = start_clients('backend');
ok(written(40, @clients), 'one backend: the clients work');
my $pid = $node->safe_psql('postgres',
	"SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
kill 'KILL', $pid;
wait_for(@clients);
read_answers(@clients);
ok(comes_back(), 'one backend: the server comes back');
compare('one backend');
retry('one backend');
compare('at the end');

$node->stop;
done_testing();
