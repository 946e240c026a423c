-- Whose card is charged.
CREATE TABLE IF NOT EXISTS cards (
	account_id uuid PRIMARY KEY,
	customer text NOT NULL
);

-- Mails to be sent: one for each event, however often it comes.
CREATE TABLE IF NOT EXISTS mails (
	event_id uuid PRIMARY KEY,
	account_id uuid NOT NULL,
	subject text NOT NULL,
	payload jsonb NOT NULL
);

-- Events that could not be done, for somebody to look at.
CREATE TABLE IF NOT EXISTS aside (
	event_id uuid PRIMARY KEY,
	event jsonb NOT NULL,
	reason text NOT NULL
);
