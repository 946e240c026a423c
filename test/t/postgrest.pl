
# A cluster as Supabase has it: default privileges that give new objects to
# anon, authenticated and service_role by name, users in auth.users that belong
# to another role, PostgREST's login role. Two databases share the roles; in one
# the extension is in a schema of its own. The extension goes and comes again,
# a dump brings the trigger back, a signup waits for nobody.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;
use Time::HiRes qw(time);

my $node = PostgreSQL::Test::Cluster->new('supabase');
my $dir  = PostgreSQL::Test::Utils::tempdir();
my $users = 0;

# Who of the roles holds what on the extension's objects, by name or through
# PUBLIC, and how often.
my $held = q{
	WITH member AS (SELECT classid, objid FROM pg_depend
		WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'ducto')),
	acl AS (SELECT CASE WHEN p.pronamespace = 'ducto'::regnamespace THEN 'helper' WHEN p.proname LIKE 'ducto\_my\_%' THEN 'my' ELSE 'function' END AS kind, coalesce(proacl, acldefault('f', proowner)) AS acl
			FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
		UNION ALL SELECT 'table', relacl FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid AND relkind IN ('r', 'p', 'S')
		UNION ALL SELECT 'schema', nspacl FROM member JOIN pg_namespace n ON classid = 'pg_namespace'::regclass AND n.oid = objid)
	SELECT coalesce(r.rolname, 'PUBLIC') || ' ' || kind || ' ' || count(*) FROM acl, aclexplode(acl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
	WHERE a.grantee = 0 OR r.rolname IN ('anon', 'authenticated', 'service_role')
	GROUP BY r.rolname, kind ORDER BY 1};

# after_setup is what they hold after ducto_setup.
sub after_setup
{
	my ($dbname) = @_;
	my $functions = $node->safe_psql($dbname, q{
		SELECT count(*) FROM pg_depend JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
		WHERE deptype = 'e' AND proname LIKE 'ducto\_%' AND proname NOT LIKE 'ducto\_my\_%' AND proname NOT IN ('ducto_setup', 'ducto_grant_access', 'ducto_revoke_access', 'ducto_repair', 'ducto_distribute', 'ducto_undistribute')});
	return "authenticated my 5\nservice_role function $functions\nservice_role my 5";
}

# user makes the id of one more user.
sub user
{
	return sprintf('5ba5e000-0000-4000-8000-%012d', ++$users);
}

# signup inserts a user as GoTrue does and returns what came of it.
sub signup
{
	my ($dbname, $id) = @_;
	my ($rc, $out, $errors) = $node->psql($dbname, "INSERT INTO auth.users (id) VALUES ('$id')",
		extra_params => [ '-U', 'supabase_auth_admin' ]);
	return $errors;
}

# action returns what ducto_setup did with an object, called by a role.
sub action
{
	my ($dbname, $object, $role) = @_;
	my ($rc, $out, $errors) = $node->psql($dbname, "SELECT action FROM ducto_setup() WHERE object LIKE '$object'",
		extra_params => [ '-U', $role ]);
	return $out . $errors;
}

# balance returns a user's balance.
sub balance
{
	my ($dbname, $id) = @_;
	return $node->safe_psql($dbname, "SELECT balance FROM ducto.accounts WHERE id = '$id'");
}

# auth_users makes the table that Supabase's Auth keeps its users in.
sub auth_users
{
	my ($dbname) = @_;

	$node->safe_psql($dbname, q{
		CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
		SET ROLE supabase_auth_admin;
		CREATE TABLE auth.users (instance_id uuid, id uuid PRIMARY KEY, email text);
	});
	return;
}

# pricing publishes a signup bonus.
sub pricing
{
	my ($dbname, $bonus, $at) = @_;

	$node->safe_psql($dbname, "SELECT $at.ducto_set_active_pricing('{\"models\": {\"_default\": \"1\"}, \"signup_bonus\": $bonus}')");
	return;
}

$node->init;
$node->start;
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

# On plain PostgreSQL ducto_setup does nothing, not even tell PostgREST.
my $setup = 'LISTEN pgrst; SELECT object FROM ducto_setup()';
$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
my $told = $node->safe_psql('postgres', $setup);
is($told, 'database', 'nothing to do on plain PostgreSQL');
$node->safe_psql('postgres', 'DROP EXTENSION ducto');

