-- grant: credit that expires, the order in which it is spent, and its end
-- In a database of its own, which has a test clock.
\set own regress_ducto_grant
\i test/sql/include/own_database.sql

\set ada '\'64a70000-0000-4000-8000-000000000001\''
\set bob '\'64a70000-0000-4000-8000-000000000002\''
\set cyd '\'64a70000-0000-4000-8000-000000000003\''
\set dan '\'64a70000-0000-4000-8000-000000000004\''
\set eve '\'64a70000-0000-4000-8000-000000000005\''
\set fay '\'64a70000-0000-4000-8000-000000000006\''
\set gus '\'64a70000-0000-4000-8000-000000000007\''
\set hal '\'64a70000-0000-4000-8000-000000000008\''
\set ida '\'00000000-64a7-4000-8000-000000000001\''
\set jon '\'00000000-64a7-4000-8000-000000000002\''
\set kim '\'00000000-64a7-4000-8000-000000000003\''
\set lee '\'64a70000-0000-4000-8000-00000000000c\''
\set mia '\'64a70000-0000-4000-8000-00000000000d\''
\set ned '\'64a70000-0000-4000-8000-00000000000e\''
\set oli '\'64a70000-0000-4000-8000-00000000000f\''
\set pia '\'64a70000-0000-4000-8000-000000000010\''
\set qui '\'64a70000-0000-4000-8000-000000000011\''
\set nobody '\'64a70000-0000-4000-8000-0000000000ff\''

-- Credit that expires is listed with what remains of it; credit that does not has no grant.
SELECT new_balance FROM ducto_add_credits(:ada, 10, 'promo', '{"n": 1}', '2222-02-02 00:00+00');
SELECT new_balance FROM ducto_add_credits(:ada, 20, 'purchase');
SELECT l.id = g.grant_id AS has_the_entrys_id, g.type, g.amount, remaining, g.priority, g.expires_at = '2222-02-02 00:00+00' AS expires_as_given, g.created_at = l.created_at AS created_with_it
FROM ducto_list_grants(:ada) g, ducto.ledger l WHERE account_id = :ada AND seq = 1;
SELECT account_id, seq, type, amount, remaining, priority, live FROM ducto.grants WHERE account_id = :ada;
SELECT * FROM ducto_list_grants(:nobody);

-- Every type of credit may expire.
SELECT t.type, r.new_balance, r.expires_at IS NOT NULL AS expires, r.lifetime_purchased
FROM (VALUES (1, 'purchase'), (2, 'subscription'), (3, 'signup_bonus'), (4, 'adjustment'), (5, 'promo')) t (n, type), LATERAL ducto_add_credits(:bob, n, t.type, expires_at => '2222-02-02') r
ORDER BY n;
SELECT type, amount, remaining, priority FROM ducto_list_grants(:bob);

-- The order of spending, as a table of cases. A case adds grants (amount, priority, day in January 2222; no day: never expires) in the order given,
-- then charges; what is left of each is listed in the order in which they were added.
CREATE FUNCTION pg_temp.burn(owner uuid, grants text[], charge numeric) RETURNS TABLE (n bigint, remaining text, listed text, burned numeric[], balance numeric)
LANGUAGE plpgsql AS $$
DECLARE
	g text;
	ids uuid[];
	entry uuid;
