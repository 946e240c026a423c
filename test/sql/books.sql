-- books: what was booked on each day, by type of entry – from the ledger and from its rollup
-- In a database of its own: its ledger of the past is not one that ducto writes.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_ducto_books;
CREATE DATABASE regress_ducto_books TEMPLATE template0;
\set regression :DBNAME
\c regress_ducto_books
CREATE EXTENSION ducto;
\set ada '\'b0000000-0000-4000-8000-000000000001\''
\set bob '\'b0000000-0000-4000-8000-000000000002\''
SET TIME ZONE 'UTC';
SELECT clock_timestamp() AS began \gset

-- Rolls up until nothing is left: a transaction that runs elsewhere, of autovacuum say, makes it wait, but not for ever.
CREATE PROCEDURE pg_temp.roll_up(max_rows integer DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	waits integer := 0;
BEGIN
	LOOP
		IF ducto_rollup(max_rows) = 0 THEN
			waits := waits + 1;
			PERFORM pg_sleep(0.01);
		END IF;
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM ducto.ledger l, ducto.usage_rollup r WHERE r.hours = 0 AND l.xact >= r.next_xact);
		IF waits > 3000 THEN
			RAISE 'the rollup waits for a transaction of this cluster, which has been running for 30 seconds';
		END IF;
	END LOOP;
END
$$;

-- Every type of entry, of users and of a team: paid and free credit, what a plan's allowance paid, a refund to a grant, what expired.
SELECT version > 0 AS published FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"booked": {"name": "Booked", "free_allowance": 5}}}');
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:ada, 20, 'promo', expires_at => clock_timestamp() + interval '1 day');
SELECT new_balance FROM ducto_add_credits(:bob, 7, 'promo', expires_at => clock_timestamp() + interval '0.2 seconds');
SELECT new_balance FROM ducto_add_credits(:bob, 3, 'signup_bonus');
SELECT new_balance FROM ducto_add_credits(:bob, 50, 'subscription', priority => NULL);
SELECT new_balance FROM ducto_add_credits(:ada, -2, 'adjustment');
SELECT plan_id FROM ducto_set_user_plan(:bob, 'booked');
SELECT amount, allowance_consumed FROM ducto_charge(:bob, 8);
SELECT transaction_id AS tx FROM ducto_charge(:ada, 30) \gset
SELECT amount, new_balance FROM ducto_refund(:'tx', 15);
SELECT team_id AS team FROM ducto_create_team('Booked', 40) \gset
SELECT error FROM ducto_add_team_member(:'team', :bob);
SELECT amount FROM ducto_deduct_team(:'team', :bob, 6);
SELECT pg_sleep(0.3);
SELECT expired_count FROM ducto_sweep_expired();

-- Nothing is netted. What a debit took from grants is told, what a refund gave back to them too, and what allowances paid.
PREPARE books AS SELECT type, sum(entries), sum(amount), sum(from_grants) AS from_grants, sum(allowance) AS allowance
FROM ducto_books(:'began', clock_timestamp()) GROUP BY type ORDER BY type COLLATE "C";
EXECUTE books;
CALL pg_temp.roll_up();
EXECUTE books;
SELECT count(*) > 0 AS rolled_up FROM ducto.usage_rollup WHERE hours = 1 AND types @> '{purchase, usage, refund, expiry}';
-- Before the window there was nothing, so it sums up to the balances.
SELECT sum(amount) - (SELECT sum(balance) FROM ducto.accounts WHERE created_at >= :'began') AS difference FROM ducto_books(:'began', clock_timestamp());
-- In the transaction that made it an entry is seen, and nowhere else.
BEGIN;
SELECT new_balance FROM ducto_add_credits(:ada, 1000, 'purchase');
EXECUTE books;
ROLLBACK;
BEGIN READ ONLY;
EXECUTE books;
COMMIT;

