-- reservation: holding credits for operations that are under way, and charging what they cost
-- In a database of its own, which has a test clock.
\set own regress_ducto_reservation
\i test/sql/include/own_database.sql

\set ada '\'4e5e0000-0000-4000-8000-000000000001\''
\set bob '\'4e5e0000-0000-4000-8000-000000000002\''
\set cyd '\'4e5e0000-0000-4000-8000-000000000003\''
\set dan '\'4e5e0000-0000-4000-8000-000000000004\''
\set eve '\'4e5e0000-0000-4000-8000-000000000005\''
\set fay '\'4e5e0000-0000-4000-8000-000000000006\''
\set gus '\'4e5e0000-0000-4000-8000-000000000007\''
\set hal '\'4e5e0000-0000-4000-8000-000000000008\''
\set ida '\'00000000-4e5e-4000-8000-000000000009\''
\set jon '\'4e5e0000-0000-4000-8000-00000000000a\''
\set kim '\'4e5e0000-0000-4000-8000-00000000000b\''
\set lee '\'4e5e0000-0000-4000-8000-00000000000c\''
\set nobody '\'4e5e0000-0000-4000-8000-0000000000ff\''
\set none '\'4e5e0000-0000-7000-8000-0000000000ee\''

-- The main job: hold before expensive work, charge what it really cost, and what was held beyond it is free again.
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT reservation_id IS NOT NULL AS made, user_id, amount, balance, reserved, available, billing_mode,
	expires_at > ducto.clock() + interval '9 minutes' AND expires_at <= ducto.clock() + interval '10 minutes' AS in_ten_minutes, idempotent, error
FROM ducto_reserve(:ada, 40, 'chat', '{"q": 1}', model => 'model-a');
SELECT id AS r FROM ducto.reservations WHERE account_id = :ada \gset
SELECT amount, remaining, operation_type, model, billing_mode, floor, state, idempotency_key, metadata, closed_at FROM ducto.reservations WHERE id = :'r';
SELECT balance, reserved, available FROM ducto_get_balance(:ada);
SELECT transaction_id IS NOT NULL AS booked, user_id, amount, balance_after, allowance_consumed, shortfall, idempotent, cap_warning, error
FROM ducto_deduct(:ada, :'r', 27.5);
SELECT balance, reserved, available FROM ducto_get_balance(:ada);
SELECT remaining, state, closed_at IS NOT NULL AS closed FROM ducto.reservations WHERE id = :'r';
SELECT amount, type, operation_type, model, reference_id = :'r' AS the_reservation, metadata FROM ducto_list_transactions(:ada, max_rows => 1);

-- Exactly what was reserved is always covered, and a deduct's own model and metadata are what is recorded.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10, model => 'asked') \gset
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 10, metadata => '{"tokens": 9}', model => 'used');
SELECT amount, operation_type, model, metadata FROM ducto_list_transactions(:ada, max_rows => 1);

-- An operation that failed releases its hold, and nothing was spent.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10) \gset
SELECT reservation_id = :'r' AS the_reservation, user_id, released, reason FROM ducto_release(:ada, :'r');
SELECT balance, reserved, available FROM ducto_get_balance(:ada);
SELECT remaining, state, closed_at IS NOT NULL AS closed FROM ducto.reservations WHERE id = :'r';

-- A deduct of 0 closes a reservation without a charge: a cached answer costs nothing.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10) \gset
SELECT transaction_id, amount, balance_after, shortfall, idempotent, error FROM ducto_deduct(:ada, :'r', 0);
SELECT balance, reserved FROM ducto_get_balance(:ada);
SELECT state FROM ducto.reservations WHERE id = :'r';
SELECT count(*) FROM ducto.ledger WHERE account_id = :ada;

-- Admission keeps the floor: 5 unless the caller says another, with the limit itself admitted.
SELECT new_balance FROM ducto_add_credits(:bob, 100);
SELECT amount, balance, reserved, available, error FROM ducto_reserve(:bob, 95.0001);
SELECT amount, balance, reserved, available, error FROM ducto_reserve(:bob, 95);
SELECT released FROM ducto.reservations r, LATERAL ducto_release(:bob, r.id) WHERE account_id = :bob;
SELECT n, r.amount, r.reserved, r.available, r.error
FROM (VALUES (1, 80.0001, 20), (2, 80, 20), (3, 20.0001, 0), (4, 20, 0), (5, 0.0001, 0), (6, 0.0001, 1000)) t (n, amount, min_balance),
	LATERAL ducto_reserve(:bob, t.amount, min_balance => t.min_balance) r
