-- Triggers of users on the tables of ducto: what they call for another account works, what they call for the account of the operation
-- is refused, unless they wait for its end; nothing is lost, and nothing spoils the books.
\pset null -
\set ann '\'7e100000-0000-4000-8000-000000000001\''
\set bob '\'7e100000-0000-4000-8000-000000000002\''
\set cat '\'7e100000-0000-4000-8000-000000000003\''
\set SHOW_CONTEXT never

CREATE TABLE trigger_calls (statement text, same boolean);
CREATE TABLE trigger_told (told text);

-- Does what trigger_calls says, once, for the account of the row or for cat. A trigger runs with the search_path of the functions of ducto
-- unless it has one of its own.
CREATE FUNCTION trigger_does() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
	what record;
	whose uuid := to_jsonb(NEW) ->> CASE TG_TABLE_NAME WHEN 'accounts' THEN 'id' ELSE 'account_id' END;
	said text;
BEGIN
	IF whose <> '7e100000-0000-4000-8000-000000000001' THEN
		RETURN NULL;
	END IF;
	DELETE FROM trigger_calls RETURNING * INTO what;
	IF FOUND THEN
		EXECUTE format(what.statement, CASE WHEN what.same THEN whose ELSE '7e100000-0000-4000-8000-000000000003' END) INTO said;
		INSERT INTO trigger_told VALUES (coalesce(said, 'null'));
	END IF;
	RETURN NULL;
END $$;

-- Says what the trigger is to do while a statement runs, and tells what came of both.
CREATE FUNCTION pg_temp.with_trigger(statement text, called text, same boolean = true) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	DELETE FROM trigger_told;
	DELETE FROM trigger_calls;
	INSERT INTO trigger_calls VALUES (called, same);
	EXECUTE statement INTO said;
	RETURN concat_ws(' | ', coalesce(said, 'null'), (SELECT 'trigger: ' || told FROM trigger_told), (SELECT 'not called' FROM trigger_calls));
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM);
END $$;

SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"trigger_plan": {"name": "Trigger Plan", "free_allowance": 10}}}');
SELECT new_balance FROM ducto_add_credits(:ann, 100);
SELECT new_balance FROM ducto_add_credits(:cat, 100);

CREATE TRIGGER does AFTER INSERT ON ducto.ledger FOR EACH ROW EXECUTE FUNCTION trigger_does();

-- An operation on an account without plan and caps, which is a guarded update and the entry.
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$,
	'SELECT balance_after FROM ducto_charge(%L, 2)');
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$,
	$$SELECT plan_id FROM ducto_set_user_plan(%L, 'trigger_plan')$$);
SELECT plan_id FROM ducto_get_user_plan(:ann);
SELECT balance FROM ducto_get_balance(:ann);
SELECT * FROM ducto_verify(:ann);

SELECT error FROM ducto_set_user_plan(:ann, 'trigger_plan');
-- One that is made in steps, because of the plan.
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 12)$$, c)
FROM unnest(ARRAY['SELECT ducto_set_user_plan(%L, NULL)', 'SELECT ducto_reserve(%L, 5)', 'SELECT ducto_charge(%L, 1)', 'SELECT ducto_add_credits(%L, 1)',
	$$SELECT ducto_set_spend_cap(%L, 'daily', 5)$$, $$SELECT ducto_increment_usage_window(%L, 'trigger_plan', 1)$$]) c;
-- For another account it may do what it likes, and it may read.
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 12)$$,
	'SELECT balance_after FROM ducto_charge(%L, 7)', false);
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$,
	'SELECT affordable FROM ducto_can_afford(%L, 5)');
SELECT balance FROM ducto_get_balance(:ann);
SELECT balance FROM ducto_get_balance(:cat);
SELECT plan_id FROM ducto_get_user_plan(:ann);
SELECT * FROM ducto_verify(:ann);

-- A trigger that catches the error goes without, and the operation is made.
CREATE FUNCTION trigger_tries(statement text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN object_in_use THEN
	RETURN 'caught';
END $$;
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$,
	$$SELECT trigger_tries(format('SELECT ducto_charge(%%L, 3)', %L))$$);
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$,
	$$SELECT trigger_tries(format('SELECT ducto_charge(%%L, 3)', %L))$$, false);
SELECT balance FROM ducto_get_balance(:ann);
-- After an operation that failed nothing is claimed any more.
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$, 'SELECT 1 / (%L IS NULL)::integer');
SELECT balance_after FROM ducto_charge(:ann, 1);
DROP TRIGGER does ON ducto.ledger;

