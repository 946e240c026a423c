-- analytics: what was used. Windows include both ends; without an end that is finite they are all time.

CREATE FUNCTION ducto.sdk_start(value timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN value = '-infinity' THEN '4713-01-01 00:00:00+00 BC' ELSE value END;
END;
REVOKE ALL ON FUNCTION ducto.sdk_start(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_start(timestamptz) IS 'For the analytics of the SDKs: the start of a window, finite where it is -infinity.';

CREATE FUNCTION ducto.sdk_end(value timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN value = 'infinity' THEN '287000-01-01 00:00:00+00' ELSE value END;
END;
REVOKE ALL ON FUNCTION ducto.sdk_end(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_end(timestamptz) IS 'For the analytics of the SDKs: the end of a window, finite where it is infinity.';

CREATE FUNCTION @extschema@.spend_by_user(p_start timestamptz, p_end timestamptz)
RETURNS TABLE (user_id text, total_spend numeric, transaction_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT s.user_id::text, s.total_spend, s.transaction_count
	FROM ducto_spend_by_user(from_time => ducto.sdk_start(p_start), to_time => ducto.sdk_end(p_end)) s;
END;
REVOKE ALL ON FUNCTION @extschema@.spend_by_user(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.spend_by_user(timestamptz, timestamptz) IS
'ducto_spend_by_user for the SDKs, largest first. Takes no lock. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.spend_by_model(p_start timestamptz, p_end timestamptz)
RETURNS TABLE (model text, total_spend numeric, transaction_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT s.model, s.total_spend, s.transaction_count
	FROM ducto_spend_by_model(from_time => ducto.sdk_start(p_start), to_time => ducto.sdk_end(p_end)) s;
END;
REVOKE ALL ON FUNCTION @extschema@.spend_by_model(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.spend_by_model(timestamptz, timestamptz) IS
'ducto_spend_by_model for the SDKs, largest first. Takes no lock. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.top_users(p_limit integer, p_start timestamptz, p_end timestamptz)
RETURNS TABLE (user_id text, total_spend numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT s.user_id::text, s.total_spend
	FROM ducto_top_users(max_rows => p_limit, from_time => ducto.sdk_start(p_start), to_time => ducto.sdk_end(p_end)) s;
END;
REVOKE ALL ON FUNCTION @extschema@.top_users(integer, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.top_users(integer, timestamptz, timestamptz) IS
'ducto_top_users for the SDKs, largest first. p_limit: rows, 1 or more. Takes no lock. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.daily_spend(p_start timestamptz, p_end timestamptz)
RETURNS TABLE (date text, total_spend numeric, transaction_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT to_char(s.date, 'YYYY-MM-DD'), s.total_spend, s.transaction_count
	FROM ducto_daily_spend(from_time => ducto.sdk_start(p_start), to_time => ducto.sdk_end(p_end)) s;
END;
REVOKE ALL ON FUNCTION @extschema@.daily_spend(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.daily_spend(timestamptz, timestamptz) IS
'ducto_daily_spend for the SDKs, oldest first. Takes no lock. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.aggregate_stats(p_start timestamptz, p_end timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object('total_credits_consumed', s.total_credits_consumed::text, 'active_users', s.active_users,
		'avg_daily_spend', s.avg_daily_spend::text, 'top_model', coalesce(s.top_model, ''),
		'top_user', coalesce(s.top_user::text, ''))
	FROM ducto_aggregate_stats(from_time => ducto.sdk_start(p_start), to_time => ducto.sdk_end(p_end)) s;
END;
REVOKE ALL ON FUNCTION @extschema@.aggregate_stats(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.aggregate_stats(timestamptz, timestamptz) IS
'ducto_aggregate_stats for the SDKs: total_credits_consumed, active_users, avg_daily_spend, top_model, top_user (empty when none). Takes no lock. SQL errors: 22004, 22023.';

CREATE FUNCTION ducto.sdk_uuid(value text) RETURNS uuid
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
END;
REVOKE ALL ON FUNCTION ducto.sdk_uuid(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_uuid(text) IS
'For ducto_sdk: reads a uuid; NULL when it is none.';

CREATE FUNCTION @extschema@.list_user_transactions(
	p_user_id uuid,
	p_types text[] DEFAULT NULL,
	p_from_date timestamptz DEFAULT NULL,
	p_to_date timestamptz DEFAULT NULL,
	p_limit integer DEFAULT 50,
	p_offset integer DEFAULT 0
)
RETURNS TABLE (id uuid, user_id uuid, amount numeric, type text, reference_type text, reference_id uuid, metadata jsonb,
	created_at timestamptz, total_count bigint)
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_list_user_transactions';
REVOKE ALL ON FUNCTION @extschema@.list_user_transactions(uuid, text[], timestamptz, timestamptz, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.list_user_transactions(uuid, text[], timestamptz, timestamptz, integer, integer) IS
'The ledger of a user for the SDKs, newest first; what the user spent from a team''s pool is team_usage, an expiry an adjustment with metadata.reason credit_expired, what was taken back or moved one with metadata.ledger_type (reversal, transfer_out, transfer_in). metadata has model, idempotency_key, allowance_consumed, team_id and balance_after too.
p_types: only entries of these types; NULL = all. p_from_date, p_to_date: the window, both ends included. p_limit, p_offset: the page, in rows. total_count: entries on all pages. Takes no lock. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.list_usage_events(
	p_user_id uuid,
	p_from_date timestamptz DEFAULT NULL,
	p_to_date timestamptz DEFAULT NULL,
	p_limit integer DEFAULT 50,
	p_offset integer DEFAULT 0
)
RETURNS TABLE (id uuid, user_id uuid, amount numeric, type text, reference_type text, reference_id uuid, metadata jsonb,
	created_at timestamptz, total_count bigint)
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_list_usage_events';
REVOKE ALL ON FUNCTION @extschema@.list_usage_events(uuid, timestamptz, timestamptz, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.list_usage_events(uuid, timestamptz, timestamptz, integer, integer) IS
'What a user used, personal and in teams, for the SDKs: as list_user_transactions, of the types usage and team_usage. Takes no lock. SQL errors: 22004, 22023.';