ORDER BY n;

-- A rejection has the row as things are, with no id, and changed nothing.
SELECT * FROM ducto_reserve(:bob, 1);
SELECT count(*) FROM ducto.reservations WHERE account_id = :bob;

-- A charge, a deduct's excess and another reservation never spend what a reservation holds.
SELECT new_balance FROM ducto_add_credits(:cyd, 100);
SELECT reservation_id AS r1 FROM ducto_reserve(:cyd, 60, min_balance => 0) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:cyd, 30, min_balance => 0) \gset
SELECT amount, balance_after, error FROM ducto_charge(:cyd, 10.0001);
SELECT amount, error FROM ducto_reserve(:cyd, 10.0001, min_balance => 0);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:cyd, :'r2', 40.0001);
SELECT amount, balance_after, error FROM ducto_deduct(:cyd, :'r2', 40);
SELECT amount, balance_after, error FROM ducto_charge(:cyd, 0.0001);
SELECT amount, balance_after, error FROM ducto_deduct(:cyd, :'r1', 60);
SELECT balance, reserved, available FROM ducto_get_balance(:cyd);

-- An overrun of what is held takes what others leave down to the reservation's own floor; beyond that, reject changes nothing and leaves the hold open.
SELECT new_balance FROM ducto_add_credits(:dan, 100);
SELECT reservation_id AS other FROM ducto_reserve(:dan, 50, min_balance => 0) \gset
SELECT reservation_id AS r FROM ducto_reserve(:dan, 20, min_balance => 10) \gset
SELECT transaction_id, amount, balance_after, shortfall, error FROM ducto_deduct(:dan, :'r', 40.0001);
SELECT transaction_id, amount, balance_after, shortfall, error FROM ducto_deduct(:dan, :'r', 1000, overrun => 'reject');
SELECT remaining, state FROM ducto.reservations WHERE id = :'r';
SELECT balance, reserved, available FROM ducto_get_balance(:dan);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:dan, :'r', 40);
SELECT balance, reserved, available FROM ducto_get_balance(:dan);

-- With clamp what fits is charged, and the rest is reported and recorded: the work is done, and somebody may want to know what it lacked.
SELECT reservation_id AS r FROM ducto_reserve(:dan, 4, min_balance => 2) \gset
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:dan, :'r', 20, overrun => 'clamp');
SELECT amount, shortfall FROM ducto.ledger WHERE account_id = :dan ORDER BY seq DESC LIMIT 1;
SELECT balance, reserved, available FROM ducto_get_balance(:dan);
SELECT reservation_id AS r FROM ducto_reserve(:dan, 1, min_balance => 0) \gset
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:dan, :'r', 0.5, overrun => 'clamp');

-- With full all is charged, even into debt and below the floor; the holds of others stay whole.
SELECT reservation_id AS r FROM ducto_reserve(:dan, 1, min_balance => 0) \gset
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:dan, :'r', 71.5, overrun => 'full');
SELECT balance, reserved, available FROM ducto_get_balance(:dan);
SELECT amount, balance_after, error FROM ducto_charge(:dan, 0.0001);
SELECT amount, balance_after, error FROM ducto_deduct(:dan, :'other', 50);

-- A stream captures parts: each is an entry, the hold shrinks by it, and only the last closes it.
SELECT new_balance FROM ducto_add_credits(:eve, 100);
SELECT reservation_id AS r FROM ducto_reserve(:eve, 30, min_balance => 0) \gset
SELECT amount, balance_after, error FROM ducto_deduct(:eve, :'r', 10, final => false);
SELECT remaining, state FROM ducto.reservations WHERE id = :'r';
SELECT balance, reserved, available FROM ducto_get_balance(:eve);
SELECT amount, balance_after, error FROM ducto_deduct(:eve, :'r', 20, final => false);
SELECT remaining, state, closed_at FROM ducto.reservations WHERE id = :'r';
SELECT balance, reserved, available FROM ducto_get_balance(:eve);

-- Even with nothing left it stays open: more is an overrun like any other.
SELECT amount, balance_after, error FROM ducto_deduct(:eve, :'r', 5, final => false);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:eve, :'r', 70, final => false);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:eve, :'r', 70, final => false, overrun => 'clamp');
SELECT remaining, state FROM ducto.reservations WHERE id = :'r';
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:eve, :'r', 0);
SELECT remaining, state FROM ducto.reservations WHERE id = :'r';
SELECT amount, error FROM ducto_deduct(:eve, :'r', 1, final => false);
SELECT array_agg(amount ORDER BY seq) AS entries FROM ducto.ledger WHERE account_id = :eve AND reference = :'r';

