
# What an operator sees. A login in a monitoring role reads figures and tables as
# the page on operations says. ducto_metrics tells what is there, exactly where
# there is little, nearly where there is much, and reads hardly more then. Debian's
# prometheus-postgres-exporter is started with the queries of examples/monitoring
# and scraped; the alert rules and the dashboard name only what it gives.

use strict;
use warnings FATAL => 'all';

use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ada      = "'00000000-0000-4000-8000-00000000000a'";
my $bob      = "'00000000-0000-4000-8000-00000000000b'";
my $example  = 'examples/monitoring';
my $exporter = '/usr/bin/prometheus-postgres-exporter';

my $node = PostgreSQL::Test::Cluster->new('monitored');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nmax_prepared_transactions = 5\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ducto');

# metrics returns the figures as a hash from name, with label, to value.
sub metrics
{
	my ($role) = @_;
	my $rows = $node->safe_psql('postgres', ($role ? "SET SESSION AUTHORIZATION $role;" : '')
		. q{SELECT name || coalesce(' ' || (SELECT string_agg(l.value, ',') FROM jsonb_each_text(labels) l), ''), value FROM ducto_metrics()});
	return { map { split /\|/ } split /\n/, $rows };
}

# roll_up rolls up all of the ledger.
sub roll_up
{
	foreach (1 .. 100)
	{
		$node->safe_psql('postgres', 'SELECT ducto_rollup()');
		return if $node->safe_psql('postgres', q{SELECT count(*) FROM ducto.ledger l, ducto.usage_rollup r WHERE r.hours = 0 AND l.xact >= r.next_xact}) == 0;
		select(undef, undef, undef, 0.1);
	}
	die 'the ledger is not rolled up';
}

# Nothing there yet
my $found = metrics();
is($found->{ducto_accounts}, 0, 'no accounts');
is($found->{$_}, 0, "$_ is 0") foreach qw(ducto_balance_credits ducto_debt_credits ducto_held_credits ducto_open_holds
	ducto_overdue_holds ducto_sweep_lag_seconds ducto_rollup_lag_seconds ducto_oldest_hold_seconds);
ok(!exists $found->{ducto_hot_update_ratio}, 'no ratio of updates without updates');

# A little, and exactly so
$node->safe_psql('postgres', qq{
	SELECT ducto_add_credits($ada, 100, 'purchase');
	SELECT ducto_add_credits($ada, 5, 'promo', expires_at => clock_timestamp() + interval '1 second');
	SELECT ducto_charge($ada, 7.5);
	SELECT ducto_reserve($ada, 10);
	SELECT ducto_reserve($ada, 2, ttl_seconds => 1);
	SELECT ducto_deduct($bob, reservation_id, 12, overrun => 'full')
		FROM ducto_reserve($bob, 3, billing_mode => 'overdraft', overdraft_floor => -100);
	SELECT ducto_create_team('Ops', 40);
	SELECT pg_sleep(2);
});
$found = metrics();
is($found->{ducto_accounts}, 3, 'accounts');
is($found->{ducto_balance_credits}, 125.5, 'the sum of the balances, as booked');
is($found->{ducto_debt_credits}, 12, 'debt');
is($found->{ducto_accounts_in_debt}, 1, 'who owes');
is($found->{ducto_held_credits}, 10, 'what is held');
is($found->{ducto_open_holds}, 1, 'open holds');
is($found->{ducto_overdue_holds}, 1, 'holds past their time');
cmp_ok($found->{ducto_oldest_hold_seconds}, '>=', 2, 'the age of the oldest hold');
cmp_ok($found->{ducto_sweep_lag_seconds}, '>=', 1, 'a sweep is late');
cmp_ok($found->{ducto_rollup_lag_seconds}, '>=', 2, 'so is the rollup');
ok(!(grep { /ducto_entries_total/ } keys %$found), 'no entries are rolled up');
$node->safe_psql('postgres', 'CALL ducto_sweep()');
roll_up();
$found = metrics();
is($found->{$_}, 0, "$_ is 0 after a sweep") foreach qw(ducto_overdue_holds ducto_sweep_lag_seconds ducto_rollup_lag_seconds);
is($found->{'ducto_entries_total usage'}, 2, 'entries of a type');
is($found->{'ducto_booked_credits usage'}, -19.5, 'what they sum up to');
is($found->{ducto_prepared_transactions}, 0, 'nothing is prepared');
$node->safe_psql('postgres', "BEGIN; SELECT ducto_charge($ada, 1); PREPARE TRANSACTION 'forgotten'");
is(metrics()->{ducto_prepared_transactions}, 1, 'what was prepared and forgotten');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'forgotten'");

