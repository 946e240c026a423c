// What rpc() knows about the API. Compiling this file is the test.

import { createClient } from '@supabase/supabase-js';
import type { Database } from '../src/ducto.js';

export async function types(): Promise<(number | string | null)[]> {
	const client = createClient<Database>('http://localhost', 'key');
	const user_id = 'ada00000-0000-4000-8000-000000000001';
	const { data: hold } = await client.rpc('ducto_reserve', { user_id, amount: 1, team_id: null });
	const { data: grants } = await client.rpc('ducto_list_grants', { user_id });
	const { data: balance } = await client.rpc('ducto_balance_at', { user_id, at: '2025-01-01' });

	if (hold === null || grants === null || balance === null) {
		return [];
	}
	// @ts-expect-error: no such function
	await client.rpc('ducto_reserv', { user_id, amount: 1 });
	// @ts-expect-error: amount is missing
	await client.rpc('ducto_reserve', { user_id });
	// @ts-expect-error: amount is a number or a text
	await client.rpc('ducto_reserve', { user_id, amount: true });
	// @ts-expect-error: no such word
	await client.rpc('ducto_add_credits', { user_id, amount: 1, type: 'purchace' });
	// @ts-expect-error: no such word
	await client.rpc('ducto_list_transactions', { user_id, types: ['usage', 'usages'] });
	// @ts-expect-error: the result is one row
	hold[0];
	// @ts-expect-error: a rejection has no reservation
	hold.reservation_id.length;
	// @ts-expect-error: no such code
	hold.error === 'out_of_credits';

	await client.rpc('ducto_add_credits', { user_id, amount: '12345678901234.5678', type: 'purchase' });
	await client.rpc('ducto_set_spend_cap', { user_id, cap_type: 'daily', cap_limit: 10, action: 'warn' });
	// @ts-expect-error: no such word
	hold.billing_mode === 'strikt';

	const amount: number = hold.amount;
	const reservation: string | null = hold.reservation_id;
	const remaining: number[] = grants.map((grant) => grant.remaining);

	return [amount, reservation, ...remaining, balance];
}
