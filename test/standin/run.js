// Runs the tests of the stand-in, and those of examples/supabase against it; or
// a command with the stand-in, in examples/supabase.
//
// usage: node run.js [COMMAND ARGUMENT…]
//
// The types of ducto are merged with those that the generator of
// @supabase/postgres-meta makes of the database, which is what supabase gen types
// runs, and the example is run with the supabase-js that it names and the newest.
//
// The database is that of libpq's environment, where the user is a superuser and
// ducto is there. The roles that Supabase has are made, and dropped at the end.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { generateTypescript, introspect, sortGeneratorMetadata } from '@supabase/postgrest-typegen';
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
	DROP TABLE IF EXISTS notes;
	DROP FUNCTION IF EXISTS notes_of;
	DROP OWNED BY anon, authenticated, service_role;
	DROP ROLE IF EXISTS anon, authenticated, service_role, authenticator;`;

// What an application has beside ducto.
const application = `
	CREATE TABLE notes (id uuid PRIMARY KEY, user_id uuid NOT NULL, body text NOT NULL);
	CREATE FUNCTION notes_of(owner uuid) RETURNS integer STABLE LANGUAGE sql AS 'SELECT 1';`;

// Makes the types of the database as supabase gen types does.
async function generate() {
	await admin.query(application);
	const metadata = await introspect(admin, { includedSchemas: ['public'] });

	writeFileSync(new URL('../../examples/supabase/test/merged/generated.ts', import.meta.url),
		await generateTypescript(sortGeneratorMetadata(metadata), { postgrestVersion: '16' }));
}

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
	let commands = [command];

	if (command.length === 0) {
		await generate();
		commands = ['test', 'check:merged', 'test:newest'].map((script) => ['npm', 'run', script]);
	}
	for (const each of commands) {
		await run('../../examples/supabase', {
			SUPABASE_URL: standin.url,
			SUPABASE_ANON_KEY: sign({ role: 'anon' }, secret),
			SUPABASE_SERVICE_ROLE_KEY: sign({ role: 'service_role' }, secret),
			SUPABASE_JWT_SECRET: secret,
		}, ...each);
	}
	await standin.stop();
} finally {
	await admin.query(tearDown);
	await admin.end();
}
