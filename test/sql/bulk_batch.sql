-- Grants and events of a batch are written together, and they are those of single calls. All that an INSERT would see to holds: each
-- index has what it is to have, a savepoint takes them back, and indexes, triggers, checks and columns of somebody's own are minded.
\pset null -
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.account(side text, i integer) RETURNS uuid LANGUAGE sql AS $$ SELECT (side || '01ba7c0-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid $$;
-- give and spend make a batch of as many elements, two of each account, of the side a, and tell what came of it.
CREATE FUNCTION pg_temp.give(n integer, cost numeric = 1) RETURNS text LANGUAGE sql
	AS $$ SELECT count(transaction_id) || ' booked' FROM ducto_add_credits_many(
		(SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.account('a', i / 2), 'amount', cost, 'type', 'promo', 'priority', i % 7,
			'expires_at', timestamptz '2099-01-01' + interval '1 day' * (i % 5))) FROM generate_series(0, n - 1) i)) $$;
CREATE FUNCTION pg_temp.spend(n integer, cost numeric = 30) RETURNS text LANGUAGE sql
	AS $$ SELECT count(transaction_id) || ' booked' FROM ducto_charge_many(
		(SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.account('a', i / 2), 'amount', cost)) FROM generate_series(0, n - 1) i)) $$;
CREATE VIEW pg_temp.grants AS SELECT * FROM ducto.grants WHERE account_id BETWEEN pg_temp.account('a', 0) AND pg_temp.account('a', 999);
CREATE VIEW pg_temp.events AS SELECT * FROM ducto.events WHERE account_id BETWEEN pg_temp.account('a', 0) AND pg_temp.account('a', 999);
-- differing tells what is not the same on both sides, but for ids and times.
CREATE FUNCTION pg_temp.differing() RETURNS TABLE (row_text text, a bigint, b bigint) LANGUAGE sql AS $$
	WITH rows AS (
		SELECT left(account_id::text, 1) AS side, concat_ws(' ', 'grant', right(account_id::text, 12), seq, type, amount, remaining, priority, expires_at, live, rolls_to, rollover) AS row_text
		FROM ducto.grants WHERE account_id::text LIKE '_01ba7c0-%'
		UNION ALL
		SELECT left(account_id::text, 1), concat_ws(' ', 'event', right(account_id::text, 12), number, user_id = account_id, team_id, kind, payload, origin, attempt, visible_at = created_at, acked_at)
		FROM ducto.events WHERE account_id::text LIKE '_01ba7c0-%')
	SELECT row_text, count(*) FILTER (WHERE side = 'a'), count(*) FILTER (WHERE side = 'b') FROM rows
	GROUP BY row_text HAVING count(*) FILTER (WHERE side = 'a') <> count(*) FILTER (WHERE side = 'b') ORDER BY 1 LIMIT 10 $$;
SELECT count(new_balance) FROM unnest('{a,b}'::text[]) side, generate_series(0, 149) i, ducto_add_credits(pg_temp.account(side, i), 100);
SELECT count(s.*) FROM unnest('{a,b}'::text[]) side, generate_series(0, 149) i, ducto_set_alerts(pg_temp.account(side, i), balance => '{90, 50}') s;

-- More than is written at a time: each row is there by the table and by each of its indexes.
SELECT pg_temp.give(300);
SELECT count(error), count(*) FROM (SELECT r.* FROM generate_series(0, 299) i, ducto_add_credits(pg_temp.account('b', i / 2), 1, 'promo', priority => i % 7,
	expires_at => timestamptz '2099-01-01' + interval '1 day' * (i % 5)) r) r;
SELECT pg_temp.spend(300);
SELECT count(error), count(*) FROM (SELECT r.* FROM generate_series(0, 299) i, ducto_charge(pg_temp.account('b', i / 2), 30) r) r;
SELECT pg_temp.give(300, 31);
SELECT count(error), count(*) FROM (SELECT r.* FROM generate_series(0, 299) i, ducto_add_credits(pg_temp.account('b', i / 2), 31, 'promo', priority => i % 7,
	expires_at => timestamptz '2099-01-01' + interval '1 day' * (i % 5)) r) r;