# The roles, and the default privileges of Supabase: in schema public, and
# everywhere for good measure.
$node->safe_psql('postgres', q{
	CREATE ROLE anon;
	CREATE ROLE authenticated;
	CREATE ROLE service_role BYPASSRLS;
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE dba LOGIN;
	CREATE ROLE supabase_auth_admin LOGIN NOINHERIT;
	GRANT anon, authenticated, service_role TO authenticator;
	CREATE DATABASE one;
	CREATE DATABASE two;
});
foreach my $dbname ('one', 'two')
{
	foreach my $in ('IN SCHEMA public', '')
	{
		foreach my $objects ('FUNCTIONS', 'TABLES', 'SEQUENCES', $in ? () : 'SCHEMAS')
		{
			$node->safe_psql($dbname, "ALTER DEFAULT PRIVILEGES $in GRANT ALL ON $objects TO dba, anon, authenticated, service_role");
		}
	}
	$node->safe_psql($dbname, 'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC');
}

# What they give is taken away while the extension is made.
$node->safe_psql('one', 'CREATE TABLE public.witness ()');
is($node->safe_psql('one', q{SELECT has_table_privilege('anon', 'witness', 'INSERT')}), 't', 'default privileges give new tables away');
$node->safe_psql('one', 'DROP TABLE public.witness; CREATE EXTENSION ducto');
is($node->safe_psql('one', $held), '', 'default privileges give nothing of the extension away');
is($node->safe_psql('one', 'SELECT count(*) FROM ducto_list_access()'), '0', 'not to other roles either');
is( $node->safe_psql('one', q{SELECT count(*) FROM pg_init_privs i, aclexplode(i.initprivs) a JOIN pg_roles r ON r.oid = a.grantee
		WHERE r.rolname IN ('anon', 'authenticated', 'service_role') AND i.privtype = 'e'}),
	'0', 'nor does pg_dump think that they had it from the start');

# The role that manages a project calls ducto_setup; it owns nothing.
$node->safe_psql('one', 'GRANT EXECUTE ON FUNCTION ducto_setup() TO dba');
is(action('one', 'trigger%', 'dba'), 'not created: there is no table auth.users', 'without auth.users');
is($node->safe_psql('one', $held), after_setup('one'), 'the roles have what they are to have');
auth_users('one');
pricing('one', 25, 'public');
my $early = user();
is(signup('one', $early), '', 'a user signs up');
is(action('one', 'trigger%', 'dba'), 'created', 'the trigger is created on a table of another role');
is(action('one', 'trigger%', 'dba'), 'was there already', 'once');
my $ada = user();
is(signup('one', $ada), '', 'another one does');
is(balance('one', $ada), '25.0000', 'and gets the bonus');
is(balance('one', $early), '', 'who came before the trigger has none');
like($node->safe_psql('one', $setup), qr/Asynchronous notification "pgrst" with payload "reload schema"/, 'PostgREST is told to reload');

# PostgREST's session: what a transaction sets is gone after it, and the login
# role itself may nothing.
{
	my $session = Session->new($node, dbname => 'one', user => 'authenticator');
	my $claims  = qq[{"role": "authenticated", "sub": "$ada"}];

	$session->run('BEGIN READ ONLY');
	$session->run("SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', '$claims', true)");
	is($session->value('SELECT balance FROM ducto_my_balance()'), '25.0000', 'a user sees the own balance');
	$session->run("SELECT ducto_get_balance('$ada')");
	is($session->sqlstate, '42501', 'by that function only');
	$session->run('ROLLBACK');
	$session->run('SELECT ducto_my_balance()');
	is($session->sqlstate, '42501', 'the next transaction is nobody\'s');
	$session->run('BEGIN; SET LOCAL ROLE authenticated');
	$session->run('SELECT ducto_my_balance()');
	is($session->sqlstate, '28000', 'nor are the claims kept');
	$session->run('ROLLBACK; BEGIN; SET LOCAL ROLE service_role; RESET ROLE');
	$session->run("SELECT ducto_get_balance('$ada')");
	is($session->sqlstate, '42501', 'a role that is set back has no rights left');
	$session->run('ROLLBACK');
	$session->quit;
}

