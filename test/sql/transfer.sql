-- transfer: credits go from one account to another
-- In a database of its own, which has a test clock.
\set own regress_ducto_transfer
\i test/sql/include/own_database.sql

\set ada '\'74a40000-0000-4000-8000-000000000001\''
\set bob '\'74a40000-0000-4000-8000-000000000002\''
\set cyd '\'74a40000-0000-4000-8000-000000000003\''
\set dan '\'74a40000-0000-4000-8000-000000000004\''
\set eve '\'74a40000-0000-4000-8000-000000000005\''
\set fay '\'74a40000-0000-4000-8000-000000000006\''
\set gus '\'74a40000-0000-4000-8000-000000000007\''
\set hal '\'74a40000-0000-4000-8000-000000000008\''
\set ida '\'74a40000-0000-4000-8000-000000000009\''
\set kim '\'74a40000-0000-4000-8000-00000000000a\''
\set lou '\'74a40000-0000-4000-8000-00000000000b\''
\set max '\'74a40000-0000-4000-8000-00000000000c\''
\set ned '\'74a40000-0000-4000-8000-00000000000d\''
\set none '\'74a40000-0000-4000-8000-0000000000ee\''
\set aone '\'74a40000-0000-4000-8000-000000000000\''

CREATE FUNCTION pg_temp.grants(owner uuid) RETURNS text LANGUAGE sql AS $$
	SELECT 'balance ' || (SELECT trim_scale(balance) FROM ducto_get_balance(owner)) || coalesce((SELECT string_agg(', ' || type || ' ' || trim_scale(remaining) || ' of ' || trim_scale(amount) || ' at ' || priority, '' ORDER BY n)
	FROM ducto_list_grants(owner) WITH ORDINALITY g (grant_id, type, amount, remaining, priority, expires_at, created_at, n)), '')
$$;

-- A gift: two entries that name each other, no spend of the one and no purchase of the other.
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:bob, 5, 'purchase');
SELECT out_transaction_id AS out, in_transaction_id AS in, from_id, to_id, amount, from_balance, to_balance, idempotent, error FROM ducto_transfer(:ada, :bob, 30, 'a gift', '{"n": 1}') \gset
SELECT :'amount' AS amount, :'from_balance' AS from_balance, :'to_balance' AS to_balance, :'idempotent' AS idempotent, :'from_id' = :ada AS from_ada, :'to_id' = :bob AS to_bob;
SELECT id = :'out' AS out, user_id = :ada AS ada, amount, type, operation_type, model, reference_id = :'in' AS in, balance_after, metadata FROM ducto_list_transactions(:ada, max_rows => 1);
SELECT id = :'in' AS in, user_id = :bob AS bob, amount, type, operation_type, model, reference_id = :'out' AS out, balance_after, metadata FROM ducto_list_transactions(:bob, max_rows => 1);
SELECT balance, lifetime_purchased FROM ducto_get_balance(:ada);
SELECT balance, lifetime_purchased FROM ducto_get_balance(:bob);
SELECT count(*) FROM ducto_list_usage_events(:ada);
SELECT count(*) FROM ducto_list_transactions(:ada, '{transfer_out}');
SELECT count(*) FROM ducto_list_transactions(:bob, '{transfer_in,transfer_out}');
SELECT ducto_balance_at(:ada, ducto.clock()), ducto_balance_at(:bob, ducto.clock());

-- No more than is available, and that to the last; what open reservations hold is not.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 20, min_balance => 0) \gset
SELECT out_transaction_id, in_transaction_id, amount, from_balance, to_balance, error FROM ducto_transfer(:ada, :bob, 50.0001);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:ada, :bob, 10);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:ada, :bob);
-- Where nothing is available there is nothing to do.
SELECT out_transaction_id, in_transaction_id, amount, from_balance, to_balance, idempotent, error FROM ducto_transfer(:ada, :bob);
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 20);

-- A new user's account is made by what comes, and by nothing else; a sender who is unknown has nothing.
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:bob, :none, 1000);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:none, :bob, 1);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:none, :bob);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:none, :aone);
SELECT count(*) FROM ducto.accounts WHERE id IN (:none, :aone);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:bob, :none, 4);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:bob, :aone, 1);
SELECT id, kind, balance, lifetime_purchased, plain FROM ducto.accounts WHERE id IN (:none, :aone) ORDER BY id;

