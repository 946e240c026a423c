-- repair: figures that follow from ledger, grants, reservations and events, made anew. It goes by what ducto_verify expects.

CREATE TYPE @extschema@.ducto_repair_step AS (
	account_id uuid,
	check_name text,
	was text,
	becomes text,
	mended boolean
);
COMMENT ON TYPE @extschema@.ducto_repair_step IS 'A figure that ducto_repair makes anew, or cannot.';
COMMENT ON COLUMN @extschema@.ducto_repair_step.account_id IS 'The user''s id, or the team''s.';
COMMENT ON COLUMN @extschema@.ducto_repair_step.check_name IS 'The check of ducto_verify that found it.';
COMMENT ON COLUMN @extschema@.ducto_repair_step.was IS 'What is there.';
COMMENT ON COLUMN @extschema@.ducto_repair_step.becomes IS 'What is to be there; where it cannot be mended, what ducto_verify expects.';
COMMENT ON COLUMN @extschema@.ducto_repair_step.mended IS 'Whether it is mended, or would be in a dry run; false = it is in the entries, which are never touched, or more than one thing could be right.';

CREATE FUNCTION ducto.repair_figure(found @extschema@.ducto_discrepancy) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	words CONSTANT text[] := string_to_array(found.check_name, ' ');
	account CONSTANT uuid := found.account_id;
	-- of "0 to 5", "at most 5" and "not after 5" the 5
	expected CONSTANT text := regexp_replace(found.expected, '^(0 to|at most|not after) ', '');
	made text;
	time_from timestamptz;
	time_until timestamptz;
	numbers numeric[];
