-- team: one pool of credits, many members. The pool is an account. Lengths are checked in characters, because what had 255 bytes
-- may have more of them where it is restored, in another encoding.

CREATE TABLE ducto.teams (
	id uuid NOT NULL,
	name text NOT NULL,
	created_at timestamptz NOT NULL,
	CONSTRAINT teams_pkey PRIMARY KEY (id),
	CONSTRAINT teams_name CHECK (char_length(name) BETWEEN 1 AND 255)
);

-- Which team a key of ducto_create_team has made.
CREATE TABLE ducto.team_keys (
	idempotency_key text NOT NULL,
	team_id uuid NOT NULL,
	CONSTRAINT team_keys_pkey PRIMARY KEY (idempotency_key),
	CONSTRAINT team_keys_key CHECK (char_length(idempotency_key) BETWEEN 1 AND 255)
);

-- No CHECK: PostgreSQL compiles each one anew for every statement that writes a row, and every charge to a pool writes one.
CREATE TABLE ducto.team_members (
	team_id uuid NOT NULL,
	user_id uuid NOT NULL,
	role text NOT NULL,
	spend_cap numeric,
	month date NOT NULL,
	spent numeric NOT NULL DEFAULT 0.0000,
	held numeric NOT NULL DEFAULT 0.0000,
	joined_at timestamptz NOT NULL,
	left_at timestamptz,
	CONSTRAINT team_members_pkey PRIMARY KEY (team_id, user_id)
) WITH (fillfactor = 60);

CREATE INDEX team_members_user ON ducto.team_members (user_id, team_id) WHERE left_at IS NULL;
-- Its condition says left_at IS NULL in words that no look-up of one member has, which it would serve by a walk over all of them.
CREATE INDEX team_members_rank ON ducto.team_members
	(team_id, pg_catalog.array_position(ARRAY['owner', 'admin'], role), joined_at, user_id)
	WHERE coalesce(left_at, 'infinity') = 'infinity';
ALTER TABLE ducto.teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE ducto.team_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE ducto.team_members ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.teams', '');
SELECT pg_catalog.pg_extension_config_dump('ducto.team_keys', '');
SELECT pg_catalog.pg_extension_config_dump('ducto.team_members', '');

COMMENT ON TABLE ducto.teams IS 'Teams; the pool of each is the account of the same id.';
COMMENT ON COLUMN ducto.teams.id IS 'The team''s id (UUIDv7), and its pool''s.';
COMMENT ON COLUMN ducto.teams.name IS 'The team''s name.';
COMMENT ON COLUMN ducto.teams.created_at IS 'When it was made.';
COMMENT ON TABLE ducto.team_keys IS 'The idempotency keys that teams were made under.';
COMMENT ON COLUMN ducto.team_keys.idempotency_key IS 'The caller''s key, unique among all teams.';
COMMENT ON COLUMN ducto.team_keys.team_id IS 'The team.';
COMMENT ON TABLE ducto.team_members IS 'Who may spend from a pool, with the counters of their caps, which are kept under the pool''s lock.';
COMMENT ON COLUMN ducto.team_members.team_id IS 'The team.';
COMMENT ON COLUMN ducto.team_members.user_id IS 'The member.';
COMMENT ON COLUMN ducto.team_members.role IS 'Free text.';
COMMENT ON COLUMN ducto.team_members.spend_cap IS 'Credits per UTC month; NULL = no cap.';
COMMENT ON COLUMN ducto.team_members.month IS 'First day of the UTC month that spent is of.';
COMMENT ON COLUMN ducto.team_members.spent IS 'Credits spent in that month, less what was refunded of it.';
COMMENT ON COLUMN ducto.team_members.held IS 'Credits that the member''s open reservations hold.';
COMMENT ON COLUMN ducto.team_members.joined_at IS 'When the member joined, the last time.';
COMMENT ON COLUMN ducto.team_members.left_at IS 'When the member left; NULL = still there.';

CREATE TYPE @extschema@.ducto_team_result AS (
	team_id uuid,
	name text,
	idempotent boolean
);
COMMENT ON TYPE @extschema@.ducto_team_result IS 'A team that was made.';
COMMENT ON COLUMN @extschema@.ducto_team_result.team_id IS 'The team.';
COMMENT ON COLUMN @extschema@.ducto_team_result.name IS 'The team''s name.';
COMMENT ON COLUMN @extschema@.ducto_team_result.idempotent IS 'Whether an earlier call with the same key made it.';

