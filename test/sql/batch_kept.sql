-- What a batch takes from grants and counts for members it keeps, and writes once for all of it. There are two of each account: one
-- gets a batch, its twin the same calls one by one. What is in the tables is the same.
\pset null -
CREATE FUNCTION pg_temp.id(side text, n integer) RETURNS uuid LANGUAGE sql AS
	$$ SELECT (side || 'ee9ba7c-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
-- updated tells how many rows of a table this session has updated.
CREATE FUNCTION pg_temp.updated(name text) RETURNS bigint LANGUAGE sql AS
	$$ SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE schemaname = 'ducto' AND relname = name $$;
-- differing tells what of grants, members and ledger is not the same on both sides.
CREATE FUNCTION pg_temp.differing() RETURNS TABLE (what text, side text, row_text text) LANGUAGE sql AS $$
	WITH rows AS (
		SELECT 'grant' AS what, left(account_id::text, 1) AS side, concat_ws(' ', right(account_id::text, 3), seq, type, amount, remaining, priority, expires_at, live) AS row_text
		FROM ducto.grants WHERE account_id::text LIKE '_ee9ba7c-%'
		UNION ALL
		SELECT 'entry', left(account_id::text, 1), concat_ws(' ', right(account_id::text, 3), seq, type, amount, balance_after, lifetime_purchased, burned_amounts,
			(SELECT array_agg(g.seq ORDER BY b.n) FROM unnest(burned_grants) WITH ORDINALITY AS b(id, n)
			 JOIN ducto.grants g ON g.id = b.id AND g.account_id = l.account_id))
		FROM ducto.ledger l WHERE account_id::text LIKE '_ee9ba7c-%'
		UNION ALL
		SELECT 'member', left(t.name, 1), concat_ws(' ', right(user_id::text, 3), m.spend_cap, m.spent, m.held, m.left_at IS NULL, a.balance, a.last_seq)
		FROM ducto.team_members m JOIN ducto.teams t ON t.id = m.team_id JOIN ducto.accounts a ON a.id = t.id
		WHERE m.user_id::text LIKE '_ee9ba7c-%')
	SELECT what, min(side), row_text FROM rows GROUP BY what, row_text HAVING count(*) FILTER (WHERE side = 'a') <> count(*) FILTER (WHERE side = 'b') ORDER BY 1, 3, 2 $$;

-- Fourteen grants, and charges that take a part of one, all of one, and many at once: more than are read at first.
SELECT count(r.error), count(*) FROM unnest('{a,b}'::text[]) AS side, LATERAL ducto_add_credits_many((
	SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.id(side, 1 + n / 14), 'amount', 1 + n % 3, 'type', 'promo', 'priority', n % 5,
		'expires_at', timestamptz '2099-01-01' + interval '1 day' * (n % 4))) FROM generate_series(0, 27) n)) r;
SELECT count(r.error), count(*) FROM unnest('{a,b}'::text[]) AS side, generate_series(1, 2) n, ducto_add_credits(pg_temp.id(side, n), 2) r;
CREATE TEMP TABLE charges AS SELECT n, 1 + n % 2 AS who, (ARRAY[0.5, 0.5, 1, 4, 0.25, 30, 9, 2, 0.75, 1, 0.5, 3])[n] AS amount FROM generate_series(1, 12) n;
BEGIN;
SELECT pg_temp.updated('grants') AS before \gset
SELECT r.position, r.amount, r.balance_after, r.error FROM ducto_charge_many((
	SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.id('a', who), 'amount', amount, 'min_balance', 0) ORDER BY n) FROM charges)) r;
SELECT pg_temp.updated('grants') - :before AS updated;
COMMIT;
SELECT n, r.amount, r.balance_after, r.error FROM charges, LATERAL ducto_charge(pg_temp.id('b', who), charges.amount, min_balance => 0) r ORDER BY n;
SELECT seq, amount, burned_amounts FROM ducto.ledger WHERE account_id = pg_temp.id('a', 1) AND type = 'usage' ORDER BY seq;
SELECT * FROM pg_temp.differing();

