-- verify: the auditor. What must always hold, a block for each invariant, with its reason.
--
-- Each function looks at the accounts with ids from lowest to highest: one account, whose rows are found by index,
-- or all, whose tables are read whole, joined and summed by hash, whatever the statistics say. ducto.verify_one and
-- ducto.verify_all plan them so. All of them see the snapshot of the statement that calls ducto_verify.
--
-- type || '' instead of type keeps out the indexes of all accounts' usage, which without statistics look small.

CREATE TYPE @extschema@.ducto_discrepancy AS (
	account_id uuid,
	check_name text,
	expected text,
	actual text
);
COMMENT ON TYPE @extschema@.ducto_discrepancy IS 'An invariant that does not hold.';
COMMENT ON COLUMN @extschema@.ducto_discrepancy.account_id IS 'The user''s id, or the team''s.';
COMMENT ON COLUMN @extschema@.ducto_discrepancy.check_name IS 'The invariant.';
COMMENT ON COLUMN @extschema@.ducto_discrepancy.expected IS 'What should be.';
COMMENT ON COLUMN @extschema@.ducto_discrepancy.actual IS 'What is.';

CREATE FUNCTION ducto.first_xact_here() RETURNS bigint
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_first_xact_here';
REVOKE ALL ON FUNCTION ducto.first_xact_here() FROM PUBLIC;
COMMENT ON FUNCTION ducto.first_xact_here() IS 'Returns the lowest number that a transaction of this cluster can have.';

CREATE FUNCTION ducto.last_xact_here() RETURNS bigint
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_last_xact_here';
REVOKE ALL ON FUNCTION ducto.last_xact_here() FROM PUBLIC;
COMMENT ON FUNCTION ducto.last_xact_here() IS 'Returns the highest number that a transaction of this cluster can have.';

