-- team: one pool of credits, its members, their caps, and who spent what

\set ann '\'7ea00000-0000-4000-8000-0000000000a1\''
\set ben '\'7ea00000-0000-4000-8000-0000000000b2\''
\set cleo '\'7ea00000-0000-4000-8000-0000000000c3\''
\set dina '\'7ea00000-0000-4000-8000-0000000000d4\''
\set nobody '\'7ea00000-0000-4000-8000-0000000000ff\''

CREATE TEMP TABLE people (id uuid, name text);
INSERT INTO people VALUES (:ann, 'ann'), (:ben, 'ben'), (:cleo, 'cleo'), (:dina, 'dina');

-- who() is a person's name; members() are those of a team, in the order of the list; attempt() runs a statement and tells how it failed, ids of
-- teams being left out.
CREATE FUNCTION pg_temp.who(id uuid) RETURNS text LANGUAGE sql AS 'SELECT name FROM people p WHERE p.id = $1';
CREATE FUNCTION pg_temp.members(team uuid) RETURNS TABLE (member text, role text, spend_cap numeric, total_spent numeric) LANGUAGE sql
	AS 'SELECT pg_temp.who(user_id), role, spend_cap, total_spent FROM ducto_get_team_members($1)';
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID');
END $$;

-- A team is made with an empty pool, which is an account of its own, and without members.
SELECT team_id AS acme, name FROM ducto_create_team('Acme') \gset
SELECT :'name' AS name, team_id = :'acme' AS same, b.name, balance, reserved, available, member_count, error FROM ducto_get_team_balance(:'acme') b;
SELECT kind, balance, held, last_seq FROM ducto.accounts WHERE id = :'acme';
SELECT count(*) FROM ducto_get_team_members(:'acme');

-- A name is a label, not a key: two teams may bear the same.
SELECT team_id <> :'acme' AS another, name FROM ducto_create_team('Acme');

-- A name is 1 to 255 bytes, however few characters these are.
SELECT length(name) FROM ducto_create_team(repeat('x', 255));
SELECT * FROM ducto_create_team(NULL);
SELECT * FROM ducto_create_team('');
SELECT * FROM ducto_create_team(repeat('x', 256));
SELECT pg_temp.attempt($$SELECT ducto_create_team(repeat('é', 128))$$) LIKE '22023 %"name"%' AS "256 bytes";

-- What a team starts with is not outside the books: it is an adjustment, rounded once like every amount, and nobody's purchase.
SELECT team_id AS bolt FROM ducto_create_team('Bolt', 12.34565) \gset
SELECT balance, available FROM ducto_get_team_balance(:'bolt');
SELECT user_id, team_id = :'bolt' AS of_the_team, amount, type, operation_type, balance_after, metadata, total_count FROM ducto_list_transactions(:'bolt');
SELECT lifetime_purchased FROM ducto.accounts WHERE id = :'bolt';

-- Nothing to start with is nothing to book, and NULL is the default.
SELECT t.n, b.balance, (SELECT count(*) FROM ducto_list_transactions(t.team_id)) AS entries
FROM (SELECT 'zero' AS n, (ducto_create_team('Zero', 0)).team_id UNION ALL SELECT 'null', (ducto_create_team('Null', NULL)).team_id) t, LATERAL ducto_get_team_balance(t.team_id) b;

-- A team cannot start in debt, nor with what is no amount, and then there is no team.
SELECT * FROM ducto_create_team('Nix', -1);
SELECT * FROM ducto_create_team('Nix', 0.00001);
SELECT * FROM ducto_create_team('Nix', 'NaN');
SELECT * FROM ducto_create_team('Nix', 'Infinity');
SELECT * FROM ducto_create_team('Nix', 100000000000000);
SELECT count(*) FROM ducto.teams WHERE name = 'Nix';

-- Credit added to a pool is a purchase unless something else is said, and is nobody's own.
SELECT user_id, amount, new_balance, lifetime_purchased, expires_at, idempotent, error FROM ducto_add_team_credits(:'acme', 100.00005);
SELECT user_id, amount, new_balance, lifetime_purchased FROM ducto_add_team_credits(:'acme', 10, NULL, NULL, NULL, NULL, NULL);
SELECT t.type, r.new_balance, r.lifetime_purchased, r.error
FROM (VALUES (1, 'purchase'), (2, 'subscription'), (3, 'signup_bonus'), (4, 'adjustment'), (5, 'promo')) t (n, type), LATERAL ducto_add_team_credits(:'acme', n, t.type, '{"n": 1}') r ORDER BY n;
SELECT user_id, amount, type, balance_after, metadata FROM ducto_list_transactions(:'acme', max_rows => 2);
SELECT ducto_add_team_credits(:'acme', 1, 'usage');

-- Only an adjustment may take away, and only what is there; one of nothing books nothing.
SELECT amount, new_balance, lifetime_purchased, error FROM ducto_add_team_credits(:'acme', -25.0001, 'adjustment');
SELECT transaction_id, amount, new_balance, error FROM ducto_add_team_credits(:'acme', -100.0001, 'adjustment');
SELECT transaction_id, amount, new_balance, error FROM ducto_add_team_credits(:'acme', 0, 'adjustment');
SELECT ducto_add_team_credits(:'acme', 0);
SELECT ducto_add_team_credits(:'acme', -1);
SELECT ducto_add_team_credits(:'acme', NULL);
SELECT ducto_add_team_credits(NULL, 1);
SELECT ducto_add_team_credits(:'acme', 1, metadata => '[]');
SELECT ducto_add_team_credits(:'acme', 1, expires_at => '2001-01-01');
SELECT count(*) FROM ducto_list_transactions(:'acme');

-- There are no credits for a team that there is not; a user is no team.
SELECT * FROM ducto_add_team_credits(:nobody, 5);
SELECT new_balance FROM ducto_add_credits(:ann, 50, 'purchase');
SELECT transaction_id, new_balance, error FROM ducto_add_team_credits(:ann, 5);
SELECT balance FROM ducto_get_balance(:ann);
SELECT count(*) FROM ducto.accounts WHERE id = :nobody;

-- A key belongs to one pool: there a retry gets the original answer, whatever it asks for and whatever happened since; on another team it is another key.
SELECT transaction_id AS tx, new_balance, idempotent FROM ducto_add_team_credits(:'acme', 40, 'promo', expires_at => '2222-01-01', idempotency_key => 'june') \gset
SELECT amount, new_balance FROM ducto_add_team_credits(:'acme', -40, 'adjustment');
SELECT transaction_id = :'tx' AS same, user_id, amount, new_balance = :new_balance AS as_then, lifetime_purchased, expires_at = '2222-01-01' AS expires_as_then, idempotent, error FROM ducto_add_team_credits(:'acme', 7, idempotency_key => 'june');
SELECT transaction_id <> :'tx' AS another, amount, new_balance, idempotent FROM ducto_add_team_credits(:'bolt', 40, idempotency_key => 'june');
SELECT balance FROM ducto_get_team_balance(:'acme');

