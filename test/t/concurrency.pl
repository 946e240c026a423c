
# The jack hammer: many clients on few accounts, all at once and all there is:
# credits, charges, reservations that are settled in parts, released or left
# to expire, refunds, retries under the same keys, transactions and savepoints
# that are rolled back, sweeps, users whose first calls overlap, teams whose
# members have caps, and users with plans and spend caps.
#
# Then the money is counted from outside. Each client notes what it was told in
# a table of its own, in the same transaction as the call: what was answered
# and committed is there, what was rolled back is not. The notes alone must
# give every balance, whatever the extension says of itself; and after that
# ducto_verify must agree. The server's log must show no error: no deadlock, no
# constraint that saved the day.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant CLIENTS      => 12;
use constant TRANSACTIONS => 250;    # of each client

my $node = PostgreSQL::Test::Cluster->new('hammer');

# Users 7 to 10 have a spend cap, 7 and 8 a plan with an allowance too: a hold
# that it backed can cost credits in the end, beyond the cap, when something else
# used it up. Teams 11 and 12 have users 1 to 10 as members with caps. None of
# them ever falls below zero.
use constant ALLOWANCE  => 30;
use constant SPEND_CAP  => 90;
use constant MEMBER_CAP => 25;

# Users 1 to 4 never fall below zero. Users 5 and 6 may be overdrawn to -50, and
# newcomers, numbered from 100001, to -3.
my $set_up = q{
	CREATE EXTENSION ducto;
	CREATE FUNCTION who(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
		RETURN ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid;
	CREATE TABLE noted (what text, account uuid, key text, amount numeric, id uuid, balance numeric,
		idempotent boolean, error text, reservation uuid, credit_expires boolean);
	SELECT ducto_add_credits(who(n), 60, 'purchase') FROM generate_series(1, 6) AS n;
	INSERT INTO noted SELECT 'credit', who(n), NULL, 60 FROM generate_series(1, 6) AS n;
	ALTER TABLE noted ADD member uuid, ADD allowance numeric DEFAULT 0;
	CREATE TABLE teams AS SELECT n, (ducto_create_team('Team ' || n)).team_id AS id FROM generate_series(11, 12) AS n;
	CREATE FUNCTION team(n integer) RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT id FROM teams WHERE teams.n = $1 $$;
	SELECT ducto_add_team_credits(id, 200) FROM teams;
	INSERT INTO noted SELECT 'credit', id, NULL, 200 FROM teams;
	SELECT ducto_add_team_member(id, who(m), spend_cap => MEMBER_CAP) FROM teams, generate_series(1, 10) AS m;
	SELECT ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"pro": {"name": "Pro", "free_allowance": ALLOWANCE}}}');
	SELECT ducto_add_credits(who(n), 120, 'purchase') FROM generate_series(7, 10) AS n;
	INSERT INTO noted SELECT 'credit', who(n), NULL, 120 FROM generate_series(7, 10) AS n;
	SELECT ducto_set_user_plan(who(n), CASE WHEN n < 9 THEN 'pro' END), ducto_set_spend_cap(who(n), CASE WHEN n % 2 = 0 THEN 'daily' ELSE 'monthly' END, SPEND_CAP)
	FROM generate_series(7, 10) AS n;
};
$set_up =~ s/\b(ALLOWANCE|SPEND_CAP|MEMBER_CAP)\b/main->can($1)->()/ge;

my $charge = q{
	INSERT INTO noted SELECT 'debit', who(:u), r.key, amount, transaction_id, balance_after, idempotent, error
		FROM (SELECT nullif('charge ' || :k, 'charge 0') AS key) AS r, ducto_charge(who(:u), :a / 10000.0, r.key);
};

