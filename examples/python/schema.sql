-- The replies that were charged: a retry gets its own again.
CREATE TABLE IF NOT EXISTS completions (
	user_id uuid NOT NULL,
	key text NOT NULL,
	prompt text NOT NULL,
	reply text NOT NULL,
	transaction_id uuid NOT NULL,
	credits numeric NOT NULL,
	balance numeric NOT NULL,
	PRIMARY KEY (user_id, key)
);
