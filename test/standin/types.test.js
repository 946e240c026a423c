import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import pg from 'pg';
import { file, make } from './types.js';

test('the types of examples/supabase are those of the catalog', async (t) => {
	const admin = new pg.Client();
	const page = readFileSync(file, 'utf8');

	t.after(() => admin.end());
	await admin.connect();
	assert.equal(page, await make(admin, page), 'script/types makes src/ducto.ts anew');
});
