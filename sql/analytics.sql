-- analytics: rollups of the ledger, and what is read from them.

-- Made from the ledger by ducto_rollup, so not part of a dump. The state is a
-- row of the same table, so that emptying it starts it anew.
CREATE TABLE ducto.usage_rollup (
	hours integer NOT NULL,
	start timestamptz NOT NULL,
	part integer NOT NULL,
	cells bigint NOT NULL,
	first_xact bigint NOT NULL,
	next_xact bigint NOT NULL,
	models text[],
	model_spend bigint[],
	model_entries integer[],
	users uuid[],
	user_spend bigint[],
	user_entries integer[],
	types text[],
	type_entries bigint[],
	type_amount numeric[],
	type_from_grants numeric[],
	type_allowance numeric[],
	CONSTRAINT usage_rollup_pkey PRIMARY KEY (hours, start, part)
);

-- ids and amounts hardly shrink, and are read often
ALTER TABLE ducto.usage_rollup
	ALTER COLUMN users SET STORAGE EXTERNAL,
	ALTER COLUMN user_spend SET STORAGE EXTERNAL,
	ALTER COLUMN user_entries SET STORAGE EXTERNAL;
ALTER TABLE ducto.usage_rollup ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE ducto.usage_rollup IS 'Usage by user and by model, for hours and longer periods, and all entries by type, for hours, days and in total: what the analytics functions read in place of the ledger. ducto_rollup keeps it, ducto_rollup_rebuild makes it anew.';
COMMENT ON COLUMN ducto.usage_rollup.hours IS 'The length of the period: 1, 24, 96, 384 or 1536 hours; 0 for the row that tells how far the ledger is rolled up.';
COMMENT ON COLUMN ducto.usage_rollup.start IS 'When the period starts.';
COMMENT ON COLUMN ducto.usage_rollup.part IS 'A period may have several parts, which add up.';
COMMENT ON COLUMN ducto.usage_rollup.cells IS 'How many users and models it has.';
COMMENT ON COLUMN ducto.usage_rollup.first_xact IS 'No entry of it has a lower ducto.ledger.xact; in the row of 0 hours, the lowest number of this cluster.';
COMMENT ON COLUMN ducto.usage_rollup.next_xact IS 'All entries of it have a lower ducto.ledger.xact; in the row of 0 hours, where the next ducto_rollup begins.';
COMMENT ON COLUMN ducto.usage_rollup.models IS 'The models that were used, in order; unknown where none was told.';
COMMENT ON COLUMN ducto.usage_rollup.model_spend IS 'What was spent on each of models, in 1/10000 credits.';
COMMENT ON COLUMN ducto.usage_rollup.model_entries IS 'How many usage entries each of models has; of one with lines, its lines.';
COMMENT ON COLUMN ducto.usage_rollup.users IS 'The users who used something, in order.';
COMMENT ON COLUMN ducto.usage_rollup.user_spend IS 'What each of users spent, in 1/10000 credits.';
COMMENT ON COLUMN ducto.usage_rollup.user_entries IS 'How many usage entries each of users has; of one with lines, its lines.';
COMMENT ON COLUMN ducto.usage_rollup.types IS 'The types of all entries, in order, for 1 and 24 hours; in the row of 0 hours those of all that is rolled up.';
COMMENT ON COLUMN ducto.usage_rollup.type_entries IS 'How many entries each of types has.';
COMMENT ON COLUMN ducto.usage_rollup.type_amount IS 'The sum of their amounts, in credits.';
COMMENT ON COLUMN ducto.usage_rollup.type_from_grants IS 'What of that was taken from grants, less what was given back to them, in credits.';
COMMENT ON COLUMN ducto.usage_rollup.type_allowance IS 'What allowances paid, less what was given back to them, in credits.';

CREATE TYPE @extschema@.ducto_user_spend AS (
	user_id uuid,
	total_spend numeric,
	transaction_count bigint
);
COMMENT ON TYPE @extschema@.ducto_user_spend IS 'What a user spent.';
COMMENT ON COLUMN @extschema@.ducto_user_spend.user_id IS 'The user''s id.';
COMMENT ON COLUMN @extschema@.ducto_user_spend.total_spend IS 'Credits spent, net of allowance.';
COMMENT ON COLUMN @extschema@.ducto_user_spend.transaction_count IS 'Usage entries, those that an allowance paid too; of one with lines, its lines.';

