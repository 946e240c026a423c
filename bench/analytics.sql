-- What each analytics function replaces, with the same answer, over the window
-- [:from, :to].
CREATE FUNCTION bench.plain_spend_by_user(f timestamptz, t timestamptz) RETURNS TABLE (user_id uuid, total_spend numeric, transaction_count bigint)
LANGUAGE sql STABLE AS $$
SELECT coalesce(actor, account_id), sum(-amount), count(*) FROM ducto.ledger
 WHERE type = 'usage' AND created_at BETWEEN f AND t GROUP BY 1 ORDER BY 2 DESC, 1
$$;
CREATE FUNCTION bench.plain_spend_by_model(f timestamptz, t timestamptz) RETURNS TABLE (model text, total_spend numeric, transaction_count bigint)
LANGUAGE sql STABLE AS $$
SELECT coalesce(model, 'unknown'), sum(-amount), count(*) FROM ducto.ledger
 WHERE type = 'usage' AND created_at BETWEEN f AND t GROUP BY 1 ORDER BY 2 DESC, 1
$$;
CREATE FUNCTION bench.plain_top_users(f timestamptz, t timestamptz) RETURNS TABLE (user_id uuid, total_spend numeric)
LANGUAGE sql STABLE AS $$
SELECT coalesce(actor, account_id), sum(-amount) FROM ducto.ledger
 WHERE type = 'usage' AND created_at BETWEEN f AND t GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10
$$;
CREATE FUNCTION bench.plain_daily_spend(f timestamptz, t timestamptz) RETURNS TABLE (date date, total_spend numeric, transaction_count bigint)
LANGUAGE sql STABLE AS $$
SELECT (created_at AT TIME ZONE 'UTC')::date, sum(-amount), count(*) FROM ducto.ledger
 WHERE type = 'usage' AND created_at BETWEEN f AND t GROUP BY 1 ORDER BY 1
$$;
CREATE FUNCTION bench.plain_aggregate_stats(f timestamptz, t timestamptz)
RETURNS TABLE (total_credits_consumed numeric, active_users bigint, avg_daily_spend numeric, top_model text, top_user uuid)
LANGUAGE sql STABLE AS $$
WITH usage AS MATERIALIZED (
	SELECT coalesce(actor, account_id) AS user_id, coalesce(model, 'unknown') AS model, -amount AS spend,
		(created_at AT TIME ZONE 'UTC')::date AS day
	  FROM ducto.ledger WHERE type = 'usage' AND created_at BETWEEN f AND t
)
SELECT sum(spend), count(DISTINCT user_id), round(sum(spend) / count(DISTINCT day), 4),
	(SELECT model FROM usage GROUP BY model ORDER BY sum(spend) DESC, model LIMIT 1),
	(SELECT user_id FROM usage GROUP BY user_id ORDER BY sum(spend) DESC, user_id LIMIT 1)
  FROM usage
$$;
