-- plan: what a subscription includes. Small, and the same everywhere. Lengths are checked in characters, because what had 255
-- bytes may have more of them where it is restored, in another encoding.

CREATE TABLE ducto.plans (
	id text NOT NULL,
	name text NOT NULL,
	free_allowance numeric NOT NULL,
	features jsonb NOT NULL,
	default_billing_mode text NOT NULL,
	per_operation jsonb NOT NULL,
	max_concurrent integer,
	overdraft_floor numeric,
	cycle text NOT NULL DEFAULT 'month',
	grants jsonb NOT NULL DEFAULT '[]',
	caps jsonb NOT NULL DEFAULT '[]',
	caps_version bigint NOT NULL GENERATED ALWAYS AS
		(CASE WHEN caps = '[]' THEN 0 ELSE hashtextextended(caps::text, 0) END) STORED,
	retired boolean NOT NULL DEFAULT false,
	imported boolean NOT NULL DEFAULT false,
	alerts jsonb,
	CONSTRAINT plans_pkey PRIMARY KEY (id),
	CONSTRAINT plans_id CHECK (char_length(id) BETWEEN 1 AND 255),
	CONSTRAINT plans_name CHECK (char_length(name) BETWEEN 1 AND 255),
	CONSTRAINT plans_free_allowance CHECK (free_allowance >= 0 AND free_allowance < 100000000000000),
	CONSTRAINT plans_features CHECK (jsonb_typeof(features) = 'object'),
	CONSTRAINT plans_default_billing_mode CHECK (default_billing_mode IN ('strict', 'overdraft')),
	CONSTRAINT plans_per_operation CHECK (jsonb_typeof(per_operation) = 'object'),
	CONSTRAINT plans_max_concurrent CHECK (max_concurrent > 0),
	CONSTRAINT plans_overdraft_floor CHECK (overdraft_floor <= 0 AND overdraft_floor > -100000000000000),
	CONSTRAINT plans_cycle CHECK (cycle IN ('day', 'week', 'month', 'year')),
	CONSTRAINT plans_grants CHECK (jsonb_typeof(grants) = 'array'),
	CONSTRAINT plans_caps CHECK (jsonb_typeof(caps) = 'array'),
	CONSTRAINT plans_alerts CHECK (jsonb_typeof(alerts) = 'object')
);

CREATE TABLE ducto.plan_allowances (
	plan_id text NOT NULL,
	number integer NOT NULL,
	since timestamptz NOT NULL,
	free_allowance numeric NOT NULL,
	cycle text NOT NULL DEFAULT 'month',
	grants jsonb NOT NULL DEFAULT '[]',
	CONSTRAINT plan_allowances_pkey PRIMARY KEY (plan_id, number),
	CONSTRAINT plan_allowances_number CHECK (number > 0),
	CONSTRAINT plan_allowances_amount CHECK (free_allowance >= 0 AND free_allowance < 100000000000000),
	CONSTRAINT plan_allowances_cycle CHECK (cycle IN ('day', 'week', 'month', 'year')),
	CONSTRAINT plan_allowances_grants CHECK (jsonb_typeof(grants) = 'array')
);

ALTER TABLE ducto.plans ENABLE ROW LEVEL SECURITY;
ALTER TABLE ducto.plan_allowances ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.plans', '');
SELECT pg_catalog.pg_extension_config_dump('ducto.plan_allowances', '');

-- Of each row and always: what a restore, a subscription or a hand writes counts as what is published does.
CREATE FUNCTION ducto.plan_changed() RETURNS trigger
LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_plan_changed';
REVOKE ALL ON FUNCTION ducto.plan_changed() FROM PUBLIC;
COMMENT ON FUNCTION ducto.plan_changed() IS 'Waits for those who are giving a plan that has changed, and lets all backends know of it, or of its history: they keep the plans that they have read.';

CREATE TRIGGER plan_changed AFTER INSERT OR UPDATE OR DELETE ON ducto.plans FOR EACH ROW EXECUTE FUNCTION ducto.plan_changed();
ALTER TABLE ducto.plans ENABLE ALWAYS TRIGGER plan_changed;
CREATE TRIGGER plan_changed AFTER INSERT OR UPDATE OR DELETE ON ducto.plan_allowances
	FOR EACH ROW EXECUTE FUNCTION ducto.plan_changed();
ALTER TABLE ducto.plan_allowances ENABLE ALWAYS TRIGGER plan_changed;

