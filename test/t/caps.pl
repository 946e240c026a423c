
# Spend caps against brute force: random lives of accounts with caps of every
# kind, of all spending and of models, under a clock that jumps from seconds to
# months, in zones with daylight saving, with limits and lengths that are edited
# in between. lib/CapOracle.pm counts from nothing but what was booked. Nothing is
# admitted that a deny cap excludes, by 0.0001; nothing is rejected that all
# admit; and what is told of a cap is what counts.
#
# DUCTO_EVENTS is how many events there are, DUCTO_SEED the seed of them all.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CapOracle;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

my $events   = $ENV{DUCTO_EVENTS} || 1500;
my $per_life = 250;
my $per_base = 100;    # lives in one database
my $seed     = $ENV{DUCTO_SEED} || 1 + int rand 1_000_000_000;
my @zones    = qw(UTC America/New_York Europe/Berlin Australia/Lord_Howe Asia/Kathmandu Africa/Cairo);
my $node     = PostgreSQL::Test::Cluster->new('caps');

note("DUCTO_SEED=$seed DUCTO_EVENTS=$events");
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nducto.test_clock = on");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('empty', 'CREATE EXTENSION ducto');
$node->safe_psql('empty', <<'SQL');
CREATE UNLOGGED TABLE log (life int, n serial PRIMARY KEY, kind text, error text, model text, amount numeric, id uuid, at timestamptz,
	expires_at timestamptz, cap text, action text, length interval, t0 timestamptz, t1 timestamptz, zone text);

CREATE FUNCTION a_model() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT (ARRAY[NULL, 'a', 'b'])[1 + floor(random() * 3)::int] $$;
CREATE FUNCTION an_amount(most numeric) RETURNS numeric LANGUAGE sql VOLATILE AS $$
SELECT round((CASE floor(random() * 4)::int WHEN 0 THEN 0.0001 WHEN 1 THEN 0.0001 + random() WHEN 2 THEN 1 + random() * 20 ELSE 1 + random() * most END)::numeric, 4) $$;

