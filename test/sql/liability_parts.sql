-- liability_parts: what is owed where something is due on more accounts than the memory takes at once: the same as of all at once
\set own regress_ducto_parts
\i test/sql/include/own_database.sql
CREATE FUNCTION somebody(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ducto_uuid('parts.example.com', n::text) $$;
-- Each bought 2 and was given 1, 2 or 3 that expire; some have spent, hold something or got more since, some have nothing that expires.
SELECT count(error) AS errors, sum(amount) FROM ducto_add_credits_many((SELECT jsonb_agg(jsonb_build_object('user_id', somebody(n), 'amount', 2, 'type', 'purchase'))
	FROM generate_series(1, 9000) n));
SELECT count(error) AS errors, sum(amount) FROM ducto_add_credits_many((SELECT jsonb_agg(jsonb_build_object('user_id', somebody(n), 'amount', 1 + n % 3, 'type', 'promo',
	'expires_at', ducto.clock() + interval '1 day')) FROM generate_series(1, 8500) n));
SELECT count(error) AS errors, sum(amount) FROM ducto_charge_many((SELECT jsonb_agg(jsonb_build_object('user_id', somebody(n), 'amount', 1.5)) FROM generate_series(1, 9000, 7) n));
SELECT count(r.error) AS errors, count(*) FROM generate_series(1, 9000, 100) n, ducto_reserve(somebody(n), 1, min_balance => 0, ttl_seconds => 864000) r;
CREATE TABLE told AS SELECT 'then' AS at, ducto.clock() AS moment, l.* FROM ducto_liability() l;
SELECT ducto_advance_clock('2 days') IS NOT NULL AS two_days_later;
SELECT count(error) AS errors, sum(amount) FROM ducto_add_credits_many((SELECT jsonb_agg(jsonb_build_object('user_id', somebody(n), 'amount', 10, 'type', 'purchase'))
	FROM generate_series(1, 9000, 11) n));
INSERT INTO told SELECT 'now', ducto.clock(), l.* FROM ducto_liability() l;
SELECT at, paid, granted, in_debt, held, accounts, other FROM told;
SELECT count(*) FROM ducto.accounts WHERE next_boundary <= ducto.clock();
-- Less than four thousand at once.
SET maintenance_work_mem = '1MB';
SELECT l = (t.paid, t.granted, t.in_debt, t.held, t.accounts, t.other)::ducto_liability_result AS same, t.at FROM told t, ducto_liability(CASE t.at WHEN 'then' THEN moment END) l;
RESET maintenance_work_mem;
SET client_min_messages = warning;
CALL ducto_sweep();
SELECT l = (t.paid, t.granted, t.in_debt, t.held, t.accounts, t.other)::ducto_liability_result AS same, t.at FROM told t, ducto_liability(CASE t.at WHEN 'then' THEN moment END) l;
SELECT * FROM found();
\c :main
DROP DATABASE :own;
