-- analytics: who spent what, on which model, on which day – from the ledger and from its rollup

\set ada '\'ada17000-0000-4000-8000-000000000001\''
\set bob '\'ada17000-0000-4000-8000-000000000002\''
\set eve '\'ada17000-0000-4000-8000-000000000003\''
SET TIME ZONE 'UTC';
SELECT clock_timestamp() AS began \gset
\set since :'began' ', clock_timestamp()'
\set hidden 'timestamptz \'2001-01-01\', timestamptz \'2001-02-01\''

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
		EXIT WHEN NOT EXISTS (SELECT FROM ducto.ledger l, ducto.usage_rollup r WHERE r.hours = 0 AND l.type = 'usage' AND l.xact >= r.next_xact);
		IF waits > 3000 THEN
			RAISE 'the rollup waits for a transaction of this cluster, which has been running for 30 seconds';
		END IF;
	END LOOP;
END
$$;
CALL pg_temp.roll_up();

-- Nothing was used.
SELECT * FROM ducto_spend_by_user(:hidden);
SELECT * FROM ducto_spend_by_model(:hidden);
SELECT * FROM ducto_top_users(10, :hidden);
SELECT * FROM ducto_daily_spend(:hidden);
SELECT * FROM ducto_aggregate_stats(:hidden);

-- Spend is what usage took from credits: no purchase, no adjustment. What a plan's allowance pays is an entry of 0. A refund gives nothing back here.
-- A member's spending from a team's pool is the member's.
SELECT version > 0 AS published FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"analysed": {"name": "Analysed", "free_allowance": 5}}}');
SELECT count(*) FROM (VALUES (:ada::uuid), (:bob), (:eve)) u(id), ducto_add_credits(id, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:ada, -10, 'adjustment');
SELECT plan_id FROM ducto_set_user_plan(:eve, 'analysed');
SELECT team_id AS team FROM ducto_create_team('Analysts', 50) \gset
SELECT error FROM ducto_add_team_member(:'team', :bob);
SELECT transaction_id AS tx FROM ducto_charge(:ada, 3, model => 'gamma') \gset
SELECT amount FROM ducto_charge(:ada, 4, model => 'alpha');
SELECT amount, allowance_consumed FROM ducto_charge(:eve, 2, model => 'alpha');
SELECT amount, allowance_consumed FROM ducto_charge(:eve, 4);
SELECT amount FROM ducto_deduct_team(:'team', :bob, 6, model => 'beta');
SELECT amount FROM ducto_refund(:'tx');

PREPARE by_user AS SELECT * FROM ducto_spend_by_user(:since);
PREPARE by_model AS SELECT * FROM ducto_spend_by_model(:since);
PREPARE top AS SELECT * FROM ducto_top_users(2, :since);
PREPARE stats AS SELECT * FROM ducto_aggregate_stats(:since);
EXECUTE by_user;
-- Ties go by name.
EXECUTE by_model;
EXECUTE top;
EXECUTE stats;
SELECT sum(total_spend), sum(transaction_count), count(*) BETWEEN 1 AND 2 AS days FROM ducto_daily_spend(:since);

-- The same from the rollup, from rollup and ledger, and in a transaction that cannot write.
CALL pg_temp.roll_up();
SELECT ducto_rollup();
EXECUTE by_user;
EXECUTE by_model;
EXECUTE top;
EXECUTE stats;
SELECT amount FROM ducto_charge(:ada, 0.5, model => 'alpha');
BEGIN READ ONLY;
EXECUTE by_user;
EXECUTE by_model;
EXECUTE stats;
COMMIT;
-- In the transaction that made it an entry is seen, but not rolled up: it may be rolled back.
BEGIN;
SELECT amount FROM ducto_charge(:ada, 0.25, model => 'alpha');
SELECT ducto_rollup() IS NOT NULL AS rolled_up;
EXECUTE stats;
ROLLBACK;
EXECUTE stats;
CALL pg_temp.roll_up();
EXECUTE stats;

-- What cannot be asked.
DO $$
DECLARE
	bad record;
	hint text;
BEGIN
	FOR bad IN SELECT format('%I(%s%s)', f, CASE f WHEN 'ducto_top_users' THEN '1, ' END, w) AS call
		FROM unnest('{ducto_spend_by_user, ducto_spend_by_model, ducto_top_users, ducto_daily_spend, ducto_aggregate_stats}'::text[]) WITH ORDINALITY c(f, i),
			(VALUES (3, '''2024-01-02'', ''2024-01-01'''), (4, '''-infinity'', now()'), (5, 'now(), ''infinity''')) v(j, w)
		UNION ALL SELECT unnest('{"ducto_top_users(0, now(), now())", "ducto_top_users(-1, now(), now())", "ducto_rollup(0)", "ducto_rollup(-1)"}'::text[])
	LOOP
		BEGIN
			EXECUTE 'SELECT FROM ' || bad.call;
			RAISE 'accepted: %', bad.call;
		EXCEPTION WHEN null_value_not_allowed OR invalid_parameter_value THEN
			GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
			RAISE INFO '% % %', SQLSTATE, rpad(bad.call, 55), SQLERRM || coalesce('. ' || hint, '');
		END;
	END LOOP;
