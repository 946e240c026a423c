
# The test clock goes where the data goes: to a standby, through a restart, and
# with a dump, where it counts once it is turned on again. And what it is for:
# months of use in seconds, in many sessions at once, with books that are sound.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use IPC::Run;
use Session;
use Test::More;

my $alice = "'00000000-0000-4000-8000-00000000000a'";
my $node  = PostgreSQL::Test::Cluster->new('primary');
my $dir   = PostgreSQL::Test::Utils::tempdir();

$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

$node->safe_psql('postgres', 'CREATE DATABASE tests');
$node->safe_psql('postgres', 'ALTER DATABASE tests SET ducto.test_clock = on');
my $here = Session->new($node, dbname => 'tests');
$here->run('CREATE EXTENSION ducto');
$here->run("SELECT ducto_add_credits($alice, 100, 'purchase'); SELECT ducto_add_credits($alice, 50, 'promo', expires_at => ducto.clock() + interval '1 day')");
$here->run("SELECT ducto_reserve($alice, 10, ttl_seconds => 3600)");

# What is due has gone on the standby too, although nobody has booked it.
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my $there = Session->new($standby, dbname => 'tests');
is(join(' ', @{ $there->row("SELECT balance, reserved FROM ducto_get_balance($alice)") }), '150.0000 10.0000', 'a standby');
$here->run("SELECT ducto_advance_clock('2 days')");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(join(' ', @{ $there->row("SELECT balance, reserved FROM ducto_get_balance($alice)") }), '100.0000 0.0000', '... follows the clock');
is($there->value("SELECT string_agg(check_name, ', ') FROM ducto_verify()"), 'test clock', '... and its auditor says that there is one');
$there->run("SELECT ducto_advance_clock('1 day')");
is($there->sqlstate, '25006', '... which is not moved there');
$there->quit;
$standby->stop;

# A restart does not set it back.
$here->quit;
$node->restart;
$here = Session->new($node, dbname => 'tests');
is($here->value("SELECT balance FROM ducto_get_balance($alice)"), '100.0000', 'a restart keeps it');
$here->run("SELECT ducto_charge($alice, 1)");

# A dump has it. The database that it is restored into is not one of tests.
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/tests", '-d', $node->connstr('tests') ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), "$dir/tests" ], '... restored');
my $restored = Session->new($node, dbname => 'restored');
is($restored->value("SELECT string_agg(check_name, ', ') FROM ducto_verify()"), 'ahead of the clock', '... is by the clock of the server, and its auditor sees what that means');
$restored->run("SELECT ducto_advance_clock('1 day')");
is($restored->sqlstate, '55000', '... which nobody moves');
$restored->run('SET ducto.test_clock = on');
is($restored->value("SELECT ducto.clock() - now() > interval '47 hours'"), 't', '... until a superuser turns it on: it goes on where it was');
is($restored->value("SELECT string_agg(check_name, ', ') FROM ducto_verify()"), 'test clock', '... with sound books');
$restored->run('RESET ducto.test_clock');
is($restored->value("SELECT mended FROM ducto_repair($alice, dry_run => false)"), 't', '... or ducto_repair mends it');
is($restored->value('SELECT count(*) FROM ducto_verify()'), 0, '... and all is well');
$restored->quit;

# Months go by in hours while others charge and hold: no day has more than its
# cap, no month more than its allowance, in the ledger's own words.
my $script = "$dir/charge.sql";
append_to_file($script, <<'END');
\set u random(1, 20)
\set a random(1, 60)
SELECT error FROM ducto_charge(('00000000-0000-4000-8000-0000000001' || lpad(:u::text, 2, '0'))::uuid, :a / 10.0);
SELECT error FROM ducto_reserve(('00000000-0000-4000-8000-0000000001' || lpad(:u::text, 2, '0'))::uuid, :a / 100.0, ttl_seconds => 10800);
END
$here->run(q{SELECT ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"p": {"name": "P", "free_allowance": 20}}}')});
$here->run(q{SELECT ducto_add_credits(u, 100000), ducto_set_user_plan(u, 'p'), ducto_set_spend_cap(u, 'daily', 3)
	FROM (SELECT ('00000000-0000-4000-8000-0000000001' || lpad(n::text, 2, '0'))::uuid AS u FROM generate_series(1, 20) n) u});
my ($out, $err) = ('', '');
my $load = IPC::Run::start([ $node->installed_command('pgbench'), '-n', '-c', 4, '-t', 1000, '-f', $script, $node->connstr('tests') ], '>', \$out, '2>', \$err);
my $moves = 0;
while ($load->pumpable && $moves < 1000)
{
	$here->run("SELECT ducto_advance_clock('7 hours 13 minutes')");
	$moves++;
	$load->pump_nb;
	$here->run('SELECT pg_sleep(0.02)');
}
$load->finish;
like($out, qr{processed: 4000/4000}, "4 clients charge while the clock moves ($moves times)") or diag($err);
cmp_ok($moves, '>', 10, '... often enough');
is($here->value("SELECT string_agg(DISTINCT check_name, ', ') FROM ducto_verify()"), 'test clock', '... the books are sound');
is($here->value(q{SELECT count(*) FROM (SELECT sum(-amount) AS spent FROM ducto.ledger WHERE type = 'usage'
	AND account_id::text LIKE '%00000001__' GROUP BY account_id, (effective_at AT TIME ZONE 'UTC')::date) d WHERE spent > 3}), 0, '... no day has more than its cap');
is($here->value(q{SELECT count(*) FROM (SELECT sum(allowance_consumed) AS used FROM ducto.ledger
	GROUP BY account_id, date_trunc('month', effective_at AT TIME ZONE 'UTC')) m WHERE used > 20}), 0, '... no month more than its allowance');
cmp_ok($here->value(q{SELECT count(DISTINCT (effective_at AT TIME ZONE 'UTC')::date) FROM ducto.ledger WHERE amount < 0}), '>', 3, '... of many days');
is($here->value("SELECT bool_or(expired_count >= 0) FROM ducto_sweep_expired()"), 't', '... and a sweep');
is($here->value("SELECT string_agg(DISTINCT check_name, ', ') FROM ducto_verify()"), 'test clock', '... leaves them sound');

$here->quit;
$node->stop;
done_testing();