-- The same of the other tables.
CREATE TRIGGER does AFTER INSERT OR UPDATE ON ducto.reservations FOR EACH ROW EXECUTE FUNCTION trigger_does();
SELECT pg_temp.with_trigger($$SELECT reserved FROM ducto_reserve('7e100000-0000-4000-8000-000000000001', 5)$$, 'SELECT balance_after FROM ducto_charge(%L, 1)');
SELECT reserved FROM ducto_get_balance(:ann);
SELECT reserved FROM ducto_reserve(:ann, 5);
SELECT pg_temp.with_trigger(format($$SELECT d.balance_after FROM ducto.reservations r, ducto_deduct(r.account_id, r.id, 2) d WHERE account_id = %L AND state = 'open'$$, :ann),
	'SELECT reserved FROM ducto_reserve(%L, 4)');
SELECT balance, reserved FROM ducto_get_balance(:ann);
DROP TRIGGER does ON ducto.reservations;
CREATE TRIGGER does AFTER UPDATE ON ducto.accounts FOR EACH ROW EXECUTE FUNCTION trigger_does();
SELECT pg_temp.with_trigger($$SELECT new_balance FROM ducto_add_credits('7e100000-0000-4000-8000-000000000001', 10)$$, 'SELECT balance_after FROM ducto_charge(%L, 1)');
DELETE FROM trigger_calls;
SELECT plan_id FROM ducto_set_user_plan(:ann, NULL);
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$, 'SELECT balance_after FROM ducto_charge(%L, 2)');
DROP TRIGGER does ON ducto.accounts;
SELECT new_balance FROM ducto_add_credits(:ann, 10, 'promo', expires_at => clock_timestamp() + interval '1 day');
CREATE TRIGGER does AFTER UPDATE ON ducto.grants FOR EACH ROW EXECUTE FUNCTION trigger_does();
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$, 'SELECT balance_after FROM ducto_charge(%L, 2)');
SELECT plan_id FROM ducto_set_user_plan(:ann, 'trigger_plan');
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1, skip_allowance => true)$$, 'SELECT balance_after FROM ducto_charge(%L, 2)');
DROP TRIGGER does ON ducto.grants;
SELECT * FROM ducto_verify(:ann);

-- A constraint trigger that is deferred runs at the end of the transaction, when no operation is under way: it may do everything.
CREATE CONSTRAINT TRIGGER does AFTER INSERT ON ducto.ledger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trigger_does();
DELETE FROM trigger_calls;
INSERT INTO trigger_calls VALUES ('SELECT balance_after FROM ducto_charge(%L, 2, skip_allowance => true)', true);
BEGIN;
SELECT balance_after FROM ducto_charge(:ann, 1, skip_allowance => true);
COMMIT;
SELECT balance FROM ducto_get_balance(:ann);
DROP TRIGGER does ON ducto.ledger;

-- Where some of an operation is written and some is not, one on the same account inside of it would see half of it: a cap would be
-- added without the entry that is still to come, and what is undone because the key is known would be undone under an entry that is there.
SELECT plan_id FROM ducto_set_user_plan(:ann, NULL);
-- This session has met accounts with a plan; after some that are plain it charges at once again, and undoes what a known key is in the way of.
SELECT count(ducto_charge(:ann, 0)) FROM generate_series(1, 8);
SELECT balance_after FROM ducto_charge(:ann, 1, 'known', skip_allowance => true);
CREATE TRIGGER does AFTER UPDATE ON ducto.accounts FOR EACH ROW EXECUTE FUNCTION trigger_does();
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$, $$SELECT ducto_set_spend_cap(%L, 'daily', 500)$$);
SELECT pg_temp.with_trigger($$SELECT new_balance FROM ducto_add_credits('7e100000-0000-4000-8000-000000000001', 1, idempotency_key => 'known')$$,
	'SELECT ducto_charge(%L, 2)');
SELECT pg_temp.with_trigger($$SELECT balance_after FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1, 'known')$$, 'SELECT ducto_charge(%L, 2)');
DROP TRIGGER does ON ducto.accounts;
-- Before a row too, and for the statement.
CREATE TRIGGER does BEFORE INSERT ON ducto.reservations FOR EACH ROW EXECUTE FUNCTION trigger_does();
SELECT pg_temp.with_trigger($$SELECT reserved FROM ducto_reserve('7e100000-0000-4000-8000-000000000001', 5)$$, $$SELECT ducto_set_spend_cap(%L, 'daily', 500)$$);
DROP TRIGGER does ON ducto.reservations;
CREATE FUNCTION trigger_charges() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
	PERFORM ducto_charge('7e100000-0000-4000-8000-000000000001', 2);
	RETURN NULL;
