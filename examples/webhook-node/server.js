// The webhook over http, on the loopback interface:
//
//   POST /webhook  an event   Stripe-Signature: t=<seconds>,v1=<HMAC>
//
// Any answer but 200 makes the provider deliver the event again, later.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { handle, Refusal } from './payments.js';

const TOLERANCE = 300; // seconds, against a replay of what somebody has recorded

export const sign = (body, secret, seconds) =>
	createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex');

// Lets a body pass that the provider has signed, and not long ago.
function verify(body, header, secret) {
	const fields = (header ?? '').split(',').map((field) => field.split('='));
	const seconds = fields.find(([name]) => name === 't')?.[1];
	const expected = Buffer.from(sign(body, secret, seconds));
	const isSigned = fields.some(([name, value = '']) => name === 'v1' && value.length === expected.length &&
		timingSafeEqual(Buffer.from(value), expected));

	if (!isSigned || !(Math.abs(Date.now() / 1000 - Number(seconds)) <= TOLERANCE)) {
		throw new Refusal(400, 'bad_signature');
	}
}

async function answer(pool, secret, request) {
	const chunks = [];

	for await (const chunk of request) {
		chunks.push(chunk);
	}
	if (`${request.method} ${request.url}` !== 'POST /webhook') {
		throw new Refusal(404, 'not_found');
	}
	// the signature is of the bytes that came, not of what a parser makes of them
	const body = Buffer.concat(chunks);

	verify(body, request.headers['stripe-signature'], secret);
	return handle(pool, JSON.parse(body.toString()));
}

// Port 0 takes a free one.
export async function serve(pool, secret, port) {
	const server = createServer(async (request, response) => {
		let status = 200;
		let body;

		try {
			body = await answer(pool, secret, request);
		} catch (error) {
			if (!(error instanceof Refusal)) {
				console.error(error);
			}
			status = error instanceof Refusal ? error.status : 500;
			body = { error: error instanceof Refusal ? error.code : 'internal' };
		}
		response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
	});

	await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
	return { server, url: `http://127.0.0.1:${server.address().port}` };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const pool = new pg.Pool();

	pool.on('error', console.error);
	const { url } = await serve(pool, process.env.WEBHOOK_SECRET, Number(process.env.PORT ?? 8080));

	console.log(`listening on ${url}`);
}
