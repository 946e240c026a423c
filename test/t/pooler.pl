
# Many clients on few server connections: pgbouncer in transaction mode hands a
# connection to another client after each transaction. Nothing that a client did
# may show to the next one, and what a connection has prepared and parsed may go
# at any moment, as after DISCARD ALL. Done twice, with pgbouncer cleaning up
# after each transaction and without.

package Pooler;

# What Session needs to know of a server, for pgbouncer in front of a node.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use PostgreSQL::Test::Utils;

# new starts pgbouncer with settings, in front of the database postgres: as
# "few" with three connections, as "single" with one.
sub new
{
	my ($class, $program, $node, @settings) = @_;
	my $dir    = PostgreSQL::Test::Utils::tempdir_short();
	my $self   = bless { dir => $dir, log => "$dir/log", node => $node }, $class;
	my $server = 'host=' . $node->host . ' port=' . $node->port . ' dbname=postgres';
	my $user   = $node->safe_psql('postgres', 'SELECT current_user');

	append_to_file("$dir/users", qq{"$user" ""\n"app" ""\n});
	append_to_file("$dir/ini", join("\n",
		'[databases]', "few = $server pool_size=3", "single = $server pool_size=1",
		'[pgbouncer]', 'pool_mode = transaction', 'listen_port = 6432', "unix_socket_dir = $dir",
		'auth_type = trust', 'query_wait_timeout = 60', "auth_file = $dir/users", "logfile = $dir/log", @settings) . "\n");
	my $output = '';
	$self->{process} = IPC::Run::start([ $program, '-q', "$dir/ini" ], '<', \undef, '>&', \$output);
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if -S "$dir/.s.PGSQL.6432";
		$self->{process}->pump_nb;
		die "pgbouncer does not start: $output" unless $self->{process}->pumpable;
		select(undef, undef, undef, 0.01);
	}
	return $self;
}

sub connstr
{
	my ($self, $dbname) = @_;
	return "host=$self->{dir} port=6432 dbname=$dbname";
}

sub installed_command
{
	my ($self, $command) = @_;
	return $self->{node}->installed_command($command);
}

sub stop
{
	my ($self) = @_;
	$self->{process}->kill_kill if $self->{process};
	$self->{process} = undef;
	return;
}

package main;

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

use constant CLIENTS      => 12;
use constant TRANSACTIONS => 60;    # of each client

my ($program) = grep { -x } map { "$_/pgbouncer" } (split(/:/, $ENV{PATH}), '/usr/sbin');
plan(skip_all => 'pgbouncer is not installed') unless $program;
my ($version) = (run_command([ $program, '--version' ]))[0] =~ /PgBouncer (\d+\.\d+)/;
my ($major, $minor) = split(/\./, $version);

my $alice  = "'00000000-0000-4000-8000-00000000000a'";
my $node   = PostgreSQL::Test::Cluster->new('pooler');
my $pooler;

END
{
	my $status = $?;
	$pooler->stop if $pooler;
	$? = $status;
}

# A charge is noted in its own transaction; the same key is soon used again.
my $note = 'INSERT INTO noted SELECT transaction_id, amount, error FROM';
my %scripts = (
	'charge@4' => qq{
		\\set a random(1, 30000)
		\\set k random(1, 150)
		$note ducto_charge(who(:client_id), :a / 10000.0, 'key ' || :k);
		$note ducto_charge(who(:client_id), :a / 10000.0, 'key ' || :k);
	},

	# A setting for one transaction, a rejection as an exception that is caught.
	'set_local@2' => qq{
		BEGIN;
		SET LOCAL ducto.rejections = 'raise';
		SET LOCAL ducto.reservation_ttl = '77s';
		SELECT told(who(:client_id));
		SELECT error FROM ducto_reserve(who(:client_id), 2);
		INSERT INTO strange SELECT 'the time of a hold' FROM ducto.reservations
			WHERE account_id = who(:client_id) AND state = 'open' AND abs(extract(epoch FROM expires_at - created_at) - 77) > 1;
		COMMIT;
		$note ducto_deduct(who(:client_id),
			(SELECT id FROM ducto.reservations WHERE account_id = who(:client_id) AND state = 'open'), 1.5);
	},

	# What the others have set must not be seen.
	'defaults@2' => q{
		INSERT INTO strange SELECT 'a setting: ' || s FROM current_setting('ducto.rejections', true) AS s WHERE s <> 'return';
		INSERT INTO strange SELECT 'a time: ' || s FROM current_setting('ducto.reservation_ttl', true) AS s WHERE s <> '10min';
		INSERT INTO strange SELECT 'no rejection' FROM ducto_charge(who(:client_id), 1000000) WHERE error IS NULL;
	},

	'prepared@2' => qq{
		BEGIN;
		PREPARE spend(numeric) AS $note ducto_charge(who(:client_id), \$1);
		EXECUTE spend(0.25);
		EXECUTE spend(0.5);
		DEALLOCATE spend;
		COMMIT;
	},

	'discard@1' => q{
		DISCARD ALL;
	});