END
$$;

-- A ledger of the past: two months around a leap day, hours without any usage, users with many entries and with one.
CREATE FUNCTION pg_temp.tell(first integer, users integer, entries integer, since timestamptz, until timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ducto.accounts (id, kind, balance, lifetime_purchased, last_seq, plain, created_at, updated_at)
	SELECT ('00000000-0000-4000-a000-' || lpad(u::text, 12, '0'))::uuid, 'user', 0, 0, 0, true, since, until FROM generate_series(first, first + users - 1) u;
	WITH drawn AS (
		SELECT ('00000000-0000-4000-a000-' || lpad((first + floor(users * random() ^ 3))::text, 12, '0'))::uuid AS id,
			round((random() * 10)::numeric, 4) AS amount, (ARRAY['gpt', 'claude', 'llama', NULL])[1 + floor(4 * random())] AS model,
			since + floor(random() ^ 2 * extract(epoch FROM until - since) / 600) * interval '10 minutes' AS at
		  FROM generate_series(1, entries)
	)
	INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, model, created_at, effective_at)
	SELECT id, row_number() OVER w, gen_random_uuid(), -amount, sum(-amount) OVER w, 'usage', 'usage', model, at, at FROM drawn
	WINDOW w AS (PARTITION BY id ORDER BY at, amount, model ROWS UNBOUNDED PRECEDING);
	UPDATE ducto.accounts a SET last_seq = l.seq, balance = l.balance FROM (SELECT account_id, max(seq) AS seq, sum(amount) AS balance FROM ducto.ledger GROUP BY 1) l
	 WHERE a.id = l.account_id AND a.id::text LIKE '00000000-0000-4000-a000-%';
END
$$;

-- What the functions must say of a window, by plain SQL over the ledger; how many rows differ.
CREATE FUNCTION pg_temp.wrong(f timestamptz, t timestamptz) RETURNS bigint LANGUAGE sql AS $$
WITH usage AS MATERIALIZED (
	SELECT coalesce(actor, account_id) AS user_id, coalesce(model, 'unknown') AS model, -amount AS spend, (created_at AT TIME ZONE 'UTC')::date AS day
	  FROM ducto.ledger WHERE type = 'usage' AND created_at >= f AND created_at <= t
), by_user AS (
	SELECT row_number() OVER (ORDER BY sum(spend) DESC, user_id) AS place, user_id, sum(spend) AS spend, count(*) FROM usage GROUP BY 2
), by_model AS (
	SELECT row_number() OVER (ORDER BY sum(spend) DESC, model COLLATE "C") AS place, model, sum(spend) AS spend, count(*) FROM usage GROUP BY 2
), by_day AS (
	SELECT row_number() OVER (ORDER BY day) AS place, day, sum(spend) AS spend, count(*) FROM usage GROUP BY 2
), stats AS (
	SELECT coalesce(sum(spend), 0), count(DISTINCT user_id), coalesce(round(sum(spend) / nullif(count(DISTINCT day), 0), 4), 0),
		(SELECT model FROM by_model WHERE place = 1), (SELECT user_id FROM by_user WHERE place = 1) FROM usage
)
SELECT (SELECT count(*) FROM by_user b FULL JOIN ducto_spend_by_user(f, t) WITH ORDINALITY d(user_id, spend, n, place) USING (place)
		WHERE (b.user_id, b.spend, b.count) IS DISTINCT FROM (d.user_id, d.spend, d.n))
	+ (SELECT count(*) FROM (SELECT * FROM by_user WHERE place <= 3) b FULL JOIN ducto_top_users(3, f, t) WITH ORDINALITY d(user_id, spend, place) USING (place)
		WHERE (b.user_id, b.spend) IS DISTINCT FROM (d.user_id, d.spend))
	+ (SELECT count(*) FROM by_model b FULL JOIN ducto_spend_by_model(f, t) WITH ORDINALITY d(model, spend, n, place) USING (place)
		WHERE (b.model, b.spend, b.count) IS DISTINCT FROM (d.model, d.spend, d.n))
	+ (SELECT count(*) FROM by_day b FULL JOIN ducto_daily_spend(f, t) WITH ORDINALITY d(day, spend, n, place) USING (place)
		WHERE (b.day, b.spend, b.count) IS DISTINCT FROM (d.day, d.spend, d.n))
	+ (SELECT count(*) FROM stats s, ducto_aggregate_stats(f, t) d WHERE s IS DISTINCT FROM d)
