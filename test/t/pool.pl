
# The jack hammer for teams: 64 clients, each a member of the same pool, all at
# once. They charge, reserve and settle in parts, release, overrun, retry under
# keys, some of which several members use, leave the team and come back, and roll
# transactions and savepoints back. Credits come in too slowly for all of it, and
# most members have a cap, so that both ends are met all the time. A second team
# has the same members and the same keys.
#
# Then the money is counted from outside. Each client notes what it was told in
# a table of its own, in the same transaction as the call: what was answered and
# committed is there, what was rolled back is not. From the notes alone follows
# what is in each pool, what each member spent and that no cap was passed; after
# that ducto_verify must agree. The server's log must show no error and no
# deadlock, and everybody must have had a share.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS      => 64;
use constant TRANSACTIONS => 60;    # of each client

my $node = PostgreSQL::Test::Cluster->new('team');

# Member n has a cap of 10 + n credits in the first team, but every eighth none;
# in the second all have 15.
my $set_up = q{
	CREATE EXTENSION ducto;
	CREATE FUNCTION who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
		AS $$ SELECT ('7ea70000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
	CREATE TABLE teams AS SELECT n, (ducto_create_team('Team ' || n, 600)).team_id AS id FROM generate_series(1, 2) AS n;
	CREATE FUNCTION team(n integer) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT id FROM teams WHERE teams.n = $1 $$;
	CREATE FUNCTION cap(team integer, member integer) RETURNS numeric LANGUAGE sql IMMUTABLE
		AS $$ SELECT CASE WHEN team = 2 THEN 15 WHEN member % 8 > 0 THEN 10 + member END::numeric $$;
	CREATE TABLE noted (what text, team integer, member integer, key text, amount numeric, id uuid, balance numeric,
		idempotent boolean, error text, cap_warning text);
	SELECT ducto_add_team_member(team(t), who(n), spend_cap => cap(t, n)) FROM generate_series(1, 2) AS t, generate_series(0, 63) AS n;
	INSERT INTO noted (what, team, amount) SELECT 'credit', n, 600 FROM teams;
};

my $charge = q{
	INSERT INTO noted SELECT 'debit', :t, :client_id, r.key, amount, transaction_id, team_balance_after, idempotent, error
		FROM (SELECT CASE WHEN :k > 0 THEN 'charge ' || :k END AS key) AS r,
			ducto_deduct_team(team(:t), who(:client_id), :a / 10000.0, '{}', r.key);
};

# deduct notes the settling of the reservation id.
sub deduct
{
	my ($options) = @_;
	return qq{
		INSERT INTO noted SELECT 'debit', :t, :client_id, NULL, amount, transaction_id, balance_after, idempotent, error, cap_warning
			FROM ducto_deduct(who(:client_id), ':id', $options);
	};
}

my $draw = q{
	\set t random(1, 10)
	\set t (:t + 12) / 11
	\set a random(1, 60000)
};

my %scripts = (
	'credit@2' => q{
		\set t random(1, 2)
		\set a random(1, 400000)
		\set k random(1, 40)
		INSERT INTO noted SELECT 'credit', :t, NULL, 'credit ' || :k, amount, transaction_id, new_balance, idempotent, error
			FROM ducto_add_team_credits(team(:t), :a / 10000.0, idempotency_key => 'credit ' || :k);
	},

	# a third with a key, of a hundred keys for all members, and retried at once
	'charge@8' => $draw . q{
		\set k random(-200, 100)
	} . $charge . q{
		\if :k > 0
	} . $charge . q{
		\endif
	},

	# what is charged between savepoints is charged or not with all around it
	'rolled_back@3' => $draw . q{
		\set k 0
		\set end random(0, 1)
		BEGIN;
	} . $charge . q{
		SAVEPOINT s;
	} . $charge . q{
		ROLLBACK TO s;
	} . $charge . q{
		\if :end
			COMMIT;
		\else
			ROLLBACK;
		\endif
	},

	# reserved in one transaction, settled in others, or left to expire
	'reserve@8' => $draw . q{
		\set part random(1, :a)
		\set how random(1, 6)
		WITH r AS MATERIALIZED (SELECT * FROM ducto_reserve(who(:client_id), :a / 10000.0, ttl_seconds => 2, min_balance => 0,
				max_concurrent => CASE WHEN :how = 6 THEN 5 END, team_id => team(:t))),
			n AS (INSERT INTO noted SELECT 'reserve', :t, :client_id, NULL, amount, NULL, balance, idempotent, error FROM r)
		SELECT CASE WHEN error IS NULL THEN :how ELSE 0 END AS how, coalesce(reservation_id, who(0)) AS id FROM r \gset
		\if :how = 1
	} . deduct(':part / 20000.0 + 0.0001, final => false') . q{
			SELECT released FROM ducto_release(who(:client_id), ':id');
		\elif :how = 2
			BEGIN;
			SAVEPOINT s;
			SELECT error FROM ducto_deduct(who(:client_id), ':id', :part / 10000.0);
			ROLLBACK TO s;
	} . deduct(':part / 10000.0') . q{
			COMMIT;
		\elif :how = 3
	} . deduct(":a / 10000.0 + 10, overrun => 'clamp'") . q{
		\elif :how = 4
			SELECT error FROM ducto_deduct(who((:client_id + 1) % 64), ':id', 1);
			SELECT released FROM ducto_release(who(:client_id), ':id');
		\elif :how = 5
	} . deduct(':part / 10000.0') . deduct(':part / 10000.0') . q{
		\endif
	},

	# parts of debits that anybody made, more often than there is to refund
	'refund@1' => q{
		\set a random(1, 30000)
		SELECT coalesce((SELECT id FROM (SELECT id FROM noted WHERE what = 'debit' AND id IS NOT NULL LIMIT 50) AS n
			ORDER BY random() LIMIT 1), who(0)) AS id \gset
		INSERT INTO noted SELECT 'refund', (SELECT n FROM teams WHERE id = team_id), right(user_id::text, 12)::integer, NULL, amount,
				refund_transaction_id, new_balance, idempotent, error
			FROM ducto_refund(':id', :a / 10000.0);
	},

	# gone, and back with the same cap
	'leave@1' => $draw . q{
		\set k 0
		SELECT ducto_remove_team_member(team(:t), who(:client_id));
	} . $charge . q{
		SELECT error FROM ducto_add_team_member(team(:t), who(:client_id), 'back', cap(:t, :client_id));
	},
	# whenever one looks, all is well; else there is an error in the log
	'look@1' => q{
		SELECT 1 / CASE WHEN balance < 0 OR available < 0 OR member_count NOT BETWEEN 1 AND 64 THEN 0 ELSE 1 END FROM ducto_get_team_balance(team(1));
		SELECT count(*) FROM ducto_get_team_members(team(1));
		SELECT 1 / CASE WHEN EXISTS (SELECT FROM ducto_verify(team(2))) THEN 0 ELSE 1 END;
		SELECT ducto_expire_reservations();
	});

# nothing is shown when a query finds nothing.
sub nothing
{
	my ($query, $name) = @_;
	return is($node->safe_psql('postgres', $query), '', $name);
}

# some is shown when a query finds anything, for a test that met nothing proves
# nothing.
sub some
{
	my ($query, $name) = @_;
	return cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM $query"), '>', 0, $name);
}

# count_money proves from the notes what the extension says.
sub count_money
{
	my ($when) = @_;

	nothing(q{
		SELECT team, sum(CASE what WHEN 'debit' THEN -amount ELSE amount END) FROM noted
		WHERE what <> 'reserve' AND error IS NULL AND idempotent IS NOT TRUE
		GROUP BY team HAVING sum(CASE what WHEN 'debit' THEN -amount ELSE amount END) <> (ducto_get_team_balance(team(team))).balance},
		"$when: what was acknowledged is what is in each pool");
	nothing(q{
		SELECT t.n, m.user_id, m.total_spent FROM teams AS t, ducto_get_team_members(t.id) AS m
		WHERE m.total_spent <> (SELECT coalesce(sum(CASE what WHEN 'debit' THEN amount ELSE -amount END), 0) FROM noted AS n
			WHERE n.team = t.n AND who(n.member) = m.user_id AND what IN ('debit', 'refund') AND error IS NULL AND idempotent IS NOT TRUE)},
		"$when: what was acknowledged is what each member spent");
	nothing(q{
		SELECT n.id FROM noted AS n LEFT JOIN ducto.ledger AS l ON l.id = n.id AND l.account_id = team(n.team)
			AND l.actor IS NOT DISTINCT FROM who(n.member) AND abs(l.amount) = n.amount AND l.balance_after = n.balance
			AND l.idempotency_key IS NOT DISTINCT FROM n.key
		WHERE n.id IS NOT NULL AND l.id IS NULL},
		"$when: every answer, a replay too, is the ledger's entry, team and member");
	nothing(q{
		SELECT l.id, count(n.id) FROM ducto.ledger AS l LEFT JOIN noted AS n ON n.id = l.id AND NOT n.idempotent
		WHERE l.seq > 1 GROUP BY l.id HAVING count(n.id) <> 1},
		"$when: every entry was acknowledged as new exactly once");
	nothing(q{
		SELECT team, key FROM noted WHERE key IS NOT NULL AND error IS NULL
		GROUP BY team, key HAVING count(DISTINCT id) <> 1 OR count(DISTINCT member) > 1 OR count(*) FILTER (WHERE NOT idempotent) <> 1},
		"$when: of all calls with one key on one team, one took effect, and only its member was told of it");
	nothing('SELECT account_id, seq, balance_after FROM ducto.ledger WHERE balance_after < 0',
		"$when: no pool was ever below zero");

	# A debit without a warning left the member within the cap, with all that was
	# charged and refunded before it.
	nothing(q{
		SELECT team, member, id, spent FROM (
			SELECT n.*, -sum(l.amount) OVER (PARTITION BY n.team, n.member ORDER BY l.seq) AS spent
			FROM ducto.ledger AS l JOIN noted AS n ON n.id = l.id AND NOT n.idempotent WHERE n.what <> 'credit') AS s
		WHERE what = 'debit' AND cap_warning IS NULL AND spent > cap(team, member)},
		"$when: no member passed a cap unwarned");
	nothing('SELECT * FROM ducto_verify()', "$when: nothing to find for the auditor");
	return;
}

# hammer lets all clients run at once.
sub hammer
{
	my ($name, @options) = @_;
	my $count = CLIENTS * TRANSACTIONS;

	$node->pgbench(join(' ', '-n', '-c', CLIENTS, '-j 4', '-t', TRANSACTIONS, @options),
		0, [qr{processed: $count/$count}], [qr{^$}], $name,
		{ map { (my $file = "$name $_") =~ tr/ /_/; $file => $scripts{$_} } keys %scripts });
	return;
}

$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nmax_connections = 80\ndeadlock_timeout = 200ms");
$node->start;
$node->safe_psql('postgres', $set_up);

hammer('read committed');
count_money('read committed');
some("noted WHERE what = 'debit' AND error = '$_'", "some charges met $_")
  foreach qw(cap_reached insufficient_credits idempotency_conflict user_not_in_team);
some("noted WHERE what = 'reserve' AND error = '$_'", "some reservations met $_") foreach qw(cap_reached insufficient_credits);
some("noted WHERE idempotent AND what = '$_'", "some were retries: $_") foreach qw(credit debit);
some("noted WHERE what = 'refund' AND error IS NULL", 'some were refunded');
some('noted WHERE cap_warning IS NOT NULL', 'some work cost more than the cap');
some("ducto.reservations WHERE state = '$_'", "some reservations were $_") foreach qw(settled released);

# The lock is fair enough for everybody to be served.
is($node->safe_psql('postgres', q{SELECT count(DISTINCT member) FROM noted WHERE what = 'debit' AND error IS NULL}),
	CLIENTS, 'every member had a share');

# All that lasts seconds ends.
$node->safe_psql('postgres', 'SELECT pg_sleep(2.1); SELECT ducto_expire_reservations()');
nothing('SELECT id FROM ducto.accounts WHERE held <> 0', 'at the end nothing is held');
nothing('SELECT team_id, user_id FROM ducto.team_members WHERE held <> 0', '... by no member');
some("ducto.reservations WHERE state = 'expired'", '... and some reservations expired');
count_money('at the end');

my $log = slurp_file($node->logfile);
unlike($log, qr/deadlock detected/, 'no deadlock');
unlike($log, qr/(?:ERROR|FATAL|PANIC):/, 'no error in the log of the server');

$node->stop;
done_testing();
