
# Logical replication of the tables: what was there is copied, what happens
# afterwards is streamed, and each transaction arrives whole. The subscriber
# shows what the publisher shows, its auditor finds nothing at any moment, and
# its analytics, which have a rollup of their own, are right. When the publisher
# is gone the subscriber goes on as if it had always been the one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $alice  = "'00000000-0000-4000-8000-00000000000a'";
my $window = "'2020-01-01', now() + interval '1 day'";
my $from   = PostgreSQL::Test::Cluster->new('publisher');
my $to     = PostgreSQL::Test::Cluster->new('subscriber');

# A rollup is made of the ledger that it is next to.
my @tables = qw(accounts alerts events grants ledger plan_allowances plans pricing reservations spend_caps team_keys team_members teams usage_lines);
my @analytics = ("ducto_spend_by_user($window)", "ducto_spend_by_model($window)", "ducto_top_users(3, $window)",
	"ducto_daily_spend($window)", "ducto_aggregate_stats($window)");

# What the clients do.
my $load = q{
	\set u random(1, 8)
	\set a random(1, 90000)
	\set how random(1, 6)
	\set k random(1, 60)
	BEGIN;
	SELECT ducto_charge(who(:u), :a / 10000.0, 'key ' || :k, model => 'm' || (:how)::text);
	\if :how = 1
		SELECT ducto_add_credits(who(:u), :a / 5000.0, 'promo', expires_at => clock_timestamp() + interval '700 ms');
	\elif :how = 2
		SELECT ducto_deduct(who(:u), reservation_id, :a / 20000.0) FROM ducto_reserve(who(:u), :a / 10000.0) WHERE error IS NULL;
	\elif :how = 3
		SELECT ducto_reserve(who(:u), :a / 10000.0, ttl_seconds => 1);
	\elif :how = 4
		SELECT ducto_refund(id, 0.0001) FROM (SELECT id FROM ducto.ledger WHERE account_id = who(:u) AND type = 'usage' AND amount < 0
			ORDER BY seq DESC LIMIT 1) AS l;
	\elif :how = 5
		SELECT ducto_deduct_team(team_id, who(:u), :a / 10000.0, '{}', NULL, 'm5') FROM ducto.team_members WHERE user_id = who(:u);
	\endif
	\if :how = 6
		ROLLBACK;
	\else
		COMMIT;
	\endif
};

# content is a checksum of every row of the tables. What a server numbers by
# its own transactions is not compared.
sub content
{
	my ($node) = @_;
	return $node->safe_psql('postgres', join('; ', map {
		"SELECT '$_', count(*), md5(string_agg(row::text, ',' ORDER BY row::text)) FROM (SELECT to_jsonb(t) - 'xact' AS row FROM ducto.$_ AS t) AS r"
	} @tables));
}

# readings is what the functions show.
sub readings
{
	my ($node, @calls) = @_;
	return $node->safe_psql('postgres', join('; ', map { "SELECT * FROM $_ AS r" } @calls));
}

# equal compares the two when everything has arrived.
sub equal
{
	my ($when) = @_;

	$from->wait_for_catchup('ducto');
	is(content($to), content($from), "$when: the tables are equal");
	is(readings($to, @analytics), readings($from, @analytics), '... and the analytics');
	my @accounts = map { ("ducto_get_balance(who($_))", "ducto_list_grants(who($_))") } (1 .. 8);
	is(readings($to, @accounts), readings($from, @accounts), '... and what the accounts show');
	is($to->safe_psql('postgres', 'SELECT * FROM ducto_verify()'), '', '... and nothing to find for the auditor');
	return;
}

$from->init(allows_streaming => 'logical');
$to->init;
foreach my $node ($from, $to)
{
	$node->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off\nwal_retrieve_retry_interval = 100ms");
	$node->start;
	$node->safe_psql('postgres', q{
		CREATE EXTENSION ducto;
		CREATE FUNCTION who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
			AS $$ SELECT ('10610000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
	});
}
$from->safe_psql('postgres', qq{
	SELECT ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.001"},
		"plans": {"pro": {"name": "Pro", "free_allowance": 30, "features": {"agents": true}}}}');
	SELECT ducto_add_credits(who(n), 150, 'purchase') FROM generate_series(1, 8) AS n;
	SELECT ducto_set_user_plan(who(1), 'pro');
	SELECT ducto_set_spend_cap(who(2), 'daily', 60);
	SELECT ducto_add_team_member(t.team_id, who(n)) FROM ducto_create_team('Team', 200) AS t, generate_series(1, 8) AS n;
	SELECT ducto_charge(who(n), 7, 'before', model => 'm0') FROM generate_series(1, 8) AS n;
	SELECT ducto_add_credits($alice, 100, 'purchase', idempotency_key => 'order');
	SELECT ducto_add_credits($alice, 20, 'promo', expires_at => now() + interval '1 day', priority => 1);
	SELECT ducto_charge($alice, 25, 'image');
	SELECT ducto_reserve($alice, 10, 'chat', ttl_seconds => 3600, idempotency_key => 'held');
	SELECT ducto_rollup();
	CREATE PUBLICATION ducto FOR TABLE @{[ join(', ', map { "ducto.$_" } @tables) ]};
});
is($from->safe_psql('postgres', q{
	SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind IN ('r', 'p', 'S')
		AND NOT EXISTS (SELECT FROM pg_publication_rel WHERE prrelid = pg_class.oid)}),
	'test_clock usage_rollup', 'no other table and no sequence is left out');

