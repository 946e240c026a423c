\set ECHO none
-- Makes bulk_tell, a trigger function that tells in bulk_seen of which table a row is, or how many rows a statement wrote, and refuses the
-- key that is the trigger's argument. A test includes it by the path from the checkout.
CREATE TABLE bulk_seen (told text);
CREATE FUNCTION bulk_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_LEVEL = 'STATEMENT' THEN
		INSERT INTO public.bulk_seen SELECT 'statement: ' || count(*) FROM fresh;
	ELSIF TG_ARGV[0] IN (to_jsonb(NEW) ->> 'key', to_jsonb(NEW) ->> 'idempotency_key') THEN
		RAISE EXCEPTION 'not this one';
	ELSE
		INSERT INTO public.bulk_seen VALUES (TG_TABLE_NAME);
	END IF;
	RETURN NEW;
END $$;
\set ECHO all