# A setting of the login role is obeyed from the first call on.
$node->safe_psql('one', q{ALTER ROLE authenticator SET ducto.rejections = 'http'});
{
	my $session = Session->new($node, dbname => 'one', user => 'authenticator');

	$session->run('BEGIN; SET LOCAL ROLE service_role');
	is($session->value("SELECT error FROM ducto_charge('$ada', 1000)"), 'insufficient_credits', 'a rejection is a row');
	is($session->value(q{SELECT current_setting('response.status')}), '402', 'and the status of the response');
	$session->run('COMMIT');
	is($session->value(q{SELECT current_setting('response.status') = ''}), 't', 'of this one only');
	$session->quit;
}

# A signup waits a second for an account that is locked, and not longer.
{
	my $holder = Session->new($node, dbname => 'one');
	my $signup = Session->new($node, dbname => 'one', user => 'supabase_auth_admin');
	my $bob    = user();
	my $started;

	$signup->run("SET statement_timeout = '20s'");
	$holder->run("BEGIN; SELECT ducto_add_credits('$bob', 1)");
	$started = time;
	$signup->run("INSERT INTO auth.users (id) VALUES ('$bob')");
	my $waited = time - $started;
	is($signup->sqlstate, '00000', 'a locked account does not stop a signup');
	cmp_ok($waited, '>', 0.9, 'it waits for it');
	cmp_ok($waited, '<', 15, 'but not for long');
	like($signup->{messages}[-1] // '', qr/55P03: a new user got no signup bonus: canceling statement due to lock timeout/, 'and says so');
	is($signup->value('SHOW lock_timeout'), '0', 'the session waits as long as before');

	$signup->run("DELETE FROM auth.users WHERE id = '$bob'; SET lock_timeout = '50ms'");
	$started = time;
	is($signup->value("INSERT INTO auth.users (id) VALUES ('$bob') RETURNING id"), $bob, 'with a shorter timeout of the session\'s too');
	cmp_ok(time - $started, '<', 0.9, 'it keeps that');
	is($signup->value('SHOW lock_timeout'), '50ms', 'and the session does');

	$signup->run("RESET lock_timeout; DELETE FROM auth.users WHERE id = '$bob'; SET statement_timeout = '200ms'");
	$signup->run("INSERT INTO auth.users (id) VALUES ('$bob')");
	is($signup->sqlstate, '57014', 'whoever cancels the statement ends it');
	$signup->run("SET statement_timeout = '20s'");
	is($signup->value("SELECT count(*) FROM auth.users WHERE id = '$bob'"), '0', 'and no user is made');

	# two first calls on one account, of which the one that made it ends in nothing
	$holder->run('ROLLBACK');
	is($signup->value("INSERT INTO auth.users (id) VALUES ('$bob') RETURNING id"), $bob, 'the account is free');
	is(balance('one', $bob), '25.0000', 'and the bonus comes');

	# what happens in the subtransaction stays in the signup's own transaction
	my $eve = user();
	$signup->run("BEGIN; SAVEPOINT a; INSERT INTO auth.users (id) VALUES ('$eve'); ROLLBACK TO a; INSERT INTO auth.users (id) VALUES ('$eve'); COMMIT");
	is(balance('one', $eve), '25.0000', 'a signup that is done over gives the bonus once');
	$_->quit foreach ($holder, $signup);
}

# A conflict of snapshots costs the bonus, never the signup.
{
	my $signup = Session->new($node, dbname => 'one', user => 'supabase_auth_admin');
	my $carol  = user();

	$node->safe_psql('one', "SELECT ducto_add_credits('$carol', 1)");
	$signup->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM auth.users');
	$node->safe_psql('one', "SELECT ducto_add_credits('$carol', 1)");
	is($signup->value("INSERT INTO auth.users (id) VALUES ('$carol') RETURNING id"), $carol, 'a conflict does not stop a signup');
	like($signup->{messages}[-1] // '', qr/40001: a new user got no signup bonus/, 'and is told');
	$signup->run('COMMIT');
	is($signup->sqlstate, '00000', 'its transaction commits');
	is(balance('one', $carol), '2.0000', 'without the bonus');
	$signup->quit;
}

# Another database of the cluster has the same roles and its own grants; the
# extension may be in a schema that nobody can use yet.
$node->safe_psql('two', 'CREATE SCHEMA api; REVOKE ALL ON SCHEMA api FROM anon, authenticated, service_role; CREATE EXTENSION ducto SCHEMA api');
is($node->safe_psql('two', $held), '', 'nothing is given away in another schema');
is($node->safe_psql('two', q{SELECT action FROM api.ducto_setup() WHERE object = 'role authenticated'}),
	'granted usage of 1 schema, granted execute on 5 functions', 'usage of the schema comes with the functions');
is($node->safe_psql('two', $held), after_setup('two'), 'the roles have what they are to have there');
is( $node->safe_psql('two', q{SELECT string_agg(r, ' ' ORDER BY r) FROM unnest('{anon,authenticated,service_role}'::text[]) r WHERE has_schema_privilege(r, 'api', 'USAGE')}),
	'authenticated service_role', 'anon may not even use the schema');
auth_users('two');
is($node->safe_psql('two', q{SELECT action FROM api.ducto_setup() WHERE object LIKE 'trigger%'}), 'created', 'with a trigger of its own');
pricing('two', 7, 'api');
signup('two', $ada);
is(balance('two', $ada) . balance('one', $ada), '7.000025.0000', 'and a bonus of its own');
is( $node->safe_psql('two', qq{
		SET request.jwt.claim.sub = '$ada';
		SET search_path = api;
		SET ROLE authenticated;
		SELECT balance FROM ducto_my_balance()}),
	'7.0000', 'a user sees the own balance there');
is($node->safe_psql('two', 'SELECT count(*) FROM api.ducto_verify()'), '0', 'nothing is wrong there');

# The extension goes without CASCADE, takes the trigger with it, and comes
# again; without it users sign up all the same.
$node->safe_psql('two', 'DROP EXTENSION ducto');
is($node->safe_psql('two', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'auth.users'::regclass}), '0', 'DROP EXTENSION takes the trigger away');
is(signup('two', user()), '', 'users sign up without it');
$node->safe_psql('two', 'CREATE EXTENSION ducto SCHEMA api');
is($node->safe_psql('two', $held), '', 'nothing is granted when it comes again');
is($node->safe_psql('two', q{SELECT action FROM api.ducto_setup() WHERE object LIKE 'trigger%'}), 'created', 'the trigger comes again');
pricing('two', 8, 'api');
my $dora = user();
signup('two', $dora);
is(balance('two', $dora), '8.0000', 'and books');

# The functions move to another schema with all that hangs on them: grants,
# views, functions of the application, kept plans of open sessions. The tables
# stay, and a dump knows the new place.
{
	my $data    = 'SELECT count(*), sum(balance), sum(last_seq) FROM ducto.accounts';
	my $before  = $node->safe_psql('one', $data);
	my $session = Session->new($node, dbname => 'one');
	my $state   = sub {
		my ($rc, $out, $errors) = $node->psql('one', $_[0], on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=sqlstate', @_[1 .. $#_] ]);
		return $errors =~ /ERROR: +(\w+)/ ? $1 : '00000';
	};

	$node->safe_psql('one', qq{
		CREATE SCHEMA credits;
		REVOKE ALL ON SCHEMA credits FROM authenticated, service_role;
		CREATE VIEW available AS SELECT available FROM ducto_get_balance('$ada');
		CREATE FUNCTION spend() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT error FROM ducto_charge('$ada', 1); END});
	is($session->value("SELECT error IS NULL FROM ducto_charge('$ada', 1)"), 't', 'a session has used the API');
	is($state->(q{SELECT ducto.set_schema('ducto')}), '22023', 'the API cannot go where the tables are');
	is($state->(q{SELECT ducto.set_schema('pg_catalog')}), '22023', 'nor into the catalog');
	is($state->(q{SELECT ducto.set_schema(4242)}), '22023', 'nor into a schema that is none');
	is($state->(q{SELECT ducto.set_schema(NULL)}), '22004', 'nor nowhere');
	is($state->(q{SELECT ducto.set_schema('credits')}, '-U', 'supabase_auth_admin'), '42501', 'and only the owner may move it');
	$node->safe_psql('one', 'CREATE FUNCTION credits.ducto_verify(user_id uuid) RETURNS integer LANGUAGE sql AS $$SELECT 1$$');
	is($state->(q{SELECT ducto.set_schema('credits')}), '42723', 'where there is such a function, nothing moves');
	is($node->safe_psql('one', q{SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'ducto'}), 'public', 'the extension is where it was');
	$node->safe_psql('one', 'DROP FUNCTION credits.ducto_verify');
	my $grants = $node->safe_psql('one', $held);

	like($node->safe_psql('one', q{LISTEN pgrst; SELECT ducto.set_schema('credits')}), qr/"reload schema"/, 'the API moves, and PostgREST is told');
	is($node->safe_psql('one', q{SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'ducto'}), 'credits', 'the extension is there');
	is( $node->safe_psql('one', q{SELECT count(*) FROM pg_proc WHERE proname LIKE 'ducto\_%' AND pronamespace = 'public'::regnamespace})
		  . $node->safe_psql('one', q{SELECT count(*) FROM pg_type WHERE typname LIKE '%ducto\_%' AND typnamespace = 'public'::regnamespace}),
		'00', 'and nothing of it is left');
	is($node->safe_psql('one', $held), $grants, 'the grants are the same');
	is($node->safe_psql('one', 'SELECT available FROM available'), '24.0000', 'a view finds it');
	is($node->safe_psql('one', 'SELECT spend() IS NULL'), 't', 'a function does');
	is($session->value("SELECT error IS NULL FROM credits.ducto_charge('$ada', 1)"), 't', 'the open session does');
	is($node->safe_psql('one', q{SELECT action FROM credits.ducto_setup() WHERE object = 'role authenticated'}),
		'granted usage of 1 schema', 'ducto_setup gives usage of the schema');
	is( $node->safe_psql('one', qq{
			SET request.jwt.claim.sub = '$ada';
			SET ROLE authenticated;
			SELECT balance FROM credits.ducto_my_balance()}),
		'22.0000', 'a user sees the own balance there');
	is($node->safe_psql('one', 'SELECT count(*) FROM credits.ducto_verify()'), '0', 'nothing is wrong');
	is($node->safe_psql('one', qq{SELECT accounts > 0 FROM credits.ducto_liability(); SELECT seq > 0 FROM credits.ducto_chain_head('$ada');
			SELECT count(*) FROM credits.ducto_repair('$ada')}), "t\nt\n0", 'nor with functions that have types of it in them');
	isnt($node->safe_psql('one', $data), $before, 'the data went on');
	$before = $node->safe_psql('one', $data);

	command_ok([ 'pg_dump', '-Fc', '-f', "$dir/moved", '-d', $node->connstr('one') ], 'dump');
	$node->safe_psql('postgres', 'CREATE DATABASE moved');
	command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('moved'), "$dir/moved" ], 'restore');
	is($node->safe_psql('moved', $data), $before, 'the data is there');
	is($node->safe_psql('moved', $held), $grants, 'so are the grants');
	is($node->safe_psql('moved', 'SELECT available FROM available'), '22.0000', 'and the view');

	$node->safe_psql('one', q{DROP FUNCTION spend; DROP VIEW available; SELECT ducto.set_schema('public'); SELECT ducto.set_schema('public'); DROP SCHEMA credits});
	is($session->value("SELECT error IS NULL FROM ducto_charge('$ada', 0)"), 't', 'it moves back');
	is($node->safe_psql('one', 'SELECT count(*) FROM public.ducto_verify()'), '0', 'and nothing is wrong');
	$session->quit;
}

