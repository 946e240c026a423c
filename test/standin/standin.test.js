// What the stand-in answers was compared with PostgREST 16.2: with its source,
// statement by statement (Config/Database.hs for the settings of roles,
// ApiRequest.hs, ApiRequest/Payload.hs and ApiRequest/QueryParams.hs for
// requests, Query/ for statements, Response.hs, RangeQuery.hs and Error.hs for
// answers). That program itself is not run here.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { sign } from './jwt.js';
import { start } from './standin.js';

const secret = 'a secret of the tests';
const service = sign({ role: 'service_role' }, secret);
const admin = new pg.Client();
let standin;

before(async () => {
	await admin.connect();
	standin = await start(secret, { schemas: ['public', 'other'], maxRows: 5 });
});

after(async () => {
	await standin.stop();
	await admin.end();
});

async function send(name, { method = 'POST', token = service, body, query = '', headers = {}, url = standin.url, prefix = '/rest/v1' } = {}) {
	const response = await fetch(`${url}${prefix}/rpc/${name}${query}`, {
		method,
		headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers },
		body,
	});
	const text = await response.text();

	return { status: response.status, headers: response.headers, text, body: text === '' ? null : JSON.parse(text) };
}

const rpc = (name, args, options = {}) =>
	send(name, { body: JSON.stringify(args), ...options, headers: { 'content-type': 'application/json', ...options.headers } });

async function newUser(...amounts) {
	const user_id = randomUUID();

	for (const amount of amounts) {
		await rpc('ducto_add_credits', { user_id, amount, type: 'purchase' });
	}
	return user_id;
}

const failed = ({ status, body }) => [status, body.code];

test('a row is an object, rows are an array, a scalar is a value', async () => {
	const user_id = randomUUID();
	const added = await rpc('ducto_add_credits', { user_id, amount: 42.5, type: 'purchase' });

	assert.equal(added.status, 200);
	assert.match(added.text, /"amount":42\.5000,"new_balance":42\.5000/);
	assert.equal(added.body.user_id, user_id);
	const { status, body } = await rpc('ducto_list_transactions', { user_id }, { prefix: '' });

	assert.deepEqual([status, body.length, body[0].type], [200, 1, 'purchase']);
	assert.equal((await rpc('ducto_list_grants', { user_id })).text, '[]');
	assert.equal((await rpc('ducto_expire_reservations', {})).text, '0');
	assert.equal((await send('ducto_expire_reservations')).text, '0');
});

test('a token says who calls', async () => {
	const user_id = randomUUID();
	const call = async (token) => failed(await rpc('ducto_get_balance', { user_id }, { token }));
	const past = Math.floor(Date.now() / 1000) - 1;

	assert.deepEqual(await call(null), [401, '42501']);
	assert.deepEqual(await call(sign({ role: 'anon' }, secret)), [401, '42501']);
	assert.deepEqual(await call(sign({ role: 'authenticated', sub: user_id }, secret)), [403, '42501']);
	assert.deepEqual(await call(sign({ role: 'service_role' }, 'another secret')), [401, 'PGRST301']);
	assert.deepEqual(await call(sign({ role: 'service_role', exp: past }, secret)), [401, 'PGRST303']);
	assert.deepEqual(await call('nonsense'), [401, 'PGRST301']);
	assert.deepEqual(await call(sign({ role: 'nobody_at_all' }, secret)), [401, '22023']);
	assert.deepEqual(await call(sign({ role: 'postgres' }, secret)), [403, '42501']);
	assert.deepEqual(await call(service), [200, undefined]);
});