COMMENT ON TABLE ducto.plan_allowances IS 'Which allowance and cycles a plan has had from when on: the past is decided by what was in force then.';
COMMENT ON COLUMN ducto.plan_allowances.plan_id IS 'The plan''s key.';
COMMENT ON COLUMN ducto.plan_allowances.number IS '1, 2, 3 per plan.';
COMMENT ON COLUMN ducto.plan_allowances.since IS 'From when on; -infinity = always before.';
COMMENT ON COLUMN ducto.plan_allowances.free_allowance IS 'Credits of usage per cycle that cost nothing.';
COMMENT ON COLUMN ducto.plan_allowances.cycle IS 'day, week, month or year: how often it comes anew.';
COMMENT ON COLUMN ducto.plan_allowances.grants IS 'What each cycle gives, as in the pricing.';

COMMENT ON TABLE ducto.plans IS 'The plans of the active pricing, and those that it lacks but users still have.';
COMMENT ON COLUMN ducto.plans.id IS 'The plan''s key.';
COMMENT ON COLUMN ducto.plans.name IS 'The plan''s name.';
COMMENT ON COLUMN ducto.plans.free_allowance IS 'Credits of usage per cycle that cost nothing.';
COMMENT ON COLUMN ducto.plans.features IS 'Feature name to value.';
COMMENT ON COLUMN ducto.plans.default_billing_mode IS 'strict or overdraft.';
COMMENT ON COLUMN ducto.plans.per_operation IS 'Operation type to billing_mode, overdraft_floor and max_concurrent.';
COMMENT ON COLUMN ducto.plans.max_concurrent IS 'Open reservations of one operation type; NULL = unlimited.';
COMMENT ON COLUMN ducto.plans.overdraft_floor IS 'How far overdraft may go, in credits, 0 or less.';
COMMENT ON COLUMN ducto.plans.cycle IS 'day, week, month or year: how often allowance and grants come anew.';
COMMENT ON COLUMN ducto.plans.grants IS 'What each cycle gives, as in the pricing.';
COMMENT ON COLUMN ducto.plans.caps IS 'Spend caps of everybody on the plan, as in the pricing.';
COMMENT ON COLUMN ducto.plans.retired IS 'The active pricing lacks it: users keep it, but it cannot be assigned.';
COMMENT ON COLUMN ducto.plans.imported IS 'Its terms are those that ducto_sdk_import found, and not the active pricing''s, until a version is published or activated.';
COMMENT ON COLUMN ducto.plans.caps_version IS 'What accounts know the caps by; 0 = there are none.';
COMMENT ON COLUMN ducto.plans.alerts IS 'Lines at which something is told of who is on the plan; NULL = those of the pricing.';

CREATE TYPE @extschema@.ducto_set_user_plan_result AS (
	user_id uuid,
	plan_id text,
	error text
);
COMMENT ON TYPE @extschema@.ducto_set_user_plan_result IS 'The plan that a user was given.';
COMMENT ON COLUMN @extschema@.ducto_set_user_plan_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_set_user_plan_result.plan_id IS 'The plan''s key; NULL = no plan.';
COMMENT ON COLUMN @extschema@.ducto_set_user_plan_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_user_plan_result AS (
	user_id uuid,
	plan_id text,
	plan_name text,
	free_allowance numeric,
	features jsonb,
	default_billing_mode text,
	per_operation jsonb,
	max_concurrent integer,
	overdraft_floor numeric
);
COMMENT ON TYPE @extschema@.ducto_user_plan_result IS 'The plan of a user.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.plan_id IS 'The plan''s key; NULL = no plan.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.plan_name IS 'The plan''s name.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.free_allowance IS 'Credits of usage per UTC month that cost nothing.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.features IS 'Feature name to value.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.default_billing_mode IS 'strict or overdraft.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.per_operation IS 'Operation type to billing_mode, overdraft_floor and max_concurrent.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.max_concurrent IS 'Open reservations of one operation type; NULL = unlimited.';
COMMENT ON COLUMN @extschema@.ducto_user_plan_result.overdraft_floor IS 'How far overdraft may go, in credits, 0 or less; NULL = no overdraft.';

