// The worker against the database of libpq's environment, which has ducto and
// lets this role move its test clock.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { Provider } from './provider.js';
import { Worker } from './worker.js';

const CLOCK = '-c ducto.test_clock=on';
const pool = new pg.Pool({ options: CLOCK });
const provider = new Provider();
let worker;

async function call(query, ...values) {
	return (await pool.query(query, values)).rows[0];
}

before(async () => {
	await pool.query(readFileSync(new URL('schema.sql', import.meta.url), 'utf8'));
	await provider.listen();
	worker = new Worker(pool, provider.url);
});

afterEach(async () => {
	assert.deepEqual((await pool.query(`SELECT * FROM ducto_verify() WHERE check_name <> 'test clock'`)).rows, []);
});

after(async () => {
	provider.close();
	await pool.end();
});

// A user with 100 credits and a card, for whom 200 are due below 50.
async function customer(name = 'cus', maxPerMonth = null) {
	const user = randomUUID();
	const card = `${name}_${user}`;

	await call('INSERT INTO cards VALUES ($1, $2)', user, card);
	await call(`SELECT FROM ducto_add_credits(user_id => $1, amount => 100, type => 'purchase')`, user);
	await call('SELECT FROM ducto_set_auto_topup(account_id => $1, below => 50, amount => 200, max_per_month => $2)', user, maxPerMonth);
	return [user, card];
}

const spend = (user, amount) => call('SELECT error FROM ducto_charge(user_id => $1, amount => $2)', user, amount);
const balance = async (user) => Number((await call('SELECT balance FROM ducto_get_balance(user_id => $1)', user)).balance);
const leaseIsOver = () => call(`SELECT FROM ducto_advance_clock('61 seconds')`);
const told = async (user) => (await pool.query('SELECT kind FROM ducto_list_events(account_id => $1)', [user])).rows
	.map(({ kind }) => kind).reverse();
const waiting = async () => (await call('SELECT count(*)::integer AS n FROM ducto.events WHERE acked_at IS NULL')).n;
const mails = async (user) => (await pool.query('SELECT subject FROM mails WHERE account_id = $1 ORDER BY event_id', [user])).rows
	.map(({ subject }) => subject);

// Another process with a worker.
function start() {
	return spawn(process.execPath, [fileURLToPath(new URL('worker.js', import.meta.url))],
		{ env: { ...process.env, PAYMENTS_URL: provider.url, PGOPTIONS: CLOCK }, stdio: ['ignore', 'inherit', 'inherit'] });
}

test('a balance falls below the line: the card is charged, and the credits are there', async () => {
	const [user, card] = await customer();

	await spend(user, 60);
	await worker.work();
	assert.deepEqual(provider.of(card), [200]);
	assert.equal(await balance(user), 240);
	assert.deepEqual(await told(user), ['topup_due', 'balance_recovered']);
	assert.deepEqual(await mails(user), ['balance_recovered']);
	assert.equal(await waiting(), 0);
});

test('it listens', async () => {
	const [user, card] = await customer();
	const ran = worker.run();

	await once(worker, 'idle');
	const idle = once(worker, 'idle');

	await spend(user, 60);
	await idle;
	worker.stop();
	await ran;
	assert.deepEqual(provider.of(card), [200]);
	assert.equal(await balance(user), 240);
});

for (const trouble of ['fails', 'lost']) {
	test(`the payment endpoint ${trouble}, again and again: one charge`, async () => {
		const [user, card] = await customer();

		provider.trouble(card, trouble, trouble);
		await spend(user, 60);
		for (let tries = 0; tries < 2; tries++) {
			await worker.work();
			assert.equal(await balance(user), 40);
			await leaseIsOver();
		}
		await worker.work();
		assert.deepEqual(provider.of(card), [200]);
		assert.equal(await balance(user), 240);
	});
}

