-- Events: what a line crosses and the row that says so commit together. The clock is moved here, so that the story has a
-- database of its own.
\pset null -
\set SHOW_CONTEXT never
\set own regress_ducto_event
\i test/sql/include/own_database.sql
SET client_min_messages = warning;
\set ann '\'e7e00000-0000-4000-8000-00000000000a\''
\set bob '\'e7e00000-0000-4000-8000-00000000000b\''
\set cat '\'e7e00000-0000-4000-8000-00000000000c\''
\set dan '\'e7e00000-0000-4000-8000-00000000000d\''
\set eve '\'e7e00000-0000-4000-8000-00000000000e\''
CREATE VIEW told AS SELECT account_id, number, kind, payload - 'seq' - 'idempotency_key' - 'members' AS payload FROM ducto.events
	ORDER BY account_id, number;

-- A line is told when a balance falls below it, once: not at it, and not by each charge that follows.
SELECT * FROM ducto_set_alerts(:ann, balance => '{20, 100, 100}');
SELECT new_balance FROM ducto_add_credits(:ann, 150);
SELECT balance_after FROM ducto_charge(:ann, 50);
SELECT alert_below, told, last_event FROM ducto.accounts LEFT JOIN ducto.alerts ON account_id = id;
SELECT balance_after FROM ducto_charge(:ann, 0.0001);
SELECT balance_after FROM ducto_charge(:ann, 50);
SELECT alert_below, told, last_event FROM ducto.accounts LEFT JOIN ducto.alerts ON account_id = id;
SELECT number, kind, payload FROM told;

-- One charge may cross several; the balance is exhausted at 0.
SELECT balance_after FROM ducto_charge(:ann, 49.9999);
SELECT number, kind, payload FROM told WHERE number > 1;
SELECT balance_after FROM ducto_charge(:ann, 5, overrun => 'full');

-- Crossed back, a line is told of again; what raised the balance tells the highest line that it reached.
SELECT new_balance FROM ducto_add_credits(:ann, 55);
SELECT new_balance FROM ducto_add_credits(:ann, 60);
SELECT balance_after FROM ducto_charge(:ann, 20);
SELECT number, kind, payload FROM told WHERE number > 3;

-- What is only held is not spent: it crosses nothing, neither does what is rejected, is repeated or costs nothing.
SELECT alert_below FROM ducto.accounts;
SELECT new_balance FROM ducto_add_credits(:ann, 110);
SELECT count(*) FROM told;
SELECT reservation_id AS id, available FROM ducto_reserve(:ann, 150) \gset held_
SELECT balance_after, error FROM ducto_charge(:ann, 300);
SELECT reason FROM ducto_release(:ann, :'held_id');
SELECT transaction_id AS id, balance_after FROM ducto_charge(:ann, 150, 'once') \gset charged_
SELECT balance_after, idempotent FROM ducto_charge(:ann, 150, 'once');
SELECT balance_after FROM ducto_charge(:ann, 0);
SELECT number, kind, payload FROM told WHERE number > 6;

-- A refund raises a balance as well, and a late line waits for it.
SELECT new_balance FROM ducto_refund(:'charged_id', 140);
SELECT reservation_id AS id FROM ducto_reserve(:ann, 100, ttl_seconds => 60) \gset held_
SELECT balance_after FROM ducto_deduct(:ann, :'held_id', 90);
SELECT number, kind, payload FROM told WHERE number > 8;

-- Credit that expires crosses lines too, when it is booked.
SELECT new_balance FROM ducto_add_credits(:bob, 30);
SELECT new_balance FROM ducto_add_credits(:bob, 100, 'promo', expires_at => ducto.clock() + interval '1 day');
SELECT balance FROM ducto_set_alerts(:bob, ARRAY[50]);
SELECT ducto_advance_clock('2 days') > now() AS moved;
SELECT expired_count FROM ducto_sweep_expired();
SELECT kind, payload FROM told WHERE account_id = :bob;