-- A pool's grants are listed and burned like a user's: priority, then expiry, then what never expires.
SELECT team_id AS gold FROM ducto_create_team('Gold', 10) \gset
SELECT role FROM ducto_add_team_member(:'gold', :ann);
SELECT new_balance FROM ducto_add_team_credits(:'gold', 10, 'promo', expires_at => '2222-01-03');
SELECT new_balance FROM ducto_add_team_credits(:'gold', 10, 'promo', expires_at => '2222-01-02');
SELECT new_balance FROM ducto_add_team_credits(:'gold', 10, 'subscription', expires_at => '2222-01-04', priority => 1);
SELECT type, amount, remaining, priority FROM ducto_list_grants(:'gold');
SELECT amount, team_balance_after FROM ducto_deduct_team(:'gold', :ann, 25);
SELECT type, amount, remaining, priority FROM ducto_list_grants(:'gold');
SELECT amount, team_balance_after FROM ducto_deduct_team(:'gold', :ann, 9);
SELECT type, remaining FROM ducto_list_grants(:'gold');
SELECT amount, burned_amounts FROM ducto.ledger WHERE account_id = :'gold' AND type = 'usage' ORDER BY seq;

-- A refund puts them back where they were, the last burned first.
SELECT id AS tx FROM ducto.ledger WHERE account_id = :'gold' AND amount = -25 \gset
SELECT amount, new_balance FROM ducto_refund(:'tx', 12);
SELECT type, remaining, priority FROM ducto_list_grants(:'gold');

-- The balance of a team that there is not is none; a user is no team.
SELECT * FROM ducto_get_team_balance(:nobody);
SELECT team_id = :ann AS echoed, name, balance, reserved, available, member_count, error FROM ducto_get_team_balance(:ann);
SELECT ducto_get_team_balance(NULL);

-- A member may join with a role, which is any text, and with a cap.
SELECT team_id AS crew FROM ducto_create_team('Crew', 100) \gset
SELECT team_id = :'crew' AS crew, pg_temp.who(user_id), role, spend_cap, error FROM ducto_add_team_member(:'crew', :ben);
SELECT role, spend_cap, error FROM ducto_add_team_member(:'crew', :ann, 'owner of all this', 50.00005);
SELECT role, spend_cap, error FROM ducto_add_team_member(:'crew', :cleo, NULL, 0);
SELECT * FROM pg_temp.members(:'crew');
SELECT member_count FROM ducto_get_team_balance(:'crew');
SELECT count(DISTINCT joined_at), bool_and(joined_at <= clock_timestamp()) AS in_the_past FROM ducto_get_team_members(:'crew');

-- Adding a member again changes the role and the cap when they are given; nobody is counted twice and nobody's place in the list changes.
SELECT role, spend_cap FROM ducto_add_team_member(:'crew', :ben, 'admin', 20);
SELECT role, spend_cap FROM ducto_add_team_member(:'crew', :ben, 'viewer');
SELECT role, spend_cap FROM ducto_add_team_member(:'crew', :ann, spend_cap => 60);
SELECT role, spend_cap FROM ducto_add_team_member(:'crew', :ben, 'viewer', 0);
SELECT * FROM pg_temp.members(:'crew');
SELECT member_count FROM ducto_get_team_balance(:'crew');

-- What is no role or no cap is refused and changes nothing.
SELECT ducto_add_team_member(:'crew', :ben, '');
SELECT pg_temp.attempt(format($$SELECT ducto_add_team_member(%L, %L, repeat('x', 256))$$, :'crew', :ben)) LIKE '22023 %"role"%' AS "256 bytes";
SELECT ducto_add_team_member(:'crew', :ben, 'viewer', -1);
SELECT ducto_add_team_member(:'crew', :ben, 'viewer', 'NaN');
SELECT ducto_add_team_member(NULL, :ben);
SELECT ducto_add_team_member(:'crew', NULL);
SELECT * FROM pg_temp.members(:'crew');

-- Nobody joins a team that there is not, and a user is no team.
SELECT * FROM ducto_add_team_member(:nobody, :ben, 'owner', 5);
SELECT role, spend_cap, error FROM ducto_add_team_member(:ann, :ben);
SELECT count(*) FROM ducto_get_team_members(:nobody);
SELECT count(*) FROM ducto_get_team_members(:ann);
SELECT ducto_get_team_members(NULL);

-- A member needs no account, and joining makes none.
SELECT count(*) FROM ducto.accounts WHERE id IN (:ben, :cleo);

-- Members are removed once; who was none is not removed.
SELECT ducto_remove_team_member(:'crew', :ben) AS ben, ducto_remove_team_member(:'crew', :ben) AS again, ducto_remove_team_member(:'crew', :dina) AS dina,
	ducto_remove_team_member(:nobody, :ben) AS no_team, ducto_remove_team_member(:ann, :ben) AS a_user;
SELECT ducto_remove_team_member(NULL, :ben);
SELECT ducto_remove_team_member(:'crew', NULL);
SELECT * FROM pg_temp.members(:'crew');
SELECT member_count FROM ducto_get_team_balance(:'crew');

-- Who joins again is a new member at the end of the list, but this month's total_spent stays: leaving must not be a way around the cap.
SELECT role, spend_cap FROM ducto_add_team_member(:'crew', :ben, 'member', 20);
SELECT amount, team_balance_after FROM ducto_deduct_team(:'crew', :ben, 15);
SELECT ducto_remove_team_member(:'crew', :ben);
SELECT * FROM pg_temp.members(:'crew');
SELECT role, spend_cap FROM ducto_add_team_member(:'crew', :ben, 'back', 20);
SELECT * FROM pg_temp.members(:'crew');
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'crew', :ben, 5.0001);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'crew', :ben, 5);

-- A user may be in many teams; each counts for itself.
SELECT role FROM ducto_add_team_member(:'bolt', :ben, spend_cap => 30);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'bolt', :ben, 30);
SELECT 'bolt' AS team, * FROM pg_temp.members(:'bolt') UNION ALL SELECT 'crew', * FROM pg_temp.members(:'crew') WHERE member = 'ben';

-- ducto_deduct_team charges the pool and names the member, with what the caller wants to be kept; metadata changes nothing in that.
SELECT team_id AS dev FROM ducto_create_team('Dev', 100) \gset
SELECT role FROM ducto_add_team_member(:'dev', :ann);
SELECT role FROM ducto_add_team_member(:'dev', :ben, spend_cap => 30);
SELECT transaction_id IS NOT NULL AS booked, team_id = :'dev' AS dev, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'dev', :ann, 1.00005, '{"job": 7}', 'job 7', 'gpt');
SELECT amount, team_balance_after FROM ducto_deduct_team(:'dev', :ann, 1, NULL);
SELECT amount, team_balance_after FROM ducto_deduct_team(:'dev', :ben, 1, '{}');
SELECT amount, team_balance_after FROM ducto_deduct_team(:'dev', :ben, 1, '{"user_id": "x", "model": "y", "idempotency_key": "z", "team_id": 1}', NULL, NULL);
SELECT pg_temp.who(user_id), team_id = :'dev' AS dev, amount, type, operation_type, model, reference_id, balance_after, allowance_consumed, idempotency_key, metadata FROM ducto_list_transactions(:'dev', '{usage}');
SELECT * FROM pg_temp.members(:'dev');