BEGIN
	FOREACH g IN ARRAY grants LOOP
		ids := ids || (ducto_add_credits(owner, split_part(g, ' ', 1)::numeric,
			expires_at => ('2222-01-' || nullif(split_part(g, ' ', 3), ''))::timestamptz, priority => nullif(split_part(g, ' ', 2), '')::integer)).transaction_id;
	END LOOP;
	entry := (ducto_charge(owner, charge)).transaction_id;
	RETURN QUERY SELECT (SELECT count(*) FROM ducto_list_grants(owner)),
		(SELECT string_agg(coalesce(trim_scale(t.remaining)::text, 'none'), ' ' ORDER BY u.n) FROM unnest(ids) WITH ORDINALITY u (id, n) LEFT JOIN ducto.grants t ON t.id = u.id AND t.account_id = owner),
		(SELECT string_agg(array_position(ids, grant_id)::text, ' ' ORDER BY o) FROM ducto_list_grants(owner) WITH ORDINALITY l (grant_id, type, amount, remaining, priority, expires_at, created_at, o)),
		(SELECT array_agg(trim_scale(b)) FROM ducto.ledger l, unnest(l.burned_amounts) b WHERE l.account_id = owner AND l.id = entry),
		(ducto_get_balance(owner)).balance;
END $$;
SELECT c.n, c.why, c.grants, c.charge, r.remaining, r.listed, r.burned, r.balance
FROM (VALUES
	(1, 'sooner expiry first', '{10 50 9,10 50 3,10 50 5}'::text[], 15),
	(2, 'lower priority before sooner expiry', '{10 50 1,10 10 9}', 5),
	(3, 'priority, then expiry', '{10 20 5,10 10 9,10 10 8,10 20 4}', 25),
	(4, 'of equals the older', '{10 50 5,10 50 5,10 50 5}', 12),
	(5, 'what never expires last', '{10,10 100 9}', 11),
	(6, 'priority 0 is the first, 100 the last', '{10 100 1,10 0 9,10 50 5}', 21),
	(7, 'exactly one', '{10 50 3,10 50 5}', 10),
	(8, 'exactly all', '{10 50 3,10 50 5}', 20),
	(9, 'all and then the rest', '{10 50 3,10 50 5,10}', 25),
	(10, 'the smallest part', '{10 50 3,10 50 5}', 0.0001),
	(11, 'nothing that expires', '{10,5}', 12),
	(12, 'no priority is 50', '{10 51 1,10  9,10 49 9}', 15)
	) c (n, why, grants, charge),
	LATERAL pg_temp.burn(('64a70000-0000-4000-8000-0000000001' || lpad(c.n::text, 2, '0'))::uuid, c.grants, c.charge) r
ORDER BY c.n;

-- What an entry burned is on the entry, in that order, for a refund to find.
SELECT new_balance FROM ducto_add_credits(:cyd, 5, expires_at => '2222-01-02');
SELECT new_balance FROM ducto_add_credits(:cyd, 5, expires_at => '2222-01-01');
SELECT amount FROM ducto_charge(:cyd, 7);
SELECT amount, burned_amounts, burned_grants = ARRAY[(SELECT id FROM ducto.grants WHERE account_id = :cyd AND seq = 2), (SELECT id FROM ducto.grants WHERE account_id = :cyd AND seq = 1)] AS soonest_first
FROM ducto.ledger WHERE account_id = :cyd AND seq = 3;

-- A deduct burns the same way, and a capture, and a negative adjustment, which is no spend but takes what a debit would.
SELECT new_balance FROM ducto_add_credits(:dan, 10, 'promo', expires_at => '2222-01-01');
SELECT new_balance FROM ducto_add_credits(:dan, 10, 'purchase');
SELECT reservation_id AS r FROM ducto_reserve(:dan, 6) \gset
SELECT amount, balance_after FROM ducto_deduct(:dan, :'r', 2, final => false);
SELECT remaining FROM ducto_list_grants(:dan);
SELECT amount, balance_after FROM ducto_deduct(:dan, :'r', 3);
SELECT remaining FROM ducto_list_grants(:dan);
SELECT new_balance FROM ducto_add_credits(:dan, -4);
SELECT remaining FROM ducto_list_grants(:dan);
SELECT new_balance FROM ducto_add_credits(:dan, -2);
SELECT count(*) FROM ducto_list_grants(:dan);
SELECT balance, lifetime_purchased, next_expiry FROM ducto_get_balance(:dan);
SELECT type, amount, burned_amounts FROM ducto.ledger WHERE account_id = :dan ORDER BY seq;

