-- The expression language of pricing, through ducto.expr_value.
\pset format unaligned
\pset tuples_only on
\pset fieldsep '   =>   '
\pset null '(null)'

-- What an expression gives: its value, or the SQLSTATE, the position and the message of its error.
CREATE FUNCTION pg_temp.attempt(expression text, variables jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	detail text;
BEGIN
	RETURN ducto.expr_value(expression, variables);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN pg_catalog.concat_ws(' ', state, 'at ' || pg_catalog.substring(detail, '[0-9]+') || ':', message);
END $$;

-- A literal is the decimal that is written.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'0', '1000', '0.5', '.5', '5.', '1e-3', '1E3', '1e+3', '2.50', '007', '0.000', '0e99999', '1e40',
	'1e-40',
	'12345678901234567890.12345678901234567890']) AS x;

-- Nothing is rounded inside: sums and products are exact.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'0.1 + 0.2', '0.1 + 0.2 == 0.3', '1.1 * 1.1', '1e40 - 1e-40', '1e-20 * 1e-20',
	'1.000000001 * 1.000000001',
	'12345678901234567890 * 98765432109876543210', '0.1 * 3 - 0.3']) AS x;

-- A quotient without an end has 24 significant digits or more, however small or great it is.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'1 / 4', '1 / 3', '2 / 3', '-2 / 3', '1 / 3000000', '1e-30 / 7', '1e-38 / 7', '1e39 / 7', '1 / 3 * 3',
	'10 / 2', '100 / 1e-3', '1 / 1024 / 1024 / 1024', '9999 / 10000.1', '1 / 9999.9',
	'(1 / 3 * 3 - 1) * 0.0001']) AS x;

-- Every variable, with white space of every kind around it.
SELECT to_json(x), pg_temp.attempt(x, '{"input_tokens": 1, "output_tokens": 2.5, "cache_read_tokens": 3,
	"cache_write_tokens": 4, "tool_calls": 5, "search_queries": 6, "search_results": 7, "web_search_calls": 8,
	"code_exec_calls": -9e-2}')
FROM unnest(ARRAY[
	'input_tokens', ' output_tokens', 'cache_read_tokens ', E'\tcache_write_tokens', E'tool_calls\n',
	E' \n\tsearch_queries\t\n ', 'search_results', 'web_search_calls', 'code_exec_calls',
	'input_tokens * 0.01 + output_tokens * 0.03', '-cache_read_tokens * 0.0045']) AS x;

-- A variable that is not given is 0; NULL and {} give none.
SELECT ducto.expr_value('input_tokens + 1'), ducto.expr_value('input_tokens + 1', NULL),
	ducto.expr_value(expression => 'input_tokens + 1', variables => '{"tool_calls": 3}');

-- Division and modulo floor, as in Python: the rest has the sign of the divisor.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'7 // 2', '-7 // 2', '7 // -2', '-7 // -2', '6 // -2', '0 // -2', '7 % 2', '-7 % 2', '7 % -2',
	'-7 % -2',
	'6 % -2', '0 % -2', '7.5 // 2', '-7.5 // 2', '7.5 % 2', '-7.5 % 2', '7.5 % -2', '5.3 // 0.1',
	'5.3 % 0.1',
	'-0.5 // 1000', '-0.5 % 1000', '(1e39 - 1) // 1e39', '(1e39 - 1) % 1e39', '1e40 % 7',
	'1e-40 // 1e40']) AS x;

-- Unary signs.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'-3', '+3', '--3', '-+-3', '- - -3', '2 - -3', '2 - - - 3', '2*-3', '-(2 + 3)', '-input_tokens',
	'+-0']) AS x;

-- Comparisons give 1 or 0.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'1 < 2', '2 < 2', '3 < 2', '1 <= 2', '2 <= 2', '3 <= 2', '1 > 2', '2 > 2', '3 > 2', '1 >= 2',
	'2 >= 2', '3 >= 2',
	'1 == 2', '2 == 2', '3 == 2', '1 != 2', '2 != 2', '3 != 2', '1.50 == 1.5', '-0 == 0']) AS x;

-- Chained comparisons hold when each of them holds, and stop at the first that does not.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'1 < 5 < 9', '1 < 9 < 9', '9 < 5 < 9', '3 > 2 > 1', '(3 > 2) > 1', '1 < 3 > 2 != 5', '1 == 1 == 1',
	'2 == 2 == 2',
	'1 < 2 < 3 < 4 < 5', '1 < 2 < 3 < 3 < 1 / 0', '2 < 1 < 1 / 0', '1 < 2 < 1 / 0']) AS x;

