
# Accounts of each kind, for the tests that move them elsewhere: grants of
# several priorities that were burned in part, open and closed reservations, a
# refund, a debt, something that has expired and was swept and something that
# was not. And what must be so wherever they arrive: retries still replay,
# grants are still spent in order, holds still hold, the ledger still refuses
# changes.

package Books;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use Session;
use Test::More;

our @EXPORT = qw(fill content readings goes_on);

my @tables = qw(accounts ledger grants reservations);
my $alice  = "'00000000-0000-4000-8000-00000000000a'";
my $bob    = "'00000000-0000-4000-8000-00000000000b'";
my $carol  = "'00000000-0000-4000-8000-00000000000c'";

# fill makes the data, the functions being in the schema $at.
sub fill
{
	my ($node, $dbname, $at) = @_;

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
	my ($node, $dbname) = @_;
	return $node->safe_psql($dbname, join('; ', map {
		"SELECT '$_', count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM ducto.$_ AS t"
	} @tables));
}

# readings is all that can be read, also at the moment of the call.
sub readings
{
	my ($node, $dbname, $at) = @_;
	return $node->safe_psql($dbname, join('; ', map {
		("SELECT * FROM $at.ducto_get_balance($_)", "SELECT * FROM $at.ducto_list_grants($_)",
			"SELECT * FROM $at.ducto_list_transactions($_)")
	} ($alice, $bob, $carol)));
}

# goes_on proves that a restored database is alive.
sub goes_on
{
	my ($node, $dbname, $at) = @_;
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

1;
