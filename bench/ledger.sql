-- Makes a long ledger of usage: variables entries, users, models, days. Its
-- last entry is an hour old, each hour is a transaction of its own, users and
-- models are evenly spread, which is the worst case for a rollup. All
-- invariants hold.
SET synchronous_commit = off;
INSERT INTO ducto.accounts (id, kind, balance, lifetime_purchased, last_seq, plain, created_at, updated_at)
SELECT bench.account(:accounts + n), 'user', 1000000, 1000000, 1, true, t, t
  FROM generate_series(1, :users) n, (SELECT now() - make_interval(days => :days + 1)) w(t);
INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, lifetime_purchased, created_at, effective_at)
SELECT id, 1, gen_random_uuid(), 1000000, 1000000, 'purchase', 1000000, created_at, created_at
  FROM ducto.accounts WHERE id > bench.account(:accounts);

CREATE PROCEDURE bench.make_hour(start timestamptz, n integer, first bigint, users integer, models integer)
LANGUAGE sql AS $$
WITH drawn AS (
	SELECT i, bench.account(first + (random() * users)::integer % users) AS account_id, 'model-' || (random() * models)::integer % models AS model,
		round((random() * 0.01)::numeric, 4) AS amount, start + i * (interval '1 hour' / (n + 1)) AS created_at
	  FROM generate_series(1, n) i
), booked AS (
	SELECT d.*, a.last_seq + row_number() OVER w AS seq, a.balance - sum(d.amount) OVER w AS balance_after
	  FROM drawn d JOIN ducto.accounts a ON a.id = d.account_id
	WINDOW w AS (PARTITION BY d.account_id ORDER BY d.i)
), entries AS (
	INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, model, created_at, effective_at)
	SELECT account_id, seq, gen_random_uuid(), -amount, balance_after, 'usage', 'usage', model, created_at, created_at
	  FROM booked ORDER BY i
), moved AS (
	SELECT account_id, max(seq) AS seq, sum(amount) AS amount, max(created_at) AS created_at FROM booked GROUP BY account_id
)
UPDATE ducto.accounts a SET last_seq = m.seq, balance = a.balance - m.amount, updated_at = m.created_at
  FROM moved m WHERE a.id = m.account_id
$$;

CREATE PROCEDURE bench.make_ledger(entries bigint, first bigint, users integer, models integer, days integer)
LANGUAGE plpgsql AS $$
DECLARE
	hours integer := days * 24;
	finish timestamptz := now() - interval '1 hour';
BEGIN
	FOR h IN 1 .. hours LOOP
		CALL bench.make_hour(finish - make_interval(hours => hours - h + 1),
			(entries * h / hours - entries * (h - 1) / hours)::integer, first, users, models);
		COMMIT;
	END LOOP;
END
$$;
CALL bench.make_ledger(:entries, :accounts + 1, :users, :models, :days);
