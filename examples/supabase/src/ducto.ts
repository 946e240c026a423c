// The types of ducto's API for @supabase/supabase-js. Copy this file into your
// project. script/types makes it anew from the catalog.
//
//   createClient<Database>(…)                 a project without types of its own
//   createClient<WithDucto<Generated>>(…)     one with those of supabase gen types
//
// Credits are numeric with four decimals. JSON makes them numbers, which are
// exact to the last decimal up to about 100 billion.

export type Json = string | number | boolean | null | { [key: string]: Json } | Json[];

// An amount that is passed. A text keeps all its digits.
export type Amount = number | string;

export type Rejection =
	| 'insufficient_credits'
	| 'cap_reached'
	| 'concurrency_limit'
	| 'feature_not_entitled'
	| 'reservation_not_found'
	| 'reservation_expired'
	| 'reservation_closed'
	| 'transaction_not_found'
	| 'not_refundable'
	| 'already_refunded'
	| 'over_refund'
	| 'team_not_found'
	| 'user_not_in_team'
	| 'plan_not_found'
	| 'pricing_version_not_found'
	| 'no_active_pricing'
	| 'model_not_priced'
	| 'idempotency_conflict'
	| 'ceiling_reached';

export type CreditType = 'adjustment' | 'purchase' | 'subscription' | 'signup_bonus' | 'promo';
export type EntryType = CreditType | 'usage' | 'refund' | 'reversal' | 'transfer_out' | 'transfer_in' | 'expiry';
export type BillingMode = 'strict' | 'overdraft';
export type Overrun = 'reject' | 'clamp' | 'full';
export type ReverseOverrun = Overrun | 'unspent';
export type CapType = 'hourly' | 'daily' | 'weekly' | 'monthly' | 'total' | 'session' | 'sliding';
export type CapAction = 'deny' | 'warn' | 'notify';
export type ReleaseReason = 'released' | 'already_released' | 'already_settled' | 'expired' | 'not_found';

export type Database = {
	public: {
		Tables: { [name in never]: never };
		Views: { [name in never]: never };
		Functions: Functions;
		Enums: { [name in never]: never };
		CompositeTypes: Results;
	};
};

// The types that supabase gen types has made, with ducto's functions as they are
// here: the generated ones do not know which columns may be NULL, which words
// there are, and that amounts may be texts. Schema is where the extension is.
export type WithDucto<Generated, Schema extends string = 'public'> = {
	[Name in keyof Generated | Schema]: Name extends Schema
		? WithFunctions<Name extends keyof Generated ? Generated[Name] : Database['public']>
		: Name extends keyof Generated ? Generated[Name] : never;
};

type WithFunctions<Exposed> = {
	[Part in keyof Exposed]: Part extends 'Functions' ? Omit<Exposed[Part], keyof Functions> & Functions : Exposed[Part];
};

// Returns arguments as they are, or throws where a value is lost on its way: JSON
// makes null of NaN and of Infinity, and leaves out what is undefined. To ducto
// both mean the default, which for ducto_refund is all that is left.
export function checked<Args extends object>(args: Args): Args {
	JSON.stringify(args, (name, value: unknown) => {
		if (value === undefined || (typeof value === 'number' && !Number.isFinite(value))) {
			throw new RangeError(`${name} is ${value}`);
		}
		return value;
	});
	return args;
}