-- After a capture, the end frees what is left: by a charge, or by a release, which says what it was.
SELECT new_balance FROM ducto_add_credits(:eve, 100);
SELECT reservation_id AS r FROM ducto_reserve(:eve, 30) \gset
SELECT amount, balance_after FROM ducto_deduct(:eve, :'r', 10, final => false);
SELECT amount, balance_after FROM ducto_deduct(:eve, :'r', 5);
SELECT balance, reserved FROM ducto_get_balance(:eve);
SELECT reservation_id AS r FROM ducto_reserve(:eve, 30) \gset
SELECT amount, balance_after FROM ducto_deduct(:eve, :'r', 10, final => false);
SELECT released, reason FROM ducto_release(:eve, :'r');
SELECT balance, reserved FROM ducto_get_balance(:eve);
SELECT remaining, state FROM ducto.reservations WHERE id = :'r';

-- Whatever is called again, in any order, has one answer: the first to close a reservation did it.
CREATE FUNCTION pg_temp.again(owner uuid, first text, second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	call text;
	result text;
	answer text := '';
	r uuid;
BEGIN
	r := (ducto_reserve(owner, 10, min_balance => 0, ttl_seconds => 100)).reservation_id;
	FOREACH call IN ARRAY ARRAY[first, second] LOOP
		EXECUTE CASE call
			WHEN 'deduct' THEN 'SELECT coalesce(error, ''charged '' || amount) FROM ducto_deduct($1, $2, 4)'
			WHEN 'capture' THEN 'SELECT coalesce(error, ''captured '' || amount) FROM ducto_deduct($1, $2, 4, final => false)'
			WHEN 'deduct 0' THEN 'SELECT coalesce(error, ''charged '' || amount) FROM ducto_deduct($1, $2, 0)'
			WHEN 'release' THEN 'SELECT reason FROM ducto_release($1, $2)'
			WHEN 'renew' THEN 'SELECT coalesce(error, ''renewed '' || amount) FROM ducto_renew($1, $2, 100)'
			END INTO result USING owner, r;
		answer := concat_ws(', ', nullif(answer, ''), result);
	END LOOP;
	PERFORM ducto_release(owner, r);
	RETURN answer;
END $$;
SELECT new_balance FROM ducto_add_credits(:fay, 1000);
SELECT f.call AS first, s.call AS second, pg_temp.again(:fay, f.call, s.call) AS answers
FROM unnest('{deduct,capture,deduct 0,release,renew}'::text[]) WITH ORDINALITY f (call, n), unnest('{deduct,capture,deduct 0,release,renew}'::text[]) WITH ORDINALITY s (call, n)
ORDER BY f.n, s.n;
SELECT balance, reserved FROM ducto_get_balance(:fay);

-- Another user's reservation, and one that never was, are not found: an id alone gives no access.
SELECT reservation_id AS r FROM ducto_reserve(:fay, 10) \gset
SELECT * FROM ducto_deduct(:ada, :'r', 1);
SELECT released, reason FROM ducto_release(:ada, :'r');
SELECT amount, error FROM ducto_renew(:ada, :'r');
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:fay, :none, 1);
SELECT * FROM ducto_release(:fay, :none);
SELECT reservation_id, user_id, amount, balance, reserved, available, billing_mode, expires_at, idempotent, error FROM ducto_renew(:fay, :none);
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:nobody, :none, 1);
SELECT * FROM ducto_release(:nobody, :none);
SELECT reservation_id, balance, reserved, available, error FROM ducto_renew(:nobody, :none);
SELECT remaining, state FROM ducto.reservations WHERE id = :'r';

-- Renewing moves the end to now + ttl, also nearer, and costs nothing.
SELECT reservation_id = :'r' AS the_reservation, user_id, amount, balance, reserved, available, billing_mode,
	expires_at > ducto.clock() + interval '59 minutes' AND expires_at <= ducto.clock() + interval '1 hour' AS in_an_hour, idempotent, error
FROM ducto_renew(:fay, :'r', 3600);
SELECT expires_at <= ducto.clock() + interval '1 minute' AS in_a_minute FROM ducto_renew(:fay, :'r', 60);
SELECT expires_at > ducto.clock() + interval '9 minutes' AND expires_at <= ducto.clock() + interval '10 minutes' AS by_default FROM ducto_renew(:fay, :'r');
SELECT balance, reserved FROM ducto_get_balance(:fay);

