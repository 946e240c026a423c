-- ledger: every movement of credits, append-only; its history and its auditor

\set ada '\'1ed60000-0000-4000-8000-000000000001\''
\set bob '\'1ed60000-0000-4000-8000-000000000002\''
\set cyd '\'1ed60000-0000-4000-8000-000000000003\''
\set dan '\'1ed60000-0000-4000-8000-000000000004\''
\set eve '\'1ed60000-0000-4000-8000-000000000005\''
\set fay '\'1ed60000-0000-4000-8000-000000000006\''
\set gus '\'1ed60000-0000-4000-8000-000000000007\''
\set nobody '\'1ed60000-0000-4000-8000-0000000000ff\''

-- Ada has one entry of every type but expiry; the pauses make their times differ.
SELECT transaction_id AS t1 FROM ducto_add_credits(:ada, 100, 'purchase', '{"n": 1}', idempotency_key => 'k1') \gset
SELECT transaction_id AS t2 FROM ducto_add_credits(:ada, 20, 'subscription', '{"n": 2}') \gset
SELECT transaction_id AS t3 FROM ducto_add_credits(:ada, 5, 'signup_bonus', '{"n": 3}') \gset
SELECT pg_sleep(0.005) \g /dev/null
SELECT transaction_id AS t4 FROM ducto_charge(:ada, 10, 'k4', '{"n": 4}', 'model-a', NULL, 'chat') \gset
SELECT reservation_id AS r5 FROM ducto_reserve(:ada, 30, 'image', model => 'model-b') \gset
SELECT transaction_id AS t5 FROM ducto_deduct(:ada, :'r5', 12.3456, 'k5', '{"n": 5}') \gset
SELECT transaction_id AS t6 FROM ducto_refund(:'t4', 4, 'too slow', '{"n": 6}', 'k6') AS r(transaction_id, o, u, t, a, b, al, i, e) \gset
SELECT pg_sleep(0.005) \g /dev/null
SELECT transaction_id AS t7 FROM ducto_add_credits(:ada, -1, metadata => '{"n": 7}') \gset
SELECT transaction_id AS t8 FROM ducto_add_credits(:ada, 2, 'promo', '{"n": 8}', '2222-02-02') \gset

-- The history has the newest first, with what each entry was for; total_count tells a page's reader how many there are.
SELECT metadata->'n' AS n, user_id, team_id, amount, type, operation_type, model, balance_after, allowance_consumed, idempotency_key, total_count
FROM ducto_list_transactions(:ada);

-- reference_id says what an entry belongs to: a deduct's reservation, a refund's debit.
SELECT metadata->'n' AS n, reference_id = :'r5' AS the_reservation, reference_id = :'t4' AS the_debit
FROM ducto_list_transactions(:ada) WHERE reference_id IS NOT NULL;
SELECT metadata FROM ducto_list_transactions(:ada) WHERE id = :'t6';

-- Every entry can be found by its id.
SELECT array_agg(id ORDER BY id) = ARRAY[:'t1', :'t2', :'t3', :'t4', :'t5', :'t6', :'t7', :'t8']::uuid[] AS all_of_them
FROM ducto_list_transactions(:ada);

-- Types choose entries, and total_count follows; no type means none, a type without an entry has no rows.
SELECT metadata->'n' AS n, type, total_count FROM ducto_list_transactions(:ada, '{usage,refund}');
SELECT metadata->'n' AS n, type, total_count FROM ducto_list_transactions(:ada, '{purchase,subscription,signup_bonus,adjustment,promo}');
SELECT metadata->'n' AS n, type, total_count FROM ducto_list_transactions(:ada, '{usage,usage}');
SELECT count(*) FROM ducto_list_transactions(:ada, '{expiry}');
SELECT count(*) FROM ducto_list_transactions(:ada, '{}');

-- A window of time includes both its ends, or two adjoining reports would lose or double an entry.
SELECT created_at AS c3 FROM ducto.ledger WHERE id = :'t3' \gset
SELECT created_at AS c4 FROM ducto.ledger WHERE id = :'t4' \gset
SELECT created_at AS c6 FROM ducto.ledger WHERE id = :'t6' \gset
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, from_time => :'c4');
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, to_time => :'c4');
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, from_time => :'c4', to_time => :'c6');
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, from_time => :'c4', to_time => :'c4');
SELECT array_agg(metadata->'n') AS n FROM ducto_list_transactions(:ada, from_time => timestamptz :'c3' + interval '1 microsecond', to_time => timestamptz :'c4' - interval '1 microsecond');
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, '{usage,promo}', from_time => :'c4', to_time => :'c6');
SELECT count(*) FROM ducto_list_transactions(:ada, from_time => '2222-01-01');
SELECT count(*) FROM ducto_list_transactions(:ada, to_time => '1999-01-01');

