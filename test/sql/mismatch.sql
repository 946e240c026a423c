-- mismatch: ducto.key_mismatch, what a known key with another amount is

\set ada '\'35a70000-0000-4000-8000-000000000001\''
\set bob '\'35a70000-0000-4000-8000-000000000002\''

SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "plans": {"half": {"name": "Half", "rate_overrides": {"_default": "input_tokens / 2"}}}}');
SELECT transaction_id AS purchase, new_balance FROM ducto_add_credits(:ada, 1000, 'purchase', idempotency_key => 'pay') \gset
SELECT new_balance FROM ducto_add_credits(:ada, 10, 'promo', expires_at => '2222-01-01', idempotency_key => 'gift');
SELECT reservation_id AS hold FROM ducto_reserve(:ada, 20, idempotency_key => 'hold') \gset
SELECT reservation_id AS part FROM ducto_reserve(:ada, 20) \gset
SELECT reservation_id AS zero FROM ducto_reserve(:ada, 20) \gset
SELECT reservation_id AS tokens FROM ducto_reserve_usage(:ada, '{"input_tokens": 7}', idempotency_key => 'tokens') \gset
SELECT transaction_id AS debit FROM ducto_charge(:ada, 5, 'charge') \gset
SELECT amount FROM ducto_charge_usage(:ada, '{"input_tokens": 9, "model": "m"}', idempotency_key => 'usage');
SELECT amount FROM ducto_deduct(:ada, :'part', 6, 'part', final => false);
SELECT amount FROM ducto_deduct(:ada, :'zero', 0, 'zero');
SELECT amount FROM ducto_charge_usage(:ada, '{"input_tokens": 7}', :'tokens', 'settled');
SELECT amount FROM ducto_refund(:'debit', 2, idempotency_key => 'refund');
SELECT amount FROM ducto_reverse_credits(:'purchase', 100, idempotency_key => 'reverse');
SELECT amount, shortfall FROM ducto_charge(:ada, 2000, 'clamp', overrun => 'clamp');
SELECT new_balance FROM ducto_add_credits(:ada, 50);
SELECT amount FROM ducto_transfer(:ada, :bob, 3, idempotency_key => 'transfer');
SELECT team_id AS t FROM ducto_create_team('crew', 100) \gset
SELECT error FROM ducto_add_team_member(:'t', :ada);
SELECT amount FROM ducto_deduct_team(:'t', :ada, 4, idempotency_key => 'team');
SELECT amount FROM ducto_add_team_credits(:'t', 4, idempotency_key => 'pool');

-- Each call again: as it was, and with another amount.
CREATE TEMP TABLE calls (n serial, same text, other text);
INSERT INTO calls (same, other) SELECT replace(c, '%', s), replace(c, '%', o) FROM (VALUES
	('ducto_add_credits(ADA, %, idempotency_key => ''pay'', type => ''purchase'')', '1000', '1000.0001'),
	('ducto_add_credits(ADA, 10, ''promo'', expires_at => %, idempotency_key => ''gift'')', '''2222-01-01''', '''2222-01-02'''),
	('ducto_add_credits(ADA, 10, ''promo'', expires_at => %, idempotency_key => ''gift'')', '''2222-01-01''', 'NULL'),
	('ducto_reserve(ADA, %, idempotency_key => ''hold'')', '20', '21'),
	('ducto_reserve_usage(ADA, ''{"input_tokens": %}'', idempotency_key => ''tokens'')', '7', '8'),
	('ducto_charge(ADA, %, ''charge'')', '5', '6'),
	('ducto_charge(ADA, %, ''charge'')', '5.00004', '0'),
	('ducto_charge_usage(ADA, ''{"input_tokens": %, "model": "m"}'', idempotency_key => ''usage'')', '9.0', '9.5'),
	('ducto_charge_usage(ADA, ''{"input_tokens": 9%}'', idempotency_key => ''usage'')', ', "model": "m"', ''),
	('ducto_deduct(ADA, PART, %, ''part'', final => false)', '6', '7'),
	('ducto_deduct(ADA, ZERO, %, ''zero'')', '0', '1'),
	('ducto_charge_usage(ADA, ''{"input_tokens": %}'', TOKENS, ''settled'')', '7', '6'),
	('ducto_refund(DEBIT, %, idempotency_key => ''refund'')', '2', '3'),
	('ducto_reverse_credits(PURCHASE, %, idempotency_key => ''reverse'')', '100', '99'),
	('ducto_charge(ADA, %, ''clamp'', overrun => ''clamp'')', '2000', '1999'),
	('ducto_transfer(ADA, BOB, %, idempotency_key => ''transfer'')', '3', '2'),
	('ducto_deduct_team(TEAM, ADA, %, idempotency_key => ''team'')', '4', '5'),
	('ducto_add_team_credits(TEAM, %, idempotency_key => ''pool'')', '4', '5')) v (c, s, o);