-- "and" and "or" give the operand that decides, "not" gives 1 or 0.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'2 and 3', '0 and 3', '2 and 0.0', '2 or 3', '0 or 3', '0 or 0', '1 and 2 and 3', '1 and 0 and 3',
	'0 or 0 or 7',
	'not 0', 'not 0.5', 'not not 7', 'not -1', '0 or 2 and 0 or 5']) AS x;

-- "if", "and" and "or" evaluate only what they need; other functions evaluate all.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'0 and 1 / 0', '1 and 1 / 0', '1 or 1 / 0', '0 or 1 / 0', '5 if 1 else 1 / 0', '1 / 0 if 0 else 5',
	'5 if 0 else 1 / 0', 'if(1, 5, 1 / 0)', 'if(0, 1 / 0, 5)', 'if(1 / 0, 5, 5)',
	'if(0, if(1, 1 / 0, 2), 3)',
	'max(1, 1 / 0)', 'tier(1, 2, 3, 1 / 0)', '0 and (1 or 1 / 0) or 6']) AS x;

-- Conditionals nest to the right, in every place of each other.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'1 if 1 else 2', '1 if 0 else 2', '1 if 0.0 else 2', '1 if 0 else 2 if 1 else 3',
	'1 if 0 else 2 if 0 else 3',
	'(1 if 0 else 2) if 1 else 3', '1 if (0 if 1 else 1) else 3', '(1 if 1 else 2) + (3 if 0 else 4)',
	'1 if 0 or 1 else 2', '1 + 1 if 1 else 5', '1 if 0 else 2 + 5', 'max(1 if 0 else 2, 1)',
	'-(1 if 1 else 2)',
	'if(1 if 0 else 0, 4, 5) if not 0 else 6', '2 if(0)else 3']) AS x;

-- Precedence: each operator against its neighbours, how it is read, and how it is not.
SELECT x, y, pg_temp.attempt(x), pg_temp.attempt(x) = pg_temp.attempt(y),
	pg_temp.attempt(x) <> pg_temp.attempt(z)
FROM (VALUES
	('0 if 1 else 0 or 7', '0 if 1 else (0 or 7)', '(0 if 1 else 0) or 7'),
	('3 or 5 if 0 else 7', '(3 or 5) if 0 else 7', '3 or (5 if 0 else 7)'),
	('1 or 0 and 0', '1 or (0 and 0)', '(1 or 0) and 0'),
	('0 and 0 or 1', '(0 and 0) or 1', '0 and (0 or 1)'),
	('not 1 or 5', '(not 1) or 5', 'not (1 or 5)'),
	('not 0 and 5', '(not 0) and 5', 'not (0 and 5)'),
	('not 5 if 0 else 3', '(not 5) if 0 else 3', 'not (5 if 0 else 3)'),
	('not 1 == 2', 'not (1 == 2)', '(not 1) == 2'),
	('not 0 < 0', 'not (0 < 0)', '(not 0) < 0'),
	('not 1 + 1', 'not (1 + 1)', '(not 1) + 1'),
	('not -1 * 0', 'not ((-1) * 0)', '(not -1) * 0'),
	('2 == 2 and 3', '(2 == 2) and 3', '2 == (2 and 3)'),
	('2 or 2 == 3', '2 or (2 == 3)', '(2 or 2) == 3'),
	('1 + 1 < 3', '(1 + 1) < 3', '1 + (1 < 3)'),
	('3 > 1 + 1', '3 > (1 + 1)', '(3 > 1) + 1'),
	('3 != 1 * 3', '3 != (1 * 3)', '(3 != 1) * 3'),
	('2 + 3 * 4', '2 + (3 * 4)', '(2 + 3) * 4'),
	('2 * 3 + 4', '(2 * 3) + 4', '2 * (3 + 4)'),
	('9 - 8 / 4', '9 - (8 / 4)', '(9 - 8) / 4'),
	('9 - 8 // 3', '9 - (8 // 3)', '(9 - 8) // 3'),
	('9 - 8 % 3', '9 - (8 % 3)', '(9 - 8) % 3'),
	('9 - 3 - 2', '(9 - 3) - 2', '9 - (3 - 2)'),
	('9 - 3 + 2', '(9 - 3) + 2', '9 - (3 + 2)'),
	('8 / 4 / 2', '(8 / 4) / 2', '8 / (4 / 2)'),
	('8 / 4 * 2', '(8 / 4) * 2', '8 / (4 * 2)'),
	('9 // 4 // 2', '(9 // 4) // 2', '9 // (4 // 2)'),
	('9 // 2 * 2', '(9 // 2) * 2', '9 // (2 * 2)'),
	('9 % 5 * 2', '(9 % 5) * 2', '9 % (5 * 2)'),
	('2 * 9 % 5', '(2 * 9) % 5', '2 * (9 % 5)'),
	('-7 // 2', '(-7) // 2', '-(7 // 2)'),
	('-7 % 5', '(-7) % 5', '-(7 % 5)'),
	('-2 < 1', '(-2) < 1', '-(2 < 1)'),
	('-2 + 3', '(-2) + 3', '-(2 + 3)')) AS cases(x, y, z);