test('an error has its code, and the status that PostgREST gives it', async () => {
	const missing = await rpc('ducto_charge', { user_id: null, amount: 1 });

	assert.deepEqual([missing.status, missing.body.code], [400, '22004']);
	assert.deepEqual(Object.keys(missing.body), ['code', 'details', 'hint', 'message']);
	assert.equal(missing.headers.get('proxy-status'), 'PostgREST; error=22004');
	assert.deepEqual(failed(await rpc('ducto_charge', { user_id: randomUUID(), amount: 1, reason: 'none' })), [404, 'PGRST202']);
	assert.deepEqual(failed(await rpc('ducto_charge', { amount: 1 })), [404, 'PGRST202']);
	assert.deepEqual(failed(await rpc('ducto_charge', { user_id: 'me', amount: 1 })), [400, '22P02']);
	assert.deepEqual(failed(await rpc('pg_sleep', {})), [404, 'PGRST202']);
	assert.deepEqual(failed(await rpc('ducto_my_balance', {}, { token: sign({ role: 'authenticated' }, secret) })), [403, '28000']);
	assert.deepEqual(failed(await send('ducto_charge', { method: 'PUT', body: '{}' })), [405, 'PGRST101']);
	assert.deepEqual(failed(await send('ducto_charge/more', { body: '{}' })), [404, 'PGRST125']);
});

test('a call is one transaction, and leaves nothing in its session', async () => {
	const user_id = randomUUID();

	await Promise.all(Array.from({ length: 30 }, (_, i) => i % 3 === 0
		? rpc('ducto_add_credits', { user_id, amount: 1, type: 'purchase' })
		: rpc('ducto_charge', { user_id, amount: -1 }, { token: i % 3 === 1 ? null : service })));
	assert.equal((await rpc('ducto_get_balance', { user_id })).body.balance, 10);
	const { rows } = await admin.query(
		"SELECT count(*)::integer AS open FROM pg_stat_activity WHERE usename = 'authenticator' AND xact_start IS NOT NULL");

	assert.deepEqual(rows, [{ open: 0 }]);
});

test('a body is JSON unless it says something else', async () => {
	const user_id = await newUser(10);
	const body = `{"user_id": "${user_id}", "amount": 1}`;
	const as = (type, text = body) => send('ducto_charge', { body: text, headers: { 'content-type': type } });

	assert.equal((await as('application/json; charset=utf-8')).body.balance_after, 9);
	assert.equal((await as('application/x-www-form-urlencoded', `user_id=${user_id}&amount=1`)).body.balance_after, 8);
	assert.deepEqual(failed(await as('text/plain')), [404, 'PGRST202']);
	assert.deepEqual(failed(await as('application/octet-stream')), [404, 'PGRST202']);
	assert.deepEqual(failed(await as('application/yaml')), [400, 'PGRST102']);
	assert.deepEqual(failed(await as('application/json', 'nonsense')), [400, 'PGRST102']);
	assert.deepEqual(failed(await as('application/json', '42')), [404, 'PGRST202']);
	assert.equal((await rpc('ducto_get_balance', { user_id })).body.balance, 8);
});

test('of an array only the first object is a call', async () => {
	const user_id = await newUser(10);
	const charge = (amount) => ({ user_id, amount });
	const { status, body } = await rpc('ducto_charge', [charge(1), charge(2), charge(3)]);

	assert.deepEqual([status, body.balance_after], [200, 9]);
	assert.equal((await rpc('ducto_get_balance', { user_id })).body.balance, 9);
	assert.deepEqual(failed(await rpc('ducto_charge', [charge(1), { user_id }])), [400, 'PGRST102']);
	assert.deepEqual(failed(await rpc('ducto_charge', [])), [404, 'PGRST202']);
	assert.deepEqual(failed(await rpc('ducto_charge', [1])), [400, 'PGRST102']);
});