# load starts clients; loaded waits for their end.
my $file = PostgreSQL::Test::Utils::tempdir() . '/load';
append_to_file($file, $load);

sub load
{
	my ($output, $errors) = ('', '');
	my $process = IPC::Run::start(
		[ $from->installed_command('pgbench'), '-n', '-c', 4, '-t', 200, '-f', $file, $from->connstr('postgres') ],
		'>', \$output, '2>', \$errors);
	return { process => $process, output => \$output, errors => \$errors };
}

sub loaded
{
	my ($clients) = @_;
	IPC::Run::finish($clients->{process});
	like(${ $clients->{output} }, qr{^number of transactions actually processed: 800/800$}m, 'the clients are served')
	  or diag(${ $clients->{errors} });
	$from->safe_psql('postgres', 'SELECT pg_sleep(1.1)');    # all that expires has
	return;
}

# The clients begin before the copy does and go on while it is made.
my $clients = load();
$to->safe_psql('postgres', "CREATE SUBSCRIPTION ducto CONNECTION '" . $from->connstr . " dbname=postgres' PUBLICATION ducto");
ok($to->poll_query_until('postgres', "SELECT count(*) = @{[ scalar @tables ]} FROM pg_subscription_rel WHERE srsubstate IN ('r', 's')"),
	'the tables are copied');
loaded($clients);
equal('copied');

# Each transaction arrives whole: whenever one looks, all is well.
my $found = '';
$clients = load();
do
{
	$found .= $to->safe_psql('postgres', 'SELECT * FROM ducto_verify()');
	$clients->{process}->pump_nb;
} while $clients->{process}->pumpable;
loaded($clients);
is($found, '', 'the auditor of the subscriber found nothing while changes came in');
equal('streamed');

$to->safe_psql('postgres', 'SELECT ducto_rollup()');
equal('rolled up by the subscriber');
$to->safe_psql('postgres', 'SELECT ducto_rollup_rebuild()');
equal('rolled up anew');
$from->safe_psql('postgres', 'CALL ducto_sweep()');
equal('swept by the publisher');
is($to->safe_psql('postgres', "SELECT count(*) > 0 FROM ducto.ledger WHERE type = 'expiry'"), 't', 'some credit has expired');

# One that comes late, with the ledger of a server whose transactions have other numbers.
$to->stop('fast');
$from->safe_psql('postgres', "SELECT ducto_charge(who(n), 0.5, 'late') FROM generate_series(1, 8) AS n");
$to->start;
equal('after a pause');

# The publisher is gone.
$from->stop('fast');
$to->safe_psql('postgres', $_) foreach ('ALTER SUBSCRIPTION ducto DISABLE', 'ALTER SUBSCRIPTION ducto SET (slot_name = NONE)', 'DROP SUBSCRIPTION ducto');
my $session = Session->new($to);
is(join(' ', @{ $session->row("SELECT amount, balance_after, idempotent FROM ducto_charge($alice, 1, 'image')") }),
	'25.0000 95.0000 t', 'the subscriber takes over: a key is known');
is($session->value("SELECT idempotent FROM ducto_add_credits($alice, 100, 'purchase', idempotency_key => 'order')"), 't', '... a purchase is');
is(join(' ', @{ $session->row("SELECT amount, idempotent FROM ducto_reserve($alice, 9, idempotency_key => 'held')") }), '10.0000 t', '... a reserve is');
is(join(' ', @{ $session->row("SELECT d.amount, d.balance_after FROM ducto.reservations AS r, ducto_deduct($alice, r.id, 8) AS d WHERE r.idempotency_key = 'held'") }),
	'8.0000 87.0000', '... a reservation is settled');
is($session->value("SELECT error FROM ducto_charge($alice, 87.0001)"), 'insufficient_credits', '... limits hold');
is($session->value("SELECT error FROM ducto_charge(who(2), 60)"), 'cap_reached', '... and caps');
is($session->value("SELECT plan_id FROM ducto_get_user_plan(who(1))"), 'pro', '... and plans');
is($session->value("SELECT amount FROM ducto_charge_usage($alice, '{\"model\": \"m\", \"input_tokens\": 2000}')"), '2.0000', '... and pricing');
is($session->value("SELECT r.amount FROM ducto.ledger AS l, ducto_refund(l.id) AS r WHERE l.idempotency_key = 'image'"), '25.0000', '... a charge is refunded');
$session->run('CALL ducto_sweep()');
is($session->sqlstate, '00000', '... it sweeps');
$session->run('DELETE FROM ducto.ledger');
is($session->sqlstate, '55000', '... the ledger refuses changes');
is($session->value("SELECT sum(total_spend) FROM ducto_daily_spend($window)"),
	$session->value("SELECT -sum(amount) FROM ducto.ledger WHERE type = 'usage'"), '... what analytics show is what was spent');
is(join("\n", $session->run('SELECT * FROM ducto_verify()')), '', '... nothing to find for the auditor');
$session->quit;
$to->stop;
done_testing();
