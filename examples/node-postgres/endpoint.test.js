// The endpoint against the database of libpq's environment, which has ducto.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { refund } from './completions.js';
import { parrot } from './model.js';
import { serve } from './server.js';

const pool = new pg.Pool();
let served;
let worked = 0;
let fails = false;
let loses;

const model = {
	...parrot,
	async *stream(prompt, maxTokens) {
		worked++;
		const usage = yield* parrot.stream(prompt, maxTokens);

		if (fails) {
			throw new Error('the model is down');
		}
		return usage;
	},
};

// Connections of the endpoint break after the first statement that has what
// loses says: the statement is done, and its answer is lost.
const breaking = new pg.Pool();

breaking.on('connect', (client) => {
	const query = client.query.bind(client);

	client.query = async (text, ...rest) => {
		const result = await query(text, ...rest);

		if (loses !== undefined && text.includes(loses)) {
			loses = undefined;
			client.connection.stream.destroy();
			throw new Error('Connection terminated unexpectedly');
		}
		return result;
	};
});
breaking.on('error', () => {});

before(async () => {
	await pool.query(readFileSync(new URL('schema.sql', import.meta.url), 'utf8'));
	served = await serve(breaking, model, 0);
});

after(async () => {
	served.server.closeAllConnections();
	served.server.close();
	await breaking.end();
	await pool.end();
});

async function newUser(credits) {
	const id = randomUUID();

	if (credits > 0) {
		await pool.query("SELECT ducto_add_credits($1, $2, 'purchase')", [id, credits]);
	}
	return id;
}

async function complete(user, prompt, key = randomUUID()) {
	const response = await fetch(`${served.url}/completions`, {
		method: 'POST',
		headers: { 'x-user-id': user, 'idempotency-key': key },
		body: JSON.stringify({ prompt }),
	});

	return { status: response.status, ...await response.json() };
}

async function balance(user) {
	const response = await fetch(`${served.url}/balance`, { headers: { 'x-user-id': user } });
	const { balance, reserved, available } = await response.json();

	return [balance, reserved, available];
}

async function usage(user) {
	const { rows } = await pool.query(
		'SELECT amount, model, operation_type, metadata FROM ducto_list_transactions($1, types => $2)', [user, ['usage']]);

	return rows;
}

test('a reply is charged with what it used', async () => {
	const user = await newUser(100);
	const { transaction_id, ...answer } = await complete(user, 'Hello there');

	// 2 tokens in, 4 out
	assert.deepEqual(answer, {
		status: 200, reply: 'You said: Hello there', credits: '0.3600', balance: '99.6400', replayed: false,
	});
	assert.match(transaction_id, /^[0-9a-f-]{36}$/);
	assert.deepEqual(await balance(user), ['99.6400', '0.0000', '99.6400']);
	assert.deepEqual(await usage(user), [{
		amount: '-0.3600',
		model: 'parrot-1',
		operation_type: 'completion',
		metadata: { input_tokens: 2, output_tokens: 4 },
	}]);
});

test('a retry gets the same answer and costs nothing', async () => {
	const user = await newUser(100);
	const first = await complete(user, 'Hello', 'key-1');
	const before = worked;

	await complete(user, 'Something else', 'key-2');
	assert.deepEqual(await complete(user, 'Hello', 'key-1'), { ...first, replayed: true });
	assert.equal(worked, before + 1);
	assert.equal((await usage(user)).length, 2);
	assert.deepEqual(await complete(user, 'Another prompt', 'key-1'), { status: 409, error: 'idempotency_conflict' });
});

for (const statement of ['ducto_reserve', 'ducto_deduct', 'COMMIT']) {
	test(`a lost answer of ${statement} costs nothing`, async () => {
		const user = await newUser(100);

		loses = statement;
		const answer = await complete(user, 'Hello');

		assert.equal(loses, undefined);
		assert.equal(answer.status, 200);
		assert.equal(answer.replayed, statement === 'COMMIT');
		assert.deepEqual(await balance(user), ['99.7400', '0.0000', '99.7400']);
		assert.equal((await usage(user)).length, 1);
	});
}

test('concurrent requests with one key are charged once', async () => {
	const user = await newUser(100);
	const answers = await Promise.all(Array.from({ length: 8 }, () => complete(user, 'Hello', 'key')));

	for (const answer of answers) {
		assert.deepEqual({ ...answer, replayed: false }, { ...answers[0], replayed: false });
	}
	assert.equal(answers[0].status, 200);
	assert.equal(answers.filter(({ replayed }) => !replayed).length, 1);
	assert.equal((await usage(user)).length, 1);
	assert.deepEqual(await balance(user), ['99.7400', '0.0000', '99.7400']);
});

test('concurrent requests cannot spend more than there is', async () => {
	const user = await newUser(40); // a hold takes 16.02
	const answers = await Promise.all(Array.from({ length: 5 }, () => complete(user, 'Hello')));
	const paid = answers.filter(({ status }) => status === 200);

	assert.ok(paid.length >= 2);
	for (const { status, error } of answers) {
		assert.ok(status === 200 || (status === 402 && error === 'insufficient_credits'));
	}
	assert.equal((await usage(user)).length, paid.length);
});

test('without credits the model does not work', async () => {
	const user = await newUser(0);
	const before = worked;

	assert.deepEqual(await complete(user, 'Hello'), { status: 402, error: 'insufficient_credits' });
	assert.equal(worked, before);
});

test('a spend cap stops a request', async () => {
	const user = await newUser(100);

	await pool.query("SELECT ducto_set_spend_cap($1, 'daily', 10)", [user]);
	assert.deepEqual(await complete(user, 'Hello'), { status: 429, error: 'cap_reached' });
});

test('work that fails is free', async () => {
	const user = await newUser(100);

	fails = true;
	assert.deepEqual(await complete(user, 'Hello', 'key'), { status: 502, error: 'model_failed' });
	fails = false;
	assert.deepEqual(await balance(user), ['100.0000', '0.0000', '100.0000']);
	assert.deepEqual(await usage(user), []);
	assert.deepEqual(await complete(user, 'Hello', 'key'), { status: 409, error: 'key_used' });
	assert.equal((await complete(user, 'Hello', 'another key')).status, 200);
});

test('a request that died is taken over by its retry', async () => {
	const user = await newUser(100);

	await pool.query("SELECT ducto_reserve($1, 16.02, idempotency_key => 'key')", [user]);
	assert.equal((await complete(user, 'Hello', 'key')).status, 200);
	assert.deepEqual(await balance(user), ['99.7400', '0.0000', '99.7400']);
});

test('a reply can be refunded, once', async () => {
	const user = await newUser(100);
	const { transaction_id: id } = await complete(user, 'Hello');
	const first = await refund(pool, id, 'it was nonsense');

	assert.deepEqual([first.amount, first.new_balance, first.idempotent], ['0.2600', '100.0000', false]);
	assert.deepEqual(await refund(pool, id, 'it was nonsense'), { ...first, idempotent: true });
	await assert.rejects(refund(pool, randomUUID(), 'no such reply'), { status: 404, code: 'transaction_not_found' });
	assert.deepEqual(await balance(user), ['100.0000', '0.0000', '100.0000']);
});

test('the books are right', async () => {
	assert.deepEqual((await pool.query('SELECT * FROM ducto_verify()')).rows, []);
});
