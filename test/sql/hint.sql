-- hint: whose entry it is and whose pool holds, said by the caller where the ids alone would have to be looked for

\pset null -
\set ann '\'41970000-0000-4000-8000-000000000001\''
\set bob '\'41970000-0000-4000-8000-000000000002\''
\set none '\'41970000-0000-4000-8000-0000000000ee\''

-- A refund finds the entry with its account as without; another's account has no such transaction, and nothing changes.
SELECT new_balance FROM ducto_add_credits(:ann, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:bob, 100, 'purchase');
SELECT transaction_id AS tx FROM ducto_charge(:ann, 30) \gset
SELECT user_id, amount, new_balance, error FROM ducto_refund(:'tx', 5, account_id => :bob);
SELECT user_id, amount, new_balance, error FROM ducto_refund(:'tx', 5, account_id => :none);
SELECT user_id, amount, new_balance, error FROM ducto_refund(:'tx', 5, account_id => :ann);
SELECT user_id, amount, new_balance, error FROM ducto_refund(:'tx', 5, account_id => NULL);

-- A key is replayed with the hint as without it, and not with a wrong one.
SELECT amount, new_balance, idempotent, error FROM ducto_refund(:'tx', 2, idempotency_key => 'r', account_id => :ann);
SELECT amount, new_balance, idempotent, error FROM ducto_refund(:'tx', 2, idempotency_key => 'r', account_id => :ann);
SELECT amount, new_balance, idempotent, error FROM ducto_refund(:'tx', 2, idempotency_key => 'r');
SELECT amount, new_balance, idempotent, error FROM ducto_refund(:'tx', 2, idempotency_key => 'r', account_id => :bob);

-- A reversal, the same.
SELECT transaction_id AS tx FROM ducto_add_credits(:ann, 20, 'promo') \gset
SELECT user_id, amount, new_balance, error FROM ducto_reverse_credits(:'tx', 4, account_id => :bob);
SELECT user_id, amount, new_balance, error FROM ducto_reverse_credits(:'tx', 4, account_id => :ann);
SELECT amount, new_balance, idempotent, error FROM ducto_reverse_credits(:'tx', 1, idempotency_key => 'v', account_id => :ann);
SELECT amount, new_balance, idempotent, error FROM ducto_reverse_credits(:'tx', 1, idempotency_key => 'v', account_id => :ann);
SELECT amount, new_balance, idempotent, error FROM ducto_reverse_credits(:'tx', 1, idempotency_key => 'v', account_id => :none);

-- A team's entry is the team's: the member's id does not find it.
SELECT team_id AS team FROM ducto_create_team('hinted', 100) \gset
SELECT team_id AS other FROM ducto_create_team('another', 100) \gset
SELECT error FROM ducto_add_team_member(:'team', :ann);
SELECT error FROM ducto_add_team_member(:'other', :bob);
SELECT transaction_id AS tx FROM ducto_deduct_team(:'team', :ann, 10) \gset
SELECT user_id, amount, new_balance, error FROM ducto_refund(:'tx', account_id => :ann);
SELECT user_id, team_id = :'team' AS of_the_team, amount, new_balance, error FROM ducto_refund(:'tx', account_id => :'team');

-- A hold in a team's pool is ended with the team's id as without it.
SELECT reservation_id AS r FROM ducto_reserve(:ann, 40, team_id => :'team', ttl_seconds => 60) \gset
SELECT error FROM ducto_renew(:ann, :'r', 3600, team_id => :'other');
SELECT error FROM ducto_renew(:ann, :'r', 3600, team_id => :none);
SELECT amount, reserved, expires_at > ducto.clock() + interval '59 minutes' AS later, error FROM ducto_renew(:ann, :'r', 3600, team_id => :'team');
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 5, 'd', team_id => :'other');
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:bob, :'r', 5, 'd', team_id => :'team');
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r', 5, 'd', final => false, team_id => :'team');
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r', 5, 'd', final => false, team_id => :'team');
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r', 5, 'd', final => false);
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r', 5, 'd', final => false, team_id => :'other');
SELECT released, reason FROM ducto_release(:ann, :'r', team_id => :'other');
SELECT released, reason FROM ducto_release(:bob, :'r', team_id => :'team');
SELECT released, reason FROM ducto_release(:ann, :'r', team_id => :'team');
SELECT released, reason FROM ducto_release(:ann, :'r', team_id => :'team');

-- A hold of the user's own is in no team's pool, and a member's not in the user's own account.
SELECT reservation_id AS r FROM ducto_reserve(:ann, 40) \gset
SELECT error FROM ducto_renew(:ann, :'r', team_id => :'team');
SELECT error FROM ducto_deduct(:ann, :'r', 5, team_id => :'team');
SELECT error FROM ducto_deduct(:ann, :'r', 5, team_id => :ann);
SELECT released, reason FROM ducto_release(:ann, :'r', team_id => :ann);
SELECT amount, balance_after, error FROM ducto_deduct(:ann, :'r', 5, team_id => NULL);

SELECT * FROM ducto_verify();
