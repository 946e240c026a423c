-- The outbox where there is much of it: a large team, a month that nobody has read, thousands who cross a line at once. What is
-- read is counted. The clock is moved here, so that the story has a database of its own.
\pset null -
\set own regress_ducto_outbox
\i test/sql/include/own_database.sql
SET client_min_messages = warning;
\set ann '\'e7e20000-0000-4000-8000-00000000000a\''
\set bob '\'e7e20000-0000-4000-8000-00000000000b\''
CREATE FUNCTION who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	RETURN ('e7e30000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid;
CREATE VIEW told AS SELECT account_id, number, kind, payload - 'seq' - 'idempotency_key' AS payload FROM ducto.events
	ORDER BY account_id, number;
CREATE FUNCTION rows_read(of_table name) RETURNS bigint LANGUAGE sql VOLATILE
	RETURN (SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE schemaname = 'ducto' AND relname = of_table);

-- Of a large team the first hundred are named: owners, admins, then who joined first. No others are read.
SELECT team_id AS id FROM ducto_create_team('Large', 120) \gset large_
SELECT FROM ducto_add_team_member(:'large_id', :ann);
INSERT INTO ducto.team_members (team_id, user_id, role, month, joined_at)
	SELECT :'large_id', who(n), CASE n WHEN 2999 THEN 'admin' WHEN 3000 THEN 'owner' ELSE 'member' END, '2026-01-01',
		ducto.clock() + n * interval '1 second' FROM generate_series(1, 3000) n;
ANALYZE ducto.team_members;
SELECT balance FROM ducto_set_alerts(:'large_id', '{100, 90}');
BEGIN;
SELECT rows_read('team_members') AS before \gset
SELECT team_balance_after FROM ducto_deduct_team(:'large_id', :ann, 40);
SELECT rows_read('team_members') - :before BETWEEN 100 AND 110 AS few_read;
COMMIT;
SELECT payload ->> 'line' AS line, jsonb_array_length(payload -> 'members') AS named, payload #>> '{members,0}' AS first,
	payload #>> '{members,1}' AS second, payload #>> '{members,2}' AS third, payload #>> '{members,99}' AS last
FROM ducto.events WHERE account_id = :'large_id';

-- Lines that are changed while one is told of: a line that the balance is below still is told of when it is reached again, and not
-- told of anew meanwhile; where none is left that it is below, there is nothing to recover from.
SELECT new_balance FROM ducto_add_credits(:bob, 150);
SELECT balance FROM ducto_set_alerts(:bob, '{100, 50}');
SELECT balance_after FROM ducto_charge(:bob, 110);
SELECT balance FROM ducto_set_alerts(:bob, '{60, 45}');
SELECT balance_after FROM ducto_charge(:bob, 1);
SELECT new_balance FROM ducto_add_credits(:bob, 31);
SELECT balance_after FROM ducto_charge(:bob, 30);
SELECT balance FROM ducto_set_alerts(:bob, '{30}');
SELECT balance FROM ducto_set_alerts(:bob, '{60}');
SELECT new_balance FROM ducto_add_credits(:bob, 40);
SELECT balance_after FROM ducto_charge(:bob, 30);
SELECT number, kind, payload FROM told WHERE account_id = :bob;

-- A top-up that is due while its figure is changed is another one then, under another key, and the event of the first is taken
-- back. So it is where there is to be none any more, though somebody has leased it. An event that was acknowledged stays as it is.
SELECT topup_below FROM ducto_set_auto_topup(:bob, 60, 10);
SELECT payload ->> 'idempotency_key' AS old FROM ducto.events WHERE account_id = :bob ORDER BY number DESC LIMIT 1 \gset
SELECT topup_below FROM ducto_set_auto_topup(:bob, 70, 20);
SELECT new_balance FROM ducto_add_credits(:bob, 1, 'purchase', idempotency_key => :'old');
SELECT number, t.payload, acked_at IS NOT NULL AS acked FROM told t JOIN ducto.events e USING (account_id, number, kind)
	WHERE account_id = :bob AND kind = 'topup_due';
SELECT count(*) FROM ducto_take_events(kinds => '{topup_due}');
SELECT topup_below FROM ducto_set_auto_topup(:bob, 70, 0);
SELECT ducto_advance_clock('1 hour') > now() AS moved;
SELECT count(*) FROM ducto_take_events(kinds => '{topup_due}');
SELECT topup_below FROM ducto_set_auto_topup(:bob, 70, 20);
SELECT ducto_ack_events(array_agg(id)) AS acked FROM ducto_take_events(kinds => '{topup_due}');
SELECT acked_at AS acked FROM ducto.events WHERE account_id = :bob ORDER BY number DESC LIMIT 1 \gset
SELECT ducto_advance_clock('1 second') > now() AS moved;
SELECT topup_below FROM ducto_set_auto_topup(:bob, 70, 0);
SELECT acked_at = :'acked' AS as_it_was, count(*) OVER () FROM ducto.events WHERE account_id = :bob AND kind = 'topup_due'
	ORDER BY number DESC LIMIT 1;

-- Thousands cross at once: credit of all of them expires, and the sweep tells of each, once.
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "alerts": {"balance": [5]}}');
SELECT count(*) FROM generate_series(1, 3000) n, ducto_add_credits(who(n), 10, 'promo', expires_at => ducto.clock() + interval '1 day');
SELECT ducto_advance_clock('2 days') > now() AS moved;
SELECT expired_count FROM ducto_sweep_expired();
SELECT kind, payload, count(*), count(DISTINCT account_id) AS accounts FROM told
	WHERE account_id BETWEEN who(1) AND who(3000) GROUP BY kind, payload ORDER BY kind;
