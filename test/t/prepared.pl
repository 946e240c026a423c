
# Two-phase commit: a transaction with operations of every kind is prepared, and
# from then on it is neither done nor undone. Nothing of it can be read, the
# accounts that it touched stay locked, the sweep leaves them out, and the crash
# of the server changes nothing. COMMIT PREPARED from any session makes all of
# it so, keys included; after ROLLBACK PREPARED nothing of it has ever been.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $alice = "'00000000-0000-4000-8000-00000000000a'";
my $bob   = "'00000000-0000-4000-8000-00000000000b'";
my $carol = "'00000000-0000-4000-8000-00000000000c'";
my $dora  = "'00000000-0000-4000-8000-00000000000d'";
my $node  = PostgreSQL::Test::Cluster->new('prepared');
my $team;

# What a transaction does that is prepared: alice pays, gets a refund and holds,
# bob settles, carol is new, dora charges the pool.
sub operations
{
	my ($key) = @_;
	return "
		SELECT ducto_charge($alice, 10, 'charge $key');
		SELECT ducto_reserve($alice, 20, idempotency_key => 'reserve $key');
		SELECT ducto_refund(id, 4, idempotency_key => 'refund $key') FROM ducto.ledger WHERE idempotency_key = 'charge $key';
		SAVEPOINT s;
		SELECT ducto_charge($alice, 70, 'undone $key');
		ROLLBACK TO s;
		SELECT ducto_deduct($bob, id, 5, 'settle $key') FROM ducto.reservations WHERE account_id = $bob AND state = 'open';
		SELECT ducto_set_spend_cap($bob, 'daily', 1000);
		SELECT ducto_add_credits($carol, 7, 'purchase', expires_at => now() + interval '1 hour', idempotency_key => 'grant $key');
		SELECT ducto_deduct_team('$team', $dora, 3, '{}', 'team $key');";
}

# state is what everybody can read of the money.
sub state
{
	my ($session) = @_;
	return join("\n",
		(map { "@{ $session->row(qq{SELECT balance, reserved FROM ducto_get_balance($_)}) }" } ($alice, $bob, $carol)),
		$session->value("SELECT balance FROM ducto_get_team_balance('$team')"),
		$session->value('SELECT count(*) FROM ducto.ledger'),
		$session->value("SELECT '(' || coalesce(string_agg(idempotency_key, ' ' ORDER BY idempotency_key), '') || ')' FROM ducto.ledger WHERE idempotency_key ~ 'one|two'"));
}

# audited asks the auditor.
sub audited
{
	my ($session, $when) = @_;
	is(join("\n", $session->run('SELECT * FROM ducto_verify()')), '', "$when: nothing to find for the auditor");
	is($session->sqlstate, '00000', '... who can look');
	return;
}

# locked tells that what is prepared keeps its accounts, and nobody else's.
sub locked
{
	my ($session, $when, $key) = @_;
	my %calls = (
		'alice charges'             => "ducto_charge($alice, 1)",
		'alice retries the key'     => "ducto_charge($alice, 10, 'charge $key')",
		'alice reserves'            => "ducto_reserve($alice, 1)",
		'bob is given credits'      => "ducto_add_credits($bob, 1)",
		'carol, who is new, gets credits' => "ducto_add_credits($carol, 1)",
		'the pool is charged'       => "ducto_deduct_team('$team', $dora, 1)");

	$session->run("SET lock_timeout = '20ms'");
	foreach my $name (sort keys %calls)
	{
		$session->run("SELECT * FROM $calls{$name}");
		is($session->sqlstate, '55P03', "$when: $name, and waits");
	}
	$session->run('RESET lock_timeout');
	is($session->value("SELECT error FROM ducto_charge($dora, 1, 'other $when')"), undef, "$when: another account goes on");
	return;
}

# prepare prepares the operations in a session that then ends.
sub prepare
{
	my ($key) = @_;
	my $session = Session->new($node);

	foreach my $statement ('BEGIN', split(/;/, operations($key)), "PREPARE TRANSACTION '$key'")
	{
		$session->run($statement);
		die "$session->{error}{message}: $statement" if $session->error;
	}
	$session->quit;
	return;
}

