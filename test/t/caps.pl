
# Spend caps against brute force: random lives of accounts with caps of every
# kind, of all spending and of models, their own and their plan's, and of pools
# with caps of their own and of their members. The clock jumps from seconds to
# months, in zones with daylight saving; limits and lengths are edited, plans
# change and are published anew in between, holds are open, an allowance pays.
# lib/CapOracle.pm counts from nothing but what was booked. Nothing is admitted
# that a deny cap excludes, by 0.0001; nothing is rejected that all admit; and
# what is told of a cap is what counts.
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
CREATE UNLOGGED TABLE log (life int, n serial PRIMARY KEY, kind text, error text, model text, actor uuid, amount numeric, allowance numeric,
	id uuid, at timestamptz, expires_at timestamptz, cap text, action text, length interval, t0 timestamptz, t1 timestamptz, zone text);

CREATE FUNCTION one_of(VARIADIC words text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT words[1 + floor(random() * cardinality(words))::int] $$;
CREATE FUNCTION an_amount(most numeric) RETURNS numeric LANGUAGE sql VOLATILE AS $$
SELECT round((CASE floor(random() * 4)::int WHEN 0 THEN 0.0001 WHEN 1 THEN 0.0001 + random() WHEN 2 THEN 1 + random() * 20 ELSE 1 + random() * most END)::numeric, 4) $$;
-- The words of a length.
CREATE FUNCTION words(type text) RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT CASE WHEN type IN ('session', 'sliding') THEN one_of('1 minute', '10 minutes', '90 minutes', '5 hours', '1 day', '7 days 13:07:11.123457') END $$;
CREATE FUNCTION a_length(type text) RETURNS interval LANGUAGE sql VOLATILE AS $$ SELECT words(type)::interval $$;
CREATE FUNCTION a_limit(type text) RETURNS numeric LANGUAGE sql VOLATILE AS $$
SELECT round((CASE type WHEN 'total' THEN 3000 WHEN 'monthly' THEN 500 ELSE 10 + 150 * random() END * (0.5 + random()))::numeric, 4) $$;
CREATE FUNCTION an_action() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT one_of(VARIADIC array_fill('deny'::text, ARRAY[8]) || ARRAY['warn', 'notify']) $$;
CREATE FUNCTION a_type() RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT one_of('hourly', 'daily', 'weekly', 'monthly', 'total', 'session', 'sliding', 'session', 'sliding') $$;

-- A plan with an allowance or none, and up to four caps.
CREATE FUNCTION a_plan(id text) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
SELECT jsonb_build_object(id, jsonb_build_object('name', id, 'free_allowance', CASE WHEN random() < 0.5 THEN 0 ELSE floor(random() * 200) END, 'caps', coalesce(jsonb_agg(c), '[]')))
FROM (SELECT DISTINCT ON (type, model) jsonb_strip_nulls(jsonb_build_object('cap_type', type, 'model', model, 'cap_limit', a_limit(type),
		'action', an_action(), 'window_length', replace(words(type), '13:07:11.123457', '13 hours 7 minutes'))) AS c
	FROM (SELECT a_type() AS type, one_of(NULL, 'a', 'b') AS model FROM generate_series(1, floor(random() * 5)::int)) t) u $$;
CREATE FUNCTION us(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT (extract(epoch FROM at) * 1000000)::bigint $$;
CREATE FUNCTION us(length interval) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT (extract(epoch FROM length) * 1000000)::bigint $$;
CREATE FUNCTION units(amount numeric) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT (amount * 10000)::bigint $$;
CREATE FUNCTION labels(at timestamptz, zone text) RETURNS text LANGUAGE sql STABLE AS $$
SELECT concat_ws(' ', extract(epoch FROM date_trunc('hour', at, zone))::bigint, extract(epoch FROM date_trunc('day', at, zone))::bigint,
	extract(epoch FROM date_trunc('week', at, zone))::bigint, extract(epoch FROM date_trunc('month', at, zone))::bigint) $$;
-- The caps of a plan as one text.
CREATE FUNCTION terms(plan jsonb) RETURNS text LANGUAGE sql STABLE AS $$
SELECT string_agg(concat_ws('~', cap_type, coalesce(model, ''), units(cap_limit), coalesce(action, 'deny'), coalesce(us(window_length), 0)), ';')
FROM jsonb_to_recordset(plan->'caps') AS c (cap_type text, model text, cap_limit numeric, action text, window_length interval) $$;

-- Charges many at once, and tells of each.
CREATE FUNCTION charge_many(its int, who uuid, members uuid[], zone text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	charges jsonb;
	t0 timestamptz := ducto.clock();
BEGIN
	SELECT jsonb_agg(CASE WHEN members IS NULL THEN jsonb_build_object('user_id', who) ELSE jsonb_build_object('team_id', who, 'user_id', one_of(VARIADIC members::text[])) END
		|| jsonb_build_object('amount', an_amount(30), 'model', one_of(NULL, 'a', 'b'))) INTO charges FROM generate_series(1, 2 + floor(random() * 4)::int);
	WITH told AS MATERIALIZED (SELECT * FROM ducto_charge_many(charges))
	INSERT INTO log (life, kind, error, model, actor, amount, allowance, id, action, t0, t1, zone)
	SELECT its, 'charge', error, coalesce(c->>'model', ''), CASE WHEN members IS NOT NULL THEN (c->>'user_id')::uuid END,
		CASE WHEN error IS NULL THEN amount + allowance_consumed ELSE (c->>'amount')::numeric END, allowance_consumed, transaction_id, cap_warning, t0, ducto.clock(), zone
	FROM told CROSS JOIN LATERAL (SELECT charges->(position - 1)) AS e (c) ORDER BY position;
END $$;

-- Settles lines of several models under a hold, and tells what was booked of each.
CREATE FUNCTION settle(its int, who uuid, hold ducto.reservations, zone text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz := ducto.clock();
	r record;
BEGIN
	SELECT * INTO r FROM ducto_settle(coalesce(hold.actor, who), hold.id, (SELECT jsonb_agg(jsonb_build_object('key', gen_random_uuid(),
			'amount', round((hold.remaining * random() * 0.4 + 0.0001)::numeric, 4), 'model', one_of(NULL, 'a', 'b'))) FROM generate_series(1, 1 + floor(random() * 4)::int)),
		final => random() < 0.3, overrun => 'full');
	INSERT INTO log (life, kind, error, t0, t1, zone) VALUES (its, 'touch', r.error, t, ducto.clock(), zone);
	INSERT INTO log (life, kind, model, actor, amount, allowance, id, at, t0, t1, zone)
	SELECT its, 'line', coalesce(CASE WHEN l.models IS NULL THEN l.model ELSE m.model END, ''), l.actor, CASE WHEN l.models IS NULL THEN -l.amount ELSE m.spend END,
		CASE WHEN coalesce(m.n, 1) = 1 THEN l.allowance_consumed ELSE 0 END, l.id, l.effective_at, t, ducto.clock(), zone
	FROM ducto.ledger l LEFT JOIN LATERAL unnest(l.models, l.model_spend) WITH ORDINALITY AS m (model, spend, n) ON true
	WHERE l.account_id = who AND l.id = r.transaction_id ORDER BY m.n;
	INSERT INTO log (life, kind, amount, cap, t0, t1, zone)
	SELECT its, 'left', CASE WHEN h.state = 'open' THEN h.remaining ELSE 0 END, h.id, t, ducto.clock(), zone FROM ducto.reservations h WHERE account_id = who AND id = hold.id;
END $$;

-- Publishes plans, of which one may be missing, and tells what the account's has.
CREATE FUNCTION publish(INOUT plans jsonb) LANGUAGE plpgsql AS $$
DECLARE
	news jsonb := a_plan('p') || a_plan('q');
BEGIN
	IF plans IS NOT NULL AND random() < 0.4 THEN
		news := news - one_of('p', 'q');
	END IF;
	PERFORM ducto_set_active_pricing(jsonb_build_object('models', '{"_default": "1"}'::jsonb, 'min_balance', 0, 'plans', news));
	plans := coalesce(plans, '{}') || news;
END $$;

-- Lives through a number of events of an account, and logs what was asked and answered. It is a pool's where it has members.
CREATE FUNCTION live(its int, who uuid, members uuid[], events int, zone text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	dice float;
	l log;
	r record;
	h ducto.reservations;
	type text;
	plans jsonb;
	plan text;
	planless bool := members IS NOT NULL OR random() < 0.4;
BEGIN
	plans := publish(plans);
	IF members IS NULL THEN
		PERFORM ducto_set_user_plan(who, NULL, timezone => zone);
		PERFORM ducto_add_credits(who, 1e9);
	ELSE
		PERFORM ducto_add_team_credits(who, 1e9);
	END IF;
	FOR i IN 1..events LOOP
		dice := random();
		l := NULL;
		l.model := one_of(NULL, 'a', 'b');
		l.actor := one_of(VARIADIC members::text[]);
		l.t0 := ducto.clock();
		IF dice < 0.33 THEN
			PERFORM ducto_advance_clock(CASE floor(random() * 8)::int WHEN 0 THEN interval '3 days' WHEN 1 THEN '2 days' WHEN 2 THEN '5 h'
				WHEN 3 THEN '1 h' WHEN 4 THEN '20 min' WHEN 5 THEN '20 min' ELSE '30 s' END * random());
			IF random() < 0.02 THEN
				PERFORM ducto_advance_clock('40 days'::interval * random());
			END IF;
			CONTINUE;
		ELSIF dice < 0.54 THEN
			l.kind := 'charge';
			l.amount := CASE WHEN members IS NULL AND random() < 0.01 THEN 0 ELSE an_amount(60) END;
			IF members IS NULL THEN
				SELECT * INTO r FROM ducto_charge(who, l.amount, model => l.model);
			ELSE
				SELECT * INTO r FROM ducto_deduct_team(who, l.actor, l.amount, model => l.model);
			END IF;
			l.error := r.error;
			l.id := r.transaction_id;
		ELSIF dice < 0.57 THEN
			PERFORM charge_many(its, who, members, zone);
			CONTINUE;
		ELSIF dice < 0.67 THEN
			l.kind := 'reserve';
			l.amount := an_amount(60);
			SELECT * INTO r FROM ducto_reserve(coalesce(l.actor, who), l.amount, model => l.model, min_balance => 0,
				ttl_seconds => (1 + 10 ^ (random() * 5.2))::int, team_id => CASE WHEN members IS NOT NULL THEN who END);
			l.error := r.error;
			l.id := r.reservation_id;
		ELSIF dice < 0.80 THEN
			SELECT * INTO h FROM ducto.reservations WHERE account_id = who AND state = 'open' ORDER BY random() LIMIT 1;
			CONTINUE WHEN h.id IS NULL;
			l.cap := h.id;
			l.actor := h.actor;
			IF dice < 0.68 THEN
				PERFORM settle(its, who, h, zone);
				CONTINUE;
			ELSIF dice < 0.77 THEN
				l.kind := 'deduct';
				l.amount := greatest(round((h.remaining * random() * 1.2)::numeric, 4), 0.0001);
				SELECT * INTO r FROM ducto_deduct(coalesce(h.actor, who), h.id, l.amount, model => l.model, overrun => 'full', final => random() < 0.5);
				l.error := r.error;
				l.id := r.transaction_id;
			ELSE
				l.kind := 'release';
				PERFORM ducto_release(coalesce(h.actor, who), h.id);
			END IF;
		ELSIF dice < 0.85 THEN
			l.kind := 'refund';
			SELECT id, amount - allowance_consumed AS amount INTO r FROM ducto.ledger WHERE account_id = who AND ledger.type = 'usage' ORDER BY random() * (seq + 5) DESC LIMIT 1;
			CONTINUE WHEN r IS NULL;
			l.id := r.id;
			SELECT error, amount, allowance_restored INTO l.error, l.amount, l.allowance
			FROM ducto_refund(r.id, greatest(round((-r.amount * random())::numeric, 4), 0.0001));
		ELSIF dice < 0.92 THEN
			l.kind := 'list';
			INSERT INTO log (life, kind, error, model, amount, allowance, cap, action, length, expires_at, t0, t1, zone)
			SELECT its, 'list', c.of_plan, coalesce(c.model, ''), current_spend, cap_limit, cap_type, c.action, window_length, resets_at, l.t0, ducto.clock(), live.zone
			FROM ducto_list_spend_caps(who) c;
			GET DIAGNOSTICS l.amount = ROW_COUNT;
			l.kind := 'listed';
			IF members IS NOT NULL THEN
				INSERT INTO log (life, kind, actor, amount, t0, t1, zone)
				SELECT its, 'total', user_id, total_spent, l.t0, ducto.clock(), live.zone FROM ducto_get_team_members(who);
			END IF;
		ELSIF dice < 0.94 AND NOT planless THEN
			l.kind := 'publish';
			plans := publish(plans);
			l.amount := coalesce((plans->plan->>'free_allowance')::numeric, 0);
			l.cap := terms(plans->plan);
		ELSIF dice < 0.96 AND NOT planless THEN
			l.kind := 'plan';
			l.cap := one_of('p', 'q', 'p', 'q', NULL);
			SELECT error INTO l.error FROM ducto_set_user_plan(who, l.cap, timezone => zone);
			CONTINUE WHEN l.error IS NOT NULL;
			plan := l.cap;
			l.amount := coalesce((plans->plan->>'free_allowance')::numeric, 0);
			l.cap := terms(plans->plan);
		ELSIF dice < 0.94 AND members IS NOT NULL THEN
			l.kind := 'member';
			l.amount := CASE WHEN random() < 0.9 THEN round((20 + 600 * random())::numeric, 4) END;
			PERFORM ducto_add_team_member(who, l.actor, spend_cap => coalesce(l.amount, 'Infinity'));
		ELSIF dice < 0.99 THEN
			l.kind := 'set';
			type := a_type();
			IF random() < 0.8 THEN
				SELECT window_length INTO l.length FROM ducto.spend_caps WHERE account_id = who AND cap_type = type AND spend_caps.model = coalesce(l.model, '');
			END IF;
			l.length := coalesce(l.length, a_length(type));
			l.action := an_action();
			l.amount := a_limit(type);
			PERFORM ducto_set_spend_cap(who, type, l.amount, l.action, l.model, l.length);
			l.cap := type;
		ELSE
			l.kind := 'remove';
			SELECT cap_type, spend_caps.model INTO r FROM ducto.spend_caps WHERE account_id = who ORDER BY random() LIMIT 1;
			CONTINUE WHEN r IS NULL;
			l.cap := r.cap_type;
			l.model := nullif(r.model, '');
			l.action := ducto_remove_spend_cap(who, r.cap_type, l.model);
		END IF;
		l.t1 := ducto.clock();
		INSERT INTO log (life, kind, error, model, actor, amount, allowance, id, at, expires_at, cap, action, length, t0, t1, zone)
		VALUES (its, l.kind, l.error, coalesce(l.model, ''), l.actor, l.amount, l.allowance, l.id, l.at, l.expires_at, l.cap, l.action, l.length, l.t0, l.t1, live.zone);
		-- What is left of the hold that a deduct was for.
		IF l.kind = 'deduct' THEN
			INSERT INTO log (life, kind, amount, cap, id, t0, t1, zone)
			SELECT its, 'left', CASE WHEN state = 'open' THEN remaining ELSE 0 END, id, l.id, l.t0, l.t1, live.zone
			FROM ducto.reservations WHERE account_id = who AND id = h.id;
		END IF;
	END LOOP;
	-- What was booked, as the ledger and the reservations have it.
	UPDATE log SET at = e.effective_at, model = coalesce(e.model, ''), amount = CASE kind WHEN 'deduct' THEN -e.amount ELSE log.amount END,
		allowance = e.allowance_consumed, action = e.cap_warning
	FROM ducto.ledger e WHERE log.life = its AND kind IN ('charge', 'deduct') AND e.account_id = who AND e.id = log.id;
	UPDATE log SET at = e.created_at, expires_at = e.first_expires_at FROM ducto.reservations e
	WHERE log.life = its AND kind = 'reserve' AND e.account_id = who AND e.id = log.id;
END $$;
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

# terms reads the caps of a plan.
sub terms
{
	my ($text) = @_;
	my @terms;

	foreach my $cap (split /;/, $text)
	{
		my %cap;

		@cap{qw(type model limit action length)} = split /~/, $cap, -1;
		push @terms, \%cap;
	}
	return @terms;
}

# check_call holds a charge or a reserve against all caps, and books it.
sub check_call
{
	my ($oracle, $entry) = @_;
	my ($kind, $amount) = @{$entry}{qw(kind amount)};
	my $net = sub {
		my ($at, $labels) = @_;
		return $kind eq 'charge' ? $oracle->beyond_allowance($amount, $labels) : $oracle->beyond_holds($amount, $at, $labels);
	};

	if ($entry->{error} eq '')
	{
		my $credits = $net->(@{$entry}{qw(at lat)});
		my ($sure) = $credits > 0 ? $oracle->denied($entry, $credits, @{$entry}{qw(at lat)}) : [];

		complain("$kind admitted beyond " . join(', ', map { $_->{why} } @$sure), $entry) if @$sure;
		if ($kind eq 'reserve')
		{
			$oracle->hold($entry->{id}, %$entry, counted => $credits);
			return;
		}
		complain("the allowance pays $entry->{allowance}, not " . ($amount - $credits), $entry) if $entry->{allowance} != $amount - $credits;
		$oracle->spend(%$entry, amount => $credits, labels => $entry->{lat});
		check_warning($oracle, $entry) if $credits > 0;
	}
	elsif ($entry->{error} eq 'cap_reached')
	{
		my (undef, $then) = $oracle->denied($entry, $net->(@{$entry}{qw(t0 l0)}), @{$entry}{qw(t0 l0)});
		my (undef, $now) = $oracle->denied($entry, $net->(@{$entry}{qw(t1 l1)}), @{$entry}{qw(t1 l1)});

		complain("$kind of $amount rejected without a reason", $entry) if !@$then && !@$now;
	}
	else
	{
		complain("$kind rejected: $entry->{error}", $entry);
	}
	return;
}

# check_warning holds what a call that has spent warned of against what is exceeded now.
sub check_warning
{
	my ($oracle, $entry) = @_;

	complain("$entry->{kind} warns: \"$entry->{action}\"", $entry) if !$oracle->may_warn($entry->{action}, $entry, @{$entry}{qw(at lat)});
	$count{"warning $entry->{action}"}++;
	return;
}

# check_listed holds what is told of a cap against what counts.
sub check_listed
{
	my ($oracle, $entry) = @_;
	my $name   = "$entry->{cap} $entry->{model}";
	my $cap    = $oracle->{caps}{$name};
	my $amount = $entry->{amount};
	my $terms  = sub { my ($of_plan, %cap) = @_; return join(' ', @cap{qw(limit action length)}, $of_plan ? 'of the plan' : 'own') };

	return complain("there is no cap $name", $entry) if !$cap;
	my ($is, $should) = ($terms->($entry->{error} eq 'true', %$entry, limit => $entry->{allowance}), $terms->($cap->{of_plan}, %$cap));
	my ($least, $most) = $oracle->counted($cap, @{$entry}{qw(t0 l0)});
	my ($least_later, $most_later) = $oracle->counted($cap, @{$entry}{qw(t1 l1)});

	complain("cap $name is $is, not $should", $entry) if $is ne $should;
	complain("cap $name counts $amount, not $least to $most", $entry)
	  if !($amount >= $least && $amount <= $most) && !($amount >= $least_later && $amount <= $most_later);
	complain("session $name ends at $entry->{expires}, not $cap->{until}", $entry)
	  if $cap->{type} eq 'session' && $entry->{expires} != ($cap->{until} > $entry->{t1} ? $cap->{until} : 0) && $cap->{until} != $entry->{expires};
	return;
}

# What the answer to one event must be.
sub check
{
	my ($oracle, $entry) = @_;
	my ($kind, $amount, $error) = @{$entry}{qw(kind amount error)};

	$entry->{$_} = [ split / /, $entry->{$_} ] foreach qw(l0 l1 lat);
	$count{"$kind $error"}++;
	$seen++;
	$oracle->publish($amount, terms($entry->{cap})), return if $kind eq 'publish';
	$oracle = $oracle->shown($entry->{t0}) if $kind =~ /^list/;
	$oracle->follow($entry->{at} || $entry->{t1});

	if ($kind eq 'charge' && $amount == 0)
	{
		complain("a charge of 0 is not nothing: $error $entry->{id}", $entry) if $error ne '' || $entry->{id} ne '';
	}
	elsif ($kind eq 'charge' || $kind eq 'reserve')
	{
		check_call($oracle, $entry);
	}
	elsif ($kind eq 'deduct' || $kind eq 'line')
	{
		complain("deduct rejected: $error", $entry) if $error ne '';
		$oracle->spend(%$entry, labels => $entry->{lat});
		$oracle->{deduct} = $kind eq 'deduct' && $amount > 0 ? $entry : undef;
	}
	elsif ($kind eq 'left' || $kind eq 'release')
	{
		$oracle->leave($entry->{cap}, $amount);
		check_warning($oracle, $oracle->{deduct}) if $kind eq 'left' && $oracle->{deduct};
		$oracle->{deduct} = undef;
	}
	elsif ($kind eq 'touch')
	{
		complain("settle rejected: $error", $entry) if $error ne '' && $error ne 'reservation_expired';
	}
	elsif ($kind eq 'refund')
	{
		complain('more is refunded than was spent', $entry) if $error eq '' && !$oracle->refund($entry->{id}, $amount, $entry->{allowance});
	}
	elsif ($kind eq 'plan')
	{
		$oracle->publish($amount, terms($entry->{cap}));
		$oracle->follow($entry->{t1});
	}
	elsif ($kind eq 'set')
	{
		$oracle->set({ %$entry{qw(model action length)}, type => $entry->{cap}, limit => $amount }, $entry->{t1});
	}
	elsif ($kind eq 'remove')
	{
		my $removed = $oracle->remove("$entry->{cap} $entry->{model}", $entry->{t1});
		complain("a cap is removed: $entry->{action}", $entry) if $removed != ($entry->{action} eq 'true');
		$count{"remove of a plan's"}++ if !$removed;
	}
	elsif ($kind eq 'member')
	{
		$oracle->set_member($entry->{actor}, $entry->{limited} ? $amount : undef);
	}
	elsif ($kind eq 'total')
	{
		my ($spent) = $oracle->spent({ type => 'monthly', actor => $entry->{actor} }, @{$entry}{qw(t0 l0)});
		my ($later) = $oracle->spent({ type => 'monthly', actor => $entry->{actor} }, @{$entry}{qw(t1 l1)});
		complain("a member has spent $amount, not $spent", $entry) if $amount != $spent && $amount != $later;
	}
	elsif ($kind eq 'list')
	{
		check_listed($oracle, $entry);
	}
	elsif ($kind eq 'listed')
	{
		my $caps = 10000 * grep { !defined $_->{actor} } values %{ $oracle->{caps} };
		complain("$amount caps are listed, not $caps", $entry) if $amount != $caps;
	}
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

# run lets an account live, and compares what it was told. Each fifth is a pool.
sub run
{
	my ($life)  = @_;
	my $who     = sprintf "'ca9a0000-0000-4000-8000-%012d'", $life;
	my $zone    = $zones[ $life % @zones ];
	my $members = 'NULL';
	my $oracle  = CapOracle->new;

	$session->run('SELECT setseed(' . (($seed * 7919 + $life) % 1_000_000) / 1_000_000 . ')');
	if ($life % 5 == 0)
	{
		my @members = map { sprintf "ca9a0000-0000-4000-9000-%02d%010d", $_, $life } 1 .. 3;

		$who = "'" . $session->value("SELECT team_id FROM ducto_create_team('Team $life')") . "'";
		$session->run("SELECT ducto_add_team_member($who, '$_')") foreach @members;
		$members = "'{" . join(',', @members) . "}'";
		$zone    = 'UTC';
	}
	$session->run("SELECT live($life, $who, $members, $per_life, '$zone')");
	BAIL_OUT("life $life: " . $session->sqlstate . ' ' . $session->error->{message}) if defined $session->error;
	foreach my $line ($session->run("SELECT concat_ws('|', n, kind, coalesce(error, ''), coalesce(model, ''), coalesce(actor::text, ''), units(coalesce(amount, 0)),
		units(coalesce(allowance, 0)), coalesce(id::text, ''), coalesce(us(at), 0), CASE WHEN isfinite(expires_at) THEN us(expires_at) ELSE 0 END,
		coalesce(cap, ''), coalesce(action, ''), coalesce(us(length), 0), us(t0), us(t1), labels(t0, zone), labels(t1, zone),
		coalesce(labels(at, zone), ''), amount IS NOT NULL) FROM log WHERE life = $life ORDER BY n"))
	{
		my %entry = (life => $life);
		@entry{qw(n kind error model actor amount allowance id at expires cap action length t0 t1 l0 l1 lat limited)} = split /\|/, $line, -1;
		$entry{limited} = $entry{limited} eq 't';
		check($oracle, \%entry);
	}
	return;
}

# missing lists what no life has met yet.
sub missing
{
	return grep { !$count{$_} } ('charge ', 'charge cap_reached', 'reserve ', 'reserve cap_reached', 'deduct ', 'line ', 'release ', 'refund ',
		'list true', 'list false', 'listed ', 'publish ', 'plan ', 'member ', 'total ', 'set ', 'remove ', 'warning deny', 'warning warn', 'warning notify');
}

# A short run goes on until it has met everything, though not for ever.
my $more = 40;
for (my $base = 1; $seen < $events; $base++)
{
	begin_base("lives_$base");
	for (my $life = 1; $life <= $per_base && ($seen < $events || missing() && $more-- > 0); $life++)
	{
		run(($base - 1) * $per_base + $life);
	}
	end_base("lives_$base");
}
is($wrong, 0, "$seen events as by brute force (DUCTO_SEED=$seed)");
is(join(', ', missing()), '', 'there was everything that there can be');
$node->stop;
done_testing();