CREATE TYPE @extschema@.ducto_allowance_result AS (
	plan_id text,
	free_allowance numeric,
	allowance_used numeric,
	allowance_remaining numeric,
	period_start date,
	period_end date,
	resets_at timestamptz,
	error text
);
COMMENT ON TYPE @extschema@.ducto_allowance_result IS 'The allowance of a user in this cycle.';
COMMENT ON COLUMN @extschema@.ducto_allowance_result.plan_id IS 'The plan''s key; NULL = no plan.';
COMMENT ON COLUMN @extschema@.ducto_allowance_result.free_allowance IS 'Credits of usage per cycle that cost nothing.';
COMMENT ON COLUMN @extschema@.ducto_allowance_result.allowance_used IS 'Credits of usage in this cycle that count against the allowance.';
COMMENT ON COLUMN @extschema@.ducto_allowance_result.allowance_remaining IS 'Credits left of this cycle''s allowance.';
COMMENT ON COLUMN @extschema@.ducto_allowance_result.period_start IS 'First day of the cycle, in the user''s time zone.';
COMMENT ON COLUMN @extschema@.ducto_allowance_result.period_end IS 'Last day of the cycle.';
COMMENT ON COLUMN @extschema@.ducto_allowance_result.resets_at IS 'When the next cycle begins.';
COMMENT ON COLUMN @extschema@.ducto_allowance_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_feature_result AS (
	user_id uuid,
	feature text,
	value jsonb,
	has_feature boolean
);
COMMENT ON TYPE @extschema@.ducto_feature_result IS 'Whether a user''s plan has a feature.';
COMMENT ON COLUMN @extschema@.ducto_feature_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_feature_result.feature IS 'The feature''s name.';
COMMENT ON COLUMN @extschema@.ducto_feature_result.value IS 'The plan''s value of it; NULL if absent.';
COMMENT ON COLUMN @extschema@.ducto_feature_result.has_feature IS 'Whether the value means yes: neither absent, null nor false.';

CREATE FUNCTION @extschema@.ducto_set_user_plan(
	user_id uuid,
	plan_id text,
	anchor timestamptz DEFAULT NULL,
	timezone text DEFAULT NULL
) RETURNS @extschema@.ducto_set_user_plan_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_set_user_plan';
REVOKE ALL ON FUNCTION @extschema@.ducto_set_user_plan(uuid, text, timestamptz, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_set_user_plan(uuid, text, timestamptz, text) IS
'Gives a user a plan, making the account when it is new. What its cycles give is there at once, and from then on at the
first instant of each: booked by the next operation or sweep, and once per cycle, whatever is called again or set in
between. What was given by cycles that are not over counts: a plan that gives more gives the difference. What of the
allowance was used in this cycle stays used.
user_id: the user.
plan_id: the plan; NULL takes the user''s plan away.
anchor: the plan''s cycles begin at this time, before it and after it, and repeat its day and time, in months without
  that day on the last one; NULL = those of the calendar: midnight, Monday, the first.
timezone: the time zone of the cycles and of the user''s caps, a name such as Europe/Berlin; NULL = UTC.
Locks the account.
Returns the plan.
Rejections: plan_not_found (unknown or retired).
Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.ducto_get_user_plan(user_id uuid)
RETURNS @extschema@.ducto_user_plan_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_get_user_plan';
REVOKE ALL ON FUNCTION @extschema@.ducto_get_user_plan(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_get_user_plan(uuid) IS
'Returns the plan of a user: its id, name, free allowance in credits per cycle, features and billing rules.
user_id: the user.
Takes no lock, works on a standby.
Returns, without a plan, plan_id NULL, no allowance, no features, strict.
Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.ducto_check_allowance(user_id uuid)
RETURNS @extschema@.ducto_allowance_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_check_allowance';
REVOKE ALL ON FUNCTION @extschema@.ducto_check_allowance(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_check_allowance(uuid) IS
'Returns what a user''s plan allows in this cycle, what of it is used and what remains, in credits, the first and the
last day of the cycle in the user''s time zone, and when the next begins.
user_id: the user.
Takes no lock, works on a standby.
Returns, without a plan, plan_id NULL and zeros.
Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.ducto_increment_usage_window(user_id uuid, plan_id text, amount numeric)
RETURNS @extschema@.ducto_allowance_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_increment_usage_window';
REVOKE ALL ON FUNCTION @extschema@.ducto_increment_usage_window(uuid, text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_increment_usage_window(uuid, text, numeric) IS
'Counts usage that was metered elsewhere against the allowance of this cycle: books a usage entry that takes no
credits.
user_id: the user.
plan_id: the plan whose allowance is told.
amount: credits, 0 or more; it may exceed the allowance; 0 books nothing.
Locks the account, makes it when it is new.
Returns the allowance after it.
Rejections: plan_not_found.
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_check_feature(user_id uuid, feature text)
RETURNS @extschema@.ducto_feature_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_check_feature';
REVOKE ALL ON FUNCTION @extschema@.ducto_check_feature(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_check_feature(uuid, text) IS
'Tells whether a user''s plan has a feature, and its value.
user_id: the user.
feature: its name; absent, null and false mean no, everything else means yes.
Takes no lock, works on a standby.
Errors: 22004, 22023.';