# ducto_setup tells where the API is and whether PostgREST exposes it, as far as
# that can be seen, and what is set for roles, with what of it is not obeyed.
{
	my $rows = sub {
		my ($dbname, $at, $what) = @_;
		return $node->safe_psql($dbname, "SELECT object || ': ' || action FROM $at.ducto_setup() WHERE object LIKE '$what %' AND action NOT LIKE 'lets others %'");
	};

	is($rows->('one', 'public', 'schema'), 'schema public: has the API; PostgREST exposes it, unless its db-schemas say otherwise', 'in public');
	like($rows->('two', 'api', 'schema'), qr/^schema api: has the API; the db-schemas of PostgREST must name it/, 'in a schema of its own');
	$node->safe_psql('postgres', q{ALTER ROLE authenticator SET pgrst.db_schemas = 'api, graphql_public'});
	is($rows->('two', 'api', 'schema'), 'schema api: has the API, and PostgREST exposes it', 'that PostgREST names');
	is( $rows->('one', 'public', 'schema'),
		q{schema public: has the API, but PostgREST does not expose it: add it to pgrst.db_schemas of authenticator, or move the API: SELECT ducto.set_schema('api')},
		'in one that it does not name');
	$node->safe_psql('one', q{ALTER ROLE authenticator IN DATABASE one SET pgrst.db_schemas = 'ducto,public'});
	is($rows->('one', 'public', 'schema'),
		"schema ducto: is exposed by PostgREST: take it out of pgrst.db_schemas of authenticator\nschema public: has the API, and PostgREST exposes it",
		'nobody exposes the tables');
	$node->safe_psql('one', 'ALTER ROLE authenticator RESET ALL; ALTER ROLE authenticator IN DATABASE one RESET ALL; CREATE SCHEMA extensions; '
		  . q{SELECT ducto.set_schema('extensions')});
	is($rows->('one', 'extensions', 'schema'), q{schema extensions: has the API, but Supabase does not expose it: SELECT ducto.set_schema('public')}, 'in extensions');
	$node->safe_psql('one', q{SELECT ducto.set_schema('public'); DROP SCHEMA extensions});

	is($rows->('one', 'public', 'setting'), '', 'nothing is set');
	$node->safe_psql('one', q{
		ALTER ROLE service_role SET ducto.rejections = 'htpp';
		ALTER ROLE service_role IN DATABASE one SET ducto.reservation_ttl = '2h';
		ALTER ROLE service_role IN DATABASE two SET ducto.reservation_ttl = '3h';
		ALTER ROLE authenticated SET ducto.rejection = 'http';
		ALTER ROLE authenticated SET statement_timeout = '8s';
		ALTER DATABASE one SET ducto.require_idempotency_key = 'on'});
	is( $rows->('one', 'public', 'setting'),
		join("\n",
			'setting ducto.rejection of role authenticated in every database: is http: there is no such setting',
			'setting ducto.rejections of role service_role in every database: is htpp: it is not obeyed, as it must be return, raise, http or postgrest',
			'setting ducto.require_idempotency_key of this database: is on',
			'setting ducto.reservation_ttl of role service_role in this database: is 2h'),
		'what is set is told, a typo included');
	$node->safe_psql('one', 'ALTER ROLE service_role RESET ALL; ALTER ROLE service_role IN DATABASE one RESET ALL; '
		  . 'ALTER ROLE service_role IN DATABASE two RESET ALL; ALTER ROLE authenticated RESET ALL; ALTER DATABASE one RESET ALL');

	# The role that manages a project may set them once the library is loaded, or
	# where it was granted that.
	$node->safe_psql('postgres', 'ALTER ROLE dba CREATEROLE');
	my $dba = Session->new($node, dbname => 'one', user => 'dba');
	my $may = $dba->value(q{SELECT current_setting('server_version_num')::integer < 160000}) eq 't';

	$node->safe_psql('postgres', 'GRANT service_role TO dba WITH ADMIN OPTION') unless $may;
	$dba->run(q{ALTER ROLE service_role SET ducto.rejections = 'http'});
	is($dba->sqlstate, '42501', 'an unknown setting is not for everybody to set');
	$dba->run('SELECT FROM ducto_setup()');
	$dba->run(q{ALTER ROLE service_role SET ducto.rejections = 'http'});
	is($dba->sqlstate, '00000', 'after a call it is known');
	$dba->quit;
  SKIP:
	{
		skip 'GRANT SET ON PARAMETER is of PostgreSQL 15', 1 if $node->pg_version < 15;
		$node->safe_psql('postgres', 'GRANT SET ON PARAMETER ducto.rejections TO dba');
		$dba = Session->new($node, dbname => 'one', user => 'dba');
		$dba->run(q{ALTER ROLE service_role SET ducto.rejections = 'raise'});
		is($dba->sqlstate, '00000', 'so it is where that was granted');
		$dba->quit;
		$node->safe_psql('postgres', 'REVOKE SET ON PARAMETER ducto.rejections FROM dba');
	}
	$node->safe_psql('postgres', 'ALTER ROLE service_role RESET ALL');
}