export type Results = {
	ducto_access: {
		role: string;
		object: string;
		privilege: string;
		granted_to: string;
		granted_by: string;
	};
	ducto_account: {
		account_id: string;
		kind: string;
		name: string | null;
		plan_id: string | null;
		balance: number;
		reserved: number;
		available: number;
		lifetime_purchased: number;
		created_at: string;
		updated_at: string;
	};
	ducto_add_credits_many_row: {
		position: number | null;
		transaction_id: string | null;
		user_id: string | null;
		amount: number | null;
		new_balance: number | null;
		lifetime_purchased: number | null;
		expires_at: string | null;
		idempotent: boolean | null;
		error: Rejection | null;
		team_id: string | null;
	};
	ducto_add_credits_result: {
		transaction_id: string | null;
		user_id: string | null;
		amount: number;
		new_balance: number;
		lifetime_purchased: number;
		expires_at: string | null;
		idempotent: boolean;
		error: Rejection | null;
	};
	ducto_afford_result: {
		affordable: boolean;
		available: number;
		allowance_remaining: number;
		reason: Rejection | null;
	};
	ducto_aggregate_stats_result: {
		total_credits_consumed: number;
		active_users: number;
		avg_daily_spend: number;
		top_model: string | null;
		top_user: string | null;
	};
	ducto_alerts_result: {
		account_id: string | null;
		balance: number[] | null;
		allowance_percent: number[] | null;
		cap_percent: number[] | null;
		expiring_days: number | null;
		topup_below: number | null;
		topup_amount: number | null;
		topup_max_per_month: number | null;
	};
	ducto_allowance_result: {
		plan_id: string | null;
		free_allowance: number;
		allowance_used: number;
		allowance_remaining: number;
		period_start: string;
		period_end: string;
		resets_at: string | null;
		error: Rejection | null;
	};
	ducto_balance_result: {
		user_id: string;
		balance: number;
		lifetime_purchased: number;
		reserved: number;
		available: number;
		next_expiry: string | null;
	};
	ducto_books_day: {
		date: string;
		type: string;
		entries: number;
		amount: number;
		from_grants: number;
		allowance: number;
	};
	ducto_cap_check_result: {
		capped: boolean;
		current_spend: number;
		cap_limit: number | null;
		action: CapAction | null;
		model: string | null;
		resets_at: string | null;
	};
	ducto_chain_head_result: {
		account_id: string | null;
		seq: number | null;
		digest: string | null;
		at: string | null;
	};
	ducto_charge_many_row: {
		position: number | null;
		transaction_id: string | null;
		user_id: string | null;
		team_id: string | null;
		amount: number | null;
		balance_after: number | null;
		allowance_consumed: number | null;
		shortfall: number | null;
		idempotent: boolean | null;
		cap_warning: CapAction | null;
		error: Rejection | null;
	};
	ducto_day_spend: {
		date: string;
		total_spend: number;
		transaction_count: number;
	};
	ducto_deduction_result: {
		transaction_id: string | null;
		user_id: string;
		amount: number;
		balance_after: number;
		allowance_consumed: number;
		shortfall: number;
		idempotent: boolean;
		cap_warning: CapAction | null;
		error: Rejection | null;
	};
	ducto_discrepancy: {
		account_id: string;
		check_name: string;
		expected: string;
		actual: string;
	};
	ducto_distribute_step: {
		object: string | null;
		action: CapAction | null;
	};
	ducto_event: {
		id: string | null;
		account_id: string | null;
		user_id: string | null;
		team_id: string | null;
		kind: string | null;
		payload: Json | null;
		created_at: string | null;
		attempt: number | null;
	};
	ducto_expiring_day: {
		date: string;
		type: string;
		amount: number;
		grants: number;
	};
	ducto_feature_result: {
		user_id: string;
		feature: string;
		value: Json | null;
		has_feature: boolean;
	};
	ducto_grant: {
		grant_id: string;
		type: CreditType;
		amount: number;
		remaining: number;
		priority: number;
		expires_at: string | null;
		created_at: string;
	};
	ducto_liability_result: {
		paid: number;
		granted: number;
		in_debt: number;
		held: number;
		accounts: number;
		other: number;
	};
	ducto_metric: {
		name: string;
		labels: Json;
		value: number;
		kind: string;
		help: string;
	};
	ducto_model_spend: {
		model: string;
		total_spend: number;
		transaction_count: number;
	};
	ducto_price_result: {
		total: number | null;
		model_credits: number | null;
		tool_credits: number | null;
		search_credits: number | null;
		cache_savings: number | null;
		fixed_credits: number | null;
		exact_price: number | null;
		version: number | null;
		error: Rejection | null;
	};
	ducto_pricing_problem: {
		path: string;
		problem: string;
	};
	ducto_pricing_result: {
		id: string | null;
		version: number | null;
		config: Json | null;
		label: string | null;
		active: boolean | null;
		created_at: string | null;
		error: Rejection | null;
	};
	ducto_pricing_version: {
		id: string;
		version: number;
		label: string | null;
		active: boolean;
		created_at: string;
	};
	ducto_refund_result: {
		refund_transaction_id: string | null;
		original_transaction_id: string;
		user_id: string | null;
		team_id: string | null;
		amount: number;
		new_balance: number;
		allowance_restored: number;
		idempotent: boolean;
		error: Rejection | null;
	};
	ducto_release_result: {
		reservation_id: string;
		user_id: string;
		released: boolean;
		reason: ReleaseReason;
	};
	ducto_repair_step: {
		account_id: string | null;
		check_name: string | null;
		was: string | null;
		becomes: string | null;
		mended: boolean | null;
	};
	ducto_reprice_row: {
		model: string;
		entries: number;
		charged: number;
		repriced: number | null;
		difference: number | null;
	};
	ducto_reserve_result: {
		reservation_id: string | null;
		user_id: string;
		amount: number;
		balance: number;
		reserved: number;
		available: number;
		billing_mode: BillingMode | null;
		expires_at: string | null;
		idempotent: boolean;
		error: Rejection | null;
	};
	ducto_reversal_result: {
		reversal_transaction_id: string | null;
		original_transaction_id: string;
		user_id: string | null;
		team_id: string | null;
		amount: number;
		shortfall: number;
		new_balance: number;
		lifetime_purchased: number;
		idempotent: boolean;
		error: Rejection | null;
	};
	ducto_set_user_plan_result: {
		user_id: string;
		plan_id: string | null;
		error: Rejection | null;
	};
	ducto_settle_result: {
		transaction_id: string | null;
		booked: number | null;
		skipped: number | null;
		amount: number | null;
		balance_after: number | null;
		allowance_consumed: number | null;
		shortfall: number | null;
		remaining: number | null;
		error: Rejection | null;
	};
	ducto_spend_cap: {
		user_id: string;
		cap_type: CapType;
		model: string | null;
		cap_limit: number;
		action: CapAction;
		current_spend: number;
		resets_at: string | null;
		window_length: string | null;
		of_plan: boolean;
	};
	ducto_sweep_result: {
		expired_count: number;
		expired_amount: number;
		dry_run: boolean;
	};
	ducto_team: {
		team_id: string | null;
		name: string | null;
		balance: number | null;
		reserved: number | null;
		available: number | null;
		member_count: number | null;
		role: string | null;
		created_at: string | null;
	};
	ducto_team_balance_result: {
		team_id: string;
		name: string | null;
		balance: number;
		reserved: number;
		available: number;
		member_count: number;
		error: Rejection | null;
	};
	ducto_team_deduction_result: {
		transaction_id: string | null;
		team_id: string;
		user_id: string;
		amount: number;
		team_balance_after: number;
		idempotent: boolean;
		error: Rejection | null;
	};
	ducto_team_member: {
		user_id: string;
		role: string;
		spend_cap: number | null;
		total_spent: number;
		joined_at: string;
	};
	ducto_team_member_result: {
		team_id: string;
		user_id: string;
		role: string;
		spend_cap: number | null;
		error: Rejection | null;
	};
	ducto_team_result: {
		team_id: string;
		name: string;
		idempotent: boolean | null;
	};
	ducto_top_user: {
		user_id: string;
		total_spend: number;
	};
	ducto_transaction: {
		id: string;
		user_id: string | null;
		team_id: string | null;
		amount: number;
		type: EntryType;
		operation_type: string | null;
		model: string | null;
		reference_id: string | null;
		balance_after: number;
		allowance_consumed: number;
		idempotency_key: string | null;
		metadata: Json;
		created_at: string;
		total_count: number;
	};
	ducto_transfer_result: {
		out_transaction_id: string | null;
		in_transaction_id: string | null;
		from_id: string;
		to_id: string;
		amount: number;
		from_balance: number;
		to_balance: number;
		idempotent: boolean;
		error: Rejection | null;
	};
	ducto_usage_line: {
		transaction_id: string | null;
		line: number | null;
		key: string | null;
		user_id: string | null;
		team_id: string | null;
		operation_type: string | null;
		model: string | null;
		amount: number | null;
		usage: Json | null;
		metadata: Json | null;
		created_at: string | null;
	};
	ducto_user_plan_result: {
		user_id: string;
		plan_id: string | null;
		plan_name: string | null;
		free_allowance: number;
		features: Json;
		default_billing_mode: BillingMode;
		per_operation: Json;
		max_concurrent: number | null;
		overdraft_floor: number | null;
	};
	ducto_user_spend: {
		user_id: string;
		total_spend: number;
		transaction_count: number;
	};
};

