-- priority: credit that never expires may have a place in the order in which credit is spent

\set ada '\'4410e000-0000-4000-8000-000000000001\''
\set bob '\'4410e000-0000-4000-8000-000000000002\''
\set cyd '\'4410e000-0000-4000-8000-000000000003\''
\set dan '\'4410e000-0000-4000-8000-000000000004\''
\set eve '\'4410e000-0000-4000-8000-000000000005\''
\set fay '\'4410e000-0000-4000-8000-000000000006\''
\set gus '\'4410e000-0000-4000-8000-000000000007\''

-- A gift that never expires is spent before what was paid for, when both are told so; credit without a place is spent last.
SELECT new_balance, expires_at FROM ducto_add_credits(:ada, 10, 'purchase', priority => 60);
SELECT new_balance, expires_at FROM ducto_add_credits(:ada, 10, 'purchase');
SELECT new_balance, expires_at FROM ducto_add_credits(:ada, 10, 'promo', priority => 10);
SELECT new_balance, expires_at = '2222-01-01' AS expires FROM ducto_add_credits(:ada, 10, 'subscription', expires_at => '2222-01-01', priority => 60);
SELECT type, amount, remaining, priority, expires_at = '2222-01-01' AS expires FROM ducto_list_grants(:ada);
SELECT balance, next_expiry = '2222-01-01' AS expires FROM ducto_get_balance(:ada);
SELECT balance, expiring, next_boundary = '2222-01-01' AS boundary FROM ducto.accounts WHERE id = :ada;

-- Of one priority, what expires goes first. What was spent of which is on the entry.
CREATE FUNCTION pg_temp.spent(owner uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(coalesce(g.type, 'in no grant') || ' ' || trim_scale(b.amount), ', ' ORDER BY n)
	FROM (SELECT * FROM ducto.ledger WHERE account_id = owner ORDER BY seq DESC LIMIT 1) l,
		unnest(l.burned_grants || NULL::uuid, l.burned_amounts || -l.amount - coalesce((SELECT sum(b) FROM unnest(l.burned_amounts) b), 0)) WITH ORDINALITY b (id, amount, n)
		LEFT JOIN (SELECT id, type FROM ducto.grants WHERE account_id = owner) g USING (id)
	WHERE b.amount > 0
$$;
SELECT balance_after FROM ducto_charge(:ada, 4);
SELECT pg_temp.spent(:ada);
SELECT balance_after FROM ducto_charge(:ada, 18);
SELECT pg_temp.spent(:ada);
SELECT transaction_id AS tx, balance_after FROM ducto_charge(:ada, 17) \gset
SELECT pg_temp.spent(:ada);
SELECT type, remaining FROM ducto_list_grants(:ada);

-- It never expires, swept or not, whatever time goes by.
SELECT expired_count FROM ducto_sweep_expired(dry_run => true);
SELECT next_expiry FROM ducto_get_balance(:ada);

-- A refund goes back to where it came from, the last that was spent first.
SELECT amount, new_balance FROM ducto_refund(:'tx', 12);
SELECT type, remaining FROM ducto_list_grants(:ada);

-- A retry is told the same; the entry keeps the priority.
SELECT amount, expires_at, idempotent FROM ducto_add_credits(:bob, 5, 'promo', idempotency_key => 'gift', priority => 0);
SELECT amount, expires_at, idempotent FROM ducto_add_credits(:bob, 5, 'promo', idempotency_key => 'gift', priority => 0);
SELECT amount, expires_at, priority FROM ducto.ledger WHERE account_id = :bob;

-- 50 is a priority like any other when it is told, and what nobody tells makes no grant.
SELECT new_balance FROM ducto_add_credits(:bob, 5, 'adjustment', priority => 50);
SELECT new_balance FROM ducto_add_credits(:bob, 5, 'adjustment', priority => NULL);
SELECT type, priority, amount FROM ducto_list_grants(:bob);

-- A debt eats it first, and a negative adjustment spends it as a charge would.
SELECT balance_after FROM ducto_charge(:cyd, 4, overrun => 'full');
SELECT new_balance FROM ducto_add_credits(:cyd, 10, 'purchase', priority => 5);
SELECT amount, remaining FROM ducto_list_grants(:cyd);
SELECT new_balance FROM ducto_add_credits(:cyd, -1);
SELECT amount, remaining FROM ducto_list_grants(:cyd);

-- Many of them beside one that expires: only that one does.
SELECT count(r.error) FROM generate_series(1, 30) n, LATERAL ducto_add_credits(:dan, 1, 'promo', priority => (n % 3)::integer) r;
SELECT new_balance FROM ducto_add_credits(:dan, 1, 'promo', expires_at => clock_timestamp() + interval '0.2 s', priority => 1);
SELECT pg_sleep(0.3) \g /dev/null
SELECT balance, next_expiry FROM ducto_get_balance(:dan);
SELECT amount, balance_after FROM ducto_charge(:dan, 12);
SELECT priority, count(*), sum(remaining) FROM ducto_list_grants(:dan) GROUP BY 1 ORDER BY 1;

-- It is taken back as it was given.
SELECT transaction_id AS tx FROM ducto_add_credits(:eve, 10, 'purchase', priority => 60) \gset
SELECT new_balance FROM ducto_add_credits(:eve, 10, 'promo', priority => 1);
SELECT amount, shortfall, new_balance, lifetime_purchased FROM ducto_reverse_credits(:'tx', overrun => 'unspent');
SELECT type, remaining FROM ducto_list_grants(:eve);

-- A hold is paid from it in its order.
SELECT new_balance FROM ducto_add_credits(:fay, 10, 'purchase', priority => 60);
SELECT new_balance FROM ducto_add_credits(:fay, 10, 'promo', priority => 1);
SELECT reservation_id AS r FROM ducto_reserve(:fay, 15, min_balance => 0) \gset
SELECT amount, balance_after FROM ducto_deduct(:fay, :'r', 15);
SELECT type, remaining FROM ducto_list_grants(:fay);

-- A team's pool, too.
SELECT team_id AS t FROM ducto_create_team('crew') \gset
SELECT new_balance FROM ducto_add_team_credits(:'t', 10, priority => 7);
SELECT priority, remaining FROM ducto_list_grants(:'t');

-- What cannot be.
SELECT new_balance FROM ducto_add_credits(:gus, -1, priority => 1);
SELECT new_balance FROM ducto_add_credits(:gus, 0, priority => 50);
SELECT new_balance FROM ducto_add_credits(:gus, 1, priority => 101);

-- The auditor counts it as any grant.
BEGIN;
UPDATE ducto.grants SET remaining = 3 WHERE account_id = :fay AND type = 'purchase';
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name, expected, actual FROM ducto_verify(:fay);
ROLLBACK;
SELECT * FROM ducto_verify();
