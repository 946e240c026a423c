-- What a plan of a pricing may say of its cycles: how long they are, what they give, and what caps everybody has.

-- All of it, and what becomes of it: words that go without saying are written down where others read them.
SELECT * FROM ducto_validate_pricing('{"models": {"_default": "1"}, "plans": {
	"free": {"name": "Free", "grants": [{"amount": 100}]},
	"pro": {"name": "Pro", "cycle": "week",
		"grants": [{"amount": "1000", "type": "subscription", "priority": 20, "expires": "cycle", "rollover": {"max": 500, "cycles": 2}},
			{"amount": 50.00001, "type": "promo", "expires": "90 days"}, {"amount": 1, "type": "signup_bonus", "expires": "never", "priority": null},
			{"amount": 2, "type": "adjustment", "expires": "1 year 2 months", "rollover": null}],
		"caps": [{"cap_type": "session", "cap_limit": 50, "window_length": "5 hours"}, {"capType": "monthly", "capLimit": 0, "action": "warn", "model": "big"},
			{"cap_type": "sliding", "cap_limit": 9, "windowLength": "1 hour 30 minutes"}, {"cap_type": "total", "cap_limit": 1}, {"cap_type": "hourly", "cap_limit": 1},
			{"cap_type": "weekly", "cap_limit": 1}, {"cap_type": "daily", "cap_limit": 1}, {"cap_type": "daily", "cap_limit": 1, "model": "small"}]},
	"none": {"name": "None", "cycle": null, "grants": [], "caps": null}}}');
BEGIN;
SELECT version > 0 AS published FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {
	"pro": {"name": "Pro", "cycle": "year", "grants": [{"amount": "1000"}, {"amount": 50.00001, "type": "promo", "expires": "90 days", "priority": "20"}],
		"caps": [{"capType": "session", "capLimit": 50, "windowLength": "5 hours"}, {"cap_type": "monthly", "cap_limit": 100, "action": "warn", "model": "big"}]},
	"free": {"name": "Free", "free_allowance": 5}}}');
SELECT id, cycle, jsonb_pretty(grants) AS grants, jsonb_pretty(caps) AS caps FROM ducto.plans WHERE NOT retired ORDER BY id;
SELECT plan_id, cycle, grants FROM ducto.plan_allowances WHERE plan_id IN (SELECT id FROM ducto.plans WHERE NOT retired)
	AND number = (SELECT max(number) FROM ducto.plan_allowances l WHERE l.plan_id = plan_allowances.plan_id) ORDER BY 1;
SELECT * FROM ducto_verify();
ROLLBACK;

-- Everything that it may not say, with its place.
SELECT terms, v.path, v.problem
FROM unnest(ARRAY['"cycle": "hour"', '"cycle": "monthly"', '"cycle": 1', '"cycle": ["month"]',
	'"grants": {}', '"grants": "all"', '"grants": [1]', '"grants": [{}]', '"grants": [[]]',
	'"grants": [{"amount": 0}]', '"grants": [{"amount": -1}]', '"grants": [{"amount": "many"}]', '"grants": [{"amount": 0.00001}]', '"grants": [{"amount": 1e20}]',
	'"grants": [{"amount": 1, "type": "purchase"}]', '"grants": [{"amount": 1, "type": "usage"}]', '"grants": [{"amount": 1, "type": 5}]',
	'"grants": [{"amount": 1, "priority": 101}]', '"grants": [{"amount": 1, "priority": -1}]', '"grants": [{"amount": 1, "priority": 0.5}]', '"grants": [{"amount": 1, "priority": "low"}]',
	'"grants": [{"amount": 1, "expires": "soon"}]', '"grants": [{"amount": 1, "expires": "0 days"}]', '"grants": [{"amount": 1, "expires": "-1 day"}]',
	'"grants": [{"amount": 1, "expires": "90"}]', '"grants": [{"amount": 1, "expires": "90 seconds"}]', '"grants": [{"amount": 1, "expires": "90days"}]', '"grants": [{"amount": 1, "expires": "123456 days"}]',
	'"grants": [{"amount": 1, "expires": "1 day ago"}]', '"grants": [{"amount": 1, "expires": 90}]', '"grants": [{"amount": 1, "expires": "infinity"}]', '"grants": [{"amount": 1, "expires": ""}]',
	'"grants": [{"amount": 1, "rollover": 5}]', '"grants": [{"amount": 1, "rollover": {"max": -1}}]', '"grants": [{"amount": 1, "rollover": {"cycles": 0}}]', '"grants": [{"amount": 1, "rollover": {"cycles": 101}}]',
	'"grants": [{"amount": 1, "rollover": {"months": 1}}]', '"grants": [{"amount": 1, "expires": "never", "rollover": {}}]', '"grants": [{"amount": 1, "expires": "90 days", "rollover": {"max": 1}}]',
	'"grants": [{"amount": 1}, {"amount": 1, "expiry": "cycle"}]',
	'"caps": {}', '"caps": [{}]', '"caps": [{"cap_type": "yearly", "cap_limit": 1}]', '"caps": [{"cap_type": "daily"}]', '"caps": [{"cap_type": "daily", "cap_limit": -1}]',
	'"caps": [{"cap_type": "daily", "cap_limit": 1, "action": "stop"}]', '"caps": [{"cap_type": "daily", "cap_limit": 1, "model": ""}]', '"caps": [{"cap_type": "daily", "cap_limit": 1, "model": 5}]',
	'"caps": [{"cap_type": "session", "cap_limit": 1}]', '"caps": [{"cap_type": "session", "cap_limit": 1, "window_length": "1 second"}]', '"caps": [{"cap_type": "sliding", "cap_limit": 1, "window_length": "2 years"}]',
	'"caps": [{"cap_type": "daily", "cap_limit": 1, "window_length": "5 hours"}]', '"caps": [{"cap_type": "daily", "cap_limit": 1}, {"capType": "daily", "cap_limit": 2}]',
	'"caps": [{"cap_type": "daily", "cap_limit": 1, "model": "a"}, {"cap_type": "daily", "cap_limit": 1}, {"cap_type": "daily", "cap_limit": 2, "model": "a"}]', '"caps": [{"cap_type": "daily", "capType": "daily", "cap_limit": 1}]']) WITH ORDINALITY AS t(terms, n),
LATERAL ducto_validate_pricing(('{"models": {"_default": "1"}, "plans": {"p": {"name": "P", ' || terms || '}}}')::jsonb) v ORDER BY n, path;

-- Lists that are too long.
SELECT v.* FROM ducto_validate_pricing(jsonb_build_object('models', jsonb_build_object('_default', '1'), 'plans', jsonb_build_object('p', jsonb_build_object('name', 'P',
	'grants', (SELECT jsonb_agg('{"amount": 1}'::jsonb) FROM generate_series(1, 17)),
	'caps', (SELECT jsonb_agg(jsonb_build_object('cap_type', 'daily', 'cap_limit', 1, 'model', 'm' || n)) FROM generate_series(1, 101) n))))) v;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