-- Lines of overdraft: below 0 there may be lines as well, and a line at 0 tells of debt.
SELECT balance FROM ducto_set_alerts(:bob, '{0, -10}');
SELECT balance_after FROM ducto_charge(:bob, 30);
SELECT balance_after FROM ducto_charge(:bob, 5, overrun => 'full');
SELECT balance_after FROM ducto_charge(:bob, 10, overrun => 'full');
SELECT new_balance FROM ducto_add_credits(:bob, 8);
SELECT kind, payload FROM told WHERE account_id = :bob AND number > 1;

-- A line that is drawn above a balance is not crossed by that; one that is taken away is forgotten.
SELECT new_balance FROM ducto_add_credits(:cat, 50);
SELECT balance FROM ducto_set_alerts(:cat, '{100}');
SELECT balance_after FROM ducto_charge(:cat, 10);
SELECT new_balance FROM ducto_add_credits(:cat, 100);
SELECT count(*) FROM told WHERE account_id = :cat;
SELECT balance_after FROM ducto_charge(:cat, 90);
SELECT balance FROM ducto_set_alerts(:cat, '{}');
SELECT alert_below, told FROM ducto.accounts JOIN ducto.alerts ON account_id = id WHERE id = :cat;
SELECT new_balance FROM ducto_add_credits(:cat, 100);
SELECT kind, payload FROM told WHERE account_id = :cat;

-- Lines of the pricing are everybody's who has none; an account gets them with its next operation, and publishing touches none.
SELECT new_balance FROM ducto_add_credits(:dan, 150);
CREATE TEMPORARY TABLE before AS SELECT id, ctid AS place FROM ducto.accounts;
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0,
	"alerts": {"balance": [100], "allowancePercent": [50, 100]},
	"plans": {"pro": {"name": "Pro", "free_allowance": 10}, "team": {"name": "Team", "alerts": {"balance": [70], "allowance_percent": []}}}}');
SELECT count(*) AS touched FROM before b JOIN ducto.accounts a ON a.id = b.id AND a.ctid <> b.place;
SELECT alert_below FROM ducto.accounts WHERE id = :dan;
SELECT balance_after FROM ducto_charge(:dan, 10);
SELECT alert_below FROM ducto.accounts WHERE id = :dan;
SELECT balance_after FROM ducto_charge_usage(:dan, '{"model": "x", "input_tokens": 45}');
SELECT error FROM ducto_set_user_plan(:dan, 'team');
SELECT balance_after FROM ducto_charge(:dan, 30);
SELECT error FROM ducto_set_user_plan(:dan, 'team');
SELECT kind, payload FROM told WHERE account_id = :dan;

-- An allowance is told of at its percentages, once a month.
SELECT error FROM ducto_set_user_plan(:dan, 'pro');
SELECT allowance_consumed FROM ducto_charge(:dan, 4.9999);
SELECT allowance_consumed FROM ducto_charge(:dan, 0.0001);
SELECT allowance_consumed FROM ducto_charge(:dan, 9);
SELECT ducto_advance_clock('1 month') > now() AS moved;
SELECT allowance_consumed FROM ducto_charge(:dan, 20);
SELECT kind, payload FROM told WHERE account_id = :dan AND number > 3;