-- Its amount is positive, and its arguments are those that it says.
SELECT ducto_deduct_team(:'dev', :ann, 0);
SELECT ducto_deduct_team(:'dev', :ann, -1);
SELECT ducto_deduct_team(:'dev', :ann, 0.00004);
SELECT ducto_deduct_team(:'dev', :ann, 'NaN');
SELECT ducto_deduct_team(:'dev', :ann, NULL);
SELECT ducto_deduct_team(NULL, :ann, 1);
SELECT ducto_deduct_team(:'dev', NULL, 1);
SELECT ducto_deduct_team(:'dev', :ann, 1, '[]');
SELECT ducto_deduct_team(:'dev', :ann, 1, '"x"');
SELECT ducto_deduct_team(:'dev', :ann, 1, '{}', '');
SELECT ducto_deduct_team(:'dev', :ann, 1, '{}', NULL, '');
SELECT balance FROM ducto_get_team_balance(:'dev');

-- It takes what is available, to the last of it and no further.
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 96);
SELECT transaction_id, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'dev', :ann, 95.99995);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 95.9999);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 0.0001);

-- What members hold is not available to others, nor to themselves.
SELECT new_balance FROM ducto_add_team_credits(:'dev', 50);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 20, min_balance => 0, team_id => :'dev') \gset
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 30.0001);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 30);
SELECT new_balance, error FROM ducto_add_team_credits(:'dev', -1, 'adjustment');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'dev');
SELECT released FROM ducto_release(:ann, :'r');

-- There must be a team, and the user must be in it; else nothing happens. The team is asked for first.
SELECT * FROM ducto_deduct_team(:nobody, :ann, 5);
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:ann, :ann, 5);
SELECT transaction_id, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'dev', :cleo, 5);
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:'dev', :cleo, 5000);
SELECT balance FROM ducto_get_team_balance(:'dev');

-- A cap lets through what reaches it exactly. Where the cap and the funds are both exceeded, the cap is named.
SELECT * FROM pg_temp.members(:'dev') WHERE member = 'ben';
SELECT new_balance FROM ducto_add_team_credits(:'dev', 30);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ben, 28.0001);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ben, 5000);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 5000);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ben, 28);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ben, 0.0001);
SELECT * FROM pg_temp.members(:'dev');

-- A cap can be moved under what was spent: then nothing goes until it is raised again. A cap of 0 lets nothing through.
SELECT spend_cap FROM ducto_add_team_member(:'dev', :ben, spend_cap => 10);
SELECT error FROM ducto_deduct_team(:'dev', :ben, 0.0001);
SELECT spend_cap FROM ducto_add_team_member(:'dev', :ben, spend_cap => 31);
SELECT amount, error FROM ducto_deduct_team(:'dev', :ben, 1);
SELECT spend_cap FROM ducto_add_team_member(:'dev', :cleo, spend_cap => 0);
SELECT error FROM ducto_deduct_team(:'dev', :cleo, 0.0001);

-- A retry gets the original figures, whatever happened since: credits, more charges, a cap that is used up, the member's leaving.
SELECT team_id AS echo FROM ducto_create_team('Echo', 100) \gset
SELECT role FROM ducto_add_team_member(:'echo', :ann, spend_cap => 10);
SELECT role FROM ducto_add_team_member(:'echo', :ben);
SELECT transaction_id AS tx, amount, team_balance_after FROM ducto_deduct_team(:'echo', :ann, 10, '{}', 'k') \gset
SELECT new_balance FROM ducto_add_team_credits(:'echo', 60);
SELECT team_balance_after FROM ducto_deduct_team(:'echo', :ben, 149, '{}', 'most');
SELECT transaction_id = :'tx' AS same, team_id = :'echo' AS echo, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 10, '{}', 'k');
SELECT transaction_id = :'tx' AS same, amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 5555, '{"other": true}', 'k', 'other');
SELECT ducto_remove_team_member(:'echo', :ann);
SELECT transaction_id = :'tx' AS same, amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 10, '{}', 'k');
SELECT transaction_id, amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 0.5, '{}', 'k2');
SELECT role FROM ducto_add_team_member(:'echo', :ann);
SELECT amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 0.5, '{}', 'k2');

-- One key is one thing: not another member's charge, not a credit, not a refund, and a credit's or a refund's is no charge's.
SELECT transaction_id, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ben, 0.1, '{}', 'k');
SELECT transaction_id, amount, new_balance, idempotent, error FROM ducto_add_team_credits(:'echo', 1, idempotency_key => 'k');
SELECT refund_transaction_id, new_balance, error FROM ducto_refund(:'tx', 1, idempotency_key => 'k');
SELECT new_balance FROM ducto_add_team_credits(:'echo', 1, idempotency_key => 'credit');
SELECT error FROM ducto_deduct_team(:'echo', :ben, 0.1, '{}', 'credit');
SELECT amount, error FROM ducto_refund(:'tx', 1, idempotency_key => 'refund');
SELECT error FROM ducto_deduct_team(:'echo', :ann, 0.1, '{}', 'refund');
SELECT balance FROM ducto_get_team_balance(:'echo');

-- The same key on two teams, and of the member's own account, are three keys.
SELECT team_id AS foxy FROM ducto_create_team('Foxy', 100) \gset
SELECT role FROM ducto_add_team_member(:'foxy', :ann);
SELECT amount, team_balance_after, idempotent FROM ducto_deduct_team(:'foxy', :ann, 10, '{}', 'k');
SELECT amount, balance_after, idempotent FROM ducto_charge(:ann, 10, 'k');
SELECT transaction_id = :'tx' AS same, amount, team_balance_after, idempotent FROM ducto_deduct_team(:'echo', :ann, 10, '{}', 'k');

-- Only a success is remembered: a key that was rejected with may be used again.
SELECT error FROM ducto_deduct_team(:'foxy', :ben, 10, '{}', 'again');
SELECT role FROM ducto_add_team_member(:'foxy', :ben, spend_cap => 20);
SELECT error FROM ducto_deduct_team(:'foxy', :ben, 21, '{}', 'again');
SELECT error FROM ducto_deduct_team(:'foxy', :ann, 91, '{}', 'again');
SELECT amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'foxy', :ben, 20, '{}', 'again');

-- A rejection can be an exception, with its own SQLSTATE.
SET ducto.rejections = 'raise';
SELECT pg_temp.attempt(format('SELECT ducto_deduct_team(%L, %L, 1)', :nobody, :ann)) AS team,
	pg_temp.attempt(format('SELECT ducto_deduct_team(%L, %L, 1)', :'foxy', :cleo)) AS member,
	pg_temp.attempt(format('SELECT ducto_deduct_team(%L, %L, 1)', :'foxy', :ben)) AS cap,
	pg_temp.attempt(format('SELECT ducto_deduct_team(%L, %L, 1000)', :'foxy', :ann)) AS funds,
	pg_temp.attempt(format('SELECT ducto_get_team_balance(%L)', :nobody)) AS read;
RESET ducto.rejections;

