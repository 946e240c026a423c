// A gateway's lease: it holds a block of a user's credits, decides in memory
// whether a call may be made, and settles what calls cost by the thousand.
//
// A call costs no round trip. What a gateway that dies has not flushed is not
// charged; the rest of its block is free again when its time is up.
//
// Amounts are whole numbers of 1/10000 credits: a double would not be exact.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseError, type Pool } from 'pg';

const UNIT = 10000;
const MAX_LINES = 10000; // of one call of ducto_settle
const ATTEMPTS = 5;
// SQLSTATEs of connections, of conflicts with others and of a server that is short of something or stops: to be tried again.
const PASSING = /^(08|40|53|55|57)/;

/** A call that was answered. The key is the call's, the same whenever it is told. */
export interface Line {
	key: string;
	amount: number;
	model?: string;
}

export interface LeaseOptions {
	/** How much it holds at once. */
	block: number;
	/** For how many seconds; it is renewed while the gateway lives. */
	ttl?: number;
	/** It flushes when so many lines wait, */
	lines?: number;
	/** or the first of them has waited so many seconds. */
	seconds?: number;
}

/** No further block is to be had; the message is ducto's rejection. */
export class OutOfCredits extends Error {}

export const toUnits = (credits: string): number => Math.round(Number(credits) * UNIT);
export const toCredits = (units: number): string => `${Math.trunc(units / UNIT)}.${String(units % UNIT).padStart(4, '0')}`;

/** Credits of one user for one gateway. */
export class Lease {
	/** Of the block, less what is put aside and what waits. */
	left = 0;
	/** For calls that are being made. */
	aside = 0;
	reservation: string | undefined;
	waiting: Line[] = [];
	private renewed = 0;
	private waitsSince = 0;
	private turn: Promise<unknown> = Promise.resolve();
	private readonly ttl: number;
	private readonly lines: number;
	private readonly seconds: number;
	private readonly timer: NodeJS.Timeout;

	constructor(
		private readonly pool: Pool,
		private readonly user: string,
		private readonly options: LeaseOptions,
	) {
		this.ttl = options.ttl ?? 60;
		this.lines = Math.min(options.lines ?? 1000, MAX_LINES);
		this.seconds = options.seconds ?? 1;
		this.timer = setInterval(() => void this.tick().catch(() => {}), (this.seconds * 1000) / 4 + 1);
		this.timer.unref();
	}

	/** Puts aside what a call can cost. OutOfCredits: it must not be made. */
	async admit(estimate: number): Promise<void> {
		if (!this.covers(estimate)) {
			await this.inTurn(async () => {
				if (!this.covers(estimate)) {
					await this.nextBlock(estimate);
				}
			});
			// Others may have been faster.
			return this.admit(estimate);
		}
		this.left -= estimate;
		this.aside += estimate;
	}

	/** Tells what an admitted call did cost; undefined: it failed, and costs nothing. */
	done(estimate: number, line?: Line): void {
		this.aside -= estimate;
		this.left += estimate - (line?.amount ?? 0);
		if (line === undefined) {
			return;
		}
		if (this.waiting.length === 0) {
			this.waitsSince = performance.now();
		}
		this.waiting.push(line);
		if (this.waiting.length % this.lines === 0) {
			this.flush().catch(() => {});
		}
	}

	/** Flushes what has waited long enough, and renews the block. */
	async tick(): Promise<void> {
		if (this.waiting.length > 0 && performance.now() - this.waitsSince >= this.seconds * 1000) {
			await this.flush();
		}
		if (this.reservation !== undefined && performance.now() - this.renewed >= (this.ttl * 1000) / 3) {
			await this.inTurn(() => this.renew());
		}
	}

	/** Settles the lines that wait. Where that fails they go on waiting. */
	flush(): Promise<void> {
		return this.inTurn(() => this.settleWaiting());
	}

	/** Settles all, and gives the rest of the block back. */
	close(): Promise<void> {
		clearInterval(this.timer);
		return this.inTurn(async () => {
			await this.settleWaiting();
			if (this.reservation !== undefined) {
				await this.settle([], true);
				this.reservation = undefined;
				this.left = 0;
			}
		});
	}

	private covers(estimate: number): boolean {
		return this.reservation !== undefined && performance.now() - this.renewed < this.ttl * 1000 && this.left >= estimate;
	}