my %scripts = (
	'credit@3' => q{
		\set u random(1, 6)
		\set a random(1, 200000)
		\set k random(1, 400)
		\set soon random(0, 2)
		INSERT INTO noted SELECT 'credit', who(:u), 'credit ' || :k, amount, transaction_id, new_balance, idempotent, error, NULL, :soon > 0
			FROM ducto_add_credits(who(:u), :a / 10000.0, 'promo', idempotency_key => 'credit ' || :k,
				expires_at => CASE WHEN :soon > 0 THEN clock_timestamp() + :soon * interval '700 ms' END);
	},
	'charge@6' => q{
		\set u random(1, 6)
		\set a random(1, 100000)
		\set k random(-300, 300)
		\set k greatest(:k, 0)
	} . $charge,

	# what is charged between savepoints is charged or not with all around it
	'rolled_back@3' => q{
		\set u random(1, 6)
		\set a random(1, 100000)
		\set k random(1, 300)
		\set end random(0, 1)
		BEGIN;
	} . $charge . q{
		SAVEPOINT s;
		\set k 0
	} . $charge . q{
		SAVEPOINT t;
	} . $charge . q{
		ROLLBACK TO t;
	} . $charge . q{
		ROLLBACK TO s;
	} . $charge . q{
		\if :end
			COMMIT;
		\else
			ROLLBACK;
		\endif
	},

	# reserved in one transaction, settled in others
	'reserve@6' => q{
		\set u random(1, 6)
		\set a random(10000, 200000)
		\set k random(1, 300)
		\set part random(1, :a)
		\set how random(1, 5)
		WITH r AS MATERIALIZED (SELECT * FROM ducto_reserve(who(:u), :a / 10000.0, ttl_seconds => 2,
				min_balance => CASE WHEN :u <= 4 THEN 0 END,
				billing_mode => CASE WHEN :u > 4 THEN 'overdraft' END,
				overdraft_floor => CASE WHEN :u > 4 THEN -50 END,
				max_concurrent => CASE WHEN :how = 5 THEN 20 END,
				idempotency_key => CASE WHEN :how = 4 THEN 'reserve ' || :k END)),
			n AS (INSERT INTO noted SELECT 'reserve', who(:u), NULL, amount, NULL, balance, idempotent, error, reservation_id FROM r)
		SELECT error IS NULL AS held, coalesce(reservation_id, who(0)) AS id FROM r \gset
		\if :held
			\if :how = 1
				INSERT INTO noted SELECT 'debit', who(:u), NULL, amount, transaction_id, balance_after, idempotent, error, ':id'
					FROM ducto_deduct(who(:u), ':id', :part / 20000.0 + 0.0001, final => false);
				SELECT released FROM ducto_release(who(:u), ':id');
			\elif :how = 2
				BEGIN;
				SAVEPOINT s;
				SELECT error FROM ducto_deduct(who(:u), ':id', :part / 10000.0);
				ROLLBACK TO s;
				INSERT INTO noted SELECT 'debit', who(:u), NULL, amount, transaction_id, balance_after, idempotent, error, ':id'
					FROM ducto_deduct(who(:u), ':id', :part / 10000.0 + 5, overrun => 'clamp');
				COMMIT;
			\elif :how = 3
				SELECT error FROM ducto_renew(who(:u), ':id', 1);
			\else
				INSERT INTO noted SELECT 'debit', who(:u), 'deduct ' || :k || ':id', amount, transaction_id, balance_after, idempotent, error, ':id'
					FROM ducto_deduct(who(:u), ':id', :part / 10000.0, 'deduct ' || :k || ':id');
				INSERT INTO noted SELECT 'debit', who(:u), 'deduct ' || :k || ':id', amount, transaction_id, balance_after, idempotent, error, ':id'
					FROM ducto_deduct(who(:u), ':id', :part / 10000.0, 'deduct ' || :k || ':id');
				\if :how = 4
					INSERT INTO noted SELECT 'reserve', who(:u), NULL, amount, NULL, balance, idempotent, error, reservation_id
						FROM ducto_reserve(who(:u), :a / 10000.0, idempotency_key => 'reserve ' || :k);
				\endif
			\endif
		\endif
	},

	# parts of debits that anybody made, more often than there is to refund
	'refund@3' => q{
		\set a random(1, 50000)
		\set k random(1, 2)
		SELECT coalesce((SELECT id FROM (SELECT id FROM noted WHERE what = 'debit' AND id IS NOT NULL LIMIT 100) AS n
			ORDER BY random() LIMIT 1), who(0)) AS id \gset
		INSERT INTO noted SELECT 'refund', coalesce(team_id, user_id), 'refund ' || :k || ':id', amount, refund_transaction_id, new_balance,
			idempotent, error, NULL, NULL, CASE WHEN team_id IS NOT NULL THEN user_id END, allowance_restored
			FROM ducto_refund(':id', :a / 10000.0, idempotency_key => 'refund ' || :k || ':id');
	},

	# the first calls of a new user at the same time, some of them rolled back, so that
	# the charge finds no credit and overdraws the account
	'newcomer@2' => q{
		\set u 100 + :client_id / 4
		\set u :u * 1000 + random(1, 40)
		\set end random(0, 1)
		BEGIN;
		INSERT INTO noted SELECT 'credit', who(:u), 'welcome', amount, transaction_id, new_balance, idempotent, error
			FROM ducto_add_credits(who(:u), 10, 'signup_bonus', idempotency_key => 'welcome');
		\if :end
			COMMIT;
		\else
			ROLLBACK;
		\endif
		SELECT error IS NULL AS held, coalesce(reservation_id, who(0)) AS id
			FROM ducto_reserve(who(:u), 1, ttl_seconds => 1, billing_mode => 'overdraft', overdraft_floor => -3) \gset
		\if :held
			INSERT INTO noted SELECT 'debit', who(:u), NULL, amount, transaction_id, balance_after, idempotent, error, ':id'
				FROM ducto_deduct(who(:u), ':id', 1);
		\endif
	},
	# from the pool of a team, at once or reserved, with members up to their caps
	'team@4' => q{
		\set t random(11, 12)
		\set m random(1, 10)
		\set a random(1, 60000)
		\set k random(1, 200)
		\set how random(1, 6)
		\if :how <= 2
			INSERT INTO noted SELECT 'debit', team(:t), CASE WHEN :how = 1 THEN 'team ' || :m || ' ' || :k END, amount, transaction_id,
				team_balance_after, idempotent, error, NULL, NULL, who(:m)
				FROM ducto_deduct_team(team(:t), who(:m), :a / 10000.0, '{}', CASE WHEN :how = 1 THEN 'team ' || :m || ' ' || :k END);
		\else
			SELECT error IS NULL AS held, coalesce(reservation_id, who(0)) AS id
				FROM ducto_reserve(who(:m), :a / 10000.0, ttl_seconds => 1, min_balance => 0, team_id => team(:t)) \gset
			\if :held
				\if :how = 3
					SELECT released FROM ducto_release(who(:m), ':id');
				\elif :how <= 5
					INSERT INTO noted SELECT 'debit', team(:t), NULL, amount, transaction_id, balance_after, idempotent, error, ':id', NULL, who(:m)
						FROM ducto_deduct(who(:m), ':id', :a / 20000.0 + 0.0001, final => :how = 4, allow_late => false);
				\endif
			\endif
		\endif
	},

	# allowance first, and a cap for the rest; some leave the allowance alone
	'plan@4' => q{
		\set u random(7, 10)
		\set a random(1, 60000)
		\set how random(1, 7)
		\if :how <= 2
			INSERT INTO noted SELECT 'debit', who(:u), NULL, amount, transaction_id, balance_after, idempotent, error, NULL, NULL, NULL, allowance_consumed
				FROM ducto_charge(who(:u), :a / 10000.0, skip_allowance => :how = 2);
		\else
			SELECT error IS NULL AS held, coalesce(reservation_id, who(0)) AS id
				FROM ducto_reserve(who(:u), :a / 10000.0, ttl_seconds => 1, min_balance => 0, skip_allowance => :how = 3) \gset
			\if :held
				\if :how = 4
					SELECT released FROM ducto_release(who(:u), ':id');
				\elif :how <> 5
					INSERT INTO noted SELECT 'debit', who(:u), NULL, amount, transaction_id, balance_after, idempotent, error, ':id', NULL, NULL, allowance_consumed
						FROM ducto_deduct(who(:u), ':id', :a / 20000.0 + 0.0001, final => :how <> 6, allow_late => false);
				\endif
			\endif
		\endif
	},
	'sweep@1' => q{
		SELECT * FROM ducto_sweep_expired();
		SELECT ducto_expire_reservations();
		SELECT * FROM ducto_verify();
	});

