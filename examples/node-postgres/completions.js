// Metered completions: hold what a reply can cost, let the model work, charge
// what it did cost and keep the reply, both in one transaction.

import { countTokens, price } from './model.js';

const MAX_TOKENS = 200;
const ATTEMPTS = 3;

// The HTTP statuses of the rejections that a user can cause.
const statuses = {
	insufficient_credits: 402,
	feature_not_entitled: 403,
	transaction_not_found: 404,
	reservation_expired: 410,
	cap_reached: 429,
	concurrency_limit: 429,
};

export class Refusal extends Error {
	constructor(status, code) {
		super(code);
		this.status = status;
		this.code = code;
	}
}

// Returns the row of a call unless it is a rejection.
function accepted({ rows: [row] }) {
	if (row.error !== null) {
		throw new Refusal(statuses[row.error] ?? 409, row.error);
	}
	return row;
}

// Whether the connection broke, the server ended it, or two transactions met:
// nobody knows whether the work was done, or it was not.
const mayRetry = (error) => !(error instanceof Refusal) &&
	(error.severity === undefined || /^(08|40|57P)/.test(error.code));

// A connection that breaks tells the statement that waits, and emits an error
// besides, which would end the process.
const ignore = () => {};

async function withClient(pool, work) {
	const client = await pool.connect();
	let broken = false;

	client.on('error', ignore);
	try {
		return await work(client);
	} catch (error) {
		broken = mayRetry(error);
		throw error;
	} finally {
		client.off('error', ignore);
		client.release(broken);
	}
}

// Does work with a connection, again with another one when an answer got lost.
// All that is done here has an idempotency key, or may be repeated without one.
async function answered(pool, work) {
	for (let attempt = 1; ; attempt++) {
		try {
			return await withClient(pool, work);
		} catch (error) {
			if (attempt === ATTEMPTS || !mayRetry(error)) {
				throw error;
			}
			await new Promise((resolve) => setTimeout(resolve, 50 * attempt));
		}
	}
}

async function inTransaction(client, work) {
	await client.query('BEGIN');
	try {
		const result = await work();

		await client.query('COMMIT');
		return result;
	} catch (error) {
		await client.query('ROLLBACK').catch(ignore); // the first error is the one to report
		throw error;
	}
}

async function find(client, userId, key) {
	const { rows: [row] } = await client.query('SELECT * FROM completions WHERE user_id = $1 AND key = $2', [userId, key]);

	return row;
}

// Returns the reservation, or undefined when the reply came in the meantime.
async function reserve(client, model, userId, key, prompt) {
	const amount = price({ input_tokens: countTokens(prompt), output_tokens: MAX_TOKENS });
	// min_balance: amount is the most that it can cost, so nothing has to be left
	const reservation = accepted(await client.query(
		`SELECT * FROM ducto_reserve(user_id => $1, amount => $2, operation_type => 'completion', min_balance => 0,
			model => $3, idempotency_key => $4)`,
		[userId, amount, model.name, key]));

	if (!reservation.idempotent) {
		return reservation;
	}
	// An earlier request has made it. That one may be at work, or have died, or
	// have ended: an open reservation can be renewed, a closed one cannot.
	const { rows: [{ error }] } = await client.query('SELECT error FROM ducto_renew(user_id => $1, reservation_id => $2)',
		[userId, reservation.reservation_id]);

	if (await find(client, userId, key) !== undefined) {
		return undefined;
	}
	if (error !== null) {
		throw new Refusal(409, 'key_used');
	}
	return reservation;
}

async function run(model, prompt) {
	const tokens = model.stream(prompt, MAX_TOKENS);
	let reply = '';
	let next = await tokens.next();

	for (; !next.done; next = await tokens.next()) {
		reply += next.value;
	}
	return { reply, usage: next.value };
}

// Charges and keeps a reply: both, or neither.
const settle = (client, userId, key, reservation, prompt, { reply, usage }) => inTransaction(client, async () => {
	const charge = accepted(await client.query(
		`SELECT * FROM ducto_deduct(user_id => $1, reservation_id => $2, amount => $3, idempotency_key => $4,
			metadata => $5)`,
		[userId, reservation.reservation_id, price(usage), key, usage]));

	await client.query(
		`INSERT INTO completions (user_id, key, prompt, reply, transaction_id, credits, balance)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		[userId, key, prompt, reply, charge.transaction_id, charge.amount, charge.balance_after]);
	return charge.idempotent;
});

export async function complete(pool, model, userId, key, prompt) {
	const attempt = (work) => answered(pool, work);
	let kept = await attempt((client) => find(client, userId, key));
	let replayed = true;

	if (kept === undefined) {
		const reservation = await attempt((client) => reserve(client, model, userId, key, prompt));

		if (reservation !== undefined) {
			let result;

			try {
				result = await run(model, prompt);
			} catch {
				if (!reservation.idempotent) {
					await attempt((client) =>
						client.query('SELECT released FROM ducto_release(user_id => $1, reservation_id => $2)',
							[userId, reservation.reservation_id]));
				}
				throw new Refusal(502, 'model_failed');
			}
			replayed = await attempt((client) => settle(client, userId, key, reservation, prompt, result));
		}
		kept = await attempt((client) => find(client, userId, key));
	}
	if (kept.prompt !== prompt) {
		throw new Refusal(409, 'idempotency_conflict');
	}
	const { reply, credits, balance, transaction_id } = kept;

	return { reply, credits, balance, transaction_id, replayed };
}

export async function balanceOf(pool, userId) {
	const { rows: [row] } = await pool.query('SELECT * FROM ducto_get_balance(user_id => $1)', [userId]);

	return row;
}

// Gives back what a reply did cost: for support, or a job that finds a bad one.
export const refund = (pool, transactionId, reason) => answered(pool, async (client) => accepted(await client.query(
	'SELECT * FROM ducto_refund(transaction_id => $1, reason => $2, idempotency_key => $3)',
	[transactionId, reason, `refund/${transactionId}`])));
