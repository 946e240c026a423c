-- team: a pool of credits, what is added to it, and its members

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

SELECT * FROM ducto_verify();
