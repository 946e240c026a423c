-- verify_rows: what a row says by itself, and what it repeats of rows of other tables. For ducto_verify, as verify.sql;
-- test/sql/mutation.sql edits each column of each table and sees which edits are seen.
--
-- Where two long lists of an account meet, the join is an outer one, and what is asked of it a CASE, which leaves it one:
-- an inner one could be planned, where there are no statistics, as one that compares each with each.

CREATE FUNCTION ducto.verify_entry_rows(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- An entry is one that ducto writes: of a type that there is, with nothing that an entry of that type has not. History that
	-- was moved in may lack the rest, and adjustments be what fitted no other type. A price is what was charged, or could not be.
	-- The usual usage, which has none of what could be odd, is sorted out first.
	RETURN QUERY
	WITH odd AS MATERIALIZED (
		SELECT * FROM (SELECT l.account_id, l.seq, to_jsonb(l) AS entry, concat_ws(' ',
			CASE WHEN type NOT IN ('purchase', 'subscription', 'signup_bonus', 'adjustment', 'promo', 'usage', 'refund',
				'reversal', 'transfer_out', 'transfer_in', 'expiry') THEN 'type' END,
			CASE WHEN CASE WHEN type IN ('usage', 'reversal') THEN amount > 0 WHEN type IN ('expiry', 'transfer_out') THEN amount >= 0
				WHEN type = 'refund' THEN amount < 0 WHEN type = 'adjustment' THEN false ELSE amount <= 0 END THEN 'amount' END,
			CASE WHEN operation_type IS NOT NULL AND type <> 'usage' THEN 'operation_type' END,
			CASE WHEN actor IS NOT NULL AND type NOT IN ('usage', 'refund') THEN 'actor' END,
			CASE WHEN CASE WHEN type = 'usage' THEN false WHEN type IN ('refund', 'reversal', 'transfer_out', 'transfer_in', 'expiry')
				THEN reference IS NULL ELSE reference IS NOT NULL END THEN 'reference' END,
			CASE WHEN CASE WHEN type = 'usage' THEN allowance_consumed < 0 WHEN type = 'refund' THEN allowance_consumed > 0
				WHEN type = 'adjustment' THEN allowance_consumed <> 0 AND amount <> 0 ELSE allowance_consumed <> 0 END
				THEN 'allowance_consumed' END,
			CASE WHEN shortfall IS NOT NULL AND (type NOT IN ('usage', 'reversal') OR shortfall <= 0) THEN 'shortfall' END,
			CASE WHEN cap_warning IS NOT NULL AND (type <> 'usage' OR cap_warning NOT IN ('deny', 'warn', 'notify'))
				THEN 'cap_warning' END,
			CASE WHEN (burned_grants IS NULL) <> (burned_amounts IS NULL) OR burned_grants IS NOT NULL
				AND (type NOT IN ('usage', 'refund', 'reversal', 'transfer_out', 'transfer_in', 'adjustment')
					OR cardinality(burned_grants) <> cardinality(burned_amounts) OR 0 >= ANY (burned_amounts)
					OR abs(amount) < (SELECT sum(b) FROM unnest(burned_amounts) AS b))
				THEN 'burned_amounts' END,
			CASE WHEN l.lifetime_purchased IS NOT NULL AND type IN ('usage', 'refund', 'transfer_out', 'transfer_in', 'expiry')
				THEN 'lifetime_purchased' END,
			CASE WHEN expires_at IS NOT NULL AND (type IN ('usage', 'refund', 'reversal', 'transfer_out', 'transfer_in', 'expiry')
				OR amount <= 0 OR NOT isfinite(expires_at)) THEN 'expires_at' END,
			CASE WHEN priority IS NOT NULL AND (type IN ('usage', 'refund', 'reversal', 'transfer_out', 'transfer_in', 'expiry')
				OR amount <= 0 OR priority NOT BETWEEN 0 AND 100) THEN 'priority' END,
			CASE WHEN l.cycle_end IS NOT NULL AND (type NOT IN ('subscription', 'promo', 'signup_bonus', 'adjustment') OR amount <= 0
				OR metadata ->> 'plan_id' IS NULL OR l.cycle_end <= effective_at
				OR NOT isfinite(l.cycle_end)) THEN 'cycle_end' END,
			CASE WHEN pricing IS NOT NULL AND (type <> 'usage' OR jsonb_typeof(pricing -> 'total') IS DISTINCT FROM 'number'
				OR pricing ->> 'version' IS NULL OR pricing ->> 'version' NOT IN (SELECT p.version::text FROM ducto.pricing p)
				OR CASE WHEN jsonb_typeof(pricing -> 'total') = 'number' THEN (pricing ->> 'total')::numeric <>
					coalesce(exact_price, allowance_consumed + coalesce(shortfall, 0) - amount) END)
				THEN 'pricing' END,
			CASE WHEN exact_price IS NOT NULL AND (pricing IS NULL OR exact_price <= 0 OR exact_price = round(exact_price, 4)
				OR abs(exact_price + amount - allowance_consumed - coalesce(shortfall, 0)) >= 0.0001) THEN 'exact_price' END,
			CASE WHEN jsonb_typeof(metadata) <> 'object' THEN 'metadata' END,
			CASE WHEN effective_at > l.created_at OR effective_at <> l.created_at AND type <> 'expiry' AND l.cycle_end IS NULL
				AND (effective_at >= a.ahead_from AND l.created_at <= a.ahead_until) IS NOT TRUE THEN 'effective_at' END) AS names
			FROM (SELECT * FROM ducto.ledger
				WHERE account_id BETWEEN lowest AND highest AND (type <> 'usage' OR amount > 0 OR allowance_consumed < 0
					OR shortfall IS NOT NULL OR cap_warning IS NOT NULL OR burned_grants IS NOT NULL OR burned_amounts IS NOT NULL
					OR ledger.lifetime_purchased IS NOT NULL OR expires_at IS NOT NULL OR priority IS NOT NULL OR pricing IS NOT NULL
					OR exact_price IS NOT NULL OR jsonb_typeof(metadata) <> 'object' OR effective_at <> ledger.created_at)) l
			LEFT JOIN ducto.accounts a ON a.id = l.account_id) e
		WHERE names <> ''
	)
	SELECT o.account_id, n.name || ' ' || o.seq, n.expected, left(o.entry ->> n.name, 255)
	FROM odd o
	JOIN (VALUES ('type', 'a type of entry'), ('amount', 'an amount of the type''s sign'),
		('operation_type', 'none, but for usage'), ('actor', 'none, but for usage and refunds'),
		('reference', 'one for a refund, a reversal, a transfer and an expiry, none for credit'),
		('allowance_consumed', 'what its type has'), ('shortfall', 'none, or more than 0 for a debit'),
		('cap_warning', 'none, or an action for usage'), ('burned_amounts', 'as many as burned_grants, no more than the amount'),
		('lifetime_purchased', 'none, but for credit'), ('expires_at', 'none, but for credit'),
		('priority', 'none, or 0 to 100 for credit'),
		('cycle_end', 'none, but for credit that a plan''s cycle gave'), ('pricing', 'of a version that there is, the total that was charged'),
		('exact_price', 'none, or a price with pricing that is not exact in four decimals and less than 0.0001 from what was charged'),
		('metadata', 'an object'), ('effective_at', 'created_at, or earlier for an expiry, for what a cycle gave, and where the clock was set back')) n(name, expected)
		ON n.name = ANY (string_to_array(o.names, ' '));

	-- What an entry repeats of the reservation that it settles, and of the entry that it refunds.
	IF 'links' = ANY (has) THEN
		RETURN QUERY
		WITH repeated AS MATERIALIZED (
			SELECT l.account_id, l.seq, l.actor, l.operation_type, r.actor AS their_actor, r.operation_type AS their_operation
			FROM ducto.ledger l LEFT JOIN ducto.reservations r ON r.account_id = l.account_id AND r.id = l.reference
			WHERE l.type || '' = 'usage' AND l.reference IS NOT NULL AND l.account_id BETWEEN lowest AND highest
				AND CASE WHEN r.id IS NOT NULL THEN r.actor IS DISTINCT FROM l.actor OR r.operation_type <> l.operation_type END
			UNION ALL
			SELECT r.account_id, r.seq, r.actor, NULL, d.actor, NULL
			FROM ducto.ledger r LEFT JOIN ducto.ledger d ON d.id = r.reference AND d.account_id = r.account_id
			WHERE r.type = 'refund' AND r.account_id BETWEEN lowest AND highest
				AND CASE WHEN d.id IS NOT NULL THEN d.actor IS DISTINCT FROM r.actor END
		)
		SELECT account_id, 'actor ' || seq, their_actor::text, actor::text FROM repeated WHERE their_actor IS DISTINCT FROM actor
		UNION ALL
		SELECT account_id, 'operation_type ' || seq, their_operation, operation_type
		FROM repeated WHERE their_operation <> operation_type;
	END IF;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_entry_rows(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_entry_rows(uuid, uuid, text[]) IS 'For ducto_verify: each entry of the ledger by itself, and what it repeats.';

CREATE FUNCTION ducto.verify_lines(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Most accounts have no lines, and no entry that says it has some.
	PERFORM FROM ducto.usage_lines WHERE account_id BETWEEN lowest AND highest LIMIT 1;
	IF NOT FOUND AND 'lines' <> ALL (has) THEN
		RETURN;
	END IF;

	-- The lines of an entry are its price, to the last decimal, and are as many as it says, numbered from 1. What it says of
	-- models is what it took.
	RETURN QUERY
	WITH sums AS (
		SELECT account_id, entry, sum(amount) AS amount, count(*) AS lines, min(line) AS first, max(line) AS last,
			count(DISTINCT line) AS numbers
		FROM ducto.usage_lines WHERE account_id BETWEEN lowest AND highest GROUP BY account_id, entry
	), entries AS MATERIALIZED (
		SELECT coalesce(l.account_id, s.account_id) AS account_id, l.seq, coalesce(l.id, s.entry) AS id, s.amount, s.lines,
			s.first, s.last, s.numbers, l.price, l.said_lines, -l.amount AS credits, l.said_spend
		FROM (SELECT account_id, seq, id, ledger.amount,
				coalesce(exact_price, allowance_consumed + coalesce(shortfall, 0) - ledger.amount) AS price,
				(SELECT sum(n) FROM unnest(model_lines) n) AS said_lines, (SELECT sum(s) FROM unnest(model_spend) s) AS said_spend
			FROM ducto.ledger WHERE models IS NOT NULL AND account_id BETWEEN lowest AND highest) l
		FULL JOIN sums s ON s.account_id = l.account_id AND s.entry = l.id
	)
	SELECT account_id, 'lines of ' || id, coalesce(price::text, 'an entry with lines'), coalesce(amount::text, 'none')
	FROM entries WHERE amount IS DISTINCT FROM price
	UNION ALL
	SELECT account_id, 'model_lines ' || seq, lines::text, said_lines::text
	FROM entries WHERE said_lines IS DISTINCT FROM lines AND seq IS NOT NULL AND lines IS NOT NULL
	UNION ALL
	SELECT account_id, 'model_spend ' || seq, credits::text, said_spend::text
	FROM entries WHERE said_spend IS DISTINCT FROM credits AND seq IS NOT NULL
	UNION ALL
	SELECT account_id, 'numbers of the lines of ' || id, '1 to ' || lines, first || ' to ' || last
	FROM entries WHERE first <> 1 OR last <> lines OR numbers <> lines;

	-- Each model has the lines that its entry says, and was charged for no more than they cost, but for what rounding carries
	-- from one line to the next; for no less either where all was charged, in credits.
	RETURN QUERY
	WITH models AS MATERIALIZED (
		SELECT coalesce(l.account_id, u.account_id) AS account_id, l.seq, coalesce(l.model, u.model, '') AS model,
			u.lines, u.amount, l.said_lines, l.spend, l.charged_all
		FROM (SELECT account_id, seq, id, unnest(models) AS model, unnest(model_spend) AS spend, unnest(model_lines) AS said_lines,
				allowance_consumed = 0 AND shortfall IS NULL AS charged_all
			FROM ducto.ledger WHERE models IS NOT NULL AND account_id BETWEEN lowest AND highest) l
		FULL JOIN (SELECT account_id, entry, model, count(*) AS lines, sum(amount) AS amount
			FROM ducto.usage_lines WHERE account_id BETWEEN lowest AND highest GROUP BY account_id, entry, model) u
			ON u.account_id = l.account_id AND u.entry = l.id AND coalesce(u.model, '') = coalesce(l.model, '')
	)
	SELECT account_id, 'models ' || coalesce(seq::text, 'of lines'), coalesce(lines, 0) || ' of "' || model || '"',
		coalesce(said_lines::text, 'none')
	FROM models WHERE lines IS DISTINCT FROM said_lines
	UNION ALL
	SELECT account_id, 'model_spend ' || seq,
		concat_ws(' ', CASE WHEN NOT charged_all THEN 'at most' END, round(amount, 4), 'of "' || model || '"'), spend::text
	FROM models WHERE spend < 0 OR spend - amount >= 0.0001 * lines + CASE WHEN amount = round(amount, 4) THEN 0.0001 ELSE 0 END
		OR charged_all AND amount - spend >= 0.0001 * lines + CASE WHEN amount = round(amount, 4) THEN 0.0001 ELSE 0 END;

	-- A line is one that ducto writes. A key is that of one line, or of one entry.
	RETURN QUERY
	SELECT u.account_id, n.name || ' of line ' || u.line || ' of ' || u.entry, n.expected, NULL::text
	FROM ducto.usage_lines u, LATERAL (VALUES
		('amount', '0 or more', u.amount < 0), ('metadata', 'none, or an object', jsonb_typeof(u.metadata) <> 'object'),
		('usage', 'none, or an object', jsonb_typeof(u.usage) <> 'object')) n(name, expected, odd)
	WHERE u.account_id BETWEEN lowest AND highest AND n.odd
	UNION ALL
	SELECT l.account_id, 'idempotency_key ' || l.idempotency_key, '1', '2'
	FROM (SELECT * FROM ducto.ledger WHERE idempotency_key IS NOT NULL AND account_id BETWEEN lowest AND highest) l
	JOIN (SELECT * FROM ducto.usage_lines WHERE account_id BETWEEN lowest AND highest) u
		ON u.account_id = l.account_id AND u.key = l.idempotency_key;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_lines(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_lines(uuid, uuid, text[]) IS 'For ducto_verify: lines, and what entries say of them.';

CREATE FUNCTION ducto.verify_grant_rows(lowest uuid, highest uuid) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	early record;
BEGIN
	-- All that follows is about grants that there are.
	PERFORM FROM ducto.grants WHERE account_id BETWEEN lowest AND highest LIMIT 1;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	-- A grant says what the entry says that made it, but for what was moved of it. One without a priority was imported.
	RETURN QUERY
	WITH odd AS MATERIALIZED (
		SELECT * FROM (SELECT g.account_id, g.id, to_jsonb(g) AS kept, to_jsonb(l) AS entry, concat_ws(' ',
			CASE WHEN g.seq <> l.seq THEN 'seq' END, CASE WHEN g.type <> l.type THEN 'type' END,
			CASE WHEN g.amount <> l.amount AND (m.moved IS NULL OR g.amount > l.amount) THEN 'amount' END,
			CASE WHEN l.id IS NOT NULL AND g.priority <> coalesce(l.priority, 50) THEN 'priority' END,
			CASE WHEN l.id IS NOT NULL AND g.expires_at <> coalesce(l.expires_at, 'infinity')
				AND (l.cycle_end IS NOT NULL AND g.expires_at = g.rolls_to AND g.expires_at > l.expires_at) IS NOT TRUE
				THEN 'expires_at' END,
			CASE WHEN CASE WHEN l.cycle_end IS NULL THEN g.rolls_to IS NOT NULL ELSE g.rolls_to < l.expires_at END
				THEN 'rolls_to' END,
			CASE WHEN (g.rolls_to IS NULL) <> (g.rollover IS NULL) OR g.rollover < 0 THEN 'rollover' END,
			CASE WHEN g.created_at <> CASE WHEN l.cycle_end IS NULL THEN l.created_at ELSE l.effective_at END
				THEN 'created_at' END) AS names
			FROM (SELECT * FROM ducto.grants WHERE account_id BETWEEN lowest AND highest) g
			FULL JOIN (SELECT * FROM ducto.ledger WHERE (expires_at IS NOT NULL OR priority IS NOT NULL)
				AND account_id BETWEEN lowest AND highest) l ON l.account_id = g.account_id AND l.id = g.id
			LEFT JOIN (SELECT DISTINCT account_id, unnest(burned_grants) AS moved FROM ducto.ledger
				WHERE type = 'transfer_out' AND account_id BETWEEN lowest AND highest) m
				ON m.account_id = g.account_id AND m.moved = g.id) e
		WHERE names <> ''
	)
	SELECT o.account_id::uuid, n.name || ' of grant ' || o.id, CASE WHEN n.name = 'priority' THEN coalesce(o.entry ->> 'priority', '50')
		WHEN n.name = 'rolls_to' THEN 'none, or a time from when its cycle ends'
		WHEN n.name = 'rollover' THEN 'an amount, where it lives on'
		WHEN n.name = 'created_at' AND o.entry ->> 'cycle_end' IS NOT NULL THEN o.entry ->> 'effective_at'
		ELSE o.entry ->> n.name END, o.kept ->> n.name
	FROM odd o
	JOIN (VALUES ('seq'), ('type'), ('amount'), ('priority'), ('expires_at'), ('rolls_to'), ('rollover'), ('created_at')) n(name)
		ON n.name = ANY (string_to_array(o.names, ' '));

	-- A grant that was moved here says what the entry says that made it elsewhere, and has the place of the first that brought it.
	RETURN QUERY
	WITH came AS MATERIALIZED (
		SELECT account_id, grant_id, min(seq) AS seq, min(created_at) AS created_at
		FROM (SELECT account_id, seq, created_at, unnest(burned_grants) AS grant_id FROM ducto.ledger
			WHERE type = 'transfer_in' AND account_id BETWEEN lowest AND highest) t
		GROUP BY account_id, grant_id
	), kept AS MATERIALIZED (
		SELECT g.account_id, g.id, g.seq, g.type, g.amount, g.priority, g.expires_at, g.created_at, c.seq AS came_seq,
			c.created_at AS came_at
		FROM came c JOIN ducto.grants g ON g.account_id = c.account_id AND g.id = c.grant_id
	), made AS MATERIALIZED (
		SELECT l.account_id, l.id, l.type, l.amount, l.priority, l.expires_at, l.cycle_end
		FROM ducto.ledger l WHERE l.id IN (SELECT k.id FROM kept k)
	), odd AS MATERIALIZED (
		SELECT * FROM (SELECT g.account_id, g.id, g.came_seq, g.came_at, to_jsonb(g) AS kept, to_jsonb(l) AS entry, concat_ws(' ',
			CASE WHEN g.seq <> g.came_seq THEN 'seq' END, CASE WHEN g.type <> l.type THEN 'type' END,
			CASE WHEN g.amount > l.amount THEN 'amount' END, CASE WHEN g.priority <> coalesce(l.priority, 50) THEN 'priority' END,
			CASE WHEN g.expires_at <> coalesce(l.expires_at, 'infinity')
				AND (l.cycle_end IS NOT NULL AND g.expires_at > l.expires_at) IS NOT TRUE THEN 'expires_at' END,
			CASE WHEN g.created_at <> g.came_at THEN 'created_at' END) AS names
			FROM kept g JOIN made l ON l.id = g.id AND l.account_id <> g.account_id) e
		WHERE names <> ''
	)
	SELECT o.account_id::uuid, n.name || ' of grant ' || o.id, CASE WHEN n.name = 'seq' THEN o.came_seq::text
		WHEN n.name = 'created_at' THEN to_jsonb(o.came_at) #>> '{}' ELSE o.entry ->> n.name END, o.kept ->> n.name
	FROM odd o
	JOIN (VALUES ('seq'), ('type'), ('amount'), ('priority'), ('expires_at'), ('created_at')) n(name)
		ON n.name = ANY (string_to_array(o.names, ' '));

	-- Credit does not expire before its time: what a cycle gave may live on after it, here or where it was moved, which may be on
	-- another node.
	FOR early IN
		SELECT e.account_id, e.seq, e.effective_at, g.id, g.expires_at
		FROM ducto.ledger e JOIN ducto.grants g ON g.account_id = e.account_id AND g.id = e.reference
		WHERE e.type = 'expiry' AND e.account_id BETWEEN lowest AND highest AND e.effective_at < g.expires_at
	LOOP
		PERFORM FROM ducto.ledger l WHERE l.id = early.id AND l.cycle_end IS NOT NULL AND l.expires_at <= early.effective_at;
		IF NOT FOUND THEN
			RETURN QUERY SELECT early.account_id, 'effective_at ' || early.seq, 'not before ' || early.expires_at, early.effective_at::text;
		END IF;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_grant_rows(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_grant_rows(uuid, uuid) IS 'For ducto_verify: each grant beside the entry that made it.';

CREATE FUNCTION ducto.verify_hold_rows(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- All that follows is about reservations that there are.
	PERFORM FROM ducto.reservations WHERE account_id BETWEEN lowest AND highest LIMIT 1;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	-- A reservation is one that ducto writes. It expires at most 30 days after the account's last operation, which may have
	-- renewed it, or when it was said at first.
	RETURN QUERY
	WITH odd AS MATERIALIZED (
		SELECT * FROM (SELECT r.account_id, r.id, to_jsonb(r) AS hold, concat_ws(' ',
			CASE WHEN r.amount < 0 THEN 'amount' END,
			CASE WHEN r.billing_mode NOT IN ('strict', 'overdraft') THEN 'billing_mode' END,
			CASE WHEN r.billing_mode = 'overdraft' AND r.floor > 0 OR abs(r.floor) >= 100000000000000 THEN 'floor' END,
			CASE WHEN r.state NOT IN ('open', 'settled', 'released', 'expired') THEN 'state' END,
			CASE WHEN (r.state = 'open') <> (r.closed_at IS NULL) OR r.state = 'expired' AND r.closed_at > r.expires_at
				THEN 'closed_at' END,
			CASE WHEN r.closing_balance IS NOT NULL AND r.state <> 'settled' THEN 'closing_balance' END,
			CASE WHEN r.closing_key IS NOT NULL AND r.closing_balance IS NULL THEN 'closing_key' END,
			CASE WHEN NOT isfinite(r.first_expires_at) THEN 'first_expires_at' END,
			CASE WHEN NOT isfinite(r.expires_at) OR r.state = 'open' AND (r.expires_at <= a.ended_until) IS NOT TRUE
				AND r.expires_at > greatest(r.first_expires_at, a.updated_at + interval '2592000 s') THEN 'expires_at' END,
			CASE WHEN r.pricing_version IS NOT NULL AND r.pricing_version NOT IN (SELECT p.version FROM ducto.pricing p)
				THEN 'pricing_version' END,
			CASE WHEN r.plan_id IS NOT NULL AND r.plan_id NOT IN (SELECT p.id FROM ducto.plans p) THEN 'plan_id' END,
			CASE WHEN r.ceiling NOT BETWEEN 0 AND r.amount OR r.state = 'open' AND r.ceiling <> r.amount THEN 'ceiling' END,
			CASE WHEN jsonb_typeof(r.metadata) <> 'object' THEN 'metadata' END) AS names
			FROM ducto.reservations r LEFT JOIN ducto.accounts a ON a.id = r.account_id
			WHERE r.account_id BETWEEN lowest AND highest) e
		WHERE names <> ''
	)
	SELECT o.account_id::uuid, n.name || ' of reservation ' || o.id, n.expected, left(o.hold ->> n.name, 255)
	FROM odd o
	JOIN (VALUES ('amount', '0 or more'), ('billing_mode', 'strict or overdraft'), ('floor', 'one that fits billing_mode'),
		('state', 'open, settled, released or expired'), ('closed_at', 'a time once it is closed, and not before'),
		('closing_balance', 'none, but for a deduct of 0'), ('closing_key', 'none, but for a deduct of 0'),
		('first_expires_at', 'a time'), ('expires_at', 'within 30 days of the last operation'),
		('pricing_version', 'a version that there is'), ('plan_id', 'a plan that there is'),
		('ceiling', 'none, or the amount while it is open'), ('metadata', 'an object')) n(name, expected)
		ON n.name = ANY (string_to_array(o.names, ' '));

	-- What is left of an open one is what was not charged of it. One that was settled was charged, or closed by a deduct of 0.
	RETURN QUERY
	WITH charged AS (
		SELECT l.account_id, l.reference, sum(l.allowance_consumed - l.amount) AS charge
		FROM ducto.ledger l
		WHERE 'links' = ANY (has) AND l.type || '' = 'usage' AND l.reference IS NOT NULL AND l.account_id BETWEEN lowest AND highest
		GROUP BY l.account_id, l.reference
	), holds AS MATERIALIZED (
		SELECT r.account_id, r.id, r.state, r.remaining, greatest(r.amount - coalesce(c.charge, 0), 0.0000) AS rest
		FROM (SELECT * FROM ducto.reservations WHERE account_id BETWEEN lowest AND highest
			AND (state = 'open' OR state = 'settled' AND closing_balance IS NULL)) r
		FULL JOIN charged c ON c.account_id = r.account_id AND c.reference = r.id
		WHERE CASE WHEN r.state = 'open' THEN r.remaining <> greatest(r.amount - coalesce(c.charge, 0), 0)
			WHEN r.state = 'settled' THEN c.charge IS NULL END
	)
	SELECT account_id::uuid, 'remaining of reservation ' || id, rest::text, remaining::text FROM holds WHERE state = 'open'
	UNION ALL
	SELECT account_id, 'charge of reservation ' || id, 'an entry', NULL FROM holds WHERE state = 'settled';
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_hold_rows(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_hold_rows(uuid, uuid, text[]) IS 'For ducto_verify: each reservation by itself, and what was charged of it.';

CREATE FUNCTION ducto.verify_account_rows(lowest uuid, highest uuid, has text[])
RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	clock CONSTANT timestamptz := ducto.clock();
	today CONSTANT date := (clock AT TIME ZONE 'UTC')::date;
	this_month CONSTANT date := date_trunc('month', today)::date;
BEGIN
	-- A user's plan is one that there is.
	RETURN QUERY
	SELECT id::uuid, 'plan_id', 'a plan that there is', plan_id::text FROM ducto.accounts
	WHERE plan_id IS NOT NULL AND plan_id NOT IN (SELECT p.id FROM ducto.plans p) AND id BETWEEN lowest AND highest;

	-- Cycles begin at a time, in a zone that there is; a team has none.
	RETURN QUERY
	SELECT id::uuid, 'anchor and zone', CASE WHEN kind = 'team' THEN 'none' ELSE 'a time, a name in pg_timezone_names' END,
		concat_ws(', ', anchor, zone)
	FROM ducto.accounts
	WHERE id BETWEEN lowest AND highest AND (kind = 'team' AND (anchor IS NOT NULL OR zone IS NOT NULL) OR NOT isfinite(anchor)
		OR zone IS NOT NULL AND zone NOT IN (SELECT z.name FROM pg_timezone_names z));

	-- An account with a plan, or whose allowance is used, is in a cycle as the plan's are, or were when it began. What is used
	-- in it counts: a counter of another one would let all of it be used again.
	RETURN QUERY
	WITH cycles AS MATERIALIZED (
		SELECT a.id, a.cycle_start, a.cycle_end, ducto.period(p.cycle, clock, a.anchor, a.zone) AS this,
			ducto.period(p.cycle, CASE WHEN isfinite(a.cycle_start) THEN a.cycle_start ELSE clock END, a.anchor, a.zone) AS its,
			a.anchor, a.zone, a.plan_id, a.ahead_until,
			(a.cycle_start IS NULL OR a.cycle_end IS NULL) AND (a.plan_id IS NOT NULL OR u.last IS NOT NULL)
				OR u.last >= a.cycle_end OR NOT isfinite(a.cycle_start) OR NOT isfinite(a.cycle_end) AS lacks
		FROM ducto.accounts a LEFT JOIN ducto.plans p ON p.id = a.plan_id
		LEFT JOIN (SELECT account_id, max(effective_at) AS last FROM ducto.ledger
			WHERE 'allowance' = ANY (has) AND allowance_consumed <> 0 AND type || '' <> 'refund' AND effective_at <= clock
				AND account_id BETWEEN lowest AND highest
			GROUP BY account_id) u ON u.account_id = a.id
		WHERE a.id BETWEEN lowest AND highest AND a.kind = 'user' AND a.updated_at <= clock
			AND (a.plan_id IS NOT NULL OR a.cycle_end IS NOT NULL OR u.last IS NOT NULL)
			AND coalesce(isfinite(a.anchor), true) AND (a.zone IS NULL OR a.zone IN (SELECT z.name FROM pg_timezone_names z))
	)
	SELECT id::uuid, 'cycle_start', this[1]::text, cycle_start::text FROM cycles WHERE lacks
	UNION ALL
	SELECT id, 'cycle_end', CASE WHEN lacks THEN this[2] ELSE its[2] END::text, cycle_end::text FROM cycles
	WHERE CASE WHEN lacks THEN cycle_end IS DISTINCT FROM this[2] WHEN ahead_until IS NOT NULL OR cycle_end = its[2] THEN false
		ELSE NOT EXISTS (SELECT FROM ducto.plan_allowances t WHERE t.plan_id = cycles.plan_id
			AND (ducto.period(t.cycle, cycle_start, anchor, zone))[2] = cycle_end) END;

	-- What was spent by a member in this month is what a counter of it counts: a counter of another one would let all of it be
	-- spent again. An account that is ahead of the clock has counters that are, until it is touched.
	IF 'actors' = ANY (has) THEN
		RETURN QUERY
		WITH recent AS MATERIALIZED (
			SELECT l.account_id, l.actor, -sum(l.amount) FILTER (WHERE type = 'usage') AS spent
			FROM ducto.ledger l JOIN ducto.accounts a ON a.id = l.account_id AND a.updated_at <= clock
			WHERE l.account_id BETWEEN lowest AND highest AND l.effective_at >= this_month AT TIME ZONE 'UTC'
				AND l.effective_at < (this_month + interval '1 month') AT TIME ZONE 'UTC' AND l.type || '' <> 'refund'
				AND a.kind = 'team'
			GROUP BY l.account_id, l.actor
		)
		SELECT m.team_id::uuid, 'month of member ' || m.user_id, this_month::text, m.month::text
		FROM ducto.team_members m
		JOIN (SELECT r.account_id, r.actor, sum(r.spent) AS spent FROM recent r GROUP BY r.account_id, r.actor) u
			ON u.account_id = m.team_id AND u.actor = m.user_id
		WHERE u.spent <> 0 AND m.month <> this_month;
	END IF;

	-- An allowance that is used is of a cycle.
	RETURN QUERY
	SELECT id::uuid, 'allowance_used', '0', allowance_used::text FROM ducto.accounts
	WHERE cycle_end IS NULL AND allowance_used <> 0 AND id BETWEEN lowest AND highest;

	-- A cap is one that ducto writes.
	RETURN QUERY
	SELECT account_id::uuid, 'cap ' || cap_type || ' ' || model,
		'a type, with a window_length of 1 minute to 1 year where it has one; deny, warn or notify; 0 or more',
		concat_ws(', ', cap_type, window_length, action, cap_limit)
	FROM ducto.spend_caps
	WHERE account_id BETWEEN lowest AND highest AND (
		cap_type NOT IN ('hourly', 'daily', 'weekly', 'monthly', 'total', 'session', 'sliding') OR action NOT IN ('deny', 'warn', 'notify')
		OR CASE WHEN cap_type IN ('session', 'sliding')
			THEN (extract(epoch FROM window_length) BETWEEN 60 AND 31557600) IS NOT TRUE ELSE window_length IS NOT NULL END
		OR cap_limit < 0 OR cap_limit >= 100000000000000);
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_account_rows(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_account_rows(uuid, uuid, text[]) IS 'For ducto_verify: plans of users, and which period their counters are of.';

CREATE FUNCTION ducto.verify_team_rows(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Who spent from a pool, or holds credit of it, is or was a member; each debit of a pool is a member's.
	RETURN QUERY
	SELECT u.account_id::uuid, 'member ' || coalesce(u.actor::text, 'unknown'), 'a member of the team, or one who left', NULL
	FROM (
		SELECT account_id, actor FROM ducto.ledger
		WHERE 'actors' = ANY (has) AND actor IS NOT NULL AND account_id BETWEEN lowest AND highest GROUP BY account_id, actor
		UNION
		SELECT account_id, actor FROM ducto.reservations
		WHERE actor IS NOT NULL AND account_id BETWEEN lowest AND highest GROUP BY account_id, actor
		UNION
		SELECT n.account_id, NULL
		FROM (SELECT account_id FROM ducto.ledger
			WHERE account_id IN (SELECT a.id FROM ducto.accounts a WHERE a.kind = 'team' AND a.id BETWEEN lowest AND highest)
				AND actor IS NULL AND type || '' = 'usage' AND account_id BETWEEN lowest AND highest
			UNION SELECT account_id FROM ducto.reservations
			WHERE account_id IN (SELECT a.id FROM ducto.accounts a WHERE a.kind = 'team' AND a.id BETWEEN lowest AND highest)
				AND actor IS NULL AND account_id BETWEEN lowest AND highest) n
	) u
	LEFT JOIN ducto.team_members m ON m.team_id = u.account_id AND m.user_id = u.actor
	WHERE m.user_id IS NULL;

	-- A team and its members are such as ducto writes.
	RETURN QUERY
	SELECT m.team_id::uuid, 'member ' || m.user_id, 'of a team, with a role; cap of 0 or more',
		concat_ws(', ', CASE WHEN t.id IS NULL THEN 'no team' END, m.role, m.spend_cap)
	FROM ducto.team_members m LEFT JOIN ducto.teams t ON t.id = m.team_id
	WHERE m.team_id BETWEEN lowest AND highest AND (t.id IS NULL OR char_length(m.role) NOT BETWEEN 1 AND 255
		OR m.spend_cap < 0 OR m.spend_cap >= 100000000000000)
	UNION ALL
	SELECT t.id, 'name', '1 to 255 characters', left(t.name, 255) FROM ducto.teams t
	WHERE t.id BETWEEN lowest AND highest AND char_length(t.name) NOT BETWEEN 1 AND 255;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_team_rows(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_team_rows(uuid, uuid, text[]) IS 'For ducto_verify: teams and who was a member.';

CREATE FUNCTION ducto.plan_terms(config jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object('name', config -> 'name', 'free_allowance', coalesce(nullif(config -> 'free_allowance', 'null'), '0'),
	'features', coalesce(nullif(config -> 'features', 'null'), '{}'),
	'default_billing_mode', coalesce(nullif(config -> 'default_billing_mode', 'null'), '"strict"'),
	'per_operation', coalesce(nullif(config -> 'per_operation', 'null'), '{}'),
	'max_concurrent', config -> 'max_concurrent', 'overdraft_floor', config -> 'overdraft_floor',
	'cycle', coalesce(nullif(config -> 'cycle', 'null'), '"month"'), 'grants', coalesce(nullif(config -> 'grants', 'null'), '[]'),
	'caps', coalesce(nullif(config -> 'caps', 'null'), '[]'), 'alerts', config -> 'alerts')
$$;
REVOKE ALL ON FUNCTION ducto.plan_terms(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION ducto.plan_terms(jsonb) IS 'For ducto_verify: what a plan of a pricing, or a row of ducto.plans, says, in the columns of ducto.plans.';

CREATE FUNCTION ducto.verify_prices() RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- The plans that can be assigned are those of the active pricing, the others those of some version, or as they were
	-- imported until a version was published.
	RETURN QUERY
	WITH said AS (
		SELECT v.version, v.active, p.key AS id, ducto.plan_terms(p.value) AS terms
		FROM ducto.pricing v, jsonb_each(CASE WHEN jsonb_typeof(v.config -> 'plans') = 'object' THEN v.config -> 'plans' END) p
	), plans AS MATERIALIZED (
		SELECT coalesce(p.id, s.id) AS id, p.retired, p.imported, s.terms AS expected, ducto.plan_terms(to_jsonb(p)) AS terms
		FROM ducto.plans p FULL JOIN (SELECT * FROM said WHERE active) s ON s.id = p.id
	)
	SELECT NULL::uuid, 'plan ' || id, expected::text, NULL FROM plans WHERE retired IS NULL
	UNION ALL
	SELECT NULL, k.key || ' of plan ' || p.id, k.value::text, (p.terms -> k.key)::text
	FROM plans p, jsonb_each(p.expected) k WHERE NOT p.imported AND k.value <> p.terms -> k.key
	UNION ALL
	SELECT NULL, 'retired of plan ' || id, (expected IS NULL)::text, retired::text
	FROM plans WHERE retired <> (expected IS NULL) AND NOT imported
	UNION ALL
	SELECT NULL, 'imported of plan ' || id, 'false', imported::text FROM plans WHERE imported AND expected = terms
	UNION ALL
	SELECT NULL, 'plan ' || p.id, 'as in some version of the pricing', p.terms::text
	FROM plans p LEFT JOIN said s ON s.id = p.id AND s.terms = p.terms
	WHERE p.retired AND NOT p.imported AND p.expected IS NULL AND s.id IS NULL;

	-- The history of a plan's allowance has its numbers and times in order, and ends with what is in force.
	RETURN QUERY
	WITH history AS MATERIALIZED (
		SELECT plan_id, number, since, free_allowance, cycle, grants, lead(number) OVER plan IS NULL AS is_last,
			coalesce(lag(number) OVER plan, 0) + 1 AS expected, coalesce(lag(since) OVER plan, '-infinity') AS since_before
		FROM ducto.plan_allowances WINDOW plan AS (PARTITION BY plan_id ORDER BY number)
	)
	SELECT NULL::uuid, 'allowance ' || number || ' of plan ' || plan_id,
		'number ' || expected || ', not before ' || since_before || ', 0 or more',
		'number ' || number || ', ' || since || ', ' || free_allowance
	FROM history WHERE number <> expected OR since < since_before OR since = 'infinity' OR free_allowance < 0
	UNION ALL
	SELECT NULL, 'last allowance of plan ' || coalesce(p.id, h.plan_id), concat_ws(', ', p.free_allowance, p.cycle, p.grants),
		concat_ws(', ', h.free_allowance, h.cycle, h.grants)
	FROM ducto.plans p FULL JOIN (SELECT * FROM history WHERE is_last) h ON h.plan_id = p.id
	WHERE (p.free_allowance, p.cycle, p.grants) IS DISTINCT FROM (h.free_allowance, h.cycle, h.grants);

	-- A version has the floor that its configuration says.
	RETURN QUERY
	SELECT NULL::uuid, 'pricing ' || version, 'an object with a min_balance of ' || min_balance,
		coalesce(config ->> 'min_balance', 'none')
	FROM ducto.pricing
	WHERE jsonb_typeof(config) <> 'object' OR CASE
		WHEN jsonb_typeof(config -> 'min_balance') = 'number' THEN (config ->> 'min_balance')::numeric
		WHEN coalesce(jsonb_typeof(config -> 'min_balance'), 'null') = 'null' THEN 5 END IS DISTINCT FROM min_balance
	UNION ALL
	SELECT NULL, 'id of pricing ' || min(version), 'one of its own', id::text
	FROM ducto.pricing GROUP BY id HAVING count(*) > 1;

	-- The key of a team is that of one.
	RETURN QUERY
	SELECT k.team_id::uuid, 'team of key ' || k.idempotency_key, 'a team', 'none'
	FROM ducto.team_keys k LEFT JOIN ducto.teams t ON t.id = k.team_id WHERE t.id IS NULL;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_prices() FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_prices() IS 'For ducto_verify: plans and pricing, which are no account''s.';