-- A top-up is due once, until credits were added with its key.
SELECT topup_below, topup_amount, topup_max_per_month FROM ducto_set_auto_topup(:eve, 20, 50, 2);
SELECT kind, payload FROM told WHERE account_id = :eve;
SELECT new_balance FROM ducto_add_credits(:eve, 10);
SELECT balance_after FROM ducto_charge(:eve, 5);
SELECT new_balance FROM ducto_add_credits(:eve, 100);
SELECT balance_after FROM ducto_charge(:eve, 90);
SELECT kind, payload FROM told WHERE account_id = :eve;
SELECT payload ->> 'idempotency_key' AS due FROM ducto.events WHERE account_id = :eve AND kind = 'topup_due' \gset
SELECT new_balance, idempotent FROM ducto_add_credits(:eve, 50, 'purchase', idempotency_key => :'due');
SELECT new_balance, idempotent FROM ducto_add_credits(:eve, 50, 'purchase', idempotency_key => :'due');
SELECT topup_due_key, topup_count FROM ducto.alerts WHERE account_id = :eve;
SELECT balance_after FROM ducto_charge(:eve, 60);
SELECT payload ->> 'idempotency_key' AS due FROM ducto.events WHERE account_id = :eve AND kind = 'topup_due' ORDER BY number DESC LIMIT 1 \gset
SELECT new_balance FROM ducto_add_credits(:eve, 1, 'purchase', idempotency_key => :'due');

-- The month has had two. The next one begins, and the next operation finds it due.
SELECT balance_after FROM ducto_charge(:eve, 1);
SELECT count(*) FROM told WHERE account_id = :eve AND kind = 'topup_due';
SELECT ducto_advance_clock('1 month') > now() AS moved;
SELECT balance_after FROM ducto_charge(:eve, 1);
SELECT kind, payload FROM told WHERE account_id = :eve AND number > 2;

-- Where the card was declined the application says anew what is to be, and it is due again; an amount of 0 ends it.
SELECT topup_below FROM ducto_set_auto_topup(:eve, 20, 50, 2);
SELECT topup_below FROM ducto_set_auto_topup(:eve, 20, 0);
SELECT kind, payload FROM told WHERE account_id = :eve ORDER BY number DESC LIMIT 1;
SELECT topup_due_key, topup_count FROM ducto.alerts WHERE account_id = :eve;

-- What is rolled back is not told, by savepoints either.
BEGIN;
SELECT balance FROM ducto_set_alerts(:eve, '{10}');
SAVEPOINT a;
SELECT new_balance FROM ducto_add_credits(:eve, 100);
SELECT balance_after FROM ducto_charge(:eve, 100);
ROLLBACK TO a;
SELECT new_balance FROM ducto_add_credits(:eve, 200);
SAVEPOINT b;
SELECT balance_after FROM ducto_charge(:eve, 200);
RELEASE b;
COMMIT;
BEGIN;
SELECT new_balance FROM ducto_add_credits(:eve, 500);
ROLLBACK;
SELECT number, kind, payload FROM told WHERE account_id = :eve ORDER BY number DESC LIMIT 2;

-- A team's events name the member by whom it happened, and the members.
SELECT team_id AS id FROM ducto_create_team('Team', 120) \gset team_
SELECT error FROM ducto_add_team_member(:'team_id', :ann);
SELECT error FROM ducto_add_team_member(:'team_id', :bob, 'owner');
SELECT team_balance_after FROM ducto_deduct_team(:'team_id', :ann, 10);
SELECT team_balance_after FROM ducto_deduct_team(:'team_id', :ann, 30);
SELECT user_id, team_id = account_id AS of_team, kind, payload FROM ducto.events WHERE account_id = :'team_id';

-- A reservation that expired, a plan that changed, a reversal that found too little.
SELECT transaction_id AS id FROM ducto_add_credits(:cat, 10, 'purchase') \gset bought_
SELECT error FROM ducto_reserve(:cat, 40, 'chat', model => 'large', ttl_seconds => 60, min_balance => 0);
SELECT ducto_advance_clock('1 hour') > now() AS moved;
SELECT balance_after FROM ducto_charge(:cat, 157);
SELECT amount, shortfall FROM ducto_reverse_credits(:'bought_id', 10);
SELECT error FROM ducto_set_user_plan(:cat, 'pro');
SELECT error FROM ducto_set_user_plan(:cat, NULL);
SELECT kind, payload - 'reservation_id' - 'expired_at' - 'transaction_id' - 'original_transaction_id' AS payload
FROM told WHERE account_id = :cat AND number > 1;

