-- chargeback: what a payment provider tells of a purchase, in parts, twice and in any order, ends in one state

CREATE FUNCTION pg_temp.who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('cb000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;

-- A webhook as an application writes it. Each message has an id, which is its key. What it rests on may not have come yet: it is answered with false then, and comes again.
--   paid      100 credits
--   refunded  20 of them, the merchant's own refund
--   disputed  the other 80
--   won       the dispute: what it took is credited again, with the reversal as its key
--   returned  the payment after all: what was credited again is taken back
CREATE FUNCTION pg_temp.deliver(owner uuid, message text, overrun text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	purchase ducto.ledger;
	dispute ducto.ledger;
	again ducto.ledger;
	answer text;
BEGIN
	SELECT * INTO purchase FROM ducto.ledger WHERE account_id = owner AND idempotency_key = 'paid';
	SELECT * INTO dispute FROM ducto.ledger WHERE account_id = owner AND idempotency_key = 'disputed';
	SELECT * INTO again FROM ducto.ledger WHERE account_id = owner AND idempotency_key = dispute.id::text;
	CASE message
		WHEN 'paid' THEN
			SELECT error INTO answer FROM ducto_add_credits(owner, 100, 'purchase', idempotency_key => 'paid');
		WHEN 'refunded' THEN
			IF purchase.id IS NULL THEN RETURN false; END IF;
			SELECT error INTO answer FROM ducto_reverse_credits(purchase.id, 20, overrun, 'refunded', idempotency_key => 'refunded');
		WHEN 'disputed' THEN
			IF purchase.id IS NULL THEN RETURN false; END IF;
			SELECT error INTO answer FROM ducto_reverse_credits(purchase.id, 80, overrun, 'disputed', idempotency_key => 'disputed');
		WHEN 'won' THEN
			IF dispute.id IS NULL THEN RETURN false; END IF;
			SELECT error INTO answer FROM ducto_add_credits(owner, -dispute.amount, 'purchase', idempotency_key => dispute.id::text);
		WHEN 'returned' THEN
			IF again.id IS NULL THEN RETURN false; END IF;
			SELECT error INTO answer FROM ducto_reverse_credits(again.id, NULL, overrun, 'returned', idempotency_key => 'returned');
	END CASE;
	IF answer IS NOT NULL THEN RAISE EXCEPTION '% was rejected: %', message, answer; END IF;
	RETURN true;
END $$;

-- Each message of a list is delivered, some twice, until all have been taken.
CREATE FUNCTION pg_temp.deliver_all(owner uuid, messages text[], overrun text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	message text;
	left_over text[];
BEGIN
	FOR round IN 1..9 LOOP
		left_over := '{}';
		FOREACH message IN ARRAY messages LOOP
			IF NOT pg_temp.deliver(owner, message, overrun) THEN left_over := left_over || message; END IF;
			PERFORM pg_temp.deliver(owner, message, overrun);
		END LOOP;
		EXIT WHEN left_over = '{}';
		messages := left_over;
	END LOOP;
END $$;

-- What is left of it: the balance, what was purchased, and what the entries sum to.
CREATE FUNCTION pg_temp.state(owner uuid) RETURNS text LANGUAGE sql AS $$
	SELECT format('balance %s, purchased %s, entries: %s', trim_scale(a.balance), trim_scale(a.lifetime_purchased),
		(SELECT string_agg(l.type || ' ' || trim_scale(l.amount) || coalesce(' short of ' || trim_scale(l.shortfall), ''), ', ' ORDER BY l.type, l.amount) FROM ducto.ledger l WHERE l.account_id = owner))
	FROM ducto.accounts a WHERE a.id = owner
$$;

-- One after the other, as they happened.
SELECT m.message, pg_temp.deliver(pg_temp.who(0), m.message, 'clamp'), pg_temp.state(pg_temp.who(0)) FROM unnest('{paid,refunded,disputed,won,returned}'::text[]) WITH ORDINALITY m (message, n) ORDER BY n;
SELECT m.message, pg_temp.deliver(pg_temp.who(0), m.message, 'clamp') FROM unnest('{returned,won,disputed,refunded,paid}'::text[]) WITH ORDINALITY m (message, n) ORDER BY n;
SELECT pg_temp.state(pg_temp.who(0));

-- All orders there are of the five: one state.
CREATE TEMP TABLE orders AS
WITH RECURSIVE o (messages) AS (
	SELECT '{}'::text[] UNION ALL SELECT messages || m FROM o, unnest('{paid,refunded,disputed,won,returned}'::text[]) m WHERE NOT m = ANY (messages)
) SELECT row_number() OVER (ORDER BY messages)::integer AS n, messages FROM o WHERE cardinality(messages) = 5;
SELECT count(pg_temp.deliver_all(pg_temp.who(n), messages, 'clamp')) FROM orders;
SELECT count(*), pg_temp.state(pg_temp.who(n)) FROM orders GROUP BY 2;

-- Without the last, the dispute is won and the user has what is left of the payment.
SELECT count(pg_temp.deliver_all(pg_temp.who(200 + n), array_remove(messages, 'returned'), 'clamp')) FROM orders;
SELECT count(*), pg_temp.state(pg_temp.who(200 + n)) FROM orders GROUP BY 2;

-- Where the user has spent some meanwhile, the order does not matter when what is short is a debt.
SELECT count(r.error) FROM orders, LATERAL ducto_add_credits(pg_temp.who(400 + n), 10) r;
SELECT count(r.error) FROM orders, LATERAL ducto_charge(pg_temp.who(400 + n), 70, 'work', overrun => 'full') r;
SELECT count(pg_temp.deliver_all(pg_temp.who(400 + n), messages, 'full')) FROM orders;
SELECT count(*), pg_temp.state(pg_temp.who(400 + n)) FROM orders GROUP BY 2;

-- A clamp takes no more than there is: never a debt, nothing twice, and never more than was paid.
SELECT count(r.error) FROM orders, LATERAL ducto_add_credits(pg_temp.who(600 + n), 100, 'purchase', idempotency_key => 'paid') r;
SELECT count(r.error) FROM orders, LATERAL ducto_charge(pg_temp.who(600 + n), 50, 'work') r;
SELECT count(pg_temp.deliver_all(pg_temp.who(600 + n), messages, 'clamp')) FROM orders;
SELECT count(*), min(a.balance), max(a.balance), min(a.lifetime_purchased), max(r.taken) AS taken_at_most
FROM orders, LATERAL (SELECT * FROM ducto.accounts WHERE id = pg_temp.who(600 + n)) a,
	LATERAL (SELECT -sum(l.amount) AS taken FROM ducto.ledger l JOIN ducto.ledger p ON p.id = l.reference WHERE l.account_id = a.id AND l.type = 'reversal' AND p.idempotency_key = 'paid') r;

SELECT * FROM ducto_verify();