-- A debt eats a grant first: what remains of it is what is above zero, and only that can expire.
SELECT reservation_id AS r FROM ducto_reserve(:eve, 10, billing_mode => 'overdraft', overdraft_floor => -30) \gset
SELECT balance_after FROM ducto_deduct(:eve, :'r', 10);
SELECT amount, new_balance FROM ducto_add_credits(:eve, 4, 'promo', expires_at => '2222-01-01');
SELECT count(*) FROM ducto_list_grants(:eve);
SELECT amount, new_balance FROM ducto_add_credits(:eve, 6, 'promo', expires_at => '2222-01-01');
SELECT amount, new_balance FROM ducto_add_credits(:eve, 0.5, 'promo', expires_at => '2222-01-01');
SELECT amount, remaining FROM ducto_list_grants(:eve);
SELECT balance_after FROM ducto_charge(:eve, 0.5);
SELECT reservation_id AS r FROM ducto_reserve(:eve, 10, billing_mode => 'overdraft', overdraft_floor => -30) \gset
SELECT balance_after FROM ducto_deduct(:eve, :'r', 10);
SELECT amount, new_balance FROM ducto_add_credits(:eve, 25, 'promo', expires_at => '2222-01-01');
SELECT amount, remaining FROM ducto_list_grants(:eve);
SELECT amount, remaining, live FROM ducto.grants WHERE account_id = :eve ORDER BY seq;

-- Going into debt takes all grants there are.
SELECT reservation_id AS r FROM ducto_reserve(:eve, 40, billing_mode => 'overdraft', overdraft_floor => -30) \gset
SELECT balance_after FROM ducto_deduct(:eve, :'r', 40);
SELECT count(*) FROM ducto_list_grants(:eve);
SELECT balance, expiring FROM ducto.accounts WHERE id = :eve;

-- Now to the end of credit. At its time it is gone, with nobody having swept: from the balance, the list and every decision.
-- Fay's expires, Gus's is needed by holds, Hal's by a hold that expires, Ida's to Kim's are for the sweeps, Lee's is spent in part, Mia's and Quinn's are needed by holds too.
SELECT new_balance FROM ducto_add_credits(:fay, 10, 'purchase');
SELECT expires_at AS fe FROM ducto_add_credits(:fay, 5, 'promo', expires_at => ducto.clock() + interval '100 s') \gset
SELECT new_balance FROM ducto_add_credits(:fay, 3, 'promo', expires_at => '2222-01-01');
SELECT new_balance FROM ducto_add_credits(:fay, 2, 'promo', expires_at => :'fe', priority => 99);
SELECT balance, available, next_expiry = :'fe' AS the_first FROM ducto_get_balance(:fay);
SELECT remaining FROM ducto_list_grants(:fay);
SELECT balance_after FROM ducto_charge(:fay, 1);
SELECT new_balance FROM ducto_add_credits(:gus, 6, 'purchase');
SELECT expires_at AS ge FROM ducto_add_credits(:gus, 10, 'promo', expires_at => ducto.clock() + interval '100 s') \gset
SELECT reservation_id AS g1 FROM ducto_reserve(:gus, 9, min_balance => 0) \gset
SELECT reservation_id AS g2 FROM ducto_reserve(:gus, 4, min_balance => 0) \gset
SELECT expires_at AS he FROM ducto_add_credits(:hal, 10, 'promo', expires_at => ducto.clock() + interval '90 s') \gset
SELECT expires_at AS hre, reservation_id AS hr FROM ducto_reserve(:hal, 4, min_balance => 0, ttl_seconds => 100) \gset
SELECT ducto_expire_reservations() >= 0 AS cleaned, expired_count >= 0 AS swept FROM ducto_sweep_expired();
SELECT new_balance FROM ducto_add_credits(:ida, 7, 'promo', expires_at => ducto.clock() + interval '100 s');
SELECT new_balance FROM ducto_add_credits(:ida, 2, 'promo', expires_at => ducto.clock() + interval '100 s');
SELECT new_balance FROM ducto_add_credits(:jon, 5, 'promo', expires_at => ducto.clock() + interval '100 s');
SELECT reservation_id AS jr FROM ducto_reserve(:jon, 5, min_balance => 0) \gset
SELECT new_balance FROM ducto_add_credits(:kim, 11, 'promo', expires_at => ducto.clock() + interval '100 s');
SELECT new_balance FROM ducto_add_credits(:kim, 1, 'purchase');
SELECT new_balance FROM ducto_add_credits(:lee, 10, 'promo', expires_at => ducto.clock() + interval '100 s');
SELECT reservation_id AS lr FROM ducto_reserve(:lee, 1, min_balance => 0) \gset
SELECT balance_after FROM ducto_deduct(:lee, :'lr', 4, overrun => 'full');
SELECT new_balance FROM ducto_add_credits(:mia, 10, 'promo', expires_at => ducto.clock() + interval '100 s');
SELECT reservation_id AS mr FROM ducto_reserve(:mia, 6, min_balance => 0) \gset
SELECT new_balance FROM ducto_add_credits(:qui, 5, 'promo', expires_at => ducto.clock() + interval '100 s', priority => 100);
SELECT new_balance FROM ducto_add_credits(:qui, 5, 'promo', expires_at => '2222-01-01', priority => 0);
SELECT reservation_id AS qr FROM ducto_reserve(:qui, 8, min_balance => 0) \gset