# The roles of the page on operations, for a login in them
my $page = slurp_file('docs/operations.md');
my ($roles) = $page =~ /^```sql\n(CREATE ROLE monitor;.*?)^SET ROLE/ms or die 'the page has no role for a monitor';
$node->safe_psql('postgres', $roles);
is($node->safe_psql('postgres', q{SET SESSION AUTHORIZATION watcher; SELECT count(*) FROM ducto.accounts}), 3,
	'a login in the monitoring role sees the rows of the tables');
is($node->safe_psql('postgres', q{SET SESSION AUTHORIZATION watcher; SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class c
	WHERE c.relnamespace = 'ducto'::regnamespace AND c.relkind IN ('r', 'v') AND NOT has_table_privilege(c.oid, 'SELECT')}), '',
	'it may read every table and view');
is($node->safe_psql('postgres', q{SELECT string_agg(c.relname, ' ') FROM pg_class c WHERE c.relnamespace = 'ducto'::regnamespace AND c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)}), '', 'and its rows');
is($node->safe_psql('postgres', q{SET SESSION AUTHORIZATION watcher; SELECT count(*) > 3 FROM ducto.daily_books; SELECT count(*) FROM ducto.daily_usage;
	SELECT count(*) FROM ducto_list_accounts(); SELECT accounts FROM ducto_liability(); SELECT count(*) FROM ducto_verify()}), "t\n2\n3\n3\n0",
	'the figures too');
is(metrics('watcher')->{ducto_accounts}, 3, 'and the metrics');
foreach my $write ("SELECT ducto_charge($ada, 1)", 'CALL ducto_sweep()', 'DELETE FROM ducto.accounts', 'UPDATE ducto.accounts SET balance = 1')
{
	my ($status, undef, $error) = $node->psql('postgres', "SET SESSION AUTHORIZATION watcher; $write");
	like($error, qr/permission denied/, "it may not: $write");
}

# A dump carries the grants; policies and indexes of one's own are made anew
my ($index) = $page =~ /^(CREATE INDEX ledger_day .*;)$/m or die 'the page has no index';
$node->safe_psql('postgres', $index);
like($node->safe_psql('postgres', q{SET enable_seqscan = off; EXPLAIN SELECT * FROM ducto.daily_usage WHERE date = '2026-01-01'}), qr/ledger_day/,
	'the view is found by it');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], 'is restored');
my ($policies) = $roles =~ /^(DO .*?^\$\$;)$/ms or die 'the page has no block for the policies';
$node->safe_psql('restored', "$policies; $policies");
is($node->safe_psql('restored', q{SELECT to_regclass('ducto.ledger_day')}), '', 'the index is not in the dump');
is($node->safe_psql('restored', q{SET SESSION AUTHORIZATION watcher; SELECT count(*) FROM ducto.accounts; SELECT accounts FROM ducto_liability()}), "3\n3",
	'and a login in the monitoring role sees the rows there too');

# What the README of the example makes
my ($made) = slurp_file("$example/README.md") =~ /^```sql\n(.*?)^```/ms;
$made =~ s/PASSWORD '…' //;
$node->safe_psql('postgres', $made);
is(metrics('exporter')->{ducto_accounts}, 3, 'the login of the exporter reads the metrics');
my (undef, undef, $error) = $node->psql('postgres', "SET SESSION AUTHORIZATION exporter; SELECT * FROM ducto_get_balance($ada)");
like($error, qr/permission denied/, 'and nothing else');

# Much: the figures are near, and cost hardly more. Pages are what is counted.
sub pages
{
	my $plan = $node->safe_psql('postgres', 'SELECT * FROM ducto_metrics(); EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM ducto_metrics()');
	$plan =~ s/^[^\[]*\n(?=\[)//s;
	$plan = decode_json($plan)->[0]{Plan};
	return $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'};
}
my $few = pages();
$node->safe_psql('postgres', q{
	INSERT INTO ducto.accounts (id, kind, balance, held, last_seq, plain, created_at, updated_at, next_boundary)
	SELECT gen_random_uuid(), 'user', CASE n % 10 WHEN 0 THEN -2 ELSE 10 END, 0, 1, true, now(), now(), 'infinity' FROM generate_series(1, 50000) n;
	INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, created_at, effective_at)
	SELECT id, 1, gen_random_uuid(), balance, balance, 'adjustment', created_at, created_at FROM ducto.accounts WHERE last_seq = 1 AND balance IN (-2, 10);
	INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after, reserved_after, first_expires_at,
		skip_allowance, cap_held, created_at, expires_at, closed_at)
	SELECT id, gen_random_uuid(), 1, CASE n WHEN 1 THEN 1 ELSE 0 END, 'usage', 'strict', 0, CASE n WHEN 1 THEN 'open' ELSE 'settled' END, 10, 1, now() + interval '1 hour',
		false, 0, now(), now() + interval '1 hour', CASE n WHEN 1 THEN NULL ELSE now() END FROM ducto.accounts, generate_series(1, 5) n WHERE last_seq = 1;
	UPDATE ducto.accounts SET held = 1 WHERE last_seq = 1 AND balance IN (-2, 10);
});
# without statistics at first
foreach my $known ('', 'with statistics')
{
	$node->safe_psql('postgres', 'VACUUM ANALYZE ducto.accounts, ducto.reservations, ducto.ledger') if $known;
	$found = metrics();
	my $many = pages();
	cmp_ok($many, '<', $few + 2500, "few pages are read ($few, $many) $known");
	cmp_ok(abs($found->{ducto_accounts} - 50003), '<', $known ? 500 : 30000, "accounts, about $known");
}
cmp_ok(abs($found->{ducto_open_holds} - 50000), '<', 5000, 'open holds, about');
cmp_ok(abs($found->{ducto_held_credits} - 50000), '<', 5000, 'what is held, about');
cmp_ok(abs($found->{ducto_accounts_in_debt} - 5000), '<', 2500, 'accounts in debt, about');
cmp_ok(abs($found->{ducto_debt_credits} - 10000), '<', 5000, 'debt, about');
roll_up();
is(metrics()->{ducto_balance_credits}, 125.5 + 45000 * 10 - 5000 * 2, 'the balances are those of the books');

# Names that rules and dashboard use, and what the function gives
my %names = map { (split / /)[0] => 1 } keys %{ metrics() };
my $rules = slurp_file("$example/rules.yml");
my $dashboard = decode_json(slurp_file("$example/dashboard.json"));
my %used = map { $_ => 1 } (join(' ', $rules =~ /expr: (.*)/g, map { map { $_->{expr} } @{ $_->{targets} } } @{ $dashboard->{panels} })) =~ /\b(ducto_\w+)/g;
is(join(' ', grep { !$names{$_} } sort keys %used), '', 'rules and dashboard use figures that there are');
is(scalar @{ [ $rules =~ /^      - alert: \w+\n        expr: .+\n        for: \d+[mh]\n        labels: \{severity: (?:warning|critical)\}\n        annotations:\n          summary: ".+"$/mg ] },
	scalar @{ [ $rules =~ /alert:/g ] }, 'each rule has all its parts');
my (%ids, %places);
foreach my $panel (@{ $dashboard->{panels} })
{
	$ids{ $panel->{id} }++;
	$places{ join ',', @{ $panel->{gridPos} }{qw(x y)} }++;
}
is(scalar(keys %ids) . ' ' . scalar(keys %places), "@{[ scalar @{ $dashboard->{panels} } ]} @{[ scalar @{ $dashboard->{panels} } ]}", 'panels are told apart');

SKIP:
{
	skip 'prometheus-postgres-exporter is not installed', 3 unless -x $exporter;

	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my ($output, $body) = ('', '');
	local $ENV{DATA_SOURCE_NAME} = 'user=exporter dbname=postgres sslmode=disable host=' . $node->host . ' port=' . $node->port;
	my $process = IPC::Run::start([ $exporter, "--extend.query-path=$example/queries.yml", "--web.listen-address=127.0.0.1:$port" ],
		'<', \undef, '>&', \$output);
	foreach (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $answer = HTTP::Tiny->new(timeout => 30)->get("http://127.0.0.1:$port/metrics");
		$body = $answer->{content};
		last if $answer->{success};
		select(undef, undef, undef, 0.1);
		$process->pump_nb;
	}
	$process->kill_kill(grace => 5);
	my %scraped = map { $_ => 1 } $body =~ /^(ducto_\w+)/mg;
	is(join(' ', grep { !$scraped{$_} && $_ ne 'ducto_info' } sort keys %names), '', 'the exporter gives all figures')
		or diag($output);
	like($body, qr/^ducto_accounts\{[^}]*\} 50003$/m, 'as they are');
	like($body, qr/^# TYPE ducto_entries_total counter\n.*^ducto_entries_total\{[^}]*type="usage"[^}]*\} 2$/ms, 'with their kind and labels');
}

done_testing();
