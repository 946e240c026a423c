// The statement that PostgREST makes of a call of a function.

import pg from 'pg';
import { Failure } from './errors.js';

const quote = pg.escapeIdentifier;

const functionsQuery = `
	SELECT p.provolatile = 'v' AS writes, p.proretset AS is_set, t.typtype = 'c' AS is_composite,
		t.typname = 'void' AS is_void, p.pronargs - p.pronargdefaults AS required,
		ARRAY(SELECT json_build_object('name', a.name, 'type', format_type(a.type, NULL))
			FROM unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY AS a (name, type, i)
			ORDER BY i) AS args
	FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
	WHERE p.pronamespace = $1::text::regnamespace AND p.prokind = 'f' AND p.proname = $2`;

// Finds the function that has all the arguments given, and needs no others.
// PostgREST looks into a cache, which ducto_setup lets it make anew.
export async function findFunction(client, { schema, name, isRead, given: { names, raw } }) {
	const { rows } = await client.query(functionsQuery, [quote(schema), name]);
	const found = raw ? [] : rows.filter(({ args, required }) =>
		names.every((argument) => args.some((arg) => arg.name === argument)) &&
		args.slice(0, required).every((arg) => names.includes(arg.name)));
	const list = names.join(', ');
	const title = `${schema}.${name}`;

	if (found.length > 1) {
		throw new Failure(300, 'PGRST203', `Could not choose the best candidate function between: ${
			found.map(({ args }) => `${title}(${args.map((arg) => `${arg.name} => ${arg.type}`).join(', ')})`).join(', ')}`, null,
		'Try renaming the parameters or the function itself in the database so function overloading can be resolved');
	}
	if (found.length === 0) {
		const call = list === '' ? ' without parameters' : `(${list})`;
		const searched = list === '' ? ' without parameters' : ` with parameter${names.length > 1 ? 's' : ''} ${list}`;
		const others = isRead || raw ? '' : ' or with a single unnamed json/jsonb parameter';

		throw new Failure(404, 'PGRST202', `Could not find the function ${title}${call} in the schema cache`,
			`Searched for the function ${title}${searched}${others}, but no matches were found in the schema cache.`);
	}
	return { ...found[0], args: found[0].args.filter((arg) => names.includes(arg.name)) };
}

// The function's call as a FROM item, after the one that has its arguments.
function sourceOf({ schema, name, given }, { args, is_composite: isComposite }, params) {
	const call = (value) => {
		const list = args.map((arg) => `${quote(arg.name)} := ${value(arg)}`).join(', ');
		const text = `${quote(schema)}.${quote(name)}(${list})`;

		return isComposite ? `${text} pgrst_call` : `(SELECT ${text} pgrst_scalar) pgrst_call`;
	};

	if (args.length === 0) {
		return call();
	}
	if (given.texts !== undefined) {
		return call((arg) => `$${params.push(given.texts[arg.name])}::${arg.type}`);
	}
	const record = /^[ \t\r\n]*\{/.test(given.json) ? 'json_to_record' : 'json_to_recordset';
	const columns = args.map((arg) => `${quote(arg.name)} ${arg.type}`).join(', ');
	const names = args.map((arg) => quote(arg.name)).join(', ');

	return `(SELECT $${params.push(given.json)}::json AS json_data) pgrst_payload,
		LATERAL (SELECT ${names} FROM ${record}(pgrst_payload.json_data) AS _(${columns}) LIMIT 1) pgrst_body,
		LATERAL ${call((arg) => `pgrst_body.${quote(arg.name)}`)}`;
}

function conditionOf({ column, not, operator, value }, params) {
	let right = operator === 'is' ? value : undefined;

	if (operator === 'in') {
		right = `ANY ($${params.push(value)})`;
	}
	right ??= `$${params.push(value)}`;
	return `${not ? 'NOT ' : ''}pgrst_source.${quote(column)} ${operator === 'in' ? '=' : operator} ${right}`;
}

// Makes the statement and its parameters.
export function statementOf(request, found) {
	const { columns, filters, order, range: { offset, limit }, counts, isSingular } = request;
	const { is_set: isSet, is_composite: isComposite, is_void: isVoid } = found;
	const params = [];
	const source = `SELECT ${isComposite ? 'pgrst_call.*' : 'pgrst_call.pgrst_scalar'} FROM ${sourceOf(request, found, params)}`;
	const conditions = filters.map((filter) => conditionOf(filter, params)).join(' AND ');
	const where = conditions === '' ? '' : `WHERE ${conditions}`;
	const list = columns.map((column) => column === '*' ? 'pgrst_source.*' : `pgrst_source.${quote(column)}`).join(', ');
	const terms = order.map(({ column, words }) => `pgrst_source.${quote(column)} ${words.join(' ')}`).join(', ');
	const one = isComposite ? '_postgrest_t' : '_postgrest_t.pgrst_scalar';
	let body = isSet && !isSingular ? `coalesce(json_agg(${one}), '[]')` : `coalesce(json_agg(${one})->0, 'null')`;

	if (isVoid) {
		body = 'NULL';
	}
	return {
		text: `WITH pgrst_source AS (${source})
			SELECT ${counts ? `(SELECT count(*) FROM pgrst_source ${where})` : 'NULL::bigint'} AS total,
				${isSet ? 'count(_postgrest_t)' : '1'} AS page, ${body}::text AS body,
				nullif(current_setting('response.headers', true), '') AS headers,
				nullif(current_setting('response.status', true), '') AS status
			FROM (SELECT ${list} FROM pgrst_source ${where} ${terms === '' ? '' : `ORDER BY ${terms}`}
				LIMIT ${Number.isFinite(limit) ? limit : 'ALL'} OFFSET ${offset}) _postgrest_t`,
		values: params,
	};
}