CREATE TYPE @extschema@.ducto_model_spend AS (
	model text,
	total_spend numeric,
	transaction_count bigint
);
COMMENT ON TYPE @extschema@.ducto_model_spend IS 'What was spent on a model.';
COMMENT ON COLUMN @extschema@.ducto_model_spend.model IS 'The model; unknown where none was told.';
COMMENT ON COLUMN @extschema@.ducto_model_spend.total_spend IS 'Credits spent, net of allowance.';
COMMENT ON COLUMN @extschema@.ducto_model_spend.transaction_count IS 'Usage entries, those that an allowance paid too; of one with lines, its lines.';

CREATE TYPE @extschema@.ducto_top_user AS (
	user_id uuid,
	total_spend numeric
);
COMMENT ON TYPE @extschema@.ducto_top_user IS 'A user who spent much.';
COMMENT ON COLUMN @extschema@.ducto_top_user.user_id IS 'The user''s id.';
COMMENT ON COLUMN @extschema@.ducto_top_user.total_spend IS 'Credits spent, net of allowance.';

CREATE TYPE @extschema@.ducto_day_spend AS (
	date date,
	total_spend numeric,
	transaction_count bigint
);
COMMENT ON TYPE @extschema@.ducto_day_spend IS 'What was spent on a day.';
COMMENT ON COLUMN @extschema@.ducto_day_spend.date IS 'The UTC day.';
COMMENT ON COLUMN @extschema@.ducto_day_spend.total_spend IS 'Credits spent, net of allowance.';
COMMENT ON COLUMN @extschema@.ducto_day_spend.transaction_count IS 'Usage entries, those that an allowance paid too; of one with lines, its lines.';

CREATE TYPE @extschema@.ducto_books_day AS (
	date date,
	type text,
	entries bigint,
	amount numeric,
	from_grants numeric,
	allowance numeric
);
COMMENT ON TYPE @extschema@.ducto_books_day IS 'What was booked on a day, of one type.';
COMMENT ON COLUMN @extschema@.ducto_books_day.date IS 'The UTC day.';
COMMENT ON COLUMN @extschema@.ducto_books_day.type IS 'The type of the ledger''s entries.';
COMMENT ON COLUMN @extschema@.ducto_books_day.entries IS 'How many they are.';
COMMENT ON COLUMN @extschema@.ducto_books_day.amount IS 'Their sum in credits, as booked: negative for debits.';
COMMENT ON COLUMN @extschema@.ducto_books_day.from_grants IS 'What of it was taken from grants: a part of debits, all that expired. Negative for what refunds gave back to them.';
COMMENT ON COLUMN @extschema@.ducto_books_day.allowance IS 'What allowances paid beside it, in credits. Negative for what refunds gave back to them.';

CREATE TYPE @extschema@.ducto_aggregate_stats_result AS (
	total_credits_consumed numeric,
	active_users bigint,
	avg_daily_spend numeric,
	top_model text,
	top_user uuid
);
COMMENT ON TYPE @extschema@.ducto_aggregate_stats_result IS 'The figures of a window of time.';
COMMENT ON COLUMN @extschema@.ducto_aggregate_stats_result.total_credits_consumed IS 'Credits spent, net of allowance.';
COMMENT ON COLUMN @extschema@.ducto_aggregate_stats_result.active_users IS 'Users who used something.';
COMMENT ON COLUMN @extschema@.ducto_aggregate_stats_result.avg_daily_spend IS 'Credits per UTC day, over the days that had usage; rounded to 4 decimals.';
COMMENT ON COLUMN @extschema@.ducto_aggregate_stats_result.top_model IS 'The model that most was spent on; NULL without usage.';
COMMENT ON COLUMN @extschema@.ducto_aggregate_stats_result.top_user IS 'The user who spent most; NULL without usage.';