SELECT * FROM pg_temp.differing();
SELECT count(*), count(*) FILTER (WHERE live) AS live, sum(remaining) FROM pg_temp.grants;
SELECT kind, number, payload - 'seq' AS payload, count(*), count(DISTINCT id) FROM pg_temp.events GROUP BY 1, 2, 3 ORDER BY 2, 1, 3;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) AS by_id, count(DISTINCT id) FROM pg_temp.grants;
SELECT count(*) AS by_order FROM generate_series(0, 149) i, LATERAL (SELECT FROM ducto.grants WHERE account_id = pg_temp.account('a', i) AND live ORDER BY priority, expires_at, seq, id LIMIT 9) g;
SELECT count(*) AS by_end FROM generate_series(0, 149) i, LATERAL (SELECT FROM ducto.grants WHERE account_id = pg_temp.account('a', i) AND live ORDER BY expires_at, seq, id LIMIT 9) g;
SELECT count(*) AS by_time FROM ducto.grants WHERE expires_at AT TIME ZONE 'UTC' BETWEEN '2098-12-31' AND '2099-01-06' AND live AND account_id BETWEEN pg_temp.account('a', 0) AND pg_temp.account('a', 149);
SELECT count(*) AS by_number FROM generate_series(0, 149) i, LATERAL (SELECT FROM ducto.events WHERE account_id = pg_temp.account('a', i) AND number BETWEEN 1 AND 9 OFFSET 0) e;
SELECT count(*) AS by_id FROM ducto.events e, LATERAL (SELECT FROM ducto.events WHERE id = e.id OFFSET 0) l WHERE account_id BETWEEN pg_temp.account('a', 0) AND pg_temp.account('a', 149);
SELECT count(*) AS by_kind FROM ducto.events WHERE origin = ducto.event_origin() AND kind = 'balance_recovered' AND acked_at IS NULL AND account_id BETWEEN pg_temp.account('a', 0) AND pg_temp.account('a', 149);
RESET enable_seqscan;
RESET enable_bitmapscan;

-- A savepoint takes them back, and what comes after it is numbered as if they had not been.
SELECT max(last_event) AS last FROM ducto.accounts WHERE id BETWEEN pg_temp.account('a', 0) AND pg_temp.account('a', 149) \gset
BEGIN;
SAVEPOINT one;
SELECT pg_temp.spend(300, 35);
SELECT pg_temp.give(300, 35);
SELECT count(*), max(number) - :last AS more FROM pg_temp.events;
ROLLBACK TO one;
SELECT count(*), max(number) - :last AS more FROM pg_temp.events;
SELECT pg_temp.spend(20, 35);
SELECT count(*), max(number) - :last AS more FROM pg_temp.events;
ROLLBACK;
SELECT * FROM pg_temp.differing();

-- The events of a pool tell who its members are, also among those of users; few are written as many.
SELECT team_id AS team FROM ducto_create_team('Bulk', 100) \gset
SELECT count(m.role) FROM unnest(ARRAY[pg_temp.account('a', 0), pg_temp.account('a', 1)]) who, ducto_add_team_member(:'team', who) m;
SELECT count(s.*) FROM ducto_set_alerts(:'team', balance => '{99, 98, 50}') s;
BEGIN;
SELECT count(transaction_id) FROM ducto_charge_many((SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.account('a', i), 'amount', 36)) FROM generate_series(0, 9) i)
	|| (SELECT jsonb_agg(jsonb_build_object('team_id', :'team', 'user_id', pg_temp.account('a', i % 2), 'amount', 1.5)) FROM generate_series(0, 2) i));
SELECT kind, number, right(user_id::text, 3) AS by, payload ->> 'line' AS line, payload ->> 'balance' AS balance, jsonb_array_length(payload -> 'members') AS members,
	payload ->> 'seq' = number::text AS right_number FROM ducto.events WHERE team_id = :'team' ORDER BY number;
SELECT count(*) FROM ducto.events WHERE user_id BETWEEN pg_temp.account('a', 0) AND pg_temp.account('a', 9) AND number > :last;
ROLLBACK;
BEGIN;
SELECT count(transaction_id) FROM ducto_charge_many((SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.account('a', i), 'amount', CASE WHEN i < 2 THEN 36 ELSE 0.01 END)) FROM generate_series(0, 9) i));
SELECT right(account_id::text, 3) AS account, number - :last AS more, kind, payload ->> 'line' AS line FROM pg_temp.events WHERE number > :last ORDER BY 1, 2;
ROLLBACK;

-- A unique index that somebody has added refuses a row, and nothing of the call is left.
CREATE UNIQUE INDEX bulk_once ON ducto.grants ((amount || '')) WHERE amount = 7;
SELECT pg_temp.give(150, 7);
DROP INDEX ducto.bulk_once;
CREATE UNIQUE INDEX bulk_once ON ducto.events ((payload ->> 'balance')) WHERE payload @> '{"balance": 69}';
SELECT pg_temp.spend(300, 35);
DROP INDEX ducto.bulk_once;
SELECT * FROM pg_temp.differing();

