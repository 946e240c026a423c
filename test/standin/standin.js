// A stand-in for PostgREST's RPC endpoint: /rest/v1/rpc/NAME runs a function of
// an exposed schema with what PostgREST sends to the server for it, in the way
// of PostgREST 16.2: its statements, statuses, codes and headers. It is for
// tests: tables, embedding, casts, CSV and the root are left out.

import { createServer } from 'node:http';
import pg from 'pg';
import { Failure, failureOf } from './errors.js';
import { verify } from './jwt.js';
import { requestOf } from './request.js';
import { findFunction, statementOf } from './statement.js';

// The settings of the roles that the login role can become: those that the
// server knows in this very session, and that the role may set.
const roleSettingsQuery = `
	WITH setting AS (
		SELECT r.rolname, split_part(s, '=', 1) AS name, substr(s, strpos(s, '=') + 1) AS value
		FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid, unnest(r.rolconfig) s
		WHERE m.member = current_user::regrole)
	SELECT rolname, json_object_agg(s.name, s.value) AS settings
	FROM setting s JOIN pg_settings p ON p.name = s.name
	WHERE p.context = 'user' GRANTED
	GROUP BY rolname`;

async function readRoleSettings(client) {
	const { rows: [{ version }] } = await client.query("SELECT current_setting('server_version_num')::integer AS version");
	const granted = version >= 150000 ? "OR has_parameter_privilege(current_user, p.name, 'SET')" : '';
	const { rows } = await client.query(roleSettingsQuery.replace('GRANTED', granted));

	return Object.fromEntries(rows.map(({ rolname, settings }) => [rolname, settings]));
}

function claimsOf(headers, secret) {
	const token = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1] ?? headers.apikey;

	try {
		return { role: 'anon', ...(token === undefined ? {} : verify(token, secret)) };
	} catch ({ code = 'PGRST301', message }) {
		throw new Failure(401, code, message, null, null,
			{ 'www-authenticate': `Bearer error="invalid_token", error_description=${JSON.stringify(message)}` });
	}
}

// Sets what PostgREST tells a transaction: the role's settings before the role,
// then the request.
async function tell(client, { schema, method, path }, headers, claims, settings) {
	const told = [['search_path', pg.escapeIdentifier(schema)],
		...Object.entries(settings).filter(([name]) => name !== 'default_transaction_isolation'),
		['role', claims.role], ['request.jwt.claims', JSON.stringify(claims)], ['request.method', method], ['request.path', path],
		['request.headers', JSON.stringify(headers)], ['request.cookies', '{}']];

	await client.query(`SELECT ${told.map((_, i) => `set_config($${2 * i + 1}, $${2 * i + 2}, true)`).join(', ')}`, told.flat());
}

// The response to what the statement gave.
function responseTo({ method, isSingular, range: { offset } }, found, { total, page, body, headers, status }) {
	const rows = Number(page);
	const count = total === null ? undefined : Number(total);
	const own = Object.assign({}, ...JSON.parse(headers ?? '[]'));
	const shown = rows > 0 && count !== 0 ? `${offset}-${offset + rows - 1}` : '*';
	let usual = count !== undefined && rows < count ? 206 : 200;

	if (isSingular && rows !== 1) {
		throw new Failure(406, 'PGRST116', 'Cannot coerce the result to a single JSON object', `The result contains ${rows} rows`);
	}
	if (count !== undefined && offset > count) {
		throw new Failure(416, 'PGRST103', 'Requested range not satisfiable',
			`An offset of ${offset} was requested, but there are only ${count} rows.`);
	}
	if (found.is_void) {
		usual = 204;
	}
	return {
		status: Number(status ?? usual),
		headers: { 'content-range': `${shown}/${count ?? '*'}`, ...own },
		body: method === 'HEAD' ? '' : body ?? '',
	};
}

async function call(client, request, headers, claims, settings) {
	const found = await findFunction(client, request);
	const { text, values } = statementOf(request, found);
	const isolation = settings.default_transaction_isolation ?? 'read committed';

	await client.query(`BEGIN ISOLATION LEVEL ${isolation} READ ${found.writes && !request.isRead ? 'WRITE' : 'ONLY'}`);
	await tell(client, request, headers, claims, settings);
	const { rows: [row] } = await client.query(text, values);
	const response = responseTo(request, found, row);

	await client.query('COMMIT');
	return response;
}

async function answer({ pool, secret, options, roleSettings }, incoming) {
	let client;
	let claims;
	let broken = false;

	try {
		const chunks = [];

		for await (const chunk of incoming) {
			chunks.push(chunk);
		}
		claims = claimsOf(incoming.headers, secret);
		const { cookie, ...headers } = incoming.headers;
		const request = requestOf(incoming, Buffer.concat(chunks).toString(), options);

		client = await pool.connect();
		return await call(client, request, headers, claims, roleSettings[claims.role] ?? {});
	} catch (error) {
		const { status, body, headers } = failureOf(error, claims?.role);

		broken = await client?.query('ROLLBACK').then(() => false, () => true) ?? false;
		return { status, headers: { 'proxy-status': `PostgREST; error=${body.code}`, ...headers }, body: JSON.stringify(body) };
	} finally {
		client?.release(broken);
	}
}

// Starts the stand-in on a free port of the loopback interface. It logs in to
// the database of libpq's environment as authenticator. Options: the exposed
// schemas, the first being the default, and db-max-rows as maxRows.
export async function start(secret, { schemas = ['public'], maxRows } = {}) {
	const pool = new pg.Pool({ user: 'authenticator', max: 10 });
	const state = { pool, secret, options: { schemas, maxRows }, roleSettings: {} };
	const server = createServer(async (request, response) => {
		const { status, headers, body } = await answer(state, request);

		response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers }).end(body);
	});
	const reload = async () => {
		state.roleSettings = await readRoleSettings(pool);
	};

	pool.on('error', () => {}); // a connection that ends while nobody uses it
	await reload();
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	return {
		url: `http://127.0.0.1:${server.address().port}`,
		reload, // as NOTIFY pgrst, 'reload config' does, in whatever connection is free
		async stop() {
			server.closeAllConnections();
			await new Promise((resolve) => server.close(resolve));
			await pool.end();
		},
	};
}
