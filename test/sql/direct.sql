-- Statements of one table do without the executor. What they do is the same as with it: the same answers, rows and errors, and whatever
-- somebody adds to the tables is minded from the next call on.
\pset null -
\set VERBOSITY terse
\set ann '\'d12ec700-0000-4000-8000-000000000001\''
\set bob '\'d12ec700-0000-4000-8000-000000000002\''
\set cat '\'d12ec700-0000-4000-8000-000000000003\''
\set dan '\'d12ec700-0000-4000-8000-000000000004\''
SET client_min_messages = warning;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.00013"}, "plans": {"direct": {"name": "Direct", "free_allowance": 3, "caps": [{"cap_type": "daily", "cap_limit": 50, "action": "deny"}]}}}');

-- A life of an account, each call more than once: what a session does at first, it does by the executor.
CREATE FUNCTION pg_temp.lives(who uuid) RETURNS TABLE (step text, told jsonb)
LANGUAGE plpgsql AS $$
DECLARE
	hold uuid;
	paid uuid;
BEGIN
	FOR i IN 1 .. 3 LOOP
		RETURN QUERY SELECT 'add', to_jsonb(r) - 'transaction_id' - 'user_id' FROM ducto_add_credits(who, 20, idempotency_key => 'add' || i / 2, expires_at => CASE i WHEN 2 THEN '2999-01-01'::timestamptz END) r;
		SELECT transaction_id INTO paid FROM ducto_charge(who, i, 'paid' || i, model => 'm' || i % 2);
		RETURN QUERY SELECT 'refund', to_jsonb(r) - 'refund_transaction_id' - 'original_transaction_id' - 'user_id' FROM ducto_refund(paid, 0.5, 'back' || i / 2) r;
		RETURN QUERY SELECT 'usage', to_jsonb(r) - 'transaction_id' - 'user_id' FROM ducto_charge_usage(who, jsonb_build_object('model', 'x', 'input_tokens', 1000 + i)) r;
		SELECT reservation_id INTO hold FROM ducto_reserve(who, 4, idempotency_key => 'hold' || i / 2);
		RETURN QUERY SELECT 'renew', to_jsonb(r) - 'reservation_id' - 'user_id' - 'expires_at' FROM ducto_renew(who, hold, 600) r;
		RETURN QUERY SELECT 'part', to_jsonb(r) - 'transaction_id' - 'user_id' FROM ducto_deduct(who, hold, 1, 'part' || i, final => false) r;
		RETURN QUERY SELECT 'deduct', to_jsonb(r) - 'transaction_id' - 'user_id' FROM ducto_deduct(who, hold, 2.5, 'deduct' || i / 2) r;
		RETURN QUERY SELECT 'release', to_jsonb(r) - 'reservation_id' - 'user_id' FROM ducto_release(who, (SELECT reservation_id FROM ducto_reserve(who, 3))) r;
		RETURN QUERY SELECT 'balance', to_jsonb(r) - 'user_id' FROM ducto_get_balance(who) r;
		RETURN QUERY SELECT 'too much', to_jsonb(r) - 'user_id' FROM ducto_charge(who, 1000) r;
		IF i = 3 THEN
			PERFORM ducto_set_user_plan(who, 'direct');
		END IF;
	END LOOP;
	FOR i IN 1 .. 3 LOOP
		RETURN QUERY SELECT 'planned', to_jsonb(r) - 'transaction_id' - 'user_id' FROM ducto_charge(who, 1.75) r;
		RETURN QUERY SELECT 'capped', to_jsonb(r) - 'transaction_id' - 'user_id' FROM ducto_charge(who, 48) r;
	END LOOP;
	RETURN QUERY SELECT 'plan', to_jsonb(r) - 'user_id' FROM ducto_get_user_plan(who) r;