-- A page by skip has the same total_count whatever part it shows; past the end there is nothing.
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, max_rows => 3);
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, max_rows => 3, skip_rows => 3);
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, max_rows => 3, skip_rows => 6);
SELECT count(*) FROM ducto_list_transactions(:ada, skip_rows => 8);
SELECT count(*) FROM ducto_list_transactions(:ada, skip_rows => 2147483647, max_rows => 2147483647);
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, '{usage,refund,promo}', max_rows => 2, skip_rows => 1);
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, NULL, :'c4', :'c6', 1, 1);

-- A page by the last id seen stays right while entries are added, which a page by skip does not.
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, max_rows => 3, before => :'t6');
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, max_rows => 3, before => :'t3');
SELECT count(*) FROM ducto_list_transactions(:ada, before => :'t1');
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, '{usage}', before => :'t5');
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, to_time => :'c6', before => :'t8');
SELECT array_agg(metadata->'n') AS n, max(total_count) AS total FROM ducto_list_transactions(:ada, before => :'t6', skip_rows => 1, max_rows => 1);

-- Walking page by page sees every entry once, both ways.
WITH RECURSIVE walk AS (
	SELECT 1 AS page, (SELECT array_agg(id) FROM ducto_list_transactions(:ada, max_rows => 3)) AS ids
	UNION ALL
	SELECT page + 1, (SELECT array_agg(id) FROM ducto_list_transactions(:ada, max_rows => 3, before => ids[array_upper(ids, 1)]))
	FROM walk WHERE array_length(ids, 1) = 3)
SELECT array_agg(id ORDER BY page, n) = (SELECT array_agg(id) FROM ducto_list_transactions(:ada)) AS the_same, count(*)
FROM walk, unnest(ids) WITH ORDINALITY AS u (id, n);
SELECT array_agg(id ORDER BY skip, n) = (SELECT array_agg(id) FROM ducto_list_transactions(:ada)) AS the_same, count(*)
FROM generate_series(0, 9, 3) skip, ducto_list_transactions(:ada, max_rows => 3, skip_rows => skip) WITH ORDINALITY
	AS t (id, user_id, team_id, amount, type, operation_type, model, reference_id, balance_after, allowance_consumed, idempotency_key, metadata, created_at, total_count, n);

-- Another account's entry is no place to page from: a mistake must not look like an empty page.
SELECT transaction_id AS b1 FROM ducto_add_credits(:bob, 1) \gset
\set VERBOSITY sqlstate
SELECT count(*) FROM ducto_list_transactions(:ada, before => :'b1');
SELECT count(*) FROM ducto_list_transactions(:nobody, before => :'b1');
\set VERBOSITY default