SELECT expired_count FROM ducto_sweep_expired();
SELECT count(*) FROM ducto.events WHERE account_id BETWEEN who(1) AND who(3000);

-- Nobody has read the outbox, for a month. Who charges reads nothing of it, and who takes reads no more of it than is taken: of all
-- kinds, and of one that comes last.
ANALYZE ducto.events;
SELECT ducto_advance_clock('1 month') > now() AS moved;
\c
SELECT topup_below FROM ducto_set_auto_topup(:ann, 10, 20);
BEGIN;
SELECT rows_read('events') AS before \gset
SELECT new_balance FROM ducto.alerts a, ducto_add_credits(:ann, 20, 'purchase', idempotency_key => a.topup_due_key) WHERE a.account_id = :ann;
SELECT balance_after FROM ducto_charge(:ann, 11);
SELECT rows_read('events') - :before AS read;
COMMIT;
BEGIN;
SELECT rows_read('events') AS before \gset
SELECT count(*) FROM ducto_take_events(50);
SELECT rows_read('events') - :before <= 110 AS few_read;
COMMIT;
BEGIN;
SELECT rows_read('events') AS before \gset
SELECT kind, count(*), count(DISTINCT id) AS events, min(attempt) AS attempt FROM ducto_take_events(50, kinds => '{topup_due, topup_due, plan_changed}')
	GROUP BY kind;
SELECT rows_read('events') - :before <= 20 AS few_read;
COMMIT;
BEGIN;
SELECT rows_read('events') AS before \gset
SELECT count(*), count(DISTINCT kind) AS kinds FROM ducto_take_events(50, kinds => '{balance_low, balance_exhausted}');
SELECT rows_read('events') - :before <= 210 AS few_read;
COMMIT;

-- Who charges reads the lines of the pricing once in a session, of whatever isolation its transactions are, and again when they
-- were published. Those that were published and rolled back are nobody's.
CREATE FUNCTION lines_read() RETURNS bigint LANGUAGE sql VOLATILE
	RETURN (SELECT coalesce(sum(seq_scan + idx_scan), 0) FROM pg_stat_xact_user_tables WHERE schemaname = 'ducto' AND relname = 'pricing');
SELECT new_balance FROM ducto_add_credits(:ann, 100);
\c
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT lines_read() AS before \gset
SELECT balance_after FROM ducto_charge(:ann, 1);
SELECT lines_read() - :before AS read;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT lines_read() AS before \gset
SELECT balance_after FROM ducto_charge(:ann, 1);
SELECT lines_read() - :before AS read;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "alerts": {"balance": [100]}}');
SELECT lines_read() AS before \gset
SELECT balance_after FROM ducto_charge(:ann, 1);
SELECT lines_read() - :before AS read;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT lines_read() AS before \gset
SELECT balance_after FROM ducto_charge(:ann, 1);
SELECT lines_read() - :before AS read;
COMMIT;
SELECT kind, payload FROM told WHERE account_id = :ann AND payload ->> 'line' = '100.0000';

SELECT * FROM found();
\c :main
SET client_min_messages = warning;
DROP DATABASE :own;