# A dump has the grants, the trigger, and that it goes with the extension. The
# users that a restore inserts get nothing.
my $before = $node->safe_psql('one', 'SELECT count(*), sum(balance), sum(last_seq) FROM ducto.accounts');
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/one", '-d', $node->connstr('one') ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), "$dir/one" ], 'restore');
is($node->safe_psql('restored', 'SELECT count(*), sum(balance), sum(last_seq) FROM ducto.accounts'), $before, 'no bonus is booked again');
is($node->safe_psql('restored', $held), after_setup('one'), 'the grants are there');
is(action('restored', 'trigger%', $superuser), 'was there already', 'the trigger is there');
my $fay = user();
is(signup('restored', $fay), '', 'a user signs up');
is(balance('restored', $fay), '25.0000', 'and gets the bonus');
is($node->safe_psql('restored', 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing is wrong');
is($node->psql('restored', 'DROP EXTENSION ducto'), 0, 'and the extension can be dropped');
is($node->safe_psql('restored', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'auth.users'::regclass}), '0', 'with the trigger');

# An owner of the functions who may not create a trigger on the table of users
# gets everything else done, and is told what is missing.
$node->safe_psql('postgres', 'CREATE DATABASE three');
$node->safe_psql('three', q{
	CREATE EXTENSION ducto;
	CREATE ROLE keeper LOGIN;
	ALTER SCHEMA ducto OWNER TO keeper;
	SELECT format('ALTER %s %s OWNER TO keeper', CASE classid WHEN 'pg_class'::regclass THEN 'TABLE' ELSE 'ROUTINE' END, CASE classid WHEN 'pg_class'::regclass THEN objid::regclass::text ELSE objid::regprocedure::text END)
	FROM pg_depend WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
		AND (classid = 'pg_proc'::regclass OR classid = 'pg_class'::regclass)
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'ducto')
	\gexec
});
auth_users('three');
my $denied = 'not created: grant keeper usage of schema auth and TRIGGER on auth.users, then call ducto_setup again';
is(action('three', 'trigger%', 'keeper'), $denied, 'without usage of the schema there is no trigger');
is($node->safe_psql('three', $held), after_setup('three'), 'but all the rest');
$node->safe_psql('three', 'GRANT USAGE ON SCHEMA auth TO keeper');
is(action('three', 'trigger%', 'keeper'), $denied, 'without the privilege on the table neither');
$node->safe_psql('three', 'GRANT TRIGGER ON auth.users TO keeper');
is(action('three', 'trigger%', 'keeper'), 'created', 'with both there is');
is(action('three', 'trigger%', 'keeper'), 'was there already', 'once');
$node->safe_psql('three', 'DROP EXTENSION ducto');
is($node->safe_psql('three', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'auth.users'::regclass}), '0', 'it goes with the extension, whoever made it');

# Two deploys at once do not disturb each other.
{
	my $first  = Session->new($node, dbname => 'one');
	my $second = Session->new($node, dbname => 'one');

	$node->safe_psql('one', 'REVOKE ALL ON FUNCTION ducto_my_plan() FROM authenticated');
	$first->run('BEGIN; SELECT ducto_setup()');
	print { $second->{in} } "SELECT action FROM ducto_setup() WHERE object = 'role authenticated';\n";
	$node->poll_query_until('one', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'session' AND wait_event_type = 'Lock'})
	  or die 'the second does not wait';
	$first->run('COMMIT');
	my @said = $second->run('');
	is("@said", 'had all that it is to have, and nothing else', 'of two at once one finds everything done');
	is($second->sqlstate, '00000', 'without an error');
	$_->quit foreach ($first, $second);
}

is($node->safe_psql('one', 'SELECT count(*) FROM ducto_verify()'), '0', 'nothing is wrong in the end');
is($node->safe_psql('one', $held), after_setup('one'), 'and nobody has more');
$node->stop;
done_testing();
