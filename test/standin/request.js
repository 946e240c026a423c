// What an HTTP request asks PostgREST for.

import { Failure } from './errors.js';

const operators = {
	eq: '=', neq: '<>', gt: '>', gte: '>=', lt: '<', lte: '<=', like: 'like', ilike: 'ilike', is: 'is', in: 'in',
};
const isWords = { null: 'NULL', not_null: 'NOT NULL', true: 'TRUE', false: 'FALSE', unknown: 'UNKNOWN' };
const reserved = ['select', 'columns', 'on_conflict', 'order', 'limit', 'offset'];
const ends = { asc: 'ASC', desc: 'DESC', nullsfirst: 'NULLS FIRST', nullslast: 'NULLS LAST' };

// Reads an operator and its value, as not.in.(a,b); undefined: it is none.
function filterOf(column, text) {
	const [, not, name, value] = /^(not\.)?([a-z]+)\.([^]*)$/.exec(text) ?? [];

	if (operators[name] === undefined) {
		return undefined;
	}
	return { column, not: not !== undefined, operator: operators[name], value: operandOf(name, value) };
}

function operandOf(name, value) {
	if (name === 'in') {
		return value.slice(1, -1).split(',').map((each) => each.replace(/^"(.*)"$/, '$1'));
	}
	if (name === 'is') {
		const word = isWords[value.toLowerCase()];

		if (word === undefined) {
			throw new Failure(400, 'PGRST100', `"failed to parse filter (is.${value})" (line 1, column 4)`,
				'expecting isVal: (null, not_null, true, false, unknown)');
		}
		return word;
	}
	return name.endsWith('like') ? value.replaceAll('*', '%') : value;
}

// Parameters of a GET are arguments unless they have an operator; those of a
// POST are filters.
function parametersOf(query, isRead) {
	const args = [];
	const filters = [];

	for (const [name, value] of query) {
		if (reserved.includes(name)) {
			continue;
		}
		const filter = filterOf(name, value);

		if (filter !== undefined) {
			filters.push(filter);
		} else if (isRead) {
			args.push([name, value]);
		} else {
			throw new Failure(400, 'PGRST100', `"failed to parse filter (${value})" (line 1, column 1)`,
				'expecting "not" or operator (eq, gt, ...)');
		}
	}
	return { args: Object.fromEntries(args), filters };
}

function orderOf(text) {
	return text.split(',').map((term) => {
		const [column, ...rest] = term.split('.');
		const words = rest.map((word) => ends[word]);

		if (words.includes(undefined)) {
			throw new Failure(400, 'PGRST100', `"failed to parse order (${text})" (line 1, column ${column.length + 2})`,
				'expecting "asc", "desc", "nullsfirst" or "nullslast"');
		}
		return { column, words };
	});
}

function integerOf(text) {
	return /^\d+$/.test(text ?? '') ? Number(text) : undefined;
}

// The rows that are asked for: of limit and offset and, in a GET, of the header
// Range, and never more than db-max-rows.
function rangeOf(query, header, maxRows) {
	const [, first, last] = /^(\d+)-(\d*)$/.exec(header ?? '') ?? [];
	const offset = Math.max(integerOf(query.get('offset')) ?? 0, Number(first ?? 0));
	const limits = [integerOf(query.get('limit')), last ? Number(last) - offset + 1 : undefined, maxRows];

	if (last && Number(last) < Number(first)) {
		throw new Failure(416, 'PGRST103', 'Requested range not satisfiable',
			'The lower boundary must be lower than or equal to the upper boundary in the Range header.');
	}
	return { offset, limit: Math.min(...limits.filter((limit) => limit !== undefined)) };
}

// The arguments of a JSON body. Of an array that has the same keys everywhere
// only the first object counts.
function jsonOf(text) {
	let value;

	try {
		value = text === '' ? {} : JSON.parse(text);
	} catch {
		throw new Failure(400, 'PGRST102', 'Empty or invalid json');
	}
	if (!Array.isArray(value)) {
		return typeof value === 'object' && value !== null ? { names: Object.keys(value), json: text || '{}' } : { names: [], json: '[]' };
	}
	const keys = value.map((each) => typeof each === 'object' && each !== null ? Object.keys(each).sort().join('\n') : undefined);

	if (keys.some((each) => each === undefined || each !== keys[0])) {
		throw new Failure(400, 'PGRST102', 'All object keys must match');
	}
	return { names: Object.keys(value[0] ?? {}), json: text };
}

function bodyOf(text, contentType) {
	switch (contentType) {
	case 'application/json':
		return jsonOf(text);
	case 'application/x-www-form-urlencoded': {
		const texts = Object.fromEntries(new URLSearchParams(text));

		return { names: Object.keys(texts), texts };
	}
	case 'text/plain':
	case 'text/xml':
	case 'application/octet-stream':
		return { names: [], raw: true }; // for a function with one argument that has no name
	default:
		throw new Failure(400, 'PGRST102', `Content-Type not acceptable: ${contentType}`);
	}
}

function schemaOf(headers, isRead, schemas) {
	const asked = headers[isRead ? 'accept-profile' : 'content-profile'];

	if (asked !== undefined && !schemas.includes(asked)) {
		throw new Failure(406, 'PGRST106', `Invalid schema: ${asked}`, null,
			`Only the following schemas are exposed: ${schemas.join(', ')}`);
	}
	return asked ?? schemas[0];
}

// One row is wanted rather than an array, by supabase-js's single().
function isSingular(accept = '*/*') {
	const types = accept.split(',').map((type) => type.split(';')[0].trim());

	if (types.includes('application/vnd.pgrst.object+json')) {
		return true;
	}
	if (!types.some((type) => ['*/*', 'application/json'].includes(type))) {
		throw new Failure(406, 'PGRST107', `None of these media types are available: ${types.join(', ')}`);
	}
	return false;
}

// Reads a request for a function.
export function requestOf({ method, url, headers }, body, { schemas, maxRows }) {
	const { pathname, searchParams: query } = new URL(url, 'http://localhost');
	const path = pathname.replace(/^\/rest\/v1/, '');
	const name = /^\/rpc\/([^/]+)$/.exec(path)?.[1];
	const isRead = method !== 'POST';

	if (name === undefined) {
		throw new Failure(404, 'PGRST125', 'Invalid path specified in request URL');
	}
	if (!['GET', 'HEAD', 'POST'].includes(method)) {
		throw new Failure(405, 'PGRST101', `Cannot use the ${method} method on RPC`);
	}
	const { args, filters } = parametersOf(query, isRead);
	const contentType = (headers['content-type'] ?? 'application/json').split(';')[0].trim().toLowerCase();

	return {
		method, path, name, isRead, filters,
		schema: schemaOf(headers, isRead, schemas),
		given: isRead ? { names: Object.keys(args), texts: args } : bodyOf(body, contentType),
		columns: (query.get('select') || '*').split(','),
		order: query.has('order') ? orderOf(query.get('order')) : [],
		range: rangeOf(query, method === 'GET' ? headers.range : undefined, maxRows),
		counts: /\bcount=(exact|planned|estimated)\b/.test(headers.prefer ?? ''),
		isSingular: isSingular(headers.accept),
	};
}