-- ducto.reservation_ttl is the time that nobody said, and takes units.
SET ducto.reservation_ttl = '2h';
SHOW ducto.reservation_ttl;
SELECT expires_at > ducto.clock() + interval '119 minutes' AS in_two_hours FROM ducto_renew(:fay, :'r');
SELECT expires_at > ducto.clock() + interval '119 minutes' AS in_two_hours FROM ducto_reserve(:fay, 1);
SELECT expires_at <= ducto.clock() + interval '1 minute' AS in_a_minute FROM ducto_reserve(:fay, 1, ttl_seconds => 60);
\set VERBOSITY sqlstate
SET ducto.reservation_ttl = 0;
SET ducto.reservation_ttl = '31d';
\set VERBOSITY default
SET ducto.reservation_ttl = '30d';
RESET ducto.reservation_ttl;
SHOW ducto.reservation_ttl;

-- A hold ends at its time, whether anything swept it or not: three reservations expire unseen, one is renewed in time.
SELECT new_balance FROM ducto_add_credits(:gus, 100);
SELECT reservation_id AS r1 FROM ducto_reserve(:gus, 10, ttl_seconds => 100) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:gus, 20, ttl_seconds => 100) \gset
SELECT reservation_id AS r3 FROM ducto_reserve(:gus, 30, ttl_seconds => 100) \gset
SELECT reservation_id AS r4 FROM ducto_reserve(:gus, 15, ttl_seconds => 100) \gset
SELECT amount, balance_after FROM ducto_deduct(:gus, :'r3', 5, final => false);
SELECT expires_at > ducto.clock() + interval '500 seconds' AS renewed FROM ducto_renew(:gus, :'r4', 600);
SELECT balance, reserved, available FROM ducto_get_balance(:gus);
SELECT affordable, available FROM ducto_can_afford(:gus, 40);
-- Hal's and Ida's expire at the same time, for later; Ida has the lowest id of all users, so a sweep starts with her.
SELECT new_balance FROM ducto_add_credits(:hal, 10);
SELECT reservation_id AS hr FROM ducto_reserve(:hal, 8, ttl_seconds => 100, min_balance => 1) \gset
SELECT ducto_expire_reservations() >= 0 AS others_are_swept;
SELECT new_balance FROM ducto_add_credits(:ida, 10);
SELECT reservation_id AS ir1 FROM ducto_reserve(:ida, 1, ttl_seconds => 100) \gset
SELECT reservation_id AS ir2 FROM ducto_reserve(:ida, 1, ttl_seconds => 100) \gset
SELECT reservation_id AS ir3 FROM ducto_reserve(:ida, 1, ttl_seconds => 100) \gset
SELECT ducto_advance_clock('110 s') \g /dev/null
SELECT balance, reserved, available FROM ducto_get_balance(:gus);
SELECT affordable, available FROM ducto_can_afford(:gus, 75);
SELECT state, count(*) FROM ducto.reservations WHERE account_id = :gus GROUP BY state;

-- What comes after the end: renewing fails, releasing says so, and a late deduct charges as if nothing had been held.
SELECT amount, balance, reserved, available, error FROM ducto_renew(:gus, :'r1', 60);
SELECT released, reason FROM ducto_release(:gus, :'r1');
SELECT released, reason FROM ducto_release(:gus, :'r1');
SELECT remaining, state, closed_at = expires_at AS closed_at_its_time FROM ducto.reservations WHERE id = :'r1';
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:gus, :'r1', 5, allow_late => false);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:gus, :'r1', 5);
SELECT state, remaining FROM ducto.reservations WHERE id = :'r1';
SELECT amount, error FROM ducto_deduct(:gus, :'r1', 5);
SELECT amount, error FROM ducto_deduct(:gus, :'r1', 5, allow_late => false);
SELECT amount, error FROM ducto_renew(:gus, :'r1', 60);
SELECT released, reason FROM ducto_release(:gus, :'r1');
SELECT balance, reserved FROM ducto_get_balance(:gus);

-- A capture may come late, too, and a reservation that had parts captured ends like any other.
SELECT amount, balance_after, error FROM ducto_deduct(:gus, :'r3', 2, final => false);
SELECT amount, balance_after, error FROM ducto_deduct(:gus, :'r3', 3, final => false);
SELECT remaining, state FROM ducto.reservations WHERE id = :'r3';
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:gus, :'r3', 0);
SELECT amount, error FROM ducto_deduct(:gus, :'r3', 1);