-- A reservation on the pool is made by the member for the team. What the answer tells is the pool's, and so is the floor.
SELECT team_id AS gate FROM ducto_create_team('Gate', 100) \gset
SELECT role, spend_cap FROM ducto_add_team_member(:'gate', :ann, spend_cap => 60);
SELECT role FROM ducto_add_team_member(:'gate', :ben);
CREATE TEMP TABLE gate AS SELECT * FROM ducto_reserve(:ann, 40, 'chat', '{"a": 1}', 0, model => 'gpt', idempotency_key => 'gate', team_id => :'gate');
SELECT reservation_id IS NOT NULL AS held, pg_temp.who(user_id), amount, balance, reserved, available, billing_mode, expires_at > clock_timestamp() AS expires, idempotent, error FROM gate;
SELECT reservation_id AS r FROM gate \gset
SELECT balance, reserved, available FROM ducto_get_team_balance(:'gate');
SELECT balance, reserved FROM ducto_get_balance(:ann);
SELECT account_id = :'gate' AS in_the_pool, pg_temp.who(actor), amount, remaining, operation_type, model, state, metadata FROM ducto.reservations WHERE id = :'r';

-- Its key is the pool's; of another member it is a conflict; the keys of debits are another set.
SELECT reservation_id = :'r' AS same, amount, balance, reserved, available, idempotent, error FROM ducto_reserve(:ann, 1, idempotency_key => 'gate', team_id => :'gate');
SELECT reservation_id, amount, balance, reserved, available, idempotent, error FROM ducto_reserve(:ben, 40, idempotency_key => 'gate', team_id => :'gate');
SELECT reservation_id IS NOT NULL AS own, amount, balance, reserved, idempotent, error FROM ducto_reserve(:ann, 4, min_balance => 0, idempotency_key => 'gate');
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'gate', :ben, 10, '{}', 'gate');

-- The cap counts what is spent and what is held: together they reach it, and not more.
SELECT reservation_id, amount, balance, reserved, available, error FROM ducto_reserve(:ann, 20.0001, min_balance => 0, team_id => :'gate');
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:'gate', :ann, 20.0001);
SELECT reservation_id AS r2, amount, reserved FROM ducto_reserve(:ann, 15, min_balance => 0, team_id => :'gate') \gset
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'gate', :ann, 5);
SELECT error FROM ducto_deduct_team(:'gate', :ann, 0.0001);
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'gate');
SELECT * FROM pg_temp.members(:'gate');

-- Another's cap is not concerned, only the pool is; where both the cap and the funds are exceeded, the cap is named.
SELECT error FROM ducto_reserve(:ben, 30.0001, min_balance => 0, team_id => :'gate');
SELECT error FROM ducto_reserve(:ann, 31, min_balance => 0, team_id => :'gate');
SELECT reservation_id AS r3, amount, balance, reserved, available, error FROM ducto_reserve(:ben, 30, min_balance => 0, team_id => :'gate') \gset
SELECT released, reason FROM ducto_release(:ben, :'r3');

-- The floor is the active pricing's, or 5 without one, or what the caller says; an overdraft of the pool is the caller's to ask for.
SELECT error FROM ducto_reserve(:ben, 25.0001, team_id => :'gate');
SELECT amount, available, billing_mode, error FROM ducto_reserve(:ben, 25, team_id => :'gate');
SELECT reservation_id AS r4, amount, balance, reserved, available, billing_mode, error FROM ducto_reserve(:ben, 10, billing_mode => 'overdraft', overdraft_floor => -5, team_id => :'gate') \gset
SELECT :available AS available, :'billing_mode' AS billing_mode;
SELECT error FROM ducto_reserve(:ben, 0.0001, billing_mode => 'overdraft', overdraft_floor => -5, team_id => :'gate');
SELECT ducto_reserve(:ben, 1, billing_mode => 'overdraft', team_id => :'gate');
SELECT released FROM ducto_release(:ben, :'r4');
SELECT count(*) FROM ducto.reservations r, LATERAL ducto_release(:ben, r.id) WHERE r.account_id = :'gate' AND actor = :ben AND state = 'open' AND released;

-- Only the member who made it can end it: to the others there is no such reservation.
SELECT transaction_id, amount, error FROM ducto_deduct(:ben, :'r', 1);
SELECT released, reason FROM ducto_release(:ben, :'r');
SELECT error FROM ducto_renew(:ben, :'r');
SELECT transaction_id, amount, error FROM ducto_deduct(:nobody, :'r', 1);
SELECT balance, reserved FROM ducto_get_team_balance(:'gate');

-- A deduct takes what it cost and frees the rest, for the pool and for the cap. The answer's figures are the pool's, and the entry is the member's.
SELECT pg_temp.who(user_id), amount, balance_after, allowance_consumed, shortfall, idempotent, cap_warning, error FROM ducto_deduct(:ann, :'r', 10, 'settle', '{"b": 2}');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'gate');
SELECT * FROM pg_temp.members(:'gate');
SELECT pg_temp.who(user_id), team_id = :'gate' AS gate, amount, type, operation_type, model, reference_id = :'r' AS settles_it, balance_after, idempotency_key, metadata FROM ducto_list_transactions(:'gate', max_rows => 1);
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r', 7, 'settle');
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 7, 'settle 2');
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r2', 7, 'settle');
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'gate', :ann, 7, '{}', 'settle');
SELECT amount, balance, reserved, available, error FROM ducto_reserve(:ann, 30, min_balance => 0, team_id => :'gate', idempotency_key => 'room');
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'gate');

-- Released, a hold gives its room back; renewed, it keeps it.
SELECT reservation_id = :'r2' AS same, amount, balance, reserved, available, error FROM ducto_renew(:ann, :'r2', 3600);
SELECT released, reason FROM ducto_release(:ann, :'r2');
SELECT released, reason FROM ducto_release(:ann, :'r2');
SELECT released, reason FROM ducto_release(:ann, :'r');
SELECT amount, balance, reserved, available, error FROM ducto_renew(:ann, :'r2');
SELECT reservation_id AS r2, reserved, error FROM ducto_reserve(:ann, 15, min_balance => 0, team_id => :'gate') \gset
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'gate');

-- A deduct of 0 closes without a charge; its key is remembered.
SELECT transaction_id, amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r2', 0, 'nothing');
SELECT transaction_id, amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r2', 5, 'nothing');
SELECT transaction_id, amount, error FROM ducto_deduct_team(:'gate', :ann, 5, '{}', 'nothing');
SELECT reserved FROM ducto_get_team_balance(:'gate');

-- Streaming: parts are taken from the hold, and spent and held together stay what was admitted.
SELECT reservation_id AS r2, reserved, error FROM ducto_reserve(:ann, 15, min_balance => 0, team_id => :'gate') \gset
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:ann, :'r2', 4, final => false);
SELECT balance, reserved FROM ducto_get_team_balance(:'gate');
SELECT total_spent, (SELECT held FROM ducto.team_members WHERE team_id = :'gate' AND user_id = :ann) AS held FROM ducto_get_team_members(:'gate') WHERE user_id = :ann;
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'gate');
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:ann, :'r2', 11, final => false);
SELECT state, remaining FROM ducto.reservations WHERE id = :'r2';
SELECT released FROM ducto_release(:ann, :'r2');
SELECT total_spent, (SELECT held FROM ducto.team_members WHERE team_id = :'gate' AND user_id = :ann) AS held FROM ducto_get_team_members(:'gate') WHERE user_id = :ann;
SELECT * FROM ducto_verify(:'gate');