$$;

-- Windows of all lengths: within an hour, with ends on hours and on the microseconds beside them, on days, over all.
CREATE FUNCTION pg_temp.wrong_windows(n integer) RETURNS TABLE (windows bigint, wrong numeric) LANGUAGE sql AS $$
SELECT count(*), sum(pg_temp.wrong(least(f, t), greatest(f, t))) FROM (
	SELECT '2024-01-28'::timestamptz + (random() ^ i * 1700 * 3600)::integer * interval '1 second' AS f,
		date_trunc((ARRAY['microseconds', 'minute', 'hour', 'day'])[1 + i % 4], '2024-01-28'::timestamptz + (random() * 1700 * 3600)::integer * interval '1 second')
			- (i % 3) * interval '1 microsecond' AS t
	  FROM generate_series(1, n) i
	UNION ALL SELECT date_trunc('hour', h), date_trunc('hour', h) + interval '1 hour' - d * interval '1 microsecond'
	  FROM (SELECT '2024-02-28 20:00'::timestamptz + i * interval '53 minutes' AS h, i % 2 AS d FROM generate_series(1, 30) i) w
	UNION ALL SELECT h, h + interval '20 minutes' FROM (SELECT '2024-02-28 23:00'::timestamptz + i * interval '10 minutes' AS h FROM generate_series(1, 12) i) w
	UNION ALL VALUES ('2024-02-29'::timestamptz, '2024-02-29 23:59:59.999999'::timestamptz), ('2024-02-29', '2024-03-01'), ('0001-01-01', '9999-01-01'),
		('4713-01-01 BC', '294276-12-31'), ('2023-01-01', '2023-12-31'), (now() - interval '1 day', now()), ('2024-03-01', '2024-03-01')) w
$$;
SELECT setseed(0.7);
SELECT pg_temp.tell(1, 40, 3000, '2024-02-01', '2024-04-01');
SELECT * FROM pg_temp.wrong_windows(40);
-- A transaction is never parted, so that one call takes its 3000 entries.
CALL pg_temp.roll_up(1000);
SELECT hours, count(*) > 0 AS periods, max(part) AS parts FROM ducto.usage_rollup WHERE start < '2024-06-01' AND hours > 0 GROUP BY 1 ORDER BY 1;
SELECT * FROM pg_temp.wrong_windows(40);
-- More comes for days that were rolled up long ago: the rest is read from the ledger, then added to hours and longer periods. Often: then parts are merged.
SELECT pg_temp.tell(101, 20, 300, '2024-02-10', '2024-03-10');
SELECT * FROM pg_temp.wrong_windows(40);
CALL pg_temp.roll_up();
SELECT * FROM pg_temp.wrong_windows(40);
DO $$
BEGIN
	FOR i IN 2 .. 7 LOOP
		PERFORM pg_temp.tell(i * 100 + 1, 5, 40, '2024-02-28', '2024-03-02');
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
SELECT hours, max(part) BETWEEN 2 AND 4 AS parts FROM ducto.usage_rollup WHERE start < '2024-06-01' AND hours > 0 GROUP BY 1 ORDER BY 1;
-- Days are UTC days, whatever the session's time zone.
SET TIME ZONE 'Pacific/Kiritimati';
SELECT to_char(date, 'YYYY-MM-DD'), transaction_count > 0 AS used FROM ducto_daily_spend('2024-02-29 00:00+00', '2024-02-29 23:59:59.999999+00');
SELECT * FROM pg_temp.wrong_windows(30);
SET TIME ZONE 'America/St_Johns';
SELECT to_char(date, 'YYYY-MM-DD'), transaction_count > 0 AS used FROM ducto_daily_spend('2024-02-29 00:00+00', '2024-02-29 23:59:59.999999+00');
SELECT * FROM pg_temp.wrong_windows(30);
SET TIME ZONE 'UTC';

