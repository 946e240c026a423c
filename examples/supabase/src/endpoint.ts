// A metered AI endpoint: it holds what a reply can cost, lets the model work,
// and charges what it did cost, once for each Idempotency-Key.
//
//   POST /completions  {"prompt": "…"}   Authorization: Bearer <the user's token>, Idempotency-Key: <any text>
//   GET /balance                         Authorization: Bearer <the user's token>

import { createClient, type PostgrestSingleResponse } from '@supabase/supabase-js';
import type { Answer, Answers } from './answers.js';
import { checked, type Database, type Rejection } from './ducto.js';
import { price, type Model } from './model.js';

const MAX_TOKENS = 200;
const ATTEMPTS = 3;

// The HTTP statuses of the rejections that a user can cause.
const statuses: Partial<Record<Rejection, number>> = {
	insufficient_credits: 402,
	feature_not_entitled: 403,
	transaction_not_found: 404,
	reservation_expired: 410,
	cap_reached: 429,
	concurrency_limit: 429,
};

export class Refusal extends Error {
	constructor(readonly status: number, readonly code: string) {
		super(code);
	}
}

// Returns what a call returned. A call whose answer got lost is made again: each
// has an idempotency key, or may be repeated without one.
async function answered<T>(call: () => PromiseLike<PostgrestSingleResponse<T>>): Promise<T> {
	for (let attempt = 1; ; attempt++) {
		const { data, error, status } = await call();

		if (error === null) {
			return data;
		}
		if (status !== 0 && status < 500) {
			throw new Refusal(status, error.code);
		}
		if (attempt === ATTEMPTS) {
			throw new Refusal(503, 'unavailable');
		}
		await new Promise((resolve) => setTimeout(resolve, 50 * attempt));
	}
}

// Lets a row pass unless it is a rejection.
function accepted<T extends { error: Rejection | null }>(row: T): T {
	if (row.error !== null) {
		throw new Refusal(statuses[row.error] ?? 409, row.error);
	}
	return row;
}

export type Settings = {
	url: string;
	anonKey: string;
	serviceRoleKey: string;
	model: Model;
	answers: Answers;
	fetch?: typeof fetch;
};

export function createEndpoint({ url, anonKey, serviceRoleKey, model, answers, fetch: send = fetch }: Settings) {
	const options = {
		auth: { persistSession: false, autoRefreshToken: false },
		global: { fetch: send },
	};
	// This one may charge anybody. Its key stays on the server.
	const backend = createClient<Database>(url, serviceRoleKey, options);

	// Asks for a user's balance with the user's own token: the API verifies the
	// token, and the answer tells whose it is.
	async function balanceOf(request: Request) {
		const token = /^Bearer (.+)$/.exec(request.headers.get('authorization') ?? '')?.[1];

		if (token === undefined) {
			throw new Refusal(401, 'no_token');
		}
		const user = createClient<Database>(url, anonKey, { ...options, accessToken: async () => token });

		return answered(() => user.rpc('ducto_my_balance'));
	}

	async function work(user_id: string, key: string, prompt: string): Promise<Answer> {
		const input_tokens = model.countTokens(prompt);
		const amount = price({ input_tokens, output_tokens: MAX_TOKENS });
		const { reservation_id, idempotent } = accepted(await answered(() => backend.rpc('ducto_reserve', checked({
			user_id,
			amount,
			operation_type: 'completion',
			model: model.name,
			min_balance: 0, // amount is the most that it can cost
			idempotency_key: key,
		}))));

		if (reservation_id === null) {
			throw new Refusal(503, 'unavailable');
		}
		if (idempotent) {
			// An earlier request has made it. That one may be at work, or have died,
			// or have ended: an open reservation can be renewed, a closed one cannot.
			const { error } = await answered(() => backend.rpc('ducto_renew', { user_id, reservation_id }));
			const answer = await answers.find(user_id, key);

			if (answer !== undefined) {
				return answer;
			}
			if (error !== null) {
				throw new Refusal(409, 'key_used');
			}
		}
		try {
			const tokens = model.stream(prompt, MAX_TOKENS);
			let reply = '';
			let next = await tokens.next();

			for (; !next.done; next = await tokens.next()) {
				reply += next.value;
			}
			const answer = { prompt, reply, usage: next.value, credits: price(next.value), reservation_id };

			return await answers.keep(user_id, key, answer);
		} catch (error) {
			if (!idempotent) {
				await answered(() => backend.rpc('ducto_release', { user_id, reservation_id }));
			}
			throw new Refusal(502, 'model_failed');
		}
	}

	// The answer is kept before it is paid, and paid before it is given: whatever
	// gets lost in between, a retry finds the answer and pays with the same key.
	async function complete(user_id: string, key: string, prompt: string) {
		const answer = await answers.find(user_id, key) ?? await work(user_id, key, prompt);

		if (answer.prompt !== prompt) {
			throw new Refusal(409, 'idempotency_conflict');
		}
		const charge = accepted(await answered(() => backend.rpc('ducto_deduct', checked({
			user_id,
			reservation_id: answer.reservation_id,
			amount: answer.credits,
			idempotency_key: key,
			metadata: answer.usage,
		}))));

		return {
			reply: answer.reply,
			credits: charge.amount,
			balance: charge.balance_after,
			transaction_id: charge.transaction_id,
			replayed: charge.idempotent,
		};
	}

	return {
		async handle(request: Request): Promise<Response> {
			try {
				const route = `${request.method} ${new URL(request.url).pathname}`;

				if (route === 'GET /balance') {
					return Response.json(await balanceOf(request));
				}
				if (route !== 'POST /completions') {
					throw new Refusal(404, 'not_found');
				}
				const { user_id } = await balanceOf(request);
				const key = request.headers.get('idempotency-key');
				const body = await request.json().catch(() => null) as { prompt?: unknown } | null;
				const prompt = body?.prompt;

				if (key === null || typeof prompt !== 'string') {
					throw new Refusal(400, 'bad_request');
				}
				return Response.json(await complete(user_id, key, prompt));
			} catch (error) {
				if (error instanceof Refusal) {
					return Response.json({ error: error.code }, { status: error.status });
				}
				throw error;
			}
		},

		// Gives back what a reply did cost: for support, or a job that finds a bad one.
		async refund(transaction_id: string, reason: string) {
			return accepted(await answered(() => backend.rpc('ducto_refund', checked({
				transaction_id,
				reason,
				idempotency_key: `refund/${transaction_id}`,
			}))));
		},
	};
}