-- Functions.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'ceil(1.2)', 'ceil(-1.2)', 'ceil(2)', 'ceil(1e-40)', 'floor(1.2)', 'floor(-1.2)', 'floor(2)',
	'floor(-1e-40)',
	'round(2.5)', 'round(-2.5)', 'round(2.4999)', 'round(1.005, 2)', 'round(-1.005, 2)',
	'round(1250, -2)',
	'round(1249, -2)', 'round(-1250, -2)', 'round(1.23456789012, 10)', 'round(5e9, -10)',
	'round(4999999999, -10)',
	'round(2.5, 0)', 'round(2.55, 3 - 2)', 'round(1.25, 1.0)',
	'min(3)', 'min(3, 1, 2)', 'max(3)', 'max(3, 1, 4, 2)', 'min(-1, -1.0)', 'if(2, 3, 4)', 'if(0, 3, 4)',
	'clamp(5, 1, 9)', 'clamp(0, 1, 9)', 'clamp(10, 1, 9)', 'clamp(5, 9, 1)',
	'max((1), min (2, 3))']) AS x;

-- tier gives the rate of the first threshold that is above the value.
SELECT v, ducto.expr_value('tier(input_tokens, 10, 3, 100, 2, 1)', jsonb_build_object('input_tokens', v))
FROM unnest(ARRAY[0, 9.999, 10, 99, 100, 1000]) AS v;
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'tier(1, 2, 3, 4)', 'tier(2, 2, 3, 4)', 'tier(1, 9, 5, 2, 6, 7)']) AS x;

-- percentile interpolates exactly between the closest ranks of the sorted values, like percentile_cont.
SELECT p, ducto.expr_value(format('percentile(%s, 40, 15, 50, 20, 35)', p)),
	(SELECT percentile_cont(p / 100) WITHIN GROUP (ORDER BY v)
	 FROM unnest(ARRAY[40, 15, 50, 20, 35]::float[]) AS v)
FROM unnest(ARRAY[0, 5, 25, 30, 50, 62.5, 75, 99, 100]::float[]) AS p;
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'percentile(0, 7)', 'percentile(50, 7)', 'percentile(100, 7)', 'percentile(50, 1, 2)',
	'percentile(33.3, 1, 2)',
	'percentile(50, -1e40, 1e40)', 'percentile(50, 3, 3.0, 3)']) AS x;

-- What the language does not have is refused with a reason of its own.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'2 ** 3', '''a''', '"a"', '1 in 2', '1 not in 2', '1 is 2', 'input_tokens.real', '1 . real',
	'input_tokens[0]',
	'[1]', '{1}', 'input_tokens = 1', 'input_tokens := 1', 'input_tokens += 1', 'max(x=1)',
	'[x for x in 2]',
	'max(1 for x in 2)', 'lambda: 1', 'True', 'False', 'None', '1 <> 2', '1 << 2', '1 >> 2', '1 && 2',
	'1 || 2', '1 & 2',
	'1 | 2', '1 ^ 2', '~1', '!1', '1 @ 2', '1 ? 2 : 3', '1; 2', '1 # one', '1 : 2', '$1', '1 \ 2',
	'`1`']) AS x;

-- Unknown names tell the known ones; a function is no variable and a variable no function.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'price', '1 + Input_Tokens', 'input_token', 'AND', 'abs(1)', '1 + sqrt (4)', 'MAX(1)', 'max',
	'max + 1', 'if', 'if 1',
	'input_tokens(1)', repeat('x', 40), repeat('x', 41)]) AS x;