CREATE TYPE @extschema@.ducto_team AS (
	team_id uuid,
	name text,
	balance numeric,
	reserved numeric,
	available numeric,
	member_count integer,
	role text,
	created_at timestamptz
);
COMMENT ON TYPE @extschema@.ducto_team IS 'A team with the credits of its pool at the moment of the call.';
COMMENT ON COLUMN @extschema@.ducto_team.team_id IS 'The team.';
COMMENT ON COLUMN @extschema@.ducto_team.name IS 'The team''s name.';
COMMENT ON COLUMN @extschema@.ducto_team.balance IS 'Credits, those held included.';
COMMENT ON COLUMN @extschema@.ducto_team.reserved IS 'Credits held by open reservations.';
COMMENT ON COLUMN @extschema@.ducto_team.available IS 'Credits not held: balance - reserved.';
COMMENT ON COLUMN @extschema@.ducto_team.member_count IS 'How many members there are.';
COMMENT ON COLUMN @extschema@.ducto_team.role IS 'The role of the user whose teams are listed; NULL when all are.';
COMMENT ON COLUMN @extschema@.ducto_team.created_at IS 'When it was made.';

CREATE TYPE @extschema@.ducto_team_balance_result AS (
	team_id uuid,
	name text,
	balance numeric,
	reserved numeric,
	available numeric,
	member_count integer,
	error text
);
COMMENT ON TYPE @extschema@.ducto_team_balance_result IS 'The credits of a team''s pool at the moment of the call.';
COMMENT ON COLUMN @extschema@.ducto_team_balance_result.team_id IS 'The team.';
COMMENT ON COLUMN @extschema@.ducto_team_balance_result.name IS 'The team''s name.';
COMMENT ON COLUMN @extschema@.ducto_team_balance_result.balance IS 'Credits, those held included.';
COMMENT ON COLUMN @extschema@.ducto_team_balance_result.reserved IS 'Credits held by open reservations.';
COMMENT ON COLUMN @extschema@.ducto_team_balance_result.available IS 'Credits not held: balance - reserved.';
COMMENT ON COLUMN @extschema@.ducto_team_balance_result.member_count IS 'How many members there are.';
COMMENT ON COLUMN @extschema@.ducto_team_balance_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_team_member_result AS (
	team_id uuid,
	user_id uuid,
	role text,
	spend_cap numeric,
	error text
);
COMMENT ON TYPE @extschema@.ducto_team_member_result IS 'A member that was added or changed.';
COMMENT ON COLUMN @extschema@.ducto_team_member_result.team_id IS 'The team.';
COMMENT ON COLUMN @extschema@.ducto_team_member_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_team_member_result.role IS 'Free text.';
COMMENT ON COLUMN @extschema@.ducto_team_member_result.spend_cap IS 'Credits per UTC month; NULL = no cap.';
COMMENT ON COLUMN @extschema@.ducto_team_member_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_team_member AS (
	user_id uuid,
	role text,
	spend_cap numeric,
	total_spent numeric,
	joined_at timestamptz
);
COMMENT ON TYPE @extschema@.ducto_team_member IS 'A member of a team; total_spent is this UTC month''s.';
COMMENT ON COLUMN @extschema@.ducto_team_member.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_team_member.role IS 'Free text.';
COMMENT ON COLUMN @extschema@.ducto_team_member.spend_cap IS 'Credits per UTC month; NULL = no cap.';
COMMENT ON COLUMN @extschema@.ducto_team_member.total_spent IS 'Credits spent in this UTC month, less what was refunded of it.';
COMMENT ON COLUMN @extschema@.ducto_team_member.joined_at IS 'When the member joined, the last time.';

CREATE TYPE @extschema@.ducto_team_deduction_result AS (
	transaction_id uuid,
	team_id uuid,
	user_id uuid,
	amount numeric,
	team_balance_after numeric,
	idempotent boolean,
	error text
);
COMMENT ON TYPE @extschema@.ducto_team_deduction_result IS 'What a member charged to the pool.';
COMMENT ON COLUMN @extschema@.ducto_team_deduction_result.transaction_id IS 'The ledger entry; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_team_deduction_result.team_id IS 'The team.';
COMMENT ON COLUMN @extschema@.ducto_team_deduction_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_team_deduction_result.amount IS 'Credits taken, positive; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_team_deduction_result.team_balance_after IS 'The pool''s balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_team_deduction_result.idempotent IS 'Whether an earlier call with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_team_deduction_result.error IS 'The code of the rejection; NULL on success.';

