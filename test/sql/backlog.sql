-- backlog: many holds that ended unseen cost the next call little, and nothing is wrong meanwhile
\pset null -

-- The lowest ids of all users, so that a limited sweep starts with these.
\set ada '\'00000000-0000-4000-8000-0000000bac01\''
\set bob '\'00000000-0000-4000-8000-0000000bac02\''
\set cyd '\'00000000-0000-4000-8000-0000000bac03\''
\set dan '\'00000000-0000-4000-8000-0000000bac04\''
\set eve '\'00000000-0000-4000-8000-0000000bac05\''
\set fay '\'00000000-0000-4000-8000-0000000bac06\''
\set gus '\'00000000-0000-4000-8000-0000000bac07\''
\set hal '\'00000000-0000-4000-8000-0000000bac08\''

-- A cap is a day's or a month's: the story must not run across the end of one.
DO $$
BEGIN
	IF (clock_timestamp() AT TIME ZONE 'UTC')::time > '23:59:15' THEN
		PERFORM pg_sleep(46);
	END IF;
END $$;

-- Gives an account holds of 1 credit, of a number of models, a team's pool those of a number of members, as if they had been reserved
-- in turn. The first expires at a time, the next a while later each.
CREATE FUNCTION pg_temp.member(i integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT ('00000000-0000-4000-8000-bac' || lpad(i::text, 9, '0'))::uuid $$;
CREATE FUNCTION pg_temp.hold(who uuid, n integer, first timestamptz, gap interval, models integer = 0, members integer = 0,
	keys text = NULL) RETURNS void
LANGUAGE sql AS $$
	WITH holds AS (
		INSERT INTO ducto.reservations (account_id, id, actor, amount, remaining, operation_type, model, billing_mode, floor, state,
			idempotency_key, balance_after, reserved_after, first_expires_at, skip_allowance, cap_held, created_at, expires_at)
		SELECT who, gen_random_uuid(), CASE WHEN members > 0 THEN pg_temp.member(i % members) END, 1.0000, 1.0000, 'usage',
			CASE WHEN models > 0 THEN 'm' || i % models END, 'strict', 0, 'open', keys || i, 1000, i, first + i * gap,
			false, 1.0000, first - interval '1 hour', first + i * gap
		FROM generate_series(0, n - 1) AS i RETURNING *
	), caps AS (
		UPDATE ducto.spend_caps c SET held = c.held + (SELECT coalesce(sum(remaining), 0) FROM holds h WHERE c.model IN ('', h.model)) WHERE c.account_id = who
	), members AS (
		UPDATE ducto.team_members m SET held = m.held + h.held
		FROM (SELECT actor, sum(remaining) AS held FROM holds GROUP BY actor) h WHERE m.team_id = who AND m.user_id = h.actor
	)
	UPDATE ducto.accounts SET held = held + n, next_boundary = least(next_boundary, first) WHERE id = who;
$$;

-- What a statement does to the tables: rows updated, and rows read.
CREATE FUNCTION pg_temp.work(statement text) RETURNS TABLE (relation name, updated bigint, read bigint) LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE before ON COMMIT DROP AS
		SELECT relname, n_tup_upd, coalesce(idx_tup_fetch, 0) + seq_tup_read AS tup_read FROM pg_stat_xact_user_tables WHERE schemaname = 'ducto';
	EXECUTE statement;
	RETURN QUERY SELECT a.relname, a.n_tup_upd - b.n_tup_upd, coalesce(a.idx_tup_fetch, 0) + a.seq_tup_read - b.tup_read
		FROM pg_stat_xact_user_tables a JOIN before b USING (relname) WHERE a.schemaname = 'ducto';
END $$;
CREATE FUNCTION pg_temp.states(who uuid) RETURNS TABLE (state text, reservations bigint) LANGUAGE sql
	AS $$ SELECT state, count(*) FROM ducto.reservations WHERE account_id = who GROUP BY state ORDER BY state $$;
CREATE FUNCTION pg_temp.nth(who uuid, n integer) RETURNS uuid LANGUAGE sql STABLE
	AS $$ SELECT id FROM ducto.reservations WHERE account_id = who ORDER BY expires_at OFFSET n - 1 LIMIT 1 $$;
SELECT ducto_expire_reservations() >= 0 AS others_are_swept;

-- 2,500 holds of Ada's expired an hour ago. Her next charge finds all of them free, and closes 1,000 of their reservations.
SELECT new_balance FROM ducto_add_credits(:ada, 3000);
SELECT pg_temp.hold(:ada, 2500, now() - interval '1 hour', '1 ms');
SELECT balance, reserved, available FROM ducto_get_balance(:ada);
SELECT affordable, available FROM ducto_can_afford(:ada, 2900);
SELECT relation, updated, read <= 3 * 2500 AS linear FROM pg_temp.work($$SELECT FROM ducto_charge('00000000-0000-4000-8000-0000000bac01', 1000)$$)
WHERE relation = 'reservations';
SELECT balance, reserved, available FROM ducto_get_balance(:ada);
SELECT * FROM pg_temp.states(:ada);
SELECT held, ended_until = (SELECT max(expires_at) FROM ducto.reservations WHERE account_id = a.id) AS all_ended, next_boundary
FROM ducto.accounts a WHERE id = :ada;
SELECT * FROM ducto_verify(:ada);
SELECT * FROM ducto_verify();

-- What the row alone decides does not care about the rest.
SELECT relation, updated, read FROM pg_temp.work($$SELECT FROM ducto_charge('00000000-0000-4000-8000-0000000bac01', 500)$$)
WHERE relation IN ('accounts', 'reservations') ORDER BY relation;

-- One that ended is expired, closed or not.
SELECT state FROM ducto.reservations WHERE id = pg_temp.nth(:ada, 2400);
SELECT released, reason FROM ducto_release(:ada, pg_temp.nth(:ada, 2400));
SELECT state, remaining, closed_at = expires_at AS closed_at_its_time FROM ducto.reservations WHERE id = pg_temp.nth(:ada, 2400);
SELECT * FROM pg_temp.states(:ada);
SELECT pg_temp.hold(:bob, 2500, now() - interval '1 hour', '1 ms') FROM ducto_add_credits(:bob, 3000);
SELECT reserved, error FROM ducto_renew(:bob, pg_temp.nth(:bob, 2450));
SELECT transaction_id, balance_after, error FROM ducto_deduct(:bob, pg_temp.nth(:bob, 2451), 1, allow_late => false);
SELECT * FROM pg_temp.states(:bob);
SELECT * FROM ducto_verify(:bob);
SELECT pg_temp.hold(:cyd, 2500, now() - interval '1 hour', '1 ms') FROM ducto_add_credits(:cyd, 3000);
SELECT amount, balance_after, error FROM ducto_deduct(:cyd, pg_temp.nth(:cyd, 2452), 3);
SELECT state, remaining, closed_at = expires_at AS closed_at_its_time FROM ducto.reservations WHERE id = pg_temp.nth(:cyd, 2452);
SELECT amount, balance_after, error FROM ducto_deduct(:cyd, pg_temp.nth(:cyd, 2453), 2, final => false);
SELECT state, remaining FROM ducto.reservations WHERE id = pg_temp.nth(:cyd, 2453);
SELECT * FROM ducto_verify(:cyd);

-- It leaves its place to others, its key stays its own, and what is held meanwhile is held.
SELECT pg_temp.hold(:dan, 3500, now() - interval '1 hour', '1 ms', keys => 'hold ') FROM ducto_add_credits(:dan, 3000);
SELECT amount, reserved, available, error FROM ducto_reserve(:dan, 2000, max_concurrent => 2);
SELECT amount, reserved, idempotent, error FROM ducto_reserve(:dan, 700, idempotency_key => 'hold 3400');
SELECT amount, reserved, available, error FROM ducto_reserve(:dan, 900, max_concurrent => 2);
SELECT amount, reserved, available, error FROM ducto_reserve(:dan, 1, max_concurrent => 2);
SELECT balance_after, error FROM ducto_charge(:dan, 100.0001);
SELECT * FROM pg_temp.states(:dan);
SELECT held, ended_until FROM ducto.accounts WHERE id = :dan;
SELECT amount, balance_after, error FROM ducto_deduct(:dan, pg_temp.nth(:dan, 3501), 1900);
SELECT balance, reserved, available FROM ducto_get_balance(:dan);
SELECT * FROM ducto_verify(:dan);

-- A sweep closes as many as it is told, the first first, of those that have ended too; of one moment as well.
SELECT pg_temp.hold(:eve, 1500, now() - interval '1 hour', '0') FROM ducto_add_credits(:eve, 1500);
SELECT balance_after FROM ducto_charge(:eve, 1);
SELECT * FROM pg_temp.states(:eve);
SELECT ducto_expire_reservations(400);
SELECT * FROM pg_temp.states(:ada);
SELECT string_agg(DISTINCT state, ', ' ORDER BY state) FROM (SELECT state, row_number() OVER (ORDER BY expires_at) AS n FROM ducto.reservations
	WHERE account_id = :ada) r WHERE n BETWEEN 1 AND 2399;
SELECT ducto_expire_reservations(99 + 7);
SELECT * FROM pg_temp.states(:ada);
SELECT ended_until FROM ducto.accounts WHERE id = :ada;
SELECT ducto_expire_reservations() >= 500 AS the_rest, ducto_expire_reservations();
SELECT state, count(*), bool_and(closed_at = expires_at) AS closed_at_their_time, sum(remaining) + sum(cap_held) AS held
FROM ducto.reservations WHERE account_id IN (:ada, :bob, :eve) GROUP BY state;
SELECT count(ended_until) FROM ducto.accounts;

-- The clock was set back: what is held now ends before those that have ended did, and is none of them. They are closed first.
SELECT pg_temp.hold(:fay, 2500, now() - interval '1 hour', '1 ms') FROM ducto_add_credits(:fay, 3000);
SELECT balance_after FROM ducto_charge(:fay, 1);
UPDATE ducto.reservations SET expires_at = expires_at + interval '20 days' WHERE account_id = :fay AND state = 'open';
UPDATE ducto.accounts SET ended_until = ended_until + interval '20 days' WHERE id = :fay;
SELECT amount, reserved, available, error FROM ducto_reserve(:fay, 1000);
SELECT * FROM pg_temp.states(:fay);
SELECT held, ended_until, next_boundary < clock_timestamp() + interval '1 hour' AS soon FROM ducto.accounts WHERE id = :fay;
SELECT reservation_id AS r FROM ducto_reserve(:fay, 200) \gset
SELECT * FROM ducto_verify(:fay);
SELECT pg_temp.hold(:fay, 2000, now() - interval '1 hour', '1 ms');
SELECT balance_after FROM ducto_charge(:fay, 1);
UPDATE ducto.reservations SET expires_at = expires_at + interval '20 days' WHERE account_id = :fay AND state = 'open' AND id <> :'r';
UPDATE ducto.reservations SET expires_at = expires_at + interval '25 days' WHERE id = :'r';
UPDATE ducto.accounts SET ended_until = ended_until + interval '20 days' WHERE id = :fay;
SELECT reserved, expires_at < clock_timestamp() + interval '1 day' AS tomorrow, error FROM ducto_renew(:fay, :'r', 3600);
SELECT balance, reserved FROM ducto_get_balance(:fay);
SELECT amount, balance_after, error FROM ducto_deduct(:fay, :'r', 200);
SELECT * FROM pg_temp.states(:fay);
SELECT * FROM ducto_verify(:fay);

-- More end while the first are still being closed; and some are held for longer.
SELECT pg_temp.hold(:gus, 1600, now() - interval '2 hours', '1 ms') FROM ducto_add_credits(:gus, 4000);
SELECT pg_temp.hold(:gus, 10, now() + interval '1 day', '1 ms');
SELECT balance_after FROM ducto_charge(:gus, 1);
SELECT pg_temp.hold(:gus, 1700, now() - interval '1 hour', '1 ms');
SELECT balance, reserved, available FROM ducto_get_balance(:gus);
SELECT balance_after FROM ducto_charge(:gus, 3988);
SELECT balance_after, error FROM ducto_charge(:gus, 2);
SELECT * FROM pg_temp.states(:gus);
SELECT held, next_boundary = (SELECT min(expires_at) FROM ducto.reservations WHERE account_id = a.id AND expires_at > now()) AS next_is_right
FROM ducto.accounts a WHERE id = :gus;
SELECT * FROM ducto_verify(:gus);

-- Hal's caps count what is held of three models. What they count is on their rows: no hold is read to tell it or to decide, nor to set a cap anew.
SELECT count(ducto_set_spend_cap(:hal, t, 2000, 'deny', m)) FROM unnest('{daily,monthly}'::text[]) AS t, unnest('{NULL,m0,m1,m2}'::text[]) AS m,
	ducto_add_credits(:hal, 9000);
SELECT pg_temp.hold(:hal, 1500, now() + interval '1 day', '1 ms', models => 3);
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:hal);
SELECT coalesce(sum(read), 0) AS holds_read FROM pg_temp.work($$
	SELECT FROM ducto_list_spend_caps('00000000-0000-4000-8000-0000000bac08');
	SELECT FROM ducto_check_spend_cap('00000000-0000-4000-8000-0000000bac08', 'm1', 1);
	SELECT FROM ducto_can_afford('00000000-0000-4000-8000-0000000bac08', 1, 'm1');
	SELECT FROM ducto_set_spend_cap('00000000-0000-4000-8000-0000000bac08', 'daily', 2100, 'deny');
	SELECT FROM ducto_charge('00000000-0000-4000-8000-0000000bac08', 10000, model => 'm1');
$$) WHERE relation = 'reservations';
SELECT capped, current_spend, model FROM ducto_check_spend_cap(:hal, 'm1', 500.0001);
SELECT capped, current_spend, model FROM ducto_check_spend_cap(:hal, 'm1', 500);

