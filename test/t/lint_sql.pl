# The lint of SQL accepts a careful script and a careful source of C, and sees
# each rule broken in them.

use strict;
use warnings;
use File::Temp ();
use Test::More;

my $careful = <<'SQL';
CREATE TABLE ducto.things (
	id uuid NOT NULL REFERENCES ducto.accounts,
	CONSTRAINT things_pkey PRIMARY KEY (id)
);
ALTER TABLE ducto.things ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE ducto.things IS 'not a CREATE OR REPLACE; it''s a text';
CREATE INDEX things_id ON ducto.things (id);
CREATE TYPE @extschema@.ducto_thing AS (id uuid);
COMMENT ON TYPE @extschema@.ducto_thing IS 'A thing.';

-- SELECT FROM nothing
CREATE FUNCTION @extschema@.ducto_count(id uuid, note text DEFAULT 'a;b') RETURNS SETOF @extschema@.ducto_thing
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
	found record; -- it's found
BEGIN
	IF note IS DISTINCT FROM 'x' THEN
		UPDATE ducto.things SET id = gen_random_uuid();
	END IF;
	INSERT INTO ducto.things (id) VALUES (1);
	INSERT INTO ducto.things AS t VALUES (id) ON CONFLICT (id) DO UPDATE SET id = t.id;
	WITH w AS (SELECT 1) SELECT count(*), extract(epoch FROM ducto.clock()) INTO found FROM w JOIN unnest(ARRAY[1]) ON true;
	RETURN QUERY SELECT t.id FROM ducto.things t FOR UPDATE;
