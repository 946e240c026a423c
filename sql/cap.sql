-- cap: limits of what a user spends in a day or a month.

CREATE TABLE ducto.spend_caps (
	account_id uuid NOT NULL,
	cap_type text NOT NULL,
	model text NOT NULL,
	cap_limit numeric NOT NULL,
	action text NOT NULL,
	period date NOT NULL,
	spent numeric NOT NULL,
	held numeric NOT NULL,
	CONSTRAINT spend_caps_pkey PRIMARY KEY (account_id, cap_type, model)
) WITH (fillfactor = 60);

ALTER TABLE ducto.spend_caps ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.spend_caps', '');

COMMENT ON TABLE ducto.spend_caps IS 'Spend caps, with their counters, which are kept under the account''s lock.';
COMMENT ON COLUMN ducto.spend_caps.account_id IS 'Whose spending is capped.';
COMMENT ON COLUMN ducto.spend_caps.cap_type IS 'daily or monthly (UTC).';
COMMENT ON COLUMN ducto.spend_caps.model IS 'The model that counts; empty = all spending.';
COMMENT ON COLUMN ducto.spend_caps.cap_limit IS 'Credits per day or month.';
COMMENT ON COLUMN ducto.spend_caps.action IS 'deny, warn or notify.';
COMMENT ON COLUMN ducto.spend_caps.period IS 'First day of the day or month that spent is of.';
COMMENT ON COLUMN ducto.spend_caps.spent IS 'Credits spent in that period, net of allowance, less what was refunded of it.';
COMMENT ON COLUMN ducto.spend_caps.held IS 'Credits that open reservations need, beyond the allowance at their admission.';

CREATE TYPE @extschema@.ducto_spend_cap AS (
	user_id uuid,
	cap_type text,
	model text,
	cap_limit numeric,
	action text,
	current_spend numeric
);
COMMENT ON TYPE @extschema@.ducto_spend_cap IS 'A spend cap and what counts against it now: spent and held.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.cap_type IS 'daily or monthly (UTC).';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.model IS 'The model that counts; NULL = all spending.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.cap_limit IS 'Credits per day or month.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.action IS 'deny, warn or notify.';
COMMENT ON COLUMN @extschema@.ducto_spend_cap.current_spend IS 'Credits that count against the cap now: spent and held.';

CREATE TYPE @extschema@.ducto_cap_check_result AS (
	capped boolean,
	current_spend numeric,
	cap_limit numeric,
	action text,
	model text
);
COMMENT ON TYPE @extschema@.ducto_cap_check_result IS 'Whether a deny cap would be exceeded, and the cap that matters.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.capped IS 'Whether a deny cap would be exceeded.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.current_spend IS 'Credits that count against the cap now: spent and held; 0 without a cap.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.cap_limit IS 'Credits per day or month; NULL without a cap.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.action IS 'deny, warn or notify; NULL without a cap.';
COMMENT ON COLUMN @extschema@.ducto_cap_check_result.model IS 'The model that counts; NULL = all spending.';

CREATE FUNCTION @extschema@.ducto_set_spend_cap(
	user_id uuid,
	cap_type text,
	cap_limit numeric,
	action text DEFAULT 'deny',
	model text DEFAULT NULL
) RETURNS @extschema@.ducto_spend_cap
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_set_spend_cap';
REVOKE ALL ON FUNCTION @extschema@.ducto_set_spend_cap(uuid, text, numeric, text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_set_spend_cap(uuid, text, numeric, text, text) IS
'Limits what a user spends per UTC day or month, or changes that limit. A new cap starts from what its period has seen.
user_id: the user.
cap_type: daily or monthly.
cap_limit: credits, 0 or more; 0 blocks all spending.
action: deny rejects what would exceed it, warn and notify only report.
model: only spending on this model; NULL = all.
Locks the account, makes it when it is new.
Returns the cap; current_spend is what counts against it: spent and held.
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_remove_spend_cap(user_id uuid, cap_type text, model text DEFAULT NULL)
RETURNS boolean
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_remove_spend_cap';
REVOKE ALL ON FUNCTION @extschema@.ducto_remove_spend_cap(uuid, text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_remove_spend_cap(uuid, text, text) IS
'Removes a spend cap.
user_id: the user.
cap_type: daily or monthly.
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
'Returns the spend caps of a user.
user_id: the user.
Takes no lock, works on a standby.
Returns a row for each; current_spend is what counts against it now, in credits: spent and held.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_check_spend_cap(user_id uuid, model text DEFAULT NULL, amount numeric DEFAULT 0)
RETURNS @extschema@.ducto_cap_check_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_check_spend_cap';
REVOKE ALL ON FUNCTION @extschema@.ducto_check_spend_cap(uuid, text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_check_spend_cap(uuid, text, numeric) IS
'Tells whether spending an amount would exceed a deny cap.
user_id: the user.
model: spending on this model; NULL looks at the caps of all spending.
amount: credits, 0 or more.
Takes no lock, works on a standby.
Returns the first deny cap exceeded, else the first soft cap exceeded, else the cap with the least room; no cap:
  false, 0, NULL.
Errors: 22004, 22003, 22023.';