-- The work is done: no cap blocks what it cost, also beyond the hold, and the answer warns. What the pool lacks is for overrun to decide.
SELECT team_id AS hall FROM ducto_create_team('Hall', 100) \gset
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 10);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 8, min_balance => 0, team_id => :'hall') \gset
SELECT amount, balance_after, shortfall, cap_warning, error FROM ducto_deduct(:ann, :'r', 15, 'over');
SELECT amount, balance_after, cap_warning, idempotent FROM ducto_deduct(:ann, :'r', 15, 'over');
SELECT * FROM pg_temp.members(:'hall');
SELECT error FROM ducto_reserve(:ann, 1, min_balance => 0, team_id => :'hall');
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 25);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 20, team_id => :'hall') \gset
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 65.0001);
SELECT reserved FROM ducto_get_team_balance(:'hall');
SELECT amount, balance_after, shortfall, cap_warning, error FROM ducto_deduct(:ann, :'r', 70, overrun => 'clamp');
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 90);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'hall') \gset
SELECT amount, balance_after, shortfall, cap_warning, error FROM ducto_deduct(:ann, :'r', 30, overrun => 'full');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'hall');
SELECT * FROM pg_temp.members(:'hall');
SELECT error FROM ducto_deduct_team(:'hall', :ann, 0.0001);
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 1000);
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:'hall', :ann, 0.0001);

-- Within the cap there is no warning; lowered under what a hold was admitted with, it warns and does not block.
SELECT new_balance FROM ducto_add_team_credits(:'hall', 110);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'hall') \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'hall') \gset
SELECT amount, cap_warning, error FROM ducto_deduct(:ann, :'r', 10);
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 0);
SELECT amount, cap_warning, error FROM ducto_deduct(:ann, :'r2', 10);

-- max_concurrent counts the pool's open reservations of that operation type, whoever made them; it comes before the cap.
SELECT team_id AS iris FROM ducto_create_team('Iris', 100) \gset
SELECT role FROM ducto_add_team_member(:'iris', :ann, spend_cap => 10);
SELECT role FROM ducto_add_team_member(:'iris', :ben);
SELECT reservation_id AS r, error FROM ducto_reserve(:ben, 1, 'agent', max_concurrent => 1, team_id => :'iris') \gset
SELECT reservation_id, reserved, error FROM ducto_reserve(:ann, 11, 'agent', max_concurrent => 1, team_id => :'iris');
SELECT reserved, error FROM ducto_reserve(:ann, 1, 'chat', max_concurrent => 1, team_id => :'iris');
SELECT reserved, error FROM ducto_reserve(:ann, 1, 'agent', max_concurrent => 2, team_id => :'iris');
SELECT released FROM ducto_release(:ben, :'r');
SELECT reserved, error FROM ducto_reserve(:ben, 1, 'agent', max_concurrent => 2, team_id => :'iris');

-- There must be a team and a member to reserve, too.
SELECT reservation_id, pg_temp.who(user_id), amount, balance, reserved, available, expires_at, idempotent, error FROM ducto_reserve(:ann, 1, team_id => :nobody);
SELECT reservation_id, error FROM ducto_reserve(:ann, 1, team_id => :ann);
SELECT reservation_id, pg_temp.who(user_id), amount, balance, reserved, available, expires_at, idempotent, error FROM ducto_reserve(:cleo, 1, team_id => :'iris');
SELECT reservation_id, error FROM ducto_reserve(:cleo, 1000, 'agent', max_concurrent => 1, team_id => :'iris');

-- A feature is a plan's, and a team has none.
SELECT ducto_reserve(:ann, 1, required_feature => 'chat', team_id => :'iris');

-- Who leaves with an open hold may still settle it: the work goes on. Nothing new is admitted, and the entries stay.
SELECT team_id AS jazz FROM ducto_create_team('Jazz', 100) \gset
SELECT role FROM ducto_add_team_member(:'jazz', :ann, spend_cap => 40);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'jazz') \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'jazz', idempotency_key => 'r2') \gset
SELECT reservation_id AS r3 FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'jazz') \gset
SELECT transaction_id AS tx FROM ducto_deduct_team(:'jazz', :ann, 6) \gset
SELECT ducto_remove_team_member(:'jazz', :ann);
SELECT balance, reserved, available, member_count FROM ducto_get_team_balance(:'jazz');
SELECT error FROM ducto_deduct_team(:'jazz', :ann, 1);
SELECT error FROM ducto_reserve(:ann, 1, min_balance => 0, team_id => :'jazz');
SELECT reservation_id = :'r2' AS same, idempotent, error FROM ducto_reserve(:ann, 10, team_id => :'jazz', idempotency_key => 'r2');
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:ann, :'r', 8);
SELECT amount, reserved, error FROM ducto_renew(:ann, :'r2');
SELECT amount, balance_after, error FROM ducto_deduct(:ann, :'r2', 12, final => false);
SELECT released, reason FROM ducto_release(:ann, :'r3');
SELECT amount, new_balance FROM ducto_refund(:'tx');
SELECT pg_temp.who(user_id), amount, type, balance_after FROM ducto_list_transactions(:'jazz');
SELECT * FROM pg_temp.members(:'jazz');
SELECT * FROM ducto_verify(:'jazz');

-- Back again, what was spent and is held meanwhile counts.
SELECT role FROM ducto_add_team_member(:'jazz', :ann, spend_cap => 40);
SELECT * FROM pg_temp.members(:'jazz');
SELECT error FROM ducto_deduct_team(:'jazz', :ann, 20.0001);
SELECT amount, error FROM ducto_deduct_team(:'jazz', :ann, 20);

-- A refund goes to where the credits came from: the pool. The answer names both the member and the team.
SELECT team_id AS kite FROM ducto_create_team('Kite', 100) \gset
SELECT role FROM ducto_add_team_member(:'kite', :ann, spend_cap => 30);
SELECT transaction_id AS tx FROM ducto_deduct_team(:'kite', :ann, 30, '{}', 'k', 'gpt') \gset
SELECT refund_transaction_id IS NOT NULL AS booked, original_transaction_id = :'tx' AS original, pg_temp.who(user_id), team_id = :'kite' AS kite, amount, new_balance, allowance_restored, idempotent, error
FROM ducto_refund(:'tx', 10, 'a bad answer', idempotency_key => 'back');
SELECT pg_temp.who(user_id), team_id = :'kite' AS kite, amount, new_balance, idempotent, error FROM ducto_refund(:'tx', 20, idempotency_key => 'back');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'kite');
SELECT pg_temp.who(user_id), amount, type, model, reference_id = :'tx' AS of_it, balance_after, metadata FROM ducto_list_transactions(:'kite', '{refund}');
SELECT balance FROM ducto_get_balance(:ann);

-- It gives the member room back under the cap, and no more than was taken.
SELECT * FROM pg_temp.members(:'kite');
SELECT error FROM ducto_deduct_team(:'kite', :ann, 10.0001);
SELECT amount, error FROM ducto_deduct_team(:'kite', :ann, 10);
SELECT refund_transaction_id, pg_temp.who(user_id), team_id = :'kite' AS kite, amount, new_balance, error FROM ducto_refund(:'tx', 20.0001);
SELECT amount, new_balance, error FROM ducto_refund(:'tx');
SELECT refund_transaction_id, pg_temp.who(user_id), team_id = :'kite' AS kite, new_balance, error FROM ducto_refund(:'tx');
SELECT * FROM pg_temp.members(:'kite');