-- Lives through a number of events of an account, and logs what was asked and answered.
CREATE FUNCTION live(its int, who uuid, events int, zone text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	dice float;
	l log;
	r record;
	type text;
BEGIN
	PERFORM ducto_set_user_plan(who, NULL, timezone => zone);
	PERFORM ducto_add_credits(who, 1e9);
	FOR i IN 1..events LOOP
		dice := random();
		l := NULL;
		l.model := a_model();
		l.t0 := ducto.clock();
		IF dice < 0.35 THEN
			PERFORM ducto_advance_clock(CASE floor(random() * 8)::int WHEN 0 THEN interval '3 days' WHEN 1 THEN '2 days' WHEN 2 THEN '5 h'
				WHEN 3 THEN '1 h' WHEN 4 THEN '20 min' WHEN 5 THEN '20 min' ELSE '30 s' END * random());
			IF random() < 0.02 THEN
				PERFORM ducto_advance_clock('40 days'::interval * random());
			END IF;
			CONTINUE;
		ELSIF dice < 0.60 THEN
			l.kind := 'charge';
			l.amount := CASE WHEN random() < 0.01 THEN 0 ELSE an_amount(60) END;
			SELECT * INTO r FROM ducto_charge(who, l.amount, model => l.model);
			l.error := r.error;
			l.id := r.transaction_id;
			l.action := r.cap_warning;
		ELSIF dice < 0.70 THEN
			l.kind := 'reserve';
			l.amount := an_amount(60);
			SELECT * INTO r FROM ducto_reserve(who, l.amount, model => l.model, min_balance => 0,
				ttl_seconds => (1 + 10 ^ (random() * 5.2))::int);
			l.error := r.error;
			l.id := r.reservation_id;
		ELSIF dice < 0.80 THEN
			l.kind := 'deduct';
			SELECT id, remaining INTO r FROM ducto.reservations WHERE account_id = who AND state = 'open' ORDER BY random() LIMIT 1;
			CONTINUE WHEN r IS NULL;
			l.expires_at := NULL;
			l.cap := r.id;
			l.amount := round((r.remaining * random() * 1.2)::numeric, 4);
			CONTINUE WHEN l.amount = 0;
			SELECT * INTO r FROM ducto_deduct(who, r.id, l.amount, model => l.model, overrun => 'full', final => random() < 0.5);
			l.error := r.error;
			l.id := r.transaction_id;
			l.amount := r.amount;
			l.action := r.cap_warning;
		ELSIF dice < 0.83 THEN
			l.kind := 'release';
			SELECT id INTO r FROM ducto.reservations WHERE account_id = who AND state = 'open' ORDER BY random() LIMIT 1;
			CONTINUE WHEN r IS NULL;
			PERFORM ducto_release(who, r.id);
			l.cap := r.id;
		ELSIF dice < 0.88 THEN
			l.kind := 'refund';
			SELECT id, amount INTO r FROM ducto.ledger WHERE account_id = who AND ledger.type = 'usage' ORDER BY random() * (seq + 5) DESC LIMIT 1;
			CONTINUE WHEN r IS NULL;
			l.id := r.id;
			l.amount := greatest(round((-r.amount * random())::numeric, 4), 0.0001);
			SELECT error INTO l.error FROM ducto_refund(r.id, l.amount);
		ELSIF dice < 0.95 THEN
			l.kind := 'list';
		ELSIF dice < 0.99 THEN
			l.kind := 'set';
			type := (ARRAY['hourly', 'daily', 'weekly', 'monthly', 'total', 'session', 'sliding', 'session', 'sliding'])[1 + floor(random() * 9)::int];
			IF type IN ('session', 'sliding') THEN
				SELECT window_length INTO l.length FROM ducto.spend_caps
				WHERE account_id = who AND cap_type = type AND spend_caps.model = coalesce(l.model, '') AND random() < 0.8;
				l.length := coalesce(l.length, (ARRAY['1 minute', '10 minutes', '90 minutes', '5 hours', '1 day', '7 days 13:07:11.123457']::interval[])[1 + floor(random() * 6)::int]);
			END IF;
			l.action := CASE WHEN random() < 0.9 THEN 'deny' ELSE 'warn' END;
			l.amount := round((CASE type WHEN 'total' THEN 3000 WHEN 'monthly' THEN 500 ELSE 10 + 150 * random() END * (0.5 + random()))::numeric, 4);
			IF random() < 0.5 THEN
				SELECT cap_limit + 20 INTO r FROM ducto.spend_caps WHERE account_id = who AND cap_type = type AND spend_caps.model = coalesce(l.model, '');
			END IF;
			PERFORM ducto_set_spend_cap(who, type, l.amount, l.action, l.model, l.length);
			l.cap := type;
		ELSE
			l.kind := 'remove';
			SELECT cap_type, spend_caps.model INTO r FROM ducto.spend_caps WHERE account_id = who ORDER BY random() LIMIT 1;
			CONTINUE WHEN r IS NULL;
			l.cap := r.cap_type;
			l.model := nullif(r.model, '');
			PERFORM ducto_remove_spend_cap(who, r.cap_type, l.model);
		END IF;
		l.t1 := ducto.clock();
		IF l.kind = 'list' THEN
			l.t0 := ducto.clock();
			FOR r IN SELECT * FROM ducto_list_spend_caps(who) LOOP
				INSERT INTO log (life, kind, model, amount, cap, t0, t1, zone)
				VALUES (its, 'list', coalesce(r.model, ''), r.current_spend, r.cap_type, l.t0, ducto.clock(), live.zone);
			END LOOP;
			CONTINUE;
		END IF;
		IF l.kind IN ('charge', 'deduct') THEN
			SELECT effective_at INTO l.at FROM ducto.ledger WHERE id = l.id;
			-- A deduct is of the model of its reservation where none is given.
			IF l.kind = 'deduct' THEN
				SELECT ledger.model INTO l.model FROM ducto.ledger WHERE id = l.id;
			END IF;
		ELSIF l.kind = 'reserve' THEN
			SELECT created_at, expires_at INTO l.at, l.expires_at FROM ducto.reservations WHERE account_id = who AND id = l.id;
		END IF;
		INSERT INTO log (life, kind, error, model, amount, id, at, expires_at, cap, action, length, t0, t1, zone)
		VALUES (its, l.kind, l.error, coalesce(l.model, ''), l.amount, l.id, l.at, l.expires_at, l.cap, l.action, l.length, l.t0, l.t1, live.zone);
		-- What is left of the hold that a deduct was for.
		IF l.kind = 'deduct' THEN
			INSERT INTO log (life, kind, amount, cap, t0, t1, zone)
			SELECT its, 'left', CASE WHEN h.state = 'open' THEN h.remaining ELSE 0 END, h.id, l.t0, l.t1, live.zone
			FROM ducto.reservations h WHERE account_id = who AND id = l.cap::uuid;
		END IF;
	END LOOP;
END $$;

CREATE FUNCTION us(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT (extract(epoch FROM at) * 1000000)::bigint $$;
CREATE FUNCTION labels(at timestamptz, zone text) RETURNS text LANGUAGE sql STABLE AS $$
SELECT string_agg(extract(epoch FROM date_trunc(u, at, zone))::bigint::text, ' ' ORDER BY n) FROM unnest(ARRAY['hour', 'day', 'week', 'month']) WITH ORDINALITY t (u, n) $$;
SQL

my $session;
my ($seen, $wrong) = (0, 0);
my %count;

sub complain
{
	my ($what, $entry) = @_;
	$wrong++;
	diag("DUCTO_SEED=$seed, event $entry->{n} of life $entry->{life}: $what") if $wrong <= 20;
	return;
}

# What the answer to one event must be.
sub check
{
	my ($oracle, $entry) = @_;
	my ($kind, $model, $amount) = @{$entry}{qw(kind model amount)};
	my @l0 = split / /, $entry->{l0};
	my @l1 = split / /, $entry->{l1};
	my @at = split / /, $entry->{lat};

	if ($kind eq 'charge' && $amount == 0)
	{
		complain("a charge of 0 is not nothing: $entry->{error} $entry->{id}", $entry) if $entry->{error} ne '' || $entry->{id} ne '';
	}
	elsif ($kind eq 'charge' || $kind eq 'reserve')
	{
		if ($entry->{error} eq '')
		{
			my ($sure) = $oracle->exceeded($model, $amount, $entry->{at}, \@at);
			complain("$kind admitted beyond @$sure", $entry) if @$sure;
			if ($kind eq 'charge')
			{
				$oracle->spend($entry->{id}, $model, $amount, $entry->{at}, \@at);
			}
			else
			{
				$oracle->hold($entry->{id}, $model, $amount, $entry->{at}, $entry->{expires});
			}
		}
		elsif ($entry->{error} eq 'cap_reached')
		{
			my (undef, $then) = $oracle->exceeded($model, $amount, $entry->{t0}, \@l0);
			my (undef, $now) = $oracle->exceeded($model, $amount, $entry->{t1}, \@l1);
			complain("$kind of $amount rejected without a reason", $entry) if !@$then && !@$now;
		}
		else
		{
			complain("$kind rejected: $entry->{error}", $entry);
		}
	}
	elsif ($kind eq 'deduct')
	{
		complain("deduct rejected: $entry->{error}", $entry) if $entry->{error} ne '';
		$oracle->spend($entry->{id}, $model, $amount, $entry->{at}, \@at);
	}
	elsif ($kind eq 'left')
	{
		$oracle->{holds}{ $entry->{cap} }{left} = $amount;
	}
	elsif ($kind eq 'release')
	{
		$oracle->{holds}{ $entry->{cap} }{left} = 0;
	}
	elsif ($kind eq 'refund')
	{
		$oracle->refund($entry->{id}, $amount) if $entry->{error} eq '';
	}
	elsif ($kind eq 'set')
	{
		$oracle->set($entry->{cap}, $model, $amount, $entry->{action}, $entry->{length}, $entry->{t1});
	}
	elsif ($kind eq 'remove')
	{
		delete $oracle->{caps}{"$entry->{cap} $model"};
	}
	elsif ($kind eq 'list')
	{
		my $cap = $oracle->{caps}{"$entry->{cap} $model"};
		my ($least, $most) = $oracle->counted($cap, $entry->{t0}, \@l0);
		my ($least_later, $most_later) = $oracle->counted($cap, $entry->{t1}, \@l1);
		complain("$entry->{cap} cap of \"$model\" counts $amount, not $least to $most", $entry)
		  if !($amount >= $least && $amount <= $most) && !($amount >= $least_later && $amount <= $most_later);
	}
	$count{"$kind $entry->{error}"}++;
	$seen++;
	return;
}

# found complains of what the auditor finds in the lives of a database.
sub found
{
	my $found = $session->value("SELECT string_agg(concat_ws(' ', account_id, check_name, expected, actual), ', ') FROM ducto_verify() WHERE check_name <> 'test clock'");
	complain("the auditor finds $found", { n => 'last', life => 'all' }) if defined $found;
	return;
}

# begin_base begins with an empty database.
sub begin_base
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE empty");
	$session = Session->new($node, dbname => $name);
	return;
}

# end_base lets the auditor look at a database, and drops it.
sub end_base
{
	my ($name) = @_;

	found();
	$session->quit;
	$node->safe_psql('postgres', "DROP DATABASE $name");
	return;
}

# run lets an account live, and compares what it was told.
sub run
{
	my ($life) = @_;
	my $who    = sprintf "'ca9a0000-0000-4000-8000-%012d'", $life;
	my $zone   = $zones[$life % @zones];
	my $oracle = CapOracle->new;

	$session->run('SELECT setseed(' . (($seed * 7919 + $life) % 1_000_000) / 1_000_000 . ')');
	$session->run("SELECT live($life, $who, $per_life, '$zone')");
	BAIL_OUT("life $life: " . $session->sqlstate . ' ' . $session->error->{message}) if defined $session->error;
	foreach my $line ($session->run("SELECT concat_ws('|', n, kind, coalesce(error, ''), coalesce(model, ''),
		(coalesce(amount, 0) * 10000)::bigint, coalesce(id::text, ''), coalesce(us(at), 0), coalesce(us(expires_at), 0), coalesce(cap, ''),
		coalesce(action, ''), coalesce((extract(epoch FROM length) * 1000000)::bigint, 0), us(t0), us(t1), labels(t0, zone), labels(t1, zone),
		coalesce(labels(at, zone), '')) FROM log WHERE life = $life ORDER BY n"))
	{
		my %entry = (life => $life);
		@entry{qw(n kind error model amount id at expires cap action length t0 t1 l0 l1 lat)} = split /\|/, $line, -1;
		check($oracle, \%entry);
	}
	return;
}

for (my $base = 1; $seen < $events; $base++)
{
	begin_base("lives_$base");
	for (my $life = 1; $seen < $events && $life <= $per_base; $life++)
	{
		run(($base - 1) * $per_base + $life);
	}
	end_base("lives_$base");
}
is($wrong, 0, "$seen events as by brute force (DUCTO_SEED=$seed)");
foreach my $kind ('charge ', 'charge cap_reached', 'reserve ', 'reserve cap_reached', 'deduct ', 'release ', 'refund ', 'list ', 'set ', 'remove ')
{
	cmp_ok($count{$kind} || 0, '>', 0, "there were: $kind");
}
$node->stop;
done_testing();