-- Where the executor has to read and write the grants, it is the same.
SELECT count(r.error), count(*) FROM unnest('{a,b}'::text[]) AS side, LATERAL ducto_add_credits_many((
	SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.id(side, 6 + n / 14), 'amount', 1 + n % 3, 'type', 'promo', 'priority', n % 5,
		'expires_at', timestamptz '2099-01-01' + interval '1 day' * (n % 4))) FROM generate_series(0, 27) n)) r;
BEGIN;
SET LOCAL ducto.direct = off;
SELECT pg_temp.updated('grants') AS before \gset
SELECT count(r.transaction_id), sum(r.amount) FROM ducto_charge_many((
	SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.id('a', 5 + who), 'amount', amount, 'min_balance', 0) ORDER BY n) FROM charges)) r;
SELECT pg_temp.updated('grants') - :before AS updated;
COMMIT;
SELECT count(r.transaction_id), sum(r.amount) FROM (SELECT r.* FROM (SELECT * FROM charges ORDER BY n) c, LATERAL ducto_charge(pg_temp.id('b', 5 + who), c.amount, min_balance => 0) r) r;
SELECT * FROM pg_temp.differing();

-- Ten charges of one grant change its row once.
SELECT new_balance FROM unnest('{a,b}'::text[]) AS side, ducto_add_credits(pg_temp.id(side, 3), 20, 'promo', expires_at => '2099-01-01');
BEGIN;
SELECT pg_temp.updated('grants') AS before \gset
SELECT count(r.transaction_id) FROM ducto_charge_many((
	SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.id('a', 3), 'amount', 1)) FROM generate_series(1, 10))) r;
SELECT pg_temp.updated('grants') - :before AS updated;
COMMIT;
SELECT count(r.transaction_id) FROM generate_series(1, 10) n, ducto_charge(pg_temp.id('b', 3), n / n) r;
SELECT remaining FROM ducto.grants WHERE account_id = pg_temp.id('a', 3);
SELECT * FROM pg_temp.differing();

-- Additions and adjustments that take again, in one batch: what is added is spent in its place among what was there.
CREATE TEMP TABLE credits AS SELECT n, 1 + n % 3 AS who, CASE WHEN n % 4 = 3 THEN -2.5 ELSE 1 + n % 3 END AS amount,
	CASE WHEN n % 4 <> 3 THEN n % 2 * 60 END AS priority, CASE WHEN n % 4 <> 3 THEN timestamptz '2099-01-01' + interval '1 day' * (n % 7) END AS expires_at
	FROM generate_series(1, 48) n;
BEGIN;
SELECT count(r.transaction_id), count(r.error), sum(r.amount) FROM ducto_add_credits_many((
	SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.id('a', who), 'amount', amount, 'priority', priority, 'expires_at', expires_at) ORDER BY n) FROM credits)) r;
COMMIT;
SELECT count(r.transaction_id), count(r.error), sum(r.amount)
	FROM (SELECT r.* FROM (SELECT * FROM credits ORDER BY who, n) c, LATERAL ducto_add_credits(pg_temp.id('b', c.who), c.amount, expires_at => c.expires_at, priority => c.priority) r) r;
SELECT * FROM pg_temp.differing();

-- What is added behind grants that were not read yet is not spent before them.
SELECT count(r.error) FROM unnest('{a,b}'::text[]) AS side, generate_series(1, 8) n, ducto_add_credits(pg_temp.id(side, 5), 1, expires_at => timestamptz '2099-01-01' + interval '1 day' * n) r;
CREATE TEMP TABLE behind AS SELECT n, CASE n WHEN 5 THEN -6 ELSE 1 END AS amount, CASE WHEN n <> 5 THEN timestamptz '2099-02-01' END AS expires_at FROM generate_series(1, 10) n;
SELECT count(r.error) FROM ducto_add_credits_many((
	SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.id('a', 5), 'amount', amount, 'expires_at', expires_at) ORDER BY n) FROM behind)) r;