# hammer lets all scripts run at once.
sub hammer
{
	my ($name, @options) = @_;
	my $count = CLIENTS * TRANSACTIONS;

	$node->pgbench(join(' ', '-n', '-c', CLIENTS, '-j 2', '-t', TRANSACTIONS, @options),
		0, [qr{processed: $count/$count}], [qr{^$}], $name,
		{ map { (my $file = "$name $_") =~ tr/ /_/; $file => $scripts{$_} } keys %scripts });
	return;
}

# nothing is shown when a query finds nothing.
sub nothing
{
	my ($query, $name) = @_;
	return is($node->safe_psql('postgres', $query), '', $name);
}

# A run across the end of a UTC day has windows of two days, and some counts are
# not comparable then.
my $day     = int(time() / 86400);
my $new_day = sub { return int((time() + 1) / 86400) != $day };

# count_money proves from the notes what the extension says.
sub count_money
{
	my ($when) = @_;

	nothing(q{
		SELECT account, sum, balance FROM (
			SELECT account, sum(CASE WHEN what = 'debit' THEN -amount ELSE amount END) AS sum FROM noted
			WHERE error IS NULL AND NOT coalesce(idempotent, false) AND what <> 'reserve' GROUP BY account) AS n
		FULL JOIN (SELECT id, balance - (SELECT coalesce(sum(amount), 0) FROM ducto.ledger
			WHERE account_id = a.id AND type = 'expiry') AS balance FROM ducto.accounts AS a) AS a ON a.id = n.account
		WHERE coalesce(sum, 0) IS DISTINCT FROM balance},
		"$when: what was acknowledged, less what has expired, is the balance of every account");
	nothing(q{
		SELECT n.id, count(*) FROM noted AS n LEFT JOIN ducto.ledger AS l ON l.id = n.id AND l.account_id = n.account
			AND abs(l.amount) = n.amount AND l.balance_after = n.balance AND l.idempotency_key IS NOT DISTINCT FROM n.key
		WHERE n.id IS NOT NULL AND l.id IS NULL GROUP BY n.id},
		"$when: every answer, a replay too, is the ledger's entry");
	nothing(q{
		SELECT id, count(*) FROM noted WHERE id IS NOT NULL AND NOT idempotent GROUP BY id HAVING count(*) > 1
		UNION ALL SELECT l.id, 0 FROM ducto.ledger AS l LEFT JOIN noted AS n ON n.id = l.id AND NOT n.idempotent
		WHERE n.id IS NULL AND l.type NOT IN ('expiry', 'purchase')},
		"$when: every entry was acknowledged as new exactly once");
	nothing(q{
		SELECT account, key, count(*) FROM noted WHERE key IS NOT NULL AND error IS NULL
		GROUP BY account, key HAVING count(DISTINCT id) <> 1 OR count(*) FILTER (WHERE NOT idempotent) <> 1},
		"$when: of all calls with one key, one took effect and the others were told the same");
	nothing(q{
		SELECT account_id, seq, balance_after FROM ducto.ledger
		WHERE balance_after < CASE WHEN account_id IN (who(5), who(6)) THEN -50 WHEN account_id >= who(100000) AND account_id < who(999999) THEN -3 ELSE 0 END},
		"$when: no balance was ever below its floor");
	nothing(q{
		SELECT r.id FROM ducto.reservations AS r JOIN ducto.ledger AS l ON l.account_id = r.account_id AND l.reference = r.id
		WHERE r.state IN ('settled', 'released') GROUP BY r.id, r.amount HAVING -sum(l.amount) > r.amount + 5},
		"$when: no reservation was charged twice");
	nothing(q{
		SELECT account, sum, used FROM (SELECT account, sum(CASE WHEN what = 'debit' THEN allowance ELSE -allowance END) AS sum FROM noted
			WHERE what IN ('debit', 'refund') AND error IS NULL AND NOT idempotent AND account IN (SELECT who(n) FROM generate_series(7, 10) AS n)
			GROUP BY account) AS n, LATERAL (SELECT allowance_used AS used FROM ducto_check_allowance(account)) AS w
		WHERE sum <> used AND account IN (who(7), who(8)) OR used NOT BETWEEN 0 AND } . ALLOWANCE, "$when: an allowance is used up once and not more than once")
	  unless $new_day->();
	nothing(q{
		SELECT account, sum, current_spend FROM (SELECT account, sum(CASE WHEN what = 'debit' THEN amount ELSE -amount END) AS sum FROM noted
			WHERE what IN ('debit', 'refund') AND error IS NULL AND NOT idempotent AND account IN (SELECT who(n) FROM generate_series(7, 10) AS n)
			GROUP BY account) AS n, LATERAL (SELECT current_spend FROM ducto_list_spend_caps(account)) AS c
		WHERE current_spend < sum OR account IN (who(9), who(10)) AND current_spend > } . SPEND_CAP, "$when: no spend cap was passed")
	  unless $new_day->();
	nothing(q{
		SELECT account, member, sum, total_spent FROM (SELECT account, member, sum(CASE WHEN what = 'debit' THEN amount ELSE -amount END) AS sum FROM noted
			WHERE member IS NOT NULL AND error IS NULL AND NOT idempotent GROUP BY account, member) AS n
		JOIN (SELECT t.id, m.user_id, total_spent FROM teams AS t, LATERAL ducto_get_team_members(t.id) AS m) AS m ON m.id = n.account AND m.user_id = n.member
		WHERE sum <> total_spent OR total_spent > } . MEMBER_CAP, "$when: no member passed a cap, and each spent what was acknowledged")
	  unless $new_day->();
	nothing('SELECT * FROM ducto_verify()', "$when: nothing to find for the auditor");
	return;
}

