-- The story that script/demo tells: one user, and each kind of call once.
\set QUIET on
\set ada '''a1b2c3d4-0000-4000-8000-000000000001'''
\pset null '-'
\pset footer off
\set VERBOSITY terse
\set ECHO queries

\echo
\echo '== A database gets the credits engine.'
\echo
CREATE EXTENSION ducto;

\echo
\echo '== Ada buys 100 credits. The payment id is the idempotency key, so that a'
\echo '   webhook which is delivered twice counts once.'
\echo
SELECT amount, new_balance, lifetime_purchased, idempotent, error
  FROM ducto_add_credits(user_id => :ada,
                         amount => 100, type => 'purchase',
                         idempotency_key => 'payment-1001');

\echo '== Before a model call the most that it can cost is put on hold. The balance'
\echo '   stays, what is available shrinks.'
\echo
SELECT reservation_id, amount, balance, reserved, available, error
  FROM ducto_reserve(user_id => :ada,
                     amount => 60, operation_type => 'chat',
                     model => 'gpt-4.1', idempotency_key => 'request-1');
-- The same request once more replays its result, from which psql takes the id.
\set ECHO none
\gset hold_
\set ECHO queries

\echo '== Meanwhile a second call wants 60 as well. Both together would overspend, so'
\echo '   it is rejected before it costs anything: a row with an error, no change.'
\echo
SELECT reservation_id, amount, balance, reserved, available, error
  FROM ducto_reserve(user_id => :ada,
                     amount => 60, operation_type => 'chat',
                     model => 'gpt-4.1', idempotency_key => 'request-2');

\echo '== The first call is done and has cost less. It pays what it really cost, and'
\echo '   the rest of its hold is free again.'
\echo
SELECT amount, balance_after, shortfall, idempotent, error
  FROM ducto_deduct(user_id => :ada,
                    reservation_id => :'hold_reservation_id',
                    amount => 42.1234, idempotency_key => 'request-1');

\echo '== The answer got lost, and the client tries again. The key replays the first'
\echo '   result: nobody pays twice.'
\echo
SELECT amount, balance_after, shortfall, idempotent, error
  FROM ducto_deduct(user_id => :ada,
                    reservation_id => :'hold_reservation_id',
                    amount => 42.1234, idempotency_key => 'request-1');

\echo '== Another call holds 30 ...'
\echo
SELECT reservation_id, amount, balance, reserved, available, error
  FROM ducto_reserve(user_id => :ada,
                     amount => 30, operation_type => 'image',
                     idempotency_key => 'request-3');
\set ECHO none
\gset hold_
\set ECHO queries

\echo '== ... and fails. Its hold is released, and it costs nothing.'
\echo
SELECT released, reason
  FROM ducto_release(user_id => :ada,
                     reservation_id => :'hold_reservation_id');

\echo '== Where the cost is known beforehand, one call checks and charges.'
\echo
SELECT amount, balance_after, shortfall, idempotent, error
  FROM ducto_charge(user_id => :ada,
                    amount => 2.5, operation_type => 'search',
                    idempotency_key => 'request-4');

\echo '== What Ada has now:'
\echo
SELECT balance, reserved, available, lifetime_purchased
  FROM ducto_get_balance(user_id => :ada);

\echo '== How it came to that, newest first. Holds move no credits, so the ledger has'
\echo '   only the purchase and the two charges.'
\echo
SELECT type, amount, balance_after, operation_type, model, idempotency_key
  FROM ducto_list_transactions(user_id => :ada);

\echo '== The auditor recomputes all of it from the ledger. No rows: everything holds.'
\echo
\pset footer on
SELECT * FROM ducto_verify();