-- Credit that expires soon is told of by the sweep, each grant once, as early as is said for its account: at 5 days here, as the
-- account says, not at all, and at 3.
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "alerts": {"balance": [100], "expiring_days": 3},
	"plans": {"pro": {"name": "Pro", "free_allowance": 10}, "team": {"name": "Team", "alerts": {"balance": [70], "expiring_days": 0}}}}');
SELECT expiring_days FROM ducto_set_alerts(:ann, '{}', expiring_days => 5);
SELECT error FROM ducto_set_user_plan(:dan, 'team');
SELECT count(*) FROM (VALUES (:ann::uuid), (:dan), (:eve)) v (who), generate_series(1, 3) n,
	ducto_add_credits(who, n, 'promo', expires_at => ducto.clock() + n * interval '2 days');
CALL ducto_sweep();
SELECT account_id, kind, payload - 'grant_id' - 'expires_at' AS payload FROM told WHERE kind = 'grant_expiring';
SELECT balance_after FROM ducto_charge(:ann, 1);
SELECT new_balance FROM ducto_add_credits(:ann, 9, 'promo', expires_at => ducto.clock() + interval '1 day');
SELECT ducto_advance_clock('2 days -1 hour') > now() AS moved;
CALL ducto_sweep();
SELECT expired_count FROM ducto_sweep_expired();
SELECT account_id, kind, payload - 'grant_id' - 'expires_at' AS payload FROM told WHERE kind = 'grant_expiring';

-- A cap is told of at its percentages, by what is spent, once per window; that it rejected something is news once, and the one
-- thing that a rejected call writes. Where rejections are raised it goes with the rest.
SELECT cap_limit FROM ducto_set_spend_cap(:bob, 'daily', 50);
SELECT cap_percent FROM ducto_set_alerts(:bob, '{}', cap_percent => '{50, 100}');
SELECT new_balance FROM ducto_add_credits(:bob, 500);
SELECT balance_after, error FROM ducto_charge(:bob, 24.9999);
SELECT count(*) FROM told WHERE kind = 'cap_used';
SELECT balance_after, error FROM ducto_charge(:bob, 0.0001);
SELECT balance_after, error FROM ducto_charge(:bob, 5);
SET ducto.rejections = 'raise';
\set VERBOSITY terse
SELECT error FROM ducto_charge(:bob, 30);
\set VERBOSITY default
RESET ducto.rejections;
SELECT kind, payload FROM told WHERE kind = 'cap_used';
SELECT balance_after, error FROM ducto_charge(:bob, 30);
SELECT balance_after, error FROM ducto_charge(:bob, 30);
SELECT reservation_id, error FROM ducto_reserve(:bob, 30, min_balance => 0);
SELECT balance_after, error FROM ducto_charge(:bob, 20);
SELECT kind, payload FROM told WHERE kind = 'cap_used';
SELECT ducto_advance_clock('1 day') > now() AS moved;
SELECT balance_after, error FROM ducto_charge(:bob, 50);
SELECT kind, payload FROM told WHERE kind = 'cap_used' ORDER BY number OFFSET 2;
SELECT ducto_remove_spend_cap(:bob, 'daily');

-- Taken, events are leased: nobody else gets them until the lease is over. Acknowledged, they do not come again.
SELECT count(*), count(DISTINCT account_id), min(attempt), max(attempt) FROM ducto_take_events(10, 60);
SELECT count(*) FROM ducto_take_events(1000, 120, '{topup_due, cap_used}');
SELECT count(*) FROM ducto_take_events(1000);
SELECT count(*) FROM ducto_take_events();
SELECT ducto_advance_clock('1 minute') > now() AS moved;
SELECT bool_and(seq > before) AS in_order FROM (SELECT payload -> 'seq' AS seq, lag(payload -> 'seq') OVER (PARTITION BY account_id ORDER BY n) AS before
	FROM ducto_take_events(20) WITH ORDINALITY t (id, account_id, user_id, team_id, kind, payload, created_at, attempt, n)) e;