END $$;
CREATE FUNCTION pg_temp.rows_of(who uuid) RETURNS TABLE (which text, row_is jsonb) LANGUAGE sql AS $$
	SELECT 'account', to_jsonb(a) - 'id' - 'created_at' - 'updated_at' - 'next_boundary' - 'cycle_start' - 'cycle_end' - 'anchor' - 'last_event' FROM ducto.accounts a WHERE id = who
	UNION ALL SELECT 'entry ' || seq, to_jsonb(l) - 'account_id' - 'id' - 'created_at' - 'effective_at' - 'reference' - 'xact' - 'burned_grants' FROM ducto.ledger l WHERE account_id = who
	UNION ALL SELECT 'hold ' || row_number() OVER (ORDER BY id), to_jsonb(r) - 'account_id' - 'id' - 'created_at' - 'expires_at' - 'first_expires_at' - 'closed_at' FROM ducto.reservations r WHERE account_id = who
	UNION ALL SELECT 'cap ' || cap_type, to_jsonb(c) - 'account_id' - 'window_start' - 'window_until' - 'updated_at' FROM ducto.spend_caps c WHERE account_id = who
	UNION ALL SELECT 'grant ' || seq, to_jsonb(g) - 'account_id' - 'id' - 'created_at' FROM ducto.grants g WHERE account_id = who
$$;
CREATE TABLE direct_told AS SELECT 'directly' AS how, row_number() OVER () AS n, * FROM pg_temp.lives(:ann);
SET ducto.direct = off;
INSERT INTO direct_told SELECT 'by the executor', row_number() OVER (), * FROM pg_temp.lives(:bob);
RESET ducto.direct;
SELECT count(*), count(*) FILTER (WHERE told ->> 'error' IS NOT NULL) AS rejected, count(DISTINCT step) AS steps FROM direct_told WHERE how = 'directly';
SELECT * FROM direct_told a JOIN direct_told b USING (n) WHERE a.how < b.how AND (a.step, a.told) IS DISTINCT FROM (b.step, b.told);
SELECT count(*) FROM pg_temp.rows_of(:ann);
SELECT a.which, a.row_is, b.row_is FROM pg_temp.rows_of(:ann) a FULL JOIN pg_temp.rows_of(:bob) b USING (which) WHERE a.row_is IS DISTINCT FROM b.row_is;

-- What calls wrote is in every index, also one that is added while the statements are kept.
CREATE INDEX direct_model ON ducto.ledger (account_id, upper(model)) WHERE model IS NOT NULL;
SELECT count(amount) FROM generate_series(1, 5) n, ducto_charge(:ann, 0.01, model => 'indexed' || n);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM ducto.ledger WHERE account_id = :ann AND upper(model) LIKE 'INDEXED%' AND model IS NOT NULL;
SELECT count(*) FROM ducto.ledger WHERE account_id = :ann AND idempotency_key LIKE 'paid%';
SELECT count(*) FROM ducto.ledger WHERE account_id = :ann AND reference IS NOT NULL AND type IN ('refund', 'reversal');
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP INDEX ducto.direct_model;
SELECT amount FROM ducto_charge(:ann, 0.01);
CREATE UNIQUE INDEX direct_once ON ducto.ledger ((metadata ->> 'order')) WHERE metadata ? 'order';
SELECT amount FROM ducto_charge(:ann, 0.01, metadata => '{"order": 1}');
SELECT balance FROM ducto.accounts WHERE id = :ann \gset
SELECT amount FROM ducto_charge(:ann, 0.01, metadata => '{"order": 1}');
SELECT amount FROM ducto_charge(:ann, 0.01, 'key of two', metadata => '{"order": 1}');
SELECT amount FROM ducto_charge(:ann, 0.01, metadata => '{"order": 2}');
SELECT amount FROM ducto_charge(:ann, 0.01, 'key of two', metadata => '{"order": 3}');
SELECT balance - :balance AS moved FROM ducto.accounts WHERE id = :ann;
DROP INDEX ducto.direct_once;

