-- import: moving the SDKs' own tables into the engine.
--
-- What is to be moved is staged in temporary tables, whole accounts are moved in
-- batches, and the report compares the SDKs' tables with the engine's. An
-- account that the engine has is never touched again: that makes a second call
-- harmless, and lets one go on where another was interrupted.

CREATE FUNCTION ducto.sdk_import_check() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	missing text;
	twice text;
	replaced text;
	beside text;
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'the import must run at READ COMMITTED'
			USING ERRCODE = 'invalid_transaction_state',
			DETAIL = 'It reads the tables after it has locked them, and an older snapshot would miss what others wrote.';
	END IF;
	IF ducto.is_distributed() THEN
		RAISE EXCEPTION 'the import must run before the tables are distributed'
			USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'The nodes of a cluster do not see the SDKs'' tables, nor what is staged of them.',
			HINT = 'Call ducto_undistribute, import, and call ducto_distribute again.';
	END IF;
	SELECT string_agg('public.' || t.name, ', ') INTO missing FROM ducto.sdk_tables() t WHERE ducto.sdk_table(t.name) IS NULL;
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION 'tables of the SDKs are missing: %', missing
			USING ERRCODE = 'undefined_table',
			HINT = 'Bring the database to the last version of the SDKs'' migrations first.';
	END IF;
	SELECT string_agg('ducto_sdk_old.' || t.name, ', ') INTO twice FROM ducto.sdk_tables() t
		WHERE to_regclass('ducto_sdk_old.' || t.name) IS NOT NULL
		AND ducto.sdk_table(t.name) IS DISTINCT FROM to_regclass('ducto_sdk_old.' || t.name);
	IF twice IS NOT NULL THEN
		RAISE EXCEPTION 'tables of an earlier import are in the way: %', twice
			USING ERRCODE = 'duplicate_table',
			HINT = 'Drop or rename the schema ducto_sdk_old.';
	END IF;
	SELECT string_agg(s.signature, ', ') FILTER (WHERE s.replaced), string_agg(s.signature, ', ') FILTER (WHERE NOT s.replaced)
		INTO replaced, beside FROM ducto.sdk_strangers() s;
	IF replaced IS NOT NULL THEN
		RAISE EXCEPTION 'functions of the SDKs'' own engine are in place of those of ducto_sdk: %', replaced
			USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'Two engines on one balance would spend the same credit twice.',
			HINT = 'Drop and create the extension ducto_sdk; it keeps no data.';
	ELSIF beside IS NOT NULL THEN
		RAISE EXCEPTION 'functions of the SDKs'' own engine are still there: %', beside
			USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'Two engines on one balance would spend the same credit twice.',
			HINT = 'Drop them first.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_check() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_check() IS
'For ducto_sdk_import: refuses what it cannot work with. Errors: 25000 (isolation level), 42P01 (a table is missing), 42P07 (tables of an earlier import), 55000 (functions of the SDKs'' own engine are there, or the tables are distributed).';

-- Writers of the SDKs' tables wait until the end of the transaction.
CREATE FUNCTION ducto.sdk_import_lock() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	LOCK TABLE ducto_sdk_old.user_credits, ducto_sdk_old.credit_transactions, ducto_sdk_old.credit_reservations,
		ducto_sdk_old.credit_pricing_config, ducto_sdk_old.credit_plans, ducto_sdk_old.credit_usage_window, ducto_sdk_old.credit_teams,
		ducto_sdk_old.credit_team_members, ducto_sdk_old.credit_spend_caps IN SHARE ROW EXCLUSIVE MODE;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_lock() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_lock() IS
'For ducto_sdk_import: locks the SDKs'' tables against writers and other imports.';

