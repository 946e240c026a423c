-- figures: what all accounts have, and what is owed to them

\set ada '\'f1600000-0000-4000-8000-00000000000a\''
\set bob '\'f1600000-0000-4000-8000-00000000000b\''
\set eve '\'f1600000-0000-4000-8000-00000000000e\''
\set fay '\'f1600000-0000-4000-8000-00000000000f\''
\set hal '\'f1600000-0000-4000-8000-000000000002\''
\set gil '\'f1600000-0000-4000-8000-000000000001\''
SET TIME ZONE 'UTC';
SET client_min_messages = warning;
CALL ducto_sweep();
RESET client_min_messages;

-- Other tests leave credits behind: what is owed is told as the difference to that.
CREATE TEMP TABLE before AS SELECT * FROM ducto_liability();
CREATE FUNCTION pg_temp.owed(at timestamptz DEFAULT NULL) RETURNS TABLE (paid numeric, granted numeric, other numeric, in_debt numeric, held numeric, accounts bigint) LANGUAGE sql
AS 'SELECT n.paid - b.paid, n.granted - b.granted, n.other - b.other, n.in_debt - b.in_debt, n.held - b.held, n.accounts - b.accounts FROM ducto_liability($1) n, before b';
-- What was there at a moment, to be asked for again later.
CREATE TEMP TABLE seen (n integer GENERATED ALWAYS AS IDENTITY, at timestamptz, owed ducto_liability_result);
CREATE FUNCTION pg_temp.look() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz;
	found ducto_liability_result;
BEGIN
	LOOP
		start := clock_timestamp();
		found := ducto_liability();
		EXIT WHEN NOT EXISTS (SELECT 1 FROM ducto.grants WHERE expires_at BETWEEN start AND clock_timestamp())
			AND NOT EXISTS (SELECT 1 FROM ducto.reservations WHERE expires_at BETWEEN start AND clock_timestamp());
	END LOOP;
	INSERT INTO seen (at, owed) VALUES (start, found);
END
$$;
-- Whether a moment looks otherwise now. Reservations of other tests, of clocks that were set back, held nothing.
CREATE TEMP TABLE never_held AS SELECT (ducto_liability(clock_timestamp())).held - held AS held FROM before;
CREATE FUNCTION pg_temp.differs(at timestamptz, owed ducto_liability_result) RETURNS boolean LANGUAGE sql AS $$
SELECT (l.paid, l.granted, l.other, l.in_debt, l.held, l.accounts) IS DISTINCT FROM (owed.paid, owed.granted, owed.other, owed.in_debt, owed.held + n.held, owed.accounts)
FROM ducto_liability(at) l, never_held n
$$;

-- What was paid and what was given are told apart, by its grant where it has one.
SELECT count(*) FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT count(*) FROM ducto_add_credits(:ada, 20, 'promo', expires_at => clock_timestamp() + interval '1 day');
SELECT count(*) FROM ducto_add_credits(:ada, 30, 'purchase', expires_at => clock_timestamp() + interval '2 days');
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
-- The promo is spent first, then the purchase that expires.
SELECT amount, transaction_id AS tx FROM ducto_charge(:ada, 25) \gset
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
-- A refund gives back to the grants that were spent.
SELECT amount FROM ducto_refund(:'tx', 10);
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
-- Of credit that never expires, what was added first is spent first. An adjustment is neither paid nor given.
SELECT count(*) FROM ducto_add_credits(:bob, 10, 'signup_bonus');
SELECT count(*) FROM ducto_add_credits(:bob, 50, 'purchase');
SELECT count(*) FROM ducto_add_credits(:bob, 5, 'subscription');
SELECT count(*) FROM ducto_add_credits(:bob, 2);
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
SELECT amount FROM ducto_charge(:bob, 12.5);
SELECT * FROM pg_temp.owed();
SELECT new_balance FROM ducto_add_credits(:bob, -50);
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
-- A pool of a team; who has overdrawn owes that.
SELECT team_id AS team FROM ducto_create_team('Owed', 40) \gset
SELECT error FROM ducto_add_team_member(:'team', :bob);
SELECT amount FROM ducto_deduct_team(:'team', :bob, 6);
SELECT new_balance FROM ducto_add_team_credits(:'team', 60);
SELECT reservation_id AS r, error FROM ducto_reserve(:eve, 7, min_balance => 0, billing_mode => 'overdraft', overdraft_floor => -100) \gset
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
SELECT balance_after FROM ducto_deduct(:eve, :'r', 3, final => false);
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
SELECT balance_after FROM ducto_deduct(:eve, :'r', 9, overrun => 'full');
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
-- What pays a debt off is gone; what is left of it counts.
SELECT new_balance FROM ducto_add_credits(:eve, 15, 'promo', expires_at => clock_timestamp() + interval '1 day');
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
-- What is taken back is that very credit: what is left of it, then others.
SELECT count(*) FROM ducto_add_credits(:gil, 10, 'purchase');
SELECT transaction_id AS given FROM ducto_add_credits(:gil, 7, 'promo') \gset
SELECT transaction_id AS granted FROM ducto_add_credits(:gil, 3, 'promo', expires_at => clock_timestamp() + interval '1 day') \gset
SELECT * FROM pg_temp.owed();
SELECT amount FROM ducto_reverse_credits(:'given', 6);
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
SELECT amount FROM ducto_charge(:gil, 2);
SELECT amount FROM ducto_reverse_credits(:'granted');
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
-- What is moved stays what it is where it has a grant; of other credit the receiver's is neither paid nor given.
SELECT count(*) FROM ducto_add_credits(:gil, 5, 'promo', priority => 10);
SELECT * FROM pg_temp.owed();
SELECT amount FROM ducto_transfer(:gil, :hal, 7);
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
-- Expired credit and ended holds do not count, booked or not. A hold that ends lets go what it kept.
SELECT count(*) FROM ducto_add_credits(:fay, 8, 'promo', expires_at => clock_timestamp() + interval '1 second');
SELECT count(*) FROM ducto_add_credits(:fay, 4, 'purchase', expires_at => clock_timestamp() + interval '1 second');
SELECT error FROM ducto_reserve(:fay, 9, min_balance => 0, ttl_seconds => 2);
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
SELECT pg_sleep(1.1);
SELECT * FROM pg_temp.owed();
SELECT * FROM ducto_expiring(clock_timestamp() + interval '1 second');
SELECT pg_temp.look();
SELECT pg_sleep(1);
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();
SELECT expired_amount FROM ducto_sweep_expired();
SELECT * FROM pg_temp.owed();
SELECT pg_temp.look();

