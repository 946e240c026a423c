-- Pricing and plans: small, and moved before the accounts.

CREATE FUNCTION ducto.sdk_import_problems(config jsonb) RETURNS TABLE (path text, problem text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT p.path, p.problem FROM ducto_validate_pricing(config => config) p;
END;
REVOKE ALL ON FUNCTION ducto.sdk_import_problems(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_problems(jsonb) IS
'For ducto_sdk_import: what is wrong with a pricing configuration, wherever the extension ducto is.';

-- Publishing gives the next number; theirs is kept instead, because clients ask by it.
CREATE FUNCTION ducto.sdk_import_pricing(bonus jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	theirs record;
	published integer;
	active CONSTANT integer := (SELECT version FROM ducto.pricing WHERE ducto.pricing.active);
	own CONSTANT boolean := EXISTS (
		SELECT FROM ducto.pricing p WHERE p.active AND p.id NOT IN (SELECT id FROM ducto_sdk_old.credit_pricing_config));
	activate integer;
BEGIN
	FOR theirs IN
		SELECT c.id, c.config::jsonb AS config, c.active, c.version, c.label, c.created_at FROM ducto_sdk_old.credit_pricing_config c
		WHERE NOT EXISTS (SELECT FROM ducto.pricing p WHERE p.version = c.version OR p.id = c.id)
		ORDER BY c.version
	LOOP
		CONTINUE WHEN theirs.config IS NULL OR theirs.version < 1
			OR EXISTS (SELECT FROM ducto.sdk_import_problems(theirs.config));
		IF NOT ducto.sdk_import_has_bonus(theirs.config) THEN
			theirs.config := theirs.config - 'signup_bonus' - 'signupBonus' || bonus;
		END IF;
		published := (@extschema@.set_active_pricing_config(theirs.config, ducto.sdk_import_name(theirs.label)) ->> 'version')::integer;
		UPDATE ducto.pricing SET id = theirs.id, version = theirs.version, created_at = coalesce(theirs.created_at, created_at)
		WHERE version = published;
		activate := CASE WHEN theirs.active THEN theirs.version ELSE activate END;
	END LOOP;
	IF published IS NULL THEN
		RETURN;
	ELSIF own OR activate IS NULL AND active IS NOT NULL THEN
		activate := active;
	END IF;
	IF activate IS NOT NULL THEN
		PERFORM @extschema@.activate_pricing_config(activate);
	ELSE
		UPDATE ducto.pricing SET active = false WHERE ducto.pricing.active;
		UPDATE ducto.plans SET imported = true WHERE NOT retired;
	END IF;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_pricing(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_pricing(jsonb) IS
'For ducto_sdk_import: publishes the versions of the pricing that the engine does not have, and activates theirs unless the engine has one of its own. bonus: what a configuration without a signup_bonus gets.';

-- Their table is what their engine went by, so its terms win over those of the configuration.
CREATE FUNCTION ducto.sdk_import_plans(known text[]) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
INSERT INTO ducto.plans (id, name, free_allowance, features, default_billing_mode, per_operation, max_concurrent,
	overdraft_floor)
SELECT p.plan_key, p.name, p.free_allowance, p.features, p.default_billing_mode, p.per_operation, p.max_concurrent,
	p.overdraft_floor
FROM ducto.sdk_import_their_plans() p WHERE p.problem IS NULL AND p.plan_key <> ALL (known)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, free_allowance = excluded.free_allowance,
	features = excluded.features, default_billing_mode = excluded.default_billing_mode,
	per_operation = excluded.per_operation, max_concurrent = excluded.max_concurrent,
	overdraft_floor = excluded.overdraft_floor, retired = false;

UPDATE ducto.plans p SET imported = true
WHERE p.id <> ALL (known) AND NOT p.retired AND NOT EXISTS (SELECT FROM ducto.pricing v
	WHERE v.active AND ducto.plan_terms(v.config -> 'plans' -> p.id) = ducto.plan_terms(to_jsonb(p)));

INSERT INTO ducto.plan_allowances (plan_id, number, since, free_allowance, cycle, grants)
SELECT p.id, coalesce(l.number, 0) + 1, coalesce(l.since, '-infinity'), p.free_allowance, p.cycle, p.grants
FROM ducto.plans p
LEFT JOIN (SELECT DISTINCT ON (plan_id) * FROM ducto.plan_allowances ORDER BY plan_id, number DESC) l ON l.plan_id = p.id
WHERE (l.free_allowance, l.cycle, l.grants) IS DISTINCT FROM (p.free_allowance, p.cycle, p.grants)
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_plans(text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_plans(text[]) IS
'For ducto_sdk_import: gives their plans the terms that they had there, but for those that the engine had before.';

CREATE FUNCTION ducto.sdk_import_their_plans()
RETURNS TABLE (plan_key text, name text, free_allowance numeric, features jsonb, default_billing_mode text,
	per_operation jsonb, max_concurrent integer, overdraft_floor numeric, rate_overrides jsonb, problem text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT p.plan_key, coalesce(p.name, p.plan_key), ducto.sdk_import_money(p.free_allowance), coalesce(p.features::jsonb, '{}'),
	p.mode, p.per_operation, p.max_concurrent, p.floor, coalesce(p.rate_overrides::jsonb, '{}'),
	(SELECT v.problem FROM ducto.sdk_import_problems(jsonb_build_object('models', '{"_default": "0"}'::jsonb,
		'plans', jsonb_build_object(p.plan_key, jsonb_strip_nulls(jsonb_build_object('name', coalesce(p.name, p.plan_key),
			'free_allowance', p.free_allowance, 'features', p.features, 'default_billing_mode', p.mode,
			'per_operation', p.per_operation, 'max_concurrent', p.max_concurrent, 'overdraft_floor', p.floor))))) v LIMIT 1)
FROM (
	SELECT c.plan_key, c.name, c.free_allowance, c.features, c.rate_overrides, c.max_concurrent,
		CASE WHEN c.default_billing_mode::text = 'overdraft' THEN 'overdraft' ELSE 'strict' END AS mode,
		CASE WHEN c.default_billing_mode::text = 'overdraft' THEN coalesce(c.overdraft_floor, 0) ELSE c.overdraft_floor END AS floor,
		coalesce(replace(c.per_operation::text, '"strict_prepaid"', '"strict"')::jsonb, '{}') AS per_operation
	FROM ducto_sdk_old.credit_plans c
) p
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_their_plans() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_their_plans() IS
'For ducto_sdk_import: their plans in the engine''s terms, with the problem of those that it cannot have.';

CREATE FUNCTION ducto.sdk_import_report_pricing() RETURNS SETOF ducto.sdk_import_difference
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'pricing', c.version::text, 'version ' || c.version, 'version ' || o.version,
	CASE WHEN o.version IS NOT NULL THEN 'not moved: the engine has a version of its own with this number'
		ELSE 'not moved: ' || coalesce((SELECT concat_ws(': ', nullif(v.path, ''), v.problem)
			FROM ducto.sdk_import_problems(c.config::jsonb) v LIMIT 1), 'it has no number that the engine can have') END
FROM ducto_sdk_old.credit_pricing_config c
LEFT JOIN ducto.pricing o ON o.version = c.version
WHERE NOT EXISTS (SELECT FROM ducto.pricing p WHERE p.id = c.id)
UNION ALL
SELECT 'active pricing', t.version::text, t.version::text, o.version::text, 'left alone'
FROM (SELECT c.version FROM ducto_sdk_old.credit_pricing_config c WHERE c.active) t
FULL JOIN (SELECT p.version FROM ducto.pricing p WHERE p.active) o ON true
WHERE t.version IS DISTINCT FROM o.version
UNION ALL
SELECT 'signup bonus', c.version::text, 'not set: 50', o.config ->> 'signup_bonus', 'set in the version'
FROM ducto_sdk_old.credit_pricing_config c JOIN ducto.pricing o ON o.id = c.id
WHERE NOT ducto.sdk_import_has_bonus(c.config::jsonb) AND o.config ->> 'signup_bonus' IS NOT NULL
UNION ALL
SELECT 'signup bonus', NULL, 'not set: 50', NULL, 'new users get nothing until a version of the pricing is active that has a signup_bonus'
WHERE EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = 'ducto_signup_bonus')
AND NOT EXISTS (SELECT FROM ducto.pricing v WHERE v.active)
UNION ALL
SELECT 'plan', t.plan_key, concat_ws(', ', t.free_allowance || ' free', t.default_billing_mode, 'floor ' || t.overdraft_floor,
	'at most ' || t.max_concurrent), concat_ws(', ', o.free_allowance || ' free', o.default_billing_mode,
	'floor ' || o.overdraft_floor, 'at most ' || o.max_concurrent),
	coalesce('not moved: ' || t.problem, 'left alone: the engine has a plan of this name')
FROM ducto.sdk_import_their_plans() t
LEFT JOIN ducto.plans o ON o.id = t.plan_key
WHERE o.id IS NULL OR (o.free_allowance, o.default_billing_mode, o.features, o.per_operation)
	<> (t.free_allowance, t.default_billing_mode, t.features, t.per_operation)
	OR (o.max_concurrent, o.overdraft_floor) IS DISTINCT FROM (t.max_concurrent, t.overdraft_floor)
UNION ALL
SELECT 'plan in pricing', t.plan_key, 'plan', p.plan ->> 'name',
	CASE WHEN p.plan IS NULL THEN 'can be assigned until a version of the pricing is published or activated that lacks it'
		ELSE 'has the terms of the table until a version of the pricing is published or activated' END
FROM ducto.sdk_import_their_plans() t
LEFT JOIN (SELECT v.config -> 'plans' AS plans FROM ducto.pricing v WHERE v.active) a ON true
LEFT JOIN LATERAL (SELECT a.plans -> t.plan_key AS plan) p ON true
WHERE t.problem IS NULL AND (p.plan IS NULL
	OR coalesce((p.plan ->> 'free_allowance')::numeric, 0) <> t.free_allowance
	OR coalesce(p.plan -> 'rate_overrides', '{}') <> t.rate_overrides
	OR coalesce(p.plan -> 'features', '{}') <> t.features
	OR coalesce(p.plan ->> 'default_billing_mode', 'strict') <> t.default_billing_mode
	OR (p.plan ->> 'max_concurrent')::integer IS DISTINCT FROM t.max_concurrent)
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_report_pricing() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_report_pricing() IS 'For ducto_sdk_import: differences of pricing and plans.';
