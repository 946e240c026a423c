-- follow: whether the entries of an account follow from each other is told without sorting them, and as sorting them tells it

-- In whatever order they come; what comes out is the balance after the last.
CREATE FUNCTION pg_temp.follow(entries text) RETURNS numeric LANGUAGE sql AS $$
SELECT ducto.follow(e[1]::bigint, e[2]::numeric, e[3]::numeric, 'epoch'::timestamptz + e[4]::float8 * interval '1 s', 'epoch'::timestamptz + e[4]::float8 * interval '1 s')
FROM (SELECT string_to_array(nullif(entry, '-'), ',') AS e FROM unnest(string_to_array(entries, ' ')) AS entry) s
$$;
SELECT entries, pg_temp.follow(entries) FROM (VALUES
	('1,5,5,0 2,-1,4,0 3,-1.5,2.5,9'),
	('3,-1.5,2.5,9 2,-1,4,0 1,5,5,0'),
	('1,5,5,0 3,-1.5,2.5,9 2,-1,4,0'),
	('1,5,5,0'),
	('1,-5,-5,0 2,-0.0001,-5.0001,0'),
	('1,99999999999999.9999,99999999999999.9999,0 2,-99999999999999.9999,0,0')) v (entries);
-- A gap, another number or balance at the start, an amount or a time that does not follow, a number twice.
SELECT entries, pg_temp.follow(entries) FROM (VALUES
	('1,5,5,0 3,-1,4,0'),
	('2,5,5,0'),
	('1,5,6,0'),
	('1,5,5,0 2,-1,3,0'),
	('2,-1,3,0 1,5,5,0'),
	('1,5,5,7 2,-1,4,6'),
	('2,-1,4,6 1,5,5,7'),
	('1,5,5,0 2,-1,4,0 2,-1,4,0'),
	('1,5,5,0 2,-1,3,0 3,-1,2,0 4,0,3,0'),
	('0,0,0,0 1,5,5,0')) v (entries);
-- What ducto never writes is not for the short way.
SELECT entries, pg_temp.follow(entries) FROM (VALUES
	('1,5,5,0 2,NaN,NaN,0'),
	('1,Infinity,Infinity,0'),
	('1,0.00001,0.00001,0'),
	('1,5,5.0000000000000000000000001,0'),
	('1,1e30,1e30,0')) v (entries);
SELECT ducto.follow(NULL, 5, 5, now(), now()), ducto.follow(1, NULL, 5, now(), now()), ducto.follow(1, 5, 5, NULL, now());
SELECT ducto.follow(seq, 1, seq, now(), now()) FROM generate_series(1, 0) seq;

-- A long one from both ends, and one that lies anywhere: that is left to sorting.
SELECT ducto.follow(seq, 1, seq, now(), now()) FROM generate_series(1, 100000) seq;
SELECT ducto.follow(seq, 1, seq, now(), now()) FROM generate_series(100000, 1, -1) seq;
SELECT ducto.follow(seq, 1, seq, now(), now()) FROM (SELECT seq FROM generate_series(1, 2000) seq ORDER BY seq % 2, seq) s;
SELECT ducto.follow(seq, 1, seq, now(), now()) FROM (SELECT seq FROM generate_series(1, 4000) seq ORDER BY seq % 2, seq) s;

-- Thousands of short ledgers, most with something wrong, in an order by chance: it says what a window says.
SELECT setseed(0.25) IS NOT NULL AS seeded;
CREATE TEMPORARY TABLE drawn AS
SELECT account, seq + (random() < 0.02)::integer AS seq, amount, sum(amount) OVER w + (random() < 0.02)::integer AS balance_after,
	'epoch'::timestamptz + (seq - (random() < 0.1)::integer * 2 * random()) * interval '1 s' AS created_at, random() AS place
FROM (SELECT account, seq, round((random() * 10 - 5)::numeric, 4) AS amount
	FROM generate_series(1, 5000) account, LATERAL generate_series(1, 1 + account % 13) seq) d
WINDOW w AS (PARTITION BY account ORDER BY seq);
WITH told AS (
	SELECT account, ducto.follow(seq, amount, balance_after, created_at, created_at) AS balance FROM (TABLE drawn ORDER BY place OFFSET 0) d GROUP BY account
), sorted AS (
	SELECT account, bool_and(seq = coalesce(lag_seq, 0) + 1 AND balance_after = coalesce(lag_balance, 0) + amount
		AND created_at >= coalesce(lag_created, created_at)) AS follows, sum(amount) AS balance
	FROM (SELECT *, lag(seq) OVER w AS lag_seq, lag(balance_after) OVER w AS lag_balance, lag(created_at) OVER w AS lag_created
		FROM drawn WINDOW w AS (PARTITION BY account ORDER BY seq)) l GROUP BY account
)
SELECT count(*), count(told.balance) BETWEEN 1000 AND 4000 AS some_of_each,
	count(*) FILTER (WHERE (told.balance IS NOT NULL) <> follows OR told.balance <> sorted.balance) AS differ
FROM told JOIN sorted USING (account);