-- Wrong numbers of arguments.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'ceil()', 'ceil(1, 2)', 'floor()', 'floor(1, 2)', 'round()', 'round(1, 2, 3)', 'min()', '1 + max()',
	'if(1, 2)',
	'if(1, 2, 3, 4)', 'if()', 'tier(1, 2)', 'tier(1, 2, 3)', 'tier(1, 2, 3, 4, 5)', 'clamp(1, 2)',
	'clamp(1, 2, 3, 4)',
	'percentile(50)', 'percentile()']) AS x;

-- Other texts that are no expressions: what stands there, and what should.
SELECT to_json(x), pg_temp.attempt(x) FROM unnest(ARRAY[
	'', ' ', E' \n', '1 +', '* 1', '1 2', '1 input_tokens', '(1', '(1 2)', ')', '1)', '()', '(1, 2)',
	'1, 2', 'max(1', 'max(1,',
	'max(1,)', 'max(,1)', 'max(1 2)', 'max 1', '1 if 2', '1 if 2 3', '1 if else 2', '1 if 2 else', 'else',
	'if 1 else 2',
	'1 else 2', '1 if 2 if 3 else 4 else 5', 'not', '- not 1', '1 == not 2', '1 +* 2', '1 < = 2',
	'1 => 2', '1 === 2',
	'and 1', '1 and', '1 or or 2', '1e', '1e+', '1.2.3', '1_000', '0x10', '1j', '12abc', '1if 1 else 2',
	'1..2', '.',
	'1e5.5', '1 .5', '% 2', '// 2', ',']) AS x;

-- Division and modulo by zero.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'1 / 0', '1 // 0', '1 % 0', '0 / 0', '10 / (2 - 2.0)', '1 + 2 % input_tokens',
	'input_tokens // output_tokens']) AS x;

-- Numbers and values stay within 10^40 and 10^-40, and at most 5000 decimal places.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'1e40', '1.0000000001e40', '2e40', '1e41', '1e999999999999', '1e-40', '9.99e-41', '1e-41',
	'1e-999999999999',
	'-1e40', '-2e40', '1e40 + 0', '1e40 + 1', '-1e40 - 1', '1e20 * 1e20', '1e21 * 1e20', '1e-20 * 1e-20',
	'1e-20 * 1e-21',
	'-1e-20 * 1e-21', '1e-20 / 1e20', '1e-20 / 1e21', '1e-40 / 1e40', '1e20 / 1e-21', '1e20 // 1e-21',
	'1e-40 - 1e-40', '1e-40 * 0', '1e41 if 0 else 1', '0 and 1e30 * 1e30', 'percentile(50, 0, 1e-40)',
	'(1 + 1e-40) * (1 + 1e-40)', '(1 + 1e-40) * (1 + 1e-40) - 1 - 2e-40']) AS x;
SELECT pg_temp.attempt(rtrim(repeat('1.00000000000000000001*', 178), '*')) LIKE '1.0000000000000000017%';
SELECT pg_temp.attempt(rtrim(repeat('(1+1e-40)*', 125), '*')) LIKE '1.%';
SELECT pg_temp.attempt(rtrim(repeat('(1+1e-40)*', 126), '*'));

-- Arguments that round and percentile do not take; written ones are refused wherever they stand.
SELECT x, pg_temp.attempt(x) FROM unnest(ARRAY[
	'round(1, 11)', 'round(1, -11)', 'round(1, 0.5)', 'round(1, 1e30)', 'round(1, 5 + 6)',
	'round(1, 0.25 * 2)', 'round(1, 10)',
	'1 if 1 else round(1, 11)', '1 if 1 else round(1, 5 + 6)', 'percentile(-1, 1)',
	'percentile(100.001, 1)',
	'percentile(50 + 51, 1)', '1 if 1 else percentile(-1, 1)', '1 if 1 else percentile(0 - 1, 1)']) AS x;

-- Characters that no token begins with; positions count characters.
SELECT what, pg_temp.attempt(x) FROM (VALUES
	('control character', E'1 + \x01'), ('carriage return', E'1\r\n+ 2'), ('vertical tab', E'\x0b1'),
	('delete', E'1 \x7f'),
	('letter', U&'1 + \00E9'), ('letter in a name', U&'input_tokens\00E9'), ('sign',
	U&'input_tokens \00D7 2'),
	('digit', U&'\0663 + 1'), ('digit in a number', U&'1\0663'),
	('4 bytes', U&'\+01F4B0 + 1'), ('4 bytes, twice', U&'1 + \+01F4B0\+01F4B0')) AS cases(what, x);