BEGIN
	-- Where the entries do not follow from each other, what follows from them is left to a person.
	IF found.check_name IN ('balance', 'last_seq', 'lifetime_purchased', 'carry') AND (
			SELECT (sum(l.amount), count(*)) IS DISTINCT FROM
				((SELECT e.balance_after FROM ducto.ledger e WHERE e.account_id = account ORDER BY e.seq DESC LIMIT 1), max(l.seq))
			FROM ducto.ledger l WHERE l.account_id = account HAVING count(*) > 0) THEN
		RETURN NULL;
	END IF;
	-- A carry that no rounding leaves is not carried over.
	IF found.check_name = 'carry' AND (expected::numeric < -0.00005 OR expected::numeric >= 0.00005) THEN
		RETURN NULL;
	END IF;
	CASE
		WHEN found.check_name IN ('balance', 'last_seq', 'lifetime_purchased', 'held', 'held_from_credits', 'expiring',
			'cycle_start', 'cycle_end', 'allowance_used', 'caps', 'next_boundary', 'plain', 'closing_keys', 'carry', 'alert_below') THEN
			EXECUTE format('UPDATE ducto.accounts SET %1$I = CAST($2 AS %2$s) WHERE id = $1 RETURNING %1$I', words[1],
				(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
					WHERE a.attrelid = 'ducto.accounts'::regclass AND a.attname = words[1]))
				INTO made USING account, expected;
		-- As the next operation would: it finds that the clock was set back, and makes windows anew.
		WHEN found.check_name = 'ahead of the clock' THEN
			PERFORM ducto.sweep_accounts(ARRAY[account]);
			SELECT updated_at::text INTO made FROM ducto.accounts WHERE id = account AND updated_at::text <> found.actual;
		WHEN found.check_name = 'promised' THEN
			UPDATE ducto.accounts SET promised = least(greatest(promised, 0.0000), expected::numeric)
			WHERE id = account RETURNING promised INTO made;
		WHEN found.check_name LIKE 'grant history %' THEN
			UPDATE ducto.grants SET remaining = expected::numeric, live = expected::numeric > 0
			WHERE account_id = account AND id = words[3]::uuid AND expected::numeric BETWEEN 0 AND amount
			RETURNING remaining INTO made;
		WHEN found.check_name LIKE 'grant %' THEN
			UPDATE ducto.grants SET live = remaining > 0
			WHERE account_id = account AND id = words[2]::uuid AND remaining BETWEEN 0 AND amount
			RETURNING remaining INTO made;
		WHEN found.check_name ~ '^(seq|type|amount|priority|expires_at|created_at) of grant [0-9a-f-]+$' THEN
			EXECUTE format('UPDATE ducto.grants SET %1$I = CAST($3 AS %2$s) WHERE account_id = $1 AND id = $2 RETURNING %1$I',
				words[1], (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
					WHERE a.attrelid = 'ducto.grants'::regclass AND a.attname = words[1]))
				INTO made USING account, words[4]::uuid,
					CASE WHEN words[1] = 'expires_at' THEN coalesce(expected, 'infinity') ELSE expected END;
		WHEN found.check_name LIKE 'reservation %' THEN
			UPDATE ducto.reservations SET remaining = 0.0000, cap_held = 0.0000
			WHERE account_id = account AND id = words[2]::uuid AND state <> 'open' RETURNING remaining INTO made;
		WHEN found.check_name LIKE 'cap_held of reservation %' THEN
			UPDATE ducto.reservations SET cap_held = least(greatest(cap_held, 0.0000), remaining)
			WHERE account_id = account AND id = words[4]::uuid RETURNING cap_held INTO made;
		WHEN found.check_name LIKE 'remaining of reservation %' THEN
			UPDATE ducto.reservations SET remaining = expected::numeric, cap_held = least(cap_held, expected::numeric)
			WHERE account_id = account AND id = words[4]::uuid RETURNING remaining INTO made;
		WHEN found.check_name LIKE 'closed_at of reservation %' THEN
			UPDATE ducto.reservations SET closed_at = CASE WHEN state = 'expired' THEN expires_at END
			WHERE account_id = account AND id = words[4]::uuid AND state IN ('open', 'expired') RETURNING state INTO made;
		-- The window that a time is in, or the next: what was spent in it is looked at in the next round.
		WHEN found.check_name LIKE 'window of cap %' THEN
			time_from := (found.expected::timestamptz[])[1];
			time_until := (found.expected::timestamptz[])[2];
			UPDATE ducto.spend_caps SET window_from = time_from, window_until = time_until
			WHERE account_id = account AND found.check_name = 'window of cap ' || cap_type || ' ' || model
				AND found.expected IS NOT NULL RETURNING window_from INTO made;
		WHEN found.check_name LIKE 'last window of cap %' THEN
			SELECT w.bounds[1], w.bounds[2] INTO time_from, time_until FROM ducto.spend_caps c JOIN ducto.accounts a ON a.id = c.account_id
			CROSS JOIN LATERAL ducto.cap_window(c.cap_type, c.window_length, a.updated_at, a.zone) w (bounds)
			WHERE c.account_id = account AND c.cap_type <> 'session'
				AND found.check_name = 'last window of cap ' || c.cap_type || ' ' || c.model;
			UPDATE ducto.spend_caps c SET window_from = time_from, window_until = time_until
			WHERE c.account_id = account AND c.cap_type <> 'session'
				AND found.check_name = 'last window of cap ' || c.cap_type || ' ' || c.model
			RETURNING c.window_from INTO made;
		-- As the next operation would, where it does not know the plan's caps.
		WHEN found.check_name LIKE 'plan cap %' THEN
			UPDATE ducto.accounts SET caps_version = -1 WHERE id = account;
			PERFORM ducto.sweep_accounts(ARRAY[account]);
			SELECT caps_version::text INTO made FROM ducto.accounts WHERE id = account AND caps_version <> -1;
		WHEN found.check_name LIKE 'buckets of cap %' THEN
			numbers := expected::numeric[];
			UPDATE ducto.spend_caps SET buckets = CASE WHEN cap_type = 'sliding' THEN numbers END
			WHERE account_id = account AND found.check_name = 'buckets of cap ' || cap_type || ' ' || model
			RETURNING cap_type INTO made;
		WHEN found.check_name LIKE 'month of member %' THEN
			UPDATE ducto.team_members SET month = expected::date
			WHERE team_id = account AND user_id = words[4]::uuid RETURNING month INTO made;
		-- Role and cap are lost; who is to spend again is added again.
		WHEN found.check_name LIKE 'member %' AND found.actual IS NULL AND words[2] <> 'unknown' THEN
			INSERT INTO ducto.team_members (team_id, user_id, role, month, joined_at, left_at)
			SELECT id, words[2]::uuid, 'member', (date_trunc('month', ducto.clock() AT TIME ZONE 'UTC'))::date, created_at, ducto.clock()
			FROM ducto.accounts WHERE id = account AND kind = 'team';
			made := CASE WHEN FOUND THEN words[2] END;
		WHEN found.check_name LIKE 'spent of cap %' THEN
			UPDATE ducto.spend_caps SET spent = expected::numeric
			WHERE account_id = account AND found.check_name = 'spent of cap ' || cap_type || ' ' || model
			RETURNING spent INTO made;
		WHEN found.check_name LIKE 'held of cap %' THEN
			UPDATE ducto.spend_caps SET held = expected::numeric
			WHERE account_id = account AND found.check_name = 'held of cap ' || cap_type || ' ' || model
			RETURNING held INTO made;
		WHEN found.check_name LIKE 'spent by member %' THEN
			UPDATE ducto.team_members SET spent = expected::numeric
			WHERE team_id = account AND user_id = words[4]::uuid RETURNING spent INTO made;
		WHEN found.check_name LIKE 'held by member %' THEN
			UPDATE ducto.team_members SET held = expected::numeric
			WHERE team_id = account AND user_id = words[4]::uuid RETURNING held INTO made;
		-- Who takes events knows them by their numbers, and no other gets one of these.
		WHEN found.check_name ~ '^number of event [1-9][0-9]*$' THEN
			UPDATE ducto.accounts SET last_event = greatest(last_event, words[4]::bigint)
			WHERE id = account AND EXISTS (SELECT FROM ducto.events e WHERE e.account_id = account
				AND e.number = words[4]::bigint AND e.payload -> 'seq' = to_jsonb(e.number))
			RETURNING last_event INTO made;
		ELSE
			made := NULL;
	END CASE;
	RETURN made;