-- Asked for later, each moment gives what was there then: the ledger knows.
SELECT count(*) AS moments, count(*) FILTER (WHERE pg_temp.differs(at, owed)) AS different FROM seen;
-- And what is owed is the balances.
CREATE FUNCTION pg_temp.balances(at timestamptz) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	ids uuid[] := (SELECT array_agg(id) FROM ducto.accounts);
BEGIN
	RETURN (SELECT sum(ducto_balance_at(i, at)) FROM unnest(ids) i);
END
$$;
SELECT count(*) FILTER (WHERE (owed).paid + (owed).granted + (owed).other - (owed).in_debt IS DISTINCT FROM pg_temp.balances(at)) AS different FROM seen;
SELECT paid + granted + other - in_debt - (SELECT sum(b.balance) FROM ducto.accounts a, ducto_get_balance(a.id) b) AS difference FROM ducto_liability();

-- Many operations at random, and a look after each few of them.
SELECT setseed(0.25);
CREATE PROCEDURE pg_temp.live(n integer) LANGUAGE plpgsql AS $$
DECLARE
	who uuid;
	other uuid;
	hold uuid;
BEGIN
	FOR i IN 1 .. n LOOP
		who := ('f1600000-0000-4000-9000-00000000000' || floor(random() * 6))::uuid;
		other := ('f1600000-0000-4000-9000-00000000000' || floor(random() * 6))::uuid;
		CASE floor(random() * 9)
			WHEN 0 THEN PERFORM ducto_add_credits(who, round((random() * 20)::numeric, 4) + 1, (ARRAY['purchase', 'promo', 'subscription', 'adjustment', 'signup_bonus'])[1 + floor(random() * 5)]);
			WHEN 1 THEN PERFORM ducto_add_credits(who, 9.5, (ARRAY['purchase', 'promo'])[1 + floor(random() * 2)], expires_at => clock_timestamp() + random() * interval '0.4 seconds' + interval '1 ms');
			WHEN 2 THEN PERFORM ducto_add_credits(who, 6.25, (ARRAY['purchase', 'promo'])[1 + floor(random() * 2)], expires_at => clock_timestamp() + interval '1 day', priority => floor(random() * 100)::integer);
			WHEN 3 THEN PERFORM ducto_refund(id, least(2, -amount)) FROM ducto_list_transactions(who, types => '{usage}', max_rows => 1) WHERE amount < -0.1;
			WHEN 5 THEN PERFORM ducto_transfer(who, other, round((random() * 5)::numeric, 4) + 0.1) WHERE who <> other;
			WHEN 4 THEN
				SELECT reservation_id INTO hold FROM ducto_reserve(who, 5, min_balance => 0);
				PERFORM ducto_deduct(who, hold, 1.5, final => random() < 0.7, overrun => 'full') WHERE hold IS NOT NULL;
			ELSE PERFORM ducto_charge(who, round((random() * 8)::numeric, 4)) FROM pg_sleep(0.001);
		END CASE;
		COMMIT;
		IF i % 10 = 0 THEN
			PERFORM pg_temp.look();
			COMMIT;
		END IF;
	END LOOP;
END
$$;
TRUNCATE seen;
CALL pg_temp.live(400);
SELECT pg_sleep(0.5);
SELECT count(*) AS moments, count(*) FILTER (WHERE pg_temp.differs(at, owed)) AS different,
	count(*) FILTER (WHERE (owed).paid + (owed).granted + (owed).other - (owed).in_debt IS DISTINCT FROM pg_temp.balances(at)) AS not_balances,
	bool_and((owed).paid >= 0 AND (owed).granted >= 0 AND (owed).other >= 0) AS not_negative FROM seen;
