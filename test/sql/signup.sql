-- signup: who gets the bonus of new users, and when: not those who may be anybody

SET client_min_messages = warning;
CREATE FUNCTION pg_temp.u(n integer) RETURNS uuid LANGUAGE sql AS $$ SELECT ('51910000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.publish(bonus text) RETURNS jsonb LANGUAGE sql AS $$ SELECT config->'signup_bonus' FROM ducto_set_active_pricing(format('{"models": {"_default": "1"}, "signup_bonus": %s}', bonus)::jsonb) $$;
CREATE TEMP VIEW bonuses AS SELECT right(account_id::text, 2) AS "user", type, amount, idempotency_key FROM ducto.ledger WHERE account_id::text LIKE '51910000-%' ORDER BY 1, seq;
RESET client_min_messages;

-- A table as Auth has it, where confirmed_at is made of the others.
CREATE SCHEMA regress_ducto_auth;
CREATE TABLE regress_ducto_auth.users (
	id uuid PRIMARY KEY, email text, is_anonymous boolean NOT NULL DEFAULT false, email_confirmed_at timestamptz, phone_confirmed_at timestamptz,
	confirmed_at timestamptz GENERATED ALWAYS AS (least(email_confirmed_at, phone_confirmed_at)) STORED, last_sign_in_at timestamptz
);
CREATE TRIGGER bonus AFTER INSERT OR UPDATE ON regress_ducto_auth.users FOR EACH ROW EXECUTE FUNCTION ducto.signup_bonus();

-- A number alone: everybody but anonymous users, and these when they become permanent.
SELECT pg_temp.publish('25');
INSERT INTO regress_ducto_auth.users (id, is_anonymous) VALUES (pg_temp.u(1), false), (pg_temp.u(2), true), (pg_temp.u(3), true);
SELECT * FROM bonuses ORDER BY 1;
UPDATE regress_ducto_auth.users SET last_sign_in_at = now(), is_anonymous = is_anonymous;
UPDATE regress_ducto_auth.users SET email_confirmed_at = now();
SELECT * FROM bonuses ORDER BY 1;
UPDATE regress_ducto_auth.users SET is_anonymous = false WHERE id = pg_temp.u(2);
SELECT * FROM bonuses ORDER BY 1;
-- Once: not when they go back and forth, nor when others do what they did.
UPDATE regress_ducto_auth.users SET is_anonymous = true;
UPDATE regress_ducto_auth.users SET is_anonymous = false WHERE id <> pg_temp.u(3);
SELECT * FROM bonuses ORDER BY 1;
-- Not when the statement is taken back.
BEGIN;
UPDATE regress_ducto_auth.users SET is_anonymous = false WHERE id = pg_temp.u(3);
ROLLBACK;
SELECT * FROM bonuses ORDER BY 1;

-- Only who is confirmed, by mail or phone: at once or as soon as that is so; anonymous users need to be permanent too, in whatever order.
SELECT pg_temp.publish('{"amount": 10, "confirmed": true}');
INSERT INTO regress_ducto_auth.users (id, is_anonymous, email_confirmed_at) VALUES (pg_temp.u(11), false, NULL), (pg_temp.u(12), false, now()), (pg_temp.u(13), true, NULL), (pg_temp.u(14), true, NULL), (pg_temp.u(15), true, NULL), (pg_temp.u(16), false, NULL);
SELECT * FROM bonuses WHERE "user" >= '10' ORDER BY 1;
UPDATE regress_ducto_auth.users SET phone_confirmed_at = now() WHERE id = pg_temp.u(11);
UPDATE regress_ducto_auth.users SET is_anonymous = false WHERE id = pg_temp.u(13);
UPDATE regress_ducto_auth.users SET email_confirmed_at = now() WHERE id = pg_temp.u(14);
UPDATE regress_ducto_auth.users SET email_confirmed_at = now(), is_anonymous = false WHERE id = pg_temp.u(15);
UPDATE regress_ducto_auth.users SET last_sign_in_at = now();
SELECT * FROM bonuses WHERE "user" >= '10' ORDER BY 1;
UPDATE regress_ducto_auth.users SET email_confirmed_at = now() WHERE id = pg_temp.u(13);
UPDATE regress_ducto_auth.users SET is_anonymous = false WHERE id = pg_temp.u(14);
UPDATE regress_ducto_auth.users SET email_confirmed_at = NULL, phone_confirmed_at = NULL;
UPDATE regress_ducto_auth.users SET email_confirmed_at = now() WHERE id IN (pg_temp.u(11), pg_temp.u(12), pg_temp.u(13));
SELECT * FROM bonuses WHERE "user" >= '10' ORDER BY 1;

-- Anonymous users too, where the pricing says so; what they have got they do not get again.
SELECT pg_temp.publish('{"amount": "1.5", "anonymous": true, "confirmed": false}');
INSERT INTO regress_ducto_auth.users (id, is_anonymous) VALUES (pg_temp.u(21), true), (pg_temp.u(22), false);
UPDATE regress_ducto_auth.users SET is_anonymous = false, email_confirmed_at = now() WHERE id = pg_temp.u(21);
SELECT pg_temp.publish('7');
UPDATE regress_ducto_auth.users SET is_anonymous = true WHERE id = pg_temp.u(21);
UPDATE regress_ducto_auth.users SET is_anonymous = false WHERE id = pg_temp.u(21);
SELECT * FROM bonuses WHERE "user" >= '20' ORDER BY 1;
-- Nothing in these.
SELECT pg_temp.publish('{"amount": 0}');
INSERT INTO regress_ducto_auth.users (id) VALUES (pg_temp.u(23));
SELECT * FROM bonuses WHERE "user" = '23' ORDER BY 1;

-- Columns that are not there: nobody is anonymous, nobody is confirmed. One of another type tells nothing.
DROP TABLE regress_ducto_auth.users;
CREATE TABLE regress_ducto_auth.users (id uuid PRIMARY KEY, is_anonymous text);
CREATE TRIGGER bonus AFTER INSERT OR UPDATE ON regress_ducto_auth.users FOR EACH ROW EXECUTE FUNCTION ducto.signup_bonus();
SELECT pg_temp.publish('3');
INSERT INTO regress_ducto_auth.users VALUES (pg_temp.u(31), 'true');
SELECT pg_temp.publish('{"amount": 4, "confirmed": true}');
INSERT INTO regress_ducto_auth.users VALUES (pg_temp.u(32));
ALTER TABLE regress_ducto_auth.users ADD confirmed_at timestamptz, DROP is_anonymous, ADD is_anonymous boolean;
UPDATE regress_ducto_auth.users SET confirmed_at = now();
INSERT INTO regress_ducto_auth.users (id, confirmed_at) VALUES (pg_temp.u(33), now());
SELECT * FROM bonuses WHERE "user" >= '30' ORDER BY 1;

-- An error on the way costs the bonus and not the change: here the key is that of something else.
SELECT amount FROM ducto_charge(pg_temp.u(33), 1, 'order 1');
SELECT new_balance FROM ducto_add_credits(pg_temp.u(34), 2);
SELECT amount FROM ducto_charge(pg_temp.u(34), 1, 'signup_bonus');
INSERT INTO regress_ducto_auth.users (id) VALUES (pg_temp.u(34));
UPDATE regress_ducto_auth.users SET confirmed_at = now() WHERE id = pg_temp.u(34) RETURNING id;
CREATE TRIGGER gone AFTER DELETE ON regress_ducto_auth.users FOR EACH ROW EXECUTE FUNCTION ducto.signup_bonus();
DELETE FROM regress_ducto_auth.users;

-- What a pricing may say of it.
SELECT c AS bonus, (SELECT string_agg(p.path || ' ' || p.problem, '; ') FROM ducto_validate_pricing(format('{"models": {"m": "1"}, "signupBonus": %s}', c)::jsonb) p) AS problems
FROM unnest(ARRAY['{"amount": 5}', '{"amount": "5", "anonymous": null, "confirmed": false}', '{}', '{"amount": null}', '{"amount": -1, "anonymous": "yes", "confirmed": 1}', '{"amount": 0.00001}', '{"amount": [1]}',
	'{"amount": 1, "Amount": 2, "isAnonymous": true}', '[25]', 'true', '"x"', 'null']) c;
SELECT config->'signup_bonus' AS kept FROM ducto_set_active_pricing('{"models": {"m": "1"}, "signupBonus": {"amount": "25.00004", "anonymous": null, "confirmed": true}}');

DROP SCHEMA regress_ducto_auth CASCADE;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
SELECT * FROM ducto_verify();