CREATE FUNCTION @extschema@.ducto_spend_by_user(from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL)
RETURNS SETOF @extschema@.ducto_user_spend
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_spend_by_user';
REVOKE ALL ON FUNCTION @extschema@.ducto_spend_by_user(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_spend_by_user(timestamptz, timestamptz) IS
'Returns what each user spent, in person and in teams, the largest spend first, then by id.
from_time: the start of the window, included; NULL = 30 days before its end.
to_time: the end of the window, included; NULL = now. A date without a time is its first moment, so that the day
  itself is not in the window: give the day after, or its last moment.
Refunds are not subtracted. Exact at any moment; fast for what ducto_rollup has rolled up.
Takes no lock, works on a standby.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_spend_by_model(from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL)
RETURNS SETOF @extschema@.ducto_model_spend
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_spend_by_model';
REVOKE ALL ON FUNCTION @extschema@.ducto_spend_by_model(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_spend_by_model(timestamptz, timestamptz) IS
'Returns what was spent on each model, the largest spend first, then by name in byte order.
from_time: the start of the window, included; NULL = 30 days before its end.
to_time: the end of the window, included; NULL = now. A date without a time is its first moment, so that the day
  itself is not in the window: give the day after, or its last moment.
Refunds are not subtracted. Exact at any moment; fast for what ducto_rollup has rolled up.
Takes no lock, works on a standby.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_top_users(
	max_rows integer DEFAULT 10,
	from_time timestamptz DEFAULT NULL,
	to_time timestamptz DEFAULT NULL
)
RETURNS SETOF @extschema@.ducto_top_user
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_top_users';
REVOKE ALL ON FUNCTION @extschema@.ducto_top_users(integer, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_top_users(integer, timestamptz, timestamptz) IS
'Returns the users who spent most, in person and in teams, the largest spend first, then by id.
max_rows: how many at most, 1 or more.
from_time: the start of the window, included; NULL = 30 days before its end.
to_time: the end of the window, included; NULL = now. A date without a time is its first moment, so that the day
  itself is not in the window: give the day after, or its last moment.
Refunds are not subtracted. Exact at any moment; fast for what ducto_rollup has rolled up.
Takes no lock, works on a standby.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_daily_spend(
	from_time timestamptz DEFAULT NULL,
	to_time timestamptz DEFAULT NULL,
	fill boolean DEFAULT false
)
RETURNS SETOF @extschema@.ducto_day_spend
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_daily_spend';
REVOKE ALL ON FUNCTION @extschema@.ducto_daily_spend(timestamptz, timestamptz, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_daily_spend(timestamptz, timestamptz, boolean) IS
'Returns what was spent on each UTC day, the oldest first.
from_time: the start of the window, included; NULL = 30 days before its end. Of a day that is partly in the window, only
  that part counts.
to_time: the end of the window, included; NULL = now. A date without a time is its first moment, so that the day
  itself is not in the window: give the day after, or its last moment.
fill: true returns the days of the window without usage too, with 0; it has at most 36600 days then.
Refunds are not subtracted. Exact at any moment; fast for what ducto_rollup has rolled up.
Takes no lock, works on a standby.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_books(from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL)
RETURNS SETOF @extschema@.ducto_books_day
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_books';
REVOKE ALL ON FUNCTION @extschema@.ducto_books(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_books(timestamptz, timestamptz) IS
'Returns what was booked on each UTC day, a row for each type of entry, the oldest day first, then by type in byte order.
The balances of all accounts before the window and all amounts of the window are the balances after it.
from_time: the start of the window, included; NULL = 30 days before its end. Of a day that is partly in the window, only
  that part counts.
to_time: the end of the window, included; NULL = now. A date without a time is its first moment, so that the day
  itself is not in the window: give the day after, or its last moment.
Nothing is netted: refunds, reversals and expiries are rows of their own, and usage is what was charged. A day is that on
which an entry was booked, so that days that are over do not change; credit that expired is booked by the next operation
on the account, or by the sweep. Users and teams together.
Exact at any moment; fast for what ducto_rollup has rolled up.
Takes no lock, works on a standby.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_aggregate_stats(from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL)
RETURNS @extschema@.ducto_aggregate_stats_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_aggregate_stats';
REVOKE ALL ON FUNCTION @extschema@.ducto_aggregate_stats(timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_aggregate_stats(timestamptz, timestamptz) IS
'Returns the figures of a window: credits spent, active users, the average of the days that had usage, the model and
the user with the largest spend (ties: by name, by id).
from_time: the start of the window, included; NULL = 30 days before its end.
to_time: the end of the window, included; NULL = now. A date without a time is its first moment, so that the day
  itself is not in the window: give the day after, or its last moment.
Refunds are not subtracted. Exact at any moment; fast for what ducto_rollup has rolled up.
Takes no lock, works on a standby.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_rollup(max_rows integer DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_rollup';
REVOKE ALL ON FUNCTION @extschema@.ducto_rollup(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_rollup(integer) IS
'Rolls up entries of the ledger for the analytics functions and the books. Only entries of transactions that are older than
every running one are rolled up, so none is missed.
max_rows: how many at most, but a transaction''s entries are never parted; NULL = all.
Locks the rollup, so that two calls work one after the other; never an account. CALL ducto_sweep() does it too.
Returns how many entries it rolled up.
Errors: 22023, 40001.';

CREATE FUNCTION @extschema@.ducto_rollup_rebuild() RETURNS bigint
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_rollup_rebuild';
REVOKE ALL ON FUNCTION @extschema@.ducto_rollup_rebuild() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_rollup_rebuild() IS
'Throws the rollup away and makes it anew from the ledger. Readers go on with the old one until it commits. It tells every
ducto.progress_interval by NOTICE how far it is.
Locks the rollup, never an account.
Returns how many entries it has.
Errors: 40001.';

CREATE VIEW ducto.daily_books AS
SELECT date, type, entries, amount, from_grants, allowance FROM @extschema@.ducto_books('4713-01-01 00:00:00+00 BC', '294276-12-31 00:00:00+00');
COMMENT ON VIEW ducto.daily_books IS 'What was booked on each UTC day, a row for each type of entry: all that ducto_books returns, which whoever reads it must be granted too. Nothing is netted: refunds, reversals and expiries are rows of their own.';
COMMENT ON COLUMN ducto.daily_books.date IS 'The UTC day.';
COMMENT ON COLUMN ducto.daily_books.type IS 'The type of the ledger''s entries.';
COMMENT ON COLUMN ducto.daily_books.entries IS 'How many they are.';
COMMENT ON COLUMN ducto.daily_books.amount IS 'Their sum in credits, as booked: negative for debits.';
COMMENT ON COLUMN ducto.daily_books.from_grants IS 'What of it was taken from grants: a part of debits, all that expired. Negative for what refunds gave back to them.';
COMMENT ON COLUMN ducto.daily_books.allowance IS 'What allowances paid beside it, in credits. Negative for what refunds gave back to them.';

CREATE VIEW ducto.daily_usage AS
SELECT date, "user", coalesce(model, 'unknown') AS model, sum(spend) AS spend, sum(count)::bigint AS count
FROM (
	SELECT (created_at AT TIME ZONE 'UTC')::date AS date, coalesce(actor, account_id) AS "user",
		unnest(coalesce(models, ARRAY[model])) AS model, unnest(coalesce(model_spend, ARRAY[-amount])) AS spend,
		unnest(coalesce(model_lines, ARRAY[1])) AS count
	FROM ducto.ledger WHERE type = 'usage'
) u GROUP BY 1, 2, 3;
COMMENT ON VIEW ducto.daily_usage IS 'What each user spent on each model on each UTC day, in person and in teams. It reads the ledger. Refunds are not subtracted.';
COMMENT ON COLUMN ducto.daily_usage.date IS 'The UTC day.';
COMMENT ON COLUMN ducto.daily_usage."user" IS 'The user''s id. Write it "user": without quotes, user is the role that asks.';
COMMENT ON COLUMN ducto.daily_usage.model IS 'The model; unknown where none was told.';
COMMENT ON COLUMN ducto.daily_usage.spend IS 'Credits spent, net of allowance.';
COMMENT ON COLUMN ducto.daily_usage.count IS 'Usage entries, those that an allowance paid too; of one with lines, its lines.';
