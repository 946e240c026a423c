-- Batches, settled lines and reads across the turns of cycles: what they find and book is what single calls do on an account
-- that is the same. Each account is there twice, and a batch is made on one of the two. A database of its own has a test clock.
\pset null -
\set SHOW_CONTEXT never
\set own regress_ducto_turn
\i test/sql/include/own_database.sql
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';

CREATE FUNCTION clock_to(at timestamptz) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT date_trunc('minute', c) FROM ducto_advance_clock(at - ducto.clock()) c
$$;
-- The number of an account of one of the two kinds: those of batches, and those of single calls.
CREATE FUNCTION who(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT (CASE kind WHEN 'batch' THEN 'ba' ELSE '51' END || '000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
$$;
CREATE VIEW twins AS SELECT kind, n, who(kind, n) AS id FROM generate_series(1, 12) n, unnest(ARRAY['batch', 'single']) kind;

-- All that is kept of the accounts, but for ids and for the times of calls: those that come of one are told by the hour.
CREATE FUNCTION hour(at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT date_trunc('hour', at) $$;
CREATE VIEW kept AS
SELECT kind, n, 'entry ' || lpad(seq::text, 3, '0') AS what, jsonb_build_object('type', type, 'amount', amount, 'after', balance_after, 'allowance', allowance_consumed,
	'shortfall', shortfall, 'warning', cap_warning, 'model', model, 'key', idempotency_key, 'expires', hour(expires_at), 'priority', priority, 'burned', burned_amounts,
	'cycle', cycle_end, 'metadata', metadata, 'at', CASE WHEN type = 'expiry' OR cycle_end IS NOT NULL THEN hour(effective_at) END) AS value
FROM twins t JOIN ducto.ledger l ON l.account_id = t.id
UNION ALL
SELECT kind, n, 'grant ' || row_number() OVER (PARTITION BY t.id ORDER BY g.seq, g.expires_at, g.amount), jsonb_build_object('amount', amount, 'left', remaining, 'priority', priority,
	'expires', hour(expires_at), 'live', live, 'rolls', hour(rolls_to), 'most', rollover, 'type', type)
FROM twins t JOIN ducto.grants g ON g.account_id = t.id
UNION ALL
SELECT t.kind, n, 'account', jsonb_build_object('balance', balance, 'held', held, 'expiring', expiring, 'used', allowance_used, 'from', cycle_start, 'until', cycle_end,
	'due', CASE WHEN held = 0 THEN hour(next_boundary) END, 'plan', plan_id, 'seq', last_seq)
FROM twins t JOIN ducto.accounts a ON a.id = t.id;
CREATE FUNCTION differ() RETURNS TABLE (n bigint, what text, batch jsonb, single jsonb) LANGUAGE sql AS $$
	SELECT coalesce(b.n, s.n), coalesce(b.what, s.what), b.value, s.value
	FROM (SELECT * FROM kept WHERE kind = 'batch') b FULL JOIN (SELECT * FROM kept WHERE kind = 'single') s USING (n, what)
	WHERE b.value IS DISTINCT FROM s.value ORDER BY 1, 2
$$;
-- All that is read of them.
CREATE VIEW shown AS
SELECT kind, n, b.balance, b.available, hour(b.next_expiry) AS next_expiry, c.allowance_used, c.period_start, c.resets_at, f.affordable, f.reason, a.balance_at,
	(SELECT jsonb_agg(jsonb_build_array(g.type, g.amount, g.remaining, g.priority, hour(g.expires_at)) ORDER BY g.o) FROM ducto_list_grants(t.id) WITH ORDINALITY g (i, type, amount, remaining, priority, expires_at, created_at, o)) AS grants
FROM twins t, ducto_get_balance(t.id) b, ducto_check_allowance(t.id) c, ducto_can_afford(t.id, 55) f, ducto_balance_at(t.id, ducto.clock()) a (balance_at);

-- Plans of each cycle, with credit that goes, that lives on, that lasts for days and for ever; anchors at the end of a month, in
-- a night that has no such time, and none; with caps, debts and holds.
SELECT clock_to('2090-03-25 12:00Z');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {
	"day": {"name": "Day", "cycle": "day", "free_allowance": 3, "grants": [{"amount": 20, "rollover": {"max": 15, "cycles": 2}}, {"amount": 2, "type": "promo", "priority": 90}]},
	"week": {"name": "Week", "cycle": "week", "grants": [{"amount": 70}], "caps": [{"cap_type": "daily", "cap_limit": 60}, {"cap_type": "weekly", "cap_limit": 90, "action": "warn"}]},
	"month": {"name": "Month", "free_allowance": 25, "grants": [{"amount": 100, "priority": 20, "rollover": {"max": 40, "cycles": 1}}, {"amount": 5, "type": "promo", "expires": "never"}]},
	"year": {"name": "Year", "cycle": "year", "grants": [{"amount": 500, "expires": "90 days"}]},
	"debt": {"name": "Debt", "default_billing_mode": "overdraft", "overdraft_floor": -80, "grants": [{"amount": 30}]}}}');
SELECT kind, count(*), count(error) AS errors FROM twins t
JOIN (VALUES (1, 'day', NULL, NULL), (2, 'day', '2090-03-25 02:30+1', 'Europe/Berlin'), (3, 'week', NULL, NULL), (4, 'week', '2090-03-22 21:00Z', 'America/New_York'),
	(5, 'month', NULL, NULL), (6, 'month', '2090-01-31 09:00Z', 'Asia/Kathmandu'), (7, 'month', '2090-02-28 03:59Z', NULL), (8, 'year', '2088-02-29 12:00Z', NULL),
	(9, 'debt', NULL, NULL), (10, 'debt', '2090-03-24 12:30Z', 'Australia/Lord_Howe'), (11, NULL, NULL, NULL), (12, 'month', NULL, NULL)) p (n, plan, anchor, zone) USING (n),
	LATERAL ducto_set_user_plan(t.id, p.plan, p.anchor::timestamptz, p.zone) GROUP BY kind ORDER BY kind;
SELECT kind, count(new_balance) FROM twins t, LATERAL ducto_add_credits(t.id, 10 * n, 'purchase') GROUP BY kind ORDER BY kind;
SELECT kind, count(new_balance) FROM twins t, LATERAL ducto_add_credits(t.id, 7, 'promo', expires_at => '2090-04-01Z') WHERE n > 4 GROUP BY kind ORDER BY kind;
SELECT kind, count(*), sum(amount) FROM twins t, LATERAL ducto_charge(t.id, 45, overrun => 'full') WHERE n IN (3, 9, 10) GROUP BY kind ORDER BY kind;
SELECT kind, count(*), count(error) AS errors FROM twins t, LATERAL ducto_reserve(t.id, 25, idempotency_key => 'hold', ttl_seconds => 2592000) WHERE n IN (2, 5, 7, 12) GROUP BY kind ORDER BY kind;
SELECT * FROM differ();

-- One array of charges, the accounts mixed, with keys, models, and what rejects; or one by one, in the order of the accounts.
CREATE FUNCTION charges(round int, kind text) RETURNS TABLE (i int, n bigint, charge jsonb) LANGUAGE sql STABLE AS $$
	SELECT i, n, jsonb_strip_nulls(jsonb_build_object('user_id', who(kind, n), 'amount', ((i * 7919 + round * 104729) % 3500) / 100.0 + 0.0001,
		'idempotency_key', CASE WHEN i % 5 = 0 THEN format('%s-%s', round, i / 10) END, 'model', CASE WHEN i % 3 = 0 THEN 'big' END,
		'overrun', CASE i % 7 WHEN 0 THEN 'clamp' WHEN 3 THEN 'full' END, 'skip_allowance', CASE WHEN i % 11 = 0 THEN true END))
	FROM (SELECT i, 1 + (i * 31 + round * 7) % 12 AS n FROM generate_series(1, 40) i) e
$$;
CREATE TABLE answers (round int, kind text, i int, answer jsonb);
CREATE FUNCTION one_by_one(round int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	e record;
BEGIN
	FOR e IN SELECT * FROM charges(round, 'single') ORDER BY n, i LOOP
		INSERT INTO answers SELECT round, 'single', e.i, to_jsonb(c) - 'transaction_id' - 'user_id'
		FROM ducto_charge(who('single', e.n), (e.charge ->> 'amount')::numeric, e.charge ->> 'idempotency_key', model => e.charge ->> 'model',
			overrun => e.charge ->> 'overrun', skip_allowance => (e.charge ->> 'skip_allowance')::boolean) c;
	END LOOP;
	RETURN (SELECT count(*) FROM answers a WHERE a.round = one_by_one.round);
END $$;
CREATE FUNCTION at_once(round int) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO answers SELECT round, 'batch', c.position, to_jsonb(c) - 'transaction_id' - 'user_id' - 'team_id' - 'position'
	FROM ducto_charge_many((SELECT jsonb_agg(charge ORDER BY i) FROM charges(round, 'batch'))) c;
	SELECT count(*) FROM answers a WHERE a.round = at_once.round
$$;
-- Of each round: what was read before anything was booked, what both answered, what is read after. Nothing differs.
CREATE FUNCTION round_of_charges(round int, at timestamptz) RETURNS TABLE (day date, turned bigint, read bigint, booked bigint, rejected bigint, answered_otherwise bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM clock_to(at);
	day := at;
	SELECT count(*) INTO turned FROM twins JOIN ducto.accounts USING (id) WHERE next_boundary <= ducto.clock();
	SELECT count(*) INTO read FROM (SELECT * FROM shown WHERE kind = 'batch') b JOIN (SELECT * FROM shown WHERE kind = 'single') s USING (n)
	WHERE to_jsonb(b) - 'kind' = to_jsonb(s) - 'kind';
	PERFORM at_once(round), one_by_one(round);
	SELECT count(*), count(answer ->> 'error') INTO booked, rejected FROM answers a WHERE a.round = round_of_charges.round AND kind = 'batch';
	SELECT count(*) INTO answered_otherwise FROM (SELECT * FROM answers a WHERE kind = 'batch') b JOIN (SELECT * FROM answers a WHERE kind = 'single') s USING (round, i)
	WHERE b.round = round_of_charges.round AND b.answer <> s.answer;
	RETURN NEXT;
END $$;
SELECT * FROM round_of_charges(1, '2090-03-25 18:00Z');
-- The night of Berlin that has no half past two, a Monday, the end of March, with credit that ends with it, the 30th of April for a 31st, and two cycles that nobody saw.
SELECT * FROM round_of_charges(2, '2090-03-26 01:00:30Z');
SELECT * FROM round_of_charges(3, '2090-03-27 04:00Z');
SELECT * FROM round_of_charges(4, '2090-04-01 00:00Z');
SELECT * FROM differ();
SELECT * FROM round_of_charges(5, '2090-05-01 09:00Z');
SELECT * FROM round_of_charges(6, '2090-07-15 15:00Z');
SELECT * FROM round_of_charges(7, '2091-03-01 12:00Z');
SELECT * FROM differ();
SELECT kind, count(*) FILTER (WHERE l.cycle_end IS NOT NULL) > 60 AS gifts, count(*) FILTER (WHERE type = 'expiry') > 30 AS expiries, count(*) FILTER (WHERE type = 'usage') > 60 AS charges
FROM twins t JOIN ducto.ledger l ON l.account_id = t.id GROUP BY kind ORDER BY kind;
SELECT * FROM found();

-- Additions at a turn: an array, and one by one; a debt eats of what its cycle gives first.
SELECT clock_to('2091-04-01 13:00Z');
SELECT count(*), count(error) AS errors FROM ducto_add_credits_many((SELECT jsonb_agg(jsonb_build_object('user_id', who('batch', 1 + i % 12), 'amount', CASE WHEN i % 4 = 3 THEN -i ELSE i END,
	'type', CASE WHEN i % 2 = 0 THEN 'promo' ELSE 'adjustment' END, 'expires_at', CASE WHEN i % 6 = 0 THEN '2091-06-01Z' END) ORDER BY 1 + i % 12, i) FROM generate_series(1, 30) i));
SELECT count(*), count(c.error) AS errors FROM (SELECT * FROM generate_series(1, 30) i ORDER BY 1 + i % 12, i) e,
	LATERAL ducto_add_credits(who('single', 1 + i % 12), CASE WHEN i % 4 = 3 THEN -i ELSE i END, CASE WHEN i % 2 = 0 THEN 'promo' ELSE 'adjustment' END,
		expires_at => CASE WHEN i % 6 = 0 THEN '2091-06-01Z' END::timestamptz) c;
SELECT * FROM differ();

-- Lines that are settled across a turn: a hold of the cycle before pays them as it pays a deduct of their sum.
SELECT kind, count(*), count(error) AS errors FROM twins t, LATERAL ducto_add_credits(t.id, 100, 'purchase') GROUP BY kind ORDER BY kind;
SELECT kind, count(*), count(error) AS errors FROM twins t, LATERAL ducto_reserve(t.id, 30, idempotency_key => 'lines', ttl_seconds => 2592000) GROUP BY kind ORDER BY kind;
SELECT clock_to('2091-05-01 00:00Z');
SELECT count(*), sum(s.booked) AS lines, sum(s.amount) + sum(s.allowance_consumed) AS settled, sum(s.remaining) AS remaining, count(s.error) AS errors
FROM twins t JOIN ducto.reservations r ON r.account_id = t.id AND r.idempotency_key = 'lines',
	LATERAL ducto_settle(t.id, r.id, '[{"key": "a", "amount": 1.5}, {"key": "b", "amount": 12.25}, {"key": "a", "amount": 1.5}, {"key": "c", "amount": 0.0001}]') s WHERE kind = 'batch';
SELECT count(*), sum(d.amount) + sum(d.allowance_consumed) AS deducted, count(d.error) AS errors
FROM twins t JOIN ducto.reservations r ON r.account_id = t.id AND r.idempotency_key = 'lines', LATERAL ducto_deduct(t.id, r.id, 13.7501, final => false) d WHERE kind = 'single';
SELECT clock_to('2091-05-02 23:00Z');
SELECT count(*), sum(s.booked) AS lines, sum(s.skipped) AS skipped, sum(s.remaining) AS remaining, count(s.error) AS errors
FROM twins t JOIN ducto.reservations r ON r.account_id = t.id AND r.idempotency_key = 'lines',
	LATERAL ducto_settle(t.id, r.id, '[{"key": "b", "amount": 12.25}, {"key": "d", "amount": 20}]', final => true, overrun => 'full') s WHERE kind = 'batch';
SELECT count(*), count(d.error) AS errors
FROM twins t JOIN ducto.reservations r ON r.account_id = t.id AND r.idempotency_key = 'lines', LATERAL ducto_deduct(t.id, r.id, 20, overrun => 'full') d WHERE kind = 'single';
SELECT * FROM differ();
SELECT * FROM found();

-- What was read of the past before it was booked is what the books say.
CREATE TABLE past AS SELECT id, at, ducto_balance_at(id, at) AS balance FROM twins, generate_series('2090-03-26Z'::timestamptz, '2091-05-02Z', '17 days 5 hours 13 minutes') at;
SELECT clock_to('2091-12-31 23:00Z');
INSERT INTO past SELECT id, at, ducto_balance_at(id, at) FROM twins, generate_series('2091-05-03Z'::timestamptz, '2091-12-31Z', '5 days 7 hours 31 minutes') at;
CALL ducto_sweep();
SELECT count(*) > 1500 AS many, count(*) FILTER (WHERE balance <> ducto_balance_at(id, at)) AS differ FROM past;
SELECT * FROM differ();
SELECT * FROM found();

-- A cycle is given once, whoever asks: a batch that names an account twice at its turn, a key that comes again.
SELECT clock_to('2092-01-01 00:00Z');
SELECT position, balance_after, idempotent, error FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('user_id', who('batch', 1), 'amount', 1, 'idempotency_key', 'new year'), jsonb_build_object('user_id', who('batch', 1), 'amount', 1),
	jsonb_build_object('user_id', who('batch', 1), 'amount', 1, 'idempotency_key', 'new year')));
SELECT type, amount, balance_after FROM ducto.ledger WHERE account_id = who('batch', 1) AND effective_at >= '2092-01-01Z' ORDER BY seq;
SELECT * FROM found();

-- What lives on does so whatever has become of the plan, where nothing else happens at its cycle's end: for who has none any
-- more, one that gives nothing, or holds the credit. It goes at the end of the next cycle.
\set quit '\'51000000-0000-4000-8000-000000000021\''
\set down '\'51000000-0000-4000-8000-000000000022\''
\set hold '\'51000000-0000-4000-8000-000000000023\''
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"plain": {"name": "Plain"},
	"saver": {"name": "Saver", "grants": [{"amount": 50, "rollover": {"max": 30, "cycles": 1}}]}}}');