-- A ledger of the past, of users and of teams' pools: two months, all types, also some that are not known yet.
CREATE FUNCTION pg_temp.tell(first integer, accounts integer, entries integer, since timestamptz, until timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	types constant text[] := '{purchase, subscription, promo, adjustment, usage, usage, usage, usage, "ünknown"}';
BEGIN
	INSERT INTO ducto.accounts (id, kind, balance, lifetime_purchased, last_seq, plain, created_at, updated_at)
	SELECT ('00000000-0000-4000-b000-' || lpad(a::text, 12, '0'))::uuid, CASE a % 5 WHEN 0 THEN 'team' ELSE 'user' END, 0, 0, 0, a % 5 > 0, since, until
	  FROM generate_series(first, first + accounts - 1) a;
	INSERT INTO ducto.teams (id, name, created_at) SELECT id, 'Booked', since FROM ducto.accounts a WHERE kind = 'team' AND NOT EXISTS (SELECT FROM ducto.teams t WHERE t.id = a.id);
	WITH drawn AS (
		SELECT ('00000000-0000-4000-b000-' || lpad((first + i % accounts)::text, 12, '0'))::uuid AS id, types[1 + floor(9 * random())] AS type,
			round((random() * 1000)::numeric, 4) AS amount, since + floor(random() ^ 2 * extract(epoch FROM until - since) / 600) * interval '10 minutes' AS at, i
		  FROM generate_series(1, entries) i
	), signed AS (SELECT id, type, at, i, CASE type WHEN 'usage' THEN -amount ELSE amount END AS amount FROM drawn)
	INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, actor, burned_amounts, allowance_consumed, created_at, effective_at)
	SELECT id, row_number() OVER w, gen_random_uuid(), amount, sum(amount) OVER w, type, CASE type WHEN 'usage' THEN 'usage' END,
		CASE WHEN type = 'usage' AND right(id::text, 1) IN ('0', '5') THEN gen_random_uuid() END,
		CASE WHEN type IN ('usage', 'ünknown') AND i % 3 > 0 THEN ARRAY[round(abs(amount) / 2, 4), 0.0001 * i] END,
		CASE WHEN i % 7 = 0 THEN 1.5 * sign(-amount) ELSE 0 END, at, at FROM signed
	WINDOW w AS (PARTITION BY id ORDER BY at, i ROWS UNBOUNDED PRECEDING);
	UPDATE ducto.accounts a SET last_seq = l.seq, balance = l.balance, lifetime_purchased = coalesce(l.purchased, 0)
	  FROM (SELECT account_id, max(seq) AS seq, sum(amount) AS balance, sum(amount) FILTER (WHERE type = 'purchase') AS purchased FROM ducto.ledger GROUP BY 1) l
	 WHERE a.id = l.account_id AND a.id::text LIKE '00000000-0000-4000-b000-%';
END
$$;

-- What the books must say of a window, by plain SQL over the ledger; how many rows differ, their order included.
CREATE FUNCTION pg_temp.wrong(f timestamptz, t timestamptz) RETURNS bigint LANGUAGE sql AS $$
WITH said AS (
	SELECT row_number() OVER (ORDER BY (created_at AT TIME ZONE 'UTC')::date, type COLLATE "C") AS place, (created_at AT TIME ZONE 'UTC')::date AS date, type, count(*) AS entries, sum(amount) AS amount,
		sum(CASE WHEN type = 'expiry' THEN -amount ELSE coalesce((SELECT sum(b) FROM unnest(burned_amounts) b), 0) * -sign(amount) END) AS from_grants, sum(allowance_consumed) AS allowance
	  FROM ducto.ledger WHERE created_at BETWEEN f AND t GROUP BY 2, 3
)
SELECT count(*) FROM said s FULL JOIN ducto_books(f, t) WITH ORDINALITY b(date, type, entries, amount, from_grants, allowance, place) USING (place)
WHERE (s.date, s.type, s.entries, s.amount, s.from_grants, s.allowance) IS DISTINCT FROM (b.date, b.type, b.entries, b.amount, b.from_grants, b.allowance)
$$;