# some is shown when a query finds anything, for a test that met nothing proves
# nothing.
sub some
{
	my ($query, $name) = @_;
	return cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM $query"), '>', 0, $name);
}

$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nmax_connections = 50\ndeadlock_timeout = 200ms");
$node->start;
$node->safe_psql('postgres', $set_up);

hammer('read committed');
count_money('read committed');
some("noted WHERE error = 'insufficient_credits' AND what = 'debit'", 'some could not be charged');
some("noted WHERE error = 'insufficient_credits' AND what = 'reserve'", 'some could not be reserved');
some("noted WHERE idempotent AND what = '$_'", "some were retries: $_") foreach qw(credit debit reserve refund);
some("noted WHERE error IS NULL AND what = 'refund' AND NOT idempotent", 'some were refunded');
some('ducto.ledger WHERE burned_grants IS NOT NULL', 'some credit was burned from grants');
some('ducto.ledger WHERE balance_after < 0', 'some account was overdrawn');
some('noted WHERE allowance > 0', 'some was paid from an allowance');
some("noted WHERE member IS NOT NULL AND error IS NULL AND what = '$_'", "some was a team's: $_") foreach qw(debit refund);
some("noted WHERE member IS NOT NULL AND error = 'cap_reached'", "a member's cap was met");
some("noted WHERE member IS NULL AND error = 'cap_reached'", 'a spend cap was met');

