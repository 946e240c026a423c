
# Data outlives everything: a dump has all of it, and a restore gives a
# database that goes on as if nothing had happened. Retries still replay, grants
# are still spent in order, holds still hold, the ledger still refuses changes.
#
# An account of each kind is made: grants of several priorities that were
# burned in part, open and closed reservations, a refund, a debt, something that
# has expired and was swept and something that was not. Then it travels: as a
# plain script, in the custom format with two jobs, as schema and data apart, to
# a database where the extension has another schema.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $node   = PostgreSQL::Test::Cluster->new('dump');
my $dir    = PostgreSQL::Test::Utils::tempdir();
my @tables = qw(accounts ledger grants reservations);
my $alice  = "'00000000-0000-4000-8000-00000000000a'";
my $bob    = "'00000000-0000-4000-8000-00000000000b'";
my $carol  = "'00000000-0000-4000-8000-00000000000c'";

# fill makes the data, the functions being in the schema $at.
sub fill
{
	my ($dbname, $at) = @_;

	$node->safe_psql($dbname, qq{
		SELECT $at.ducto_add_credits($alice, 100, 'purchase', '{"order": "o-1"}', idempotency_key => 'order o-1');
		SELECT $at.ducto_add_credits($alice, 20, 'promo', expires_at => now() + interval '2 days', priority => 10, idempotency_key => 'promo');
		SELECT $at.ducto_add_credits($alice, 20, 'subscription', expires_at => now() + interval '1 day');
		SELECT $at.ducto_add_credits($alice, 7, 'signup_bonus', expires_at => now() + interval '1 hour', priority => 90);
		SELECT $at.ducto_charge($alice, 25.5, 'image 1', '{"prompt": "a cat"}', 'painter-1');
		SELECT $at.ducto_reserve($alice, 10, 'chat', ttl_seconds => 86400, idempotency_key => 'chat 1');
		SELECT $at.ducto_deduct($alice, reservation_id, 4, 'chat 2', overrun => 'clamp') FROM $at.ducto_reserve($alice, 5, 'chat', idempotency_key => 'chat 2');
		SELECT $at.ducto_deduct($alice, reservation_id, 0, 'chat 3') FROM $at.ducto_reserve($alice, 5, 'chat', idempotency_key => 'chat 3');
		SELECT $at.ducto_release($alice, reservation_id) FROM $at.ducto_reserve($alice, 5);
		SELECT $at.ducto_refund(id, 3.25, 'a half cat', idempotency_key => 'sorry') FROM ducto.ledger WHERE idempotency_key = 'image 1';
		SELECT $at.ducto_deduct($bob, reservation_id, 30, overrun => 'full')
			FROM $at.ducto_reserve($bob, 10, billing_mode => 'overdraft', overdraft_floor => -50);
		SELECT $at.ducto_add_credits($carol, 10, 'promo', expires_at => clock_timestamp() + interval '200 ms');
		SELECT $at.ducto_add_credits($carol, 10, 'promo', expires_at => clock_timestamp() + interval '500 ms');
		SELECT $at.ducto_reserve($carol, 2, ttl_seconds => 1, min_balance => 0);
		SELECT pg_sleep(0.3);
		SELECT $at.ducto_sweep_expired();
		SELECT pg_sleep(1);
	});
	return;
}

# content is a checksum of every row of the tables.
sub content
{
	my ($dbname) = @_;
	return join("\n", map {
		"$_ " . $node->safe_psql($dbname,
			"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM ducto.$_ AS t")
	} @tables);
}

# readings is all that can be read, also at the moment of the call.
sub readings
{
	my ($dbname, $at) = @_;
	return join("\n", map {
		$node->safe_psql($dbname, "SELECT * FROM $at.ducto_get_balance($_)"),
		$node->safe_psql($dbname, "SELECT * FROM $at.ducto_list_grants($_)"),
		$node->safe_psql($dbname, "SELECT * FROM $at.ducto_list_transactions($_)")
	} ($alice, $bob, $carol));
}