-- Windows of all lengths: within an hour, with ends on hours and days and on the microseconds beside them, over all.
CREATE FUNCTION pg_temp.wrong_windows(n integer) RETURNS TABLE (windows bigint, wrong numeric) LANGUAGE sql AS $$
SELECT count(*), sum(pg_temp.wrong(least(f, t), greatest(f, t))) FROM (
	SELECT '2020-01-28'::timestamptz + (random() ^ i * 1700 * 3600)::integer * interval '1 second' AS f,
		date_trunc((ARRAY['microseconds', 'minute', 'hour', 'day'])[1 + i % 4], '2020-01-28'::timestamptz + (random() * 1700 * 3600)::integer * interval '1 second')
			- (i % 3) * interval '1 microsecond' AS t
	  FROM generate_series(1, n) i
	UNION ALL VALUES ('2020-02-29'::timestamptz, '2020-02-29 23:59:59.999999'::timestamptz), ('2020-02-29', '2020-03-01'), ('0001-01-01', '9999-01-01'),
		('4713-01-01 BC', '294276-12-31'), ('2019-01-01', '2019-12-31'), (now() - interval '1 day', now()), ('2020-03-01', '2020-03-01')) w
$$;
SELECT setseed(0.3);
SELECT pg_temp.tell(1, 30, 2000, '2020-02-01', '2020-04-01');
SELECT * FROM pg_temp.wrong_windows(40);
CALL pg_temp.roll_up(1000);
SELECT * FROM pg_temp.wrong_windows(40);
-- More comes for days that were rolled up long ago, often enough that parts are merged.
DO $$
BEGIN
	FOR i IN 1 .. 7 LOOP
		PERFORM pg_temp.tell(i * 100 + 1, 5, 40, '2020-02-28', '2020-03-02');
		COMMIT;
		IF i % 3 > 0 THEN
			PERFORM ducto_rollup(17);
			COMMIT;
		END IF;
	END LOOP;
END
$$;
SELECT * FROM pg_temp.wrong_windows(40);
CALL pg_temp.roll_up();
SELECT * FROM pg_temp.wrong_windows(40);
SELECT hours, max(part) BETWEEN 2 AND 4 AS parts FROM ducto.usage_rollup WHERE start < '2020-06-01' AND hours IN (1, 24) GROUP BY 1 ORDER BY 1;
-- Days are UTC days, whatever the session's time zone.
SET TIME ZONE 'Pacific/Kiritimati';
SELECT * FROM pg_temp.wrong_windows(10);
SET TIME ZONE 'America/St_Johns';
SELECT * FROM pg_temp.wrong_windows(10);
SET TIME ZONE 'UTC';

-- The balance before a window and what was booked in it are the balance after it: on every day, and in all.
SELECT count(*) > 40 AS days, count(*) FILTER (WHERE closing <> (SELECT sum(amount) FROM ducto.ledger WHERE (created_at AT TIME ZONE 'UTC')::date <= date)) AS wrong
FROM (SELECT date, sum(sum(amount)) OVER (ORDER BY date) AS closing FROM ducto.daily_books GROUP BY date) b;

-- A sum may be larger than any balance, on both sides of 0.
SELECT pg_temp.tell(9001, 1, 0, '2020-01-29', '2020-01-30');
INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, created_at, effective_at)
SELECT '00000000-0000-4000-b000-000000009001', n, gen_random_uuid(), a, CASE WHEN a > 0 THEN a ELSE 0 END, CASE WHEN a > 0 THEN 'promo' ELSE 'adjustment' END, t, t
FROM generate_series(1, 40) n, LATERAL (SELECT 99999999999999.9999 * CASE n % 2 WHEN 1 THEN 1 ELSE -1 END AS a, '2020-01-29'::timestamptz + n * interval '1 second' AS t) v;
UPDATE ducto.accounts SET last_seq = 40 WHERE id = '00000000-0000-4000-b000-000000009001';
SELECT * FROM ducto_books('2020-01-29', '2020-01-29 23:59:59');
CALL pg_temp.roll_up();
SELECT * FROM ducto_books('2020-01-29', '2020-01-30');

-- For those who think in days there are views.
SELECT date, type, entries > 0 AS booked FROM ducto.daily_books WHERE date BETWEEN '2020-01-29' AND '2020-01-29' ORDER BY 1, 2;
SELECT d.user = :bob AS bob, model, spend, count FROM ducto.daily_usage d WHERE d.user IN (:ada, :bob) ORDER BY spend;
SELECT count(*) AS different FROM (SELECT date, total_spend, transaction_count FROM ducto_daily_spend('4713-01-01 BC', '294276-12-31')) s
FULL JOIN (SELECT date, sum(spend) AS total_spend, sum(count) AS transaction_count FROM ducto.daily_usage GROUP BY date) u USING (date, total_spend, transaction_count) WHERE s IS NULL OR u IS NULL;

