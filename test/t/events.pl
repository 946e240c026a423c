
# Events, from outside. Who listens is told once per transaction that wrote any,
# and of nothing that was rolled back; a transaction that is prepared can be,
# and its events are there once it is committed. Sixteen workers take side by
# side: each event goes to one of them for the time of a lease, and what one that
# died has left comes again. Clients charge and add at once: the events of each
# account are those that its ledger says, in its order.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant WORKERS => 16;
use constant USERS   => 4;

my $ada  = "'00000000-0000-4000-8000-00000000000a'";
my $node = PostgreSQL::Test::Cluster->new('events');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nmax_prepared_transactions = 5");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION ducto;
	CREATE FUNCTION who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
		RETURN ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid;
});

# Return how many notifications a session gets that makes some statements.
sub told
{
	my ($statements) = @_;
	my $out = $node->safe_psql('postgres', "LISTEN ducto_events; $statements; SELECT 1");
	return scalar(() = $out =~ /Asynchronous notification "ducto_events" received/g);
}

$node->safe_psql('postgres', "SELECT ducto_set_alerts($ada, '{100, 50}'), ducto_add_credits($ada, 150)");
is(told("SELECT ducto_charge($ada, 10)"), 0, 'what crosses nothing tells nobody');
is(told("BEGIN; SELECT ducto_charge($ada, 60); SELECT ducto_charge($ada, 60); COMMIT"), 1, 'once per transaction');
is(told("BEGIN; SELECT ducto_add_credits($ada, 100); ROLLBACK"), 0, 'not of what was rolled back');
is(told("BEGIN; SAVEPOINT a; SELECT ducto_add_credits($ada, 100); ROLLBACK TO a; SELECT ducto_get_balance($ada); COMMIT"),
	0, 'nor of what a savepoint took back');
is(told("BEGIN; SAVEPOINT a; SAVEPOINT b; SELECT ducto_add_credits($ada, 100); RELEASE b; SAVEPOINT c;
	SELECT ducto_charge($ada, 20); SELECT ducto_set_user_plan($ada, NULL); ROLLBACK TO c; RELEASE a; COMMIT"), 1, 'of what a savepoint kept');

$node->safe_psql('postgres', "BEGIN; SELECT ducto_charge($ada, 100); PREPARE TRANSACTION 'p'");
my $waiting = "SELECT count(*) FROM ducto.events WHERE acked_at IS NULL AND attempt = 0";
my $before = $node->safe_psql('postgres', $waiting);
$node->safe_psql('postgres', "COMMIT PREPARED 'p'");
is($node->safe_psql('postgres', $waiting) - $before, 2, 'a transaction with events can be prepared');
$node->safe_psql('postgres', 'SELECT ducto_ack_events(array_agg(id)) FROM ducto.events');

# The workers. Each takes until nothing is left, notes what it got, and acknowledges all but what it dies with.
$node->safe_psql('postgres', q{
	SELECT ducto_set_alerts(who(1000 + n), '{10}'), ducto_add_credits(who(1000 + n), 20) FROM generate_series(1, 600) n;
	SELECT ducto_charge(who(1000 + n), 15) FROM generate_series(1, 600) n;
	CREATE TABLE taken (worker integer, id uuid, attempt integer);
	CREATE PROCEDURE work(worker integer) LANGUAGE plpgsql AS $$
	DECLARE
		got uuid[];
	BEGIN
		LOOP
			WITH t AS (INSERT INTO taken SELECT worker, id, attempt FROM ducto_take_events(7, 5) RETURNING id) SELECT array_agg(id) INTO got FROM t;
			COMMIT;
			EXIT WHEN got IS NULL;
			IF worker > 2 THEN
				PERFORM ducto_ack_events(got);
				COMMIT;
			END IF;
		END LOOP;
	END $$;
});
my @workers = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "CALL work($_)" ], '<', \undef) } 1 .. WORKERS;
is((grep { $_->finish } @workers), WORKERS, 'the workers are done');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id) FROM taken WHERE attempt = 1'), '600|600', 'each event was taken once per lease');
my $left = $node->safe_psql('postgres', 'SELECT count(*) FROM ducto.events WHERE acked_at IS NULL');
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM ducto.events WHERE acked_at IS NULL AND visible_at > ducto.clock()');
$node->safe_psql('postgres', 'CALL work(3)');
is($node->safe_psql('postgres', "SELECT count(DISTINCT id), min(attempt) FROM taken WHERE attempt > 1"), $left > 0 ? "$left|2" : '0|', 'what the dead have left comes again');
is($node->safe_psql('postgres', 'SELECT count(*) FROM ducto.events WHERE acked_at IS NULL'), 0, 'and is done');

# The hammer, and the crossings that the ledger shows.
$node->safe_psql('postgres', 'SELECT ducto_set_alerts(who(n), ARRAY[90, 60, 30, -20]), ducto_add_credits(who(n), 100) FROM generate_series(1, ' . USERS . ') n');
my $script = $node->basedir . '/hammer.sql';
append_to_file($script, q{
\set n random(1, 4)
\set amount random(1, 60)
\set way random(1, 8)
BEGIN;
SAVEPOINT a;
SELECT ducto_charge(who(:n), :amount);
\if :way = 1
ROLLBACK TO a;
\endif
SELECT ducto_charge(who(:n), 1, overrun => CASE :way WHEN 2 THEN 'full' END);
SELECT ducto_add_credits(who(:n), CASE WHEN :way < 5 THEN :amount ELSE 0 END);
\if :way = 8
ROLLBACK;
\else
COMMIT;
\endif
} =~ s/\\if :way = (\d)/\\set undone :way = $1\n\\if :undone/gr);
$node->command_ok([ 'pgbench', '-n', '-c', '6', '-t', '80', '-f', $script, '-d', $node->connstr('postgres') ], 'clients charge and add at once');
my $crossings = q{
	SELECT l.account_id, l.seq, c.line, c.kind FROM (SELECT account_id, seq, balance_after - amount AS before, balance_after AS after FROM ducto.ledger) l,
	LATERAL (SELECT line, 'balance_low' AS kind FROM unnest(ARRAY[90, 60, 30, -20]::numeric[]) line WHERE before >= line AND after < line
		UNION ALL SELECT 0, 'balance_exhausted' WHERE before > 0 AND after <= 0) c
};
my $accounts = 'SELECT who(n) FROM generate_series(1, ' . USERS . ') n';
is($node->safe_psql('postgres', qq{
	SELECT count(*) FILTER (WHERE said IS DISTINCT FROM told), count(*), count(*) > 50 FROM
	(SELECT account_id, kind, line, row_number() OVER (PARTITION BY account_id ORDER BY seq, line DESC) AS n, (kind, line::numeric(20, 4)) AS said FROM ($crossings) c
		WHERE account_id IN ($accounts)) c
	FULL JOIN
	(SELECT account_id, row_number() OVER (PARTITION BY account_id ORDER BY number) AS n, (kind, (payload ->> 'line')::numeric(20, 4)) AS told FROM ducto.events
		WHERE kind IN ('balance_low', 'balance_exhausted') AND account_id IN ($accounts)) e USING (account_id, n)
}) =~ s/^0\|\d+\|t$/all/r, 'all', 'the events are the crossings of the ledger');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT number - lag(number, 1, 0::bigint) OVER (PARTITION BY account_id ORDER BY number) AS step FROM ducto.events) e WHERE step <> 1'),
	0, 'their numbers have no gaps');
is($node->safe_psql('postgres', 'SELECT * FROM ducto_verify()'), '', 'the books are sound');

$node->stop;
done_testing();