-- What was added to a pool is not a debit of anybody.
SELECT id AS added FROM ducto.ledger WHERE account_id = :'kite' AND seq = 1 \gset
SELECT refund_transaction_id, user_id, team_id = :'kite' AS kite, error FROM ducto_refund(:'added');

-- A deduct of a team's reservation is refunded the same way.
SELECT reservation_id AS r FROM ducto_reserve(:ann, 15, min_balance => 0, team_id => :'kite') \gset
SELECT transaction_id AS tx, balance_after FROM ducto_deduct(:ann, :'r', 15) \gset
SELECT pg_temp.who(user_id), team_id = :'kite' AS kite, amount, new_balance, error FROM ducto_refund(:'tx');
SELECT * FROM pg_temp.members(:'kite');
SELECT * FROM ducto_verify(:'kite');

-- Now what ends with time. An expired hold gives its room back to the cap and to the pool, with nobody having swept; expired credit is gone.
SELECT team_id AS late FROM ducto_create_team('Late', 30) \gset
SELECT role FROM ducto_add_team_member(:'late', :ann, spend_cap => 20);
SELECT role FROM ducto_add_team_member(:'late', :ben, spend_cap => 20);
SELECT role FROM ducto_add_team_member(:'late', :cleo, spend_cap => 8);
SELECT team_id AS mist FROM ducto_create_team('Mist', 10) \gset
SELECT role FROM ducto_add_team_member(:'mist', :ann);
SELECT new_balance FROM ducto_add_team_credits(:'mist', 40, 'promo', expires_at => clock_timestamp() + interval '1 s');
SELECT reservation_id AS r, reserved FROM ducto_reserve(:ann, 20, min_balance => 0, ttl_seconds => 1, team_id => :'late') \gset
SELECT reservation_id AS r2, reserved FROM ducto_reserve(:cleo, 8, min_balance => 0, ttl_seconds => 1, team_id => :'late') \gset
SELECT balance, reserved, available FROM ducto_get_team_balance(:'late');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'mist');
SELECT clock_timestamp() AS before \gset
SELECT pg_sleep(1.1) \g /dev/null
SELECT balance, reserved, available FROM ducto_get_team_balance(:'late');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'mist');
SELECT count(*) FROM ducto_list_grants(:'mist');
SELECT ducto_balance_at(:'mist', :'before') AS before, ducto_balance_at(:'mist', clock_timestamp()) AS now, (SELECT count(*) FROM ducto_list_transactions(:'mist')) AS entries;
SELECT state, remaining FROM ducto.reservations WHERE id = :'r';
SELECT reservation_id IS NOT NULL AS admitted, balance, reserved, error FROM ducto_reserve(:ann, 20, min_balance => 0, team_id => :'late', idempotency_key => 'new');
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'late');
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'late', :cleo, 8);
SELECT error FROM ducto_deduct_team(:'mist', :ann, 10.0001);

-- A late deduct charges as if nothing had been held, and no cap blocks it; renewing and releasing is over.
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 3);
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 2, allow_late => false);
SELECT error FROM ducto_renew(:ann, :'r');
SELECT released, reason FROM ducto_release(:ann, :'r');
SELECT amount, balance_after, shortfall, cap_warning, error FROM ducto_deduct(:ann, :'r', 3, 'late', overrun => 'clamp');
SELECT amount, balance_after, shortfall, cap_warning, idempotent FROM ducto_deduct(:ann, :'r', 3, 'late');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'late');
SELECT * FROM pg_temp.members(:'late');

-- Swept it is the same: both sweeps find pools as they find users.
SELECT (SELECT expired_count > 0 AND expired_amount >= 40 FROM ducto_sweep_expired()) AS swept, ducto_expire_reservations() >= 0 AS closed;
SELECT user_id, team_id = :'mist' AS mist, amount, type, balance_after FROM ducto_list_transactions(:'mist', max_rows => 1);
SELECT ducto_balance_at(:'mist', :'before') AS before, ducto_balance_at(:'mist', clock_timestamp()) AS now;
SELECT pg_temp.who(actor), state, remaining FROM ducto.reservations WHERE account_id = :'late' ORDER BY created_at;
SELECT * FROM ducto_verify(:'late');
SELECT * FROM ducto_verify(:'mist');

-- The ledger of a team is the team's: who acted is user_id, and it has pages like any other.
SELECT team_id AS nova FROM ducto_create_team('Nova', 100) \gset
SELECT role FROM ducto_add_team_member(:'nova', :dina);
SELECT role FROM ducto_add_team_member(:'nova', :cleo);
SELECT team_id AS opal FROM ducto_create_team('Opal', 100) \gset
SELECT role FROM ducto_add_team_member(:'opal', :dina);
SELECT new_balance FROM ducto_add_credits(:dina, 100);
SELECT clock_timestamp() AS t0 \gset
SELECT amount FROM ducto_charge(:dina, 1, model => 'own');
SELECT amount FROM ducto_deduct_team(:'nova', :dina, 2, model => 'nova');
SELECT transaction_id AS tx FROM ducto_deduct_team(:'nova', :cleo, 3) \gset
SELECT clock_timestamp() AS t1 \gset
SELECT amount FROM ducto_deduct_team(:'opal', :dina, 4);
SELECT reservation_id AS r FROM ducto_reserve(:dina, 5, min_balance => 0, team_id => :'nova') \gset
SELECT amount FROM ducto_deduct(:dina, :'r', 5);
SELECT amount FROM ducto_charge(:dina, 6);
SELECT clock_timestamp() AS t2 \gset
SELECT amount FROM ducto_refund(:'tx', 1);
SELECT pg_temp.who(user_id), team_id = :'nova' AS nova, amount, type, balance_after, total_count FROM ducto_list_transactions(:'nova');
SELECT pg_temp.who(user_id), amount, total_count FROM ducto_list_transactions(:'nova', max_rows => 2, skip_rows => 1);
SELECT pg_temp.who(user_id), amount, total_count FROM ducto_list_transactions(:'nova', before => :'tx');
SELECT pg_temp.who(user_id), amount, total_count FROM ducto_list_transactions(:'nova', '{usage}', max_rows => 1, skip_rows => 2);
SELECT pg_temp.who(user_id), amount, total_count FROM ducto_list_transactions(:'nova', from_time => :'t1', to_time => :'t2');
SELECT amount, type FROM ducto_list_transactions(:dina);
SELECT pg_temp.attempt(format('SELECT ducto_list_transactions(%L, before => %L)', :'opal', :'tx'));

-- What a user used is found in one list, personal and in teams, the newest first; what others did in the same teams is not in it.
SELECT pg_temp.who(user_id), CASE team_id WHEN :'nova' THEN 'nova' WHEN :'opal' THEN 'opal' END AS team, amount, type, model, balance_after, total_count FROM ducto_list_usage_events(:dina);
SELECT amount, total_count FROM ducto_list_usage_events(:dina, max_rows => 2, skip_rows => 1);
SELECT amount, total_count FROM ducto_list_usage_events(:dina, max_rows => 3, skip_rows => 4);
SELECT amount, total_count FROM ducto_list_usage_events(:dina, :'t1', :'t2');
SELECT amount, total_count FROM ducto_list_usage_events(:dina, to_time => :'t1');
SELECT amount, total_count FROM ducto_list_usage_events(:dina, from_time => :'t1', max_rows => 1);
SELECT count(*) FROM ducto_list_usage_events(:dina, :'t2');
SELECT amount, team_id = :'nova' AS nova FROM ducto_list_usage_events(:cleo, :'t0');