CREATE FUNCTION pg_temp.try(call text, OUT idempotent text, OUT error text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT idempotent, error FROM ' || call INTO idempotent, error;
END $$;
UPDATE calls SET (same, other) = (SELECT replace(replace(replace(replace(replace(replace(replace(replace(same, 'ADA', quote_literal(:ada)), 'BOB', quote_literal(:bob)), 'PART', quote_literal(:'part')), 'ZERO', quote_literal(:'zero')), 'TOKENS', quote_literal(:'tokens')), 'DEBIT', quote_literal(:'debit')), 'PURCHASE', quote_literal(:'purchase')), 'TEAM', quote_literal(:'t')),
	replace(replace(replace(replace(replace(replace(replace(replace(other, 'ADA', quote_literal(:ada)), 'BOB', quote_literal(:bob)), 'PART', quote_literal(:'part')), 'ZERO', quote_literal(:'zero')), 'TOKENS', quote_literal(:'tokens')), 'DEBIT', quote_literal(:'debit')), 'PURCHASE', quote_literal(:'purchase')), 'TEAM', quote_literal(:'t')));
CREATE TEMP VIEW outcome AS SELECT n, regexp_replace(same, '''[0-9a-f]{8}-[0-9a-f-]{27}''', 'ID', 'g') AS call, s.idempotent AS same, s.error AS error, o.idempotent AS other, o.error AS other_error
	FROM calls, LATERAL pg_temp.try(same) s, LATERAL pg_temp.try(other) o ORDER BY n;

-- By default a key is a key: what it was used for first counts.
SHOW ducto.key_mismatch;
SELECT same, error, other, other_error, count(*) FROM outcome GROUP BY 1, 2, 3, 4;

-- Where it is conflict, the same call is a replay still, and one for another amount a conflict that changes nothing.
SELECT balance, reserved FROM ducto_get_balance(:ada) \gset before_
SET ducto.key_mismatch = 'conflict';
SELECT * FROM outcome;
SELECT balance = :before_balance AS balance, reserved = :before_reserved AS reserved FROM ducto_get_balance(:ada);

-- All that was left is no amount, so it differs from none.
SELECT amount, idempotent, error FROM ducto_refund(:'debit', idempotency_key => 'refund');
SELECT amount, idempotent, error FROM ducto_reverse_credits(:'purchase', idempotency_key => 'reverse');
SELECT amount, idempotent, error FROM ducto_transfer(:ada, :bob, idempotency_key => 'transfer');

-- A usage is not its price, whatever it cost: a charge under the key of a usage is another, and so is a usage under that of a charge.
SELECT error FROM ducto_charge(:ada, 9, 'usage');
SELECT error FROM ducto_charge_usage(:ada, '{"input_tokens": 5}', idempotency_key => 'charge');

-- What has no part in it: metadata, model, and prices that changed since.
SELECT idempotent, error FROM ducto_charge(:ada, 5, 'charge', '{"try": 2}', 'other');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens * 3"}}');
SELECT idempotent, error FROM ducto_charge_usage(:ada, '{"model": "m", "input_tokens": 9}', idempotency_key => 'usage');
SELECT idempotent, error FROM ducto_reserve_usage(:ada, '{"input_tokens": 7}', idempotency_key => 'tokens');
SELECT idempotent, error FROM ducto_reserve_usage(:ada, '{"input_tokens": 8}', idempotency_key => 'tokens');

-- It is set for a session, a role or a database like the other settings.
SET ducto.key_mismatch = 'error';
SELECT ducto.setting_problem('ducto.key_mismatch', 'conflict'), ducto.setting_problem('ducto.key_mismatch', 'error');
RESET ducto.key_mismatch;
SELECT idempotent, error FROM ducto_charge(:ada, 6, 'charge');
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