-- Grants move in the order in which they are spent, and keep type, priority and expiry; then what is in none. One that moves in part is on both sides.
SELECT new_balance FROM ducto_add_credits(:cyd, 10, 'subscription', expires_at => '2222-01-01');
SELECT new_balance FROM ducto_add_credits(:cyd, 10, 'promo', expires_at => '2222-01-02', priority => 10);
SELECT new_balance FROM ducto_add_credits(:cyd, 10, 'purchase', priority => 60);
SELECT new_balance FROM ducto_add_credits(:cyd, 10, 'purchase');
SELECT pg_temp.grants(:cyd);
SELECT amount, pg_temp.grants(:cyd) AS cyd, pg_temp.grants(:dan) AS dan FROM ducto_transfer(:cyd, :dan, 14);
SELECT burned_amounts FROM ducto.ledger WHERE account_id IN (:cyd, :dan) AND type LIKE 'transfer%' ORDER BY account_id;
SELECT type, expires_at = '2222-01-02' AS of_the_promo FROM ducto_list_grants(:dan);
SELECT next_expiry = '2222-01-01' AS the_subscription FROM ducto_get_balance(:dan);
SELECT amount, pg_temp.grants(:cyd) AS cyd, pg_temp.grants(:dan) AS dan FROM ducto_transfer(:cyd, :dan, 19);
SELECT amount, pg_temp.grants(:cyd) AS cyd, pg_temp.grants(:dan) AS dan FROM ducto_transfer(:cyd, :dan);
-- And back, in two steps.
SELECT amount, pg_temp.grants(:cyd) AS cyd, pg_temp.grants(:dan) AS dan FROM ducto_transfer(:dan, :cyd, 25);
SELECT amount, pg_temp.grants(:cyd) AS cyd, pg_temp.grants(:dan) AS dan FROM ducto_transfer(:dan, :cyd);
SELECT balance, expiring FROM ducto.accounts WHERE id IN (:cyd, :dan) ORDER BY id;
SELECT pg_temp.grants(:cyd) FROM ducto_charge(:cyd, 21);

-- Many grants of one moment and one expiry: all come, in the order in which they were made, and expire one by one.
SELECT count(r.error) FROM generate_series(1, 40) n, LATERAL ducto_add_credits(:eve, 1 + n * 0, 'promo', expires_at => '2222-01-01') r;
SELECT amount, from_balance, to_balance FROM ducto_transfer(:eve, :fay);
SELECT count(*), count(DISTINCT seq) AS entries, sum(remaining) FROM ducto.grants WHERE account_id = :fay;
SELECT balance_after FROM ducto_charge(:fay, 12.5);
SELECT array_agg(f.remaining ORDER BY e.seq) FROM ducto.grants f JOIN ducto.grants e ON e.id = f.id AND e.account_id = :eve WHERE f.account_id = :fay;

-- What has expired at that moment stays where it was, and what comes expires in time.
SELECT new_balance FROM ducto_add_credits(:gus, 10, 'promo', expires_at => ducto.clock() + interval '30 s');
SELECT new_balance FROM ducto_add_credits(:gus, 10, 'promo', expires_at => ducto.clock() + interval '100 s');
SELECT new_balance FROM ducto_add_credits(:gus, 10, 'purchase');
SELECT ducto_advance_clock('40 s') \g /dev/null
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:gus, :hal, 20.0001);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:gus, :hal, 15);
SELECT ducto_advance_clock('80 s') \g /dev/null
SELECT balance FROM ducto_get_balance(:hal);
SELECT amount, from_balance FROM ducto_transfer(:hal, :gus);
SELECT account_id = :gus AS gus, type, amount FROM ducto.ledger WHERE account_id IN (:gus, :hal) ORDER BY account_id, seq;