export type Functions = {
	ducto_ack_events: {
		Args: {
			ids: string[];
		};
		Returns: number;
	};
	ducto_activate_pricing: {
		Args: {
			version: number;
		};
		Returns: Results['ducto_pricing_result'];
	};
	ducto_add_credits: {
		Args: {
			user_id: string;
			amount: Amount;
			type?: CreditType | null;
			metadata?: Json | null;
			expires_at?: string | null;
			idempotency_key?: string | null;
			priority?: number | null;
		};
		Returns: Results['ducto_add_credits_result'];
	};
	ducto_add_credits_many: {
		Args: {
			credits: Json;
		};
		Returns: Results['ducto_add_credits_many_row'][];
	};
	ducto_add_team_credits: {
		Args: {
			team_id: string;
			amount: Amount;
			type?: CreditType | null;
			metadata?: Json | null;
			expires_at?: string | null;
			idempotency_key?: string | null;
			priority?: number | null;
		};
		Returns: Results['ducto_add_credits_result'];
	};
	ducto_add_team_member: {
		Args: {
			team_id: string;
			user_id: string;
			role?: string | null;
			spend_cap?: Amount | null;
		};
		Returns: Results['ducto_team_member_result'];
	};
	ducto_advance_clock: {
		Args: {
			by: string;
		};
		Returns: string;
	};
	ducto_aggregate_stats: {
		Args: {
			from_time?: string | null;
			to_time?: string | null;
		};
		Returns: Results['ducto_aggregate_stats_result'];
	};
	ducto_balance_at: {
		Args: {
			user_id: string;
			at: string;
		};
		Returns: number;
	};
	ducto_books: {
		Args: {
			from_time?: string | null;
			to_time?: string | null;
		};
		Returns: Results['ducto_books_day'][];
	};
	ducto_can_afford: {
		Args: {
			user_id: string;
			amount: Amount;
			model?: string | null;
			operation_type?: string | null;
		};
		Returns: Results['ducto_afford_result'];
	};
	ducto_chain_head: {
		Args: {
			account_id: string;
			seq?: number | null;
		};
		Returns: Results['ducto_chain_head_result'];
	};
	ducto_charge: {
		Args: {
			user_id: string;
			amount: Amount;
			idempotency_key?: string | null;
			metadata?: Json | null;
			model?: string | null;
			min_balance?: Amount | null;
			operation_type?: string | null;
			skip_allowance?: boolean | null;
			required_feature?: string | null;
			overrun?: Overrun | null;
		};
		Returns: Results['ducto_deduction_result'];
	};
	ducto_charge_many: {
		Args: {
			charges: Json;
		};
		Returns: Results['ducto_charge_many_row'][];
	};
	ducto_charge_usage: {
		Args: {
			user_id: string;
			usage: Json;
			reservation_id?: string | null;
			idempotency_key?: string | null;
			metadata?: Json | null;
			overrun?: Overrun | null;
		};
		Returns: Results['ducto_deduction_result'];
	};
	ducto_check_allowance: {
		Args: {
			user_id: string;
		};
		Returns: Results['ducto_allowance_result'];
	};
	ducto_check_feature: {
		Args: {
			user_id: string;
			feature: string;
		};
		Returns: Results['ducto_feature_result'];
	};
	ducto_check_spend_cap: {
		Args: {
			user_id: string;
			model?: string | null;
			amount?: Amount | null;
		};
		Returns: Results['ducto_cap_check_result'];
	};
	ducto_create_team: {
		Args: {
			name: string;
			initial_balance?: Amount | null;
			idempotency_key?: string | null;
		};
		Returns: Results['ducto_team_result'];
	};
	ducto_daily_spend: {
		Args: {
			from_time?: string | null;
			to_time?: string | null;
			fill?: boolean | null;
		};
		Returns: Results['ducto_day_spend'][];
	};
	ducto_deduct: {
		Args: {
			user_id: string;
			reservation_id: string;
			amount: Amount;
			idempotency_key?: string | null;
			metadata?: Json | null;
			model?: string | null;
			overrun?: Overrun | null;
			final?: boolean | null;
			allow_late?: boolean | null;
			skip_allowance?: boolean | null;
			team_id?: string | null;
		};
		Returns: Results['ducto_deduction_result'];
	};
	ducto_deduct_team: {
		Args: {
			team_id: string;
			user_id: string;
			amount: Amount;
			metadata?: Json | null;
			idempotency_key?: string | null;
			model?: string | null;
		};
		Returns: Results['ducto_team_deduction_result'];
	};
	ducto_distribute: {
		Args: {
			shard_count?: number | null;
		};
		Returns: Results['ducto_distribute_step'][];
	};
	ducto_expire_reservations: {
		Args: {
			max_rows?: number | null;
		};
		Returns: number;
	};
	ducto_expiring: {
		Args: {
			until: string;
		};
		Returns: Results['ducto_expiring_day'][];
	};
	ducto_get_active_pricing: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_pricing_result'];
	};
	ducto_get_balance: {
		Args: {
			user_id: string;
		};
		Returns: Results['ducto_balance_result'];
	};
	ducto_get_pricing_config: {
		Args: {
			version: number;
		};
		Returns: Results['ducto_pricing_result'];
	};
	ducto_get_pricing_history: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_pricing_version'][];
	};
	ducto_get_team_balance: {
		Args: {
			team_id: string;
		};
		Returns: Results['ducto_team_balance_result'];
	};
	ducto_get_team_members: {
		Args: {
			team_id: string;
		};
		Returns: Results['ducto_team_member'][];
	};
	ducto_get_user_plan: {
		Args: {
			user_id: string;
		};
		Returns: Results['ducto_user_plan_result'];
	};
	ducto_import_prices: {
		Args: {
			catalogue: Json;
			format: string;
			markup?: Amount | null;
			credits_per_unit?: Amount | null;
			models?: string[] | null;
		};
		Returns: Json;
	};
	ducto_increment_usage_window: {
		Args: {
			user_id: string;
			plan_id: string;
			amount: Amount;
		};
		Returns: Results['ducto_allowance_result'];
	};
	ducto_liability: {
		Args: {
			at?: string | null;
		};
		Returns: Results['ducto_liability_result'];
	};
	ducto_list_access: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_access'][];
	};
	ducto_list_accounts: {
		Args: {
			kind?: string | null;
			order_by?: string | null;
			max_rows?: number | null;
			after?: string | null;
		};
		Returns: Results['ducto_account'][];
	};
	ducto_list_events: {
		Args: {
			account_id: string;
			kinds?: string[] | null;
			max_rows?: number | null;
			before?: string | null;
		};
		Returns: Results['ducto_event'][];
	};
	ducto_list_grants: {
		Args: {
			user_id: string;
		};
		Returns: Results['ducto_grant'][];
	};
	ducto_list_spend_caps: {
		Args: {
			user_id: string;
		};
		Returns: Results['ducto_spend_cap'][];
	};
	ducto_list_teams: {
		Args: {
			user_id?: string | null;
			max_rows?: number | null;
			after?: string | null;
		};
		Returns: Results['ducto_team'][];
	};
	ducto_list_transactions: {
		Args: {
			user_id: string;
			types?: EntryType[] | null;
			from_time?: string | null;
			to_time?: string | null;
			max_rows?: number | null;
			skip_rows?: number | null;
			before?: string | null;
		};
		Returns: Results['ducto_transaction'][];
	};
	ducto_list_usage_events: {
		Args: {
			user_id: string;
			from_time?: string | null;
			to_time?: string | null;
			max_rows?: number | null;
			skip_rows?: number | null;
		};
		Returns: Results['ducto_transaction'][];
	};
	ducto_list_usage_lines: {
		Args: {
			user_id: string;
			transaction_id?: string | null;
			from_time?: string | null;
			to_time?: string | null;
			max_rows?: number | null;
			before?: string | null;
		};
		Returns: Results['ducto_usage_line'][];
	};
	ducto_metrics: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_metric'][];
	};
	ducto_my_balance: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_balance_result'];
	};
	ducto_my_events: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_event'][];
	};
	ducto_my_grants: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_grant'][];
	};
	ducto_my_plan: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_user_plan_result'];
	};
	ducto_my_transactions: {
		Args: {
			max_rows?: number | null;
			before?: string | null;
		};
		Returns: Results['ducto_transaction'][];
	};
	ducto_price: {
		Args: {
			usage: Json;
			plan_id?: string | null;
			version?: number | null;
		};
		Returns: Results['ducto_price_result'];
	};
	ducto_prune_reservations: {
		Args: {
			before: string;
			max_rows?: number | null;
		};
		Returns: number;
	};
	ducto_refund: {
		Args: {
			transaction_id: string;
			amount?: Amount | null;
			reason?: string | null;
			metadata?: Json | null;
			idempotency_key?: string | null;
			restore_allowance?: boolean | null;
			account_id?: string | null;
		};
		Returns: Results['ducto_refund_result'];
	};
	ducto_release: {
		Args: {
			user_id: string;
			reservation_id: string;
			team_id?: string | null;
		};
		Returns: Results['ducto_release_result'];
	};
	ducto_remove_spend_cap: {
		Args: {
			user_id: string;
			cap_type: CapType;
			model?: string | null;
		};
		Returns: boolean;
	};
	ducto_remove_team_member: {
		Args: {
			team_id: string;
			user_id: string;
		};
		Returns: boolean;
	};
	ducto_renew: {
		Args: {
			user_id: string;
			reservation_id: string;
			ttl_seconds?: number | null;
			team_id?: string | null;
		};
		Returns: Results['ducto_reserve_result'];
	};
	ducto_repair: {
		Args: {
			account_id: string;
			dry_run?: boolean | null;
		};
		Returns: Results['ducto_repair_step'][];
	};
	ducto_reprice: {
		Args: {
			from_time: string;
			to_time: string;
			version?: number | null;
			config?: Json | null;
		};
		Returns: Results['ducto_reprice_row'][];
	};
	ducto_reserve: {
		Args: {
			user_id: string;
			amount: Amount;
			operation_type?: string | null;
			metadata?: Json | null;
			min_balance?: Amount | null;
			ttl_seconds?: number | null;
			model?: string | null;
			billing_mode?: BillingMode | null;
			overdraft_floor?: Amount | null;
			max_concurrent?: number | null;
			required_feature?: string | null;
			idempotency_key?: string | null;
			team_id?: string | null;
			skip_allowance?: boolean | null;
			ceiling?: boolean | null;
		};
		Returns: Results['ducto_reserve_result'];
	};
	ducto_reserve_usage: {
		Args: {
			user_id: string;
			usage: Json;
			operation_type?: string | null;
			metadata?: Json | null;
			ttl_seconds?: number | null;
			idempotency_key?: string | null;
			team_id?: string | null;
		};
		Returns: Results['ducto_reserve_result'];
	};
	ducto_reverse_credits: {
		Args: {
			transaction_id: string;
			amount?: Amount | null;
			overrun?: ReverseOverrun | null;
			reason?: string | null;
			metadata?: Json | null;
			idempotency_key?: string | null;
			account_id?: string | null;
		};
		Returns: Results['ducto_reversal_result'];
	};
	ducto_rollup: {
		Args: {
			max_rows?: number | null;
		};
		Returns: number;
	};
	ducto_rollup_rebuild: {
		Args: Record<PropertyKey, never>;
		Returns: number;
	};
	ducto_set_active_pricing: {
		Args: {
			config: Json;
			label?: string | null;
		};
		Returns: Results['ducto_pricing_result'];
	};
	ducto_set_alerts: {
		Args: {
			account_id: string;
			balance?: Amount[] | null;
			allowance_percent?: number[] | null;
			cap_percent?: number[] | null;
			expiring_days?: number | null;
		};
		Returns: Results['ducto_alerts_result'];
	};
	ducto_set_auto_topup: {
		Args: {
			account_id: string;
			below: Amount;
			amount: Amount;
			max_per_month?: number | null;
		};
		Returns: Results['ducto_alerts_result'];
	};
	ducto_set_spend_cap: {
		Args: {
			user_id: string;
			cap_type: CapType;
			cap_limit: Amount;
			action?: CapAction | null;
			model?: string | null;
			window_length?: string | null;
		};
		Returns: Results['ducto_spend_cap'];
	};
	ducto_set_user_plan: {
		Args: {
			user_id: string;
			plan_id: string | null;
			anchor?: string | null;
			timezone?: string | null;
		};
		Returns: Results['ducto_set_user_plan_result'];
	};
	ducto_settle: {
		Args: {
			user_id: string;
			reservation_id: string;
			lines: Json;
			final?: boolean | null;
			overrun?: Overrun | null;
		};
		Returns: Results['ducto_settle_result'];
	};
	ducto_spend_by_model: {
		Args: {
			from_time?: string | null;
			to_time?: string | null;
		};
		Returns: Results['ducto_model_spend'][];
	};
	ducto_spend_by_user: {
		Args: {
			from_time?: string | null;
			to_time?: string | null;
		};
		Returns: Results['ducto_user_spend'][];
	};
	ducto_sweep_expired: {
		Args: {
			dry_run?: boolean | null;
			max_accounts?: number | null;
		};
		Returns: Results['ducto_sweep_result'];
	};
	ducto_take_events: {
		Args: {
			max_rows?: number | null;
			lease_seconds?: number | null;
			kinds?: string[] | null;
		};
		Returns: Results['ducto_event'][];
	};
	ducto_top_users: {
		Args: {
			max_rows?: number | null;
			from_time?: string | null;
			to_time?: string | null;
		};
		Returns: Results['ducto_top_user'][];
	};
	ducto_transfer: {
		Args: {
			from_id: string;
			to_id: string;
			amount?: Amount | null;
			reason?: string | null;
			metadata?: Json | null;
			idempotency_key?: string | null;
		};
		Returns: Results['ducto_transfer_result'];
	};
	ducto_undistribute: {
		Args: Record<PropertyKey, never>;
		Returns: Results['ducto_distribute_step'][];
	};
	ducto_usage_from: {
		Args: {
			provider: string;
			response: Json;
			model?: string | null;
			units?: string[] | null;
		};
		Returns: Json;
	};
	ducto_uuid: {
		Args: {
			namespace: string;
			id: string;
		};
		Returns: string;
	};
	ducto_validate_pricing: {
		Args: {
			config: Json;
		};
		Returns: Results['ducto_pricing_problem'][];
	};
	ducto_verify: {
		Args: {
			user_id?: string | null;
		};
		Returns: Results['ducto_discrepancy'][];
	};
};