END
$body$;
REVOKE ALL ON FUNCTION @extschema@.ducto_count(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_count(uuid, text) IS 'Counts.';

CREATE FUNCTION @extschema@.shown() RETURNS bigint LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT count(*) FROM ducto_count(id => NULL) t;
END;
REVOKE ALL ON FUNCTION @extschema@.shown() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.shown() IS 'Shows.';

CREATE PROCEDURE ducto.tidy() LANGUAGE sql AS $$ SELECT pg_catalog.count(*), coalesce(1, 2) FROM ducto.things $$;
REVOKE EXECUTE ON PROCEDURE ducto.tidy() FROM PUBLIC;
COMMENT ON PROCEDURE ducto.tidy() IS 'Tidies.';
CREATE TRIGGER things_tidy BEFORE UPDATE ON ducto.things FOR EACH ROW EXECUTE FUNCTION ducto.ledger_stamp();
CREATE EVENT TRIGGER ducto_watch ON ddl_command_end EXECUTE FUNCTION ducto.watch();
ALTER EVENT TRIGGER ducto_watch ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER ducto_watch IS 'Watches.';
SELECT pg_catalog.pg_extension_config_dump('ducto.things', '');
SQL

my $source = <<'C';
/* SELECT FROM nothing; it's a "comment": "SELECT FROM things" */
#define MINE	"account_id = $1" \\
	" AND live"
static QueryPlan plan_things = {
	.sql = "SELECT '\"' || id, sum(a) FROM ducto.things WHERE " MINE
	" AND id IN (SELECT id FROM " source " JOIN pg_class ON true) FOR NO KEY UPDATE",
};
static QueryPlan plan_more = {
	.sql = "WITH t (id) AS (SELECT 1), u AS (SELECT FROM t JOIN unnest($1) ON true)"
	" UPDATE ducto.things SET live = true FROM u WHERE x IS DISTINCT FROM $2",
};
	query_utility(psprintf("GRANT USAGE ON SCHEMA %s TO %s", quote_identifier(schema), '"'));
	ereport(ERROR, (errmsg("UPDATED %s from things", name)));
	query_run(&plan, "INSERT INTO ducto.things VALUES ($1) ON CONFLICT DO UPDATE SET id = 1");
	query_run(&plan, "LOCK TABLE ducto.things IN SHARE MODE");
C

# What is made of what, and what the lint says then.
my @broken = (
	[ 'CREATE FUNCTION', 'CREATE OR REPLACE FUNCTION', 'OR REPLACE' ],
	[ 'CREATE TABLE', 'CREATE TABLE IF NOT EXISTS', 'IF NOT EXISTS' ],
	[ 'CREATE TABLE ducto.', 'CREATE TABLE ', 'table without a schema: things' ],
	[ 'ALTER TABLE ducto.', 'ALTER TABLE ', 'table without a schema: things' ],
	[ 'CREATE TYPE @extschema@.', 'CREATE TYPE ', 'type without a schema: ducto_thing' ],
	[ 'CREATE FUNCTION @extschema@.', 'CREATE FUNCTION public.', 'function without a schema: public.ducto_count' ],
	[ 'COMMENT ON TABLE ducto.', 'COMMENT ON TABLE ', 'table without a schema: things' ],
	[ 'REVOKE EXECUTE ON PROCEDURE ducto.', 'REVOKE EXECUTE ON PROCEDURE ', 'procedure without a schema: tidy' ],
	[ 'things_id ON ducto.', 'things_id ON ', 'index on a table without a schema: things_id' ],
	[ 'UPDATE ON ducto.', 'UPDATE ON ', 'trigger on a table without a schema' ],
	[ 'EXECUTE FUNCTION ducto.', 'EXECUTE FUNCTION ', 'trigger calls a function without a schema' ],
	[ 'EXECUTE FUNCTION ducto.watch', 'EXECUTE FUNCTION watch', 'event trigger calls a function without a schema' ],
	[ 'SETOF @extschema@.', 'SETOF ', 'name without a schema: ducto_thing' ],
	[ 'REFERENCES ducto.', 'REFERENCES ', 'relation without a schema: accounts' ],
	[ 'UPDATE ducto.things SET', 'UPDATE things SET', 'relation without a schema: things' ],
	[ 'INSERT INTO ducto.', 'INSERT INTO ', 'relation without a schema: things' ],
	[ 'INTO ducto.things AS', 'INTO things AS', 'relation without a schema: things' ],
	[ 'FROM ducto.things t', 'FROM things t', 'relation without a schema: things' ],
	[ 'FROM w JOIN', 'FROM v JOIN', 'relation without a schema: v' ],
	[ ' SET search_path = pg_catalog, pg_temp', '', 'SECURITY DEFINER without SET search_path' ],
	[ 'found record', 'found @extschema@.ducto_thing', 'a body names the schema of the API' ],
	[ 'pg_catalog, pg_temp', 'pg_catalog', 'SECURITY DEFINER without SET search_path' ],
	[ 'pg_catalog, pg_temp', 'pg_catalog, pg_temp, public', 'SECURITY DEFINER without SET search_path' ],
	[ 'SECURITY DEFINER SET search_path = pg_catalog, pg_temp', 'SET search_path = public', 'SET search_path to something else' ],
	[ 'FROM ducto_count(id', 'FROM things JOIN ducto_count(id', 'relation without a schema: things' ],
	[ 'pg_catalog.count(*)', 'count(*)', 'call without a schema, and no SET search_path: count' ],
	[ 'COMMENT ON FUNCTION', '-- ', 'no COMMENT ON FUNCTION @extschema@.ducto_count' ],
	[ 'COMMENT ON TABLE', '-- ', 'no COMMENT ON TABLE ducto.things' ],
	[ 'COMMENT ON TYPE', '-- ', 'no COMMENT ON TYPE @extschema@.ducto_thing' ],
	[ 'REVOKE ALL', '-- ', 'no REVOKE of FUNCTION @extschema@.ducto_count FROM PUBLIC' ],
	[ 'REVOKE EXECUTE', '-- ', 'no REVOKE of PROCEDURE ducto.tidy FROM PUBLIC' ],
	[ 'ALTER TABLE', '-- ', 'no row level security on ducto.things' ],
	[ 'CREATE TYPE', 'CREATE TEXT SEARCH', 'no rule of this lint knows: TEXT SEARCH' ],
	[ 'SELECT pg_catalog', 'SELECT' . ' ' x 130 . 'pg_catalog', 'more than 132 characters' ],
	[ 'FROM ducto.things $$', 'FROM things $$', 'relation without a schema: things' ],
	[ 'ducto.clock()', 'clock_timestamp()', 'another clock than ducto.clock(): clock_timestamp(' ],
	[ 'ducto.clock()', 'CURRENT_TIMESTAMP', 'another clock than ducto.clock(): CURRENT_TIMESTAMP' ],
	[ 'SELECT t.id', 'SELECT CASE t.id WHEN note THEN t.id END', 'CASE x WHEN y instead of CASE WHEN x = y' ],
	[ 'id uuid NOT NULL', 'id timestamptz DEFAULT now() NOT NULL', 'another clock than ducto.clock(): now(' ]);
my @broken_source = (
	[ 'FROM ducto.', 'FROM ', 'relation without a schema: things' ],
	[ 'FROM " source "', 'FROM things', 'relation without a schema: things' ],
	[ 'JOIN pg_class', 'JOIN things', 'relation without a schema: things' ],
	[ 'FROM t JOIN', 'FROM v JOIN', 'relation without a schema: v' ],
	[ 'UPDATE ducto.', 'UPDATE ', 'relation without a schema: things' ],
	[ 'INSERT INTO ducto.', 'INSERT INTO ', 'relation without a schema: things' ],
	[ 'LOCK TABLE ducto.', 'LOCK TABLE ', 'relation without a schema: things' ],
	[ 'SELECT 1', 'SELECT %d', 'a value is printed into SQL' ],
	[ 'quote_identifier', 'quote_literal_cstr', 'a value is quoted into SQL' ],
	[ 'FROM u WHERE', 'FROM ducto_u WHERE', 'relation without a schema: ducto_u' ],
	[ '"account_id = $1"', '"due < now()"', 'another clock than ducto.clock(): now(' ],
	[ 'IS DISTINCT FROM $2', '< clock_timestamp()', 'another clock than ducto.clock(): clock_timestamp(' ],
	[ 'IS DISTINCT FROM $2', '= CASE kind WHEN 1 THEN 2 END', 'CASE x WHEN y instead of CASE WHEN x = y' ],
	[ 'IS DISTINCT FROM $2', '*<> $2', 'records compared by their images' ],
	[ 'psprintf("GRANT', 'GetCurrentTimestamp(); psprintf("GRANT', 'another clock than clock_now(): GetCurrentTimestamp' ]);

# lint gives what the lint prints for a script, or for a source of C.
sub lint
{
	my ($script, $suffix) = @_;
	my $file = File::Temp->new(SUFFIX => $suffix);

	print $file $script;
	close $file;
	return scalar `$^X script/lint_sql.pl $file`;
}

# breaks tells whether the lint sees what is broken in what it accepts whole.
sub breaks
{
	my ($whole, $suffix, @cases) = @_;

	is(lint($whole, $suffix), '', "a careful file: $suffix");
	foreach my $case (@cases)
	{
		my ($what, $instead, $said) = @$case;
		my $script = $whole;

		$script =~ s/\Q$what\E/$instead/ or die "not in the script: $what";
		like(lint($script, $suffix), qr/:\d+: \Q$said\E/, "$said: $instead");
	}
}

breaks($careful, '.sql', @broken);
breaks($source, '.c', @broken_source);
done_testing();