	/** What talks to the database does so one after the other. */
	private inTurn<T>(work: () => Promise<T>): Promise<T> {
		const mine = this.turn.then(work);

		this.turn = mine.catch(() => {});
		return mine;
	}

	private async settleWaiting(): Promise<void> {
		while (this.waiting.length > 0) {
			const batch = this.waiting.slice(0, MAX_LINES);

			await this.settle(batch, false);
			this.waiting.splice(0, batch.length);
		}
	}

	private async settle(lines: Line[], final: boolean): Promise<void> {
		if (this.reservation === undefined) {
			await this.nextBlock(0);
		}
		// The calls were made: what is more than the block is charged all the same, and so are lines that come late.
		const { error } = await this.call<{ error: string | null }>(
			`SELECT error FROM ducto_settle(user_id => $1, reservation_id => $2, lines => $3, final => $4, overrun => 'full')`,
			[this.user, this.reservation, JSON.stringify(lines.map((line) => ({ ...line, amount: toCredits(line.amount) }))), final],
		);

		if (error === 'reservation_closed' || error === 'reservation_not_found') {
			// Somebody has released it. The lines go under another one.
			this.reservation = undefined;
			await this.settle(lines, final);
		} else if (error !== null) {
			throw new Error(error);
		}
	}

	/** Holds a block in place of one that is used up or has expired. */
	private async nextBlock(estimate: number): Promise<void> {
		if (this.reservation !== undefined) {
			await this.settleWaiting();
		}
		let began = performance.now();
		let answer = await this.reserve(Math.max(this.options.block, estimate) + this.aside);
		if (answer.error === 'insufficient_credits') {
			// A smaller one, of what there is, with what is left of this one while nothing is under way.
			if (this.aside === 0 && this.waiting.length === 0) {
				const used = this.reservation;
				this.reservation = undefined;
				await this.release(used);
			}
			began = performance.now();
			const funds = await this.call<{ available: string }>('SELECT available FROM ducto_get_balance(user_id => $1)', [this.user]);

			if (toUnits(funds.available) >= Math.max(estimate + this.aside, 1)) {
				answer = await this.reserve(toUnits(funds.available));
			}
		}
		if (answer.error !== null) {
			throw new OutOfCredits(answer.error);
		}
		const used = this.reservation;
		this.reservation = answer.reservation_id;
		this.left = toUnits(answer.amount) - this.aside - this.waiting.reduce((sum, line) => sum + line.amount, 0);
		this.renewed = began;
		await this.release(used);
	}

	private async release(reservation: string | undefined): Promise<void> {
		if (reservation !== undefined) {
			await this.call('SELECT reason FROM ducto_release(user_id => $1, reservation_id => $2)', [this.user, reservation]);
		}
	}

	private reserve(units: number): Promise<{ reservation_id: string; amount: string; error: string | null }> {
		// The key lets a retry find the block that a lost answer told of.
		return this.call(
			`SELECT reservation_id, amount, error FROM ducto_reserve(user_id => $1, amount => $2,
			operation_type => 'gateway', min_balance => 0, ttl_seconds => $3, idempotency_key => $4)`,
			[this.user, toCredits(units), this.ttl, randomUUID()],
		);
	}

	private async renew(): Promise<void> {
		// Its time counts from before the call: the answer may have been long on its way.
		const began = performance.now();
		const { error } = await this.call<{ error: string | null }>(
			'SELECT error FROM ducto_renew(user_id => $1, reservation_id => $2, ttl_seconds => $3)',
			[this.user, this.reservation, this.ttl],
		);

		if (error === null) {
			this.renewed = began;
		} else {
			this.left = 0; // the next call gets another one
		}
	}

	/** One statement, again when the connection broke or another was in its way: every one of them may be repeated. */
	private async call<T>(text: string, values: unknown[]): Promise<T> {
		for (let attempt = 1; ; attempt++) {
			try {
				const { rows } = await this.pool.query(text, values);

				return rows[0] as T;
			} catch (error) {
				if (attempt === ATTEMPTS || (error instanceof DatabaseError && !PASSING.test(String(error.code)))) {
					throw error;
				}
				await sleep(100 * 2 ** attempt);
			}
		}
	}
}
