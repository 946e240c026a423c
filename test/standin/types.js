// Prints the types of the API for @supabase/supabase-js from the catalog of the
// database of libpq's environment: examples/supabase/src/ducto.ts as it should
// be. The catalog does not know which columns may be NULL; that is kept from the
// file, and what is new there may be.
//
// usage: node types.js

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

export const file = fileURLToPath(new URL('../../examples/supabase/src/ducto.ts', import.meta.url));

// What the database calls a type, and what it is in JSON.
const types = {
	uuid: 'string',
	'uuid[]': 'string[]',
	text: 'string',
	'text[]': 'string[]',
	date: 'string',
	'timestamp with time zone': 'string',
	interval: 'string',
	bytea: 'string',
	numeric: 'number',
	'numeric[]': 'number[]',
	'double precision': 'number',
	integer: 'number',
	'integer[]': 'number[]',
	bigint: 'number',
	boolean: 'boolean',
	jsonb: 'Json',
	void: 'undefined',
};

const resultsQuery = `
	SELECT c.relname AS name, json_agg(json_build_object('name', a.attname,
		'type', format_type(a.atttypid, NULL)) ORDER BY a.attnum) AS columns
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relkind = 'c' AND c.relnamespace = 'public'::regnamespace AND c.relname LIKE 'ducto\\_%'
	GROUP BY c.relname ORDER BY c.relname`;

const functionsQuery = `
	SELECT p.proname AS name, p.proretset AS is_set, format_type(p.prorettype, NULL) AS result,
		coalesce((SELECT json_agg(json_build_object('name', a.name, 'type', format_type(a.type, NULL),
				'optional', a.i > p.pronargs - p.pronargdefaults) ORDER BY a.i)
			FROM unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY AS a (name, type, i)),
			'[]') AS args
	FROM pg_proc p
	WHERE p.prokind = 'f' AND p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'ducto\\_%'
		AND p.proname NOT IN ('ducto_setup', 'ducto_grant_access', 'ducto_revoke_access')
	ORDER BY p.proname`;

// Finds the columns that the file says are never NULL, as result.column.
function neverNull(page) {
	const found = new Set();

	for (const [, result, columns] of page.matchAll(/^\t(\w+): \{\n((?:\t\t\w+: .*;\n)+)\t\};$/gm)) {
		for (const [, column, type] of columns.matchAll(/^\t\t(\w+): (.*);$/gm)) {
			if (!type.endsWith(' | null')) {
				found.add(`${result}.${column}`);
			}
		}
	}
	return found;
}

// The closed words: which type of the file an argument or a column of a function
// or a result has, all those of a name or that of one.
const words = {
	error: 'Rejection',
	'ducto_afford_result.reason': 'Rejection',
	'ducto_release_result.reason': 'ReleaseReason',
	'ducto_add_credits.type': 'CreditType',
	'ducto_add_team_credits.type': 'CreditType',
	'ducto_grant.type': 'CreditType',
	'ducto_list_transactions.types': 'EntryType[]',
	'ducto_transaction.type': 'EntryType',
	billing_mode: 'BillingMode',
	default_billing_mode: 'BillingMode',
	overrun: 'Overrun',
	'ducto_reverse_credits.overrun': 'ReverseOverrun',
	cap_type: 'CapType',
	action: 'CapAction',
	cap_warning: 'CapAction',
};

const wordOf = (of, name) => words[`${of}.${name}`] ?? words[name];

// What the application sees of a column's type.
function typeOf(result, { name, type }) {
	return wordOf(result, name) ?? types[type] ?? 'unknown';
}

// What it may pass: an amount as a text too, which keeps all its digits.
function argumentTypeOf(of, { name, type }) {
	const amount = { numeric: 'Amount', 'numeric[]': 'Amount[]' }[type];

	return wordOf(of, name) ?? amount ?? types[type] ?? 'unknown';
}

// NULL for an argument that has a default means the default. A plan is removed
// with NULL.
function argsOf(of, args) {
	const lines = args.map((arg) => {
		const { name, optional } = arg;
		const mayBeNull = optional || (of === 'ducto_set_user_plan' && name === 'plan_id');

		return `\t\t\t${name}${optional ? '?' : ''}: ${argumentTypeOf(of, arg)}${mayBeNull ? ' | null' : ''};\n`;
	});

	return lines.length === 0 ? 'Record<PropertyKey, never>' : `{\n${lines.join('')}\t\t}`;
}

// Makes the file's contents anew; page is what it has now.
export async function make(client, page) {
	const { rows: functions } = await client.query(functionsQuery);
	const { rows: all } = await client.query(resultsQuery);
	const results = all.filter(({ name }) => functions.some(({ result }) => result === name));
	const kept = neverNull(page);
	const head = page.slice(0, page.indexOf('export type Results = {'));
	const lines = ['export type Results = {'];

	for (const { name, columns } of results) {
		lines.push(`\t${name}: {`);
		for (const column of columns) {
			const isKept = kept.has(`${name}.${column.name}`);

			lines.push(`\t\t${column.name}: ${typeOf(name, column)}${isKept ? '' : ' | null'};`);
		}
		lines.push('\t};');
	}
	lines.push('};', '', 'export type Functions = {');
	for (const { name, is_set: isSet, result, args } of functions) {
		const type = results.some((each) => each.name === result) ? `Results['${result}']` : types[result] ?? 'unknown';

		lines.push(`\t${name}: {`, `\t\tArgs: ${argsOf(name, args)};`, `\t\tReturns: ${type}${isSet ? '[]' : ''};`, '\t};');
	}
	lines.push('};', '');
	return head + lines.join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const client = new pg.Client();

	await client.connect();
	process.stdout.write(await make(client, readFileSync(file, 'utf8')));
	await client.end();
}