# Where the isolation level does not let a session see what it waited for, it
# gets a serialization failure and does its transaction again.
SKIP:
{
	skip 'pgbench does not retry', 11 if $node->pg_version < 15;

	local $ENV{PGOPTIONS} = '-c default_transaction_isolation=repeatable\ read';
	hammer('repeatable read', '--max-tries=1000');
	count_money('repeatable read');
}

# All that lasts seconds ends, and only what never expires is left. Nobody spends
# the last credit.
$node->safe_psql('postgres', q{
	INSERT INTO noted SELECT 'credit', who(20), 'credit 0', amount, transaction_id, new_balance, idempotent, error, NULL, true
		FROM ducto_add_credits(who(20), 1, 'promo', idempotency_key => 'credit 0', expires_at => clock_timestamp() + interval '700 ms')});
$node->safe_psql('postgres', 'SELECT pg_sleep(2.1); SELECT ducto_sweep_expired(); SELECT ducto_expire_reservations()');
nothing('SELECT id FROM ducto.accounts WHERE held <> 0 OR expiring <> 0', 'at the end nothing is held or expires');
nothing(q{SELECT g.id, g.amount FROM ducto.grants AS g WHERE g.amount - g.remaining <> (
		SELECT coalesce(sum(CASE WHEN l.type = 'refund' THEN -b.amount ELSE b.amount END), 0)
		FROM ducto.ledger AS l, unnest(l.burned_grants, l.burned_amounts) AS b(id, amount)
		WHERE l.account_id = g.account_id AND b.id = g.id)
	  - (SELECT coalesce(sum(amount), 0) FROM ducto.ledger AS l
		WHERE l.account_id = g.account_id AND l.type = 'expiry' AND l.reference = g.id)
	  + (SELECT greatest(0, l.amount - greatest(0, l.balance_after)) FROM ducto.ledger AS l WHERE l.account_id = g.account_id AND l.id = g.id)},
	'... and each grant is what was burned of it, what expired of it, and what a debt ate');
some("ducto.ledger WHERE type = 'expiry'", '... and some credit expired');
count_money('at the end');

my $log = slurp_file($node->logfile);
unlike($log, qr/deadlock detected/, 'no deadlock');
unlike($log, qr/(?:ERROR|FATAL|PANIC):(?!.*could not serialize access)/, 'no other error in the log of the server');

$node->stop;
done_testing();
