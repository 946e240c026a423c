\set ECHO none
-- Makes a database of the test's own, :own, which has a test clock, and goes there; :main is the one that the test came from.
-- A test includes it by the path from the checkout, where pg_regress finds test as well.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS :own;
CREATE DATABASE :own TEMPLATE template0;
ALTER DATABASE :own SET ducto.test_clock = on;
\set main :DBNAME
\c :own
CREATE EXTENSION ducto;
-- What is wrong, but for the warning that there is such a clock.
CREATE FUNCTION found() RETURNS SETOF ducto_discrepancy LANGUAGE sql AS
$$ SELECT * FROM ducto_verify() WHERE check_name <> 'test clock' $$;
\set ECHO all