-- What does not fit late is rejected as expired, unless overrun says otherwise; the floor that it was admitted under counts, and the holds of others.
SELECT balance, reserved, available FROM ducto_get_balance(:gus);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:gus, :'r2', 65.0001);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:gus, :'r2', 1000, overrun => 'clamp', allow_late => false);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:gus, :'r2', 66, overrun => 'clamp');
SELECT balance, reserved, available FROM ducto_get_balance(:gus);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:hal, :'hr', 9.0001);
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:hal, :'hr', 12, overrun => 'full');
SELECT balance, reserved, available FROM ducto_get_balance(:hal);

-- The sweep of reservations only tidies up; it closes as many as it is told and says how many.
SELECT ducto_expire_reservations(1) >= 1 AS some;
SELECT state, count(*) FROM ducto.reservations WHERE account_id = :ida GROUP BY state ORDER BY state;
SELECT ducto_expire_reservations() >= 0 AS the_rest;
SELECT state, count(*), bool_and(closed_at = expires_at) AS closed_at_their_time FROM ducto.reservations WHERE account_id = :ida GROUP BY state;
SELECT ducto_expire_reservations(), ducto_expire_reservations(NULL), ducto_expire_reservations(7);
SELECT balance, held, next_boundary FROM ducto.accounts WHERE id = :ida;
SELECT amount, balance_after, error FROM ducto_deduct(:ida, :'ir1', 1);

-- Overdraft lets the balance go below zero down to its floor, and only for the operation that asked.
SELECT new_balance FROM ducto_add_credits(:jon, 10);
SELECT n, r.amount, r.billing_mode, r.reserved, r.available, r.error
FROM (VALUES (1, 30.0001, 'overdraft', -20), (2, 30, 'overdraft', -20), (3, 0.0001, 'overdraft', -20), (4, 1, 'strict', NULL), (5, 1, 'overdraft', -21)) t (n, amount, mode, floor),
	LATERAL ducto_reserve(:jon, t.amount, billing_mode => t.mode, overdraft_floor => t.floor) r
ORDER BY n;
SELECT id AS r FROM ducto.reservations WHERE account_id = :jon AND amount = 30 \gset
SELECT amount, balance_after, error FROM ducto_deduct(:jon, :'r', 30);
SELECT id AS r FROM ducto.reservations WHERE account_id = :jon AND amount = 1 \gset
SELECT amount, balance_after, error FROM ducto_deduct(:jon, :'r', 1.0001);
SELECT amount, balance_after, error FROM ducto_deduct(:jon, :'r', 1);
SELECT balance, reserved, available FROM ducto_get_balance(:jon);

-- A floor of 0 is an overdraft, too: it lets a user go down to nothing, without min_balance.
SELECT new_balance FROM ducto_add_credits(:jon, 22);
SELECT amount, available, billing_mode, error FROM ducto_reserve(:jon, 1, billing_mode => 'overdraft', overdraft_floor => 0, min_balance => 1000);

-- max_concurrent counts open reservations of that operation type only: those of another, closed or expired, do not count.
SELECT new_balance FROM ducto_add_credits(:kim, 100);
SELECT reservation_id AS r1 FROM ducto_reserve(:kim, 1, 'image', max_concurrent => 2) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:kim, 1, 'image', max_concurrent => 2, ttl_seconds => 100) \gset
SELECT * FROM ducto_reserve(:kim, 1, 'image', max_concurrent => 2);
SELECT operation, r.error
FROM (VALUES (1, 'image', 1), (2, 'image', 3), (3, 'chat', 1), (4, 'chat', 1), (5, 'usage', NULL)) t (n, operation, most),
	LATERAL ducto_reserve(:kim, 1, t.operation, max_concurrent => t.most) r
ORDER BY n;
SELECT released FROM ducto_release(:kim, :'r1');
SELECT error FROM ducto_reserve(:kim, 1, 'image', max_concurrent => 2);
SELECT amount, error FROM ducto_deduct(:kim, :'r2', 0.5, final => false);
SELECT error FROM ducto_reserve(:kim, 1, 'image', max_concurrent => 2);
SELECT ducto_advance_clock('110 s') \g /dev/null
SELECT error FROM ducto_reserve(:kim, 1, 'image', max_concurrent => 2);

-- The limit is told before the lack of funds.
SELECT error FROM ducto_reserve(:kim, 1000, 'image', max_concurrent => 2);
SELECT error FROM ducto_reserve(:kim, 1000, 'image', max_concurrent => 20);

