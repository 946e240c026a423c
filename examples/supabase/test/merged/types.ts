// What rpc() and from() know where the types that supabase gen types has made,
// here in generated.ts, are merged with those of ducto. Compiling this file is
// the test; test/standin makes generated.ts of a database that has ducto and a
// table of an application, notes.

import { createClient } from '@supabase/supabase-js';
import type { Functions, WithDucto } from '../../src/ducto.js';
import type { Database as Generated } from './generated.js';

type Database = WithDucto<Generated>;

// Each function of ducto is there for the generator too, with the same arguments.
type Generally = Generated['public']['Functions'];
type Names<Of, Name> = Name extends keyof Of ? Of[Name] extends { Args: infer Args } ? keyof Args : never : never;
type SameNames = { [Name in keyof Functions]: [Names<Functions, Name>] extends [Names<Generally, Name>] ? true : Name };

export const same: { [Name in keyof Functions]: true } = null! as SameNames;

export async function types(): Promise<(number | string | null)[]> {
	const client = createClient<Database>('http://localhost', 'key');
	const user_id = 'ada00000-0000-4000-8000-000000000001';
	const { data: hold } = await client.rpc('ducto_reserve', { user_id, amount: '1.5', billing_mode: 'strict' });
	const { data: notes } = await client.from('notes').select('id, body');
	const { data: count } = await client.rpc('notes_of', { owner: user_id });

	if (hold === null || notes === null || count === null) {
		return [];
	}
	// @ts-expect-error: no such word
	await client.rpc('ducto_reserve', { user_id, amount: 1, billing_mode: 'strikt' });
	// @ts-expect-error: no such function
	await client.rpc('ducto_reserv', { user_id, amount: 1 });
	// @ts-expect-error: no such column
	notes[0]?.text;
	// @ts-expect-error: a rejection has no reservation
	hold.reservation_id.length;

	const body: string | undefined = notes[0]?.body;
	const one: number = count;

	return [hold.amount, hold.error, body ?? null, one];
}

// The extension may be in a schema that the generated types do not have.
export async function elsewhere(): Promise<number | null> {
	const client = createClient<WithDucto<Generated, 'api'>>('http://localhost', 'key');
	const { data } = await client.schema('api').rpc('ducto_get_balance', { user_id: 'ada00000-0000-4000-8000-000000000001' });
	const { data: notes } = await client.from('notes').select('body');

	return notes === null || data === null ? null : data.available;
}
