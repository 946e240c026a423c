-- Their tables after the import: the old ones are in the schema ducto_sdk_old, and
-- views of the engine have their names.
--
-- What the views need belongs to no extension: ducto_sdk may be dropped and made
-- anew while they are there. It goes with the extension ducto. All of it is on this
-- server alone: where Citus is, it would send the views to other nodes, and refuse
-- what they need.

CREATE FUNCTION ducto.sdk_tables() RETURNS TABLE (name text, source text, own boolean, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('user_credits', 'ducto.accounts a WHERE a.kind = ''user''', true, 'Call credits_add, deduct_with_allowance or set_user_plan.'),
	('credit_transactions', '', true, 'Call credits_add, deduct_with_allowance or refund_credits: the ledger is append-only.'),
	('credit_reservations', 'ducto.reservations r WHERE r.actor IS NULL', true, 'Call create_lease, renew_lease, settle_lease or release_lease.'),
	('credit_pricing_config', 'ducto.pricing v', false, 'Call set_active_pricing_config or activate_pricing_config.'),
	('credit_plans', 'ducto.plans p', false, 'Plans are those of the pricing: call set_active_pricing_config.'),
	('credit_usage_window', 'ducto.accounts a WHERE a.plan_id IS NOT NULL AND a.allowance_used > 0', false, 'Call increment_usage_window.'),
	('credit_teams', 'ducto.teams t JOIN ducto.accounts a ON a.id = t.id', false, 'Call create_team.'),
	('credit_team_members', 'ducto.team_members m WHERE m.left_at IS NULL', false, 'Call add_team_member.'),
	('credit_spend_caps', 'ducto.spend_caps c', false, 'Call ducto_set_spend_cap or ducto_remove_spend_cap.')
$$;
REVOKE ALL ON FUNCTION ducto.sdk_tables() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_tables() IS
'For ducto_sdk_import: the tables of the SDKs'' own engine, what has the same here, whether users see their own rows, and what is called instead of writing.';

-- Where a table is now: to be moved, or moved.
CREATE FUNCTION ducto.sdk_table(name text) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'ducto_sdk_old') AND c.relname = name AND c.relkind IN ('r', 'p')
ORDER BY n.nspname = 'public' DESC LIMIT 1
$$;
REVOKE ALL ON FUNCTION ducto.sdk_table(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_table(text) IS 'For ducto_sdk_import: a table of the SDKs'' own engine, NULL when it is missing.';

CREATE FUNCTION ducto.sdk_tables_take() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET citus.enable_ddl_propagation = off
AS $take$
DECLARE
	theirs text;
BEGIN
	IF to_regnamespace('ducto_sdk_old') IS NULL THEN
		EXECUTE 'CREATE SCHEMA ducto_sdk_old';
		EXECUTE $$COMMENT ON SCHEMA ducto_sdk_old IS 'The tables of the SDKs as they were when ducto_sdk_import moved what they had.'$$;
	END IF;
	FOR theirs IN SELECT t.name FROM ducto.sdk_tables() t JOIN pg_class c ON c.oid = ducto.sdk_table(t.name)
		WHERE c.relnamespace = to_regnamespace('public')
	LOOP
		EXECUTE format('ALTER TABLE public.%I SET SCHEMA ducto_sdk_old', theirs);
	END LOOP;
END
$take$;
REVOKE ALL ON FUNCTION ducto.sdk_tables_take() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_tables_take() IS
'For ducto_sdk_import: moves the SDKs'' tables to the schema ducto_sdk_old, so that nobody writes them any more.';

-- The columns that the engine has the same of. What is past its time does not count, booked or not.
CREATE FUNCTION ducto.sdk_view_columns() RETURNS TABLE (name text, col text, expression text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('user_credits', 'user_id', 'a.id'),
	('user_credits', 'balance', 'CASE WHEN a.expiring = 0 OR a.next_boundary > statement_timestamp() THEN a.balance ELSE a.balance - coalesce((
		SELECT greatest(g.late - greatest(a.held - coalesce(h.ended, 0) - a.balance + g.late, 0), 0)
		FROM (SELECT sum(remaining) AS late FROM ducto.grants
			WHERE account_id = a.id AND live AND expires_at <= statement_timestamp()) g,
			(SELECT sum(remaining) AS ended FROM ducto.reservations WHERE account_id = a.id AND state = ''open''
			AND expires_at <= statement_timestamp() AND (expires_at <= a.ended_until) IS NOT TRUE) h), 0) END'),
	('user_credits', 'lifetime_purchased', 'a.lifetime_purchased'),
	('user_credits', 'plan_id', 'ducto.sdk_view_plan(a.plan_id)'),
	('user_credits', 'created_at', 'a.created_at'),
	('user_credits', 'updated_at', 'a.updated_at'),
	('credit_transactions', 'id', 'l.id'),
	('credit_transactions', 'user_id', '%owner'),
	('credit_transactions', 'amount', 'l.amount'),
	('credit_transactions', 'type', 'CASE WHEN l.actor IS NOT NULL THEN ''team_usage'' WHEN l.type IN (''expiry'', ''promo'') THEN ''adjustment'' ELSE l.type END'),
	('credit_transactions', 'reference_type', 'coalesce(l.metadata ->> ''reference_type'', l.operation_type)'),
	('credit_transactions', 'reference_id', 'l.reference'),
	('credit_transactions', 'metadata', 'l.metadata || jsonb_strip_nulls(jsonb_build_object(''model'', l.model, ''idempotency_key'', l.idempotency_key,
		''allowance_consumed'', CASE WHEN l.type IN (''usage'', ''refund'') THEN l.allowance_consumed::text END,
		''team_id'', CASE WHEN l.actor IS NOT NULL THEN l.account_id END, ''balance_after'', l.balance_after::text,
		''expires_at'', l.expires_at, ''reason'', CASE WHEN l.type = ''expiry'' THEN ''credit_expired'' END))'),
	('credit_transactions', 'created_at', 'l.created_at'),
	('credit_reservations', 'id', 'r.id'),
	('credit_reservations', 'user_id', 'r.account_id'),
	('credit_reservations', 'amount', 'r.amount'),
	('credit_reservations', 'operation_type', 'r.operation_type'),
	('credit_reservations', 'metadata', 'r.metadata'),
	('credit_reservations', 'expires_at', 'r.expires_at'),
	('credit_reservations', 'created_at', 'r.created_at'),
	('credit_reservations', 'status', 'CASE WHEN r.state <> ''open'' THEN r.state WHEN r.expires_at <= statement_timestamp() THEN ''expired''
		ELSE ''active'' END'),
	('credit_reservations', 'billing_mode', 'r.billing_mode'),
	('credit_reservations', 'overdraft_floor', 'CASE WHEN r.billing_mode = ''overdraft'' THEN r.floor END'),
	('credit_pricing_config', 'id', 'v.id'),
	('credit_pricing_config', 'config', 'v.config'),
	('credit_pricing_config', 'active', 'v.active'),
	('credit_pricing_config', 'version', 'v.version'),
	('credit_pricing_config', 'label', 'v.label'),
	('credit_pricing_config', 'created_at', 'v.created_at'),
	('credit_plans', 'id', 'ducto.sdk_view_plan(p.id)'),
	('credit_plans', 'plan_key', 'p.id'),
	('credit_plans', 'name', 'p.name'),
	('credit_plans', 'free_allowance', 'p.free_allowance'),
	('credit_plans', 'rate_overrides', 'coalesce((SELECT v.config -> ''plans'' -> p.id -> ''rate_overrides'' FROM ducto.pricing v WHERE v.active), ''{}'')'),
	('credit_plans', 'features', 'p.features'),
	('credit_plans', 'default_billing_mode', 'p.default_billing_mode'),
	('credit_plans', 'per_operation', 'p.per_operation'),
	('credit_plans', 'max_concurrent', 'p.max_concurrent'),
	('credit_plans', 'overdraft_floor', 'p.overdraft_floor'),
	('credit_usage_window', 'user_id', 'a.id'),
	('credit_usage_window', 'plan_id', 'ducto.sdk_view_plan(a.plan_id)'),
	('credit_usage_window', 'billing_period', '(a.cycle_start AT TIME ZONE coalesce(a.zone, ''UTC''))::date'),
	('credit_usage_window', 'usage', 'a.allowance_used'),
	('credit_teams', 'id', 't.id'),
	('credit_teams', 'name', 't.name'),
	('credit_teams', 'balance', 'a.balance'),
	('credit_teams', 'member_count', '(SELECT count(*) FROM ducto.team_members m WHERE m.team_id = t.id AND m.left_at IS NULL)'),
	('credit_teams', 'created_at', 't.created_at'),
	('credit_team_members', 'team_id', 'm.team_id'),
	('credit_team_members', 'user_id', 'm.user_id'),
	('credit_team_members', 'role', 'm.role'),
	('credit_team_members', 'spend_cap', 'm.spend_cap'),
	('credit_team_members', 'total_spent', 'CASE WHEN m.month = date_trunc(''month'', statement_timestamp() AT TIME ZONE ''UTC'')::date THEN m.spent ELSE 0 END'),
	('credit_team_members', 'joined_at', 'm.joined_at'),
	('credit_spend_caps', 'id', 'md5(concat_ws('' '', c.account_id, c.cap_type, c.model))::uuid'),
	('credit_spend_caps', 'user_id', 'c.account_id'),
	('credit_spend_caps', 'cap_type', 'c.cap_type'),
	('credit_spend_caps', 'model', 'nullif(c.model, '''')'),
	('credit_spend_caps', 'cap_limit', 'c.cap_limit'),
	('credit_spend_caps', 'action', 'c.action')
$$;
REVOKE ALL ON FUNCTION ducto.sdk_view_columns() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_view_columns() IS
'For ducto_sdk_import: what of the engine is in which column of the views. A column that is not here is NULL.';

CREATE FUNCTION ducto.sdk_view_query(theirs text, owner text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'SELECT ' || string_agg(format('(%s)::%s AS %I', CASE WHEN e.col = 'user_id' AND e.expression = '%owner' THEN owner
	ELSE coalesce(e.expression, 'NULL') END, format_type(c.atttypid, c.atttypmod), c.attname), ', ' ORDER BY c.attnum)
FROM pg_attribute c LEFT JOIN ducto.sdk_view_columns() e ON e.name = theirs AND e.col = c.attname
WHERE c.attrelid = ducto.sdk_table(theirs) AND c.attnum > 0 AND NOT c.attisdropped
$$;
REVOKE ALL ON FUNCTION ducto.sdk_view_query(text, text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_view_query(text, text) IS 'For ducto_sdk_import: the columns of a view, which are those of the table.';

-- Who sees what: as the policies of the SDKs'' migrations say. Who passes by row level security, or owned the table, sees
-- all; where the table had none, everybody who may read it. One's own rows are a branch of their own, and either branch is
-- shut by a condition that no row is needed for: in one condition with OR the rows of all would be read for those of one.
CREATE FUNCTION ducto.sdk_view_rows(theirs text, query text, owner text, own boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN NOT c.relrowsecurity THEN query
	WHEN own THEN format('%1$s AND %2$s UNION ALL %1$s AND NOT %2$s AND %3$s = (SELECT %4$s)', query, a.sees_all, owner,
		CASE WHEN to_regprocedure('auth.uid()') IS NOT NULL THEN 'auth.uid()'
		ELSE 'coalesce(nullif(current_setting(''request.jwt.claim.sub'', true), ''''),
			nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb ->> ''sub'')::uuid' END)
	ELSE format('%s AND %s', query, a.sees_all) END
FROM pg_class c, format('(NOT row_security_active(''ducto.accounts''::regclass) OR pg_has_role(%L, ''USAGE''))',
	pg_get_userbyid(c.relowner)) a (sees_all)
WHERE c.oid = ducto.sdk_table(theirs)
$$;
REVOKE ALL ON FUNCTION ducto.sdk_view_rows(text, text, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_view_rows(text, text, text, boolean) IS
'For ducto_sdk_import: a query with a WHERE, of those rows that a role sees in a view.';

CREATE FUNCTION ducto.sdk_view_helpers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET citus.enable_ddl_propagation = off
AS $helpers$
BEGIN
	IF to_regprocedure('ducto.sdk_view_plan(text)') IS NOT NULL THEN
		RETURN;
	END IF;
	-- All may execute it, as all functions of a view: it knows nothing, and the schema is closed.
	EXECUTE $make$CREATE FUNCTION ducto.sdk_view_plan(plan_key text) RETURNS uuid LANGUAGE c IMMUTABLE
		AS '$libdir/ducto', 'ducto_sdk_plan_uuid'$make$;
	-- With the rights of whoever writes: a cap is for those who may call the function that sets it.
	EXECUTE $make$CREATE FUNCTION ducto.sdk_view_cap() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
	api text := (SELECT e.extnamespace::regnamespace::text FROM pg_extension e WHERE e.extname = 'ducto');
BEGIN
	IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE'
		AND (OLD.user_id, OLD.cap_type, OLD.model) IS DISTINCT FROM (NEW.user_id, NEW.cap_type, NEW.model) THEN
		EXECUTE format('SELECT %s.ducto_remove_spend_cap($1, $2, $3)', api) USING OLD.user_id, OLD.cap_type::text, OLD.model;
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	EXECUTE format('SELECT %s.ducto_set_spend_cap($1, $2, $3, $4, $5)', api)
		USING NEW.user_id, NEW.cap_type::text, NEW.cap_limit, coalesce(NEW.action::text, 'deny'), NEW.model;
	RETURN NEW;
END $body$ $make$;
	EXECUTE $make$CREATE FUNCTION ducto.sdk_view_refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
	RAISE EXCEPTION '%: "%" is a view of ducto', TG_OP, TG_TABLE_NAME
		USING ERRCODE = 'object_not_in_prerequisite_state', HINT = TG_ARGV[0];
END $body$ $make$;
	REVOKE ALL ON FUNCTION ducto.sdk_view_cap(), ducto.sdk_view_refuse() FROM PUBLIC;
	ALTER FUNCTION ducto.sdk_view_plan(text) DEPENDS ON EXTENSION ducto;
	ALTER FUNCTION ducto.sdk_view_cap() DEPENDS ON EXTENSION ducto;
	ALTER FUNCTION ducto.sdk_view_refuse() DEPENDS ON EXTENSION ducto;
END
$helpers$;
REVOKE ALL ON FUNCTION ducto.sdk_view_helpers() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_view_helpers() IS 'For ducto_sdk_import: makes the functions that the views need.';

CREATE FUNCTION ducto.sdk_view_make(theirs text, source text, own boolean, hint text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET citus.enable_ddl_propagation = off
AS $$
DECLARE
	query text;
	allowed record;
BEGIN
	IF theirs = 'credit_transactions' THEN
		query := ducto.sdk_view_rows(theirs, ducto.sdk_view_query(theirs, 'l.account_id') || ' FROM ducto.ledger l WHERE l.actor IS NULL
			AND EXISTS (SELECT FROM ducto.accounts a WHERE a.id = l.account_id AND a.kind = ''user'')', 'l.account_id', own)
			|| ' UNION ALL ' || ducto.sdk_view_rows(theirs, ducto.sdk_view_query(theirs, 'l.actor') || ' FROM ducto.ledger l
			WHERE l.actor IS NOT NULL AND l.type = ''usage''', 'l.actor', own);
	ELSE
		query := ducto.sdk_view_rows(theirs, format('%s FROM %s%s', ducto.sdk_view_query(theirs, ''), source,
			CASE WHEN source ~ ' WHERE ' THEN '' ELSE ' WHERE true' END),
			CASE WHEN theirs = 'credit_reservations' THEN 'r.account_id' ELSE 'a.id' END, own);
	END IF;
	EXECUTE format('CREATE VIEW public.%I WITH (security_barrier) AS %s', theirs, query);
	EXECUTE format('COMMENT ON VIEW public.%I IS %L', theirs, 'What ducto has of it. ' || hint);
	IF theirs = 'credit_spend_caps' THEN
		EXECUTE format('CREATE TRIGGER ducto_sdk INSTEAD OF INSERT OR UPDATE OR DELETE ON public.%I FOR EACH ROW
			EXECUTE FUNCTION ducto.sdk_view_cap()', theirs);
	ELSE
		EXECUTE format('CREATE TRIGGER ducto_sdk INSTEAD OF INSERT OR UPDATE OR DELETE ON public.%I FOR EACH ROW
			EXECUTE FUNCTION ducto.sdk_view_refuse(%L)', theirs, hint);
	END IF;
	-- Default privileges may have opened it to others than the table.
	FOR allowed IN SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
		WHERE c.oid = to_regclass(format('public.%I', theirs)) AND a.grantee <> c.relowner
	LOOP
		EXECUTE format('REVOKE ALL ON public.%I FROM %s', theirs,
			CASE WHEN allowed.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(allowed.grantee)) END);
	END LOOP;
	FOR allowed IN SELECT a.grantee, a.privilege_type FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
		WHERE c.oid = ducto.sdk_table(theirs) AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
	LOOP
		EXECUTE format('GRANT %s ON public.%I TO %s', allowed.privilege_type, theirs,
			CASE WHEN allowed.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(allowed.grantee)) END);
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_view_make(text, text, boolean, text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_view_make(text, text, boolean, text) IS
'For ducto_sdk_import: makes the view that has the name, the columns and the privileges of a table that was moved.';

CREATE FUNCTION ducto.sdk_tables_back() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET citus.enable_ddl_propagation = off
AS $$
DECLARE
	theirs text;
BEGIN
	FOR theirs IN SELECT t.name FROM ducto.sdk_tables() t JOIN pg_class c ON c.oid = ducto.sdk_table(t.name)
		WHERE c.relnamespace = to_regnamespace('ducto_sdk_old')
	LOOP
		IF to_regclass(format('public.%I', theirs)) IS NOT NULL THEN
			EXECUTE format('DROP VIEW public.%I', theirs);
		END IF;
		EXECUTE format('ALTER TABLE ducto_sdk_old.%I SET SCHEMA public', theirs);
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_tables_back() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_tables_back() IS 'For ducto_sdk_import and ducto_sdk_give_back: puts the SDKs'' tables where they were.';

-- Where they have nothing there is nothing that could be taken for current.
CREATE FUNCTION ducto.sdk_views_make() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	filled CONSTANT boolean := EXISTS (SELECT FROM ducto_sdk_old.user_credits)
		OR EXISTS (SELECT FROM ducto_sdk_old.credit_transactions)
		OR EXISTS (SELECT FROM ducto_sdk_old.credit_pricing_config) OR EXISTS (SELECT FROM ducto_sdk_old.credit_teams)
		OR EXISTS (SELECT FROM ducto_sdk_old.credit_spend_caps);
BEGIN
	IF NOT filled THEN
		PERFORM ducto.sdk_tables_back();
		RAISE NOTICE 'the tables of the SDKs are empty and stay as they are: import again when there is something in them';
		RETURN;
	END IF;
	PERFORM ducto.sdk_view_helpers();
	PERFORM ducto.sdk_view_make(t.name, t.source, t.own, t.hint) FROM ducto.sdk_tables() t
		WHERE to_regclass(format('public.%I', t.name)) IS NULL;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_views_make() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_views_make() IS
'For ducto_sdk_import: puts views in place of the tables that were moved, unless they were empty.';

CREATE FUNCTION @extschema@.ducto_sdk_give_back() RETURNS void
LANGUAGE plpgsql VOLATILE SUPPORT ducto.call_once SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM ducto.sdk_tables_back();
END
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_sdk_give_back() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_sdk_give_back() IS
'Drops the views that ducto_sdk_import has made and puts the SDKs'' own tables back where they were, as they were then: for going back. To be called by the owner of the extension ducto, who owns the views. Locks the tables. Errors: 42501, 2BP01 (something depends on a view).';