-- Triggers for rows and for the statement are called, those of a replica are not; checks and rules are minded.
\i test/sql/include/bulk_tell.sql
BEGIN;
CREATE TRIGGER bulk_statement AFTER INSERT ON ducto.grants REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION bulk_tell();
CREATE TRIGGER bulk_statement AFTER INSERT ON ducto.events REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION bulk_tell();
SELECT pg_temp.spend(40, 35);
SELECT pg_temp.give(30, 35);
SELECT * FROM bulk_seen;
DROP TRIGGER bulk_statement ON ducto.grants;
DROP TRIGGER bulk_statement ON ducto.events;
DELETE FROM bulk_seen;
CREATE TRIGGER bulk_row BEFORE INSERT ON ducto.grants FOR EACH ROW EXECUTE FUNCTION bulk_tell();
CREATE TRIGGER bulk_row BEFORE INSERT ON ducto.events FOR EACH ROW EXECUTE FUNCTION bulk_tell();
SELECT pg_temp.spend(40, 35);
SELECT pg_temp.give(30, 35);
SELECT told, count(*) FROM bulk_seen GROUP BY told ORDER BY told;
ALTER TABLE ducto.grants ENABLE REPLICA TRIGGER bulk_row;
ALTER TABLE ducto.events DISABLE TRIGGER bulk_row;
SELECT pg_temp.spend(40, 35);
SELECT pg_temp.give(30, 35);
SELECT told, count(*) FROM bulk_seen GROUP BY told ORDER BY told;
ROLLBACK;
DROP FUNCTION bulk_tell;
DROP TABLE bulk_seen;
BEGIN;
ALTER TABLE ducto.grants ADD CONSTRAINT bulk_small CHECK (amount < 50) NOT VALID;
ALTER TABLE ducto.events ADD CONSTRAINT bulk_known CHECK (kind <> 'balance_exhausted') NOT VALID;
SELECT pg_temp.give(20, 40);
SAVEPOINT refused;
SELECT pg_temp.give(20, 60);
ROLLBACK TO refused;
SELECT pg_temp.spend(20, 60);
SAVEPOINT refused;
SELECT balance AS left FROM ducto.accounts WHERE id = pg_temp.account('a', 100) \gset
SELECT count(transaction_id) FROM ducto_charge_many((SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.account('a', 100 + i), 'amount', :left)) FROM generate_series(0, 9) i));
ROLLBACK;
BEGIN;
CREATE TABLE bulk_rule (account_id uuid, what text);
CREATE RULE bulk_also AS ON INSERT TO ducto.grants DO ALSO INSERT INTO public.bulk_rule VALUES (NEW.account_id, 'grant');
CREATE RULE bulk_also AS ON INSERT TO ducto.events DO ALSO INSERT INTO public.bulk_rule VALUES (NEW.account_id, NEW.kind);
SELECT pg_temp.spend(40, 35);
SELECT pg_temp.give(30, 35);
SELECT what, count(*) FROM bulk_rule GROUP BY what ORDER BY what;
ROLLBACK;

-- Columns that are not ducto's are filled, those of another type take what it takes, and they may have another order.
BEGIN;
ALTER TABLE ducto.grants ADD COLUMN place text NOT NULL DEFAULT 'here', ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) STORED;
ALTER TABLE ducto.events ADD COLUMN place text NOT NULL DEFAULT 'there';
SELECT count(*) AS before FROM pg_temp.events \gset
SELECT pg_temp.spend(40, 35);
SELECT pg_temp.give(30, 35.5);
SELECT place, twice, count(*) FROM ducto.grants WHERE amount = 35.5 GROUP BY place, twice;
SELECT place, count(*) - :before AS more FROM ducto.events WHERE account_id BETWEEN pg_temp.account('a', 0) AND pg_temp.account('a', 999) GROUP BY place;
ALTER TABLE ducto.grants DROP COLUMN place, DROP COLUMN twice;
ALTER TABLE ducto.events DROP COLUMN place;
SELECT pg_temp.spend(40, 35);
SELECT pg_temp.give(30, 35);
SELECT * FROM ducto_verify();
ROLLBACK;
BEGIN;
CREATE DOMAIN bulk_kind AS text CHECK (VALUE <> 'promo');
DROP VIEW pg_temp.grants;
ALTER TABLE ducto.grants ALTER COLUMN type TYPE bulk_kind USING CASE WHEN type = 'promo' THEN 'free' ELSE type END;
SELECT pg_temp.give(20);
ROLLBACK;
BEGIN;
DO $$
DECLARE
	one text;
BEGIN
	FOREACH one IN ARRAY '{grants,events}'::text[] LOOP
		EXECUTE (SELECT format('CREATE TABLE ducto.bulk_turned_%s (%s)', one, string_agg(format('%I %s %s', attname, format_type(atttypid, atttypmod),
			CASE WHEN attnotnull THEN 'NOT NULL' END), ', ' ORDER BY attnum DESC)) FROM pg_attribute WHERE attrelid = ('ducto.' || one)::regclass AND attnum > 0);
		EXECUTE format('INSERT INTO ducto.bulk_turned_%s (%s) SELECT %2$s FROM ducto.%1$s', one,
			(SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = ('ducto.' || one)::regclass AND attnum > 0));
		EXECUTE format('ALTER TABLE ducto.%s RENAME TO bulk_before_%1$s; ALTER TABLE ducto.bulk_turned_%1$s RENAME TO %1$s', one);
	END LOOP;
END $$;
SELECT pg_temp.spend(40, 35);
SELECT pg_temp.give(30, 35.5);
SELECT count(*), count(DISTINCT id), min(priority), max(priority), bool_and(live), max(remaining) FROM ducto.grants WHERE amount = 35.5 AND type = 'promo';
SELECT kind, count(*), bool_and(payload ->> 'seq' = number::text AND user_id = account_id AND attempt = 0 AND acked_at IS NULL) AS whole FROM ducto.events e
	WHERE NOT EXISTS (SELECT FROM ducto.bulk_before_events WHERE id = e.id) GROUP BY kind ORDER BY kind;
ROLLBACK;
SELECT * FROM pg_temp.differing();
SELECT * FROM ducto_verify();
