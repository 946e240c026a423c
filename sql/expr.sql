-- The expression language of pricing, for an operator who tries out a formula.
-- It reads no table; it is revoked from PUBLIC because nobody but operators has business in schema ducto.

CREATE FUNCTION ducto.expr_value(expression text, variables jsonb DEFAULT '{}', units text[] DEFAULT '{}') RETURNS numeric
	LANGUAGE C IMMUTABLE PARALLEL SAFE
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'expr_value';

COMMENT ON FUNCTION ducto.expr_value(text, jsonb, text[]) IS
'Evaluates a pricing expression, to try it out before it is published.
expression: the text as in a pricing configuration.
variables: a JSON object with the numbers of input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
  tool_calls, search_queries, search_results, web_search_calls and code_exec_calls, each 0 when not given, and of the units.
units: what the expression may name besides, as a pricing''s units.
Takes no lock, reads nothing.
Returns the exact value, neither rounded to four decimals nor kept from being negative; a quotient without an end has
  at least 24 significant digits.
Errors, with the position in the expression as DETAIL:
22004 expression is NULL;
22023 expression is not in the language, longer than 4,096 bytes, nested more than 64 levels deep or of more than
  1,000 nodes; a variable is unknown or not a number; round or percentile do not take an argument;
22003 a number, a variable that is used or a result on the way is above 10^40 in magnitude, not zero and below 10^-40,
  or has more than 5,000 decimal places;
22012 division or modulo by zero.';

REVOKE EXECUTE ON FUNCTION ducto.expr_value(text, jsonb, text[]) FROM PUBLIC;
