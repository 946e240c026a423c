
# The sweep by pg_cron, as the page on operations says: pg_cron in one database,
# ducto in another. The recipe runs the sweep, in its transactions; where it
# fails, what the page looks at says why; a dump of the database with ducto goes
# into another one, pg_cron or not. So do events, as their page says: each goes
# to a table once, and is pruned then.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ada = "'00000000-0000-4000-8000-00000000000a'";
my ($share) = run_command([ 'pg_config', '--sharedir' ]);
plan skip_all => 'pg_cron is not installed' unless -e "$share/extension/pg_cron.control";

my $page = slurp_file('docs/operations.md');
my ($settings) = $page =~ /^```\n(shared_preload_libraries = 'pg_cron'.*?)^```/ms or die 'the page has no settings for pg_cron';
my ($recipe) = $page =~ /^```\n(CREATE EXTENSION pg_cron;.*?)^```/ms or die 'the page has no job for pg_cron';
my ($look) = $page =~ /^```\n(SELECT[^`]*cron\.job_run_details.*?)^```/ms or die 'the page does not look at what the jobs did';

my $events = slurp_file('docs/events.md');
my ($table) = $events =~ /^```\n(CREATE TABLE outgoing.*?)^```/ms or die 'the page on events has no table';
my ($dispatch) = $events =~ /^```\n(SELECT cron.schedule_in_database\('ducto events'.*?)^```/ms or die 'the page on events has no job';

my $node = PostgreSQL::Test::Cluster->new('cron');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n$settings");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE yourdatabase');
$node->safe_psql('yourdatabase', qq{
	CREATE EXTENSION ducto;
	SELECT ducto_add_credits($ada, 10, 'promo', expires_at => clock_timestamp() + interval '1 second');
	SELECT ducto_set_alerts($ada, '{10, 5}');
	SELECT ducto_charge($ada, 1);
	$table
	ALTER DATABASE yourdatabase SET ducto.event_retention = '1s';
});

# The recipe, every minute: the shortest that pg_cron knows. Beside it, what fails.
is($recipe =~ s{\*/10 }{* }, 1, 'the recipe is for every ten minutes');
$node->safe_psql('postgres', $recipe);
$node->safe_psql('postgres', $dispatch);
$node->safe_psql('postgres', q{
	SELECT cron.schedule_in_database('lost', '* * * * *', 'CALL ducto_sweep()', 'postgres');
});
ok($node->poll_query_until('yourdatabase', "SELECT count(*) = 1 FROM ducto.ledger WHERE type = 'expiry'"), 'the job sweeps');
ok($node->poll_query_until('yourdatabase', 'SELECT count(*) = 1 FROM ducto.usage_rollup WHERE hours = 0 AND type_entries IS NOT NULL'),
	'and rolls up');
ok($node->poll_query_until('postgres', q{SELECT count(DISTINCT status) = 2 FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')}),
	'both jobs have ended');
ok($node->poll_query_until('yourdatabase', "SELECT count(*) = 3 FROM outgoing"), 'events go to a table');
$node->safe_psql('yourdatabase', "SELECT ducto_add_credits($ada, 20)");
ok($node->poll_query_until('yourdatabase', 'SELECT count(*) = 0 FROM ducto.events'), 'and are pruned when they are there');
is($node->safe_psql('yourdatabase', q{SELECT string_agg(event ->> 'kind', ' ' ORDER BY event #> '{payload,seq}'), max(event ->> 'attempt') FROM outgoing}),
	'balance_low balance_low balance_exhausted balance_recovered|1', 'each was once');
my $told = $node->safe_psql('postgres', $look);
like($told, qr/^lost\|.*procedure ducto_sweep\(\) does not exist/m, 'the page looks where the failure is');
unlike($told, qr/^ducto sweep\|/m, 'and what worked is not there');
is($node->safe_psql('yourdatabase', 'SELECT * FROM ducto_verify()'), '', 'nothing is wrong');

# A dump of the database, into another one: the jobs are not in it.
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('yourdatabase') ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $dump ], 'is restored where pg_cron is');
is($node->safe_psql('restored', 'SELECT balance_after FROM ducto.ledger ORDER BY seq DESC LIMIT 1; SELECT * FROM ducto_verify()'), '20.0000', 'with all credits');
is($node->safe_psql('restored', q{SELECT count(*) FROM pg_extension WHERE extname = 'pg_cron'}), 0, 'and without pg_cron');

done_testing();