test('a worker is killed between taking and acknowledging, when the card is charged: another one goes on', async () => {
	const [user, card] = await customer();

	provider.trouble(card, 'hangs');
	const hangs = once(provider, 'hangs');
	const child = start();

	await spend(user, 60);
	await hangs;
	child.kill('SIGKILL');
	await once(child, 'exit');
	assert.deepEqual([await balance(user), await waiting()], [40, 1]);
	assert.equal(await worker.work(), 0);
	await leaseIsOver();
	await worker.work();
	assert.deepEqual(provider.of(card), [200]);
	assert.equal(await balance(user), 240);
});

test('an endpoint that does not answer is left after a while, and asked again', async () => {
	const [user, card] = await customer();

	provider.trouble(card, 'hangs');
	await spend(user, 60);
	await worker.work();
	await leaseIsOver();
	await worker.work();
	assert.deepEqual(provider.of(card), [200]);
	assert.equal(await balance(user), 240);
});

test('four workers side by side, as slow as leases end: each card once', async () => {
	const customers = await Promise.all(Array.from({ length: 20 }, () => customer()));
	const workers = Array.from({ length: 4 }, () => new Worker(pool, provider.url));

	await Promise.all(customers.map(([user]) => spend(user, 60)));
	await Promise.all([...workers.map((each) => each.work()), leaseIsOver(), ...workers.map((each) => each.work())]);
	await worker.work();
	for (const [user, card] of customers) {
		assert.deepEqual(provider.of(card), [200]);
		assert.equal(await balance(user), 240);
	}
	assert.equal(await waiting(), 0);
});

test('no more than max_per_month', async () => {
	const [user, card] = await customer('cus', 2);

	for (let n = 0; n < 4; n++) {
		await spend(user, await balance(user) - 10);
		await worker.work();
	}
	assert.deepEqual(provider.of(card), [200, 200]);
	await call(`SELECT FROM ducto_advance_clock('1 month')`);
	await spend(user, 1);
	await worker.work();
	assert.deepEqual(provider.of(card), [200, 200, 200]);
});

test('a card that is declined turns it off, until there is another one', async () => {
	const [user, card] = await customer('declined');

	await spend(user, 60);
	await worker.work();
	await spend(user, 10);
	await worker.work();
	assert.deepEqual([provider.of(card), await balance(user)], [[], 30]);
	assert.deepEqual(await mails(user), ['card_declined']);
	await call('UPDATE cards SET customer = $2 WHERE account_id = $1', user, `new_${card}`);
	await call('SELECT FROM ducto_set_auto_topup(account_id => $1, below => 50, amount => 200)', user);
	await worker.work();
	assert.deepEqual([provider.of(`new_${card}`), await balance(user)], [[200], 230]);
});

test('where the user has turned it off meanwhile, no card is charged', async () => {
	const [user, card] = await customer();

	await spend(user, 60);
	await call('SELECT FROM ducto_set_auto_topup(account_id => $1, below => 0, amount => 0)', user);
	await worker.work();
	assert.deepEqual([provider.of(card), await balance(user)], [[], 40]);
});

test('a team is topped up by its own card', async () => {
	const { team_id: team } = await call(`SELECT team_id FROM ducto_create_team('Team', 100)`);

	await call('INSERT INTO cards VALUES ($1, $2)', team, `team_${team}`);
	await call('SELECT FROM ducto_set_auto_topup(account_id => $1, below => 150, amount => 30)', team);
	await worker.work();
	assert.deepEqual(provider.of(`team_${team}`), [30, 30]);
	assert.equal((await call('SELECT balance FROM ducto.accounts WHERE id = $1', team)).balance, '160.0000');
});

test('what fails for ever is put aside', async () => {
	const [user, card] = await customer();

	provider.trouble(card, ...Array(20).fill('fails'));
	await spend(user, 60);
	for (let n = 0; n < 20; n++) {
		await worker.work();
		await leaseIsOver();
	}
	assert.equal(await worker.work(), 0);
	assert.deepEqual((await pool.query(`SELECT reason, event ->> 'kind' AS kind FROM aside WHERE event ->> 'account_id' = $1`, [user])).rows,
		[{ reason: 'the payment endpoint answers 500', kind: 'topup_due' }]);
	assert.deepEqual([provider.of(card), await balance(user)], [[], 40]);
});