-- A sum may be larger than any balance.
SELECT pg_temp.tell(1001, 1, 0, '2024-01-29', '2024-01-30');
WITH big AS (SELECT n, 99999999999999.9999 * CASE n % 2 WHEN 1 THEN 1 ELSE -1 END AS amount, '2024-01-29'::timestamptz + n * interval '1 second' AS at FROM generate_series(1, 40) n)
INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, model, lifetime_purchased, created_at, effective_at)
SELECT '00000000-0000-4000-a000-000000001001', n, gen_random_uuid(), amount, sum(amount) OVER (ORDER BY n), CASE n % 2 WHEN 1 THEN 'adjustment' ELSE 'usage' END, CASE n % 2 WHEN 0 THEN 'usage' END, 'huge', CASE n % 2 WHEN 1 THEN 0 END, at, at FROM big;
UPDATE ducto.accounts SET last_seq = 40 WHERE id = '00000000-0000-4000-a000-000000001001';
SELECT * FROM ducto_spend_by_model('2024-01-29', '2024-01-30');
CALL pg_temp.roll_up();
SELECT * FROM ducto_spend_by_model('2024-01-29', '2024-01-30');
SELECT * FROM ducto_aggregate_stats('2024-01-29', '2024-01-30');
SELECT hours, model_spend, model_entries FROM ducto.usage_rollup WHERE start = '2024-01-29' AND models @> '{huge}' ORDER BY 1;
SELECT * FROM ducto_verify();

-- The rollup is only there to be fast: emptied, it begins anew; damaged, the auditor tells, and it can be made anew.
BEGIN;
TRUNCATE ducto.usage_rollup;
SELECT * FROM pg_temp.wrong_windows(10);
SELECT * FROM ducto_verify();
ROLLBACK;
BEGIN;
UPDATE ducto.usage_rollup SET user_spend[1] = user_spend[1] + 10000, model_entries[1] = model_entries[1] + 1 WHERE hours = 1 AND start = '2024-02-29 12:00';
DELETE FROM ducto.usage_rollup WHERE hours = 24 AND start = '2024-02-29';
SELECT regexp_replace(check_name, ' of model .* of ', ' of a model of ') AS check, account_id IS NOT NULL AS user, count(*) > 0 AS wrong
  FROM ducto_verify() GROUP BY 1, 2 ORDER BY 1, 2;
SELECT ducto_rollup_rebuild() > 3000 AS whole;
SELECT * FROM ducto_verify();
SELECT * FROM pg_temp.wrong_windows(20);
COMMIT;
-- The sum is right, but not what each spent.
BEGIN;
UPDATE ducto.usage_rollup SET user_spend[1] = user_spend[1] + 1, user_spend[2] = user_spend[2] - 1 WHERE hours = 24 AND start = '2024-02-29';
SELECT left(check_name, 32) AS check, count(*) FROM ducto_verify() GROUP BY 1;
ROLLBACK;
BEGIN;
UPDATE ducto.usage_rollup SET user_spend = '{1}' WHERE hours = 1 AND start = '2024-02-29 12:00';
SELECT * FROM ducto_spend_by_user('2024-02-29 12:00', '2024-02-29 13:00');
ROLLBACK;
-- What another cluster rolled up is no matter here.
BEGIN;
UPDATE ducto.usage_rollup SET first_xact = first_xact - 1 WHERE hours = 0;
SELECT * FROM pg_temp.wrong_windows(10);
SELECT ducto_rollup() > 3000 AS whole;
SELECT * FROM pg_temp.wrong_windows(10);
COMMIT;

-- The sweep rolls up too.
SELECT amount FROM ducto_charge(:ada, 1, model => 'alpha');
SET client_min_messages = warning;
DO $$
BEGIN
	FOR waits IN 1 .. 3000 LOOP
		CALL ducto_sweep();
		EXIT WHEN (SELECT r.next_xact > l.xact FROM ducto.usage_rollup r, (SELECT max(xact) AS xact FROM ducto.ledger WHERE type = 'usage') l
			WHERE r.hours = 0);
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$$;
RESET client_min_messages;
SELECT r.next_xact > l.xact AS rolled_up FROM ducto.usage_rollup r, (SELECT max(xact) AS xact FROM ducto.ledger WHERE type = 'usage') l WHERE r.hours = 0;
EXECUTE stats;
-- Without a window it is the last 30 days, up to now; without one end, 30 days before the other, or now.
SELECT (SELECT count(*) FROM ducto_spend_by_user()) = (SELECT count(*) FROM ducto_spend_by_user(now() - interval '30 days', now())) AS users,
	(SELECT count(*) FROM ducto_spend_by_model(NULL, NULL)) = (SELECT count(*) FROM ducto_spend_by_model(now() - interval '30 days', now())) AS models,
	(SELECT count(*) FROM ducto_top_users()) = (SELECT count(*) FROM ducto_top_users(10, now() - interval '30 days', now())) AS top,
	(SELECT count(*) FROM ducto_daily_spend(to_time => now())) = (SELECT count(*) FROM ducto_daily_spend(now() - interval '30 days', now())) AS days,
	(SELECT active_users FROM ducto_aggregate_stats(from_time => now() - interval '1 day')) = (SELECT active_users FROM ducto_aggregate_stats(now() - interval '1 day', now())) AS active;

SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