-- 64 levels of nesting: parentheses, calls, signs and conditionals count.
SELECT x, n, pg_temp.attempt(repeat(x, n) || '1' || repeat(y, n))
FROM (VALUES ('(', ')'), ('max(', ')'), ('if(0,2,', ')'), ('-', ''), ('+', ''), ('0 if 0 else ', ''))
	AS cases(x, y), unnest(ARRAY[64, 65]) AS n ORDER BY x COLLATE "C", n;
SELECT n, pg_temp.attempt(repeat('-(', 32) || repeat('+', n) || '1' || repeat(')', 32))
FROM unnest(ARRAY[0, 1]) AS n;

-- Chains, "not", and what stands side by side do not count.
SELECT left(x, 20), pg_temp.attempt(x) FROM unnest(ARRAY[
	'1' || repeat(' + 1', 499), '1' || repeat(' < 2 > 1', 249), '0' || repeat(' or 0', 400) || ' or 3',
	repeat('not ', 999) || '1', repeat('-(1) + ', 240) || '1', repeat('max(1, 2) + ', 190) || '1',
	repeat('(1 if 0 else 2) + ', 160) || '1']) AS x;

-- 1,000 nodes: numbers, variables, operators, signs and calls.
SELECT left(x, 20), n, pg_temp.attempt(replace(x, '...', repeat(y, n)))
FROM (VALUES ('-1...', '+1', 499), ('max(1...)', ',1', 998),
	('...input_tokens', 'not ', 999)) AS cases(x, y, most), unnest(ARRAY[most, most + 1]) AS n;

-- 4,096 bytes, whatever is in them.
SELECT what, octet_length(x), pg_temp.attempt(x) FROM (VALUES
	('spaces and a number', repeat(' ', 4095) || '7'),
	('spaces and a number', repeat(' ', 4096) || '7'),
	('digits', repeat('1', 4096)),
	('zeros and a digit', repeat('0', 4095) || '8'),
	('zeros that an exponent takes back', '.' || repeat('0', 4085) || '9e4086'),
	('zeros that an exponent takes back', '9' || repeat('0', 4089) || 'e-4089'),
	('exponent', '1e' || repeat('9', 4094)),
	('negative exponent', '1e-' || repeat('9', 4093)),
	('opening parentheses', repeat('(', 4096)),
	('closing parentheses', repeat(')', 4096)),
	('calls', repeat('max(', 1024)),
	('signs', repeat('-', 4096)),
	('conditionals', repeat('1 if ', 819)),
	('conditionals without a condition', repeat('if ', 1365)),
	('sum', repeat('1+', 2048)),
	('comparisons', repeat('1<', 2048)),
	('arguments', 'max(' || repeat('1,', 2046)),
	('name', repeat('x', 4096)),
	('quotes', repeat('"', 4096)),
	('points', repeat('.', 4096)),
	('4-byte characters', repeat(U&'\+01F4B0', 1024)),
	('4-byte characters', repeat(U&'\+01F4B0', 1025)),
	('4-byte character across the limit', repeat(' ', 4094) || U&'\+01F4B0')) AS cases(what, x);

-- The arguments: an expression must be given, variables must be numbers of known names.
SELECT ducto.expr_value(NULL);
SELECT ducto.expr_value('1', '[]');
SELECT ducto.expr_value('1', '3');
SELECT ducto.expr_value('1', '{"tokens": 3}');
SELECT ducto.expr_value('1', '{"a/b~c": 3}');
SELECT ducto.expr_value('1', '{"input_tokens": "3"}');
SELECT ducto.expr_value('1', '{"input_tokens": null}');
SELECT ducto.expr_value('1', '{"input_tokens": {"tool_calls": 1}}');
SELECT ducto.expr_value('input_tokens', '{"input_tokens": 1e41}');
SELECT ducto.expr_value('1', '{"input_tokens": 1e41}');

-- psql points at the place.
SELECT ducto.expr_value(E'input_tokens * 0.01\n+ output_tokens ** 2');