test('a function that reads can be called with GET, one that writes cannot', async () => {
	const user_id = await newUser(1, 2);
	const get = (name, query, options) => send(name, { method: 'GET', query, ...options });

	assert.equal((await get('ducto_get_balance', `?user_id=${user_id}`)).body.balance, 3);
	assert.deepEqual((await get('ducto_list_transactions', `?user_id=${user_id}&types={refund}`)).body, []);
	assert.deepEqual(failed(await get('ducto_charge', `?user_id=${user_id}&amount=1`)), [405, '25006']);
	assert.deepEqual(failed(await get('ducto_get_balance', '?user_id=me')), [400, '22P02']);
	const head = await get('ducto_list_transactions', `?user_id=${user_id}`, { method: 'HEAD', headers: { prefer: 'count=exact' } });

	assert.deepEqual([head.status, head.text, head.headers.get('content-range')], [200, '', '0-1/2']);
});

test('rows can be chosen, sorted and cut, but no more than db-max-rows are seen', async () => {
	const user_id = await newUser(1, 2, 3, 4, 5, 6, 7);
	const list = (query, options) => rpc('ducto_list_transactions', { user_id }, { query, ...options });
	const amounts = async (query, options) => (await list(query, options)).body.map(({ amount }) => amount);

	assert.deepEqual(await amounts(''), [7, 6, 5, 4, 3]);
	assert.deepEqual(await amounts('?limit=100'), [7, 6, 5, 4, 3]);
	assert.deepEqual(await amounts('?order=amount.asc'), [1, 2, 3, 4, 5]);
	assert.deepEqual(await amounts('?order=type,amount.desc.nullslast&limit=2&offset=1'), [6, 5]);
	assert.deepEqual(await amounts('?amount=gt.5&amount=lt.7'), [6]);
	assert.deepEqual(await amounts('?amount=in.(2,4,99)'), [4, 2]);
	assert.deepEqual(await amounts('?amount=not.in.(7,6,5,4)&type=like.pur*&model=is.null'), [3, 2, 1]);
	assert.deepEqual((await list('?select=amount,type&limit=1')).body, [{ amount: 7, type: 'purchase' }]);
	assert.deepEqual(failed(await list('?amount=5')), [400, 'PGRST100']);
	assert.deepEqual(failed(await list('?order=amount.up')), [400, 'PGRST100']);
	assert.deepEqual(failed(await list('?select=nothing')), [400, '42703']);

	// the function was asked for a page, so that is all that is counted
	const counted = await rpc('ducto_list_transactions', { user_id, max_rows: 6 }, { headers: { prefer: 'count=exact' } });

	assert.deepEqual([counted.status, counted.headers.get('content-range'), counted.body.length], [206, '0-4/6', 5]);
	const get = (range) => send('ducto_list_transactions',
		{ method: 'GET', query: `?user_id=${user_id}`, headers: { range, prefer: 'count=exact' } });

	assert.deepEqual((await get('1-2')).body.map(({ amount }) => amount), [6, 5]);
	assert.deepEqual(failed(await get('9-10')), [416, 'PGRST103']);
	assert.deepEqual(failed(await get('2-1')), [416, 'PGRST103']);
	assert.equal((await rpc('ducto_get_balance', { user_id }, { query: '?select=balance' })).text, '{"balance":28.0000}');
});

test('one row can be asked for, and a media type', async () => {
	const single = { headers: { accept: 'application/vnd.pgrst.object+json' } };
	const [one, two] = [await newUser(1), await newUser(1, 2)];

	assert.equal((await rpc('ducto_list_transactions', { user_id: one }, single)).body.amount, 1);
	assert.deepEqual(failed(await rpc('ducto_list_transactions', { user_id: two }, single)), [406, 'PGRST116']);
	assert.equal((await rpc('ducto_get_balance', { user_id: one }, single)).body.balance, 1);
	assert.deepEqual(failed(await rpc('ducto_get_balance', { user_id: one }, { headers: { accept: 'text/html' } })), [406, 'PGRST107']);
});

