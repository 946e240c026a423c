// Serves the endpoint with node:http. What it needs to know is in the
// environment: SUPABASE_URL, SUPABASE_ANON_KEY, SUPABASE_SERVICE_ROLE_KEY, PORT.

import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { answersInMemory } from './answers.js';
import { createEndpoint, type Settings } from './endpoint.js';
import { parrot } from './model.js';

export function settings(env: NodeJS.ProcessEnv): Settings {
	const get = (name: string) => {
		const value = env[name];

		if (value === undefined) {
			throw new Error(`${name} is not set`);
		}
		return value;
	};

	return {
		url: get('SUPABASE_URL'),
		anonKey: get('SUPABASE_ANON_KEY'),
		serviceRoleKey: get('SUPABASE_SERVICE_ROLE_KEY'),
		model: parrot,
		answers: answersInMemory(),
	};
}

async function toRequest(incoming: IncomingMessage): Promise<Request> {
	const { method = 'GET', url = '/', headers } = incoming;
	const body: Buffer[] = [];

	for await (const chunk of incoming) {
		body.push(chunk);
	}
	return new Request(new URL(url, 'http://localhost'), {
		method,
		headers: Object.entries(headers).map(([name, value]) => [name, String(value)]),
		body: method === 'GET' || method === 'HEAD' ? null : Buffer.concat(body),
	});
}

// Listens on the loopback interface; port 0 takes a free one.
export async function serve(handle: (request: Request) => Promise<Response>, port: number) {
	const server = createServer(async (incoming, outgoing) => {
		try {
			const response = await handle(await toRequest(incoming));

			outgoing.writeHead(response.status, { 'content-type': 'application/json' }).end(await response.text());
		} catch (error) {
			console.error(error);
			outgoing.writeHead(500).end();
		}
	});

	await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
	return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const { url } = await serve(createEndpoint(settings(process.env)).handle, Number(process.env['PORT'] ?? 8080));

	console.log(`listening on ${url}`);
}
