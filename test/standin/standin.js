// A small stand-in for PostgREST's RPC endpoint: POST /rest/v1/rpc/NAME runs a
// function of schema public with what PostgREST sends to the server for it. It
// is for tests; all that they do not need is left out.

import { createServer } from 'node:http';
import pg from 'pg';
import { verify } from './jwt.js';

const quote = pg.escapeIdentifier;

class Failure extends Error {
	constructor(status, code, message, details = null, hint = null) {
		super(message);
		this.status = status;
		this.body = { code, message, details, hint };
	}
}

// PostgREST's status for an SQLSTATE: the first line that it starts with.
const statuses = [
	['08', 503],
	['09', 500],
	['0L', 403],
	['0P', 403],
	['23503', 409],
	['23505', 409],
	['25006', 405],
	['25', 500],
	['28', 403],
	['2D', 500],
	['38', 500],
	['39', 500],
	['3B', 500],
	['40', 500],
	['53400', 500],
	['53', 503],
	['54', 500],
	['55', 500],
	['57P01', 503],
	['57', 500],
	['58', 500],
	['F0', 500],
	['HV', 500],
	['P0001', 400],
	['P0', 500],
	['XX', 500],
	['42883', 404],
	['42P01', 404],
	['42P17', 500],
];

function statusOf(code, role) {
	if (code === '42501') {
		return role === 'anon' ? 401 : 403;
	}
	if (code.startsWith('PT')) {
		return Number(code.slice(2)) || 500;
	}
	return statuses.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 400;
}

function claimsOf(headers, secret) {
	const token = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1] ?? headers.apikey;

	try {
		return { role: 'anon', ...(token === undefined ? {} : verify(token, secret)) };
	} catch (error) {
		throw new Failure(401, 'PGRST301', error.message);
	}
}

const functionsQuery = `
	SELECT p.provolatile = 'v' AS writes, p.proretset AS is_set, t.typtype = 'c' AS is_composite,
		t.typname = 'void' AS is_void, p.pronargs - p.pronargdefaults AS required,
		ARRAY(SELECT json_build_object('name', a.name, 'type', format_type(a.type, NULL))
			FROM unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY AS a (name, type, i)
			ORDER BY i) AS args
	FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
	WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f' AND p.proname = $1`;

// Finds the function that has all the arguments given, and needs no others.
async function findFunction(client, name, given) {
	const { rows } = await client.query(functionsQuery, [name]);
	const found = rows.find(({ args, required }) =>
		given.every((argument) => args.some((arg) => arg.name === argument)) &&
		args.slice(0, required).every((arg) => given.includes(arg.name)));

	if (found === undefined) {
		const list = given.join(', ');

		throw new Failure(404, 'PGRST202', `Could not find the function public.${name}(${list}) in the schema cache`,
			`Searched for the function public.${name} with parameters ${list}, but no matches were found in the schema cache.`);
	}
	return { ...found, name, args: found.args.filter((arg) => given.includes(arg.name)) };
}

function statementOf({ name, args, is_set: isSet, is_composite: isComposite, is_void: isVoid }) {
	const columns = args.map((arg) => `${quote(arg.name)} ${arg.type}`).join(', ');
	const named = args.map((arg) => `${quote(arg.name)} := pgrst_body.${quote(arg.name)}`).join(', ');
	const body = args.length === 0 ? '' :
		`, LATERAL (SELECT * FROM json_to_record(pgrst_payload.json_data) AS _(${columns}) LIMIT 1) pgrst_body`;
	const call = `public.${quote(name)}(${named})`;
	const result = isComposite ? '_postgrest_t' : '_postgrest_t.pgrst_scalar';
	let json = `coalesce(json_agg(${result})->0, 'null')`;

	if (isVoid) {
		json = 'NULL';
	} else if (isSet) {
		json = `coalesce(json_agg(${result}), '[]')`;
	}
	return `WITH pgrst_source AS (
		SELECT ${isComposite ? 'pgrst_call.*' : 'pgrst_call.pgrst_scalar'}
		FROM (SELECT $1::json AS json_data) pgrst_payload${body},
			LATERAL ${call} AS pgrst_call${isComposite ? '' : '(pgrst_scalar)'})
	SELECT ${json}::text AS body, nullif(current_setting('response.status', true), '') AS status
	FROM pgrst_source AS _postgrest_t`;
}

async function call(client, request, claims, payload) {
	const path = new URL(request.url, 'http://localhost').pathname;
	const name = /^(?:\/rest\/v1)?\/rpc\/(\w+)$/.exec(path)?.[1];
	let given;

	if (request.method !== 'POST' || name === undefined) {
		throw new Failure(404, 'PGRST125', 'Invalid path specified in request URL');
	}
	try {
		given = Object.keys(JSON.parse(payload));
	} catch {
		throw new Failure(400, 'PGRST102', 'Empty or invalid json');
	}
	const found = await findFunction(client, name, given);

	await client.query(`BEGIN ISOLATION LEVEL READ COMMITTED READ ${found.writes ? 'WRITE' : 'ONLY'}`);
	await client.query(
		`SELECT set_config('search_path', '"public"', true), set_config('role', $1, true),
			set_config('request.jwt.claims', $2, true), set_config('request.method', $3, true),
			set_config('request.path', $4, true)`,
		[claims.role, JSON.stringify(claims), request.method, `/rpc/${name}`]);
	const { rows: [row] } = await client.query(statementOf(found), [payload]);

	await client.query('COMMIT');
	return { status: Number(row.status ?? (found.is_void ? 204 : 200)), body: row.body ?? '' };
}

async function answer(pool, secret, request) {
	let client;
	let claims;

	try {
		const chunks = [];

		for await (const chunk of request) {
			chunks.push(chunk);
		}
		claims = claimsOf(request.headers, secret);
		client = await pool.connect();
		return await call(client, request, claims, Buffer.concat(chunks).toString() || '{}');
	} catch (error) {
		await client?.query('ROLLBACK');
		if (error instanceof Failure) {
			return { status: error.status, body: JSON.stringify(error.body) };
		}
		const { code = 'PGRST000', message, detail = null, hint = null } = error;

		return {
			status: error instanceof pg.DatabaseError ? statusOf(code, claims.role) : 503,
			body: JSON.stringify({ code, message, details: detail, hint }),
		};
	} finally {
		client?.release();
	}
}

// Starts the stand-in on a free port of the loopback interface. It logs in to
// the database of libpq's environment as authenticator.
export async function start(secret) {
	const pool = new pg.Pool({ user: 'authenticator', max: 10 });
	const server = createServer(async (request, response) => {
		const { status, body } = await answer(pool, secret, request);

		response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(body);
	});

	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	return {
		url: `http://127.0.0.1:${server.address().port}`,
		async stop() {
			server.closeAllConnections();
			await new Promise((resolve) => server.close(resolve));
			await pool.end();
		},
	};
}
