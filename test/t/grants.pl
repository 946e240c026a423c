
# The API is closed but to those whom ducto_grant_access has named, and stays so
# when privileges travel: in a dump of each kind, with roles that are renamed or
# missing. Roles with the names of Supabase's and a table auth.users count for
# Supabase's only where nobody else can have made them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('access');
my $dir  = PostgreSQL::Test::Utils::tempdir();
my $all  = 'GRANT ALL ON ALL FUNCTIONS IN SCHEMA public';

# access is all that is granted, but for ducto_my_*.
sub access
{
	my ($dbname) = @_;
	return $node->safe_psql($dbname, q{SELECT role, object, privilege, granted_to FROM ducto_list_access() WHERE object !~ 'ducto_my_'});
}

# short is the same, the API's functions but those that read prices being one.
sub short
{
	my ($dbname) = @_;
	return $node->safe_psql($dbname, q{
		SELECT string_agg(DISTINCT role || ' ' || CASE WHEN object ~ '_price\(|get_\w*pricing|validate_pricing|ducto_uuid|usage_from|import_prices' THEN 'price' ELSE split_part(object, ' ', 1) END, ', ')
		FROM ducto_list_access() WHERE object !~ 'ducto_my_'});
}

# says runs a statement and returns what was said about it.
sub says
{
	my ($dbname, $sql, @as) = @_;
	my ($rc, $out, $errors) = $node->psql($dbname, $sql, extra_params => \@as);
	return $errors;
}

# steps is what ducto_setup did with the objects whose names match.
sub steps
{
	my ($dbname, $pattern) = @_;
	return $node->safe_psql($dbname, "SELECT action FROM ducto_setup() WHERE object ~ '$pattern'");
}

# database makes a database with the extension.
sub database
{
	my ($dbname) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $dbname");
	$node->safe_psql($dbname, "SET client_min_messages = warning; CREATE EXTENSION ducto_sdk CASCADE; SELECT ducto_set_active_pricing('{\"models\": {\"_default\": \"1\"}, \"signup_bonus\": 5}')");
	return;
}

$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE anon; CREATE ROLE authenticated; CREATE ROLE service_role BYPASSRLS;
	CREATE ROLE backend; CREATE ROLE reader; CREATE ROLE worker; CREATE ROLE "A b"; CREATE ROLE monitor; CREATE ROLE app;
});
database('one');

# anon and authenticated are everybody, by whatever words.
subtest 'nothing is granted to everybody' => sub {
	is(short('one'), '', 'nobody has anything');
	like(says('one', "$all TO anon, authenticated WITH GRANT OPTION"), qr/NOTICE:  ducto takes back .*EXECUTE on \d+ functions from anon, authenticated/, 'a blanket GRANT is taken back');
	foreach my $grant ('EXECUTE ON FUNCTION ducto_charge', 'EXECUTE ON FUNCTION ducto_setup', 'SELECT ON ducto.ledger', 'SELECT (id) ON ducto.ledger', 'USAGE ON SCHEMA ducto')
	{
		like(says('one', "GRANT $grant TO anon"), qr/NOTICE:  ducto takes back .* from anon\n/, "so is $grant");
	}
	foreach my $what ('all', 'read', 'ducto_price, ducto_get_balance')
	{
		like(says('one', "SELECT ducto_grant_access('authenticated', '$what')"), qr/invalid value for argument "role": authenticated/, "ducto_grant_access refuses $what");
	}
	is(short('one'), '', 'nobody has anything');
	$node->safe_psql('one', "SELECT ducto_grant_access('authenticated', 'ducto_price, ducto_my_plan'); GRANT EXECUTE ON FUNCTION ducto_price TO anon");
	is(short('one'), 'anon price, authenticated price', 'but prices can be read');
	steps('one', '.');
	is(short('one'), 'anon price, authenticated price, service_role function, service_role price', 'after ducto_setup too');
};

# What everybody and everything has, as a dump shows it.
$node->safe_psql('one', q{
	SELECT ducto_grant_access('backend'), ducto_grant_access('reader', 'read'), ducto_grant_access('worker', 'ducto_reserve, ducto_deduct'), ducto_grant_access('"A b"', 'ducto_charge');
	SELECT count(*) FROM ducto_sdk_setup();
	GRANT USAGE ON SCHEMA ducto TO monitor; GRANT SELECT ON ALL TABLES IN SCHEMA ducto TO monitor;
	GRANT EXECUTE ON FUNCTION ducto_setup TO monitor;
	SELECT ducto_add_credits('00000000-0000-4000-8000-00000000000a', 10);
});
my $before = access('one');
cmp_ok(scalar(split /\n/, $before), '>', 150, 'there is something to carry');