-- Random expressions give what the same arithmetic gives in SQL.
CREATE FUNCTION pg_temp.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql
	RETURN choices[1 + floor(random() * array_length(choices, 1))::integer];

CREATE FUNCTION pg_temp.generate(depth integer, OUT expression text, OUT query text) LANGUAGE plpgsql AS $$
DECLARE
	a record;
	b record;
	op text;
BEGIN
	IF depth = 0 OR random() < 0.1 THEN
		expression := pg_temp.pick('0', '1', '2.5', '17', '0.03', '99', 'input_tokens', 'output_tokens');
		query := expression || '::numeric';
		RETURN;
	END IF;
	a := pg_temp.generate(depth - 1);
	b := pg_temp.generate(depth - 1);
	op := pg_temp.pick('+', '-', '*', '+', '-', '*', '<', '<=', '==', '!=', 'min', 'max', 'ceil', 'floor',
	'round', 'neg',
					   'and', 'or', 'not', 'if', '/', '%', '//');
	CASE op
		WHEN 'min', 'max' THEN
			expression := format('%s(%s, %s)', op, a.expression, b.expression);
			query := format('%s(%s, %s)', CASE op WHEN 'min' THEN 'least' ELSE 'greatest' END,
				a.query, b.query);
		WHEN 'ceil', 'floor' THEN
			expression := format('%s(%s)', op, a.expression);
			query := format('%s(%s)', op, a.query);
		WHEN 'round' THEN
			op := pg_temp.pick('-1', '0', '1', '3');
			expression := format('round(%s, %s)', a.expression, op);
			query := format('round(%s, %s)', a.query, op);
		WHEN 'neg', 'not' THEN
			expression := format('(%s (%s))', replace(op, 'neg', '-'), a.expression);
			query := format(CASE op WHEN 'neg' THEN '(- (%s))' ELSE '(%s = 0)::integer::numeric' END,
				a.query);
		WHEN 'if' THEN
			expression := format('(%s if %s else 7)', b.expression, a.expression);
			query := format('CASE WHEN %s <> 0 THEN %s ELSE 7 END', a.query, b.query);
		WHEN '/', '//', '%' THEN
			-- A positive divisor, so that flooring is simple.
			expression := format('((%s) %s (max(%s, 0) + 0.5))', a.expression, op, b.expression);
			query := format('(SELECT %s FROM (SELECT %s AS n, greatest(%s, 0) + 0.5 AS d) AS q)', CASE op
				WHEN '/' THEN 'trim_scale(round(n, scale(n / d) + 8) / d)'
				WHEN '%' THEN 'mod(mod(n, d) + d, d)'
				ELSE 'div(n, d) - (mod(n, d) < 0)::integer' END, a.query, b.query);
		ELSE
			expression := format('((%s) %s (%s))', a.expression, op, b.expression);
			query := format(CASE
				WHEN op = 'and' THEN
					'(SELECT CASE WHEN a = 0 THEN a ELSE %2$s END FROM (SELECT %1$s AS a) AS q)'
				WHEN op = 'or' THEN
					'(SELECT CASE WHEN a <> 0 THEN a ELSE %2$s END FROM (SELECT %1$s AS a) AS q)'
				WHEN op IN ('+', '-', '*') THEN
					'(%s ' || op || ' %s)'
				ELSE
					'(%s ' || replace(op, '==', '=') || ' %s)::integer::numeric' END, a.query, b.query);
	END CASE;
END $$;

CREATE FUNCTION pg_temp.differs(expression text, query text, input numeric, output numeric) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	wanted numeric;
BEGIN
	EXECUTE format('SELECT %s FROM (SELECT $1 AS input_tokens, $2 AS output_tokens) AS v', query)
		INTO wanted USING input, output;
	RETURN wanted <> ducto.expr_value(expression,
		jsonb_build_object('input_tokens', input, 'output_tokens', output));
END $$;

SELECT setseed(0.5);
CREATE TEMP TABLE random_cases AS
	SELECT g.*, round(random()::numeric * 100, 2) AS input, floor(random() * 100)::numeric - 50 AS output
	FROM generate_series(1, 2000) AS n, pg_temp.generate(2 + n % 3) AS g;
SELECT count(*), count(DISTINCT expression) > 1500, max(length(expression)) > 200 FROM random_cases;
SELECT expression, query, input, output FROM random_cases
WHERE pg_temp.differs(expression, query, input, output) LIMIT 3;
