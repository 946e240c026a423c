// The webhook against the database of libpq's environment, which has ducto.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { serve, sign } from './server.js';

const secret = 'whsec_of_the_tests';
const pool = new pg.Pool();
let served;

before(async () => {
	await pool.query(readFileSync(new URL('schema.sql', import.meta.url), 'utf8'));
	served = await serve(pool, secret, 0);
});

after(async () => {
	served.server.closeAllConnections();
	served.server.close();
	await pool.end();
});

const now = () => Math.floor(Date.now() / 1000);

async function post(body, signature) {
	const response = await fetch(`${served.url}/webhook`, {
		method: 'POST', headers: { 'stripe-signature': signature }, body,
	});

	return { status: response.status, ...await response.json() };
}

function deliver(type, object) {
	const body = JSON.stringify({ id: `evt_${randomUUID()}`, type, data: { object } });
	const seconds = now();

	return post(body, `t=${seconds},v1=${sign(body, secret, seconds)}`);
}

const checkout = (user, payment, pack = 'small', status = 'paid') => deliver('checkout.session.completed',
	{ payment_intent: payment, payment_status: status, client_reference_id: user, metadata: { pack } });
const dispute = (id, payment) => deliver('charge.dispute.created', { id, payment_intent: payment });
const decide = (id, status) => deliver('charge.dispute.closed', { id, status });

async function call(query, ...values) {
	return (await pool.query(query, values)).rows[0];
}

async function balance(user) {
	const found = await call('SELECT * FROM ducto_get_balance(user_id => $1)', user);

	return [found.balance, found.reserved, found.lifetime_purchased];
}

const spend = (user, amount) =>
	call('SELECT amount, error FROM ducto_charge(user_id => $1, amount => $2)', user, amount);

// A user who has paid for 100 credits, and the payment.
async function buyer() {
	const user = randomUUID();
	const payment = `pi_${randomUUID()}`;

	assert.equal((await checkout(user, payment)).status, 200);
	return [user, payment, `dp_${randomUUID()}`];
}

test('a payment adds the credits of its pack', async () => {
	const user = randomUUID();

	assert.deepEqual(await checkout(user, `pi_${randomUUID()}`, 'large'),
		{ status: 200, balance: '1000.0000', replayed: false });
	assert.deepEqual(await balance(user), ['1000.0000', '0.0000', '1000.0000']);
});

test('delivered twice, it adds them once', async () => {
	const [user, payment] = await buyer();

	await spend(user, 30);
	assert.deepEqual(await checkout(user, payment), { status: 200, balance: '100.0000', replayed: true });
	assert.deepEqual(await balance(user), ['70.0000', '0.0000', '100.0000']);
});

test('delivered eight times at once, too', async () => {
	const user = randomUUID();
	const payment = `pi_${randomUUID()}`;
	const answers = await Promise.all(Array.from({ length: 8 }, () => checkout(user, payment)));

	assert.deepEqual(answers.map(({ status }) => status), Array(8).fill(200));
	assert.equal(answers.filter(({ replayed }) => !replayed).length, 1);
	assert.deepEqual(await balance(user), ['100.0000', '0.0000', '100.0000']);
});

test('what is not paid yet, or no pack of ours, adds nothing', async () => {
	const user = randomUUID();

	assert.deepEqual(await checkout(user, 'pi_1', 'small', 'unpaid'), { status: 200, ignored: 'unpaid' });
	assert.deepEqual(await checkout(user, 'pi_1', 'free'), { status: 422, error: 'no_such_pack' });
	assert.deepEqual(await balance(user), ['0.0000', '0.0000', '0.0000']);
});