SELECT ducto_advance_clock('1 minute') > now() AS moved;
SELECT count(*) AS n, ducto_ack_events(array_agg(id)) AS acked FROM ducto_take_events(30) WHERE account_id <> :cat;
SELECT ducto_ack_events((SELECT array_agg(id) FROM ducto.events WHERE acked_at IS NOT NULL)) AS again;
SELECT ducto_advance_clock('2 minutes') > now() AS moved;
SELECT (SELECT count(*) FROM ducto.events WHERE acked_at IS NULL) = count(*) AS the_rest, min(attempt), max(attempt) FROM ducto_take_events(1000);

-- The sweep removes those that were acknowledged long enough ago, and no others.
CALL ducto_sweep();
SELECT count(*) FILTER (WHERE acked_at IS NOT NULL) AS acked, count(*) > 0 AS others FROM ducto.events;
SELECT ducto_advance_clock('7 days') > now() AS moved;
CALL ducto_sweep();
SELECT count(*) FILTER (WHERE acked_at IS NOT NULL) AS acked, count(*) > 0 AS others FROM ducto.events;
SELECT topup_below FROM ducto_set_auto_topup(:eve, 20, 50);
SELECT ducto_ack_events(array_agg(id)) AS acked FROM ducto.events WHERE account_id = :eve;
SET ducto.event_retention = '1s';
SELECT ducto_advance_clock('2 seconds') > now() AS moved;
CALL ducto_sweep();
SELECT count(*) FROM ducto.events WHERE account_id = :eve;

-- A number is not given twice, whatever was removed.
SELECT topup_below FROM ducto_set_auto_topup(:eve, 20, 50);
SELECT number > 5 AS goes_on FROM ducto.events WHERE account_id = :eve;

-- Support sees them all, the last first; a user sees what is the user's to see.
SELECT id AS id FROM ducto_list_events(:cat, max_rows => 2) ORDER BY id LIMIT 1 \gset second_
SELECT kind FROM ducto_list_events(:cat);
SELECT kind FROM ducto_list_events(:cat, '{plan_changed, balance_low}', 2);
SELECT kind FROM ducto_list_events(:cat, NULL, 2, :'second_id');
SELECT set_config('request.jwt.claims', '{"sub": "e7e00000-0000-4000-8000-00000000000c"}', false) <> '' AS who;
SELECT kind, account_id = user_id AS own FROM ducto_my_events();
SELECT set_config('request.jwt.claims', '', false) = '' AS who;
SELECT * FROM ducto_my_events();

-- What another database wrote, and a restore brought here, is not taken here, until somebody says that it is to be.
UPDATE ducto.events SET origin = 0 WHERE account_id = :cat;
SELECT ducto_advance_clock('1 hour') > now() AS moved;
SELECT count(*) FROM ducto_take_events(1000) WHERE account_id = :cat;
UPDATE ducto.events SET origin = ducto.event_origin() WHERE acked_at IS NULL;
SELECT count(*) > 0 AS taken FROM ducto_take_events(1000) WHERE account_id = :cat;

-- What was metered elsewhere uses the allowance as well.
\set kim '\'e7e00000-0000-4000-8000-0000000000b1\''
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "alerts": {"allowance_percent": [50]},
	"plans": {"pro": {"name": "Pro", "free_allowance": 10}}}');
SELECT error FROM ducto_set_user_plan(:kim, 'pro');
SELECT allowance_used FROM unnest('{4, 2}'::numeric[]) amount, ducto_increment_usage_window(:kim, 'pro', amount);
SELECT kind, payload FROM told WHERE account_id = :kim;