END $$;
CREATE TRIGGER charges BEFORE UPDATE ON ducto.accounts FOR EACH STATEMENT EXECUTE FUNCTION trigger_charges();
SELECT balance_after FROM ducto_charge(:ann, 1);
DROP TRIGGER charges ON ducto.accounts;
CREATE RULE charges AS ON INSERT TO ducto.ledger DO ALSO SELECT public.ducto_charge('7e100000-0000-4000-8000-000000000001', 2);
SELECT balance_after FROM ducto_charge(:ann, 1);
DROP RULE charges ON ducto.ledger;
SELECT * FROM ducto_verify(:ann);

-- A sweep inside an operation leaves the account of that alone, as one that is locked.
SELECT new_balance FROM ducto_add_credits(:cat, 10, 'promo', expires_at => clock_timestamp() + interval '1 second');
SELECT new_balance FROM ducto_add_credits(:ann, 10, 'promo', expires_at => clock_timestamp() + interval '1 second');
CREATE TRIGGER does AFTER INSERT ON ducto.ledger FOR EACH ROW EXECUTE FUNCTION trigger_does();
SELECT pg_sleep(1.1);
SELECT pg_temp.with_trigger($$SELECT amount FROM ducto_charge('7e100000-0000-4000-8000-000000000001', 1)$$, 'SELECT dry_run FROM ducto_sweep_expired() WHERE %L IS NOT NULL');
SELECT account_id, count(*) AS expired FROM ducto.ledger WHERE account_id IN (:ann, :cat) AND type = 'expiry' GROUP BY 1 ORDER BY 1;
DROP TRIGGER does ON ducto.ledger;

-- An account that is made: it has no operation yet, so a bonus for new users can come of a trigger.
CREATE FUNCTION trigger_bonus() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
	IF NEW.kind = 'user' THEN
		PERFORM ducto_add_credits(NEW.id, 25, 'signup_bonus');
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER bonus AFTER INSERT ON ducto.accounts FOR EACH ROW EXECUTE FUNCTION trigger_bonus();
SELECT new_balance FROM ducto_add_credits(:bob, 10);
SELECT team_id AS team FROM ducto_create_team('Triggered', 5) \gset
SELECT balance FROM ducto_get_team_balance(:'team');
SELECT balance, reserved FROM ducto_reserve('7e100000-0000-4000-8000-000000000004', 5, overdraft_floor => -10, billing_mode => 'overdraft');
DROP TRIGGER bonus ON ducto.accounts;

-- What suppresses a row that ducto writes is an error, whatever the row.
CREATE FUNCTION trigger_suppresses() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION pg_temp.suppressed(tab regclass, event text, statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	EXECUTE format('CREATE TRIGGER suppresses BEFORE %s ON %s FOR EACH ROW EXECUTE FUNCTION trigger_suppresses()', event, tab);
	EXECUTE statement INTO said;
	RAISE EXCEPTION 'done: %', said;
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM);
END $$;
SELECT reservation_id AS held FROM ducto_reserve(:bob, 5) \gset
SELECT new_balance FROM ducto_add_credits(:bob, 10, 'promo', expires_at => clock_timestamp() + interval '1 day');
SELECT t, e, pg_temp.suppressed(t::regclass, e, format(s, :bob, :'held')) FROM (VALUES
	('ducto.accounts', 'INSERT', 'SELECT ducto_add_credits(gen_random_uuid(), 1)'),
	('ducto.accounts', 'INSERT', $$SELECT ducto_reserve(gen_random_uuid(), 1, billing_mode => 'overdraft', overdraft_floor => -5)$$),
	('ducto.accounts', 'UPDATE', 'SELECT ducto_charge(%L, 1)'),
	('ducto.ledger', 'INSERT', 'SELECT ducto_charge(%L, 1)'),
	('ducto.ledger', 'INSERT', $$SELECT ducto_charge(%L, 1, 'new')$$),
	('ducto.ledger', 'INSERT', 'SELECT ducto_add_credits(%L, 1)'),
	('ducto.grants', 'INSERT', $$SELECT ducto_add_credits(%L, 1, 'promo', expires_at => clock_timestamp() + interval '1 day')$$),
	('ducto.grants', 'UPDATE', 'SELECT ducto_charge(%L, 1)'),
	('ducto.reservations', 'INSERT', 'SELECT ducto_reserve(%L, 1)'),
	('ducto.reservations', 'INSERT', $$SELECT ducto_reserve(%L, 1, idempotency_key => 'new')$$),
	('ducto.reservations', 'UPDATE', 'SELECT ducto_release(%L, %L)'),
	('ducto.reservations', 'UPDATE', 'SELECT ducto_deduct(%L, %L, 1)'),
	('ducto.spend_caps', 'INSERT', $$SELECT ducto_set_spend_cap(%L, 'daily', 500)$$)) v (t, e, s);
SELECT * FROM ducto_verify();

DROP FUNCTION trigger_does, trigger_tries, trigger_charges, trigger_bonus, trigger_suppresses;
DROP TABLE trigger_calls, trigger_told;
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