# rush runs all of that at once.
sub rush
{
	my ($mode) = @_;
	my @files;

	foreach my $name (sort keys %scripts)
	{
		my ($file, $weight) = split(/@/, $name);
		# PREPARE takes no parameters; pgbouncer does not know that DISCARD ALL took what it had prepared
		next if $mode ne 'simple' && $file eq 'prepared' || $mode eq 'prepared' && $file eq 'discard';
		push @files, '-f', "$pooler->{dir}/$mode-$file\@$weight";
		append_to_file("$pooler->{dir}/$mode-$file", $scripts{$name});
	}
	# a thread each, as pgbench waits for a PREPARE with the whole thread
	my ($output, $errors) = run_command(
		[ $node->installed_command('pgbench'), '-n', '-M', $mode, '-c', CLIENTS, '-j', CLIENTS, '-t', TRANSACTIONS, @files, $pooler->connstr('few') ]);
	my $expected = CLIENTS * TRANSACTIONS;
	like($output, qr{^number of transactions actually processed: $expected/$expected$}m, "all clients are served: $mode") or diag($errors);
	is($node->safe_psql('postgres', 'SELECT * FROM strange'), '', '... nobody sees what another one has set');
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM ducto.accounts AS a
		WHERE a.id::text LIKE 'b007%' AND a.balance <> 500 + coalesce((SELECT sum(amount) FROM ducto.ledger WHERE account_id = a.id AND type = 'usage'), 0)}),
		'0', '... and each account has what its ledger says');
	is($node->safe_psql('postgres', qq{
		SELECT sum(amount) = (SELECT sum(-amount) FROM ducto.ledger WHERE type = 'usage' AND account_id <> $alice)
			FROM (SELECT DISTINCT transaction_id, amount FROM noted WHERE error IS NULL) AS n}),
		't', '... which is what the clients were told');
	is($node->safe_psql('postgres', 'SELECT * FROM ducto_verify()'), '', 'nothing to find for the auditor');
	return;
}

# takes_turns has two clients on one connection.
sub takes_turns
{
	my ($cleans) = @_;
	my ($one, $two) = map { Session->new($pooler, dbname => 'single') } (1, 2);
	my $too_much = "SELECT error FROM ducto_charge($alice, 1000)";

	is($one->value('SELECT pg_backend_pid()'), $two->value('SELECT pg_backend_pid()'), 'two clients have the same connection');
	$one->run("BEGIN; SET LOCAL ducto.rejections = 'raise'");
	$one->run($too_much);
	ok($one->error, 'SET LOCAL holds for the transaction');
	$one->run('ROLLBACK');
	is($two->value($too_much), 'insufficient_credits', '... and not for the next client');

	$one->run("SET ducto.rejections = 'raise'");
	$two->run($too_much);
	is($two->error ? 'raised' : 'told', $cleans ? 'told' : 'raised', $cleans ? 'SET is gone' : 'SET leaks to the next client');
	$one->run('DISCARD ALL');
	is($one->sqlstate, '00000', 'DISCARD ALL');
	is($two->value($too_much), 'insufficient_credits', '... takes the setting away');
	is($two->value("SELECT balance_after FROM ducto_charge($alice, 1)"),
		$one->value("SELECT balance FROM ducto_get_balance($alice)"), '... and nothing else');
	$one->run('DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES; RESET ALL; DEALLOCATE ALL');
	is($two->value("SELECT error FROM ducto_charge_usage($alice, '{\"model\": \"m\", \"input_tokens\": 1000}')"), undef, '... what was parsed is parsed again');

	# one waits in a transaction; two waits for the connection, not for the account
	$one->run("BEGIN; SELECT ducto_charge($alice, 1)");
	is($node->safe_psql('postgres', "SELECT balance FROM ducto_get_balance($alice)"),
		$one->value("SELECT balance + 1 FROM ducto_get_balance($alice)"), 'others see nothing of a transaction');
	$one->run('ROLLBACK');
	$_->quit foreach ($one, $two);

	my $app = Session->new($pooler, dbname => 'single', user => 'app');
	$app->run($too_much);
	ok($app->error, 'a setting of the role is that of its connections');
	$app->run('DISCARD ALL');
	$app->run($too_much);
	ok($app->error, '... after DISCARD ALL, too');
	$app->quit;
	return;
}

$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off");
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION ducto;
	CREATE ROLE app LOGIN;
	SELECT ducto_grant_access('app');
	ALTER ROLE app SET ducto.rejections = 'raise';
	CREATE FUNCTION who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
		AS \$\$ SELECT ('b0070000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid \$\$;
	CREATE TABLE noted (transaction_id uuid, amount numeric, error text);
	CREATE TABLE strange (what text);
	CREATE FUNCTION told(who uuid) RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			PERFORM ducto_charge(who, 1000000);
			INSERT INTO strange VALUES ('a rejection was not raised');
		EXCEPTION WHEN SQLSTATE 'UC001' THEN
			NULL;
		END \$\$;
	SELECT ducto_add_credits(who(n), 500, 'purchase') FROM generate_series(0, @{[ CLIENTS - 1 ]}) AS n;
	SELECT ducto_add_credits($alice, 100, 'purchase');
	SELECT ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.001"}}');
});

foreach my $cleans (0, 1)
{
	subtest $cleans ? 'DISCARD ALL after each transaction' : 'nothing after a transaction' => sub {
		$pooler = Pooler->new($program, $node, 'server_reset_query = DISCARD ALL', "server_reset_query_always = $cleans");
		rush('simple');
		rush('extended');
	  SKIP: {
			skip("protocol-level prepared statements in transaction mode need pgbouncer 1.21, this is $version", 1)
			  if $major == 1 && $minor < 21;
			rush('prepared') unless $cleans;
		}
		takes_turns($cleans);
		$pooler->stop;
	};
}

$node->stop;
done_testing();