-- In one transaction, too: the clock is read at each call, so a long transaction does not spend what expires under it.
BEGIN;
SELECT balance FROM ducto_get_balance(:kim);
SELECT ducto_advance_clock('110 s') \g /dev/null
SELECT balance FROM ducto_get_balance(:kim);
SELECT balance_after, error FROM ducto_charge(:kim, 2);
COMMIT;
SELECT balance, available, next_expiry = '2222-01-01' AS the_next FROM ducto_get_balance(:fay);
SELECT amount, remaining FROM ducto_list_grants(:fay);
SELECT affordable, available FROM ducto_can_afford(:fay, 9);
SELECT balance_after, error FROM ducto_charge(:fay, 13.0001);
SELECT balance_after, error FROM ducto_charge(:fay, 13);

-- The operation that met it has booked it, an entry for each grant, from the moment at which it could not be spent.
SELECT l.type, l.amount, l.balance_after, g.amount AS granted, l.effective_at = :'fe' AS from_its_time, l.created_at > :'fe' AS booked_later, operation_type, actor, model, idempotency_key, metadata
FROM ducto.ledger l LEFT JOIN ducto.grants g ON g.account_id = l.account_id AND g.id = l.reference WHERE l.account_id = :fay AND l.seq > 4 ORDER BY l.seq;
SELECT amount, type, operation_type, total_count FROM ducto_list_transactions(:fay, '{expiry}');
SELECT ducto_balance_at(:fay, timestamptz :'fe' - interval '1 microsecond') AS before, ducto_balance_at(:fay, :'fe') AS at_its_time;

-- Credit that a hold needs does not expire under it, because it was promised: 7 of Gus's 10 are needed beside the 6 that last, and stay, reserved and never available.
SELECT balance, reserved, available, next_expiry FROM ducto_get_balance(:gus);
SELECT count(*) FROM ducto_list_grants(:gus);
SELECT balance_after, error FROM ducto_charge(:gus, 0.0001);
SELECT error FROM ducto_reserve(:gus, 0.0001, min_balance => 0);
SELECT new_balance, error FROM ducto_add_credits(:gus, -0.0001);
SELECT ducto_balance_at(:gus, timestamptz :'ge' - interval '1 microsecond') AS before, ducto_balance_at(:gus, :'ge') AS at_its_time;

