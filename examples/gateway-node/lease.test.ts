// The lease against the database of libpq's environment, which has ducto and
// lets this role move its test clock.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, beforeEach, test } from 'node:test';
import pg from 'pg';
import { Lease, OutOfCredits, toUnits, type LeaseOptions } from './lease.js';

const pool = new pg.Pool({ options: '-c ducto.test_clock=on' });
let user: string;
let loses: string | undefined;
let fails: Error | undefined;

// Connections of the lease break after the first statement that has what loses
// says: the statement is done, and its answer is lost. What fails says is what
// the next statement fails with.
const breaking = new pg.Pool({ options: '-c ducto.test_clock=on' });
const query = breaking.query.bind(breaking) as (text: string, values: unknown[]) => Promise<pg.QueryResult>;

breaking.query = (async (text: string, values: unknown[]) => {
	if (fails !== undefined) {
		const failure = fails;

		fails = undefined;
		throw failure;
	}
	const result = await query(text, values);

	if (loses !== undefined && text.includes(loses)) {
		loses = undefined;
		throw new Error('Connection terminated unexpectedly');
	}
	return result;
}) as typeof breaking.query;

const lease = (options: Partial<LeaseOptions> = {}) => new Lease(breaking, user, { block: toUnits('20'), ...options });

async function make(of: Lease, key: string, cost = '0.5', estimate = '1'): Promise<void> {
	await of.admit(toUnits(estimate));
	of.done(toUnits(estimate), { key, amount: toUnits(cost), model: 'small' });
}

async function balance(): Promise<[number, number]> {
	const { rows } = await pool.query('SELECT balance, reserved FROM ducto_get_balance(user_id => $1)', [user]);

	return [Number(rows[0].balance), Number(rows[0].reserved)];
}

beforeEach(async () => {
	user = randomUUID();
	await pool.query(`SELECT FROM ducto_add_credits(user_id => $1, amount => 100, type => 'purchase')`, [user]);
});

afterEach(async () => {
	assert.deepEqual((await pool.query('SELECT * FROM ducto_verify($1)', [user])).rows, []);
});

after(async () => {
	await pool.end();
	await breaking.end();
});

test('counts in memory, and flushes by number', async () => {
	const mine = lease({ lines: 10, seconds: 1000 });

	for (let n = 0; n < 25; n++) {
		await make(mine, `call ${n}`);
	}
	await mine.flush();
	assert.deepEqual(await balance(), [87.5, 7.5]);
	await mine.close();
	assert.deepEqual(await balance(), [87.5, 0]);
	const { rows } = await pool.query('SELECT count(*)::integer AS entries FROM ducto.ledger WHERE account_id = $1 AND models IS NOT NULL', [user]);
	assert.ok(rows[0].entries <= 3);
});

test('flushes by time', async () => {
	const mine = lease({ seconds: 0 });

	await make(mine, 'call');
	await mine.tick();
	assert.deepEqual(await balance(), [99.5, 19.5]);
	await mine.close();
});

test('takes block after block until nothing is left', async () => {
	const mine = lease({ block: toUnits('30') });
	let made = 0;

	await assert.rejects(async () => {
		for (; made < 1000; made++) {
			await make(mine, `call ${made}`, '1');
		}
	}, new OutOfCredits('insufficient_credits'));
	assert.equal(made, 100);
	await mine.close();
	assert.deepEqual(await balance(), [0, 0]);
});

test('a failed call costs nothing', async () => {
	const mine = lease();

	await mine.admit(toUnits('5'));
	mine.done(toUnits('5'));
	assert.deepEqual([mine.left, mine.aside], [toUnits('20'), 0]);
	await mine.close();
	assert.deepEqual(await balance(), [100, 0]);
});

for (const lost of ['ducto_reserve', 'ducto_settle']) {
	test(`an answer that is lost charges once: ${lost}`, async () => {
		const mine = lease();

		loses = lost;
		await make(mine, '1');
		await mine.flush();
		await make(mine, '2');
		await mine.close();
		assert.equal(loses, undefined);
		assert.deepEqual(await balance(), [99, 0]);
	});
}

test('one that dies loses what it had not flushed', async () => {
	const mine = lease({ seconds: 1000 });

	await make(mine, 'flushed');
	await mine.flush();
	await make(mine, 'not flushed');
	assert.deepEqual(await balance(), [99.5, 19.5]);
	// Its block comes back at its time.
	await pool.query(`SELECT ducto_advance_clock('1 minute')`);
	assert.deepEqual(await balance(), [99.5, 0]);
	// From a log of its own the next one can tell all of it again: what was charged is skipped.
	const again = lease();
	await make(again, 'flushed');
	await make(again, 'not flushed');
	await again.close();
	assert.deepEqual(await balance(), [99, 0]);
});

test('a block that was released is replaced', async () => {
	const mine = lease();

	await make(mine, 'one');
	await pool.query('SELECT FROM ducto_release(user_id => $1, reservation_id => $2)', [user, mine.reservation]);
	await mine.close();
	assert.deepEqual(await balance(), [99.5, 0]);
});

test('the last credits are had, too', async () => {
	const mine = lease({ block: toUnits('90') });

	await make(mine, 'most', '88', '90');
	// 2 of the block and 10 beside it
	await make(mine, 'the rest', '12', '12');
	await assert.rejects(mine.admit(toUnits('1')), OutOfCredits);
	await mine.close();
	assert.deepEqual(await balance(), [0, 0]);
});

test('lines wait for credits when their block was taken', async () => {
	const mine = lease({ block: toUnits('100'), seconds: 1000 });

	await make(mine, 'one', '40');
	await pool.query('SELECT FROM ducto_release(user_id => $1, reservation_id => $2)', [user, mine.reservation]);
	await pool.query('SELECT FROM ducto_charge(user_id => $1, amount => 100)', [user]);
	await assert.rejects(mine.flush(), OutOfCredits);
	await assert.rejects(mine.flush(), OutOfCredits);
	assert.equal(mine.waiting.length, 1);
	await pool.query(`SELECT FROM ducto_add_credits(user_id => $1, amount => 50, type => 'purchase')`, [user]);
	await mine.admit(toUnits('5'));
	// of the 50, less what waits and what was put aside
	assert.equal(mine.left, toUnits('5'));
	mine.done(toUnits('5'));
	await mine.close();
	assert.deepEqual(await balance(), [10, 0]);
});

for (const code of ['EPIPE', '57P01', '40P01']) {
	test(`tries again after ${code}`, async () => {
		const mine = lease();

		fails = code === 'EPIPE' ? Object.assign(new Error('write EPIPE'), { code }) : Object.assign(new pg.DatabaseError('', 0, 'error'), { code });
		await make(mine, 'one');
		await mine.close();
		assert.equal(fails, undefined);
		assert.deepEqual(await balance(), [99.5, 0]);
	});
}

test('does not try again what is wrong', async () => {
	const mine = lease();

	fails = Object.assign(new pg.DatabaseError('', 0, 'error'), { code: '22023' });
	await assert.rejects(make(mine, 'one'), { code: '22023' });
	await mine.close();
	assert.deepEqual(await balance(), [100, 0]);
});

test('calls that are made at once share it', async () => {
	const mine = lease({ lines: 7 });

	await Promise.all(Array.from({ length: 200 }, (_, n) => make(mine, `call ${n}`, '0.1')));
	await mine.close();
	assert.deepEqual(await balance(), [80, 0]);
});