-- NULL for an argument that has a default means the default; an unknown user has no history.
SELECT count(*) FROM ducto_list_transactions(:ada, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT count(*) FROM ducto_list_transactions(:nobody);
SELECT count(*) FROM ducto_list_usage_events(:nobody);

-- A page has 50 rows when nothing is said.
SELECT count(*) FROM generate_series(1, 59), LATERAL ducto_add_credits(:bob, generate_series * 0 + 1) r;
SELECT count(*), max(total_count) AS total FROM ducto_list_transactions(:bob);
SELECT count(*), max(total_count) AS total FROM ducto_list_transactions(:bob, max_rows => 1000);
SELECT count(*), max(total_count) AS total FROM ducto_list_transactions(:bob, skip_rows => 50);

-- Usage events are the entries for use alone, with the same window and pages.
SELECT metadata->'n' AS n, user_id, amount, type, operation_type, model, total_count FROM ducto_list_usage_events(:ada);
SELECT metadata->'n' AS n, total_count FROM ducto_list_usage_events(:ada, max_rows => 1);
SELECT metadata->'n' AS n, total_count FROM ducto_list_usage_events(:ada, max_rows => 1, skip_rows => 1);
SELECT metadata->'n' AS n, total_count FROM ducto_list_usage_events(:ada, from_time => :'c4', to_time => :'c4');
SELECT count(*) FROM ducto_list_usage_events(:ada, '2222-01-01', NULL, NULL, NULL);

-- seq counts every account by itself, so an auditor sees what is missing, and each entry stands on the one before.
SELECT array_agg(seq ORDER BY seq) AS seq, array_agg(balance_after ORDER BY seq) AS balances FROM ducto.ledger WHERE account_id = :ada;
SELECT min(seq), max(seq), count(*) FROM ducto.ledger WHERE account_id = :bob;

-- The ledger is append-only for everybody, a superuser too, and says what to do instead.
UPDATE ducto.ledger SET amount = 1 WHERE account_id = :ada;
UPDATE ducto.ledger SET metadata = '{}' WHERE false;
DELETE FROM ducto.ledger WHERE account_id = :ada;
TRUNCATE ducto.ledger;
TRUNCATE ducto.accounts, ducto.ledger CASCADE;
INSERT INTO ducto.ledger SELECT * FROM ducto.ledger WHERE account_id = :ada
ON CONFLICT (account_id, seq) DO UPDATE SET amount = 1;

-- Nor does it help to play a replica, where triggers are usually off.
SET session_replication_role = replica;
DELETE FROM ducto.ledger WHERE account_id = :ada;
RESET session_replication_role;
SELECT tgname, tgenabled = 'A' AS always FROM pg_trigger WHERE tgrelid = 'ducto.ledger'::regclass ORDER BY 1;

-- What a restore does passes: it copies entries in.
COPY ducto.ledger (account_id, seq, id, amount, balance_after, type, created_at, effective_at) FROM stdin;
1ed60000-0000-4000-8000-000000000003	1	1ed60000-0000-7000-8000-000000000001	3	3	purchase	2020-01-01 00:00:00+00	2020-01-01 00:00:00+00
1ed60000-0000-4000-8000-000000000003	2	1ed60000-0000-7000-8000-000000000002	-1	2	usage	2020-02-01 00:00:00+00	2020-02-01 00:00:00+00
1ed60000-0000-4000-8000-000000000003	3	1ed60000-0000-7000-8000-000000000003	5	7	adjustment	2020-03-01 00:00:00+00	2020-03-01 00:00:00+00
\.
INSERT INTO ducto.accounts (id, kind, balance, lifetime_purchased, last_seq, created_at, updated_at)
VALUES (:cyd, 'user', 7, 3, 3, '2020-01-01 00:00+00', '2020-03-01 00:00+00');
SELECT * FROM ducto_verify(:cyd);
SELECT amount, new_balance, lifetime_purchased FROM ducto_add_credits(:cyd, 1, 'purchase');

-- The balance of a past moment is what was shown then: an entry counts from its own time on.
SELECT at, ducto_balance_at(:cyd, at::timestamptz)
FROM (VALUES ('2019-12-31 00:00+00'), ('2019-12-31 23:59:59.999999+00'), ('2020-01-01 00:00+00'), ('2020-01-15 00:00+00'), ('2020-02-01 00:00+00'),
	('2020-02-29 23:59:59.999999+00'), ('2020-03-01 00:00+00'), ('2021-01-01 00:00+00')) t (at);
SELECT ducto_balance_at(:cyd, clock_timestamp()), ducto_balance_at(:nobody, '2020-01-01');
SELECT ducto_balance_at(:ada, timestamptz :'c4' - interval '1 microsecond') AS before, ducto_balance_at(:ada, :'c4') AS with_it;
SELECT l.seq, ducto_balance_at(:ada, l.created_at) = l.balance_after AS agrees FROM ducto.ledger l WHERE account_id = :ada ORDER BY seq;

-- An expiry counts from the moment at which the credit was not spendable, although it is booked later: the past does not depend on when something swept.
SELECT new_balance FROM ducto_add_credits(:dan, 10);
SELECT expires_at AS e FROM ducto_add_credits(:dan, 4, 'promo', expires_at => clock_timestamp() + interval '0.2 s') \gset
SELECT pg_sleep(0.4) \g /dev/null
SELECT ducto_balance_at(:dan, timestamptz :'e' - interval '1 microsecond') AS before, ducto_balance_at(:dan, :'e') AS at_its_time,
	ducto_balance_at(:dan, timestamptz :'e' + interval '0.1 s') AS after, balance FROM ducto_get_balance(:dan);
SELECT amount, balance_after FROM ducto_charge(:dan, 1);
SELECT type, amount, balance_after, effective_at = :'e' AS effective_at_its_time, created_at > :'e' AS booked_later FROM ducto.ledger WHERE account_id = :dan ORDER BY seq;
SELECT ducto_balance_at(:dan, timestamptz :'e' - interval '1 microsecond') AS before, ducto_balance_at(:dan, :'e') AS at_its_time,
	ducto_balance_at(:dan, timestamptz :'e' + interval '0.1 s') AS after;

-- Reading the history never depends on the zone of the session.
SET TimeZone = 'Pacific/Kiritimati';
SELECT ducto_balance_at(:cyd, '2020-02-01 00:00+00'), ducto_balance_at(:cyd, '2020-02-01 00:00');
SELECT count(*) FROM ducto_list_transactions(:cyd, from_time => '2020-02-01 14:00', to_time => '2020-03-01 14:00');
RESET TimeZone;

-- Everything so far is in order, for each account and for all.
SELECT * FROM ducto_verify(:ada);
SELECT * FROM ducto_verify(:nobody);
SELECT * FROM ducto_verify();

-- The auditor finds what somebody spoils by hand: Eve is spoiled in each way once, with the trigger off, and restored.
SELECT transaction_id AS e1 FROM ducto_add_credits(:eve, 50, 'purchase', idempotency_key => 'e1') \gset
SELECT transaction_id AS e2 FROM ducto_add_credits(:eve, 10, 'promo', expires_at => '2222-02-02') \gset
SELECT transaction_id AS e3 FROM ducto_charge(:eve, 4) \gset
SELECT refund_transaction_id AS e4 FROM ducto_refund(:'e3', 1) \gset
SELECT reservation_id AS er FROM ducto_reserve(:eve, 20) \gset
SELECT transaction_id AS e5 FROM ducto_charge(:eve, 2, 'e5') \gset
SELECT amount, remaining FROM ducto_list_grants(:eve);
SELECT balance, held, expiring, last_seq FROM ducto.accounts WHERE id = :eve;
SELECT * FROM ducto_verify(:eve);
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;

-- audit() spoils, shows what the auditor says of Eve's account and of everything, and takes the spoiling back. The sums over all accounts are shown by their difference.
CREATE FUNCTION pg_temp.audit(spoil text) RETURNS TABLE (account_id uuid, check_name text, expected text, actual text, audits text)
LANGUAGE plpgsql AS $$
DECLARE
	of_eve ducto_discrepancy[];
	of_all ducto_discrepancy[];
BEGIN
	BEGIN
		ALTER TABLE ducto.accounts DISABLE TRIGGER accounts_kept;
		ALTER TABLE ducto.grants DISABLE TRIGGER grants_kept;
		ALTER TABLE ducto.reservations DISABLE TRIGGER reservations_kept;
		EXECUTE replace(spoil, 'EVE', quote_literal('1ed60000-0000-4000-8000-000000000005'));
		of_eve := ARRAY(SELECT v FROM ducto_verify('1ed60000-0000-4000-8000-000000000005') v);
		of_all := ARRAY(SELECT v FROM ducto_verify() v);
		RAISE SQLSTATE 'ZZZZZ';
	EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	END;
	RETURN QUERY
	SELECT v.account_id, regexp_replace(v.check_name, '[0-9a-f]{8}-[-0-9a-f]{27}', 'ID'),
		CASE WHEN v.check_name = 'conservation' THEN '0' ELSE v.expected END,
		CASE WHEN v.check_name = 'conservation' THEN (v.actual::numeric - v.expected::numeric)::text ELSE v.actual END,
		string_agg(a.audit, ', ' ORDER BY a.audit DESC)
	FROM (SELECT 'one', unnest(of_eve) UNION ALL SELECT 'all', unnest(of_all)) a (audit, found), LATERAL (SELECT (a.found).*) v
	GROUP BY 1, 2, 3, 4, v.check_name ORDER BY v.check_name COLLATE "C";
END $$;

-- 1: the balance is the sum of the entries' amounts, and no credit is made or lost.
SELECT * FROM pg_temp.audit($$UPDATE ducto.accounts SET balance = balance + 1 WHERE id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.ledger SET amount = 60 WHERE account_id = EVE AND seq = 1$$);

-- 1: each entry's balance_after follows from the one before.
SELECT * FROM pg_temp.audit($$UPDATE ducto.ledger SET balance_after = 0 WHERE account_id = EVE AND seq = 1$$);

-- 1: no entry is missing: not in the middle, at the end or at the start, nor is the account of an entry.
SELECT * FROM pg_temp.audit($$DELETE FROM ducto.ledger WHERE account_id = EVE AND seq = 4$$);
SELECT * FROM pg_temp.audit($$DELETE FROM ducto.ledger WHERE account_id = EVE AND seq = 5$$);
SELECT * FROM pg_temp.audit($$DELETE FROM ducto.ledger WHERE account_id = EVE AND seq = 1$$);
SELECT * FROM pg_temp.audit($$DELETE FROM ducto.accounts WHERE id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.accounts SET last_seq = 9 WHERE id = EVE$$);

-- An entry that was slipped in for nothing is seen as well, and time that runs back.
SELECT * FROM pg_temp.audit($$INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, created_at, effective_at)
	VALUES (EVE, 7, '1ed60000-0000-7000-8000-0000000000ee', 0, 50, 'adjustment', '2222-01-01', '2222-01-01')$$);
