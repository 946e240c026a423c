-- progress: long work tells by NOTICE how far it is, at most once in ducto.progress_interval
-- In a database of its own: the numbers of entries and the steps are those of this test alone.
\set own regress_ducto_progress
\i test/sql/include/own_database.sql
\set ada '\'b6000000-0000-4000-8000-000000000001\''
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT sum(c.amount) FROM generate_series(1, 1300) n, ducto_charge(:ada, 0.01 + 0 * n) c;
SELECT ducto_advance_clock('1 day') IS NOT NULL AS next_day;
SELECT sum(c.amount) FROM generate_series(1, 1300) n, ducto_charge(:ada, 0.01 + 0 * n) c;
SELECT ducto_advance_clock('1 day') IS NOT NULL AS next_day;

-- No step is longer than the interval here, so nothing is told.
SELECT boot_val, unit FROM pg_settings WHERE name = 'ducto.progress_interval';
SELECT check_name, expected FROM ducto_verify();
-- A transaction that runs elsewhere, of autovacuum say, makes the rollup wait, but not for ever.
SET statement_timeout = '30s';
DO $$
BEGIN
	LOOP
		PERFORM ducto_rollup_rebuild();
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM ducto.ledger l, ducto.usage_rollup r WHERE r.hours = 0 AND l.xact >= r.next_xact);
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$$;
RESET statement_timeout;

-- An interval of 0 tells each step.
SET ducto.progress_interval = 0;
SELECT ducto_rollup_rebuild();
SELECT check_name, expected FROM ducto_verify();
-- One account takes no time.
SELECT * FROM ducto_verify(:ada);
-- What was damaged is told as ever.
SET session_replication_role = replica;
UPDATE ducto.accounts SET balance = balance + 1;
SELECT check_name, expected, actual FROM ducto_verify();
UPDATE ducto.accounts SET balance = balance - 1;
RESET session_replication_role;

-- Reservations are removed in batches: each account is locked, each row is looked at again.
INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after, reserved_after,
	first_expires_at, skip_allowance, cap_held, created_at, expires_at, closed_at)
SELECT :ada, gen_random_uuid(), 1, 0, 'chat', 'strict', 0, 'released', 100, 1, t, false, 0, t, t, t
FROM generate_series(1, 20100), (SELECT ducto.clock() - interval '2 days') c (t);
SELECT ducto_prune_reservations(ducto.clock(), 5);
SELECT ducto_prune_reservations(ducto.clock(), 10000);
SET ducto.progress_interval = '1h';
SELECT ducto_prune_reservations(ducto.clock(), 10);
SET ducto.progress_interval = 0;
SELECT ducto_prune_reservations(ducto.clock(), 1000000);
SELECT count(*) FROM ducto.reservations;

-- What is set for a role counts for a session that becomes it.
CREATE ROLE regress_ducto_patient;
SELECT ducto_grant_access('regress_ducto_patient', 'read');
ALTER ROLE regress_ducto_patient SET ducto.progress_interval = '1d';
RESET ducto.progress_interval;
ALTER DATABASE :own SET ducto.progress_interval = 0;
\c "dbname=regress_ducto_progress options='-c intervalstyle=postgres_verbose'"
SET ROLE regress_ducto_patient;
SELECT check_name FROM ducto_verify();
-- Nobody but the extension's functions has steps.
SELECT ducto.progress_step('a step');
RESET ROLE;

-- What it cannot be, and what the steps cannot.
\set VERBOSITY sqlstate
SET ducto.progress_interval = -1;
SET ducto.progress_interval = '2d';
\set VERBOSITY default
SELECT ducto.setting_problem('ducto.progress_interval', 'often');
SELECT ducto.progress_begin(NULL, 1);
SELECT ducto.progress_begin('work', 0);
SELECT ducto.progress_begin('work of a name that is far longer than any name that there is in PostgreSQL can be', 2);
SELECT ducto.progress_step(NULL);
SELECT ducto.progress_step('a step');

SET ducto.progress_interval = '1h';
SELECT check_name FROM ducto_verify();
\c :main
DROP DATABASE :own;
DROP ROLE regress_ducto_patient;