SELECT count(r.error) FROM (SELECT r.* FROM (SELECT * FROM behind ORDER BY n) c, LATERAL ducto_add_credits(pg_temp.id('b', 5), c.amount, expires_at => c.expires_at) r) r;
SELECT seq, remaining FROM ducto.grants WHERE account_id = pg_temp.id('a', 5) ORDER BY seq;
SELECT * FROM pg_temp.differing();

-- A debt takes its part of a grant that comes in the batch.
SELECT error FROM unnest('{a,b}'::text[]) AS side, ducto_charge(pg_temp.id(side, 4), 3, overrun => 'full');
BEGIN;
SELECT pg_temp.updated('grants') AS before \gset
SELECT count(r.transaction_id) FROM ducto_add_credits_many((
	SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.id('a', 4), 'amount', 1, 'expires_at', '2099-01-01')) FROM generate_series(1, 8))) r;
SELECT pg_temp.updated('grants') - :before AS updated;
COMMIT;
SELECT count(r.transaction_id) FROM generate_series(1, 8) n, ducto_add_credits(pg_temp.id('b', 4), n / n, expires_at => '2099-01-01') r;
SELECT count(*), sum(remaining), count(*) FILTER (WHERE live) AS live FROM ducto.grants WHERE account_id = pg_temp.id('a', 4);
SELECT * FROM pg_temp.differing();

-- The members of two pools: one has a cap that is reached, one is no member, one has left. Each row is written at most once.
CREATE TEMP TABLE teams AS SELECT side, n, team_id FROM unnest('{a,b}'::text[]) AS side, generate_series(1, 2) n, ducto_create_team(side || ' team ' || n, 40);
SELECT count(m.role) FROM teams, generate_series(1, 3) u, LATERAL ducto_add_team_member(team_id, pg_temp.id('c', u), spend_cap => CASE u WHEN 2 THEN 5 END) m;
SELECT count(*) FROM teams, ducto_remove_team_member(team_id, pg_temp.id('c', 3));
CREATE TEMP TABLE spends AS SELECT k, 1 + k % 2 AS n, 1 + k % 5 % 4 AS u, 1.5 AS amount FROM generate_series(1, 40) k;
BEGIN;
SELECT pg_temp.updated('team_members') AS before \gset
SELECT r.error, count(*), sum(r.amount) FROM ducto_charge_many((
	SELECT jsonb_agg(jsonb_build_object('team_id', team_id, 'user_id', pg_temp.id('c', u), 'amount', amount) ORDER BY k) FROM spends JOIN teams USING (n) WHERE side = 'a')) r
	GROUP BY r.error ORDER BY 1;
SELECT pg_temp.updated('team_members') - :before AS updated;
COMMIT;
SELECT r.error, count(*), sum(r.amount) FROM (SELECT r.* FROM (SELECT * FROM spends JOIN teams USING (n) WHERE side = 'b' ORDER BY k) s,
	LATERAL ducto_deduct_team(s.team_id, pg_temp.id('c', s.u), s.amount) r) r GROUP BY r.error ORDER BY 1;
SELECT n, m.user_id = pg_temp.id('c', 2) AS capped, total_spent FROM teams, ducto_get_team_members(team_id) m WHERE side = 'a' ORDER BY 1, 2;
SELECT * FROM pg_temp.differing();