-- The percentages of what was metered elsewhere are those of the plan or of the account, too, where the pricing has none.
\set lou '\'e7e00000-0000-4000-8000-0000000000b2\''
\set mia '\'e7e00000-0000-4000-8000-0000000000b3\''
\set ned '\'e7e00000-0000-4000-8000-0000000000b4\''
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"},
	"plans": {"free": {"name": "Free", "free_allowance": 10}, "told": {"name": "Told", "free_allowance": 10, "alerts": {"allowance_percent": [50]}}}}');
SELECT user_id, plan_id FROM unnest(ARRAY[:lou, :mia, :ned]::uuid[], ARRAY['told', 'free', 'free']) AS u(id, plan), ducto_set_user_plan(u.id, plan);
SELECT allowance_percent FROM ducto_set_alerts(:mia, allowance_percent => '{40}');
SELECT allowance_used FROM unnest(ARRAY[:lou, :mia, :ned]::uuid[], ARRAY['told', 'free', 'free']) AS u(id, plan), ducto_increment_usage_window(u.id, plan, 6);
SELECT account_id, kind, payload FROM told WHERE account_id IN (:lou, :mia, :ned) AND kind = 'allowance_used' ORDER BY account_id, number;

-- In a batch, too, what it rejects and what it books are told under numbers that go on.
\set fay '\'e7e00000-0000-4000-8000-00000000000f\''
SELECT new_balance FROM ducto_add_credits(:fay, 100);
SELECT cap_limit FROM ducto_set_spend_cap(:fay, 'daily', 60);
SELECT cap_percent FROM ducto_set_alerts(:fay, '{80, 50}', cap_percent => '{100}');
SELECT error, balance_after FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('user_id', :fay, 'amount', 30), jsonb_build_object('user_id', :fay, 'amount', 50),
	jsonb_build_object('user_id', :fay, 'amount', 31), jsonb_build_object('user_id', :fay, 'amount', 30)));
SELECT number, e.kind, payload -> 'seq' AS seq, payload -> 'balance' AS balance, last_event FROM ducto.events e JOIN ducto.accounts a ON a.id = account_id
	WHERE account_id = :fay ORDER BY number;

-- Mistakes.
SELECT ducto_set_alerts(NULL);
SELECT ducto_set_alerts(:ann, '{NaN}');
SELECT ducto_set_alerts(:ann, '{1, NULL}');
SELECT ducto_set_alerts(:ann, array_fill(1, ARRAY[33])::numeric[]);
SELECT ducto_set_alerts(:ann, allowance_percent => '{0}');
SELECT ducto_set_alerts(:ann, cap_percent => '{101}');
SELECT ducto_set_alerts(:ann, expiring_days => 366);
SELECT (ducto_set_alerts(:ann)).*;
SELECT ducto_set_auto_topup(:ann, NULL, 1);
SELECT ducto_set_auto_topup(:ann, 1, NULL);
SELECT ducto_set_auto_topup(:ann, 1, -1);
SELECT ducto_set_auto_topup(:ann, 1, 1, 0);
SELECT ducto_take_events(0);
SELECT ducto_take_events(10001);
SELECT ducto_take_events(1, 0);
SELECT ducto_take_events(1, 86401);
SELECT ducto_take_events(kinds => '{balance}');
SELECT ducto_take_events(kinds => ARRAY[NULL]);
SELECT ducto_ack_events(NULL);
SELECT ducto_ack_events(ARRAY[NULL]::uuid[]);
SELECT ducto_ack_events('{}');
SELECT ducto_list_events(NULL);
SELECT ducto_list_events(:ann, before => :ann);
SELECT path, problem FROM ducto_validate_pricing('{"models": {"_default": "input_tokens"}, "plans": {"a": {"name": "A", "alerts": []}},
	"alerts": {"balance": [null, "x"], "cap_percent": [0, 2.5], "allowance_percent": 3, "expiring_days": -1, "other": 1}}');

SELECT * FROM found();
SELECT check_name FROM ducto_verify();
\c :main
SET client_min_messages = warning;
DROP DATABASE :own;