-- Checks and columns: the words are the executor's, nothing is left of the call, and a column that has a default gets it.
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_small CHECK (amount > -7) NOT VALID;
ALTER TABLE ducto.ledger ADD COLUMN direct_seen text NOT NULL DEFAULT 'by ' || current_user;
SELECT amount FROM ducto_charge(:ann, 7);
SELECT amount FROM ducto_charge(:ann, 6);
SELECT amount FROM ducto_charge(:ann, 7, 'kept');
SELECT direct_seen = 'by ' || current_user AS seen FROM ducto.ledger WHERE account_id = :ann ORDER BY seq DESC LIMIT 1;
ALTER TABLE ducto.ledger DROP CONSTRAINT direct_small;
SELECT amount FROM ducto_charge(:ann, 7, 'kept');
ALTER TABLE ducto.ledger ADD COLUMN direct_missing int NOT NULL DEFAULT 1;
ALTER TABLE ducto.ledger ALTER direct_missing DROP DEFAULT;
SELECT amount FROM ducto_charge(:ann, 0.01);
ALTER TABLE ducto.ledger DROP COLUMN direct_missing;
SELECT amount FROM ducto_charge(:ann, 0.01);
SELECT new_balance FROM ducto_add_credits(:cat, 5);
ALTER TABLE ducto.accounts ADD CONSTRAINT direct_rich CHECK (balance >= 1 OR id <> 'd12ec700-0000-4000-8000-000000000003') NOT VALID;
SELECT amount FROM ducto_charge(:cat, 1);
SELECT amount FROM ducto_charge(:cat, 3.5);
SELECT balance, held FROM ducto.accounts WHERE id = :cat;
ALTER TABLE ducto.accounts DROP CONSTRAINT direct_rich;

-- Triggers that are added are called from the next call on, and none of a replica's.
CREATE TABLE direct_seen (told text);
CREATE FUNCTION direct_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.direct_seen VALUES (lower(TG_OP) || ' of ' || TG_TABLE_NAME);
	RETURN NEW;
END $$;
CREATE TRIGGER direct_tell BEFORE INSERT ON ducto.ledger FOR EACH ROW EXECUTE FUNCTION direct_tell();
SELECT amount FROM ducto_charge(:ann, 0.01);
CREATE TRIGGER direct_tell AFTER UPDATE ON ducto.accounts FOR EACH STATEMENT EXECUTE FUNCTION direct_tell();
SELECT amount FROM ducto_charge(:ann, 0.01);
ALTER TABLE ducto.accounts DISABLE TRIGGER direct_tell;
ALTER TABLE ducto.ledger ENABLE REPLICA TRIGGER direct_tell;
SELECT amount FROM ducto_charge(:ann, 0.01);
SET session_replication_role = replica;
SELECT amount FROM ducto_charge(:ann, 0.01);
RESET session_replication_role;
SELECT amount FROM ducto_charge(:ann, 0.01);
SELECT told, count(*) FROM direct_seen GROUP BY told ORDER BY told;
DROP FUNCTION direct_tell CASCADE;

-- A rule, and a column that the server computes.
CREATE RULE direct_rule AS ON UPDATE TO ducto.spend_caps WHERE NEW.cap_limit = 77 DO ALSO INSERT INTO direct_seen VALUES ('rule');
SELECT cap_limit FROM generate_series(1, 3) n, ducto_set_spend_cap(:dan, 'daily', 75 + n);
SELECT count(*) FROM direct_seen WHERE told = 'rule';
DROP RULE direct_rule ON ducto.spend_caps;
ALTER TABLE ducto.reservations ADD COLUMN direct_half numeric GENERATED ALWAYS AS (remaining / 2) STORED;
SELECT new_balance FROM ducto_add_credits(:dan, 10);
SELECT reservation_id AS hold FROM ducto_reserve(:dan, 4, min_balance => 0) \gset
SELECT amount FROM ducto_deduct(:dan, :'hold', 1, 'part', final => false);
SELECT remaining, direct_half FROM ducto.reservations WHERE account_id = :dan;
ALTER TABLE ducto.reservations DROP COLUMN direct_half;
SELECT released FROM ducto_release(:dan, :'hold');

-- A transaction that may only read, and one that was taken back to a savepoint.
BEGIN READ ONLY;
SELECT balance FROM ducto_get_balance(:dan);
SELECT amount FROM ducto_charge(:dan, 1);
ROLLBACK;
BEGIN;
SELECT amount FROM ducto_charge(:dan, 1, 'again');
SAVEPOINT one;
SELECT amount FROM ducto_charge(:dan, 2, 'twice');
ROLLBACK TO one;
SELECT balance_after, idempotent FROM ducto_charge(:dan, 2, 'twice');
SELECT balance_after, idempotent FROM ducto_charge(:dan, 2, 'twice');
SELECT balance_after, idempotent FROM ducto_charge(:dan, 1, 'again');
COMMIT;
SELECT * FROM ducto_verify();
DROP TABLE direct_told, direct_seen;