SELECT account_id, check_name, audits FROM pg_temp.audit($$UPDATE ducto.ledger SET created_at = '2001-01-01' WHERE account_id = EVE AND seq = 3$$);
SELECT account_id, check_name, audits FROM pg_temp.audit($$UPDATE ducto.ledger SET effective_at = '2001-01-01' WHERE account_id = EVE AND seq = 3$$);

-- 2: held is the sum of what is left of the open reservations.
SELECT * FROM pg_temp.audit($$UPDATE ducto.accounts SET held = 0 WHERE id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.reservations SET remaining = 19.9999 WHERE account_id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.reservations SET state = 'settled' WHERE account_id = EVE$$);
SELECT * FROM pg_temp.audit($$DELETE FROM ducto.reservations WHERE account_id = EVE$$);

-- 3: what remains of a grant is between 0 and its amount and what its history says, and expiring is the sum of it.
SELECT * FROM pg_temp.audit($$UPDATE ducto.accounts SET expiring = 0 WHERE id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.grants SET remaining = 6 WHERE account_id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.grants SET remaining = 11, live = true WHERE account_id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.grants SET remaining = -1, live = false WHERE account_id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.grants SET live = NOT live WHERE account_id = EVE$$);
SELECT * FROM pg_temp.audit($$DELETE FROM ducto.grants WHERE account_id = EVE$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.ledger SET burned_grants = NULL, burned_amounts = NULL WHERE account_id = EVE AND seq = 3$$);

