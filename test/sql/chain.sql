-- The chain of digests: an entry's digest covers it and all entries before it.
-- In a database of its own, which has a test clock.
\set own regress_ducto_chain
\i test/sql/include/own_database.sql
\pset null -
\set ada '\'c4a10000-0000-4000-8000-000000000001\''
\set bob '\'c4a10000-0000-4000-8000-000000000002\''
\set dan '\'c4a10000-0000-4000-8000-000000000004\''

-- It is off: an entry has no digest, and neither has the account.
SELECT amount, error FROM ducto_add_credits(:ada, 5);
SELECT digest, chain_head FROM ducto.ledger l JOIN ducto.accounts a ON a.id = l.account_id WHERE account_id = :ada;

-- Who is no superuser can switch it neither on nor off: not in a session, a function, a role or a database, and not before
-- the library is there.
CREATE ROLE regress_ducto_chain LOGIN;
SELECT ducto_grant_access('regress_ducto_chain');
ALTER DATABASE :"DBNAME" SET ducto.ledger_chain = on;
\c -
SET SESSION AUTHORIZATION regress_ducto_chain;
SET ducto.ledger_chain = off;
SELECT amount, error FROM ducto_add_credits(:ada, 5);
SHOW ducto.ledger_chain;
SET ducto.ledger_chain = off;
ALTER ROLE regress_ducto_chain SET ducto.ledger_chain = off;
CREATE FUNCTION pg_temp.off() RETURNS void LANGUAGE sql SET ducto.ledger_chain = off AS 'SELECT';
RESET SESSION AUTHORIZATION;
SELECT seq, digest IS NOT NULL AS has_digest FROM ducto.ledger WHERE account_id = :ada ORDER BY seq;

-- All that books goes on the chain: in one statement and in steps, with grants, keys, retries, plans, teams and expiries.
SELECT version > 0 AS published FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "plans": {"chain": {"name": "Chain", "free_allowance": 3}}}');
SELECT amount, error FROM ducto_charge(:ada, 1, idempotency_key => 'a', metadata => '{"c": [1, 2.50, null, {"b": true}], "a": "\u00e4"}', model => 'm');
SELECT amount, idempotent FROM ducto_charge(:ada, 1, idempotency_key => 'a');
SELECT amount, error FROM ducto_charge(:ada, 2, idempotency_key => 'b');
SELECT amount, error FROM ducto_charge_usage(:ada, '{"model": "m", "input_tokens": 1}');
SELECT error FROM ducto_charge(:ada, 1000);
SELECT reservation_id AS r FROM ducto_reserve(:ada, 1, min_balance => 0) \gset
SELECT amount, error FROM ducto_deduct(:ada, :'r', 0.5, final => false);
SELECT amount, error FROM ducto_deduct(:ada, :'r', 0.25, idempotency_key => 'a');
SELECT amount, error FROM ducto_deduct(:ada, :'r', 0.25, idempotency_key => 'c');
SELECT amount, error FROM ducto_add_credits(:ada, 10, 'promo', expires_at => ducto.clock() + interval '300 s', priority => 7);
SELECT amount, error FROM ducto_add_credits(:ada, 10, 'promo', expires_at => ducto.clock() + interval '320 s');
SELECT transaction_id AS t FROM ducto_charge(:ada, 12) \gset
SELECT amount, error FROM ducto_refund(:'t', 11);
SELECT ducto_advance_clock('330 s') \g /dev/null
SELECT expired_count > 0 AS expired FROM ducto_sweep_expired();
SELECT plan_id FROM ducto_set_user_plan(:ada, 'chain');
SELECT amount, allowance_consumed, error FROM ducto_charge(:ada, 4);
SELECT team_id AS t FROM ducto_create_team('Chain', 10) \gset
SELECT error FROM ducto_add_team_member(:'t', :ada);
SELECT amount, error FROM ducto_deduct_team(:'t', :ada, 2, idempotency_key => 'a');
SELECT amount, error FROM ducto_deduct_team(:'t', :ada, 3, idempotency_key => 'b');
SELECT amount, idempotent FROM ducto_deduct_team(:'t', :ada, 3, idempotency_key => 'b');
SELECT reservation_id AS block FROM ducto_reserve(:ada, 3, team_id => :'t', min_balance => 0) \gset
SELECT booked, amount FROM ducto_settle(:ada, :'block', '[{"key": "l1", "amount": 1, "model": "ä"}, {"key": "l2", "amount": 0.5}, {"key": "l3", "amount": 0.25, "model": "ä"}]', true);
SELECT type, count(*), count(digest) AS digests FROM ducto.ledger WHERE account_id IN (:ada, :'t') GROUP BY type ORDER BY type;
SELECT * FROM found();

