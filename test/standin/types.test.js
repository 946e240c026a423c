import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { file, make } from './types.js';

const admin = new pg.Client();
const page = readFileSync(file, 'utf8');

before(() => admin.connect());

after(() => admin.end());

// The words of a type of the file, which may name another one.
function wordsOf(type) {
	const [, union] = new RegExp(`^export type ${type} =([^;]*);`, 'm').exec(page);

	return union.split('|').map((part) => part.trim()).filter((part) => part !== '')
		.flatMap((part) => part.startsWith("'") ? [part.slice(1, -1)] : wordsOf(part));
}

test('the types of examples/supabase are those of the catalog', async () => {
	assert.equal(page, await make(admin, page), 'script/types makes src/ducto.ts anew');
});

// The hint of the error for another word names those that there are.
test('the words of the types are those of the server', async () => {
	const values = { string: 'gen_random_uuid()', Amount: '1', number: '1', Json: "'{}'", boolean: 'true' };
	let count = 0;

	for (const [, name, lines] of page.matchAll(/^\t(ducto_\w+): \{\n\t\tArgs: \{\n((?:\t\t\t.*\n)+)\t\t\};/gm)) {
		const args = [...lines.matchAll(/^\t\t\t(\w+)(\??): (\w+)(\[\])?( \| null)?;$/gm)];
		const valueOf = (type) => values[type] ?? `'${wordsOf(type)[0]}'`;

		for (const [, arg, , type, isArray] of args.filter(([, , , each]) => values[each] === undefined)) {
			const list = args.filter(([, other, optional]) => other === arg || optional === '').map(([, other, , otherType]) =>
				`${other} => ${other === arg ? `'${isArray ? '{no such word}' : 'no such word'}'` : valueOf(otherType)}`);
			const { code, hint = '' } = await admin.query(`SELECT * FROM ${name}(${list.join(', ')})`).then(() => ({}), (error) => error);
			const [, words = ''] = / must be (.*)\.$/.exec(hint) ?? [];

			assert.equal(code, '22023', `${name}, ${arg}`);
			assert.deepEqual(words.split(/, | or /).sort(), wordsOf(type).sort(), `${name}, ${arg}: ${type}`);
			count++;
		}
	}
	assert.ok(count >= 9);
});

test('the rejections of the types are those of the reference', () => {
	const reference = readFileSync(new URL('../../docs/reference.md', import.meta.url), 'utf8');
	const rows = [...reference.matchAll(/^\| (\w+) \| UC\d{3} /gm)].map(([, code]) => code);

	assert.ok(rows.length > 0);
	assert.deepEqual(wordsOf('Rejection').sort(), rows.sort());
});