# goes_on proves that a restored database is alive.
sub goes_on
{
	my ($dbname, $at) = @_;
	my $session = Session->new($node, dbname => $dbname);
	my ($charge, $replay, $burned);

	is($session->value("SELECT count(*) FROM $at.ducto_verify()"), 0, 'nothing to find for the auditor');

	# keys
	$replay = $session->row("SELECT transaction_id, amount, balance_after, idempotent FROM $at.ducto_charge($alice, 1, 'image 1')");
	is("@$replay[1 .. 3]", '25.5000 121.5000 t', 'a charge is replayed');
	is($replay->[0], $session->value("SELECT id FROM ducto.ledger WHERE idempotency_key = 'image 1'"), '... as the entry that it made');
	is($session->value("SELECT idempotent FROM $at.ducto_add_credits($alice, 100, 'purchase', idempotency_key => 'order o-1')"), 't', '... a purchase');
	is(join(' ', @{ $session->row("SELECT amount, reserved, idempotent FROM $at.ducto_reserve($alice, 99, idempotency_key => 'chat 1')") }),
		'10.0000 10.0000 t', '... a reserve');
	is($session->value("SELECT idempotent FROM ducto.reservations, $at.ducto_deduct($alice, id, 0, 'chat 3') WHERE idempotency_key = 'chat 3'"),
		't', '... a deduct of nothing');
	is($session->value("SELECT error FROM $at.ducto_charge($alice, 1, 'sorry')"), 'idempotency_conflict', '... and a key is not used for something else');

	# what is held, what expired
	is($session->value("SELECT available FROM $at.ducto_get_balance($alice)"),
		$session->value("SELECT balance - held FROM ducto.accounts WHERE id = $alice"), 'what was held is held');
	is($session->value("SELECT balance FROM $at.ducto_get_balance($carol)"), '0.0000', 'what has expired has');
	is($session->value("SELECT expired_amount FROM $at.ducto_sweep_expired()"), '10.0000', '... and can be swept');

	# grants: promo has less than a credit left, then comes the subscription
	$charge = $session->value("SELECT transaction_id FROM $at.ducto_charge($alice, 18, 'after the move')");
	$burned = $session->value("SELECT string_agg(type || ' ' || amount, ', ' ORDER BY n)"
		  . ' FROM (SELECT g.type, b.amount, b.n FROM ducto.ledger AS l, unnest(l.burned_grants, l.burned_amounts) WITH ORDINALITY AS b(id, amount, n)'
		  . " JOIN ducto.grants AS g ON g.id = b.id WHERE l.id = '$charge') AS burned");
	is($burned, 'subscription 13.7500, signup_bonus 4.2500', 'grants are spent in order');
	is($session->value("SELECT amount FROM $at.ducto_refund('$charge')"), '18.0000', '... and credit goes back');
	is($session->value("SELECT count(*) FROM $at.ducto_list_grants($alice)"), 2, '... to them');

	# reservations
	is(join(' ', @{ $session->row("SELECT d.amount, d.error IS NULL FROM ducto.reservations AS r, $at.ducto_deduct($alice, r.id, 9) AS d WHERE r.idempotency_key = 'chat 1'") }),
		'9.0000 t', 'a reservation is settled');
	is($session->value("SELECT new_balance FROM $at.ducto_add_credits($bob, 30, 'purchase')"), '0.0000', 'a debt is paid');

	# the ledger
	foreach my $change ("UPDATE ducto.ledger SET amount = 0", "DELETE FROM ducto.ledger", "TRUNCATE ducto.ledger",
		"SET session_replication_role = replica; DELETE FROM ducto.ledger")
	{
		$session->run($change);
		is($session->sqlstate, '55000', "the ledger refuses: $change");
	}
	$session->run('RESET session_replication_role');
	is($session->value("SELECT count(*) FROM $at.ducto_verify()"), 0, 'nothing to find for the auditor afterwards');
	$session->quit;
	return;
}

# restored compares a restored database with the one that was dumped.
sub restored
{
	my ($name, $from, $to, $at) = @_;

	subtest $name => sub {
		is(content($to), content($from), 'the tables are equal');
		is(readings($to, $at), readings($from, $at), 'what can be read is equal');
		goes_on($to, $at);
	};
	return;
}

# dump and restore run the programs; a restore must not say anything.
sub dump_to
{
	my ($file, @options) = @_;
	$node->command_ok([ 'pg_dump', '-f', "$dir/$file", @options ], "pg_dump @options");
	return;
}

sub restore_script
{
	my ($dbname, @files) = @_;

	foreach my $file (@files)
	{
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', "$dir/out", '-d', $dbname, '-f', "$dir/$file" ],
			"restore $file into $dbname");
	}
	return;
}