-- New users arrive in a table of another's: it is locked first, and where the caller commits not for long.
CREATE FUNCTION ducto.sdk_import_begin(batch_size integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known text[];
	bonus jsonb;
BEGIN
	IF batch_size IS NULL THEN
		RAISE EXCEPTION '"batch_size" must not be null' USING ERRCODE = 'null_value_not_allowed';
	ELSIF batch_size < 1 THEN
		RAISE EXCEPTION 'invalid value for "batch_size": %', batch_size
			USING ERRCODE = 'invalid_parameter_value', DETAIL = '"batch_size" must be at least 1.';
	END IF;
	PERFORM ducto.sdk_import_check();
	bonus := CASE WHEN ducto.sdk_import_unset_bonus() THEN '{"signup_bonus": 50}' ELSE '{}' END;
	PERFORM ducto.sdk_import_signup();
	PERFORM ducto.sdk_tables_take();
	PERFORM ducto.sdk_import_lock();
	PERFORM ducto.progress_step('pricing and plans');
	known := ARRAY(SELECT id FROM ducto.plans);
	PERFORM ducto.sdk_import_pricing(bonus);
	PERFORM ducto.sdk_import_plans(known);
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_begin(integer) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_begin(integer) IS
'For ducto_sdk_import: moves the sign-up bonus, pricing and plans, and puts the SDKs'' tables aside.';

CREATE FUNCTION ducto.sdk_import_stage() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	accounts bigint;
	entries bigint;
BEGIN
	PERFORM ducto.sdk_import_lock();
	PERFORM ducto.sdk_import_end();
	PERFORM ducto.progress_step('staging of accounts');
	PERFORM ducto.sdk_import_stage_accounts();
	PERFORM ducto.progress_step('staging of entries');
	PERFORM ducto.sdk_import_stage_entries();
	PERFORM ducto.progress_step('staging of grants');
	PERFORM ducto.sdk_import_stage_grants();
	PERFORM ducto.progress_step('staging of leases');
	PERFORM ducto.sdk_import_stage_leases();
	SELECT count(*) INTO accounts FROM pg_temp.sdk_accounts;
	SELECT count(*) INTO entries FROM pg_temp.sdk_entries;
	RAISE NOTICE '% accounts with % entries are to be moved', accounts, entries;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_stage() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_stage() IS
'For ducto_sdk_import: stages in temporary tables the accounts that the engine does not have.';

CREATE FUNCTION ducto.sdk_import_end() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $$
BEGIN
	DROP TABLE IF EXISTS pg_temp.sdk_accounts, pg_temp.sdk_entries, pg_temp.sdk_grants, pg_temp.sdk_leases;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_end() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_end() IS 'For ducto_sdk_import: drops the temporary tables.';

-- In a subtransaction, so that a dry run finds exactly what a real one would.
CREATE FUNCTION @extschema@.ducto_sdk_import(dry_run boolean DEFAULT false, batch_size integer DEFAULT 10000)
RETURNS TABLE (check_name text, id text, theirs text, ours text, action text)
LANGUAGE plpgsql VOLATILE SUPPORT ducto.call_once SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found jsonb;
BEGIN
	IF dry_run IS NULL THEN
		RAISE EXCEPTION '"dry_run" must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM ducto.progress_begin('ducto_sdk_import', 7);
	BEGIN
		PERFORM ducto.sdk_import_begin(batch_size);
		PERFORM ducto.sdk_import_stage();
		WHILE ducto.sdk_import_batch(batch_size) LOOP
		END LOOP;
		PERFORM ducto.progress_step('comparison');
		SELECT jsonb_agg(to_jsonb(r)) INTO found FROM ducto.sdk_import_report() r;
		PERFORM ducto.sdk_import_end();
		PERFORM ducto.progress_step('views');
		PERFORM ducto.sdk_views_make();
		IF dry_run THEN
			RAISE EXCEPTION 'dry run' USING ERRCODE = 'DU000';
		END IF;
	EXCEPTION WHEN SQLSTATE 'DU000' THEN
		RAISE NOTICE 'dry run: nothing was moved';
	END;
	RETURN QUERY SELECT r.* FROM jsonb_to_recordset(coalesce(found, '[]'))
		AS r(check_name text, id text, theirs text, ours text, action text);
END
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_sdk_import(boolean, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_sdk_import(boolean, integer) IS
'Moves what the SDKs'' own engine keeps in the schema public into this one, in the caller''s transaction, and compares the two: a row for each difference, with what was done about it. What the engine has already is left alone, so it may be called again. Their tables are in the schema ducto_sdk_old then, unchanged, and views of the engine have their names. dry_run: true moves nothing, and returns the rows that a call at this moment would. batch_size: accounts per statement and NOTICE, 1 or more.
Locks the SDKs'' tables against writers. To be called by the owner of the extension ducto at READ COMMITTED. Errors: 22004, 22023, 25000, 42501, 42P01 (a table of theirs is missing), 55000 (their functions are still there, or the tables are distributed).';

-- Qualified throughout, without operators: a procedure that commits cannot have a search_path of its own.
CREATE PROCEDURE @extschema@.ducto_sdk_import_batches(batch_size integer DEFAULT 10000)
LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM ducto.progress_begin('ducto_sdk_import_batches', 6);
	PERFORM ducto.sdk_import_begin(batch_size);
	COMMIT;
	PERFORM ducto.sdk_import_stage();
	COMMIT;
	WHILE ducto.sdk_import_batch(batch_size) LOOP
		COMMIT;
	END LOOP;
	PERFORM ducto.sdk_import_end();
	PERFORM ducto.progress_step('views');
	PERFORM ducto.sdk_views_make();
END
$$;
REVOKE ALL ON PROCEDURE @extschema@.ducto_sdk_import_batches(integer) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.ducto_sdk_import_batches(integer) IS
'Moves what ducto_sdk_import moves, and commits after every batch_size accounts; when it is interrupted, call it again: the views come last. Reports progress by NOTICE. Call ducto_sdk_import afterwards for the comparison. To be called outside of a transaction by the owner of the extension ducto, while nobody writes the SDKs'' tables.
Locks the SDKs'' tables against writers during each batch. Errors: as ducto_sdk_import, and 2D000 (inside of a transaction).';