test('what the provider has not signed does nothing', async () => {
	const user = randomUUID();
	const body = JSON.stringify({ type: 'checkout.session.completed', data: { object: {
		payment_intent: 'pi_2', payment_status: 'paid', client_reference_id: user, metadata: { pack: 'small' } } } });
	const refused = { status: 400, error: 'bad_signature' };
	const old = now() - 301;

	assert.deepEqual(await post(body, ''), refused);
	assert.deepEqual(await post(body, `t=${now()},v1=${sign(body, 'another secret', now())}`), refused);
	assert.deepEqual(await post(`${body} `, `t=${now()},v1=${sign(body, secret, now())}`), refused);
	assert.deepEqual(await post(body, `t=${old},v1=${sign(body, secret, old)}`), refused);
	assert.deepEqual(await post(body, `v1=${sign(body, secret, undefined)}`), refused);
	assert.deepEqual(await balance(user), ['0.0000', '0.0000', '0.0000']);
});

test('a dispute takes back what is left, and says what is spent', async () => {
	const [user, payment, id] = await buyer();

	await spend(user, 30);
	assert.deepEqual(await dispute(id, payment), { status: 200, taken: '70.0000', shortfall: '30.0000', replayed: false });
	assert.deepEqual(await balance(user), ['0.0000', '0.0000', '30.0000']);
	assert.deepEqual(await call('SELECT type, amount FROM ducto_list_transactions(user_id => $1, max_rows => 1)', user),
		{ type: 'reversal', amount: '-70.0000' });
});

test('it takes no other credits, and none that a hold needs', async () => {
	const [user, payment, id] = await buyer();

	await checkout(user, `pi_${randomUUID()}`);
	await call('SELECT error FROM ducto_reserve(user_id => $1, amount => 150, min_balance => 0)', user);
	assert.deepEqual(await dispute(id, payment), { status: 200, taken: '50.0000', shortfall: '50.0000', replayed: false });
	assert.deepEqual((await balance(user)).slice(0, 2), ['150.0000', '150.0000']);
});

test('delivered twice, it takes once, whatever was bought since', async () => {
	const [user, payment, id] = await buyer();

	await spend(user, 100);
	assert.deepEqual(await dispute(id, payment), { status: 200, taken: '0.0000', shortfall: '100.0000', replayed: false });
	await checkout(user, `pi_${randomUUID()}`);
	assert.deepEqual(await dispute(id, payment), { status: 200, taken: '0.0000', shortfall: '100.0000', replayed: true });
	assert.equal((await balance(user))[0], '100.0000');
	assert.deepEqual(await decide(id, 'won'), { status: 200, ignored: 'nothing_taken' });
});

test('it takes what is left while others spend', async () => {
	const [user, payment, id] = await buyer();
	const [{ taken }, ...spent] = await Promise.all([
		dispute(id, payment), ...Array.from({ length: 20 }, () => spend(user, 3))]);
	const paid = spent.filter(({ error }) => error === null).length;

	assert.equal(Number(taken) + 3 * paid, 100 - Number((await balance(user))[0]));
});

test('one that comes before its payment comes again', async () => {
	const user = randomUUID();
	const payment = `pi_${randomUUID()}`;
	const id = `dp_${randomUUID()}`;

	assert.deepEqual(await dispute(id, payment), { status: 409, error: 'no_such_payment' });
	await checkout(user, payment);
	assert.equal((await dispute(id, payment)).taken, '100.0000');
});

test('a dispute that is won gives back what was taken, once', async () => {
	const [user, payment, id] = await buyer();

	await spend(user, 30);
	assert.deepEqual(await decide(id, 'won'), { status: 409, error: 'no_such_dispute' });
	await dispute(id, payment);
	assert.deepEqual(await decide(id, 'lost'), { status: 200, ignored: 'lost' });
	assert.deepEqual(await decide(id, 'won'), { status: 200, balance: '70.0000', replayed: false });
	assert.deepEqual(await decide(id, 'won'), { status: 200, balance: '70.0000', replayed: true });
	assert.deepEqual(await balance(user), ['70.0000', '0.0000', '100.0000']);
});

test('other events are none of its business', async () => {
	assert.deepEqual(await deliver('customer.created', {}), { status: 200, ignored: 'customer.created' });
});

test('the books are right', async () => {
	assert.deepEqual((await pool.query('SELECT * FROM ducto_verify()')).rows, []);
});