END
$$;
REVOKE ALL ON FUNCTION ducto.repair_figure(@extschema@.ducto_discrepancy) FROM PUBLIC;
COMMENT ON FUNCTION ducto.repair_figure(@extschema@.ducto_discrepancy) IS
'For ducto_repair: makes the figure anew that a check of ducto_verify found, and returns it; NULL when it cannot. The caller has the account''s lock.';

CREATE FUNCTION ducto.repair_steps(account_id uuid) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO, YMD' SET timezone = 'UTC'
AS $$
#variable_conflict use_variable
DECLARE
	steps jsonb := '[]';
	left_over jsonb;
	step jsonb;
	discrepancy record;
	made text;
BEGIN
	PERFORM FROM ducto.accounts a WHERE a.id = account_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		INSERT INTO ducto.accounts (id, kind, created_at, updated_at)
		SELECT account_id, CASE WHEN EXISTS (SELECT FROM ducto.teams t WHERE t.id = account_id) THEN 'team' ELSE 'user' END,
			min(l.created_at), max(l.created_at)
		FROM ducto.ledger l WHERE l.account_id = account_id HAVING count(*) > 0;
		IF FOUND THEN
			steps := steps || jsonb_build_object('account_id', account_id, 'check_name', 'account', 'becomes', 'made', 'mended', true);
		END IF;
	END IF;

	-- One figure follows from another, so what is made anew is looked at again.
	FOR round IN 1..4 LOOP
		left_over := '[]';
		made := NULL;
		FOR discrepancy IN
			SELECT v.*, CASE WHEN round < 4 THEN ducto.repair_figure(v) END IS NOT NULL AS mended FROM ducto.verify_one(account_id) v
		LOOP
			step := jsonb_build_object('account_id', account_id, 'check_name', discrepancy.check_name, 'was', discrepancy.actual,
				'becomes', discrepancy.expected, 'mended', discrepancy.mended);
			IF discrepancy.mended THEN
				made := discrepancy.check_name;
				steps := steps || step;
			ELSE
				left_over := left_over || step;
			END IF;
		END LOOP;
		EXIT WHEN made IS NULL;
	END LOOP;
	RETURN steps || left_over;
END
$$;
REVOKE ALL ON FUNCTION ducto.repair_steps(uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.repair_steps(uuid) IS 'For ducto_repair: mends an account, and returns what was done and what was not, as rows of ducto_repair_step.';

CREATE FUNCTION @extschema@.ducto_repair(account_id uuid, dry_run boolean DEFAULT true)
RETURNS SETOF @extschema@.ducto_repair_step
LANGUAGE plpgsql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET DateStyle = iso SET IntervalStyle = postgres SET TimeZone = 'UTC'
AS $$
#variable_conflict use_variable
DECLARE
	steps jsonb;
BEGIN
	IF account_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument "account_id" must not be null',
			HINT = 'Pass a value for "account_id".';
	END IF;
	BEGIN
		steps := ducto.repair_steps(account_id);
		IF dry_run IS NOT FALSE THEN
			RAISE EXCEPTION SQLSTATE 'UC000';
		END IF;
	EXCEPTION WHEN SQLSTATE 'UC000' THEN
		NULL;
	END;
	RETURN QUERY
	SELECT s.* FROM jsonb_to_recordset(steps) AS s (account_id uuid, check_name text, was text, becomes text, mended boolean);
END
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_repair(uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_repair(uuid, boolean) IS
'Makes figures of an account anew that follow from its ledger, grants, reservations and events, where ducto_verify finds them wrong: balance, held and the like on the account''s row, what remains of grants, the counters of caps and members. It never touches an entry of the ledger.
account_id: a user''s or a team''s.
dry_run: do all of it and take it back; false = keep it.
Locks the account. Returns a row for each figure, mended or not, and none when there is nothing to mend. What is not mended needs a person: see "When ducto_verify finds something" in the operations page. Rejections: none. Errors: 22004, 25006 (in a read-only transaction).';