-- Days without usage are there with 0 where that is asked for.
SELECT * FROM ducto_daily_spend('2019-12-30 12:00', '2020-01-02', fill => true);
SELECT * FROM ducto_daily_spend('2019-12-30 12:00', '2020-01-02', fill => NULL);
SELECT count(*) AS days, count(*) FILTER (WHERE transaction_count > 0) > 40 AS used, min(date), max(date), bool_and(total_spend IS NOT DISTINCT FROM coalesce(spend, 0)) AS right
FROM ducto_daily_spend('2020-01-15', '2020-04-15 12:00', true) LEFT JOIN (SELECT date, sum(spend) AS spend FROM ducto.daily_usage GROUP BY date) u USING (date);
SELECT * FROM ducto_daily_spend('1900-01-01', '2020-01-01', fill => true);

-- What cannot be asked; no window is the last 30 days.
SELECT * FROM ducto_books('2020-01-02', '2020-01-01');
SELECT * FROM ducto_books('-infinity', '2020-01-01');
SELECT * FROM ducto_books(to_time => 'infinity');
SELECT count(*) FROM ((TABLE ducto.daily_books) EXCEPT SELECT * FROM ducto_books('0001-01-01')) d;
SELECT (SELECT count(*) FROM ducto_books()) = (SELECT count(*) FROM ducto_books(now() - interval '30 days', now())) AS month,
	(SELECT count(*) FROM ducto_books(NULL, '2020-03-02')) = (SELECT count(*) FROM ducto_books('2020-02-01', '2020-03-02')) AS before;

-- The auditor finds a figure of the rollup that is not the ledger's: of an hour, a day, or in total.
SELECT * FROM ducto_verify() WHERE check_name ~ '^(books|rollup) ';
BEGIN;
UPDATE ducto.usage_rollup r SET type_from_grants[array_position(r.types, 'usage')] = 0.5 FROM (SELECT hours, start, part FROM ducto.usage_rollup
	WHERE hours = 1 AND start >= '2020-02-28' AND types @> '{usage}' ORDER BY start, part LIMIT 1) w WHERE (r.hours, r.start, r.part) = (w.hours, w.start, w.part);
UPDATE ducto.usage_rollup r SET type_allowance[array_position(r.types, 'promo')] = 0.5 FROM (SELECT hours, start, part FROM ducto.usage_rollup
	WHERE hours = 24 AND start >= '2020-03-01' AND types @> '{promo}' ORDER BY start, part LIMIT 1) w WHERE (r.hours, r.start, r.part) = (w.hours, w.start, w.part);
UPDATE ducto.usage_rollup SET type_amount[array_position(types, 'subscription')] = 1 WHERE hours = 0;
SELECT regexp_replace(check_name, ' from .*', '') AS check, expected = actual AS same, count(*) FROM ducto_verify()
WHERE check_name ~ '^(books|rollup) ' GROUP BY 1, 2 ORDER BY 1;
SELECT ducto_rollup_rebuild() > 2000 AS whole;
SELECT * FROM ducto_verify() WHERE check_name ~ '^(books|rollup) ';
SELECT * FROM pg_temp.wrong_windows(10);
COMMIT;
-- Damage is an error, not a wrong figure.
BEGIN;
UPDATE ducto.usage_rollup SET type_entries = '{1}' WHERE hours = 24 AND start = '2020-02-29';
SELECT * FROM ducto_books('2020-02-29', '2020-03-01');
ROLLBACK;
BEGIN;
UPDATE ducto.usage_rollup SET type_amount = NULL WHERE hours = 0;
SELECT ducto_rollup();
ROLLBACK;
BEGIN;
UPDATE ducto.usage_rollup SET type_amount = NULL WHERE hours = 0;
SELECT ducto_rollup_rebuild() > 2000 AS whole;
SELECT * FROM ducto_verify() WHERE check_name ~ '^(books|rollup) ';
COMMIT;

\c :regression
DROP DATABASE regress_ducto_books;
