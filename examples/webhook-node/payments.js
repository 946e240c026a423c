// What the events of a payment provider do to credits. An event is delivered at
// least once, so sometimes twice, at the same time too, and not always in order.
// Each is one transaction; the ids of the provider are the keys.

export class Refusal extends Error {
	constructor(status, code) {
		super(code);
		this.status = status;
		this.code = code;
	}
}

async function row(client, query, values) {
	const { rows: [found] } = await client.query(query, values);

	return found;
}

// Returns the row of a call unless it is a rejection.
async function accepted(client, query, values) {
	const found = await row(client, query, values);

	if (found.error !== null) {
		throw new Refusal(409, found.error);
	}
	return found;
}

// Somebody paid: adds the credits of the pack, once for a payment.
async function paid(client, { payment_intent: id, payment_status: status, client_reference_id: user, metadata }) {
	if (status !== 'paid') {
		return { ignored: status };
	}
	const pack = await row(client, 'SELECT credits FROM packs WHERE id = $1', [metadata.pack]);

	if (pack === undefined) {
		throw new Refusal(422, 'no_such_pack');
	}
	const { transaction_id, new_balance, idempotent } = await accepted(client,
		`SELECT transaction_id, new_balance, idempotent, error
		   FROM ducto_add_credits(user_id => $1, amount => $2, type => 'purchase', metadata => $3, idempotency_key => $4)`,
		[user, pack.credits, { payment: id, pack: metadata.pack }, `payment/${id}`]);

	await client.query('INSERT INTO payments VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
		[id, user, transaction_id, pack.credits]);
	return { balance: new_balance, replayed: idempotent };
}

// The bank wants the money back: takes what is left of the credits, once for a
// dispute, never what open holds need and never into debt. What was spent is spent,
// and is reported.
async function disputed(client, { id, payment_intent: paymentId }) {
	const payment = await row(client, 'SELECT transaction_id FROM payments WHERE id = $1', [paymentId]);

	if (payment === undefined) {
		// it came before the payment: the provider delivers it again
		throw new Refusal(409, 'no_such_payment');
	}
	const { reversal_transaction_id: reversal, amount: taken, shortfall, idempotent } = await accepted(client,
		`SELECT reversal_transaction_id, amount, shortfall, idempotent, error
		   FROM ducto_reverse_credits(transaction_id => $1, reason => 'dispute', metadata => $2, idempotency_key => $3)`,
		[payment.transaction_id, { payment: paymentId, dispute: id }, `dispute/${id}`]);

	await client.query('INSERT INTO disputes VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING',
		[id, paymentId, reversal, taken, shortfall]);
	return { taken, shortfall, replayed: idempotent };
}

// The bank has decided: when it is for you, the user gets back what was taken. Its
// key is the entry that took it.
async function decided(client, { id, status }) {
	if (status !== 'won') {
		return { ignored: status };
	}
	const dispute = await row(client,
		'SELECT p.user_id, d.reversal_id, d.taken FROM disputes d JOIN payments p ON p.id = d.payment_id WHERE d.id = $1', [id]);

	if (dispute === undefined) {
		throw new Refusal(409, 'no_such_dispute');
	}
	if (Number(dispute.taken) === 0) {
		return { ignored: 'nothing_taken' };
	}
	const { new_balance, idempotent } = await accepted(client,
		`SELECT new_balance, idempotent, error
		   FROM ducto_add_credits(user_id => $1, amount => $2, type => 'purchase', metadata => $3, idempotency_key => $4)`,
		[dispute.user_id, dispute.taken, { dispute: id }, dispute.reversal_id]);

	return { balance: new_balance, replayed: idempotent };
}

const handlers = {
	'checkout.session.completed': paid,
	'charge.dispute.created': disputed,
	'charge.dispute.closed': decided,
};

// Does what an event asks for: all of it, or nothing.
export async function handle(pool, { type, data }) {
	const handler = handlers[type];

	if (handler === undefined) {
		return { ignored: type };
	}
	const client = await pool.connect();
	let failure;

	try {
		await client.query('BEGIN');
		const result = await handler(client, data.object);

		await client.query('COMMIT');
		return result;
	} catch (error) {
		failure = error;
		await client.query('ROLLBACK').catch(() => {}); // the first error is the one to report
		throw error;
	} finally {
		client.release(failure !== undefined && !(failure instanceof Refusal));
	}
}
