
# Accounts that are swept together against accounts that are swept one by one.
# There are two of each account: what is done to one is done to the other. One
# side is swept as a set, the other account by account. Everything that is in the
# tables must be the same. The accounts are of all kinds: plans whose cycles give
# credit that lives on or not, grants, holds, caps, alerts, teams, and some with
# more to do than a set does. Between the sweeps time passes, hours or months,
# and the pricing changes.
#
# DUCTO_SEED repeats a run, DUCTO_STEPS is the number of sweeps in each half.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

use constant STEPS => $ENV{DUCTO_STEPS} || 10;

my $json = JSON::PP->new->canonical;
my $node = PostgreSQL::Test::Cluster->new('sets');
my $seed = $ENV{DUCTO_SEED} // int(rand(2**31));
my @kinds = (qw(plain grants grants held late many team team), map { ($_) x 3 } qw(free monthly daily capped told));
my ($session, %id, %seen);
my $differing = 0;

# of picks one of a list.
sub of
{
	return $_[ int(rand(@_)) ];
}

# both runs statements for both sides. :id(n) stands for the nth account.
sub both
{
	my ($sql) = @_;

	foreach my $side (qw(a b))
	{
		(my $text = $sql) =~ s/:id\((\d+)\)/"'$id{$side}[$1]'"/ge;
		$session->run($text);
		die "$session->{error}{message}: $text" if $session->error;
	}
	return;
}

# soon is a time some hours from now, the same on both sides.
sub soon
{
	return $session->value("SELECT to_char(date_trunc('hour', ducto.clock()) + interval '1 hour' * " . (1 + int(rand(60))) . ", 'YYYY-MM-DD HH24:MI:SSOF')");
}

# publish makes pricing whose plans give what they give at random.
sub publish
{
	my @expires = map { of({}, { expires => 'never' }, { expires => '45 days' }, { rollover => { max => of(2, 50), cycles => of(1, 2) } }) } 1 .. 3;
	my %config = (
		models => { _default => '1' }, min_balance => 0, alerts => { balance => [ of(3, 6) ] },
		plans  => {
			free    => { name => 'Free', free_allowance => of(5, 10) },
			monthly => { name => 'Monthly', free_allowance => of(0, 4), grants => [ { amount => of(10, 20), %{ $expires[0] } }, { amount => 3, %{ $expires[1] }, priority => 10 } ] },
			daily   => { name => 'Daily', cycle => 'day', grants => [ { amount => of(2, 5), %{ $expires[2] } } ] },
			capped  => { name => 'Capped', grants => of([], [ { amount => 9 } ]), caps => [ { cap_type => 'monthly', cap_limit => of(20, 30), action => 'warn' } ] }
		});

	$session->run("SELECT error FROM ducto_set_active_pricing('" . $json->encode(\%config) . "')");
	die $session->{error}{message} if $session->error;
	return;
}

# give adds some grants to an account.
sub give
{
	my ($n, $count) = @_;
	my $call = $kinds[$n] eq 'team' ? 'ducto_add_team_credits' : 'ducto_add_credits';

	both("SELECT $call(:id($n), " . (1 + int(rand(9))) . ", 'promo', expires_at => '" . soon() . "', priority => " . int(rand(100)) . ')') foreach 1 .. $count;
	return;
}

# hold holds something on an account, for some hours.
sub hold
{
	my ($n, $amount) = @_;
	my $whose = $kinds[$n] eq 'team' ? ":id(0), $amount, team_id => :id($n)" : ":id($n), $amount";

	return both("SELECT ducto_reserve($whose, min_balance => 0, ttl_seconds => 3600 * " . (1 + int(rand(30))) . ')');
}