-- 3: an account's credit that expires is a part of its balance.
SELECT * FROM pg_temp.audit($$UPDATE ducto.grants SET remaining = 10, amount = 100, live = true WHERE account_id = EVE;
	UPDATE ducto.ledger SET burned_grants = NULL WHERE account_id = EVE;
	UPDATE ducto.ledger SET amount = -51, balance_after = 6 WHERE account_id = EVE AND seq = 5;
	UPDATE ducto.accounts SET expiring = 10, balance = 6 WHERE id = EVE$$);

-- 4: the refunds of an entry are at most its debit, and only use is refunded.
SELECT * FROM pg_temp.audit($$UPDATE ducto.ledger SET amount = 5 WHERE account_id = EVE AND seq = 4$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.ledger SET type = 'adjustment' WHERE account_id = EVE AND seq = 3$$);
SELECT * FROM pg_temp.audit($$UPDATE ducto.ledger SET reference = '1ed60000-0000-4000-8000-0000000000dd' WHERE account_id = EVE AND seq = 4$$);

-- 4: a key has one entry.
SELECT * FROM pg_temp.audit($$DROP INDEX ducto.ledger_idempotency_key;
	UPDATE ducto.ledger SET idempotency_key = 'e1' WHERE account_id = EVE AND seq = 5$$);

-- An account that forgets when something is due would keep what expired.
SELECT account_id, check_name, actual, audits FROM pg_temp.audit($$UPDATE ducto.accounts SET next_boundary = 'infinity' WHERE id = EVE$$);

-- 6: credits that were never booked are found in the sum over all accounts, whichever account has them.
SELECT * FROM pg_temp.audit($$INSERT INTO ducto.accounts (id, kind, balance, created_at, updated_at) VALUES ('1ed60000-0000-4000-8000-0000000000cc', 'user', 5, now(), now())$$);
-- The ledger is closed again.
ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
DELETE FROM ducto.ledger;

SELECT * FROM ducto_verify();
