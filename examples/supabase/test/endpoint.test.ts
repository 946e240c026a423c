// The endpoint against a Supabase project whose keys are in the environment, or
// against something that stands in for one.

import assert from 'node:assert/strict';
import { createHmac, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { createClient } from '@supabase/supabase-js';
import { checked, type Database } from '../src/ducto.js';
import { createEndpoint } from '../src/endpoint.js';
import { parrot, type Model } from '../src/model.js';
import { serve, settings } from '../src/server.js';

type Body = { reply: string; credits: number; balance: number; transaction_id: string; replayed: boolean; error: string };

const base = settings(process.env);
const options = { auth: { persistSession: false, autoRefreshToken: false } };
const backend = createClient<Database>(base.url, base.serviceRoleKey, options);
let worked = 0;
let fails = false;
let loses: string | undefined;

const model: Model = {
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

// Sends a request, and loses the answer of the first call of the function that
// loses names.
const send: typeof fetch = async (input, init) => {
	const response = await fetch(input, init);

	if (loses !== undefined && String(input).endsWith(`/rpc/${loses}`)) {
		loses = undefined;
		throw new TypeError('fetch failed');
	}
	return response;
};

const endpoint = createEndpoint({ ...base, model, fetch: send });
let served: Awaited<ReturnType<typeof serve>>;

before(async () => {
	served = await serve(endpoint.handle, 0);
});

after(() => {
	served.server.closeAllConnections();
	served.server.close();
});

function tokenOf(claims: object) {
	const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
	const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
	const secret = process.env['SUPABASE_JWT_SECRET'] ?? '';

	return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

async function newUser(credits: number) {
	const id = randomUUID();
	const token = tokenOf({ sub: id, role: 'authenticated', exp: Math.floor(Date.now() / 1000) + 60 });

	if (credits > 0) {
		await backend.rpc('ducto_add_credits', { user_id: id, amount: credits, type: 'purchase' }).throwOnError();
	}
	return { id, token };
}

async function complete(token: string, prompt: string, key: string = randomUUID()) {
	const response = await fetch(`${served.url}/completions`, {
		method: 'POST',
		headers: { authorization: `Bearer ${token}`, 'idempotency-key': key },
		body: JSON.stringify({ prompt }),
	});

	return { status: response.status, ...await response.json() as Body };
}

async function balance(token: string) {
	const response = await fetch(`${served.url}/balance`, { headers: { authorization: `Bearer ${token}` } });
	const { balance, reserved, available } = await response.json() as Record<string, number>;

	return { status: response.status, balance, reserved, available };
}

async function usage(user_id: string) {
	const { data } = await backend.rpc('ducto_list_transactions', { user_id, types: ['usage'] }).throwOnError();

	return data.map(({ amount, model, operation_type, metadata }) => ({ amount, model, operation_type, metadata }));
}

test('a reply is charged with what it used', async () => {
	const { id, token } = await newUser(100);
	const { transaction_id, ...answer } = await complete(token, 'Hello there');

	// 2 tokens in, 4 out
	assert.deepEqual(answer, { status: 200, reply: 'You said: Hello there', credits: 0.36, balance: 99.64, replayed: false });
	assert.match(transaction_id, /^[0-9a-f-]{36}$/);
	assert.deepEqual(await balance(token), { status: 200, balance: 99.64, reserved: 0, available: 99.64 });
	assert.deepEqual(await usage(id), [{
		amount: -0.36,
		model: 'parrot-1',
		operation_type: 'completion',
		metadata: { input_tokens: 2, output_tokens: 4 },
	}]);
});

test('a retry gets the same answer and costs nothing', async () => {
	const { id, token } = await newUser(100);
	const first = await complete(token, 'Hello', 'key-1');
	const before = worked;

	await complete(token, 'Something else', 'key-2');
	assert.deepEqual(await complete(token, 'Hello', 'key-1'), { ...first, replayed: true });
	assert.equal(worked, before + 1);
	assert.equal((await usage(id)).length, 2);

	const other = await complete(token, 'Another prompt', 'key-1');

	assert.deepEqual(other, { status: 409, error: 'idempotency_conflict' });
});

for (const name of ['ducto_reserve', 'ducto_deduct']) {
	test(`a lost answer of ${name} costs nothing`, async () => {
		const { id, token } = await newUser(100);

		loses = name;
		const answer = await complete(token, 'Hello');

		assert.equal(loses, undefined);
		assert.equal(answer.status, 200);
		assert.equal(answer.replayed, name === 'ducto_deduct');
		assert.deepEqual(await balance(token), { status: 200, balance: 99.74, reserved: 0, available: 99.74 });
		assert.equal((await usage(id)).length, 1);
	});
}

test('concurrent requests with one key are charged once', async () => {
	const { id, token } = await newUser(100);
	const answers = await Promise.all(Array.from({ length: 8 }, () => complete(token, 'Hello', 'key')));
	const [first] = answers;

	for (const answer of answers) {
		assert.deepEqual({ ...answer, replayed: false }, { ...first, replayed: false });
	}
	assert.equal(first?.status, 200);
	assert.equal(answers.filter(({ replayed }) => !replayed).length, 1);
	assert.equal((await usage(id)).length, 1);
	assert.equal((await balance(token)).available, 99.74);
});

test('concurrent requests cannot spend more than there is', async () => {
	const { id, token } = await newUser(40); // a hold takes 16.02
	const answers = await Promise.all(Array.from({ length: 5 }, () => complete(token, 'Hello')));
	const paid = answers.filter(({ status }) => status === 200);

	assert.ok(paid.length >= 2);
	for (const answer of answers) {
		assert.ok(answer.status === 200 || (answer.status === 402 && answer.error === 'insufficient_credits'));
	}
	assert.equal((await usage(id)).length, paid.length);
});

test('without credits the model does not work', async () => {
	const { token } = await newUser(0);
	const before = worked;

	assert.deepEqual(await complete(token, 'Hello'), { status: 402, error: 'insufficient_credits' });
	assert.equal(worked, before);
});

test('a spend cap stops a request', async () => {
	const { id, token } = await newUser(100);

	await backend.rpc('ducto_set_spend_cap', { user_id: id, cap_type: 'daily', cap_limit: 10 }).throwOnError();
	assert.deepEqual(await complete(token, 'Hello'), { status: 429, error: 'cap_reached' });
});

test('work that fails is free', async () => {
	const { id, token } = await newUser(100);

	fails = true;
	assert.deepEqual(await complete(token, 'Hello', 'key'), { status: 502, error: 'model_failed' });
	fails = false;
	assert.deepEqual(await balance(token), { status: 200, balance: 100, reserved: 0, available: 100 });
	assert.deepEqual(await usage(id), []);
	assert.deepEqual(await complete(token, 'Hello', 'key'), { status: 409, error: 'key_used' });
	assert.equal((await complete(token, 'Hello', 'another key')).status, 200);
});

test('a request that died is taken over by its retry', async () => {
	const { id, token } = await newUser(100);

	await backend.rpc('ducto_reserve', { user_id: id, amount: 16.02, idempotency_key: 'key' }).throwOnError();
	assert.equal((await complete(token, 'Hello', 'key')).status, 200);
	assert.deepEqual(await balance(token), { status: 200, balance: 99.74, reserved: 0, available: 99.74 });
});

test('a reply can be refunded, once', async () => {
	const { token } = await newUser(100);
	const { transaction_id } = await complete(token, 'Hello');
	const refund = await endpoint.refund(transaction_id, 'it was nonsense');

	assert.deepEqual([refund.amount, refund.new_balance, refund.idempotent], [0.26, 100, false]);
	assert.deepEqual(await endpoint.refund(transaction_id, 'it was nonsense'), { ...refund, idempotent: true });
	await assert.rejects(endpoint.refund(randomUUID(), 'no such reply'), { status: 404, code: 'transaction_not_found' });
	assert.deepEqual(await balance(token), { status: 200, balance: 100, reserved: 0, available: 100 });
});

test('users see their own balance and can do nothing else', async () => {
	const { id, token } = await newUser(7);
	const user = createClient<Database>(base.url, base.anonKey, { ...options, accessToken: async () => token });
	const anybody = createClient<Database>(base.url, base.anonKey, options);

	assert.equal((await user.rpc('ducto_my_balance')).data?.user_id, id);
	for (const { error, status } of [
		await user.rpc('ducto_add_credits', { user_id: id, amount: 1000 }),
		await user.rpc('ducto_get_balance', { user_id: id }),
	]) {
		assert.deepEqual([status, error?.code], [403, '42501']);
	}
	for (const { error, status } of [
		await anybody.rpc('ducto_my_balance'),
		await anybody.rpc('ducto_charge', { user_id: id, amount: 1 }),
	]) {
		assert.deepEqual([status, error?.code], [401, '42501']);
	}
	assert.equal((await complete('no.such.token', 'Hello')).status, 401);
	assert.equal((await complete(token.slice(0, -4), 'Hello')).status, 401);
});

test('a value that JSON loses is refused before it is sent', async () => {
	const { id } = await newUser(1);
	const args = { user_id: id, amount: '0.25', metadata: { note: 'a text keeps all its digits' } };
	const { data } = await backend.rpc('ducto_charge', checked(args)).throwOnError();

	assert.deepEqual([data?.amount, data?.balance_after], [0.25, 0.75]);
	for (const lost of [{ amount: NaN }, { amount: Infinity }, { amount: undefined }, { usage: { input_tokens: 0 / 0 } }]) {
		assert.throws(() => checked(lost), RangeError);
	}
	// what would happen else: null is the default of an amount, which is all
	const { error } = await backend.rpc('ducto_charge', { user_id: id, amount: NaN });

	assert.equal(error?.code, '22004');
	const refund = await backend.rpc('ducto_refund', { transaction_id: data?.transaction_id ?? '', amount: NaN }).throwOnError();

	assert.equal(refund.data?.amount, 0.25);
});

test('an exception has the status and the code of the rejection', async () => {
	const { id } = await newUser(0);
	const headers = { 'x-ducto-rejections': 'postgrest' };
	const raising = createClient<Database>(base.url, base.serviceRoleKey, { ...options, global: { headers } });
	const { data, error, status } = await raising.rpc('ducto_charge', { user_id: id, amount: 1 });

	assert.deepEqual([data, status, error?.code, error?.message], [null, 402, 'UC001', 'insufficient_credits']);
	assert.equal(error?.hint, 'Needed: 1.0000; available: 0.0000; floor: 0.0000.');
	assert.equal(JSON.parse(error?.details ?? '{}').error, 'insufficient_credits');
	await assert.rejects(async () => raising.rpc('ducto_charge', { user_id: id, amount: 1 }).throwOnError(), { code: 'UC001' });
});

test('a status makes an error of the row', async () => {
	const { id } = await newUser(0);
	const headers = { 'x-ducto-rejections': 'http' };
	const telling = createClient<Database>(base.url, base.serviceRoleKey, { ...options, global: { headers } });
	const { data, error, status } = await telling.rpc('ducto_charge', { user_id: id, amount: 1 });

	assert.deepEqual([data, status], [null, 402]);
	assert.equal((error as unknown as { error: string }).error, 'insufficient_credits');
	assert.equal(error?.code, undefined);
});

test('the books are right', async () => {
	const { data } = await backend.rpc('ducto_verify').throwOnError();

	assert.deepEqual(data, []);
});
