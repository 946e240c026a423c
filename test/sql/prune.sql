-- prune: reservations that ended long ago may go; what was charged, and every key of a charge, stays

\set ada '\'b4000000-0000-4000-8000-00000000000a\''
\set bob '\'b4000000-0000-4000-8000-00000000000b\''
-- Of accounts of this test.
CREATE FUNCTION pg_temp.kept() RETURNS TABLE (state text, n bigint) LANGUAGE sql AS $$
SELECT state, count(*) FROM ducto.reservations WHERE account_id::text LIKE 'b4000000%' OR account_id = (SELECT id FROM ducto.teams WHERE name = 'Pruned') GROUP BY 1 ORDER BY 1
$$;

-- One that was settled under a key, one that was released, one that expired, one closed by a deduct of 0 under a key, one of a team, and one that is open.
SELECT new_balance FROM ducto_add_credits(:ada, 100);
SELECT reservation_id AS settled FROM ducto_reserve(:ada, 10, idempotency_key => 'hold') \gset
SELECT transaction_id AS tx, amount FROM ducto_deduct(:ada, :'settled', 7, 'debit') \gset
SELECT reservation_id AS released FROM ducto_reserve(:ada, 10) \gset
SELECT released FROM ducto_release(:ada, :'released');
SELECT reservation_id AS expired FROM ducto_reserve(:ada, 10, ttl_seconds => 1) \gset
SELECT reservation_id AS nothing FROM ducto_reserve(:ada, 10) \gset
SELECT amount FROM ducto_deduct(:ada, :'nothing', 0, 'zero');
SELECT reservation_id AS open FROM ducto_reserve(:ada, 10) \gset
SELECT team_id AS team FROM ducto_create_team('Pruned', 50, idempotency_key => 'pruned') \gset
SELECT error FROM ducto_add_team_member(:'team', :bob);
SELECT reservation_id AS shared FROM ducto_reserve(:bob, 10, team_id => :'team') \gset
SELECT amount FROM ducto_deduct(:bob, :'shared', 4, 'shared');
SELECT pg_sleep(1.1);
SELECT ducto_expire_reservations() > 0 AS closed;
SELECT * FROM pg_temp.kept();
SELECT balance, reserved FROM ducto_get_balance(:ada);

-- Not what is younger, and no more than was asked for.
SELECT ducto_prune_reservations('2001-01-01');
SELECT * FROM pg_temp.kept();
BEGIN;
SELECT ducto_prune_reservations(clock_timestamp(), 1);
ROLLBACK;
-- Open ones stay, and what remembers a key that nothing else does. The books do not change.
SELECT ducto_prune_reservations(clock_timestamp(), 1000000) >= 4 AS pruned;
SELECT * FROM pg_temp.kept();
SELECT ducto_prune_reservations(clock_timestamp());
SELECT * FROM pg_temp.kept();
SELECT balance, reserved FROM ducto_get_balance(:ada);
SELECT * FROM ducto_verify();
-- A charge is replayed from the ledger, a deduct of 0 from its reservation; none is booked twice, none for another.
SELECT transaction_id = :'tx' AS same, amount, idempotent, error FROM ducto_deduct(:ada, :'settled', 7, 'debit');
SELECT amount, idempotent, error FROM ducto_deduct(:ada, :'nothing', 0, 'zero');
SELECT error FROM ducto_deduct(:ada, :'open', 1, 'zero');
SELECT error FROM ducto_deduct(:bob, :'shared', 4, 'shared');
SELECT error FROM ducto_deduct(:ada, :'expired', 1, 'late');
SELECT error FROM ducto_deduct(:ada, :'settled', 1, 'another');
SELECT released, reason FROM ducto_release(:ada, :'released');
-- A refund knows what it refunds.
SELECT amount, new_balance FROM ducto_refund(:'tx', 3);
-- The key of a reserve is free again.
SELECT idempotent, amount FROM ducto_reserve(:ada, 10, idempotency_key => 'hold');
SELECT amount FROM ducto_deduct(:ada, :'open', 1);

-- What cannot be asked, and what nobody does by hand.
SELECT ducto_prune_reservations(NULL);
SELECT ducto_prune_reservations('infinity');
SELECT ducto_prune_reservations('2001-01-01', 0);
DELETE FROM ducto.reservations;

SELECT * FROM ducto_verify();
