
# What a session needs for many at once: at the end of a batch of 10,000, when
# all is decided and nothing of it is freed, and from batch to batch, where nothing
# may stay. The batches are of all kinds: keys, usages, plans, caps, grants,
# teams, retries and rejections.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

use constant MB => 1024;

plan(skip_all => 'AddressSanitizer takes memory itself') if ($ENV{LD_PRELOAD} // '') =~ /libasan/;

my $node = PostgreSQL::Test::Cluster->new('batch_memory');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION ducto;
	CREATE FUNCTION who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
		AS $$ SELECT ('ba7c0000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
	SELECT FROM ducto_set_active_pricing('{"models": {"m": "input_tokens * 0.00003"}, "min_balance": 0, "plans": {
		"pro": {"name": "Pro", "free_allowance": 0.01, "caps": [{"cap_type": "daily", "cap_limit": 100000}, {"cap_type": "monthly", "cap_limit": 100000, "model": "m"}]}}}');
	SELECT FROM generate_series(1, 10000) n, ducto_add_credits(who(n), 1000);
	SELECT FROM generate_series(1, 5000) n, ducto_set_user_plan(who(n), 'pro');
	SELECT FROM generate_series(1, 10) n, ducto_add_credits(who(n), 1000, 'promo', expires_at => now() + interval '20 days');
	CREATE TABLE team AS SELECT team_id AS id FROM ducto_create_team('Team', 1000000);
	SELECT FROM team, generate_series(1, 10) n, ducto_add_team_member(id, who(n), spend_cap => 100000);
	CREATE TABLE block AS SELECT reservation_id AS id FROM ducto_reserve(who(9000), 900, 'gateway');

	CREATE TABLE large AS
		SELECT jsonb_agg(jsonb_build_object('user_id', who(n), 'idempotency_key', gen_random_uuid(), 'metadata', '{"route": "/v1/chat"}'::jsonb,
			'usage', jsonb_build_object('model', 'm', 'input_tokens', n))) AS charges FROM generate_series(1, 10000) n;
	CREATE TABLE thousand AS
		SELECT jsonb_agg(jsonb_build_object('user_id', who(n), 'amount', 1000000, 'metadata', '{"route": "/v1/chat"}'::jsonb)) AS charges FROM generate_series(6001, 7000) n;
	CREATE FUNCTION small(batch integer) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_agg(jsonb_build_object('user_id', who(1 + n % 12), 'idempotency_key', 'k' || batch - n % 2 || ' ' || n)
			|| CASE n % 4 WHEN 0 THEN '{"usage": {"model": "m", "input_tokens": 7}}'
				WHEN 1 THEN jsonb_build_object('team_id', (SELECT id FROM team), 'amount', 0.01, 'user_id', who(n % 15))
				WHEN 2 THEN jsonb_build_object('amount', 0.01, 'model', 'm') ELSE jsonb_build_object('amount', 200000 * (n % 8) + 0.01) END)
		FROM generate_series(1, 24) n $$;
	CREATE FUNCTION gifts(batch integer) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_agg(jsonb_build_object('user_id', who(n), 'amount', 0.01, 'type', 'promo', 'expires_at', now() + interval '1 day', 'idempotency_key', 'g' || batch))
		FROM generate_series(20, 25) n $$;
	CREATE FUNCTION calls(batch integer) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_agg(jsonb_build_object('key', batch || ' ' || n, 'usage', '{"model": "m", "input_tokens": 3}'::jsonb)) FROM generate_series(1, 12) n $$;
	VACUUM ANALYZE;
});

my $session = Session->new($node);
my $pid = $session->value('SELECT pg_backend_pid()');

# kilobytes is the private memory of the session.
sub kilobytes
{
	my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
	return $kilobytes;
}

# peak_of runs a statement, and returns the memory that the session has gained when it is about to write accounts: someone
# else reads them as a whole.
sub peak_of
{
	my ($statement) = @_;
	my $other = Session->new($node);
	my $before = kilobytes();
	my $peak;

	$other->run('BEGIN; LOCK TABLE ducto.accounts IN SHARE MODE');
	print { $session->{in} } "$statement;\n";
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the batch does not wait';
	$peak = kilobytes() - $before;
	$other->run('COMMIT');
	$other->quit;
	return $peak;
}

# batches makes batches of each kind, from one number to another.
sub batches
{
	my ($from, $to) = @_;

	foreach my $n ($from .. $to)
	{
		$session->run("SELECT count(*) FROM ducto_charge_many(small($n))");
		$session->run("SELECT count(*) FROM ducto_add_credits_many(gifts($n))");
		my ($booked) = $session->run("SELECT booked FROM ducto_settle(who(9000), (SELECT id FROM block), calls($n))");
		die $session->{error}{message} if $session->error;
		die "booked $booked lines" if $booked != 12;
	}
	return;
}

# faults is how many pages the system has given a session so far.
sub faults
{
	my ($of) = @_;

	return (split / /, slurp_file("/proc/$of/stat") =~ s/^.*\) //sr)[7];
}

# contexts is what the session has allocated.
sub contexts
{
	return $session->value('SELECT sum(used_bytes) FROM pg_backend_memory_contexts');
}

# An array that comes as a text takes the server some 30 MB to read, before the call.
my $peak = peak_of('SELECT count(*) FROM ducto_charge_many((SELECT charges FROM large))');
is($session->value('SELECT count(*) FROM ducto.ledger WHERE pricing IS NOT NULL'), 10000, 'the large batch is booked');
note("a batch of 10,000: $peak kB");
cmp_ok($peak, '<=', 64 * MB, 'a batch of 10,000 usages with keys and metadata, half of them with two caps, takes 64 MB at most');

batches(1, 60);
my $before = contexts();
my $resident = kilobytes();
batches(61, 1060);
my $grown = contexts() - $before;
note("1,000 batches of each kind: $grown bytes, and " . (kilobytes() - $resident) . ' kB of the process');
cmp_ok($grown, '<', 16000, 'not 16 bytes a batch stay of 1,000');
cmp_ok(kilobytes() - $resident, '<', MB, 'nor does the process grow by a megabyte');

# A session that charges a thousand at once again and again does so in memory that it has: what is free at the end of a batch is not given
# back to the system, which would clear each page before the next. Charges that are rejected touch no page that others share.
my $other = Session->new($node);
my $other_pid = $other->value('SELECT pg_backend_pid()');
my $thousand = q{SELECT count(error) FROM ducto_charge_many((SELECT charges FROM thousand))};
is($other->value($thousand), 1000, 'all of a thousand are rejected') for 1 .. 5;
my $given = faults($other_pid);
$other->value($thousand) for 1 .. 20;
my $each = (faults($other_pid) - $given) / 20;
note("a batch of 1,000: $each pages of the system");
cmp_ok($each, '<', 100, 'and the next thousand takes hardly a page of the system');
$other->quit;
is($session->value('SELECT count(*) FROM ducto_verify()'), 0, 'nothing to find for the auditor');
$session->quit;
$node->stop;
done_testing();