test('a schema that is exposed can be asked for', async () => {
	await admin.query(`
		CREATE SCHEMA other;
		GRANT USAGE ON SCHEMA other TO service_role;
		CREATE FUNCTION other.answer() RETURNS integer STABLE LANGUAGE sql AS 'SELECT 42'`);
	assert.equal((await rpc('answer', {}, { headers: { 'content-profile': 'other' } })).body, 42);
	assert.equal((await send('answer', { method: 'GET', headers: { 'accept-profile': 'other' } })).body, 42);
	assert.deepEqual(failed(await rpc('answer', {})), [404, 'PGRST202']);
	assert.deepEqual(failed(await rpc('answer', {}, { headers: { 'content-profile': 'ducto' } })), [406, 'PGRST106']);
	await admin.query('DROP SCHEMA other CASCADE');
});

test('a function sees the request, and can make the response', async () => {
	await admin.query(`
		CREATE FUNCTION echo() RETURNS json STABLE LANGUAGE sql AS $$
			SELECT json_build_object('method', current_setting('request.method'), 'path', current_setting('request.path'),
				'header', current_setting('request.headers')::json->>'x-some-header', 'cookies', current_setting('request.headers')::json->'cookie')$$;
		CREATE FUNCTION respond() RETURNS text VOLATILE LANGUAGE sql AS $$
			SELECT set_config('response.status', '418', true) || set_config('response.headers', '[{"x-pot": "tea"}]', true)$$;
		CREATE FUNCTION refuse(message text, detail text) RETURNS void LANGUAGE plpgsql AS $$
			BEGIN RAISE SQLSTATE 'PGRST' USING MESSAGE = message, DETAIL = detail; END$$`);
	assert.deepEqual((await rpc('echo', {}, { headers: { 'X-Some-Header': 'value', cookie: 'a=b' } })).body,
		{ method: 'POST', path: '/rpc/echo', header: 'value', cookies: null });
	const responded = await rpc('respond', {});

	assert.deepEqual([responded.status, responded.headers.get('x-pot')], [418, 'tea']);
	const refused = await rpc('refuse', {
		message: '{"code": "UC001", "message": "insufficient_credits", "details": "{}"}',
		detail: '{"status": 402, "headers": {"x-why": "poor"}}',
	});

	assert.deepEqual([refused.status, refused.headers.get('x-why')], [402, 'poor']);
	assert.deepEqual(refused.body, { code: 'UC001', details: '{}', hint: null, message: 'insufficient_credits' });
	for (const [message, detail] of [
		['insufficient_credits', '{"status": 402, "headers": {}}'],
		['{"code": "UC001", "message": "no", "details": {}}', '{"status": 402, "headers": {}}'],
		['{"code": "UC001", "message": "no"}', '{"status": 402}'],
	]) {
		assert.deepEqual(failed(await rpc('refuse', { message, detail })), [500, 'PGRST121']);
	}
	await admin.query('DROP FUNCTION echo; DROP FUNCTION respond; DROP FUNCTION refuse');
});

test('settings of the role are those that the server knows in the session that asks', async () => {
	const setting = async (name, { url } = standin) => (await rpc('setting', { name }, { url })).body;

	await admin.query(`
		CREATE FUNCTION setting(name text) RETURNS text STABLE LANGUAGE sql AS $$SELECT current_setting(name, true)$$;
		ALTER ROLE service_role SET statement_timeout = '8s';
		ALTER ROLE service_role SET app.colour = 'blue';
		ALTER ROLE service_role SET default_transaction_isolation = 'serializable';
		ALTER ROLE authenticated SET statement_timeout = '7s'`);
	const another = await start(secret);

	assert.equal(await setting('statement_timeout'), '0'); // it was started before
	assert.equal(await setting('statement_timeout', another), '8s');
	assert.equal(await setting('transaction_isolation', another), 'serializable');
	assert.equal(await setting('app.colour', another), null);
	await standin.reload();
	assert.equal(await setting('statement_timeout'), '8s');
	await admin.query('ALTER ROLE service_role RESET ALL; ALTER ROLE authenticated RESET ALL');
	await Promise.all([standin.reload(), another.stop()]);
	assert.equal(await setting('statement_timeout'), '0');
	await admin.query('DROP FUNCTION setting');
});