-- Past their time they do not count, booked or not, and what is booked touches the caps of their models only.
SELECT pg_temp.hold(:hal, 400, now() - interval '1 hour', '1 ms', models => 2);
SELECT pg_temp.hold(:hal, 7, now() - interval '1 hour', '1 ms');
SELECT cap_type, model, held FROM ducto.spend_caps WHERE account_id = :hal ORDER BY cap_type, model;
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:hal);
SELECT capped, current_spend, model FROM ducto_check_spend_cap(:hal, 'm1', 500);
SELECT affordable, reason FROM ducto_can_afford(:hal, 500, 'm1');
SELECT affordable, reason FROM ducto_can_afford(:hal, 500.0001, 'm1');
SELECT relation, updated FROM pg_temp.work($$SELECT FROM ducto_charge('00000000-0000-4000-8000-0000000bac08', 100000, model => 'm2')$$)
WHERE relation IN ('reservations', 'spend_caps') ORDER BY relation;
SELECT c.cap_type, c.model, c.held, l.current_spend FROM ducto.spend_caps c JOIN ducto_list_spend_caps(:hal) l
	ON l.cap_type = c.cap_type AND coalesce(l.model, '') = c.model WHERE c.account_id = :hal ORDER BY cap_type, model;
SELECT * FROM ducto_verify(:hal);

