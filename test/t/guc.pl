
# The settings: ducto.rejections says how a rejection is told, and is obeyed
# from the first call of a session, wherever it was set and although the library
# is loaded by that call only. ducto.reservation_ttl is a duration with a unit.
# Sessions are reused by poolers, so what one client set must be gone for the
# next one when the pooler says DISCARD ALL.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node  = PostgreSQL::Test::Cluster->new('guc');
my $alice = "'00000000-0000-4000-8000-00000000000a'";
my $bob   = "'00000000-0000-4000-8000-00000000000b'";
my $none  = "'00000000-0000-4000-8000-0000000000ff'";

# mode tells how a session that has not called anything yet tells a rejection.
sub mode
{
	my (%options) = @_;
	my $session = Session->new($node, %options);
	my @row = $session->run("BEGIN; SELECT error FROM ducto_charge($bob, 1)");
	my $mode =
	    $session->sqlstate eq 'UC001'                                                          ? 'raise'
	  : $session->sqlstate ne '00000'                                                          ? $session->sqlstate
	  : ($session->value("SELECT current_setting('response.status', true)") // '') eq '402' ? 'http'
	  :                                                                                          "return @row";

	$session->quit;
	return $mode;
}

# set runs statements on the server.
sub set
{
	my ($statement) = @_;
	$node->safe_psql('postgres', $statement);
	return;
}

$node->init;
$node->append_conf('postgresql.conf', 'log_statement = none');
$node->start;
set("CREATE EXTENSION ducto; CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; GRANT ALL ON SCHEMA public TO app, other;"
	  . " SELECT ducto_grant_access('app'); SELECT ducto_grant_access('other');"
	  . " SELECT ducto_add_credits($alice, 100); SELECT ducto_add_credits($bob, 0)");

subtest 'obeyed from the first call, wherever it was set' => sub {
	is(mode(), 'return insufficient_credits', 'nothing set: the row is returned');

	set("ALTER ROLE app SET ducto.rejections = 'raise'");
	is(mode(user => 'app'), 'raise', 'ALTER ROLE');
	is(mode(user => 'other'), 'return insufficient_credits', '... is for that role');
	is(mode(user => 'app', env => { PGOPTIONS => '-c ducto.rejections=return' }), 'return insufficient_credits', '... PGOPTIONS win');
	is(mode(user => 'app', env => { PGOPTIONS => '-c ducto.rejections=http' }), 'http', '... each of them');
	set('ALTER ROLE app RESET ducto.rejections');

	set("ALTER DATABASE postgres SET ducto.rejections = 'http'");
	is(mode(), 'http', 'ALTER DATABASE');
	set("ALTER ROLE app IN DATABASE postgres SET ducto.rejections = 'raise'");
	is(mode(user => 'app'), 'raise', '... a role in a database wins');
	set('ALTER ROLE app IN DATABASE postgres RESET ducto.rejections');
	set('ALTER DATABASE postgres RESET ducto.rejections');

	$node->append_conf('postgresql.conf', "include_if_exists = 'ducto.conf'");
	$node->append_conf('ducto.conf', "ducto.rejections = 'raise'");
	$node->reload;
	ok($node->poll_query_until('postgres', "SELECT current_setting('ducto.rejections', true) = 'raise'"), 'postgresql.conf is read');
	is(mode(), 'raise', 'postgresql.conf');
	is(mode(env => { PGOPTIONS => '-c ducto.rejections=return' }), 'return insufficient_credits', '... PGOPTIONS win');
	unlink($node->data_dir . '/ducto.conf') or die "cannot remove the file: $!";
	$node->reload;
	ok($node->poll_query_until('postgres', "SELECT coalesce(current_setting('ducto.rejections', true), '') IN ('', 'return')"), '... is taken back');

	is(mode(), 'return insufficient_credits', '... for the sessions to come');

	is($node->safe_psql('postgres', "SET ducto.rejections = 'raise'; SELECT error IS NULL FROM ducto_charge($bob, 0); SELECT current_setting('ducto.rejections')"),
		"t\nraise", 'set before the library is loaded');
};

subtest 'raise' => sub {
	my $session = Session->new($node);
	my ($hold, $debit, $purchase, $other);

	$session->run("SET ducto.rejections = 'raise'");
	$session->run("CREATE TABLE orders (id integer); BEGIN; INSERT INTO orders VALUES (1); SELECT ducto_charge($alice, 10); SELECT ducto_charge($alice, 1000.12345)");
	is($session->sqlstate, 'UC001', 'the SQLSTATE is that of the rejection');
	is($session->error->{message}, 'insufficient_credits', '... the message its code');
	is_deeply([ $node->safe_psql('postgres', 'SELECT r.amount, r.balance_after, r.transaction_id IS NULL, r.error, r.idempotent'
				  . " FROM json_populate_record(NULL::ducto_deduction_result, '$session->{error}{detail}') AS r") ],
		['1000.1235|90.0000|t|insufficient_credits|f'], '... the row is in the detail');
	$session->run('SELECT 1');
	is($session->sqlstate, '25P02', 'the transaction around it is aborted');
	$session->run('COMMIT');
	is($session->value("SELECT balance FROM ducto_get_balance($alice)"), '100.0000', '... with the charge in it');
	is($session->value('SELECT count(*) FROM orders'), 0, '... and with all that the application wrote');

	$session->run("BEGIN; SELECT ducto_charge($alice, 10); SAVEPOINT s; SELECT ducto_charge($alice, 1000)");
	is($session->sqlstate, 'UC001', 'behind a savepoint');
	$session->run('ROLLBACK TO s; COMMIT');
	is($session->value("SELECT balance FROM ducto_get_balance($alice)"), '90.0000', '... what was before it stays');
	is($session->value("DO \$\$ BEGIN PERFORM ducto_charge($alice, 1000); EXCEPTION WHEN SQLSTATE 'UC001' THEN PERFORM ducto_charge($alice, 1); END \$\$;"
			  . " SELECT balance FROM ducto_get_balance($alice)"),
		'89.0000', 'a function may catch it and go on');

	$debit    = $session->value("SELECT transaction_id FROM ducto_charge($alice, 2, 'debit')");
	$purchase = $session->value("SELECT transaction_id FROM ducto_add_credits($alice, 2, 'purchase')");
	$hold     = $session->value("SELECT reservation_id FROM ducto_reserve($alice, 2, 'once')");
	$session->run("SELECT ducto_deduct($alice, '$hold', 1)");
	$other = $session->value("SELECT reservation_id FROM ducto_reserve($alice, 1, 'once', ttl_seconds => 1)");
	$session->run('SELECT pg_sleep(1.1)');
	foreach my $case (
		[ "ducto_add_credits($bob, -1)",                             'UC001', 'insufficient_credits' ],
		[ "ducto_reserve($bob, 1)",                                  'UC001', 'insufficient_credits' ],
		[ "ducto_deduct($alice, reservation_id, 1000) FROM ducto_reserve($alice, 1)", 'UC001', 'insufficient_credits' ],
		[ "ducto_deduct($alice, $none, 1)",                          'UC005', 'reservation_not_found' ],
		[ "ducto_renew($alice, $none)",                              'UC005', 'reservation_not_found' ],
		[ "ducto_deduct($alice, '$other', 1, allow_late => false)", 'UC006', 'reservation_expired' ],
		[ "ducto_deduct($alice, '$hold', 1)",                        'UC007', 'reservation_closed' ],
		[ "ducto_renew($alice, '$hold')",                            'UC007', 'reservation_closed' ],
		[ "ducto_refund($none)",                                     'UC008', 'transaction_not_found' ],
		[ "ducto_refund('$purchase')",                               'UC009', 'not_refundable' ],
		[ "ducto_refund('$debit', 3)",                               'UC011', 'over_refund' ],
		[ "ducto_add_credits($alice, 1, idempotency_key => 'debit')", 'UC018', 'idempotency_conflict' ],
		[ "ducto_charge($alice, 1, 'debit')",                        '00000', undef ],
		[ "ducto_release($alice, '$hold')",                          '00000', undef ],
		[ "ducto_can_afford($bob, 1)",                               '00000', undef ],
		[ "ducto_refund('$debit')",                                  '00000', undef ],
		[ "ducto_refund('$debit')",                                  'UC010', 'already_refunded' ],
		[ "ducto_reserve($alice, 1, 'twice', max_concurrent => 1)", '00000', undef ],
		[ "ducto_reserve($alice, 1, 'twice', max_concurrent => 1)", 'UC003', 'concurrency_limit' ])
	{
		my ($call, $sqlstate, $code) = @$case;

		$session->run("SELECT $call");
		is($session->sqlstate . ' ' . ($session->error ? $session->error->{message} : ''),
			$sqlstate . ' ' . ($code // ''), "$call: " . ($code // 'no rejection'));
	}
	is($session->value('SELECT count(*) FROM ducto_verify()'), 0, 'nothing to find for the auditor');
	$session->quit;
};

subtest 'http' => sub {
	my $session = Session->new($node);
	my $status  = "SELECT coalesce(nullif(current_setting('response.status', true), ''), 'none')";

	$session->run("SET ducto.rejections = 'http'");
	$session->run('BEGIN');
	is($session->value("SELECT error FROM ducto_charge($alice, 1)"), undef, 'a success');
	is($session->value($status), 'none', '... sets no status');
	is($session->value("SELECT error FROM ducto_charge($alice, 1000)"), 'insufficient_credits', 'a rejection is returned');
	is($session->value($status), '402', '... and its status is there for PostgREST, within the transaction');
	is($session->value("SELECT error FROM ducto_deduct($alice, $none, 1)"), 'reservation_not_found', 'another one');
	is($session->value($status), '404', '... sets its own');
	$session->run('COMMIT');
	is($session->value($status), 'none', '... and it is gone after the transaction');
	is($session->value("SELECT error FROM ducto_charge($alice, 1000)"), 'insufficient_credits', 'a statement alone');
	is($session->value($status), 'none', '... leaves nothing behind');
	$session->run("BEGIN; SELECT ducto_charge($alice, 1000); ROLLBACK");
	is($session->value($status), 'none', '... nor does a transaction rolled back');
	$session->run("BEGIN; SET LOCAL response.status = '201'; SAVEPOINT s; SELECT ducto_charge($alice, 1000)");
	is($session->value($status), '402', 'what the application said is overridden');
	$session->run('ROLLBACK TO s');
	is($session->value($status), '201', '... and is there again when the call is rolled back');
	$session->run('COMMIT');
	foreach my $case (
		[ "ducto_add_credits($bob, -1)",                             '402' ],
		[ "ducto_reserve($alice, 1, 'thrice', max_concurrent => 1)", '429' ],
		[ "ducto_renew($alice, $none)",                              '404' ],
		[ "ducto_refund($none)",                                     '404' ],
		[ "ducto_refund(id) FROM ducto.ledger WHERE account_id = $alice AND seq = 1", '409' ],
		[ "ducto_add_credits($alice, 1, idempotency_key => 'debit')", '409' ],
		[ "ducto_deduct($alice, id, 1, allow_late => false) FROM ducto.reservations WHERE state = 'expired'", '410' ])
	{
		my ($call, $expected) = @$case;

		$session->run("SELECT ducto_reserve($alice, 1, 'thrice')") if $call =~ /thrice/;
		$session->run("BEGIN; SELECT $call");
		is($session->sqlstate, '00000', "$call does not fail");
		is($session->value($status), $expected, "... its status is $expected");
		$session->run('COMMIT');
	}
	$session->quit;
};

subtest 'the mode may change at any time' => sub {
	my $session = Session->new($node);

	is($session->value("SELECT error FROM ducto_charge($bob, 1)"), 'insufficient_credits', 'return');
	$session->run("BEGIN; SET LOCAL ducto.rejections = 'raise'; SELECT ducto_charge($bob, 1)");
	is($session->sqlstate, 'UC001', 'raise in a transaction');
	$session->run('ROLLBACK');
	is($session->value("SELECT error FROM ducto_charge($bob, 1)"), 'insufficient_credits', 'return after it');
	$session->run("SET ducto.rejections = 'raise'; SELECT ducto_charge($bob, 1)");
	is($session->sqlstate, 'UC001', 'raise in the session');
	$session->run("CREATE FUNCTION quiet() RETURNS text LANGUAGE sql SET ducto.rejections = 'return'"
		  . " AS \$\$ SELECT error FROM ducto_charge($bob, 1) \$\$");
	is($session->value('SELECT quiet()'), 'insufficient_credits', 'return within a function that says so');
	$session->run("SELECT ducto_charge($bob, 1)");
	is($session->sqlstate, 'UC001', 'raise after it');
	$session->quit;
};

subtest 'values' => sub {
	my $session = Session->new($node);

	$session->run("SELECT ducto_get_balance($alice)");
	foreach my $value ("'throw'", "''", '7')
	{
		$session->run("SET ducto.rejections = $value");
		is($session->sqlstate, '22023', "ducto.rejections = $value");
		like($session->error->{hint} // '', qr/return, raise, http/, '... with the values that there are');
	}
	$session->run("SET ducto.rejections = 'RAISE'; SELECT ducto_charge($bob, 1)");
	is($session->sqlstate, 'UC001', 'case does not matter');
	$session->run('RESET ducto.rejections');
	foreach my $case ([ "'10min'", 600 ], [ "'1.5 h'", 5400 ], [ '45', 45 ], [ "'90 s'", 90 ], [ "'30d'", 2592000 ], [ 'DEFAULT', 600 ])
	{
		my ($value, $seconds) = @$case;

		$session->run("SET ducto.reservation_ttl = $value");
		is($session->sqlstate, '00000', "ducto.reservation_ttl = $value");
		$session->run("BEGIN; SELECT reservation_id AS id FROM ducto_reserve($alice, 0.1, 'ttl') \\gset");
		is($session->value("SELECT extract(epoch FROM expires_at - created_at)::integer FROM ducto.reservations WHERE id = :'id'"),
			$seconds, "... holds for $seconds s");
		$session->run("SELECT reservation_id FROM ducto_renew($alice, :'id')");
		is($session->value("SELECT abs(extract(epoch FROM expires_at - clock_timestamp()) - $seconds) < 5 FROM ducto.reservations WHERE id = :'id'"),
			't', '... from a renewal too');
		$session->run("SELECT reservation_id AS id FROM ducto_reserve($alice, 0.1, 'ttl', ttl_seconds => 7) \\gset");
		is($session->value("SELECT extract(epoch FROM expires_at - created_at)::integer FROM ducto.reservations WHERE id = :'id'"),
			7, '... an argument wins');
		$session->run('ROLLBACK');
	}
	foreach my $value ("'0'", "'-1'", "'31d'", "'10 parsecs'", "'soon'")
	{
		$session->run("SET ducto.reservation_ttl = $value");
		is($session->sqlstate, '22023', "ducto.reservation_ttl = $value");
	}
	$session->quit;

	$session = Session->new($node);
	$session->run("SET ducto.rejections = 'throw'; SELECT ducto_get_balance($alice)");
	is($session->sqlstate, '00000', 'a bad value set before the library is loaded does no harm');
	is($session->value("SELECT current_setting('ducto.rejections')"), 'return', '... it counts as the default');
	$session->quit;
};

subtest 'the prefix is reserved' => sub {
	my $session = Session->new($node);

	$session->run("SELECT ducto_get_balance($alice)");
	$session->run("SET ducto.rejection = 'raise'");
	SKIP:
	{
		skip 'this PostgreSQL reserves no prefixes', 1 if $node->safe_psql('postgres', 'SHOW server_version_num') < 150000;
		isnt($session->sqlstate, '00000', 'a misspelt setting is refused');
	}
	$session->quit;

	$session = Session->new($node);
	$session->run("SET ducto.rejection = 'raise'; SELECT ducto_get_balance($alice)");
	like(join("\n", @{ $session->{messages} || [] }), qr/ducto\.rejection/, '... or warned of when the library is loaded');
	$session->quit;
};

subtest 'a session that a pooler lends to one client after the other' => sub {
	my @sessions = map { Session->new($node) } 1, 2;

	foreach my $turn (1 .. 3)
	{
		foreach my $session (@sessions)
		{
			$session->run("SET ducto.rejections = 'raise'; SET ducto.reservation_ttl = '1h'; SELECT ducto_charge($bob, 1)");
			is($session->sqlstate, 'UC001', "turn $turn: the first client wants exceptions");
			$session->run('DISCARD ALL');
			is($session->value("SELECT error FROM ducto_charge($bob, 1)"), 'insufficient_credits', '... the next one gets rows');
			is($session->value('SHOW ducto.reservation_ttl'), '10min', '... and the usual time');
			is($session->value("SELECT error FROM ducto_charge($alice, 0.5, 'turn $turn of $session->{pid}')"), undef, '... and everything works');
			is($session->value("SELECT idempotent FROM ducto_charge($alice, 0.5, 'turn $turn of $session->{pid}')"), 't', '... as ever');
		}
	}
	is($sessions[0]->value('SELECT count(*) FROM ducto_verify()'), 0, 'nothing to find for the auditor');
	$_->quit foreach @sessions;
};

subtest 'a transaction pooler: transactions of two clients by turns in one session' => sub {
	my $session = Session->new($node);

	foreach my $turn (1 .. 3)
	{
		$session->run("BEGIN; SET LOCAL ducto.rejections = 'http'; SELECT ducto_charge($bob, 1)");
		is($session->value("SELECT current_setting('response.status')"), '402', "turn $turn: one wants a status");
		$session->run('COMMIT');
		$session->run("BEGIN; SELECT ducto_charge($bob, 1)");
		is($session->value("SELECT current_setting('response.status', true)") // '', '', '... the other does not');
		$session->run('COMMIT');
	}
	$session->quit;
};

$node->stop;
done_testing();
