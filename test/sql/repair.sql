-- ducto_repair makes figures anew that follow from ledger, grants and reservations, and says what it cannot mend.
\pset null -
\set ann '\'7e9a0000-0000-4000-8000-000000000001\''
\set bob '\'7e9a0000-0000-4000-8000-000000000002\''
\set cat '\'7e9a0000-0000-4000-8000-000000000003\''
\set SHOW_CONTEXT never

SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"repair_plan": {"name": "Repair Plan", "free_allowance": 10}}}');
SELECT new_balance FROM ducto_add_credits(:ann, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:ann, 50, 'promo', expires_at => now() + interval '1 day');
SELECT plan_id FROM ducto_set_user_plan(:ann, 'repair_plan');
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'daily', 500);
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'monthly', 500, model => 'large model');
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'daily', 500, model => 'priority of grant 7');
SELECT amount FROM ducto_charge(:ann, 40, model => 'large model');
SELECT reservation_id AS r FROM ducto_reserve(:ann, 20, model => 'large model') \gset
SELECT reservation_id AS s FROM ducto_reserve(:ann, 5, skip_allowance => true) \gset
SELECT reservation_id AS z FROM ducto_reserve(:ann, 1) \gset
SELECT amount FROM ducto_deduct(:ann, :'z', 0, 'closed');
SELECT team_id AS team FROM ducto_create_team('Repair', 100) \gset
SELECT error FROM ducto_add_team_member(:'team', :bob);
SELECT amount FROM ducto_deduct_team(:'team', :bob, 10);
SELECT error FROM ducto_reserve(:bob, 7, team_id => :'team');
SELECT * FROM ducto_verify();

-- Nothing to mend.
SELECT * FROM ducto_repair(:ann);
SELECT * FROM ducto_repair(:'team', false);
SELECT * FROM ducto_repair('7e9a0000-0000-4000-8000-0000000000ff', false);
SELECT * FROM ducto_repair(NULL);

-- Every figure that follows from others is spoilt.
UPDATE ducto.accounts SET balance = 1, held = 2, held_from_credits = 3, expiring = 4, lifetime_purchased = 5, last_seq = 99, caps = 0,
	allowance_used = 7, next_boundary = 'infinity', plain = true, closing_keys = false, promised = 88 WHERE id = :ann;
UPDATE ducto.grants SET remaining = 50, live = false, amount = 60, priority = 9, type = 'purchase', expires_at = '2222-02-02' WHERE account_id = :ann;
UPDATE ducto.spend_caps SET spent = 1, held = 2, window_from = '2000-01-01 01:00', window_until = '2000-01-02', buckets = '{1}' WHERE account_id = :ann;
UPDATE ducto.reservations SET cap_held = 100 WHERE id = :'s';
UPDATE ducto.reservations SET remaining = 19, closed_at = now() WHERE id = :'r';
UPDATE ducto.accounts SET balance = 0, held = 0 WHERE id = :'team';
UPDATE ducto.team_members SET spent = 0, held = 0, month = '2000-01-01' WHERE team_id = :'team';
-- A dry run tells it and changes nothing; after the real one there is nothing left to find.
CREATE TEMP TABLE spoilt AS SELECT * FROM ducto.accounts WHERE id = :ann;
SELECT count(*) AS steps, bool_and(mended) AS mended FROM ducto_repair(:ann);
SELECT count(*) AS differ FROM (SELECT * FROM spoilt EXCEPT SELECT * FROM ducto.accounts) d;
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name,
	regexp_replace(was, '\d{4}-\d\d-\d\d.*', 'a time') AS was, regexp_replace(becomes, '\d{4}-\d\d-\d\d.*', 'a time') AS becomes, mended
FROM ducto_repair(:ann, dry_run => false) ORDER BY check_name COLLATE "C", was;
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name, regexp_replace(was, '\d{4}-\d\d-\d\d', 'a day') AS was,
	regexp_replace(becomes, '\d{4}-\d\d-\d\d', 'a day') AS becomes, mended FROM ducto_repair(:'team', false) ORDER BY 1;
SELECT * FROM ducto_verify();
SELECT balance, reserved FROM ducto_get_balance(:ann);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:ann, :'r', 20);
SELECT * FROM ducto_verify(:ann);

-- A member who is gone is there again as one who left, so that holds can end and debits be refunded.
BEGIN;
ALTER TABLE ducto.team_members DISABLE TRIGGER team_members_kept;
DELETE FROM ducto.team_members WHERE team_id = :'team';
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name, was, becomes, mended FROM ducto_repair(:'team', false) ORDER BY 1, 2;
SELECT role, spend_cap, spent, held, left_at IS NOT NULL AS has_left FROM ducto.team_members WHERE team_id = :'team';
SELECT * FROM ducto_verify();
ROLLBACK;

-- An account whose row is gone is made anew from its ledger; what of it only the row knew is lost.
SELECT new_balance FROM ducto_add_credits(:cat, 30, 'purchase');
SELECT amount FROM ducto_charge(:cat, 10);
ALTER TABLE ducto.accounts DISABLE TRIGGER accounts_kept;
DELETE FROM ducto.accounts WHERE id = :cat;
ALTER TABLE ducto.accounts ENABLE ALWAYS TRIGGER accounts_kept;
SELECT check_name, was, becomes, mended FROM ducto_repair(:cat, false) ORDER BY check_name COLLATE "C";
SELECT balance, lifetime_purchased FROM ducto_get_balance(:cat);
SELECT * FROM ducto_verify();

-- The numbers of events go on after those that there are, also where the row is made anew: an event with one of these would be refused, and
-- with it what it tells of. A number that the event itself does not have is left to a person.
SELECT number, kind FROM ducto.events WHERE account_id = :ann ORDER BY number;
BEGIN;
UPDATE ducto.accounts SET last_event = 0 WHERE id = :ann;
SELECT check_name, was, becomes, mended FROM ducto_repair(:ann, false);
SELECT last_event FROM ducto.accounts WHERE id = :ann;
ROLLBACK;
BEGIN;
ALTER TABLE ducto.accounts DISABLE TRIGGER accounts_kept;
DELETE FROM ducto.accounts WHERE id = :ann;
ALTER TABLE ducto.accounts ENABLE ALWAYS TRIGGER accounts_kept;
SELECT bool_or(check_name = 'number of event 1' AND mended) AS mended FROM ducto_repair(:ann, false);
SELECT plan_id, error FROM ducto_set_user_plan(:ann, 'repair_plan');
SELECT number, kind FROM ducto.events WHERE account_id = :ann ORDER BY number;
ROLLBACK;
BEGIN;
UPDATE ducto.events SET number = 9 WHERE account_id = :ann AND number = 1;
SELECT check_name, was, becomes, mended FROM ducto_repair(:ann, false) ORDER BY check_name COLLATE "C";
ROLLBACK;

-- What is wrong in an entry stays: it is never touched, and a person has to look at it.
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET amount = 40 WHERE account_id = :cat AND seq = 1;
ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
SELECT check_name, was, becomes, mended FROM ducto_repair(:cat, false) ORDER BY mended DESC, check_name COLLATE "C";
SELECT amount, balance_after FROM ducto.ledger WHERE account_id = :cat ORDER BY seq;
ROLLBACK;

SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