-- It is called for each entry, looks up no names, and gets what it is not given by SQL: it needs neither the owner's rights nor
-- a search_path.
CREATE FUNCTION ducto.follow_next(
	state internal,
	seq bigint,
	amount numeric,
	balance_after numeric,
	created_at timestamptz,
	effective_at timestamptz
) RETURNS internal
LANGUAGE c IMMUTABLE
AS 'MODULE_PATHNAME', 'ducto_follow_next';
REVOKE ALL ON FUNCTION ducto.follow_next(internal, bigint, numeric, numeric, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION ducto.follow_next(internal, bigint, numeric, numeric, timestamptz, timestamptz) IS
'For ducto.follow: adds an entry.';

CREATE FUNCTION ducto.follow_end(state internal) RETURNS numeric
LANGUAGE c IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_follow_end';
REVOKE ALL ON FUNCTION ducto.follow_end(internal) FROM PUBLIC;
COMMENT ON FUNCTION ducto.follow_end(internal) IS 'For ducto.follow: returns the balance after the last entry.';

CREATE AGGREGATE ducto.follow(seq bigint, amount numeric, balance_after numeric, created_at timestamptz, effective_at timestamptz) (
	SFUNC = ducto.follow_next, STYPE = internal, SSPACE = 128, FINALFUNC = ducto.follow_end
);
REVOKE ALL ON FUNCTION ducto.follow(bigint, numeric, numeric, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON AGGREGATE ducto.follow(bigint, numeric, numeric, timestamptz, timestamptz) IS
'For ducto_verify: the balance after the entries of an account, in whatever order they come, where they follow from each other: seq without a gap from 1 on, each balance that before it and the amount, and no time that goes back. Otherwise NULL.';

-- links are usage of reservations, and what refers to other entries; taken_back are refunds, reversals and transfers.
CREATE FUNCTION ducto.ledger_has(lowest uuid, highest uuid) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kinds text[];
BEGIN
	SELECT array_remove(ARRAY[
		CASE WHEN count(cycle_end) > 0 THEN 'cycles' END,
		CASE WHEN count(digest) > 0 THEN 'digests' END,
		CASE WHEN count(expires_at) > 0 OR count(priority) > 0 THEN 'grants' END,
		CASE WHEN count(burned_grants) > 0 THEN 'burns' END,
		CASE WHEN count(models) > 0 THEN 'lines' END,
		CASE WHEN bool_or(allowance_consumed <> 0) THEN 'allowance' END,
		CASE WHEN count(actor) > 0 THEN 'actors' END,
		CASE WHEN count(reference) > 0 THEN 'links' END,
		CASE WHEN count(idempotency_key) > 0 THEN 'keys' END], NULL)
	INTO kinds FROM ducto.ledger WHERE account_id BETWEEN lowest AND highest;
	PERFORM FROM ducto.ledger WHERE type IN ('refund', 'reversal', 'transfer_out', 'transfer_in')
		AND account_id BETWEEN lowest AND highest LIMIT 1;
	RETURN CASE WHEN FOUND THEN kinds || 'taken_back'::text ELSE kinds END;
END
$$;
REVOKE ALL ON FUNCTION ducto.ledger_has(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.ledger_has(uuid, uuid) IS 'For ducto_verify: what entries there are of these accounts, so that the ledger is not read for others.';

CREATE FUNCTION ducto.verify_suspects(suspects uuid[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
	WITH sums AS MATERIALIZED (
		SELECT l.account_id, a.balance, a.last_seq, l.amount, l.last
		FROM (SELECT account_id, sum(amount) AS amount, max(seq) AS last FROM ducto.ledger
			WHERE account_id = ANY (suspects) GROUP BY account_id) l
		LEFT JOIN ducto.accounts a ON a.id = l.account_id
	)
	SELECT account_id::uuid, 'balance', amount::text, balance::text FROM sums WHERE balance IS DISTINCT FROM amount
	UNION ALL
	SELECT account_id, 'last_seq', last::text, last_seq::text FROM sums WHERE last_seq IS DISTINCT FROM last;

	-- Each entry follows from the one before: no gap, the balance moves by the amount, no time goes back, but for the clock
	-- where it was set back.
	RETURN QUERY
	WITH broken AS MATERIALIZED (
		SELECT * FROM (
			SELECT account_id, seq, balance_after, amount, created_at, effective_at,
				coalesce(lag(balance_after) OVER before, 0) AS balance_before,
				coalesce(lag(seq) OVER before, 0) AS seq_before,
				coalesce(lag(created_at) OVER before, '-infinity') AS created_before,
				coalesce(lag(effective_at) OVER before, '-infinity') AS effective_before
			FROM ducto.ledger WHERE account_id = ANY (suspects)
			WINDOW before AS (PARTITION BY account_id ORDER BY seq)) e
		WHERE seq <> seq_before + 1 OR balance_after <> balance_before + amount
			OR created_at < created_before OR effective_at < effective_before
	)
	SELECT account_id::uuid, 'seq ' || seq, (seq_before + 1)::text, seq::text FROM broken WHERE seq <> seq_before + 1
	UNION ALL
	SELECT account_id, 'balance_after ' || seq, (balance_before + amount)::text, balance_after::text
	FROM broken WHERE balance_after <> balance_before + amount
	UNION ALL
	SELECT account_id, 'created_at ' || seq, 'not before ' || created_before, created_at::text
	FROM broken WHERE created_at < created_before
	UNION ALL
	SELECT b.account_id, 'effective_at ' || b.seq, 'not before ' || b.effective_before, b.effective_at::text
	FROM broken b LEFT JOIN ducto.accounts a ON a.id = b.account_id
	WHERE b.effective_at < b.effective_before
		AND (b.effective_at >= a.ahead_from AND b.effective_before <= a.ahead_until) IS NOT TRUE;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_suspects(uuid[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_suspects(uuid[]) IS 'For ducto_verify: accounts whose entries do not simply follow from each other.';

CREATE FUNCTION ducto.verify_entries(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	suspects uuid[] := '{}';
	discrepancy record;
BEGIN
	-- A cycle of a plan gives once.
	IF 'cycles' = ANY (has) THEN
		RETURN QUERY
		SELECT account_id, 'cycle until ' || cycle_end || ' of plan ' || coalesce(metadata ->> 'plan_id', 'none'), 'given once',
			'at ' || min(effective_at) || ' and ' || max(effective_at)
		FROM ducto.ledger WHERE cycle_end IS NOT NULL AND account_id BETWEEN lowest AND highest
		GROUP BY account_id, cycle_end, metadata ->> 'plan_id' HAVING min(effective_at) <> max(effective_at);
	END IF;

	-- What the account's row says of its ledger is what the ledger says. An entry needs an account. Where the entries of an
	-- account follow from each other, they sum to the last balance, and are as many as the last number; others are suspects.
	FOR discrepancy IN
		WITH sums AS MATERIALIZED (SELECT * FROM (
			SELECT coalesce(a.id, l.account_id) AS account_id, a.balance, a.last_seq, a.lifetime_purchased, a.carry,
				CASE WHEN l.account_id IS NULL THEN 0 ELSE l.amount END AS amount, coalesce(l.last, 0) AS last,
				coalesce(l.uncharged, 0) AS uncharged, coalesce(l.purchased, 0) + coalesce(r.purchased, 0) AS purchased
			FROM (SELECT * FROM ducto.accounts WHERE id BETWEEN lowest AND highest) a
			FULL JOIN (SELECT account_id, ducto.follow(seq, ledger.amount, balance_after, created_at, effective_at) AS amount,
					count(*) AS last, sum(ledger.amount) FILTER (WHERE type = 'purchase') AS purchased,
					sum(exact_price + ledger.amount - allowance_consumed - coalesce(shortfall, 0)) FILTER (WHERE exact_price IS NOT NULL)
						AS uncharged
				FROM ducto.ledger WHERE account_id BETWEEN lowest AND highest GROUP BY account_id) l ON l.account_id = a.id
			LEFT JOIN (SELECT r.account_id, sum(r.amount) AS purchased
				FROM ducto.ledger r JOIN ducto.ledger p ON p.id = r.reference AND p.account_id = r.account_id
				WHERE 'taken_back' = ANY (has) AND r.type = 'reversal' AND p.type = 'purchase' AND r.account_id BETWEEN lowest AND highest
				GROUP BY r.account_id) r ON r.account_id = l.account_id) s
			WHERE amount IS NULL OR (balance, last_seq, lifetime_purchased) IS DISTINCT FROM (amount, last, purchased) OR carry <> uncharged
		)
		SELECT account_id, 'suspect' AS check_name, NULL AS expected, NULL AS actual FROM sums WHERE amount IS NULL
		UNION ALL
		SELECT account_id, 'balance', amount::text, balance::text FROM sums WHERE balance IS DISTINCT FROM amount AND amount IS NOT NULL
		UNION ALL
		SELECT account_id, 'last_seq', last::text, last_seq::text FROM sums WHERE last_seq IS DISTINCT FROM last AND amount IS NOT NULL
		UNION ALL
		SELECT account_id, 'lifetime_purchased', purchased::text, lifetime_purchased::text
		FROM sums WHERE lifetime_purchased IS DISTINCT FROM purchased
		UNION ALL
		-- Exact prices sum to what was charged for them and what is carried over.
		SELECT account_id, 'carry', uncharged::text, carry::text FROM sums WHERE carry <> uncharged
	LOOP
		IF discrepancy.check_name = 'suspect' THEN
			suspects := suspects || discrepancy.account_id;
		ELSE
			RETURN NEXT discrepancy;
		END IF;
	END LOOP;
	IF suspects <> '{}' THEN
		RETURN QUERY SELECT * FROM ducto.verify_suspects(suspects);
	END IF;

	-- Credit that was added knows what was purchased until then.
	RETURN QUERY
	SELECT account_id, 'lifetime_purchased ' || seq, purchased::text, lifetime_purchased::text
	FROM (SELECT account_id, seq, lifetime_purchased,
			coalesce(sum(amount) FILTER (WHERE type = 'purchase') OVER before, 0) AS purchased,
			coalesce(bool_or(type = 'reversal') OVER before, false) AS was_reversed
		FROM ducto.ledger WHERE type <> 'usage' AND account_id BETWEEN lowest AND highest
		WINDOW before AS (PARTITION BY account_id ORDER BY seq)) e
	WHERE lifetime_purchased <> purchased AND NOT was_reversed;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_entries(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_entries(uuid, uuid, text[]) IS 'For ducto_verify: what accounts say of the ledger, and whether entries follow from each other.';

CREATE FUNCTION ducto.verify_digests(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Most ledgers have no digests.
	PERFORM FROM ducto.accounts WHERE chain_head IS NOT NULL AND id BETWEEN lowest AND highest LIMIT 1;
	IF NOT FOUND AND 'digests' <> ALL (has) THEN
		RETURN;
	END IF;

	-- Where digests are on, every entry after the first that has one has one, too.
	IF coalesce(current_setting('ducto.ledger_chain', true)::boolean, false) THEN
		RETURN QUERY
		SELECT account_id, 'digests', (max(seq) - min(seq) FILTER (WHERE digest IS NOT NULL) + 1)::text, count(digest)::text
		FROM ducto.ledger WHERE account_id BETWEEN lowest AND highest
		GROUP BY account_id HAVING count(digest) <> max(seq) - min(seq) FILTER (WHERE digest IS NOT NULL) + 1;
	END IF;

	-- Each digest is that of the entry and of the digest before it; the account knows the last one.
	RETURN QUERY
	WITH entries AS (
		SELECT account_id, seq, digest, ducto.entry_digest(l) || uuid_send(id) || int8send(seq) || timestamptz_send(created_at)
			|| CASE WHEN effective_at <> created_at THEN timestamptz_send(effective_at) ELSE '' END
			|| coalesce(timestamptz_send(cycle_end), '') AS own
		FROM ducto.ledger l WHERE account_id BETWEEN lowest AND highest AND digest IS NOT NULL
		OFFSET 0
	), links AS MATERIALIZED (
		SELECT * FROM (
			SELECT account_id, seq, digest, lead(seq) OVER chain IS NULL AS is_last,
				sha256(coalesce(lag(digest) OVER chain, decode(repeat('00', 32), 'hex')) || own) AS expected
			FROM entries WINDOW chain AS (PARTITION BY account_id ORDER BY seq)) l
		WHERE is_last OR digest <> expected
	)
	SELECT account_id::uuid, 'digest ' || seq, encode(expected, 'hex'), encode(digest, 'hex') FROM links WHERE digest <> expected
	UNION ALL
	SELECT coalesce(a.id, l.account_id), 'chain_head', encode(l.digest, 'hex'), encode(a.chain_head, 'hex')
	FROM (SELECT id, chain_head FROM ducto.accounts WHERE id BETWEEN lowest AND highest AND chain_head IS NOT NULL) a
	FULL JOIN (SELECT account_id, digest FROM links WHERE is_last) l ON l.account_id = a.id
	WHERE a.chain_head IS DISTINCT FROM l.digest;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_digests(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_digests(uuid, uuid, text[]) IS 'For ducto_verify: the digests of entries.';

CREATE FUNCTION ducto.verify_references(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- A key books once.
	IF 'keys' = ANY (has) THEN
		RETURN QUERY
		SELECT account_id, 'idempotency_key ' || idempotency_key, '1', count(*)::text FROM ducto.ledger
		WHERE idempotency_key IS NOT NULL AND account_id BETWEEN lowest AND highest
		GROUP BY account_id, idempotency_key HAVING count(*) > 1;
	END IF;

	-- Most entries of an account name none that it has to be held against.
	IF 'taken_back' <> ALL (has) THEN
		RETURN;
	END IF;

	-- No more is refunded of a debit than it took, of credits and of the allowance.
	RETURN QUERY
	WITH refunds AS MATERIALIZED (
		SELECT r.account_id, r.reference, r.refunded, r.allowance, d.type, -d.amount AS debit, d.allowance_consumed
		FROM (SELECT account_id, reference, sum(amount) AS refunded, -sum(ledger.allowance_consumed) AS allowance FROM ducto.ledger
			WHERE type = 'refund' AND account_id BETWEEN lowest AND highest GROUP BY account_id, reference) r
		LEFT JOIN ducto.ledger d ON d.id = r.reference AND d.account_id = r.account_id
		WHERE d.type IS DISTINCT FROM 'usage' OR r.refunded > -d.amount OR r.allowance > d.allowance_consumed
	)
	SELECT account_id, 'refunds of ' || reference, 'at most ' || coalesce(debit, 0), refunded::text
	FROM refunds WHERE type IS DISTINCT FROM 'usage' OR refunded > debit
	UNION ALL
	SELECT account_id, 'allowance refunds of ' || reference, 'at most ' || allowance_consumed, allowance::text
	FROM refunds WHERE allowance > allowance_consumed;

	-- No more is taken back of a credit than it added.
	RETURN QUERY
	SELECT r.account_id, 'reversals of ' || r.reference, 'at most ' || coalesce(greatest(c.amount, 0), 0), r.reversed::text
	FROM (SELECT account_id, reference, -sum(amount) AS reversed FROM ducto.ledger
		WHERE type = 'reversal' AND account_id BETWEEN lowest AND highest GROUP BY account_id, reference) r
	LEFT JOIN ducto.ledger c ON c.id = r.reference AND c.account_id = r.account_id
	WHERE (c.type IN ('purchase', 'subscription', 'signup_bonus', 'adjustment', 'promo')) IS NOT TRUE OR r.reversed > c.amount;

	-- A transfer is two entries that name each other: what one account gives the other gets.
	RETURN QUERY
	WITH transfers AS MATERIALIZED (
		SELECT account_id, id, reference, type, amount FROM ducto.ledger
		WHERE type IN ('transfer_out', 'transfer_in') AND account_id BETWEEN lowest AND highest
	), others AS MATERIALIZED (
		SELECT account_id, id, reference, type, amount FROM ducto.ledger WHERE id IN (SELECT reference FROM transfers)
	)
	SELECT t.account_id, t.type || ' ' || t.id, (-t.amount)::text, coalesce(o.amount::text, 'no other entry')
	FROM transfers t
	LEFT JOIN others o ON o.id = t.reference AND o.reference = t.id AND o.account_id <> t.account_id
		AND o.type = CASE WHEN t.type = 'transfer_out' THEN 'transfer_in' ELSE 'transfer_out' END
	WHERE o.amount IS DISTINCT FROM -t.amount OR (t.amount > 0) <> (t.type = 'transfer_in');
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_references(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_references(uuid, uuid, text[]) IS 'For ducto_verify: entries and the entries that they name, and keys.';

CREATE FUNCTION ducto.verify_grants(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- The part of a balance that is in grants is what remains of them, and no more than there is.
	RETURN QUERY
	WITH sums AS MATERIALIZED (
		SELECT coalesce(a.id, g.account_id) AS account_id, a.balance, a.expiring, coalesce(g.remaining, 0) AS remaining
		FROM (SELECT * FROM ducto.accounts WHERE id BETWEEN lowest AND highest) a
		FULL JOIN (SELECT account_id, sum(remaining) AS remaining FROM ducto.grants
			WHERE account_id BETWEEN lowest AND highest GROUP BY account_id) g ON g.account_id = a.id
		WHERE a.expiring IS DISTINCT FROM coalesce(g.remaining, 0) OR a.expiring > greatest(a.balance, 0)
	)
	SELECT account_id::uuid, 'expiring', remaining::text, expiring::text FROM sums WHERE expiring IS DISTINCT FROM remaining
	UNION ALL
	SELECT account_id, 'expiring within balance', 'at most ' || greatest(balance, 0), expiring::text
	FROM sums WHERE expiring > greatest(balance, 0);

	-- A grant has between nothing and all of its credit; the indexes find it while it has any.
	RETURN QUERY
	SELECT account_id::uuid, 'grant ' || id, '0 to ' || amount, remaining::text FROM ducto.grants
	WHERE account_id BETWEEN lowest AND highest AND (remaining < 0 OR remaining > amount OR live <> (remaining > 0));

	-- What remains of a grant is what the ledger says: added, less what a debt took of it, burned, given back, moved,
	-- expired.
	-- Credit that came past its time and expired with the next entry paid no debt.
	RETURN QUERY
	SELECT account_id, 'grant history ' || id, said::text, remaining::text
	FROM (SELECT account_id, id, sum(amount) AS said, sum(h.remaining) AS remaining
		FROM (
			SELECT account_id, id, NULL::numeric AS amount, g.remaining
			FROM ducto.grants g WHERE account_id BETWEEN lowest AND highest
			UNION ALL
			SELECT account_id, id, CASE WHEN expires_at <= created_at AND EXISTS (SELECT FROM ducto.ledger e
					WHERE e.account_id = l.account_id AND e.seq = l.seq + 1 AND e.reference = l.id AND e.amount = -l.amount)
				THEN amount ELSE greatest(0, least(amount, balance_after)) END, NULL
			FROM ducto.ledger l
			WHERE 'grants' = ANY (has) AND (expires_at IS NOT NULL OR priority IS NOT NULL) AND account_id BETWEEN lowest AND highest
			UNION ALL
			SELECT account_id, unnest(burned_grants), unnest(burned_amounts) * CASE WHEN type IN ('refund', 'transfer_in') THEN 1 ELSE -1 END,
				NULL
			FROM ducto.ledger WHERE 'burns' = ANY (has) AND burned_grants IS NOT NULL AND account_id BETWEEN lowest AND highest
			UNION ALL
			SELECT account_id, reference, amount, NULL
			FROM ducto.ledger WHERE 'links' = ANY (has) AND type = 'expiry' AND account_id BETWEEN lowest AND highest
		) h GROUP BY account_id, id) g
	WHERE said IS DISTINCT FROM remaining;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_grants(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_grants(uuid, uuid, text[]) IS 'For ducto_verify: grants, and what accounts say of them.';

CREATE FUNCTION ducto.verify_holds(lowest uuid, highest uuid) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- What is held is what is left of the open reservations; those that accounts.ended_until says ended are open in name
	-- only. Nothing of them, and of the grants, is due before next_boundary, but for what is late.
	RETURN QUERY
	WITH ends AS (
		SELECT r.account_id, sum(r.remaining) AS held, sum(r.remaining) FILTER (WHERE r.skip_allowance) AS skipping,
			min(r.expires_at) AS due
		FROM ducto.reservations r LEFT JOIN ducto.accounts a ON a.id = r.account_id
		WHERE r.account_id BETWEEN lowest AND highest AND r.state = 'open' AND (r.expires_at <= a.ended_until) IS NOT TRUE
		GROUP BY r.account_id
	), expiries AS (
		SELECT account_id, min(expires_at) FILTER (WHERE live) AS due FROM ducto.grants
		WHERE account_id BETWEEN lowest AND highest GROUP BY account_id
	), sums AS MATERIALIZED (SELECT * FROM (
		SELECT coalesce(a.id, e.account_id) AS account_id, a.held, a.held_from_credits, a.next_boundary,
			coalesce(e.held, 0) AS said, coalesce(e.skipping, 0) AS skipping,
			least(e.due, CASE WHEN x.due <= a.updated_at THEN '-infinity' ELSE x.due END,
				CASE WHEN a.plan_id IS NOT NULL THEN a.cycle_end END) AS due
		FROM (SELECT * FROM ducto.accounts WHERE id BETWEEN lowest AND highest) a
		FULL JOIN ends e ON e.account_id = a.id
		LEFT JOIN expiries x ON x.account_id = a.id) s
		WHERE (held, held_from_credits) IS DISTINCT FROM (said, skipping) OR next_boundary > due
	)
	SELECT account_id::uuid, 'held', said::text, held::text FROM sums WHERE held IS DISTINCT FROM said
	UNION ALL
	SELECT account_id, 'held_from_credits', skipping::text, held_from_credits::text
	FROM sums WHERE held_from_credits IS DISTINCT FROM skipping
	UNION ALL
	SELECT account_id, 'next_boundary', 'not after ' || due, next_boundary::text FROM sums WHERE next_boundary > due;

	-- An open reservation holds between nothing and all of its amount, a closed one nothing.
	RETURN QUERY
	SELECT account_id::uuid, 'reservation ' || id, CASE WHEN state = 'open' THEN '0 to ' || amount ELSE '0' END, remaining::text
	FROM ducto.reservations WHERE account_id BETWEEN lowest AND highest
		AND (remaining < 0 OR remaining > CASE WHEN state = 'open' THEN amount ELSE 0 END);

	-- Caps count of a reservation no more than it holds.
	RETURN QUERY
	SELECT account_id::uuid, 'cap_held of reservation ' || id, '0 to ' || remaining, cap_held::text
	FROM ducto.reservations WHERE account_id BETWEEN lowest AND highest AND (cap_held < 0 OR cap_held > remaining);

	-- No more is promised to holds than the holds that rely on the allowance have.
	RETURN QUERY
	SELECT id::uuid, 'promised', '0 to ' || held - held_from_credits, promised::text FROM ducto.accounts
	WHERE id BETWEEN lowest AND highest AND (promised < 0 OR promised > held - held_from_credits);
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_holds(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_holds(uuid, uuid) IS 'For ducto_verify: reservations, and what accounts say of them.';

CREATE FUNCTION ducto.verify_spending(lowest uuid, highest uuid, has text[]) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- The counters of allowances and members are what the ledger says was used in their period, what was refunded
	-- of it taken away; members also count what is held.
	RETURN QUERY
	WITH used AS MATERIALIZED (
		SELECT account_id, actor, day, date_trunc('month', day)::date AS month,
			sum(spent) AS spent, sum(allowance) AS allowance
		FROM (
			SELECT account_id, actor, (effective_at AT TIME ZONE 'UTC')::date AS day,
				CASE WHEN type = 'usage' THEN -amount ELSE 0 END AS spent, allowance_consumed AS allowance
			FROM ducto.ledger WHERE has && ARRAY['allowance', 'actors'] AND type || '' <> 'refund' AND account_id BETWEEN lowest AND highest
			UNION ALL
			SELECT d.account_id, d.actor, (d.effective_at AT TIME ZONE 'UTC')::date, -r.amount, r.allowance_consumed
			FROM ducto.ledger r JOIN ducto.ledger d ON d.id = r.reference AND d.account_id = r.account_id
			WHERE 'taken_back' = ANY (has) AND r.type = 'refund' AND r.account_id BETWEEN lowest AND highest
		) u
		WHERE allowance <> 0 OR actor IS NOT NULL
		GROUP BY account_id, actor, day
	), holds AS MATERIALIZED (
		SELECT r.account_id, r.actor, sum(r.remaining) AS held
		FROM ducto.reservations r LEFT JOIN ducto.accounts a ON a.id = r.account_id
		WHERE r.account_id BETWEEN lowest AND highest AND r.state = 'open' AND (r.expires_at <= a.ended_until) IS NOT TRUE
			AND r.actor IS NOT NULL
		GROUP BY r.account_id, r.actor
	), member AS MATERIALIZED (
		SELECT m.team_id AS account_id, m.user_id, m.spent, m.held, coalesce(s.spent, 0) AS said, coalesce(h.held, 0) AS open
		FROM ducto.team_members m
		LEFT JOIN (SELECT account_id, actor, month, sum(spent) AS spent FROM used GROUP BY account_id, actor, month) s
			ON s.account_id = m.team_id AND s.actor = m.user_id AND s.month = m.month
		LEFT JOIN (SELECT account_id, actor, sum(held) AS held FROM holds GROUP BY account_id, actor) h
			ON h.account_id = m.team_id AND h.actor = m.user_id
		WHERE m.team_id BETWEEN lowest AND highest
	)
	SELECT account_id::uuid, 'spent by member ' || user_id, said::text, spent::text FROM member WHERE spent <> said
	UNION ALL
	SELECT account_id, 'held by member ' || user_id, open::text, held::text FROM member WHERE held <> open;

	-- What of the allowance is used is what the ledger says of the account's cycle.
	RETURN QUERY
	SELECT a.id::uuid, 'allowance_used', coalesce(u.allowance, 0)::text, a.allowance_used::text
	FROM ducto.accounts a
	LEFT JOIN (SELECT e.account_id, sum(e.allowance) AS allowance
		FROM (
			SELECT l.account_id, sum(l.allowance_consumed) AS allowance
			FROM ducto.ledger l JOIN ducto.accounts c ON c.id = l.account_id
			WHERE 'allowance' = ANY (has) AND l.allowance_consumed <> 0 AND l.type || '' <> 'refund'
				AND l.account_id BETWEEN lowest AND highest AND l.effective_at >= c.cycle_start AND l.effective_at < c.cycle_end
			GROUP BY l.account_id
			UNION ALL
			SELECT d.account_id, sum(r.allowance_consumed)
			FROM ducto.ledger r JOIN ducto.ledger d ON d.id = r.reference AND d.account_id = r.account_id
			JOIN ducto.accounts c ON c.id = d.account_id
			WHERE 'allowance' = ANY (has) AND r.type = 'refund' AND r.allowance_consumed <> 0 AND r.account_id BETWEEN lowest AND highest
				AND d.effective_at >= c.cycle_start AND d.effective_at < c.cycle_end
			GROUP BY d.account_id
		) e GROUP BY e.account_id) u ON u.account_id = a.id
	WHERE a.cycle_end IS NOT NULL AND a.id BETWEEN lowest AND highest AND a.allowance_used <> coalesce(u.allowance, 0);

	-- A team has a pool, and a pool is a team's.
	RETURN QUERY
	SELECT coalesce(a.id, t.id)::uuid, 'team', 'a team and its pool',
		CASE WHEN a.id IS NULL THEN 'a team without a pool' ELSE 'a pool without a team' END
	FROM (SELECT id FROM ducto.accounts WHERE kind = 'team' AND id BETWEEN lowest AND highest) a
	FULL JOIN (SELECT id FROM ducto.teams WHERE id BETWEEN lowest AND highest) t ON t.id = a.id
	WHERE a.id IS NULL OR t.id IS NULL;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_spending(uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_spending(uuid, uuid, text[]) IS 'For ducto_verify: allowances, teams and their members.';

CREATE FUNCTION ducto.verify_flags(lowest uuid, highest uuid) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	clock CONSTANT timestamptz := ducto.clock();
BEGIN
	-- What lets an operation take a short way is true: the account is plain, no key is elsewhere than in the ledger. An account is a
	-- user's or a team's.
	RETURN QUERY
	WITH closing AS (
		SELECT account_id FROM ducto.reservations
		WHERE closing_key IS NOT NULL AND account_id BETWEEN lowest AND highest
		UNION
		SELECT account_id FROM ducto.usage_lines WHERE account_id BETWEEN lowest AND highest GROUP BY account_id
	), flags AS MATERIALIZED (
		SELECT a.id, a.kind, a.plain, a.closing_keys,
			a.kind = 'user' AND a.plan_id IS NULL AND a.caps = 0 AND a.promised = 0
				AND (a.ahead_until <= a.updated_at) IS NOT FALSE AS is_plain,
			c.account_id IS NOT NULL AS has_keys
		FROM ducto.accounts a LEFT JOIN closing c ON c.account_id = a.id WHERE a.id BETWEEN lowest AND highest
	)
	SELECT id::uuid, 'plain', is_plain::text, plain::text FROM flags WHERE plain <> is_plain
	UNION ALL
	SELECT id, 'closing_keys', has_keys::text, closing_keys::text FROM flags WHERE closing_keys <> has_keys
	UNION ALL
	SELECT id, 'kind', 'user or team', kind FROM flags WHERE kind NOT IN ('user', 'team');

	-- No operation was made in the future: the clock has been set back since. It may differ a little on a standby.
	RETURN QUERY
	SELECT id::uuid, 'ahead of the clock', 'not after ' || clock, updated_at::text FROM ducto.accounts
	WHERE updated_at > clock + interval '1 minute' AND id BETWEEN lowest AND highest;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_flags(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_flags(uuid, uuid) IS 'For ducto_verify: what an account''s row says of itself.';

CREATE FUNCTION ducto.verify_accounts(lowest uuid, highest uuid) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	has CONSTANT text[] := ducto.ledger_has(lowest, highest);
BEGIN
	-- What takes long says where it is.
	IF lowest < highest THEN PERFORM ducto.progress_step('balances and the order of the ledger'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_entries(lowest, highest, has);
	IF lowest < highest THEN PERFORM ducto.progress_step('digests'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_digests(lowest, highest, has);
	IF lowest < highest THEN PERFORM ducto.progress_step('refunds, reversals, transfers and keys'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_references(lowest, highest, has);
	IF lowest < highest THEN PERFORM ducto.progress_step('grants'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_grants(lowest, highest, has);
	IF lowest < highest THEN PERFORM ducto.progress_step('reservations'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_holds(lowest, highest);
	IF lowest < highest THEN PERFORM ducto.progress_step('allowances, caps and members'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_spending(lowest, highest, has);
	RETURN QUERY SELECT * FROM ducto.verify_caps(lowest, highest);
	IF lowest < highest THEN PERFORM ducto.progress_step('what accounts say of themselves'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_flags(lowest, highest);
	IF lowest < highest THEN PERFORM ducto.progress_step('lines'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_lines(lowest, highest, has);
	IF lowest < highest THEN PERFORM ducto.progress_step('each entry by itself'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_entry_rows(lowest, highest, has);
	IF lowest < highest THEN PERFORM ducto.progress_step('each grant by itself'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_grant_rows(lowest, highest);
	IF lowest < highest THEN PERFORM ducto.progress_step('each reservation by itself'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_hold_rows(lowest, highest, has);
	IF lowest < highest THEN PERFORM ducto.progress_step('plans and counters'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_account_rows(lowest, highest, has);
	IF lowest < highest THEN PERFORM ducto.progress_step('teams'); END IF;
	RETURN QUERY SELECT * FROM ducto.verify_team_rows(lowest, highest, has);
	RETURN QUERY SELECT * FROM ducto.verify_event_rows(lowest, highest);
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_accounts(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_accounts(uuid, uuid) IS 'For ducto_verify: everything that is some account''s.';

CREATE FUNCTION ducto.verify_one(account_id uuid) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan SET max_parallel_workers_per_gather = 0
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
	-- On a cluster the values say on which node the rows are.
	IF ducto.is_distributed() THEN
		PERFORM set_config('plan_cache_mode', 'force_custom_plan', true);
	END IF;
	RETURN QUERY SELECT * FROM ducto.verify_accounts(verify_one.account_id, verify_one.account_id);

	-- No other entry has the id of an entry.
	RETURN QUERY
	WITH own AS MATERIALIZED (
		SELECT l.seq, l.id FROM ducto.ledger l WHERE l.account_id = verify_one.account_id
	), alike AS MATERIALIZED (
		SELECT l.account_id, l.seq, l.id FROM ducto.ledger l WHERE l.id IN (SELECT o.id FROM own o)
	)
	SELECT DISTINCT verify_one.account_id, 'id ' || o.seq, 'of no other entry', o.id::text
	FROM own o JOIN alike a ON a.id = o.id AND (a.account_id <> verify_one.account_id OR a.seq <> o.seq);
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_one(uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_one(uuid) IS 'For ducto_verify: one account. Its plans are kept, and find its rows by index.';

CREATE FUNCTION ducto.verify_all(memory text) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET plan_cache_mode = force_custom_plan SET enable_nestloop = off SET enable_sort = off
SET enable_indexscan = off SET work_mem = '64MB'
AS $$
DECLARE
	discrepancies bigint;
BEGIN
	IF pg_size_bytes(memory) > pg_size_bytes(current_setting('work_mem')) THEN
		PERFORM set_config('work_mem', memory, true);
	END IF;
	PERFORM ducto.progress_begin('ducto_verify', 18);
	RETURN QUERY SELECT * FROM ducto.verify_accounts('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff');
	GET DIAGNOSTICS discrepancies = ROW_COUNT;

	PERFORM ducto.progress_step('all balances');
	-- Credits are neither made nor lost: all entries sum to all balances. They do where those of each account sum to its own,
	-- and there is no entry without an account.
	IF discrepancies > 0 THEN
		RETURN QUERY
		SELECT NULL::uuid, 'conservation', l.sum::text, a.sum::text
		FROM (SELECT coalesce(sum(amount), 0) AS sum FROM ducto.ledger) l,
			(SELECT coalesce(sum(balance), 0) AS sum FROM ducto.accounts) a
		WHERE l.sum <> a.sum;
	END IF;

	PERFORM ducto.progress_step('ids');
	-- No other entry has the id of an entry.
	IF (SELECT count(*) > count(DISTINCT id) FROM ducto.ledger) THEN
		RETURN QUERY
		SELECT l.account_id, 'id ' || l.seq, 'of no other entry', l.id::text
		FROM ducto.ledger l JOIN (SELECT id FROM ducto.ledger GROUP BY id HAVING count(*) > 1) d ON d.id = l.id;
	END IF;

	PERFORM ducto.progress_step('plans and pricing');
	RETURN QUERY SELECT * FROM ducto.verify_prices();
	RETURN QUERY SELECT * FROM ducto.verify_rollup();

	-- Times are the server's, and true.
	RETURN QUERY
	SELECT NULL::uuid, 'test clock', 'off', 'on, ahead by ' || ahead FROM ducto.clock_ahead() c (ahead) WHERE ahead IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_all(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_all(text) IS 'For ducto_verify: everything. Each hash takes 64 MB, or memory where that is more. Its plans read whole tables and join them by hash, whatever the statistics say.';

CREATE FUNCTION @extschema@.ducto_verify(user_id uuid DEFAULT NULL) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET DateStyle = iso SET IntervalStyle = postgres SET TimeZone = 'UTC'
AS $$
BEGIN
	IF user_id IS NULL THEN
		RETURN QUERY SELECT * FROM ducto.verify_all(current_setting('work_mem'));
	ELSE
		RETURN QUERY SELECT * FROM ducto.verify_one(user_id);
	END IF;
END
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_verify(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_verify(uuid) IS
'Proves the invariants of one account, or of everything, in one snapshot. Reads the whole ledger of what it proves, and tells every ducto.progress_interval by NOTICE how far it is.
user_id: the user, or a team; NULL = everything.
Takes no lock, works on a standby.
Returns a row for each invariant that does not hold, no rows when all do.';