-- A pool has a past like any account.
SELECT ducto_balance_at(:'nova', :'t0') AS t0, ducto_balance_at(:'nova', :'t1') AS t1, ducto_balance_at(:'nova', :'t2') AS t2, ducto_balance_at(:'nova', clock_timestamp()) AS now;

-- A reader needs no lock and no right to write.
BEGIN READ ONLY;
SELECT balance, member_count FROM ducto_get_team_balance(:'nova');
SELECT member, total_spent FROM pg_temp.members(:'nova');
ROLLBACK;

-- The user's own plan, allowance and caps have no part in what is spent for a team, and the member's cap none in what is spent alone.
SELECT version IS NOT NULL AS published, error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens", "gpt": "input_tokens * 2"}, "fixed": {"report": 7}, "min_balance": 5,
	"plans": {"team-test": {"name": "Team test", "free_allowance": 1000, "default_billing_mode": "overdraft", "overdraft_floor": -500, "max_concurrent": 1, "features": {"chat": true},
	"rate_overrides": {"gpt": "input_tokens * 0.5"}}}}');
SELECT team_id AS pine FROM ducto_create_team('Pine', 100) \gset
SELECT role FROM ducto_add_team_member(:'pine', :dina, spend_cap => 80);
SELECT plan_id, error FROM ducto_set_user_plan(:dina, 'team-test');
SELECT cap_limit FROM ducto_set_spend_cap(:dina, 'daily', 11);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'pine', :dina, 20);
SELECT reservation_id AS r, amount, balance, reserved, available, billing_mode, error FROM ducto_reserve(:dina, 30, team_id => :'pine') \gset
SELECT :'billing_mode' AS billing_mode, :available AS available;
SELECT amount, billing_mode, available, error FROM ducto_reserve(:dina, 20, team_id => :'pine');
SELECT billing_mode, available, error FROM ducto_reserve(:dina, 26, team_id => :'pine');
SELECT amount, balance_after, allowance_consumed, cap_warning, error FROM ducto_deduct(:dina, :'r', 25);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:dina);
SELECT current_spend, cap_limit FROM ducto_list_spend_caps(:dina);
SELECT balance, reserved FROM ducto_get_balance(:dina);
SELECT amount, balance_after, allowance_consumed FROM ducto_charge(:dina, 200);
SELECT allowance_used FROM ducto_check_allowance(:dina);
SELECT * FROM pg_temp.members(:'pine');

-- A refund of what a team paid brings no allowance back.
SELECT id AS tx FROM ducto.ledger WHERE account_id = :'pine' AND amount = -25 \gset
SELECT amount, new_balance, allowance_restored FROM ducto_refund(:'tx');
SELECT allowance_used FROM ducto_check_allowance(:dina);

-- A team is no user: where a user is meant, its id is an error that says so, in every function that writes.
SELECT reservation_id AS r FROM ducto_reserve(:ann, 1, min_balance => 0, team_id => :'kite') \gset
SELECT f.call, pg_temp.attempt('SELECT ' || replace(replace(replace(replace(f.call, ':team', quote_literal(:'kite')), ':other', quote_literal(:'iris')), ':r', quote_literal(:'r')), ':nobody', quote_literal(:nobody))) AS error
FROM (VALUES (1, 'ducto_add_credits(:team, 5)'), (2, 'ducto_add_credits(:team, -5)'), (3, 'ducto_add_credits(:team, 0)'),
	(4, 'ducto_reserve(:team, 5)'), (5, 'ducto_reserve(:team, 5, max_concurrent => 1)'), (6, 'ducto_reserve(:team, 5, team_id => :other)'), (7, 'ducto_reserve(:team, 5, team_id => :team)'),
	(8, 'ducto_deduct(:team, :r, 1)'), (9, 'ducto_deduct(:team, :r, 0)'), (10, 'ducto_deduct(:team, :nobody, 1)'), (11, 'ducto_release(:team, :r)'), (12, 'ducto_renew(:team, :r)'),
	(13, 'ducto_charge(:team, 1)'), (14, 'ducto_charge(:team, 0)'), (15, 'ducto_charge(:team, 1000)'),
	(16, 'ducto_set_user_plan(:team, NULL)'), (17, 'ducto_set_user_plan(:team, ''team-test'')'), (18, 'ducto_increment_usage_window(:team, ''team-test'', 1)'),
	(19, 'ducto_set_spend_cap(:team, ''daily'', 1)'), (20, 'ducto_remove_spend_cap(:team, ''daily'')'),
	(21, 'ducto_reserve_usage(:team, ''{"input_tokens": 1}'')'), (22, 'ducto_reserve_usage(:team, ''{"input_tokens": 1}'', team_id => :other)'),
	(23, 'ducto_charge_usage(:team, ''{"input_tokens": 1}'')'), (24, 'ducto_charge_usage(:team, ''{"input_tokens": 1}'', :r)'),
	(25, 'ducto_add_team_member(:team, :team)'), (26, 'ducto_add_team_member(:other, :team)'), (27, 'ducto_remove_team_member(:other, :team)'), (28, 'ducto_deduct_team(:other, :team, 1)')) f (n, call)
ORDER BY f.n;
SELECT balance, reserved FROM ducto_get_team_balance(:'kite');
SELECT member_count FROM ducto_get_team_balance(:'iris');

-- A usage is priced for a team without the member's plan, when it is reserved and when it is charged; a fixed job is only another price.
SELECT team_id AS quay FROM ducto_create_team('Quay', 100) \gset
SELECT role FROM ducto_add_team_member(:'quay', :dina, spend_cap => 60);
SELECT total AS with_plan FROM ducto_price('{"model": "gpt", "input_tokens": 10}', 'team-test');
SELECT reservation_id AS r, amount, balance, reserved, available, error FROM ducto_reserve_usage(:dina, '{"model": "gpt", "input_tokens": 10}', team_id => :'quay') \gset
SELECT :amount AS amount, :balance AS balance, :reserved AS reserved;
SELECT pg_temp.who(user_id), amount, balance_after, allowance_consumed, cap_warning, error FROM ducto_charge_usage(:dina, '{"model": "gpt", "input_tokens": 8}', :'r', 'priced');
SELECT amount, balance_after, idempotent FROM ducto_charge_usage(:dina, '{"model": "gpt", "input_tokens": 1}', :'r', 'priced');
SELECT pg_temp.who(user_id), team_id = :'quay' AS quay, amount, model, reference_id = :'r' AS settles_it FROM ducto_list_transactions(:'quay', max_rows => 1);
SELECT reservation_id AS r, amount, reserved, error FROM ducto_reserve_usage(:dina, '{"fixed_job": "report"}', team_id => :'quay') \gset
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge_usage(:dina, '{"fixed_job": "report"}', :'r');
SELECT amount, reserved, error FROM ducto_reserve_usage(:dina, '{"model": "gpt", "input_tokens": 18.6}', team_id => :'quay');
SELECT reservation_id, error FROM ducto_reserve_usage(:dina, '{"fixed_job": "unknown"}', team_id => :'quay');
SELECT reservation_id, error FROM ducto_reserve_usage(:cleo, '{"model": "gpt", "input_tokens": 1}', team_id => :'quay');
SELECT reservation_id, error FROM ducto_reserve_usage(:dina, '{"model": "gpt", "input_tokens": 1}', team_id => :nobody);