CREATE FUNCTION @extschema@.ducto_create_team(
	name text,
	initial_balance numeric DEFAULT 0,
	idempotency_key text DEFAULT NULL
)
RETURNS @extschema@.ducto_team_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_create_team';
REVOKE ALL ON FUNCTION @extschema@.ducto_create_team(text, numeric, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_create_team(text, numeric, text) IS
'Makes a team with a pool of its own.
name: 1 to 255 bytes.
initial_balance: credits, 0 or more, booked as an adjustment.
idempotency_key: 1 to 255 bytes, in a set of its own for all teams; again, the same team comes back, with the name
  that it has, and nothing is booked. Required for an initial balance where ducto.require_idempotency_key is on.
With a key, waits for another call with it.
Returns the team''s id.
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_list_teams(
	user_id uuid DEFAULT NULL,
	max_rows integer DEFAULT 50,
	after uuid DEFAULT NULL
) RETURNS SETOF @extschema@.ducto_team
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_teams';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_teams(uuid, integer, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_teams(uuid, integer, uuid) IS
'Returns teams in the order of their ids, which is that in which they were made, with the credits of their pools, exact
at the moment of the call.
user_id: only the teams that this user is a member of, with the user''s role; NULL = all teams.
max_rows: the page, in rows, 1 or more.
after: only teams after this id.
Takes no lock, works on a standby.
Errors: 22023 (also a team''s id as user_id).';

CREATE FUNCTION @extschema@.ducto_add_team_credits(
	team_id uuid,
	amount numeric,
	type text DEFAULT 'purchase',
	metadata jsonb DEFAULT '{}',
	expires_at timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	priority integer DEFAULT NULL
) RETURNS @extschema@.ducto_add_credits_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_add_team_credits';
REVOKE ALL ON FUNCTION @extschema@.ducto_add_team_credits(uuid, numeric, text, jsonb, timestamptz, text, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_add_team_credits(uuid, numeric, text, jsonb, timestamptz, text, integer) IS
'Adds credits to a team''s pool.
team_id: the team.
amount: as in ducto_add_credits.
type: as in ducto_add_credits, but purchase by default.
metadata: a JSON object, kept with the entry.
expires_at: as in ducto_add_credits.
idempotency_key: 1 to 255 bytes; a retry with it returns the original result.
priority: as in ducto_add_credits.
Locks the pool.
Returns as ducto_add_credits, user_id being NULL.
Rejections: team_not_found, insufficient_credits, idempotency_conflict.
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_get_team_balance(team_id uuid)
RETURNS @extschema@.ducto_team_balance_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_get_team_balance';
REVOKE ALL ON FUNCTION @extschema@.ducto_get_team_balance(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_get_team_balance(uuid) IS
'Returns the credits of a team''s pool, exact at the moment of the call.
team_id: the team.
Takes no lock, works on a standby.
Returns name, balance, reserved and available, and the number of members.
Rejections: team_not_found.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_add_team_member(
	team_id uuid,
	user_id uuid,
	role text DEFAULT NULL,
	spend_cap numeric DEFAULT NULL
) RETURNS @extschema@.ducto_team_member_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_add_team_member';
REVOKE ALL ON FUNCTION @extschema@.ducto_add_team_member(uuid, uuid, text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_add_team_member(uuid, uuid, text, numeric) IS
'Adds a user to a team, or updates what is given of a member and leaves the rest. Who joins again is new, but keeps
what was spent this month.
team_id: the team.
user_id: the user.
role: free text, 1 to 255 bytes; NULL = as it is, member for a new one.
spend_cap: credits per UTC month, 0 or more; NULL = as it is, no cap for a new one; Infinity takes the cap away.
Locks the pool.
Returns the member.
Rejections: team_not_found.
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_remove_team_member(team_id uuid, user_id uuid) RETURNS boolean
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_remove_team_member';
REVOKE ALL ON FUNCTION @extschema@.ducto_remove_team_member(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_remove_team_member(uuid, uuid) IS
'Removes a user from a team: entries stay, open reservations may still settle, nothing new is admitted.
team_id: the team.
user_id: the member.
Locks the pool.
Returns whether the user was a member.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_get_team_members(team_id uuid) RETURNS SETOF @extschema@.ducto_team_member
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_get_team_members';
REVOKE ALL ON FUNCTION @extschema@.ducto_get_team_members(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_get_team_members(uuid) IS
'Returns the members of a team in the order in which they joined, with the credits each spent from the pool in this UTC
month.
team_id: the team; no rows for one that is unknown.
Takes no lock, works on a standby.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_deduct_team(
	team_id uuid,
	user_id uuid,
	amount numeric,
	metadata jsonb DEFAULT '{}',
	idempotency_key text DEFAULT NULL,
	model text DEFAULT NULL
) RETURNS @extschema@.ducto_team_deduction_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_deduct_team';
REVOKE ALL ON FUNCTION @extschema@.ducto_deduct_team(uuid, uuid, numeric, jsonb, text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_deduct_team(uuid, uuid, numeric, jsonb, text, text) IS
'Charges credits to a team''s pool on behalf of a member, when what is available in the pool covers them (its floor is
0) and the member''s cap is not exceeded.
team_id: the team.
user_id: the member.
amount: credits, positive.
metadata: a JSON object, kept with the entry.
idempotency_key: 1 to 255 bytes; a retry by the same member returns the original result.
model: stored; 1 to 255 bytes.
Locks the pool.
Returns the ledger entry''s id, the credits taken and the pool''s balance after it.
Rejections: idempotency_conflict, team_not_found, user_not_in_team, cap_reached, insufficient_credits.
Errors: 22004, 22003, 22023.';
