// Runs the tests of the stand-in, and those of examples/supabase against it; or
// a command with the stand-in, in examples/supabase.
//
// usage: node run.js [COMMAND ARGUMENT…]
//
// The database is that of libpq's environment, where the user is a superuser and
// ducto is there. The roles that Supabase has are made, and dropped at the end.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { sign } from './jwt.js';
import { start } from './standin.js';

const setUp = `
	CREATE ROLE anon NOLOGIN;
	CREATE ROLE authenticated NOLOGIN;
	CREATE ROLE service_role NOLOGIN BYPASSRLS;
	CREATE ROLE authenticator LOGIN NOINHERIT;
	GRANT anon, authenticated, service_role TO authenticator;
	SELECT ducto_setup();`;

const tearDown = `
	DROP OWNED BY anon, authenticated, service_role;
	DROP ROLE IF EXISTS anon, authenticated, service_role, authenticator;`;

async function run(directory, env, command, ...args) {
	const child = spawn(command, args, {
		cwd: fileURLToPath(new URL(directory, import.meta.url)),
		env: { ...process.env, ...env },
		stdio: 'inherit',
	});
	const [code] = await once(child, 'exit');

	if (code !== 0) {
		process.exitCode = 1;
	}
}

const command = process.argv.slice(2);
const secret = randomBytes(32).toString('hex');
const admin = new pg.Client();

await admin.connect();
try {
	await admin.query(setUp);
	if (command.length === 0) {
		await run('.', {}, process.execPath, '--test', '--test-concurrency=1');
	}
	const standin = await start(secret);

	await run('../../examples/supabase', {
		SUPABASE_URL: standin.url,
		SUPABASE_ANON_KEY: sign({ role: 'anon' }, secret),
		SUPABASE_SERVICE_ROLE_KEY: sign({ role: 'service_role' }, secret),
		SUPABASE_JWT_SECRET: secret,
	}, ...(command.length === 0 ? ['npm', 'test'] : command));
	await standin.stop();
} finally {
	await admin.query(tearDown);
	await admin.end();
}
