// A program of the TypeScript SDK against the database of libpq's environment.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { PostgresStore, StoreError } from './store.js';

const pool = new pg.Pool();
const store = new PostgresStore(pool);

before(() => pool.query('CREATE EXTENSION IF NOT EXISTS ducto_sdk'));
after(() => pool.end());

async function newUser(credits) {
	const user = randomUUID();

	if (credits) {
		await store.add(user, credits, 'purchase');
	}
	return user;
}

const code = (expected) => (error) => error instanceof StoreError && error.code === expected;

test('a lease holds, settles for what it cost, and frees the rest', async () => {
	const user = await newUser('100');
	const lease = await store.lease(user, 40, 'chat', 'strict', 0, null, 600, 'gpt-4');

	assert.equal(lease.available, '60.0000');
	assert.equal((await store.available(user)).reserved, '40.0000');
	const settled = await store.settle(user, lease.lease_id, 25.5, 'settle-1', 0, 'gpt-4', { tokens: 120 });
	assert.equal(settled.amount, '25.5000');
	assert.equal(settled.balance_after, '74.5000');
	const again = await store.settle(user, lease.lease_id, 25.5, 'settle-1');
	assert.equal(again.idempotent, true);
	assert.equal(again.transaction_id, settled.transaction_id);
	assert.deepEqual(await store.release(user, lease.lease_id), { released: false, reason: 'already_settled' });
});

test('twenty calls at once do not spend a credit twice', async () => {
	const user = await newUser(100);
	const results = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => store.deduct(user, 10, `call-${i}`)));

	assert.equal(results.filter((result) => result.status === 'fulfilled').length, 10);
	for (const result of results.filter((each) => each.status === 'rejected')) {
		assert.equal(result.reason.code, 'insufficient_credits');
		assert.equal(result.reason.answer.balance_after, '0.0000');
	}
	assert.equal((await store.balance(user)).balance, '0.0000');
});

test('ten retries with one key charge once', async () => {
	const user = await newUser(100);
	const results = await Promise.all(Array.from({ length: 10 }, () => store.deduct(user, '7', 'once')));

	assert.equal(new Set(results.map((result) => result.transaction_id)).size, 1);
	assert.equal(results.filter((result) => !result.idempotent).length, 1);
	assert.equal((await store.balance(user)).balance, '93.0000');
});

test('numbers are texts, beyond 2^53 too', async () => {
	const user = await newUser('90071992547409.9301');

	assert.equal((await store.balance(user)).balance, '90071992547409.9301');
	assert.equal((await store.deduct(user, '0.0001')).balance_after, '90071992547409.9300');
});

test('mistakes are codes', async () => {
	const user = await newUser(10);

	for (const amount of ['NaN', 0, -1]) {
		await assert.rejects(store.deduct(user, amount), code('invalid_amount'));
	}
	await assert.rejects(store.settle(user, randomUUID(), 1), code('lease_not_found'));
	await assert.rejects(store.refund(randomUUID()), code('not_found'));
	await assert.rejects(store.add(user, 5, 'purchase', { expires_at: 'someday' }), code('invalid_expires_at'));
});

test('plans, refunds, teams, lists and analytics', async () => {
	const user = await newUser(100);
	const from = new Date(Date.now() - 60_000);

	await store.publish({ models: { _default: '1' }, plans: { pro: { name: 'Pro', free_allowance: 20 } } }, 'first');
	assert.equal((await store.pricing()).label, 'first');
	const { plan_id: plan } = await store.setPlan(user, 'pro');
	assert.equal((await store.plan(user)).plan_id, plan);
	const charge = await store.deduct(user, 50, 'c', 0, 'gpt-4', { reference_type: 'chat' });
	assert.deepEqual([charge.amount, charge.allowance_consumed], ['30.0000', '20.0000']);
	assert.equal((await store.refund(charge.transaction_id, 10, 'sorry')).new_balance, '80.0000');
	await assert.rejects(store.refund(charge.transaction_id, 25), code('over_refund'));

	const team = await store.createTeam('Red', 100);
	await store.addMember(team.team_id, user, 'member', 60);
	const spent = await store.deductTeam(team.team_id, user, 40, { idempotency_key: 'team-1', model: 'gpt-4' });
	assert.deepEqual([spent.amount, spent.team_balance_after], ['-40.0000', '60.0000']);
	await assert.rejects(store.deductTeam(team.team_id, user, 30), code('cap_reached'));

	const all = await store.transactions(user, null, from, null, 10, 0);
	assert.deepEqual(all.map((each) => each.type), ['team_usage', 'refund', 'usage', 'purchase']);
	assert.equal(all[0].total_count, '4');
	assert.equal(all[0].metadata.team_id, team.team_id);
	assert.equal(all[2].metadata.model, 'gpt-4');
	assert.equal((await store.transactions(user, ['refund'])).length, 1);

	const until = new Date(Date.now() + 60_000);
	const spend = await store.spendByModel(from, until);
	assert.ok(spend.some((each) => each.model === 'gpt-4' && Number(each.total_spend) >= 70));
	assert.notEqual((await store.stats(from, until)).top_user, '');
	assert.deepEqual((await pool.query('SELECT * FROM ducto_verify()')).rows, []);
});
