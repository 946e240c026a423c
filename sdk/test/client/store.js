// A store as the TypeScript SDK has it: unqualified calls with as many arguments
// as there is to say, every parameter a text without a type or null.

export class StoreError extends Error {
	constructor(answer) {
		super(answer.error);
		this.code = answer.error;
		this.answer = answer;
	}
}

const text = (value) => {
	if (value === undefined || value === null) {
		return null;
	}
	return typeof value === 'object' && !Array.isArray(value) ? JSON.stringify(value) : value;
};

export class PostgresStore {
	constructor(pool) {
		this.pool = pool;
	}

	async rows(name, ...args) {
		const places = args.map((_, i) => `$${i + 1}`).join(', ');
		const result = await this.pool.query(`SELECT * FROM ${name}(${places})`, args.map(text));

		return result.rows;
	}

	// one row, one column: an object
	async object(name, ...args) {
		const [row] = await this.rows(name, ...args);
		const answer = Object.values(row)[0];

		if (answer?.error) {
			throw new StoreError(answer);
		}
		return answer;
	}

	balance = (user) => this.object('get_credits_balance', user);
	available = (user) => this.object('get_available_credits', user);
	add = (user, amount, type, metadata) => this.object('credits_add', user, amount, type, metadata);
	deduct = (user, amount, key, minBalance, model, metadata) =>
		this.object('deduct_with_allowance', user, amount, key, minBalance, model, metadata);
	lease = (user, amount, operation, mode, floor, maxConcurrent, ttl, model) =>
		this.object('create_lease', user, amount, operation, mode, floor, maxConcurrent, ttl, model);
	settle = (user, lease, amount, key, minBalance, model, metadata) =>
		this.object('settle_lease', user, lease, amount, key, minBalance, model, metadata);
	release = (user, lease) => this.object('release_lease', user, lease);
	renew = (user, lease, ttl) => this.object('renew_lease', user, lease, ttl);
	refund = (transaction, amount, reason) => this.object('refund_credits', transaction, amount, reason);
	publish = (config, label) => this.object('set_active_pricing_config', config, label);
	pricing = () => this.object('get_active_pricing_config');
	setPlan = (user, plan) => this.object('set_user_plan', user, plan);
	plan = (user) => this.object('get_user_plan', user);
	createTeam = (name, balance) => this.object('create_team', name, balance);
	addMember = (team, user, role, cap) => this.object('add_team_member', team, user, role, cap);
	deductTeam = (team, user, amount, metadata) => this.object('deduct_team', team, user, amount, metadata);
	transactions = (user, types, from, to, limit, offset) =>
		this.rows('list_user_transactions', user, types, from, to, limit, offset);
	spendByModel = (from, to) => this.rows('spend_by_model', from, to);
	stats = (from, to) => this.object('aggregate_stats', from, to);
}