-- The price stays the one of the version that it was reserved under.
SELECT reservation_id AS r, amount, error FROM ducto_reserve_usage(:dina, '{"model": "gpt", "input_tokens": 5}', team_id => :'quay') \gset
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens * 9"}}');
SELECT amount, balance_after, error FROM ducto_charge_usage(:dina, '{"model": "gpt", "input_tokens": 5}', :'r');

-- A price of 0 is a success, of a pool without anything too: a hold of 0, and no entry.
SELECT team_id AS reef FROM ducto_create_team('Reef') \gset
SELECT role FROM ducto_add_team_member(:'reef', :dina, spend_cap => 0);
SELECT reservation_id IS NOT NULL AS held, amount, balance, reserved, error FROM ducto_reserve_usage(:dina, '{"input_tokens": 0}', idempotency_key => 'zero', team_id => :'reef');
SELECT reservation_id AS r FROM ducto_reserve_usage(:dina, '{"input_tokens": 0}', idempotency_key => 'zero', team_id => :'reef') \gset
SELECT transaction_id, amount, balance_after, error FROM ducto_charge_usage(:dina, '{"input_tokens": 0}', :'r');
SELECT count(*) FROM ducto_list_transactions(:'reef');

-- Now last month. age() puts the whole past of a team, which began just now, 31 days back: into a former month.
CREATE FUNCTION pg_temp.age(team uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	span interval = '31 days';
BEGIN
	ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
	UPDATE ducto.ledger SET created_at = created_at - span, effective_at = effective_at - span WHERE account_id = team;
	ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
	UPDATE ducto.accounts SET created_at = created_at - span, updated_at = updated_at - span WHERE id = team;
	UPDATE ducto.reservations SET created_at = created_at - span WHERE account_id = team;
	UPDATE ducto.team_members SET joined_at = joined_at - span, left_at = left_at - span, month = date_trunc('month', (clock_timestamp() - span) AT TIME ZONE 'UTC') WHERE team_id = team;
END $$;
SELECT team_id AS sage FROM ducto_create_team('Sage', 100) \gset
SELECT role FROM ducto_add_team_member(:'sage', :ann, spend_cap => 30);
SELECT role FROM ducto_add_team_member(:'sage', :ben, spend_cap => 30);
SELECT transaction_id AS tx FROM ducto_deduct_team(:'sage', :ann, 18) \gset
SELECT transaction_id AS tx2 FROM ducto_deduct_team(:'sage', :ben, 25) \gset
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 0, ttl_seconds => 86400, team_id => :'sage') \gset
SELECT pg_temp.age(:'sage');
SELECT * FROM ducto_verify(:'sage');

-- In a new month a member has spent nothing yet, before anything was booked too; what is held is held in any month.
SELECT * FROM pg_temp.members(:'sage');
SELECT error FROM ducto_deduct_team(:'sage', :ann, 20.0001);
SELECT error FROM ducto_reserve(:ann, 20.0001, min_balance => 0, team_id => :'sage');

-- A refund of last month's debit goes into the pool, but gives no room in this month: neither before the first charge of it nor after.
SELECT pg_temp.who(user_id), amount, new_balance, error FROM ducto_refund(:'tx', 8);
SELECT * FROM pg_temp.members(:'sage');
SELECT * FROM ducto_verify(:'sage');
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'sage', :ann, 20);
SELECT amount, new_balance, error FROM ducto_refund(:'tx');
SELECT * FROM pg_temp.members(:'sage');
SELECT error FROM ducto_deduct_team(:'sage', :ann, 0.0001);

-- What is reserved in one month and charged in the next is the next one's.
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:ann, :'r', 10);
SELECT * FROM pg_temp.members(:'sage');

-- Who comes back in another month starts it anew, and a cap that was used up is open again.
SELECT ducto_remove_team_member(:'sage', :ben);
SELECT role FROM ducto_add_team_member(:'sage', :ben, spend_cap => 30);
SELECT * FROM pg_temp.members(:'sage');
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'sage', :ben, 30);
SELECT amount, new_balance FROM ducto_refund(:'tx2');
SELECT error FROM ducto_deduct_team(:'sage', :ben, 0.0001);
SELECT * FROM ducto_verify(:'sage');

-- The auditor finds a member's counter that is not what the ledger says, and one that is not what is held.
SELECT reservation_id AS r FROM ducto_reserve(:ben, 10, min_balance => 0, team_id => :'jazz') \gset
SELECT role FROM ducto_add_team_member(:'jazz', :ben);
SELECT reservation_id AS r FROM ducto_reserve(:ben, 10, min_balance => 0, team_id => :'jazz') \gset
BEGIN;
UPDATE ducto.team_members SET spent = spent + 1 WHERE team_id = :'jazz' AND user_id = :ann;
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify(:'jazz');
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify();
SELECT * FROM ducto_verify(:'sage');
ROLLBACK;
BEGIN;
UPDATE ducto.team_members SET held = 0 WHERE team_id = :'jazz' AND user_id = :ben;
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify(:'jazz');
ROLLBACK;
BEGIN;
UPDATE ducto.team_members SET held = held + 0.0001 WHERE team_id = :'jazz' AND user_id = :ann;
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify(:'jazz');
ROLLBACK;

-- A counter of a month that is not its own is found, too: last month's spending is not this one's.
BEGIN;
UPDATE ducto.team_members SET month = month - interval '1 month' WHERE team_id = :'jazz' AND user_id = :ann;
SELECT account_id = :'jazz' AS jazz, check_name FROM ducto_verify(:'jazz');
ROLLBACK;

-- A debit moved from one member to another shows at both; an entry of the pool changed shows in its chain.
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET actor = :ben WHERE account_id = :'jazz' AND actor = :ann AND amount = -20;
ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify(:'jazz') ORDER BY check_name;
ROLLBACK;

-- A pool whose team is gone, and a team whose pool is gone.
BEGIN;
ALTER TABLE ducto.teams DISABLE TRIGGER teams_kept;
DELETE FROM ducto.teams WHERE id = :'reef';
SELECT account_id = :'reef' AS reef, check_name, expected, actual FROM ducto_verify(:'reef');
SELECT account_id = :'reef' AS reef, check_name, expected, actual FROM ducto_verify();
ROLLBACK;
BEGIN;
INSERT INTO ducto.teams VALUES (:nobody, 'Phantom', clock_timestamp());
SELECT account_id = :nobody AS phantom, check_name, expected, actual FROM ducto_verify(:nobody);
ROLLBACK;

-- Other tests find no plans and the usual floor.
SELECT plan_id FROM ducto_set_user_plan(:dina, NULL);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 5}');

SELECT * FROM ducto_verify();