-- A cap that is set while some are still being closed counts what is held.
SELECT pg_temp.hold(:hal, 1500, now() - interval '1 hour', '1 us', models => 2);
SELECT balance_after FROM ducto_charge(:hal, 1);
SELECT * FROM pg_temp.states(:hal);
SELECT ducto_remove_spend_cap(:hal, 'daily'), ducto_remove_spend_cap(:hal, 'daily', 'm1');
SELECT pg_temp.hold(:hal, 2300, now() - interval '1 minute', '1 us', models => 2);
SELECT current_spend FROM ducto_set_spend_cap(:hal, 'daily', 5000);
SELECT current_spend FROM ducto_set_spend_cap(:hal, 'daily', 5000, 'warn', 'm1');
SELECT model, spent, held FROM ducto.spend_caps WHERE account_id = :hal AND cap_type = 'daily' ORDER BY model;
SELECT * FROM ducto_verify(:hal);

-- A team of 200 members with 2,000 open holds. One ends: one member is touched, and no hold but that one.
SELECT team_id AS pack FROM ducto_create_team('Pack', 10000) \gset
SELECT count(ducto_add_team_member(:'pack', pg_temp.member(i), spend_cap => 100)) FROM generate_series(0, 199) AS i;
SELECT pg_temp.hold(:'pack', 2000, now() + interval '1 day', '1 ms', members => 200);
SELECT pg_temp.hold(:'pack', 1, now() - interval '1 hour', '0', members => 1);
SELECT set_config('backlog.pack', :'pack', false) \g /dev/null
SELECT relation, updated, read <= 10 AS few FROM pg_temp.work($$SELECT FROM ducto_add_team_credits(current_setting('backlog.pack')::uuid, 1)$$)
WHERE relation IN ('reservations', 'team_members') ORDER BY relation;
SELECT relation, updated, read <= 10 AS few FROM pg_temp.work($$SELECT FROM ducto_deduct_team(current_setting('backlog.pack')::uuid, pg_temp.member(7), 1)$$)
WHERE relation IN ('reservations', 'team_members') ORDER BY relation;
SELECT r.id AS r, r2.id AS r2 FROM ducto.reservations r JOIN ducto.reservations r2 ON r2.account_id = r.account_id AND r2.id > r.id
WHERE r.account_id = :'pack' AND r.state = 'open' AND r2.state = 'open' AND r.actor = pg_temp.member(3) AND r2.actor = r.actor ORDER BY r.id LIMIT 1 \gset
SELECT set_config('backlog.r', :'r', false), set_config('backlog.r2', :'r2', false) \g /dev/null
SELECT relation, updated, read <= 10 AS few FROM pg_temp.work($$SELECT FROM ducto_deduct(pg_temp.member(3), current_setting('backlog.r')::uuid, 1)$$)
WHERE relation IN ('reservations', 'team_members') ORDER BY relation;
SELECT relation, updated, read <= 10 AS few FROM pg_temp.work($$SELECT FROM ducto_renew(pg_temp.member(3), current_setting('backlog.r2')::uuid)$$)
WHERE relation IN ('reservations', 'team_members') ORDER BY relation;
SELECT relation, updated, read <= 10 AS few FROM pg_temp.work($$SELECT FROM ducto_release(pg_temp.member(3), current_setting('backlog.r2')::uuid)$$)
WHERE relation IN ('reservations', 'team_members') ORDER BY relation;
SELECT * FROM ducto_verify(:'pack');

-- All of them end at once: each member is touched once.
UPDATE ducto.reservations SET expires_at = expires_at - interval '2 days' WHERE account_id = :'pack' AND state = 'open';
UPDATE ducto.accounts SET next_boundary = now() WHERE id = :'pack';
SELECT balance, reserved, available FROM ducto_get_team_balance(:'pack');
SELECT relation, updated, read <= 4 * 2000 AS linear FROM pg_temp.work($$SELECT FROM ducto_add_team_credits(current_setting('backlog.pack')::uuid, 1)$$)
WHERE relation IN ('reservations', 'team_members') ORDER BY relation;
SELECT count(*), sum(held) FROM ducto.team_members WHERE team_id = :'pack';
SELECT error FROM ducto_deduct_team(:'pack', pg_temp.member(5), 100);
SELECT error FROM ducto_deduct_team(:'pack', pg_temp.member(5), 0.0001);
SELECT * FROM ducto_verify();
