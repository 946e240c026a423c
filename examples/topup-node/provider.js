// A payment endpoint for the tests, shaped as Stripe's is: a key charges a card
// once, and gets the same answer whenever it comes again.
//
//   POST /charges  {"customer": "…", "amount": <cents>}   Idempotency-Key: <any text>

import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';

export class Provider extends EventEmitter {
	charges = []; // what cards were charged
	requests = 0;
	#answers = new Map();
	#troubles = new Map();
	#server = createServer((request, response) => this.#serve(request, response));

	async listen() {
		await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
		this.url = `http://127.0.0.1:${this.#server.address().port}`;
	}

	close() {
		this.#server.closeAllConnections();
		this.#server.close();
	}

	// Lets the next requests for a customer fail: before ('fails') or after the card
	// was charged (the connection is 'lost', the answer 'hangs').
	trouble(customer, ...troubles) {
		this.#troubles.set(customer, troubles);
	}

	of(customer) {
		return this.charges.filter((charge) => charge.customer === customer).map(({ amount }) => amount);
	}

	async #serve(request, response) {
		const chunks = [];

		for await (const chunk of request) {
			chunks.push(chunk);
		}
		const { customer, amount } = JSON.parse(Buffer.concat(chunks).toString());
		const key = request.headers['idempotency-key'];
		const trouble = this.#troubles.get(customer)?.shift();

		this.requests++;
		if (trouble === 'fails') {
			response.writeHead(500).end();
			return;
		}
		if (!this.#answers.has(key)) {
			this.#answers.set(key, customer.startsWith('declined') ? 402 : 200);
			if (this.#answers.get(key) === 200) {
				this.charges.push({ customer, amount, key });
			}
		}
		if (trouble === 'lost') {
			request.socket.destroy();
		} else if (trouble === 'hangs') {
			this.emit('hangs');
		} else {
			response.writeHead(this.#answers.get(key), { 'content-type': 'application/json' }).end(JSON.stringify({ customer, amount }));
		}
	}
}