SELECT count(*), count(error) AS errors FROM unnest(ARRAY[:quit, :down, :hold]::uuid[]) who, LATERAL ducto_set_user_plan(who, 'saver');
SELECT count(*), count(error) AS errors FROM unnest(ARRAY[:quit, :down, :hold]::uuid[]) who, LATERAL ducto_charge(who, 25);
SELECT error FROM ducto_set_user_plan(:quit, NULL);
SELECT error FROM ducto_set_user_plan(:down, 'plain');
SELECT error FROM ducto_set_user_plan(:hold, NULL);
SELECT clock_to('2092-01-10 00:00Z');
SELECT amount, error FROM ducto_reserve(:hold, 20, ttl_seconds => 2592000);
SELECT clock_to('2092-02-01 00:00Z');
CREATE TABLE unbooked AS SELECT who, g.* FROM unnest(ARRAY[:quit, :down, :hold]::uuid[]) who, LATERAL ducto_list_grants(who) g;
SELECT right(who::text, 2) AS who, amount, remaining, expires_at FROM unbooked ORDER BY 1;
SELECT right(who::text, 2) AS who, balance, next_expiry FROM unnest(ARRAY[:quit, :down, :hold]::uuid[]) who, LATERAL ducto_get_balance(who) ORDER BY 1;
SELECT right(who::text, 2) AS who, balance_after, error FROM unnest(ARRAY[:quit, :down, :hold]::uuid[]) who, LATERAL ducto_charge(who, 0.0001) ORDER BY 1;
SELECT right(who::text, 2) AS who, amount, remaining, expires_at FROM unnest(ARRAY[:quit, :down, :hold]::uuid[]) who, LATERAL ducto_list_grants(who) ORDER BY 1;
SELECT clock_to('2092-02-15 00:00Z');
SELECT right(who::text, 2) AS who, balance, next_expiry FROM unnest(ARRAY[:quit, :down, :hold]::uuid[]) who, LATERAL ducto_get_balance(who) ORDER BY 1;
SELECT clock_to('2092-03-01 00:00Z');
CALL ducto_sweep();
SELECT right(who::text, 2) AS who, balance FROM unnest(ARRAY[:quit, :down, :hold]::uuid[]) who, LATERAL ducto_get_balance(who) ORDER BY 1;
SELECT right(account_id::text, 2) AS who, amount, effective_at FROM ducto.ledger WHERE account_id IN (:quit, :down, :hold) AND type = 'expiry' ORDER BY 1, seq;
SELECT * FROM found();

-- A part of it that is given away in its own cycle goes with that; one that is given away later, to the same, goes with the next.
\set from '\'51000000-0000-4000-8000-000000000031\''
\set to '\'51000000-0000-4000-8000-000000000032\''
SELECT error FROM ducto_set_user_plan(:from, 'saver');
SELECT amount, error FROM ducto_transfer(:from, :to, 10);
SELECT clock_to('2092-04-01 00:00Z');
SELECT amount, error FROM ducto_transfer(:from, :to, 12);
SELECT amount, remaining, expires_at FROM ducto_list_grants(:to);
SELECT balance, next_expiry FROM ducto_get_balance(:to);
SELECT clock_to('2092-05-01 00:00Z');
SELECT balance_after, error FROM ducto_charge(:to, 1);
SELECT type, amount, balance_after, effective_at FROM ducto.ledger WHERE account_id = :to AND type = 'expiry' ORDER BY seq;
SELECT * FROM found();

\c :main
DROP DATABASE :own;
