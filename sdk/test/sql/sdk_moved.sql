-- what the SDKs show of credit that was taken back or moved to another account

\set ada '\'5d0e0000-0000-4000-8000-000000000001\''
\set bob '\'5d0e0000-0000-4000-8000-000000000002\''

SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;

SELECT transaction_id AS tx FROM ducto_add_credits(:ada, 100, 'purchase') \gset
SELECT amount FROM ducto_charge(:ada, 10);
SELECT amount FROM ducto_reverse_credits(:'tx', 40, reason => 'dispute');
SELECT amount FROM ducto_transfer(:ada, :bob, 20);
SELECT amount FROM ducto_transfer(:bob, :ada, 5);

-- The SDKs know no such types: they are adjustments, and the metadata tells which.
SELECT type, amount, metadata - 'balance_after' AS metadata, total_count FROM list_user_transactions(:ada);
SELECT type, amount, total_count FROM list_user_transactions(:ada, ARRAY['adjustment']);
SELECT type, amount, total_count FROM list_user_transactions(:ada, ARRAY['purchase', 'usage']);

-- The balance is that of the engine, and what was bought goes down by what was taken back.
SELECT get_credits_balance(:ada) - 'user_id' AS balance;
SELECT get_credits_balance(:bob) - 'user_id' AS balance;
SELECT * FROM ducto_verify();
