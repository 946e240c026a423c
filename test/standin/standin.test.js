import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { sign } from './jwt.js';
import { start } from './standin.js';
import { file, make } from './types.js';

const secret = 'a secret of the tests';
const service = sign({ role: 'service_role' }, secret);
const admin = new pg.Client();
let standin;

before(async () => {
	await admin.connect();
	standin = await start(secret);
});

after(async () => {
	await standin.stop();
	await admin.end();
});

async function rpc(token, name, args, { url = standin.url, prefix = '/rest/v1' } = {}) {
	const response = await fetch(`${url}${prefix}/rpc/${name}`, {
		method: 'POST',
		headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
		body: JSON.stringify(args),
	});
	const text = await response.text();

	return { status: response.status, text, body: text === '' ? null : JSON.parse(text) };
}

test('a row is an object, rows are an array, a scalar is a value', async () => {
	const user_id = randomUUID();
	const added = await rpc(service, 'ducto_add_credits', { user_id, amount: 42.5, type: 'purchase' });

	assert.equal(added.status, 200);
	assert.match(added.text, /"amount":42\.5000,"new_balance":42\.5000/);
	assert.equal(added.body.user_id, user_id);
	const { status, body } = await rpc(service, 'ducto_list_transactions', { user_id }, { prefix: '' });

	assert.deepEqual([status, body.length, body[0].type], [200, 1, 'purchase']);
	assert.deepEqual(await rpc(service, 'ducto_list_grants', { user_id }), { status: 200, text: '[]', body: [] });
	assert.deepEqual(await rpc(service, 'ducto_expire_reservations', {}), { status: 200, text: '0', body: 0 });
});

test('a token says who calls', async () => {
	const user_id = randomUUID();
	const args = { user_id };
	const call = (token) => rpc(token, 'ducto_get_balance', args).then(({ status, body }) => [status, body.code]);
	const past = Math.floor(Date.now() / 1000) - 1;

	assert.deepEqual(await call(undefined), [401, '42501']);
	assert.deepEqual(await call(sign({ role: 'anon' }, secret)), [401, '42501']);
	assert.deepEqual(await call(sign({ role: 'authenticated', sub: user_id }, secret)), [403, '42501']);
	assert.deepEqual(await call(sign({ role: 'service_role' }, 'another secret')), [401, 'PGRST301']);
	assert.deepEqual(await call(sign({ role: 'service_role', exp: past }, secret)), [401, 'PGRST301']);
	assert.deepEqual(await call('nonsense'), [401, 'PGRST301']);
	assert.equal((await call(sign({ role: 'postgres' }, secret)))[0], 403);
	assert.deepEqual(await call(service), [200, undefined]);
});

test('an error has its code, and the status that PostgREST gives it', async () => {
	const missing = await rpc(service, 'ducto_charge', { user_id: null, amount: 1 });
	const unknown = await rpc(service, 'ducto_charge', { user_id: randomUUID(), amount: 1, reason: 'none' });
	const lacking = await rpc(service, 'ducto_charge', { amount: 1 });
	const malformed = await rpc(service, 'ducto_charge', { user_id: 'me', amount: 1 });

	assert.deepEqual([missing.status, Object.keys(missing.body), missing.body.code],
		[400, ['code', 'message', 'details', 'hint'], '22004']);
	assert.deepEqual([unknown.status, unknown.body.code], [404, 'PGRST202']);
	assert.deepEqual([lacking.status, lacking.body.code], [404, 'PGRST202']);
	assert.deepEqual([malformed.status, malformed.body.code], [400, '22P02']);
	assert.deepEqual((await rpc(service, 'pg_sleep', {})).status, 404);
	assert.deepEqual((await rpc(sign({ role: 'authenticated' }, secret), 'ducto_my_balance', {})).status, 403);
});

test('a call is one transaction, and leaves nothing in its session', async () => {
	const user_id = randomUUID();

	await Promise.all(Array.from({ length: 30 }, (_, i) => i % 3 === 0
		? rpc(service, 'ducto_add_credits', { user_id, amount: 1, type: 'purchase' })
		: rpc(i % 3 === 1 ? undefined : service, 'ducto_charge', { user_id, amount: -1 })));
	assert.equal((await rpc(service, 'ducto_get_balance', { user_id })).body.balance, 10);
	const { rows } = await admin.query(
		"SELECT count(*)::integer AS open FROM pg_stat_activity WHERE usename = 'authenticator' AND xact_start IS NOT NULL");

	assert.deepEqual(rows, [{ open: 0 }]);
});

test('a rejection can set the status of the response', async () => {
	const args = { user_id: randomUUID(), amount: 1 };
	const plain = await rpc(service, 'ducto_charge', args);

	assert.deepEqual([plain.status, plain.body.error], [200, 'insufficient_credits']);
	await admin.query("ALTER ROLE authenticator SET ducto.rejections = 'http'");
	const another = await start(secret);
	const rejected = await rpc(service, 'ducto_charge', args, another);
	const accepted = await rpc(service, 'ducto_charge', { ...args, amount: 0 }, another);

	await another.stop();
	await admin.query('ALTER ROLE authenticator RESET ducto.rejections');
	assert.equal(rejected.status, 402);
	assert.deepEqual(rejected.body, plain.body);
	assert.equal(accepted.status, 200);
});

test('the types of examples/supabase are those of the catalog', async () => {
	const page = readFileSync(file, 'utf8');

	assert.equal(page, await make(admin, page), 'script/types makes src/ducto.ts anew');
});
