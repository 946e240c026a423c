// What people who count credits behind PostgREST have reported elsewhere, tried
// with ducto.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { sign } from './jwt.js';
import { start } from './standin.js';

const secret = 'a secret of the tests';
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

async function rpc(name, args, claims = { role: 'service_role' }) {
	const response = await fetch(`${standin.url}/rpc/${name}`, {
		method: 'POST',
		headers: { authorization: `Bearer ${sign(claims, secret)}`, 'content-type': 'application/json' },
		body: JSON.stringify(args),
	});

	return { status: response.status, body: await response.json() };
}

async function newUser(amount) {
	const user_id = randomUUID();

	await rpc('ducto_add_credits', { user_id, amount, type: 'purchase' });
	return user_id;
}

const balanceOf = async (user_id) => (await rpc('ducto_get_balance', { user_id })).body.balance;

test('parallel requests of a user with one credit: one is paid (Draftdeckai 513)', async () => {
	const user_id = await newUser(1);
	const answers = await Promise.all(Array.from({ length: 5 }, () => rpc('ducto_charge', { user_id, amount: 1 })));

	assert.equal(answers.filter(({ body }) => body.error === null).length, 1);
	assert.equal(await balanceOf(user_id), 0);
});

test('a double click with one key is charged once (Draftdeckai 1067)', async () => {
	const user_id = await newUser(10);
	const args = { user_id, amount: 5, idempotency_key: 'click' };
	const answers = await Promise.all([rpc('ducto_charge', args), rpc('ducto_charge', args)]);

	assert.equal(new Set(answers.map(({ body }) => body.transaction_id)).size, 1);
	assert.equal(await balanceOf(user_id), 5);
});

test('a signed-in user cannot give credits (Cap-go 1632)', async () => {
	const user_id = await newUser(1);
	const { status, body } = await rpc('ducto_add_credits', { user_id, amount: 1000 }, { role: 'authenticated', sub: user_id });

	assert.deepEqual([status, body.code, await balanceOf(user_id)], [403, '42501', 1]);
});

test('no function is overloaded, which rpc could not resolve (supabase 35144)', async () => {
	const { rows } = await admin.query(
		"SELECT proname FROM pg_proc WHERE proname LIKE 'ducto\\_%' GROUP BY pronamespace, proname HAVING count(*) > 1");

	assert.deepEqual(rows, []);
});

test('a setting of the login role does not stand in the way (PostgREST 2896)', async () => {
	await admin.query("ALTER ROLE authenticator SET ducto.reservation_ttl = '1h'; ALTER ROLE authenticator SET log_min_messages = 'error'");
	const other = await start(secret);
	const { rows: [{ ended }] } = await admin.query(
		"SELECT count(pg_terminate_backend(pid, 5000))::integer AS ended FROM pg_stat_activity WHERE usename = 'authenticator'");
	const { status, body } = await rpc('ducto_reserve', { user_id: await newUser(10), amount: 1, min_balance: 0 });

	await other.stop();
	await admin.query('ALTER ROLE authenticator RESET ALL');
	assert.ok(ended > 0);
	assert.equal(status, 200);
	assert.equal(Math.round((new Date(body.expires_at) - Date.now()) / 60000), 60);
});