$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off\nmax_prepared_transactions = 5");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
my $session = Session->new($node);
$team = $session->value("SELECT team_id FROM ducto_create_team('Team', 50)");
$session->run("
	SELECT ducto_add_team_member('$team', $dora);
	SELECT ducto_add_credits($alice, 100, 'purchase');
	SELECT ducto_add_credits($alice, 5, 'promo', expires_at => clock_timestamp() + interval '100 ms');
	SELECT ducto_add_credits($bob, 50, 'purchase');
	SELECT ducto_add_credits($dora, 50, 'purchase');
	SELECT ducto_reserve($bob, 8);
	SELECT pg_sleep(0.2)");
is($session->sqlstate, '00000', 'there are credits');

# Rolled back after a crash.
my $before = state($session);
prepare('one');
is(state($session), $before, 'prepared: nothing can be read of it');
audited($session, 'prepared');
locked($session, 'prepared', 'one');
$before = state($session);
is($session->value('SELECT expired_count FROM ducto_sweep_expired()'), 0, 'the sweep leaves out an account that is locked');
is($session->value('SELECT count(*) FROM pg_prepared_xacts'), 1, 'it is prepared');
$session->quit;
$node->stop('immediate');
$node->start;
$session = Session->new($node);
is($session->value('SELECT count(*) FROM pg_prepared_xacts'), 1, 'it still is after a crash');
is(state($session), $before, '... and nothing can be read of it');
audited($session, 'after a crash');
locked($session, 'after a crash', 'one');
$before = state($session);
$session->run("ROLLBACK PREPARED 'one'");
is($session->sqlstate, '00000', 'ROLLBACK PREPARED');
is(state($session), $before, '... leaves nothing');
audited($session, 'rolled back');
is($session->value("SELECT idempotent FROM ducto_charge($alice, 1, 'charge one')"), 'f', '... and its key is free');
is(join(' ', @{ $session->row("SELECT amount FROM ducto_refund((SELECT id FROM ducto.ledger WHERE idempotency_key = 'charge one'))") }),
	'1.0000', '... for good');

# Committed after a restart, with a client waiting for the account.
prepare('two');
$session->quit;
$node->stop('fast');
$node->start;
$session = Session->new($node);
locked($session, 'restarted', 'two');
audited($session, 'restarted');
my ($said, $trouble) = ('', '');
my $client = IPC::Run::start(
	[ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'),
		'-c', "SELECT amount, error, balance_after FROM ducto_charge($alice, 74.0001)" ],
	'>', \$said, '2>', \$trouble);
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%74.0001%'"),
	'a client waits');
$session->run("COMMIT PREPARED 'two'");
is($session->sqlstate, '00000', 'COMMIT PREPARED');
IPC::Run::finish($client);
is($trouble, '', 'the client is answered');
is($said, "74.0001|insufficient_credits|94.0000\n", '... by what the prepared transaction left, 20 of it held');
is(join(' | ', map { "@{ $session->row(qq{SELECT balance, reserved FROM ducto_get_balance($_)}) }" } ($alice, $bob, $carol)),
	'94.0000 20.0000 | 45.0000 0.0000 | 7.0000 0.0000', 'all of it is done');
is($session->value("SELECT balance FROM ducto_get_team_balance('$team')"), '47.0000', '... for the pool, too');
is($session->value("SELECT count(*) FROM ducto.ledger WHERE idempotency_key = 'undone two'"), 0, '... but for what was rolled back in it');
audited($session, 'committed');

# Keys that were committed so replay.
my %replayed = (
	charge  => "ducto_charge($alice, 10, 'charge two')",
	reserve => "ducto_reserve($alice, 20, idempotency_key => 'reserve two')",
	grant   => "ducto_add_credits($carol, 7, 'purchase', idempotency_key => 'grant two')",
	team    => "ducto_deduct_team('$team', $dora, 3, '{}', 'team two')",
	settle  => "ducto_deduct($bob, (SELECT id FROM ducto.reservations WHERE account_id = $bob), 5, 'settle two')",
	refund  => "ducto_refund((SELECT id FROM ducto.ledger WHERE idempotency_key = 'charge two'), 4, idempotency_key => 'refund two')");
foreach my $name (sort keys %replayed)
{
	is($session->value("SELECT idempotent FROM $replayed{$name}"), 't', "a retry is replayed: $name");
}
is($session->value("SELECT error FROM ducto_charge($alice, 74, 'the rest')"), undef, 'the rest can be spent');
is($session->value("SELECT d.amount FROM ducto.reservations AS r, ducto_deduct($alice, r.id, 20) AS d WHERE r.idempotency_key = 'reserve two'"),
	'20.0000', '... and what is held');
audited($session, 'at last');

$session->quit;
$node->stop;
done_testing();