-- A refund of what was charged from a grant that has moved since comes back without expiry; where a part of it stayed, to that.
SELECT new_balance FROM ducto_add_credits(:ida, 100, 'promo', expires_at => '2222-01-01');
SELECT transaction_id AS tx FROM ducto_charge(:ida, 30) \gset
SELECT transaction_id AS tx2 FROM ducto_charge(:ida, 10) \gset
SELECT amount, pg_temp.grants(:ida) AS ida, pg_temp.grants(:kim) AS kim FROM ducto_transfer(:ida, :kim, 20);
SELECT amount, new_balance, pg_temp.grants(:ida) FROM ducto_refund(:'tx', 12);
SELECT amount, pg_temp.grants(:ida) AS ida, pg_temp.grants(:kim) AS kim FROM ducto_transfer(:ida, :kim);
SELECT amount, new_balance, pg_temp.grants(:ida) FROM ducto_refund(:'tx');
SELECT amount, new_balance, pg_temp.grants(:ida) FROM ducto_refund(:'tx2');
-- A charge of the receiver from what came is refunded to that.
SELECT transaction_id AS tx FROM ducto_charge(:kim, 70) \gset
SELECT amount, new_balance, pg_temp.grants(:kim) FROM ducto_refund(:'tx', 65);
-- A purchase whose grant has moved is taken back from what the buyer has.
SELECT transaction_id AS tx FROM ducto_add_credits(:ida, 50, 'purchase', expires_at => '2222-01-03') \gset
SELECT amount, from_balance FROM ducto_transfer(:ida, :kim, 45);
SELECT amount, shortfall, new_balance, lifetime_purchased FROM ducto_reverse_credits(:'tx', overrun => 'unspent');
SELECT amount, shortfall, new_balance, lifetime_purchased FROM ducto_reverse_credits(:'tx');
SELECT t.error FROM ducto.ledger l, LATERAL ducto_reverse_credits(l.id) t WHERE account_id = :kim AND type = 'transfer_in' LIMIT 1;
SELECT t.error FROM ducto.ledger l, LATERAL ducto_refund(l.id) t WHERE account_id = :ida AND type = 'transfer_out' LIMIT 1;

-- A debt of the receiver eats first what would have been spent first; one of the sender has nothing to move.
SELECT balance_after FROM ducto_charge(:lou, 12, overrun => 'full');
SELECT new_balance FROM ducto_add_credits(:max, 10, 'promo', expires_at => '2222-01-01');
SELECT new_balance FROM ducto_add_credits(:max, 10, 'subscription', expires_at => '2222-01-02');
SELECT new_balance FROM ducto_add_credits(:max, 10);
SELECT amount, to_balance, pg_temp.grants(:lou) FROM ducto_transfer(:max, :lou, 5);
SELECT amount, to_balance, pg_temp.grants(:lou) FROM ducto_transfer(:max, :lou);
SELECT balance_after FROM ducto_charge(:max, 3, overrun => 'full');
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:max, :lou);
SELECT amount, from_balance, to_balance, error FROM ducto_transfer(:max, :lou, 1);

-- What comes lets due credit that only holds had kept expire.
SELECT new_balance FROM ducto_add_credits(:ned, 10, 'promo', expires_at => ducto.clock() + interval '30 s');
SELECT reservation_id AS r FROM ducto_reserve(:ned, 8, min_balance => 0) \gset
SELECT ducto_advance_clock('40 s') \g /dev/null
SELECT balance, reserved, available FROM ducto_get_balance(:ned);
SELECT amount, from_balance, error FROM ducto_transfer(:ned, :lou);
SELECT amount, to_balance FROM ducto_transfer(:lou, :ned, 6);
SELECT balance, reserved, available FROM ducto_get_balance(:ned);
SELECT type, amount FROM ducto.ledger WHERE account_id = :ned ORDER BY seq;
SELECT amount, balance_after, error FROM ducto_deduct(:ned, :'r', 8);

-- Teams: a manager allocates, and takes back.
SELECT team_id AS t FROM ducto_create_team('crew', 100) \gset
SELECT amount, from_balance, to_balance FROM ducto_transfer(:'t', :ned, 25);
SELECT amount, from_balance, to_balance FROM ducto_transfer(:ned, :'t', 5);
SELECT team_id AS u FROM ducto_create_team('guests') \gset
SELECT amount, from_balance, to_balance FROM ducto_transfer(:'t', :'u');
SELECT user_id, team_id = :'t' AS team, amount, type, balance_after FROM ducto_list_transactions(:'t', max_rows => 2);
SELECT balance, available FROM ducto_get_team_balance(:'u');