-- The reason is that of the single call, and what a batch saw is what the next call finds.
CREATE FUNCTION pg_temp.hint(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN hint;
END $$;
SET ducto.rejections = raise;
SELECT regexp_replace(pg_temp.hint(format('SELECT FROM ducto_deduct_team(%L, %L, 0.6)', team_id, pg_temp.id('c', 2))), 'at .*', 'at ...') AS hint,
	pg_temp.hint(format('SELECT FROM ducto_deduct_team(%L, %L, 0.6)', team_id, pg_temp.id('c', 2))) =
	pg_temp.hint(format('SELECT FROM ducto_charge_many(%L)', (SELECT jsonb_agg(jsonb_build_object('team_id', team_id, 'user_id', pg_temp.id('c', 2), 'amount', 0.6 + 0 * i))
		FROM generate_series(1, 9) i))) AS same
	FROM teams WHERE side = 'a' AND n = 1;
RESET ducto.rejections;
SELECT error FROM teams, ducto_deduct_team(team_id, pg_temp.id('c', 2), 0.5) WHERE side = 'a' AND n = 1;
SELECT error FROM teams, ducto_deduct_team(team_id, pg_temp.id('c', 2), 0.6) WHERE side = 'a' AND n = 1;

-- Caps of all accounts are read together, where the executor has to do it too: each counts for its own account, in its own window, and its
-- row is written once. Accounts have none to three, of kinds that are read and written each in its way.
CREATE TEMP TABLE capped AS SELECT n, pg_temp.id('c', 100 * side + n) AS who, side FROM generate_series(1, 3) side, generate_series(1, 12) n;
SELECT count(r.error) FROM capped, ducto_add_credits(who, 100) r;
SELECT count(c.*) FROM capped, unnest('{total,session,sliding}'::text[]) WITH ORDINALITY kind(name, k),
	LATERAL ducto_set_spend_cap(who, name, (ARRAY[4, 8, 2])[k] + n % 5, CASE WHEN k < 3 THEN 'deny' ELSE 'warn' END, CASE WHEN k = 2 THEN 'm1' END, CASE WHEN k > 1 THEN interval '200 days' END) c
	WHERE k <= n % 4;
CREATE TEMP VIEW counted AS SELECT side, n, cap_type, model, cap_limit, spent, held, window_until > now() AS open,
	(SELECT sum(b) FROM unnest(buckets) b) AS in_buckets FROM ducto.spend_caps JOIN capped ON who = account_id;
CREATE FUNCTION pg_temp.charges(of integer) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('user_id', who, 'amount', 0.5 + n * 0.1, 'model', 'm' || k % 2) ORDER BY k, n DESC) FROM capped, generate_series(1, 8) k WHERE side = of $$;
BEGIN;
SELECT pg_temp.updated('spend_caps') AS before \gset
CREATE TEMP TABLE told AS SELECT 1 AS side, position, amount, balance_after, cap_warning, error FROM ducto_charge_many(pg_temp.charges(1));
SELECT pg_temp.updated('spend_caps') - :before AS updated;
COMMIT;
BEGIN;
SET LOCAL ducto.direct = off;
SELECT pg_temp.updated('spend_caps') AS before \gset
INSERT INTO told SELECT 2, position, amount, balance_after, cap_warning, error FROM ducto_charge_many(pg_temp.charges(2));
SELECT pg_temp.updated('spend_caps') - :before AS updated;
COMMIT;
INSERT INTO told SELECT 3, c.position, r.amount, r.balance_after, r.cap_warning, r.error
	FROM jsonb_array_elements(pg_temp.charges(3)) WITH ORDINALITY c(charge, position), LATERAL ducto_charge((charge ->> 'user_id')::uuid, (charge ->> 'amount')::numeric, model => charge ->> 'model') r;
SELECT side, error, cap_warning, count(*) FROM told GROUP BY 1, 2, 3 ORDER BY 2, 3, 1;
SELECT position, count(*) FROM told GROUP BY position, amount, balance_after, cap_warning, error HAVING count(*) <> 3;
SELECT n, cap_type, model, cap_limit, spent, held, open, in_buckets, count(*) FROM pg_temp.counted GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY 1, 2, 3;
SELECT * FROM ducto_verify();
