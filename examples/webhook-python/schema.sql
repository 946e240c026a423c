-- What can be bought. What an event says of prices decides nothing.
CREATE TABLE IF NOT EXISTS packs (
	id text PRIMARY KEY,
	credits numeric NOT NULL CHECK (credits > 0)
);

-- What was paid, and the entry that added its credits: by it a dispute finds them.
CREATE TABLE IF NOT EXISTS payments (
	id text PRIMARY KEY,
	user_id uuid NOT NULL,
	transaction_id uuid NOT NULL,
	credits numeric NOT NULL
);

-- What a dispute took back, by which entry, and what was spent already.
CREATE TABLE IF NOT EXISTS disputes (
	id text PRIMARY KEY,
	payment_id text NOT NULL REFERENCES payments,
	reversal_id uuid NOT NULL,
	taken numeric NOT NULL,
	shortfall numeric NOT NULL
);

INSERT INTO packs VALUES ('small', 100), ('large', 1000) ON CONFLICT DO NOTHING;