$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nautovacuum = off");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('one', 'CREATE EXTENSION ducto');
fill('one', 'public');

subtest 'what is dumped is what it should be' => sub {
	is($node->safe_psql('one', "SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM ducto.reservations"),
		'open released settled', 'reservations of each kind');
	is($node->safe_psql('one', 'SELECT * FROM ducto_verify()'), '', 'nothing to find for the auditor');
	# what ducto_rollup makes of the ledger is made anew
	is($node->safe_psql('one', "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class AS c"
			  . " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'ducto' AND c.relkind IN ('r', 'S', 'p')"
			  . " AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'ducto' AND c.oid = ANY (extconfig))"),
		'usage_rollup', 'no other table and no sequence is left out of a dump');
	is($node->safe_psql('one', "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind IN ('r', 'm', 'S', 'f')"
			  . " AND relnamespace = 'public'::regnamespace"),
		'', 'and none is elsewhere');
};

dump_to('plain.sql', '-d', 'one');
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(plain custom parts early);
restore_script('plain', 'plain.sql');
restored('a plain script', 'one', 'plain', 'public');

dump_to('custom', '-Fc', '-d', 'one');
$node->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', 'custom', "$dir/custom" ], 'pg_restore -j 2');
restored('the custom format with two jobs', 'one', 'custom', 'public');

dump_to('schema.sql', '--schema-only', '-d', 'one');
dump_to('data.sql', '--data-only', '-d', 'one');
restore_script('parts', 'schema.sql', 'data.sql');
restored('schema and data apart', 'one', 'parts', 'public');

$node->safe_psql('early', 'CREATE EXTENSION ducto');
restore_script('early', 'data.sql');
restored('the data alone, the extension being there', 'one', 'early', 'public');

# A dump of what was restored is the dump that it was restored from.
$node->safe_psql('postgres', 'CREATE DATABASE again');
restore_script('again', 'plain.sql');
dump_to('again.sql', '-d', 'again');
my ($first, $second) = map {
	join("\n", grep { !/^\\(?:un)?restrict / } split /\n/, slurp_file("$dir/$_"))
} ('plain.sql', 'again.sql');
is($second, $first, 'a dump of the restored database is the same dump');

subtest 'another schema' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
	$node->safe_psql('postgres', 'CREATE DATABASE arrived');
	$node->safe_psql('elsewhere', 'CREATE SCHEMA api; CREATE EXTENSION ducto SCHEMA api');
	fill('elsewhere', 'api');
	is($node->safe_psql('elsewhere', "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"),
		'0', 'nothing is in public');
	dump_to('elsewhere', '-Fc', '-d', 'elsewhere');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'arrived', "$dir/elsewhere" ], 'pg_restore');
	restored('... travels too', 'elsewhere', 'arrived', 'api');
};

subtest 'drop and create again' => sub {
	my $session = Session->new($node, dbname => 'plain');

	is($session->value("SELECT error FROM ducto_charge($alice, 1)"), undef, 'a session has used it');
	$session->run('DROP EXTENSION ducto');
	is($session->sqlstate, '00000', 'DROP EXTENSION');
	is($session->value("SELECT count(*) FROM pg_namespace WHERE nspname = 'ducto'"), 0, '... takes the tables away');
	is($session->value("SELECT count(*) FROM pg_proc WHERE proname LIKE 'ducto%'"), 0, '... and the functions');
	is($session->value("SELECT count(*) FROM pg_type WHERE typname LIKE '%ducto%'"), 0, '... and the types');
	$session->run('CREATE EXTENSION ducto');
	is($session->sqlstate, '00000', 'CREATE EXTENSION again');
	is($session->value("SELECT balance FROM ducto_get_balance($alice)"), '0.0000', '... is empty, in the same session');
	is(join(' ', @{ $session->row("SELECT new_balance, idempotent FROM ducto_add_credits($alice, 5, 'purchase', idempotency_key => 'order o-1')") }),
		'5.0000 f', '... and works there');
	is($session->value("SELECT balance_after FROM ducto_charge($alice, 1)"), '4.0000', '... with plans that were kept before');
	is($session->value('SELECT count(*) FROM ducto_verify()'), 0, 'nothing to find for the auditor');
	$session->quit;
};

$node->stop;
done_testing();