# make_account makes an account of some kind on both sides.
sub make_account
{
	my ($n) = @_;
	my $kind = $kinds[$n];

	foreach my $side (qw(a b))
	{
		$id{$side}[$n] = $kind eq 'team' ? $session->value("SELECT team_id FROM ducto_create_team('Team', 50)") : sprintf('%s0000000-0000-4000-8000-%012x', $side, $n);
		$session->run("INSERT INTO whose VALUES ('$id{$side}[$n]', '$side', $n)");
	}
	return both('SELECT ducto_add_team_member(:id(' . $n . '), :id(0), spend_cap => 1000)') if $kind eq 'team';
	both("SELECT ducto_add_credits(:id($n), " . of(2, 12, 30) . ", 'purchase')");
	both("SELECT ducto_set_user_plan(:id($n), '$kind')") if $kind =~ /free|monthly|daily|capped/;
	both("SELECT ducto_set_spend_cap(:id($n), 'daily', 30, 'notify')") if $kind =~ /capped|daily/;
	both("SELECT ducto_set_alerts(:id($n), '{20,8}')") if $kind eq 'told';
	return;
}

# time_passes lets something happen to some accounts, and time pass.
sub time_passes
{
	foreach my $n (0 .. $#kinds)
	{
		give($n, $kinds[$n] eq 'many' ? 40 : 1 + int(rand(3))) if $kinds[$n] =~ /grants|late|many|told/ || rand() < 0.2;
		hold($n, of(1, 2, 5)) foreach 1 .. ($kinds[$n] eq 'many' ? of(2, 40) : $kinds[$n] =~ /held|late|capped/ || rand() < 0.3 ? 1 + int(rand(3)) : 0);
		both("SELECT ducto_charge(:id($n), " . of(0.5, 1, 3) . ')') if $kinds[$n] ne 'team' && rand() < 0.5;
	}
	publish() if rand() < 0.3;
	$session->run("SELECT ducto_advance_clock('1 hour'::interval * " . of(1, 5, 30, 24 * 35, 24 * 100) . ')');
	return;
}

# sweep sweeps the accounts of a side, so many together, and returns by how many
# statements the ledger was written.
sub sweep
{
	my ($side, $together) = @_;
	my @ids = sort @{ $id{$side} };

	$session->run("SELECT setval('statements', 0)");
	while (my @some = splice(@ids, 0, $together))
	{
		my $done = $session->value("SELECT ducto.sweep_accounts('{" . join(',', @some) . "}')");
		die $session->{error}{message} if $session->error;
		is($done, scalar @some, 'all of them are done') if $done != @some;
	}
	return $session->value("SELECT last_value FROM statements");
}

# content is what the tables have of a side, without ids, and times by the hour.
sub content
{
	my ($side) = @_;
	my $whose = "JOIN whose w ON w.side = '$side' AND w.id = account_id";
	my $hour = sub { map { "date_trunc('hour', $_)" } @_ };
	my @rows;

	foreach my $query (
		join(', ', "SELECT 'account', w.n, kind, balance, held, expiring, lifetime_purchased, last_seq, plan_id, allowance_used, held_from_credits, promised,"
		. ' trim_scale(carry), caps, caps_version, plain, chain_head IS NULL, alert_below, alert_mark', $hour->(qw(next_boundary cycle_start cycle_end ended_until)))
		. " FROM (SELECT id AS account_id, * FROM ducto.accounts) a $whose ORDER BY w.n",
		join(', ', "SELECT 'entry', w.n, seq, amount, balance_after, type, operation_type, model, allowance_consumed, shortfall, burned_amounts,"
		. ' lifetime_purchased, priority, metadata, digest IS NULL', $hour->(qw(expires_at effective_at cycle_end))) . " FROM ducto.ledger $whose ORDER BY w.n, seq",
		join(', ', "SELECT 'grant', w.n, seq, type, amount, remaining, priority, live, rollover", $hour->(qw(expires_at rolls_to created_at)))
		. " FROM ducto.grants $whose ORDER BY w.n, seq",
		join(', ', "SELECT 'hold', w.n, amount, remaining, state, cap_held, skip_allowance, ceiling", $hour->(qw(expires_at closed_at)))
		. " FROM ducto.reservations $whose ORDER BY w.n, created_at",
		join(', ', "SELECT 'cap', w.n, cap_type, model, cap_limit, action, of_plan, spent, held", $hour->('window_until'))
		. " FROM ducto.spend_caps $whose ORDER BY w.n, cap_type, model",
		"SELECT 'member', w.n, spent, held FROM (SELECT team_id AS account_id, * FROM ducto.team_members) m $whose ORDER BY w.n",
		"SELECT 'event', w.n, kind, payload - '{seq,reservation_id,user_id,members,expired_at,idempotency_key}'::text[] AS payload"
		. " FROM ducto.events $whose ORDER BY w.n, kind, payload")
	{
		push @rows, $session->run($query);
		die "$session->{error}{message}: $query" if $session->error;
	}
	return @rows;
}

# compare_content compares what both sides have.
sub compare_content
{
	my ($when) = @_;
	my @a = content('a');
	my @b = content('b');

	for my $i (0 .. ($#a > $#b ? $#a : $#b))
	{
		next if ($a[$i] // '') eq ($b[$i] // '');
		$differing++;
		diag("seed $seed, $when:\n  set:   " . ($a[$i] // '') . "\n  alone: " . ($b[$i] // '')) if $differing < 10;
	}
	return;
}

srand($seed);
note("DUCTO_SEED=$seed");
$node->init;
$node->append_conf('postgresql.conf', "synchronous_commit = off");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET ducto.test_clock = on');
# Whose account is which, and how many statements write the ledger.
$node->safe_psql('postgres', q{
	CREATE TABLE whose (id uuid PRIMARY KEY, side text, n integer);
	CREATE SEQUENCE statements MINVALUE 0;
	CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('public.statements'); RETURN NULL; END $$;
	CREATE TRIGGER count_statement AFTER INSERT ON ducto.ledger FOR EACH STATEMENT EXECUTE FUNCTION count_statement();
});
foreach my $chain (qw(off on))
{
	my $was = $differing;
	my ($together, $alone) = (0, 0);

	$node->safe_psql('postgres', "ALTER DATABASE postgres SET ducto.ledger_chain = $chain");
	$session = Session->new($node);
	# To the middle of an hour, so that no hour ends while both sides do the same.
	$session->run("SELECT ducto_advance_clock(date_trunc('hour', ducto.clock()) + interval '90 minutes' - ducto.clock())");
	publish();
	if ($chain eq 'off')
	{
		make_account($_) foreach 0 .. $#kinds;
	}
	foreach my $step (1 .. STEPS)
	{
		time_passes();
		$together += sweep('a', 1000);
		$alone += sweep('b', 1);
		compare_content("digests $chain, step $step");
		last if $differing > 0;
	}
	is($differing - $was, 0, "seed $seed, digests $chain: a set comes to what its accounts come to alone");
	cmp_ok($together * 3, '<', $alone, "digests $chain: a set writes its entries together");
	is($session->value("SELECT string_agg(concat_ws(' ', account_id, check_name, expected, actual), ', ') FROM ducto_verify() WHERE check_name <> 'test clock'"),
		undef, "digests $chain: nothing to find for the auditor");
	$seen{$_->[0]} += $_->[1] foreach $session->rows(q{
		SELECT 'expiries', count(*) FROM ducto.ledger WHERE type = 'expiry' UNION ALL SELECT 'gifts', count(*) FROM ducto.ledger WHERE cycle_end IS NOT NULL
		UNION ALL SELECT 'grants that live on', count(*) FROM ducto.grants WHERE rolls_to = expires_at
		UNION ALL SELECT 'expired holds', count(*) FROM ducto.reservations WHERE state = 'expired'
		UNION ALL SELECT 'events of a balance', count(*) FROM ducto.events WHERE kind LIKE 'balance%'});
	$session->quit;
}
ok($seen{$_}, "there were some: $_") foreach sort keys %seen;
$node->stop;
done_testing();