-- A deduct burns it first; what then no hold needs expires in the same call.
SELECT amount, balance_after, error FROM ducto_deduct(:gus, :'g1', 2);
SELECT balance, reserved, available FROM ducto_get_balance(:gus);
SELECT type, amount, balance_after, burned_amounts FROM ducto.ledger WHERE account_id = :gus ORDER BY seq;
SELECT released FROM ducto_release(:gus, :'g2');
SELECT balance, reserved, available, next_expiry FROM ducto_get_balance(:gus);

-- Kept credit is burned before any other, whatever its priority, because it would expire with the hold: 3 of 5 were kept, and the rest is of the grant that lasts.
SELECT balance, reserved, available, next_expiry = '2222-01-01' AS of_the_other FROM ducto_get_balance(:qui);
SELECT amount, remaining FROM ducto_list_grants(:qui);
SELECT amount, balance_after FROM ducto_deduct(:qui, :'qr', 4, final => false);
SELECT amount, remaining FROM ducto_list_grants(:qui);
SELECT balance, reserved, available FROM ducto_get_balance(:qui);

-- A hold that expires after the credit that it kept lets that expire at the hold's own end.
SELECT balance, reserved, available FROM ducto_get_balance(:hal);
SELECT ducto_balance_at(:hal, timestamptz :'he' - interval '1 microsecond') AS before, ducto_balance_at(:hal, :'he') AS kept_by_the_hold,
	ducto_balance_at(:hal, timestamptz :'hre' - interval '1 microsecond') AS still, ducto_balance_at(:hal, :'hre') AS after_the_hold;
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:hal, :'hr', 4, overrun => 'clamp');
SELECT type, amount, effective_at = :'he' AS at_the_grants_end, effective_at = :'hre' AS at_the_holds_end FROM ducto.ledger WHERE account_id = :hal ORDER BY seq;
SELECT ducto_balance_at(:hal, :'he') AS kept_by_the_hold, ducto_balance_at(:hal, :'hre') AS after_the_hold;

-- What was spent before its time does not expire.
SELECT balance, available FROM ducto_get_balance(:lee);

-- More credit makes kept credit needless: the hold is covered by what lasts, so the kept part expires.
SELECT balance, reserved, available FROM ducto_get_balance(:mia);
SELECT new_balance FROM ducto_add_credits(:mia, 2, 'purchase');
SELECT balance, reserved, available FROM ducto_get_balance(:mia);
SELECT new_balance FROM ducto_add_credits(:mia, 10, 'purchase');
SELECT balance, reserved, available FROM ducto_get_balance(:mia);
SELECT type, amount FROM ducto.ledger WHERE account_id = :mia ORDER BY seq;

-- A dry run reports what a run at that moment would expire, and writes nothing. Kim's has been met by her charge; Jon's is needed by his hold; Lee spent 4 of 10.
SELECT * FROM ducto_sweep_expired(true, 1);
SELECT * FROM ducto_sweep_expired(true);
SELECT * FROM ducto_sweep_expired(true);
SELECT count(*) FROM ducto.ledger WHERE account_id IN (:ida, :jon, :lee) AND type = 'expiry';
SELECT * FROM ducto_sweep_expired(false, 1);
SELECT account_id, type, amount, balance_after FROM ducto.ledger WHERE account_id IN (:ida, :jon, :lee) AND type = 'expiry' ORDER BY account_id, seq;
SELECT * FROM ducto_sweep_expired(NULL, NULL);
SELECT * FROM ducto_sweep_expired();
SELECT account_id, type, amount, balance_after FROM ducto.ledger WHERE account_id IN (:ida, :jon, :lee) AND type = 'expiry' ORDER BY account_id, seq;
SELECT balance, reserved FROM ducto_get_balance(:jon);

-- What a hold kept is swept when it ends.
SELECT released FROM ducto_release(:jon, :'jr');
SELECT balance, reserved FROM ducto_get_balance(:jon);
SELECT * FROM ducto_sweep_expired();

