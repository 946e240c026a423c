// What is set for a role is obeyed behind PostgREST from the first call on,
// whatever has been restarted, and a caller may choose by a header. PostgREST
// does not bring it: it joins the settings of roles with pg_settings, where
// ours are only once the library is loaded.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, test } from 'node:test';
import pg from 'pg';
import { sign } from './jwt.js';
import { start } from './standin.js';

const secret = 'a secret of the tests';
const token = sign({ role: 'service_role' }, secret);
const admin = new pg.Client();
const started = [];

before(() => admin.connect());

afterEach(async () => {
	await Promise.all(started.splice(0).map((each) => each.stop()));
	await admin.query('ALTER ROLE service_role RESET ALL; ALTER ROLE authenticated RESET ALL; ALTER ROLE authenticator RESET ALL');
});

after(() => admin.end());

// Starts a stand-in, whose connections are new.
async function restart() {
	const standin = await start(secret);

	started.push(standin);
	return standin;
}

async function rpc({ url }, name, args, headers = {}) {
	const response = await fetch(`${url}/rpc/${name}`, {
		method: 'POST',
		headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
		body: JSON.stringify(args),
	});

	return { status: response.status, body: await response.json() };
}

const poor = { user_id: randomUUID(), amount: 1 };

async function charge(standin, headers) {
	const { status, body } = await rpc(standin, 'ducto_charge', poor, headers);

	return [status, body.error ?? body.code];
}

async function endConnections() {
	await admin.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'authenticator'");
}

test('a status is obeyed by the first call of a connection', async () => {
	assert.deepEqual(await charge(await restart()), [200, 'insufficient_credits']);
	await admin.query("ALTER ROLE service_role SET ducto.rejections = 'http'");
	const standin = await restart();

	assert.deepEqual(await charge(standin), [402, 'insufficient_credits']);
	assert.deepEqual(await charge(standin), [402, 'insufficient_credits']);
	await endConnections();
	assert.deepEqual(await charge(standin), [402, 'insufficient_credits']);
	await standin.reload();
	assert.deepEqual(await charge(standin), [402, 'insufficient_credits']);
	const { status, body } = await rpc(standin, 'ducto_charge', { ...poor, amount: 0 });

	assert.deepEqual([status, body.error], [200, null]);
	await admin.query('ALTER ROLE service_role RESET ducto.rejections');
	await endConnections();
	await standin.reload();
	assert.deepEqual(await charge(standin), [200, 'insufficient_credits']);
});

test('so it is for one database, and for the login role', async () => {
	const { rows: [{ name }] } = await admin.query('SELECT quote_ident(current_database()) AS name');

	await admin.query("ALTER ROLE service_role SET ducto.rejections = 'return'");
	await admin.query(`ALTER ROLE service_role IN DATABASE ${name} SET ducto.rejections = 'http'`);
	const standin = await restart();

	for (let i = 0; i < 3; i++) {
		assert.deepEqual(await charge(standin), [402, 'insufficient_credits']);
		await standin.reload(); // now PostgREST sets what is set for every database
	}
	await admin.query(`ALTER ROLE service_role IN DATABASE ${name} RESET ducto.rejections`);
	await admin.query("ALTER ROLE authenticator SET ducto.rejections = 'http'");
	assert.deepEqual(await charge(await restart()), [200, 'insufficient_credits']);
	await admin.query('ALTER ROLE service_role RESET ducto.rejections');
	assert.deepEqual(await charge(await restart()), [402, 'insufficient_credits']);
});

test('the time of a hold is obeyed by the first call of a connection', async () => {
	const user_id = randomUUID();
	const hold = async (standin, args) => {
		const { body } = await rpc(standin, 'ducto_reserve', { user_id, amount: 1, min_balance: 0, ...args });

		return Math.round((new Date(body.expires_at) - Date.now()) / 60000);
	};

	await rpc(await restart(), 'ducto_add_credits', { user_id, amount: 100 });
	await admin.query("ALTER ROLE service_role SET ducto.reservation_ttl = '2h'");
	const standin = await restart();

	assert.equal(await hold(standin), 120);
	await endConnections();
	assert.equal(await hold(standin), 120);
	assert.equal(await hold(standin, { ttl_seconds: 60 }), 1);
	await admin.query('ALTER ROLE service_role RESET ALL');
	await endConnections();
	assert.equal(await hold(standin), 10);
});

test('a caller chooses by a header', async () => {
	const header = (value) => ({ 'x-ducto-rejections': value });
	const standin = await restart();

	assert.deepEqual(await charge(standin, header('http')), [402, 'insufficient_credits']);
	assert.deepEqual(await charge(standin), [200, 'insufficient_credits']);
	assert.deepEqual(await charge(standin, header('raise')), [402, 'UC001']);
	assert.deepEqual(await charge(standin, header('nonsense')), [400, '22023']);
	await admin.query("ALTER ROLE service_role SET ducto.rejections = 'http'");
	assert.deepEqual(await charge(standin, header('return')), [200, 'insufficient_credits']);
	await standin.reload(); // now PostgREST sets it as well
	assert.deepEqual(await charge(standin), [402, 'insufficient_credits']);
	assert.deepEqual(await charge(standin, header('return')), [200, 'insufficient_credits']);
});

test('a header does not reach through a function of the application', async () => {
	await admin.query(`
		CREATE FUNCTION buy(user_id uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET ducto.rejections = 'raise' AS $$
			BEGIN PERFORM ducto_charge(user_id, 1); RETURN 'the goods'; END$$;
		GRANT EXECUTE ON FUNCTION buy(uuid) TO service_role`);
	const standin = await restart();
	const { status, body } = await rpc(standin, 'buy', { user_id: poor.user_id }, { 'x-ducto-rejections': 'return' });

	assert.deepEqual([status, body.code, body.message], [400, 'UC001', 'insufficient_credits']);
	await admin.query('DROP FUNCTION buy');
});