-- How a digest is made, in SQL alone: columns that are not NULL, each a name and a value with their lengths before them.
CREATE FUNCTION pg_temp.part(name text, value bytea) RETURNS bytea LANGUAGE sql IMMUTABLE
	RETURN substr(int4send(octet_length(name)), 4) || name::bytea || int4send(octet_length(value)) || value;
CREATE FUNCTION pg_temp.bytes(value text) RETURNS bytea LANGUAGE sql IMMUTABLE RETURN convert_to(value, 'UTF8');
CREATE FUNCTION pg_temp.list(elements bytea[]) RETURNS bytea LANGUAGE sql IMMUTABLE
	RETURN (SELECT string_agg(coalesce(int4send(octet_length(e)) || e, '\xffffffff'), '' ORDER BY n) FROM unnest(elements) WITH ORDINALITY AS u(e, n));
CREATE FUNCTION pg_temp.json(tag text, value bytea) RETURNS bytea LANGUAGE sql IMMUTABLE
	RETURN tag::bytea || int4send(octet_length(value)) || value;
CREATE FUNCTION pg_temp.own(l ducto.ledger, metadata bytea) RETURNS bytea LANGUAGE sql STABLE AS $$
	SELECT sha256('\x01' || pg_temp.part('account_id', uuid_send(l.account_id)) || pg_temp.part('amount', trim_scale(l.amount)::text::bytea)
		|| pg_temp.part('type', l.type::bytea)
		|| coalesce(pg_temp.part('operation_type', pg_temp.bytes(l.operation_type)), '')
		|| coalesce(pg_temp.part('model', pg_temp.bytes(l.model)), '')
		|| coalesce(pg_temp.part('idempotency_key', pg_temp.bytes(l.idempotency_key)), '')
		|| coalesce(pg_temp.part('reference', uuid_send(l.reference)), '')
		|| coalesce(pg_temp.part('shortfall', trim_scale(l.shortfall)::text::bytea), '')
		|| coalesce(pg_temp.part('burned_grants', pg_temp.list((SELECT array_agg(uuid_send(g) ORDER BY n) FROM unnest(l.burned_grants) WITH ORDINALITY AS u(g, n)))), '')
		|| coalesce(pg_temp.part('burned_amounts', pg_temp.list((SELECT array_agg(trim_scale(b)::text::bytea ORDER BY n) FROM unnest(l.burned_amounts) WITH ORDINALITY AS u(b, n)))), '')
		|| coalesce(pg_temp.part('lifetime_purchased', trim_scale(l.lifetime_purchased)::text::bytea), '')
		|| coalesce(pg_temp.part('expires_at', timestamptz_send(l.expires_at)), '')
		|| coalesce(pg_temp.part('priority', int4send(l.priority)), '')
		|| pg_temp.part('metadata', metadata)
		|| pg_temp.part('allowance_consumed', trim_scale(l.allowance_consumed)::text::bytea)
		|| coalesce(pg_temp.part('cap_warning', l.cap_warning::bytea), '')
		|| coalesce(pg_temp.part('actor', uuid_send(l.actor)), '')
		|| coalesce(pg_temp.part('models', pg_temp.list((SELECT array_agg(pg_temp.bytes(m) ORDER BY n) FROM unnest(l.models) WITH ORDINALITY AS u(m, n)))), '')
		|| coalesce(pg_temp.part('model_spend', pg_temp.list((SELECT array_agg(trim_scale(s)::text::bytea ORDER BY n) FROM unnest(l.model_spend) WITH ORDINALITY AS u(s, n)))), '')
		|| coalesce(pg_temp.part('model_lines', pg_temp.list((SELECT array_agg(int4send(c) ORDER BY n) FROM unnest(l.model_lines) WITH ORDINALITY AS u(c, n)))), ''))
$$;
SELECT count(*) AS entries, count(*) FILTER (WHERE pg_temp.own(l, pg_temp.json('{', CASE WHEN metadata = '{}' THEN ''
		-- the shorter key first, then by bytes; numbers without the zeros that end them
		ELSE int4send(1) || 'a' || pg_temp.json('s', '\xc3a4') || int4send(1) || 'c' || pg_temp.json('[', pg_temp.json('1', '1') || pg_temp.json('1', '2.5') || pg_temp.json('n', '')
			|| pg_temp.json('{', int4send(1) || 'b' || pg_temp.json('t', ''))) END)) = ducto.entry_digest(l)) AS alike
	FROM ducto.ledger l WHERE account_id IN (:ada, :'t') AND pricing IS NULL;

