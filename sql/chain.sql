-- chain: digests of the ledger, each of an entry and of all before it.

CREATE FUNCTION ducto.entry_digest(entry record) RETURNS bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_entry_digest';
REVOKE ALL ON FUNCTION ducto.entry_digest(record) FROM PUBLIC;
COMMENT ON FUNCTION ducto.entry_digest(record) IS
'Returns the SHA-256 of the columns of an entry, but for id, seq, created_at, effective_at, cycle_end, balance_after, xact and digest; the same in every database that has the entry.';

CREATE FUNCTION ducto.chain_digest(previous bytea, entry ducto.ledger) RETURNS bytea
LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
SELECT sha256(coalesce(previous, decode(repeat('00', 32), 'hex')) || ducto.entry_digest(entry) || uuid_send(entry.id)
	|| int8send(entry.seq) || timestamptz_send(entry.created_at)
	|| CASE WHEN entry.effective_at <> entry.created_at THEN timestamptz_send(entry.effective_at) ELSE '' END
	|| coalesce(timestamptz_send(entry.cycle_end), ''))
$$;
REVOKE ALL ON FUNCTION ducto.chain_digest(bytea, ducto.ledger) FROM PUBLIC;
COMMENT ON FUNCTION ducto.chain_digest(bytea, ducto.ledger) IS
'Returns the digest that an entry has after a previous one, NULL for none. ducto.ledger.digest says what it is made of.';

CREATE TYPE @extschema@.ducto_chain_head_result AS (
	account_id uuid,
	seq bigint,
	digest bytea,
	at timestamptz
);
COMMENT ON TYPE @extschema@.ducto_chain_head_result IS 'What proves the ledger of an account up to an entry, when it is kept elsewhere.';
COMMENT ON COLUMN @extschema@.ducto_chain_head_result.account_id IS 'The user''s id, or the team''s.';
COMMENT ON COLUMN @extschema@.ducto_chain_head_result.seq IS 'The entry: the last one, or the one asked for; 0 where there is none.';
COMMENT ON COLUMN @extschema@.ducto_chain_head_result.digest IS 'Its digest, or the one that it would have: see ducto_chain_head. NULL where there is no such entry.';
COMMENT ON COLUMN @extschema@.ducto_chain_head_result.at IS 'When the entry was booked.';

CREATE FUNCTION @extschema@.ducto_chain_head(account_id uuid, seq bigint DEFAULT NULL)
RETURNS @extschema@.ducto_chain_head_result
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
#variable_conflict use_column
DECLARE
	head record;
	entry ducto.ledger;
	chained bigint;
BEGIN
	IF ducto_chain_head.account_id IS NULL THEN
		RAISE EXCEPTION 'argument "account_id" must not be null'
			USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass a value for "account_id".';
	END IF;
	SELECT l.account_id, l.seq, l.digest, l.created_at INTO head FROM ducto.ledger l
	WHERE l.account_id = ducto_chain_head.account_id AND l.seq <= coalesce(ducto_chain_head.seq, 9223372036854775807)
	ORDER BY l.seq DESC LIMIT 1;
	IF head.seq IS NULL OR head.seq < ducto_chain_head.seq THEN
		RETURN ROW(ducto_chain_head.account_id, coalesce(ducto_chain_head.seq, 0), NULL::bytea, NULL::timestamptz);
	END IF;
	IF head.digest IS NULL THEN
		-- Entries from before the chain was on: their digests are made now, from the last that was kept.
		SELECT l.seq, l.digest INTO chained, head.digest FROM ducto.ledger l
		WHERE l.account_id = head.account_id AND l.seq < head.seq AND l.digest IS NOT NULL ORDER BY l.seq DESC LIMIT 1;
		FOR entry IN
			SELECT * FROM ducto.ledger l
			WHERE l.account_id = head.account_id AND l.seq > coalesce(chained, 0) AND l.seq <= head.seq ORDER BY l.seq
		LOOP
			head.digest := ducto.chain_digest(head.digest, entry);
		END LOOP;
	END IF;
	RETURN head;
END
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_chain_head(uuid, bigint) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_chain_head(uuid, bigint) IS
'Returns the digest of an account''s last entry, which covers all entries before it: what to keep where nobody who can change the ledger can change it. Asked for later by its seq, it is another one if any of these entries was changed.
account_id: the user, or a team.
seq: the entry; NULL = the last one.
Takes no lock, works on a standby.
Returns the entry''s seq, its digest and when it was booked. For entries from when ducto.ledger_chain was off, the digest is made now, which takes a reading of them. Errors: 22004.';