-- A retry under its key is told what the first was told; the key is the sender's, for this receiver.
SELECT amount, from_balance, to_balance, idempotent FROM ducto_transfer(:'u', :ada, 10, idempotency_key => 'move');
SELECT new_balance FROM ducto_add_credits(:ada, 7);
SELECT amount, from_balance, to_balance, idempotent, error FROM ducto_transfer(:'u', :ada, 10, idempotency_key => 'move');
SELECT amount, from_balance, to_balance, idempotent, error FROM ducto_transfer(:'u', :ada, NULL, idempotency_key => 'move');
SELECT out_transaction_id, amount, from_balance, to_balance, idempotent, error FROM ducto_transfer(:'u', :bob, 10, idempotency_key => 'move');
SELECT amount, idempotent, error FROM ducto_transfer(:ada, :'u', 3, idempotency_key => 'move');
SELECT error FROM ducto_add_team_credits(:'u', 1, idempotency_key => 'move');
SELECT error FROM ducto_charge(:ada, 1, 'move');
SELECT new_balance FROM ducto_add_credits(:ada, 1, idempotency_key => 'credit');
SELECT error FROM ducto_transfer(:ada, :bob, 1, idempotency_key => 'credit');
SELECT idempotency_key, type FROM ducto.ledger WHERE id IN (SELECT reference FROM ducto.ledger WHERE account_id = :'u' AND idempotency_key = 'move');

-- Bad arguments.
SELECT amount FROM ducto_transfer(NULL, :bob, 1);
SELECT amount FROM ducto_transfer(:ada, NULL, 1);
SELECT amount FROM ducto_transfer(:ada, :ada, 1);
SELECT amount FROM ducto_transfer(:ada, :bob, 0);
SELECT amount FROM ducto_transfer(:ada, :bob, -1);
SELECT amount FROM ducto_transfer(:ada, :bob, 1, metadata => '[]');
SET ducto.require_idempotency_key = on;
SELECT amount FROM ducto_transfer(:ada, :bob, 1);
RESET ducto.require_idempotency_key;
SELECT (ducto_transfer(:ada, :bob, 1)).*;
SELECT amount, error FROM ducto_transfer(:ada, :bob, 1, NULL, NULL, NULL);

-- A balance has a limit.
SELECT new_balance FROM ducto_add_credits(:dan, 99999999999999.9999);
SELECT amount FROM ducto_transfer(:ada, :dan, 1);

-- A trigger that moves on what was moved finds an account in the middle of an operation.
CREATE FUNCTION public.onward() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.ducto_transfer(NEW.account_id, '74a40000-0000-4000-8000-0000000000ee', 1); RETURN NULL; END $$;
CREATE TRIGGER onward AFTER INSERT ON ducto.ledger FOR EACH ROW WHEN (NEW.type = 'transfer_in') EXECUTE FUNCTION public.onward();
\set VERBOSITY sqlstate
SELECT amount FROM ducto_transfer(:ada, :bob, 1);
\set VERBOSITY default
DROP TRIGGER onward ON ducto.ledger;
DROP FUNCTION public.onward();

-- The auditor sees a transfer of which one side is another amount, or another's.
SELECT * FROM found();
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET amount = amount - 1 WHERE id = :'out';
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name, expected, actual FROM ducto_verify(:ada) WHERE check_name LIKE 'transfer%';
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name, expected, actual FROM ducto_verify(:bob);
ROLLBACK;
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET reference = NULL WHERE id = :'in';
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name, expected, actual FROM found() ORDER BY 1;
ROLLBACK;
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.grants SET remaining = remaining + 1 WHERE account_id = :fay AND amount > remaining;
SELECT count(*) FROM ducto_verify(:fay) WHERE check_name LIKE 'grant history%';
ROLLBACK;
BEGIN;
UPDATE ducto.grants SET seq = seq + 100, type = 'gift', amount = 1000, priority = 1, expires_at = '2223-01-01', created_at = created_at - interval '1 day' WHERE account_id = :kim AND type = 'promo';
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name FROM ducto_verify(:kim) ORDER BY 1;
SELECT count(*) AS steps, bool_and(mended) AS mended FROM ducto_repair(:kim, dry_run => false);
SELECT * FROM ducto_verify(:kim);
UPDATE ducto.grants SET amount = 1000 WHERE account_id = :ida AND type = 'promo';
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name FROM ducto_verify(:ida) ORDER BY 1;
ROLLBACK;
SELECT * FROM found();

\c :main
DROP DATABASE :own;