-- Whatever column is changed, the digest is another one, but for three: the amounts give balance_after, xact is another one in another cluster.
CREATE FUNCTION pg_temp.other(v anyelement) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE pg_typeof(v) WHEN 'uuid'::regtype THEN gen_random_uuid()::text WHEN 'numeric'::regtype THEN '7.0001' WHEN 'bigint'::regtype THEN '77'
		WHEN 'integer'::regtype THEN '77' WHEN 'timestamptz'::regtype THEN '2033-03-03 03:03:03.000003+00' WHEN 'jsonb'::regtype THEN '{"other": 1}'
		WHEN 'uuid[]'::regtype THEN '{c4a10000-0000-4000-8000-000000000001}' WHEN 'numeric[]'::regtype THEN '{7.0001}' WHEN 'text[]'::regtype THEN '{other}' WHEN 'integer[]'::regtype THEN '{77}' WHEN 'bytea'::regtype THEN '\x00' ELSE 'other' END;
END $$;
DO $$
DECLARE
	c record;
	seen boolean;
BEGIN
	FOR c IN SELECT attname, format_type(atttypid, -1) AS type FROM pg_attribute WHERE attrelid = 'ducto.ledger'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum LOOP
		EXECUTE format('SELECT bool_and(ducto.chain_digest(NULL, l) <> ducto.chain_digest(NULL, jsonb_populate_record(l, jsonb_build_object(%1$L, to_jsonb(pg_temp.other(NULL::%2$s)::%2$s)))))
			FROM ducto.ledger l WHERE digest IS NOT NULL', c.attname, c.type) INTO seen;
		IF NOT seen THEN
			RAISE NOTICE '% is left out', c.attname;
		END IF;
	END LOOP;
END $$;
-- What means the same has the same digest: zeros at the end of a number, the order of keys in a document.
SELECT bool_and(ducto.entry_digest(l) = ducto.entry_digest(jsonb_populate_record(l, jsonb_build_object('amount', round(l.amount, 8))))) AS alike FROM ducto.ledger l WHERE account_id = :ada;

-- spoil() makes a change that a superuser could make, and tells what the auditor says.
CREATE FUNCTION pg_temp.spoil(change text) RETURNS TABLE (check_name text)
LANGUAGE plpgsql AS $$
DECLARE
	found text[];
BEGIN
	BEGIN
		ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
		EXECUTE replace(change, 'ADA', quote_literal('c4a10000-0000-4000-8000-000000000001'));
		found := ARRAY(SELECT v.check_name || CASE WHEN v.account_id IS NULL THEN ', of all' ELSE '' END FROM found() v
			UNION SELECT v.check_name FROM ducto_verify('c4a10000-0000-4000-8000-000000000001') v);
		RAISE SQLSTATE 'ZZZZZ';
	EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	END;
	RETURN QUERY SELECT unnest(found) ORDER BY 1;
END $$;

-- The edit that is consistent: credit from nowhere, and every balance after it. Only the digest knows.
SELECT * FROM pg_temp.spoil($$UPDATE ducto.ledger SET amount = amount + 1000 WHERE account_id = ADA AND seq = 2;
	UPDATE ducto.ledger SET balance_after = balance_after + 1000 WHERE account_id = ADA AND seq >= 2; UPDATE ducto.accounts SET balance = balance + 1000 WHERE id = ADA$$);
SELECT * FROM pg_temp.spoil($$UPDATE ducto.ledger SET metadata = '{}' WHERE account_id = ADA AND seq = 3$$);
SELECT * FROM pg_temp.spoil($$UPDATE ducto.ledger SET model = 'other' WHERE account_id = ADA AND seq = 3$$);
SELECT * FROM pg_temp.spoil($$UPDATE ducto.ledger SET digest = NULL WHERE account_id = ADA AND seq = 3$$);
SELECT * FROM pg_temp.spoil($$UPDATE ducto.ledger SET digest = NULL WHERE account_id = ADA AND seq = (SELECT last_seq FROM ducto.accounts WHERE id = ADA)$$);
SELECT * FROM pg_temp.spoil($$UPDATE ducto.ledger SET digest = '\x00' WHERE account_id = ADA AND seq = 3$$);
SELECT * FROM pg_temp.spoil($$UPDATE ducto.accounts SET chain_head = '\x00' WHERE id = ADA$$);
SELECT * FROM pg_temp.spoil($$UPDATE ducto.accounts SET chain_head = NULL WHERE id = ADA$$);
-- The last entries taken away, with all that tells of them but the digest.
SELECT * FROM pg_temp.spoil($$DELETE FROM ducto.ledger WHERE account_id = ADA AND seq = (SELECT last_seq FROM ducto.accounts WHERE id = ADA);
	UPDATE ducto.accounts SET last_seq = last_seq - 1, balance = balance + 1, allowance_used = 0 WHERE id = ADA$$);
-- Without digests nothing is seen: a head that is kept elsewhere is what sees it.
SELECT seq, digest FROM ducto_chain_head(:ada) \gset kept_
SELECT seq, digest FROM ducto_chain_head(:ada, 4) \gset fourth_
SELECT * FROM pg_temp.spoil($$UPDATE ducto.ledger SET digest = NULL WHERE account_id = ADA; UPDATE ducto.accounts SET chain_head = NULL WHERE id = ADA$$);
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET digest = NULL WHERE account_id = :ada AND seq > 2;
SELECT digest = :'kept_digest' AS alike FROM ducto_chain_head(:ada);
UPDATE ducto.ledger SET metadata = '{"who": "me"}' WHERE account_id = :ada AND seq = 3;
SELECT digest = :'kept_digest' AS alike FROM ducto_chain_head(:ada, :kept_seq);
SELECT digest = :'fourth_digest' AS alike FROM ducto_chain_head(:ada, 4);
ROLLBACK;

-- What a head tells. Where the chain was off, it is made of the entries, so that there is one to keep before it is switched on.
SELECT h.account_id = a.id AS own, h.seq = a.last_seq AS last, h.digest = a.chain_head AS head, h.at = l.created_at AS at
	FROM ducto.accounts a, ducto_chain_head(a.id) h, ducto.ledger l WHERE a.id = :ada AND l.account_id = a.id AND l.seq = a.last_seq;
SELECT h.digest = ducto.chain_digest(NULL, l) AS made, at = l.created_at AS at FROM ducto.ledger l, ducto_chain_head(:ada, 1) h WHERE l.account_id = :ada AND l.seq = 1;
SELECT * FROM ducto_chain_head(:ada, 1000);
SELECT * FROM ducto_chain_head(:bob);
SELECT * FROM ducto_chain_head(NULL);
BEGIN READ ONLY;
SELECT digest = :'kept_digest' AS alike FROM ducto_chain_head(:ada);
COMMIT;

-- Switched off, entries have none and the account keeps its head; switched on again, the next entry follows the last that has one.
ALTER DATABASE :"DBNAME" RESET ducto.ledger_chain;
\c -
SELECT amount FROM ducto_add_credits(:ada, 100);
SELECT amount FROM ducto_charge(:ada, 1, skip_allowance => true);
SELECT * FROM found();
SET ducto.ledger_chain = on;
-- It tells how many have a digest, of those from the first that has one.
SELECT check_name, expected::int - actual::int AS missing FROM found();
SELECT amount FROM ducto_charge(:ada, 1, skip_allowance => true);
SELECT plan_id FROM ducto_set_user_plan(:ada, NULL);
SELECT amount FROM ducto_charge(:ada, 1, idempotency_key => 'd');
SELECT amount, idempotent FROM ducto_charge(:ada, 1, idempotency_key => 'd');
SELECT amount FROM ducto_charge(:ada, 1);
SELECT check_name, expected::int - actual::int AS missing FROM found();
RESET ducto.ledger_chain;
SELECT * FROM found();

-- A retry whose charge is undone by the key leaves the head as it was: with an entry that has no digest before it, and without.
SET ducto.ledger_chain = on;
SELECT amount, error FROM ducto_add_credits(:dan, 10);
SELECT amount, error FROM ducto_charge(:dan, 1, 'k');
RESET ducto.ledger_chain;
SELECT amount, error FROM ducto_charge(:dan, 1);
SET ducto.ledger_chain = on;
SELECT amount, idempotent FROM ducto_charge(:dan, 1, 'k');
SELECT amount, error FROM ducto_charge(:dan, 1);
SELECT amount, idempotent FROM ducto_charge(:dan, 1, 'k');
SELECT l.digest = a.chain_head AS head FROM ducto.accounts a JOIN ducto.ledger l ON l.account_id = a.id AND l.seq = a.last_seq WHERE a.id = :dan;
RESET ducto.ledger_chain;
SELECT * FROM found();

DROP OWNED BY regress_ducto_chain;
DROP ROLE regress_ducto_chain;

\c :main
DROP DATABASE :own;