-- The procedure does all that is due, holds too, in batches with a commit after each, and says how far it got; it cannot run inside a transaction, which it would end.
SET client_min_messages = warning;
CALL ducto_sweep();
RESET client_min_messages;
SELECT new_balance FROM ducto_add_credits(:ned, 3, 'promo', expires_at => ducto.clock() + interval '10 s');
SELECT new_balance FROM ducto_add_credits(:oli, 3, 'promo', expires_at => ducto.clock() + interval '10 s');
SELECT new_balance FROM ducto_add_credits(:pia, 20, 'purchase');
SELECT amount, reserved FROM ducto_reserve(:pia, 4, ttl_seconds => 100);
SELECT ducto_advance_clock('110 s') \g /dev/null
BEGIN;
CALL ducto_sweep();
ROLLBACK;
DO $$BEGIN CALL ducto_sweep(2); END$$;
CALL ducto_sweep(2);
CALL ducto_sweep(NULL);
SELECT account_id, type, amount, balance_after FROM ducto.ledger WHERE account_id IN (:ned, :oli) AND type = 'expiry' ORDER BY account_id;
SELECT state, remaining FROM ducto.reservations WHERE account_id = :pia;

-- A moment is a moment in any zone: on Kiritimati it is already tomorrow.
SET TimeZone = 'Pacific/Kiritimati';
SELECT new_balance FROM ducto_add_credits(:ned, 4, 'promo', expires_at => '2222-01-01 14:00');
SELECT next_expiry = '2222-01-01 00:00+00' AS midnight_utc FROM ducto_get_balance(:ned);
SELECT expires_at AS ne FROM ducto_add_credits(:ned, 2, 'promo', expires_at => ducto.clock() + interval '50 s') \gset
SELECT balance, next_expiry = :'ne' AS soon FROM ducto_get_balance(:ned);
SELECT ducto_advance_clock('60 s') \g /dev/null
SELECT balance, next_expiry = '2222-01-01 00:00+00' AS midnight_utc FROM ducto_get_balance(:ned);
SELECT balance_after, error FROM ducto_charge(:ned, 5);
SELECT balance_after, error FROM ducto_charge(:ned, 4);
RESET TimeZone;

-- A thousand small grants on one account are spent by one charge, in order, and a part of one comes last.
SELECT count(*), max(r.new_balance) FROM generate_series(1, 1000) n, LATERAL ducto_add_credits(:oli, 0.5, 'promo', expires_at => timestamptz '2222-01-01' + n % 100 * interval '1 day', priority => n % 7) r;
SELECT count(*), sum(remaining) FROM ducto_list_grants(:oli);
SELECT amount, balance_after FROM ducto_charge(:oli, 400.25);
SELECT count(*), sum(remaining), min(remaining), min(priority) FROM ducto_list_grants(:oli);
SELECT cardinality(burned_grants), cardinality(burned_amounts), (SELECT sum(b) FROM unnest(burned_amounts) b) FROM ducto.ledger WHERE account_id = :oli AND type = 'usage';
SELECT bool_and((g.priority, g.expires_at, g.seq) > before) AS in_order
FROM (SELECT g.*, lag((g.priority, g.expires_at, g.seq)) OVER (ORDER BY b.n) AS before FROM ducto.ledger l, unnest(l.burned_grants) WITH ORDINALITY b (id, n)
	JOIN ducto.grants g ON g.account_id = :oli AND g.id = b.id WHERE l.account_id = :oli AND l.type = 'usage') g;
SELECT amount, balance_after FROM ducto_charge(:oli, 99.75);
SELECT balance, expiring FROM ducto.accounts WHERE id = :oli;

-- An account whose credit never expires has nothing of all this.
SELECT count(*) FROM ducto.grants WHERE account_id = :pia;
SELECT expiring, next_boundary FROM ducto.accounts WHERE id = :pia;

SELECT * FROM found();

\c :main
DROP DATABASE :own;
