// A metered AI endpoint over http, on the loopback interface:
//
//   POST /completions  {"prompt": "…"}   X-User-Id: <uuid>, Idempotency-Key: <any text>
//   GET /balance                         X-User-Id: <uuid>
//
// Who the user is has been found out by what is in front of it.

import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { balanceOf, complete, Refusal } from './completions.js';
import { parrot } from './model.js';

async function promptOf(request) {
	const chunks = [];

	for await (const chunk of request) {
		chunks.push(chunk);
	}
	try {
		return JSON.parse(Buffer.concat(chunks).toString()).prompt;
	} catch {
		return undefined;
	}
}

async function answer(pool, model, request) {
	const userId = request.headers['x-user-id'];
	const key = request.headers['idempotency-key'];
	const route = `${request.method} ${request.url}`;

	if (userId === undefined) {
		throw new Refusal(401, 'no_user');
	}
	if (route === 'GET /balance') {
		return balanceOf(pool, userId);
	}
	if (route !== 'POST /completions') {
		throw new Refusal(404, 'not_found');
	}
	const prompt = await promptOf(request);

	if (key === undefined || typeof prompt !== 'string') {
		throw new Refusal(400, 'bad_request');
	}
	return complete(pool, model, userId, key, prompt);
}

// Port 0 takes a free one.
export async function serve(pool, model, port) {
	const server = createServer(async (request, response) => {
		let status = 200;
		let body;

		try {
			body = await answer(pool, model, request);
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
	const { url } = await serve(pool, parrot, Number(process.env.PORT ?? 8080));

	console.log(`listening on ${url}`);
}