subtest 'a dump carries it, and a restore opens nothing else' => sub {
	my @kinds = (
		[ 'a plain script', [ 'one.sql', [] ], [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/one.sql" ] ],
		[ 'the custom format, two jobs', [ 'one.dump', ['-Fc'] ], [ 'pg_restore', '--exit-on-error', '-j', '2', "$dir/one.dump" ] ],
		[ 'in one transaction', undef, [ 'pg_restore', '-1', "$dir/one.dump" ] ],
		[ 'section by section', undef, map { [ 'pg_restore', '--exit-on-error', "--section=$_", "$dir/one.dump" ] } qw(pre-data data post-data) ],
		[ 'data before the rest', [ 'data.sql', ['--data-only'] ], undef, [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/data.sql" ], [ 'pg_restore', '--schema-only', "$dir/one.dump" ] ]);
	my $n = 0;

	foreach my $kind (@kinds)
	{
		my ($name, $dump, @restores) = @$kind;
		my $to = 'restored' . ++$n;

		$node->command_ok([ 'pg_dump', '-d', 'one', '-f', "$dir/$dump->[0]", @{ $dump->[1] } ], "pg_dump @{ $dump->[1] }") if $dump;
		$node->safe_psql('postgres', "CREATE DATABASE $to");
		foreach my $restore (@restores)
		{
			# the extension is there before its data
			if (!defined $restore)
			{
				$node->safe_psql($to, 'SET client_min_messages = warning; CREATE EXTENSION ducto_sdk CASCADE');
				next;
			}
			run_command([ @$restore, '-d', $node->connstr($to) ]);
		}
		is(access($to), $before, "$name: who may call what is as it was");
		is($node->safe_psql($to, "SELECT balance FROM ducto_get_balance('00000000-0000-4000-8000-00000000000a')"), '10.0000', '... and the credits are there');
		like(says($to, "$all TO app"), qr/ducto takes back/, '... and the guard is');
		is(access($to), $before, '... so that it stays so');
	}
	$node->safe_psql('postgres', 'CREATE DATABASE bare');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-x', '-d', 'bare', "$dir/one.dump" ], 'a restore without privileges');
	is(access('bare'), '', '... gives nobody any');
};

# A dump of a database whose guard was off, with a hole in it.
subtest 'a hole does not travel' => sub {
	database('hole');
	$node->safe_psql('hole', qq{
		SELECT ducto_grant_access('backend');
		ALTER EVENT TRIGGER ducto_guard DISABLE;
		$all TO anon, PUBLIC;
		GRANT ALL ON ALL TABLES IN SCHEMA ducto TO app WITH GRANT OPTION;
		GRANT ALL ON SCHEMA ducto TO PUBLIC;
	});
	like(short('hole'), qr/PUBLIC function, PUBLIC price, PUBLIC schema, anon function/, 'the hole');
	$node->command_ok([ 'pg_dump', '-Fc', '-d', 'hole', '-f', "$dir/hole" ], 'pg_dump');
	$node->safe_psql('postgres', 'CREATE DATABASE mended');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', 'mended', "$dir/hole" ], 'pg_restore');
	is(short('mended'), 'PUBLIC price, anon price, app table, backend function, backend price', 'all but what reads prices is closed');
	is($node->safe_psql('mended', q{SELECT string_agg(DISTINCT privilege, ' ') FROM ducto_list_access() WHERE role = 'app'}), 'SELECT', 'and a table is read, not written');
	is($node->safe_psql('mended', q{SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE a.is_grantable AND a.grantee <> c.relowner AND relnamespace = 'ducto'::regnamespace}), '0', 'nor granted on');
};

subtest 'roles come and go' => sub {
	$node->safe_psql('postgres', 'CREATE ROLE brief; ALTER ROLE worker RENAME TO laborer');
	$node->safe_psql('one', "SELECT ducto_grant_access('brief')");
	(my $renamed = $before) =~ s/\bworker\b/laborer/g;
	is(join("\n", sort grep { !/^brief\|/ } split /\n/, access('one')), join("\n", sort split /\n/, $renamed), 'a role that is renamed keeps what it had');
	$node->command_ok([ 'pg_dump', '-d', 'one', '-f', "$dir/brief.sql" ], 'pg_dump');
	like(says('one', 'DROP ROLE brief'), qr/cannot be dropped/, 'a role with access cannot be dropped');
	$node->safe_psql('one', "SELECT ducto_revoke_access('brief')");
	is(says('one', 'DROP ROLE brief'), '', 'but when access is revoked');
	$node->safe_psql('postgres', 'CREATE DATABASE without');
	run_command([ 'psql', '-Xq', '-f', "$dir/brief.sql", '-d', $node->connstr('without') ]);
	is(access('without'), access('one'), 'a role that is missing when a dump is restored costs the others nothing');
	$node->safe_psql('postgres', 'CREATE ROLE brief');
	like(says('without', "$all TO brief"), qr/takes back EXECUTE on \d+ functions from brief/, 'another of its name has nothing');
	$node->safe_psql('one', 'DROP OWNED BY laborer');
	unlike(access('one'), qr/laborer/, 'DROP OWNED does as well');
};

# One of two statements at once that touch the same functions fails, as it
# would without the guard; none is let through.
subtest 'two at once' => sub {
	my ($first, $second) = map { Session->new($node, dbname => 'one') } 1 .. 2;

	$first->run("BEGIN; SELECT ducto_grant_access('app', 'ducto_charge')");
	print { $second->{in} } "$all TO app;\n";
	$node->poll_query_until('one', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'session' AND wait_event_type = 'Lock'})
	  or die 'the second does not wait';
	$first->run('COMMIT');
	$second->run('');
	like(says('one', "$all TO app"), qr/takes back EXECUTE/, 'a blanket GRANT beside ducto_grant_access');
	is($node->safe_psql('one', q{SELECT split_part(object, '(', 1) FROM ducto_list_access() WHERE role = 'app' AND object !~ '_my_'}),
		'function public.ducto_charge', 'opens no more than that');
	$first->run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class");
	$node->safe_psql('one', "SELECT ducto_grant_access('monitor', 'read')");
	$first->run('GRANT EXECUTE ON FUNCTION ducto_price, ducto_get_balance TO app; COMMIT');
	is($first->sqlstate, '00000', 'in an older snapshot');
	cmp_ok($node->safe_psql('one', q{SELECT count(*) FROM ducto_list_access() WHERE role = 'monitor' AND object ~ 'ducto_get_balance'}), '==', 1, 'what others were given since stays');
	$_->quit foreach ($first, $second);
};

# An update of the extension, in an installation that has a script for one.
subtest 'an update' => sub {
	my ($version, $inst) = ($node->safe_psql('one', q{SELECT extversion FROM pg_extension WHERE extname = 'ducto'}), "$dir/inst");
	my ($bin, @rest)     = map { (run_command([ 'pg_config', "--$_" ]))[0] } qw(bindir pkglibdir sharedir);

	# the server finds its other directories from where its programs are
	command_ok([ 'bash', '-c', 'mkdir -p "$1$2" && cp -L "$2"/{postgres,initdb,pg_ctl,pg_config,psql} "$1$2" && for d in "$3" "$4"; do mkdir -p "$1$d" && cp -as "$d/." "$1$d" || exit; done',
			'bash', $inst, $bin, @rest ], 'an installation is made');
	append_to_file("$inst$rest[1]/extension/ducto--$version--next.sql", q{
		DO $$ BEGIN EXECUTE (SELECT 'DROP FUNCTION ' || oid::regprocedure FROM pg_proc WHERE proname = 'ducto_release'); END $$;
		CREATE FUNCTION @extschema@.ducto_release(a integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
		CREATE FUNCTION @extschema@.ducto_new_read() RETURNS integer LANGUAGE sql STABLE AS 'SELECT 1';
		CREATE FUNCTION @extschema@.ducto_new_write() RETURNS integer LANGUAGE sql AS 'SELECT 1';
		CREATE FUNCTION ducto.new_helper() RETURNS integer LANGUAGE sql AS 'SELECT 1';
		CREATE TABLE ducto.new_table ();
	});
	my $updated = PostgreSQL::Test::Cluster->new('updated', install_path => "$inst$bin" =~ s{/bin$}{}r);
	$updated->init;
	$updated->start;
	$updated->safe_psql('postgres', q{
		CREATE ROLE backend; CREATE ROLE reader; CREATE ROLE worker; CREATE ROLE app; CREATE ROLE anon; CREATE ROLE authenticated; CREATE ROLE service_role BYPASSRLS;
		CREATE EXTENSION ducto;
		SELECT ducto_grant_access('backend'), ducto_grant_access('reader', 'read'), ducto_grant_access('worker', 'ducto_reserve, ducto_release');
		SELECT ducto_setup();
		GRANT EXECUTE ON FUNCTION ducto_price TO anon;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO app, anon;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app, PUBLIC;
	});
	my $held = q{SELECT role, split_part(object, '(', 1) FROM ducto_list_access() WHERE object !~ 'ducto_release'};
	my $before = $updated->safe_psql('postgres', $held);
	my ($rc, $out, $said) = $updated->psql('postgres', q{ALTER EXTENSION ducto UPDATE TO 'next'});
	like($said, qr/takes back EXECUTE on 4 functions from PUBLIC, anon, app\n.*takes back .*SELECT.* on table ducto.new_table from /s, 'what default privileges gave is taken back');
	is($updated->safe_psql('postgres', "$held AND object !~ 'new_'"), $before, 'what was there has not changed');
	is($updated->safe_psql('postgres', q{SELECT string_agg(role || ' ' || object, ', ' ORDER BY role, object) FROM ducto_list_access() WHERE object ~ 'new_|ducto_release'}),
		join(', ', (map { my $r = $_; map { "$r function public.$_" } 'ducto_new_read()', 'ducto_new_write()', 'ducto_release(integer)' } 'backend'),
			'reader function public.ducto_new_read()',
			(map { "service_role function public.$_" } 'ducto_new_read()', 'ducto_new_write()', 'ducto_release(integer)'),
			'worker function public.ducto_release(integer)'),
		'who could call all can, and who could call what was replaced');
	$updated->stop;
};

# Who may create in the database makes a table auth.users; who may make roles
# makes those of Supabase's names.
subtest 'strangers' => sub {
	$node->safe_psql('postgres', q{
		DROP DATABASE restored1; DROP DATABASE restored2; DROP DATABASE restored3; DROP DATABASE restored4; DROP DATABASE restored5;
		DROP DATABASE one; DROP DATABASE hole; DROP DATABASE mended; DROP DATABASE without; DROP DATABASE bare;
		DROP ROLE anon, authenticated, service_role;
		CREATE ROLE mallory LOGIN CREATEROLE;
	});
	database('alone');
	is(steps('alone', '.'), 'has neither the roles service_role, authenticated, anon nor a table auth.users: nothing to do', 'nothing of Supabase is here');
	$node->safe_psql('alone', 'GRANT CREATE ON DATABASE alone TO mallory');
	is(says('alone', q{
		CREATE SCHEMA auth; CREATE TABLE auth.users (id uuid PRIMARY KEY, is_anonymous boolean);
		CREATE ROLE service_role; CREATE ROLE authenticated; CREATE ROLE supabase_auth_admin; CREATE ROLE anon;
	}, '-U', 'mallory'), '', 'mallory makes all of it');
	is(steps('alone', 'trigger'), 'not created: auth.users belongs to mallory, who is neither a superuser nor Supabase\'s', 'the table is not taken for Supabase\'s');
	is(steps('alone', 'role (service_role|authenticated)'), join("\n", ('was left as it is: mallory can let anybody act as it') x 2), 'nor are the roles');
	like($node->safe_psql('alone', 'SELECT action FROM ducto_sdk_setup() WHERE object ~ \'service\''), qr/^was left as it is: mallory/, 'by ducto_sdk_setup neither');
	is($node->safe_psql('alone', 'SELECT count(*) FROM ducto_list_access()'), '0', 'nobody was given anything');
	is(says('alone', "INSERT INTO auth.users VALUES ('00000000-0000-4000-8000-00000000000b')", '-U', 'mallory'), '', 'a user is made');
	is($node->safe_psql('alone', 'SELECT count(*) FROM ducto.accounts'), '0', 'and gets nothing');
	$node->safe_psql('alone', 'ALTER TABLE auth.users OWNER TO supabase_auth_admin');
	is(steps('alone', 'trigger'), 'not created: auth.users belongs to supabase_auth_admin, and mallory can let anybody act as it', 'a name does not help');

	# the same roles, made by a superuser in a cluster where a role that may make roles is about
	$node->safe_psql('alone', q{
		DROP TABLE auth.users; DROP ROLE service_role, authenticated, anon, supabase_auth_admin;
		CREATE ROLE service_role BYPASSRLS; CREATE ROLE authenticated; CREATE ROLE anon; CREATE ROLE supabase_auth_admin CREATEROLE;
		CREATE TABLE auth.users (id uuid PRIMARY KEY); ALTER TABLE auth.users OWNER TO supabase_auth_admin;
	});
	is(steps('alone', 'trigger'), 'created', 'Supabase\'s is taken for what it is');
	like($node->safe_psql('alone', 'SELECT DISTINCT action FROM ducto_setup() WHERE object ~ \'role (serv|auth)\''), qr/^had all that it is to have, and nothing else$/, 'and so are its roles');
	$node->safe_psql('alone', 'ALTER TABLE auth.users OWNER TO mallory');
	is(steps('alone', 'trigger'), 'was there already, and is to be dropped: auth.users belongs to mallory, who is neither a superuser nor Supabase\'s', 'a table that changes hands is told of');
	$node->safe_psql('alone', 'ALTER TABLE auth.users OWNER TO supabase_auth_admin; GRANT service_role TO mallory WITH ADMIN OPTION');
	is(steps('alone', 'role service'), 'was left as it is: mallory can let anybody act as it', 'nor is a role that is another\'s to give');
	$node->safe_psql('alone', 'REVOKE service_role FROM mallory');

	# whoever may create in the schema of the API can be called in its place
	$node->safe_psql('alone', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC');
	my $where = 'has the API; PostgREST exposes it, unless its db-schemas say otherwise';
	is(steps('alone', 'schema'), $where, 'nobody may create in the schema');
	$node->safe_psql('alone', 'GRANT CREATE ON SCHEMA public TO mallory, PUBLIC');
	is(steps('alone', 'schema public'), "$where\n" . 'lets others make functions that are called in place of these: REVOKE CREATE ON SCHEMA public FROM PUBLIC, mallory', 'who may is told');
};

# The trigger looks at the columns that there are, and is made anew when they change.
subtest 'columns of auth.users' => sub {
	my $made = q{SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'ducto_signup_bonus'};
	my $uuid = '00000000-0000-4000-8000-00000000001';

	like($node->safe_psql('alone', $made), qr/AFTER INSERT ON auth.users/, 'none that matters');
	is(steps('alone', 'trigger'), 'was there already', 'and so it stays');
	$node->safe_psql('alone', 'ALTER TABLE auth.users ADD is_anonymous boolean, ADD email_confirmed_at timestamptz');
	is(steps('alone', 'trigger'), 'created anew: the columns that tell of a user have changed', 'some are added');
	like($node->safe_psql('alone', $made), qr/AFTER INSERT OR UPDATE OF is_anonymous, email_confirmed_at ON auth.users/, 'and looked at');
	is(steps('alone', 'trigger'), 'was there already', 'once');
	$node->safe_psql('alone', "INSERT INTO auth.users VALUES ('${uuid}1', true), ('${uuid}2', false)");
	is($node->safe_psql('alone', 'SELECT id FROM ducto.accounts'), "${uuid}2", 'an anonymous user gets nothing');
	$node->safe_psql('alone', "UPDATE auth.users SET is_anonymous = false");
	is($node->safe_psql('alone', 'SELECT sum(balance), count(*), max(last_seq) FROM ducto.accounts'), '10.0000|2|1', 'but on becoming permanent');
	is($node->safe_psql('alone', 'SELECT * FROM ducto_verify()'), '', 'nothing is wrong');
	is($node->psql('alone', 'SET client_min_messages = error; DROP EXTENSION ducto CASCADE'), 0, 'the extension goes');
	is($node->safe_psql('alone', $made), '', 'and the trigger with it');
	is($node->safe_psql('alone', 'SELECT count(*) FROM pg_event_trigger'), '0', 'and the guard');
};

$node->stop;
done_testing();
