// Takes events from ducto's outbox and does what they ask for: charges a card and
// adds the credits where a top-up is due, and notes a mail of all others. It may
// die at any moment, and any number of them may run side by side: what is not
// acknowledged comes again, and each key charges and adds once.

import { EventEmitter } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

const CENTS_PER_CREDIT = 1;
const TAKEN_AT_ONCE = 10;
const LEASE = 60; // seconds: more than TAKEN_AT_ONCE charges take, and what a crash delays
const TIMEOUT = 5_000; // milliseconds, of one charge
const ATTEMPTS = 20;
const LOOK = 60_000; // milliseconds: a notification may have been missed

// Charges a card once for a key. False: it was declined. Where it is not known
// whether the card was charged, that is an error, and the same key asks again.
async function charge(url, customer, credits, key) {
	const response = await fetch(`${url}/charges`, {
		method: 'POST',
		headers: { 'content-type': 'application/json', 'idempotency-key': key },
		body: JSON.stringify({ customer, amount: Math.ceil(Number(credits) * CENTS_PER_CREDIT) }),
		signal: AbortSignal.timeout(TIMEOUT),
	});

	if (!response.ok && response.status !== 402) {
		throw new Error(`the payment endpoint answers ${response.status}`);
	}
	return response.ok;
}

export class Worker extends EventEmitter {
	#pool;
	#payments;
	#running;
	#wake = () => {};

	constructor(pool, payments) {
		super();
		this.#pool = pool;
		this.#payments = payments;
	}

	// Does what waits, and returns how many events there were.
	async work() {
		for (let done = 0; ;) {
			const { rows } = await this.#pool.query(
				'SELECT * FROM ducto_take_events(max_rows => $1, lease_seconds => $2)', [TAKEN_AT_ONCE, LEASE]);

			for (const event of rows) {
				try {
					await this.#handle(event);
				} catch (error) {
					await this.#failed(event, error);
				}
			}
			done += rows.length;
			if (rows.length === 0) {
				return done;
			}
		}
	}

	// Works until stop() is called: at once where there is a notification.
	async run() {
		for (this.#running = true; this.#running;) {
			try {
				await this.#listen();
			} catch (error) {
				console.error(error); // the server restarts: so does this
				await this.#wait(1_000);
			}
		}
	}

	stop() {
		this.#running = false;
		this.#wake();
	}

	async #listen() {
		const client = await this.#pool.connect();
		let told = true;
		let failure;

		client.on('notification', () => {
			told = true;
			this.#wake();
		});
		client.on('error', (error) => {
			failure = error;
			this.#wake();
		});
		try {
			await client.query('LISTEN ducto_events');
			while (this.#running && failure === undefined) {
				told = false;
				await this.work();
				this.emit('idle');
				if (!told && this.#running) {
					await this.#wait(LOOK);
				}
			}
		} finally {
			client.removeAllListeners();
			client.on('error', () => {});
			client.release(true);
		}
		if (failure !== undefined) {
			throw failure;
		}
	}

	#wait(milliseconds) {
		return new Promise((resolve) => {
			const timer = setTimeout(resolve, milliseconds);

			this.#wake = () => {
				clearTimeout(timer);
				resolve();
			};
		});
	}

	async #handle(event) {
		if (event.kind === 'topup_due') {
			await this.#topUp(event);
		} else {
			await this.#done(event, (client) => this.#mail(client, event, event.kind));
		}
	}

	// The card first, then the credits, both by the key of the event.
	async #topUp(event) {
		const { amount, idempotency_key: key } = event.payload;
		const { rows: [card] } = await this.#pool.query('SELECT customer FROM cards WHERE account_id = $1', [event.account_id]);

		if (card !== undefined && await charge(this.#payments, card.customer, amount, key)) {
			await this.#done(event, async (client) => {
				const { rows: [{ error }] } = await client.query(event.team_id === null
					? `SELECT error FROM ducto_add_credits(user_id => $1, amount => $2, type => 'purchase', idempotency_key => $3)`
					: `SELECT error FROM ducto_add_team_credits(team_id => $1, amount => $2, type => 'purchase', idempotency_key => $3)`,
				[event.account_id, amount, key]);

				if (error !== null) {
					throw new Error(error);
				}
			});
		} else {
			// for good: no card is charged for it again, until the user gives another one
			await this.#done(event, async (client) => {
				await client.query('SELECT FROM ducto_set_auto_topup(account_id => $1, below => 0, amount => 0)', [event.account_id]);
				await this.#mail(client, event, card === undefined ? 'no_card' : 'card_declined');
			});
		}
	}

	#mail(client, event, subject) {
		return client.query('INSERT INTO mails VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
			[event.id, event.account_id, subject, event.payload]);
	}

	// Does something in the database and acknowledges the event: both, or neither.
	async #done(event, what) {
		const client = await this.#pool.connect();
		let failure;

		try {
			await client.query('BEGIN');
			await what(client);
			await client.query('SELECT ducto_ack_events(ids => ARRAY[$1::uuid])', [event.id]);
			await client.query('COMMIT');
		} catch (error) {
			failure = error;
			throw error;
		} finally {
			client.release(failure !== undefined); // closed, it is rolled back
		}
	}

	// It comes again when its lease is over, but not for ever.
	async #failed(event, error) {
		console.error(`${event.kind} ${event.id}, attempt ${event.attempt}: ${error.message}`);
		if (event.attempt >= ATTEMPTS) {
			await this.#done(event, (client) => client.query('INSERT INTO aside VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
				[event.id, JSON.stringify(event), error.message]));
		}
	}
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const pool = new pg.Pool();
	const worker = new Worker(pool, process.env.PAYMENTS_URL);

	pool.on('error', console.error);
	process.on('SIGTERM', () => worker.stop());
	await worker.run();
	await pool.end();
}