SET client_min_messages = warning;
CALL ducto_sweep();
RESET client_min_messages;
SELECT count(*) AS moments, count(*) FILTER (WHERE pg_temp.differs(at, owed)) AS different FROM seen;
SELECT * FROM ducto_liability('infinity');
SELECT * FROM ducto_liability('2222-01-01');
SELECT paid, granted, in_debt, held, accounts, other FROM ducto_liability('0001-01-01');
BEGIN READ ONLY;
SELECT l = ducto_liability() AS same FROM ducto_liability(NULL) l;
COMMIT;

-- What expires, by day and type; what has expired does not any more.
SELECT count(*) FROM ducto_add_credits(:fay, 1.5, 'promo', expires_at => '2222-05-05 23:59:59.999999+00');
SELECT count(*) FROM ducto_add_credits(:fay, 2, 'promo', expires_at => '2222-05-05 00:00+00');
SELECT count(*) FROM ducto_add_credits(:ada, 3, 'purchase', expires_at => '2222-05-05 12:00+00');
SELECT count(*) FROM ducto_add_credits(:ada, 4, 'promo', expires_at => '2222-05-06 00:00+00');
SELECT * FROM ducto_expiring('2222-05-06') WHERE date >= '2222-05-05';
SELECT * FROM ducto_expiring('2222-05-05 12:00') WHERE date >= '2222-05-05';
SET TIME ZONE 'Pacific/Kiritimati';
SELECT * FROM ducto_expiring('2222-05-06 14:00') WHERE date >= '2222-05-05';
SET TIME ZONE 'UTC';
SELECT count(*) FROM ducto_expiring('2020-01-01');
SELECT * FROM ducto_expiring(NULL);
SELECT * FROM ducto_expiring('infinity');

-- Accounts, page by page, in an order.
CREATE FUNCTION pg_temp.mine(order_by text, kind text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(coalesce(name, right(account_id::text, 1)) || ' ' || balance, ', ' ORDER BY n) FROM ducto_list_accounts(kind, order_by, 100000) WITH ORDINALITY
	l (account_id, kind, name, plan_id, balance, reserved, available, lifetime_purchased, created_at, updated_at, n)
WHERE account_id IN ('f1600000-0000-4000-8000-00000000000a', 'f1600000-0000-4000-8000-00000000000b', 'f1600000-0000-4000-8000-00000000000e', 'f1600000-0000-4000-8000-00000000000f') OR name = 'Owed'
$$;
SELECT reservation_id AS r FROM ducto_reserve(:eve, 10.5, billing_mode => 'overdraft', overdraft_floor => -100) \gset
SELECT balance_after FROM ducto_deduct(:eve, :'r', 10.5);
SELECT order_by, pg_temp.mine(order_by) FROM unnest('{id, balance, debt, created_at, updated_at}'::text[]) order_by;
SELECT kind, pg_temp.mine('balance', kind) FROM unnest('{user, team}'::text[]) kind;
SELECT kind, name, plan_id, balance, reserved, available, lifetime_purchased, created_at <= updated_at AS used FROM ducto_list_accounts('team', 'created_at', 1);
-- The pages are the whole, in each order.
CREATE FUNCTION pg_temp.paged(order_by text, page integer) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
	ids uuid[] := '{}';
	more uuid[];
BEGIN
	LOOP
		SELECT array_agg(account_id ORDER BY n) INTO more FROM ducto_list_accounts(order_by => paged.order_by, max_rows => page, after => ids[cardinality(ids)]) WITH ORDINALITY
			l (account_id, kind, name, plan_id, balance, reserved, available, lifetime_purchased, created_at, updated_at, n);
		EXIT WHEN more IS NULL;
		ids := ids || more;
	END LOOP;
	RETURN ids;
END
$$;
SELECT o AS order_by, pg_temp.paged(o, 7) = pg_temp.paged(o, 1000000) AS same, cardinality(pg_temp.paged(o, 11)) = (SELECT count(*) FROM ducto.accounts) AS all
FROM unnest('{id, balance, debt, held, created_at, updated_at}'::text[]) o;
-- Credit that has expired is not in the list, swept or not; what is held neither is available.
SELECT count(*) FROM ducto_add_credits(:bob, 70, 'promo', expires_at => clock_timestamp() + interval '0.2 seconds');
SELECT pg_sleep(0.3);
SELECT l.balance = b.balance AND l.reserved = b.reserved AND l.available = b.available AS same FROM ducto_get_balance(:bob) b, ducto_list_accounts(max_rows => 100000) l WHERE account_id = :bob;
SELECT count(*) BETWEEN 8 AND 50 AS page FROM ducto_list_accounts(NULL, NULL, NULL, NULL);
SELECT * FROM ducto_list_accounts('group');
SELECT * FROM ducto_list_accounts(order_by => 'size');
SELECT * FROM ducto_list_accounts(max_rows => 0);
SELECT * FROM ducto_list_accounts(order_by => 'balance', after => '00000000-0000-4000-8000-0000000000ff');

SELECT * FROM ducto_verify();