-- A charge is one step, with floor 0 unless the caller says another.
SELECT new_balance FROM ducto_add_credits(:lee, 100, 'purchase');
SELECT transaction_id IS NOT NULL AS booked, user_id, amount, balance_after, allowance_consumed, shortfall, idempotent, cap_warning, error
FROM ducto_charge(:lee, 30, metadata => '{"n": 1}', model => 'model-a', operation_type => 'chat');
SELECT amount, type, operation_type, model, reference_id, metadata FROM ducto_list_transactions(:lee, max_rows => 1);
SELECT transaction_id, amount, balance_after, shortfall, error FROM ducto_charge(:lee, 70.0001);
SELECT amount, balance_after, error FROM ducto_charge(:lee, 50.0001, min_balance => 20);
SELECT amount, balance_after, error FROM ducto_charge(:lee, 50, min_balance => 20);
SELECT amount, balance_after, error FROM ducto_charge(:lee, 20);
SELECT amount, balance_after, error FROM ducto_charge(:lee, 0.0001);
SELECT lifetime_purchased FROM ducto_get_balance(:lee);

-- A charge of 0 is a success that books nothing, also where there is nothing; it is never below a floor.
SELECT transaction_id, user_id, amount, balance_after, idempotent, error FROM ducto_charge(:lee, 0);
SELECT transaction_id, amount, balance_after, error FROM ducto_charge(:lee, 0, min_balance => 10);
SELECT transaction_id, amount, balance_after, error FROM ducto_charge(:nobody, 0);
SELECT count(*) FROM ducto_list_transactions(:lee);

-- Whether reserve with its defaults would admit an amount can be asked without holding anything.
SELECT new_balance FROM ducto_add_credits(:lee, 100);
SELECT reservation_id AS r FROM ducto_reserve(:lee, 20) \gset
SELECT amount, r.* FROM (VALUES (1, 75.0001), (2, 75), (3, 0.0001)) t (n, amount), LATERAL ducto_can_afford(:lee, t.amount) r ORDER BY n;
SELECT * FROM ducto_can_afford(:lee, 75.0001, 'model-a', 'chat');
SELECT * FROM ducto_can_afford(:nobody, 0.0001);
SELECT error FROM ducto_reserve(:lee, 75.0001);
SELECT error FROM ducto_reserve(:lee, 75);

-- A user without an account is rejected like any other, or admitted where the floor allows it; a rejection leaves nothing behind.
SELECT * FROM ducto_reserve(:nobody, 1);
SELECT * FROM ducto_reserve(:nobody, 1, min_balance => 0, max_concurrent => 1);
SELECT * FROM ducto_reserve(:nobody, 20.0001, billing_mode => 'overdraft', overdraft_floor => -20);
SELECT * FROM ducto_charge(:nobody, 1);
SELECT * FROM ducto_deduct(:nobody, :none, 1, overrun => 'full');
SELECT (SELECT count(*) FROM ducto.accounts WHERE id = :nobody) AS accounts, (SELECT count(*) FROM ducto.reservations WHERE account_id = :nobody) AS reservations;
SELECT amount, balance, reserved, available, billing_mode, error FROM ducto_reserve(:nobody, 20, billing_mode => 'overdraft', overdraft_floor => -20);
SELECT id AS r FROM ducto.reservations WHERE account_id = :nobody \gset
SELECT amount, balance_after, error FROM ducto_deduct(:nobody, :'r', 15);
SELECT balance, reserved, available FROM ducto_get_balance(:nobody);

-- NULL for everything that has a default is the default.
SELECT amount, billing_mode, error FROM ducto_reserve(:ada, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, idempotency_key => NULL);
SELECT id AS r FROM ducto.reservations WHERE account_id = :ada AND state = 'open' \gset
SELECT operation_type, metadata, model, floor, state FROM ducto.reservations WHERE id = :'r';
SELECT amount, error FROM ducto_renew(:ada, :'r', NULL);
SELECT amount, shortfall, error FROM ducto_deduct(:ada, :'r', 1, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT state FROM ducto.reservations WHERE id = :'r';
SELECT amount, error FROM ducto_charge(:ada, 1, NULL, NULL, NULL, NULL, NULL);
SELECT affordable, reason FROM ducto_can_afford(:ada, 1, NULL, NULL);
SELECT operation_type, model, metadata FROM ducto_list_usage_events(:ada, max_rows => 2);

SELECT * FROM found();

\c :main
DROP DATABASE :own;
