-- settle_random: lines cost what as many deducts in turn take. Two accounts with the same life: one settles random batches, the other deducts each
-- line; then both have the same balances, holds, grants, allowance, caps by model, and figures by model.
SET client_min_messages = warning;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"random": {"name": "Random", "free_allowance": 40, "default_billing_mode": "overdraft", "overdraft_floor": -5}}}');
SELECT clock_timestamp() AS start \gset

CREATE FUNCTION pg_temp.life(n integer, OUT settled boolean, OUT lines integer, OUT differs text) LANGUAGE plpgsql AS $$
DECLARE
	accounts uuid[] := ARRAY[('5e77a000-0000-4000-8000-00000000' || lpad(n::text, 4, '0'))::uuid, ('5e77a000-0000-4000-8001-00000000' || lpad(n::text, 4, '0'))::uuid];
	holds uuid[] := '{}';
	planned CONSTANT boolean := random() < 0.5;
	capped CONSTANT boolean := random() < 0.5;
	credit CONSTANT numeric := round((random() * 60)::numeric, 2) + 1;
	gift CONSTANT numeric := round((random() * 30)::numeric, 2) + 1;
	amount CONSTANT numeric := round((random() * 40)::numeric, 2);
	others CONSTANT numeric := round((random() * 20)::numeric, 2) + 0.01;
	skips CONSTANT boolean := random() < 0.2;
	batch jsonb;
	overrun text;
	last boolean;
	answer ducto_settle_result;
	line record;
	account uuid;
	r record;
BEGIN
	lines := 0;
	settled := false;
	FOREACH account IN ARRAY accounts LOOP
		IF planned THEN PERFORM ducto_set_user_plan(account, 'random'); END IF;
		PERFORM ducto_add_credits(account, credit, 'purchase');
		PERFORM ducto_add_credits(account, gift, 'promo', expires_at => '2222-02-02');
		IF capped THEN
			PERFORM ducto_set_spend_cap(account, 'daily', 10, 'notify', 'a'), ducto_set_spend_cap(account, 'monthly', 30, 'warn');
		END IF;
		SELECT reservation_id INTO r FROM ducto_reserve(account, least(amount, credit + gift), model => CASE WHEN n % 3 = 0 THEN 'a' END, skip_allowance => skips);
		holds := holds || r.reservation_id;
		PERFORM ducto_reserve(account, others, model => 'b');
	END LOOP;
	FOR round IN 1..3 LOOP
		SELECT jsonb_agg(jsonb_build_object('key', round || '/' || i, 'amount', round((random() * random() * 40)::numeric, 4), 'model', (ARRAY['a', 'b', 'c', NULL])[1 + floor(random() * 4)])) INTO batch
		FROM generate_series(1, 1 + floor(random() * 6)::integer) i;
		overrun := (ARRAY['reject', 'clamp', 'full'])[1 + floor(random() * 3)];
		last := round = 3 AND random() < 0.7;
		SELECT * INTO answer FROM ducto_settle(accounts[1], holds[1], batch, last, overrun);
		CONTINUE WHEN answer.error IS NOT NULL OR holds[1] IS NULL;
		settled := true;
		lines := lines + answer.booked;
		FOR line IN SELECT l.*, row_number() OVER () = count(*) OVER () AS is_last FROM jsonb_to_recordset(batch) AS l(key text, amount numeric, model text) LOOP
			-- A deduct of 0 is none, but for the last.
			CONTINUE WHEN line.amount = 0 AND NOT (last AND line.is_last);
			SELECT * INTO r FROM ducto_deduct(accounts[2], holds[2], line.amount, line.key, model => line.model, overrun => overrun, final => last AND line.is_last);
			IF r.error IS NOT NULL THEN
				differs := concat_ws(' ', 'deduct:', r.error, line.amount, overrun);
				RETURN;
			END IF;
		END LOOP;
	END LOOP;
	SELECT string_agg(key, ' ') INTO differs FROM (
		SELECT key FROM ducto.accounts a, jsonb_each(to_jsonb(a)) WHERE id = ANY (accounts)
			AND key IN ('balance', 'held', 'expiring', 'allowance_used', 'held_from_credits', 'promised', 'carry', 'caps')
		GROUP BY key HAVING count(DISTINCT value) > 1
		UNION ALL
		SELECT 'hold' FROM ducto.reservations WHERE id = ANY (holds) HAVING count(DISTINCT (state, remaining, cap_held)) > 1
		UNION ALL
		SELECT 'cap' FROM ducto.spend_caps WHERE account_id = ANY (accounts) GROUP BY cap_type, model HAVING count(DISTINCT (spent, held)) > 1
		UNION ALL
		SELECT 'grants' FROM ducto.grants WHERE account_id = ANY (accounts) HAVING count(DISTINCT remaining) > 1
		UNION ALL
		SELECT 'model ' || model FROM ducto.daily_usage WHERE "user" = ANY (accounts) GROUP BY date, model HAVING count(DISTINCT spend) > 1 OR count(*) = 1 AND sum(spend) > 0
		UNION ALL
		SELECT 'shortfall' FROM (SELECT account_id, sum(shortfall) AS sum FROM ducto.ledger WHERE account_id = ANY (accounts) GROUP BY 1) s HAVING count(DISTINCT coalesce(sum, 0)) > 1
		UNION ALL
		SELECT check_name FROM unnest(accounts) a, ducto_verify(a)) d;
END $$;
SELECT setseed(0.22);
CREATE TEMP TABLE lives AS SELECT n, l.* FROM generate_series(1, 200) n, pg_temp.life(n) l;
SELECT n, differs FROM lives WHERE differs IS NOT NULL ORDER BY n LIMIT 10;
SELECT count(*) FILTER (WHERE settled) > 100 AS some_settled, sum(lines) > 1000 AS many_lines FROM lives;
SELECT count(*) > 30 AS clamped FROM ducto.ledger WHERE models IS NOT NULL AND shortfall > 0 AND created_at >= :'start';
SELECT count(*) > 100 AS by_allowance FROM ducto.ledger WHERE models IS NOT NULL AND allowance_consumed > 0 AND created_at >= :'start';
SELECT count(*) > 20 AS warned FROM ducto.ledger WHERE models IS NOT NULL AND cap_warning IS NOT NULL AND created_at >= :'start';
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
