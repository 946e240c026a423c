-- cap: limits of what an account spends in a window of time.

-- No CHECK: PostgreSQL compiles each one anew for every statement that writes a row, and every charge under a cap writes one.
CREATE TABLE ducto.spend_caps (
	account_id uuid NOT NULL,
	cap_type text NOT NULL,
	model text NOT NULL,
	cap_limit numeric NOT NULL,
	action text NOT NULL,
	of_plan boolean NOT NULL DEFAULT false,
	window_length interval,
	window_from timestamptz NOT NULL,
	window_until timestamptz NOT NULL,
	spent numeric NOT NULL,
	held numeric NOT NULL,
	buckets numeric[],
	CONSTRAINT spend_caps_pkey PRIMARY KEY (account_id, cap_type, model)
) WITH (fillfactor = 60);

ALTER TABLE ducto.spend_caps ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.spend_caps', '');

COMMENT ON TABLE ducto.spend_caps IS 'Spend caps, with their counters, which are kept under the account''s lock.';
COMMENT ON COLUMN ducto.spend_caps.account_id IS 'Whose spending is capped: a user''s, or that of a team''s pool.';
COMMENT ON COLUMN ducto.spend_caps.cap_type IS 'hourly, daily, weekly, monthly (by the calendar of the user''s time zone), total, session or sliding.';
COMMENT ON COLUMN ducto.spend_caps.model IS 'The model that counts; empty = all spending.';
COMMENT ON COLUMN ducto.spend_caps.cap_limit IS 'Credits per window.';
COMMENT ON COLUMN ducto.spend_caps.action IS 'deny, warn or notify.';
COMMENT ON COLUMN ducto.spend_caps.of_plan IS 'Whether it is one of the user''s plan, and not the user''s own.';
COMMENT ON COLUMN ducto.spend_caps.window_length IS 'How long a session or a sliding window lasts; NULL for the others.';
COMMENT ON COLUMN ducto.spend_caps.window_from IS 'When the window that spent is of began; of a sliding one, its newest bucket; -infinity = always.';
COMMENT ON COLUMN ducto.spend_caps.window_until IS 'When that ends; infinity = never. The same as window_from = no session is open, the last one ended then.';
COMMENT ON COLUMN ducto.spend_caps.spent IS 'Credits spent in that window, net of allowance, less what was refunded of it; of a sliding one, in all its buckets.';
COMMENT ON COLUMN ducto.spend_caps.held IS 'Credits that open reservations need, beyond the allowance at their admission.';
COMMENT ON COLUMN ducto.spend_caps.buckets IS 'Of a sliding window, what was spent in the 60 buckets before the newest, from the newest on, without the zeros at the end; NULL for the others.';

CREATE TYPE @extschema@.ducto_spend_cap AS (
	user_id uuid,
	cap_type text,
	model text,
	cap_limit numeric,
	action text,
	current_spend numeric,
	resets_at timestamptz,
	window_length interval,
	of_plan boolean
);
COMMENT ON TYPE @extschema@.ducto_spend_cap IS 'A spend cap and what counts against it now: spent and held.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.user_id IS 'The user, or the team.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.cap_type IS 'hourly, daily, weekly, monthly, total, session or sliding.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.model IS 'The model that counts; NULL = all spending.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.cap_limit IS 'Credits per window.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.action IS 'deny, warn or notify.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.current_spend IS 'Credits that count against the cap now: spent and held.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.resets_at IS 'When what was spent counts no more: the window ends, or has slid past all of it; NULL = never, or no session is open.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.window_length IS 'How long a session or a sliding window lasts; NULL for the others.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.of_plan IS 'Whether it is one of the user''s plan, and not the user''s own.';

CREATE TYPE @extschema@.ducto_cap_check_result AS (
	capped boolean,
	current_spend numeric,
	cap_limit numeric,
	action text,
	model text,
	resets_at timestamptz
);
COMMENT ON TYPE @extschema@.ducto_cap_check_result IS 'Whether a deny cap would be exceeded, and the cap that matters.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.capped IS 'Whether a deny cap would be exceeded.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.current_spend IS 'Credits that count against the cap now: spent and held; 0 without a cap.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.cap_limit IS 'Credits per window; NULL without a cap.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.action IS 'deny, warn or notify; NULL without a cap.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.model IS 'The model that counts; NULL = all spending.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.resets_at IS 'When the window ends; of a sliding one, when the amount fits if nothing more is spent; NULL = never, or no session is open.';

CREATE FUNCTION @extschema@.ducto_set_spend_cap(
	user_id uuid,
	cap_type text,
	cap_limit numeric,
	action text DEFAULT 'deny',
	model text DEFAULT NULL,
	window_length interval DEFAULT NULL
) RETURNS @extschema@.ducto_spend_cap
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_set_spend_cap';
REVOKE ALL ON FUNCTION @extschema@.ducto_set_spend_cap(uuid, text, numeric, text, text, interval) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_set_spend_cap(uuid, text, numeric, text, text, interval) IS
'Limits what a user, or a team''s pool, spends in a window of time, or changes that limit. What is counted stays counted. A new cap starts from what its window has seen.
user_id: the user, or the team.
cap_type: hourly, daily, weekly (from Monday) or monthly, by the calendar of the user''s time zone (see
  ducto_set_user_plan); total, of all time; session, which opens with the first spend or hold after the last one ended;
  sliding, the window_length up to now, which frees what was spent at most 1/60 of that late.
cap_limit: credits, 0 or more; 0 blocks all spending.
action: deny rejects what would exceed it, warn and notify only report.
model: only spending on this model; NULL = all.
window_length: of a session or a sliding window, and only of these: 1 minute to 1 year, as extract(epoch) counts it.
Locks the account, makes it when it is new.
Returns the cap; current_spend is what counts against it: spent and held.
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_remove_spend_cap(user_id uuid, cap_type text, model text DEFAULT NULL)
RETURNS boolean
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_remove_spend_cap';
REVOKE ALL ON FUNCTION @extschema@.ducto_remove_spend_cap(uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_remove_spend_cap(uuid, text, text) IS
'Removes a spend cap of a user''s or team''s own. Where the user''s plan has the same, that is in force again, with what was counted.
user_id: the user, or the team.
cap_type: as in ducto_set_spend_cap.
model: the cap of this model; NULL = the cap of all spending.
Locks the account.
Returns whether there was one.
Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.ducto_list_spend_caps(user_id uuid)
RETURNS SETOF @extschema@.ducto_spend_cap
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_spend_caps';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_spend_caps(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_spend_caps(uuid) IS
'Returns the spend caps of a user or a team, those of the user''s plan included.
user_id: the user, or the team.
Takes no lock, works on a standby.
Returns a row for each; current_spend is what counts against it now, in credits: spent and held.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_check_spend_cap(user_id uuid, model text DEFAULT NULL, amount numeric DEFAULT 0)
RETURNS @extschema@.ducto_cap_check_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_check_spend_cap';
REVOKE ALL ON FUNCTION @extschema@.ducto_check_spend_cap(uuid, text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_check_spend_cap(uuid, text, numeric) IS
'Tells whether spending an amount would exceed a deny cap. The caps of a team''s members are not looked at.
user_id: the user, or the team.
model: spending on this model; NULL looks at the caps of all spending.
amount: credits, 0 or more.
Takes no lock, works on a standby.
Returns the first deny cap exceeded, else the first soft cap exceeded, else the cap with the least room; no cap:
  false, 0, NULL.
Errors: 22004, 22003, 22023.';
