
# Batches against the calls that they stand for. There are two of each account:
# one gets random batches, the other the same operations one by one, accounts in
# the order of their ids, each account's in the order of the batch. Every row
# and everything that is in the tables must be the same. The accounts are of all
# kinds: plans, caps, grants, holds, teams, prices that leave a rest, none at all.
# Between the batches time passes.
#
# DUCTO_SEED repeats a run, DUCTO_STEPS is the number of batches in each half.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

use constant STEPS => $ENV{DUCTO_STEPS} || 12;

my $json = JSON::PP->new->canonical;
my $node = PostgreSQL::Test::Cluster->new('many');
my $seed = $ENV{DUCTO_SEED} // int(rand(2**31));
my @kinds = qw(plain plain grants grants free relies overdraft capped capped held late new new);
my ($session, %team, %seen);
my $differing = 0;
my $published = 0;

my %config = (
	models      => { tiny => 'input_tokens * 0.000048', third => 'input_tokens / 3', dear => 'input_tokens * 0.25' },
	fixed       => { report => 2 },
	min_balance => 0,
	plans       => {
		free      => { name => 'Free', free_allowance => 15, features => { export => JSON::PP::true },
			rate_overrides => { dear => 'input_tokens * 0.2' } },
		overdraft => { name => 'Overdraft', default_billing_mode => 'overdraft', overdraft_floor => -20 }
	});

# of picks one of a list.
sub of
{
	return $_[ int(rand(@_)) ];
}

# id is that of the nth account of a side.
sub id
{
	my ($side, $n) = @_;
	return sprintf('%s0000000-0000-4000-8000-%012x', $side, $n);
}

# both runs a statement for both sides. :id(n) stands for the nth account, :team for the team.
sub both
{
	my ($sql) = @_;

	foreach my $side (qw(a b))
	{
		(my $text = $sql) =~ s/:id\((\d+)\)/"'" . id($side, $1) . "'"/ge;
		$text =~ s/:team/'$team{$side}'/g;
		$session->row($text);
	}
	return;
}

# publish makes the prices active, with another cap of a plan than before.
sub publish
{
	$config{plans}{free}{caps} = [ { cap_type => 'weekly', cap_limit => 12 + 9 * (++$published % 3), action => of('deny', 'warn') },
		{ cap_type => 'monthly', cap_limit => 25, model => 'dear' } ];
	return $session->row("SELECT version FROM ducto_set_active_pricing('" . $json->encode(\%config) . "')");
}

# soon is a time some hours from now, the same on both sides.
sub soon
{
	return $session->value("SELECT to_char(date_trunc('hour', ducto.clock()) + interval '1 hour' * " . (1 + int(rand(60))) . ", 'YYYY-MM-DD HH24:MI:SSOF')");
}

# make_account makes an account of some kind on both sides.
sub make_account
{
	my ($n) = @_;
	my $kind = $kinds[$n];

	return if $kind eq 'new';
	both("SELECT ducto_add_credits(:id($n), " . ($kind eq 'relies' ? 3 : 30) . ", 'purchase')");
	both("SELECT ducto_set_user_plan(:id($n), '" . ($kind eq 'relies' ? 'free' : $kind) . "')") if $config{plans}{$kind} || $kind eq 'relies';
	both("SELECT ducto_reserve(:id($n), 14, min_balance => 0, ttl_seconds => 1000000)") if $kind eq 'relies';
	if ($kind eq 'grants' || $kind eq 'late' || $kind eq 'free')
	{
		foreach (1 .. 4)
		{
			my $when = soon();
			my $priority = int(rand(100));
			my $amount = 1 + int(rand(15));
			both("SELECT ducto_add_credits(:id($n), $amount, 'promo', expires_at => '$when', priority => $priority)");
		}
	}
	both("SELECT ducto_set_spend_cap(:id($n), 'daily', 30); SELECT ducto_set_spend_cap(:id($n), 'monthly', 12, 'warn', 'dear')") if $kind eq 'capped';
	both("SELECT ducto_reserve(:id($n), 20, ttl_seconds => " . of(60, 100000) . ')') if $kind =~ /held|late|free|capped/;
	return;
}

# make_team makes a team on both sides, of which the first accounts are members.
sub make_team
{
	foreach my $side (qw(a b))
	{
		$team{$side} = $session->value("SELECT team_id FROM ducto_create_team('Team', 50)");
	}
	both('SELECT ducto_add_team_member(:team, :id(0)); SELECT ducto_add_team_member(:team, :id(1), spend_cap => 8)');
	return both("SELECT ducto_add_team_credits(:team, 10, 'promo', expires_at => '" . soon() . "')");
}

# maybe adds a field to some elements.
sub maybe
{
	my ($element, $chance, $field, @values) = @_;
	$element->{$field} = of(@values) if rand() < $chance;
	return;
}

# amount is a random amount, sometimes as a text, with more decimals than there are, or 0.
sub amount
{
	return of(0, 1, 5, 0.00014, 2.5, '3.00005', 12, 40, 0.25, 1);
}

# a_charge is a random element of ducto_charge_many; user and team are numbers yet.
sub a_charge
{
	my %element = (user_id => int(rand(@kinds)));

	maybe(\%element, 0.4, 'idempotency_key', map { "key $_" } 1 .. 12);
	maybe(\%element, 0.2, 'metadata', { request => int(rand(9)) }, {}, undef);
	if (rand() < 0.15)
	{
		return { %element, user_id => of(0, 1, 2), team_id => of('team', 'team', 'none'), amount => of(1, 3, '0.5', 30) };
	}
	if (rand() < 0.3)
	{
		maybe(\%element, 0.3, 'overrun', qw(reject clamp full));
		return { %element, usage => of({ model => of('tiny', 'third', 'dear', 'unknown'), input_tokens => int(rand(40)) }, { fixed_job => 'report' }) };
	}
	maybe(\%element, 0.3, 'model', 'dear', 'cheap');
	maybe(\%element, 0.3, 'overrun', qw(reject clamp full), undef);
	maybe(\%element, 0.2, 'min_balance', 0, 5, '20');
	maybe(\%element, 0.2, 'operation_type', 'chat', 'image');
	maybe(\%element, 0.2, 'skip_allowance', JSON::PP::true, JSON::PP::false);
	maybe(\%element, 0.1, 'required_feature', 'export');
	return { %element, amount => amount() };
}

# a_credit is a random element of ducto_add_credits_many.
sub a_credit
{
	my %element = rand() < 0.1 ? (team_id => of('team', 'none')) : (user_id => int(rand(@kinds)));

	maybe(\%element, 0.4, 'idempotency_key', map { "key $_" } 8 .. 20);
	return { %element, amount => of(-5, -1, 0, -40), type => 'adjustment' } if rand() < 0.25;
	maybe(\%element, 0.3, 'expires_at', soon());
	maybe(\%element, 0.2, 'priority', 0, 10, 90);
	return { %element, amount => of(1, '2.55555', 7, 0.5), type => of('purchase', 'promo') };
}

# resolved is an element of a side.
sub resolved
{
	my ($side, $element) = @_;
	my %own = %$element;

	$own{user_id} = id($side, $own{user_id}) if defined $own{user_id};
	$own{team_id} = $own{team_id} eq 'team' ? $team{$side} : id($side, 999) if defined $own{team_id};
	return \%own;
}

# argument is a value as an argument.
sub argument
{
	my ($name, $value) = @_;

	return "$name => NULL" unless defined $value;
	return "$name => " . ($value ? 'true' : 'false') if JSON::PP::is_bool($value);
	$value = $json->encode($value) if ref $value;
	return "$name => '$value'";
}

# single is the call that an element stands for.
sub single
{
	my ($function, $element) = @_;
	my %own = %$element;

	if ($function eq 'ducto_add_credits_many')
	{
		$function = defined $own{team_id} ? 'ducto_add_team_credits' : 'ducto_add_credits';
	}
	else
	{
		$function = defined $own{team_id} ? 'ducto_deduct_team' : defined $own{usage} ? 'ducto_charge_usage' : 'ducto_charge';
	}
	return "$function(" . join(', ', map { argument($_, $own{$_}) } sort keys %own) . ') r';
}

# told is what a row tells, without ids, and without what the single calls of a team do not have.
my %told = (
	ducto_charge_many => [ qw(amount balance_after allowance_consumed shortfall idempotent cap_warning error) ],
	ducto_deduct_team => [ qw(amount team_balance_after 0.0000 0.0000 idempotent NULL::text error) ],
	ducto_add_credits_many => [ qw(amount new_balance lifetime_purchased expires_at idempotent error) ]);
sub told
{
	my ($of) = @_;
	return join(', ', 'transaction_id IS NOT NULL', @{ $told{$of} });
}

# run_batch calls a function with elements on the one side, and the single calls on the other.
sub run_batch
{
	my ($function, @elements) = @_;
	my $array = $json->encode([ map { resolved('a', $_) } @elements ]);
	my @many = map { join('|', map { $_ // 'null' } @$_) } $session->rows('SELECT ' . told($function) . " FROM $function('$array') ORDER BY position");
	die "$session->{error}{message}: $array" if $session->error;
	my @order = sort { (defined $elements[$a]{team_id}) <=> (defined $elements[$b]{team_id}) || (defined $elements[$a]{team_id}
		? $a <=> $b : $elements[$a]{user_id} <=> $elements[$b]{user_id} || $a <=> $b) } 0 .. $#elements;
	my @one;

	foreach my $place (@order)
	{
		my $call = single($function, resolved('b', $elements[$place]));
		my $columns = told($call =~ /^ducto_deduct_team/ ? 'ducto_deduct_team' : $function);
		my $row = $session->row("SELECT $columns FROM $call");
		$one[$place] = join('|', map { $_ // 'null' } @$row);
	}
	foreach my $place (0 .. $#elements)
	{
		my ($error) = $one[$place] =~ /\|([a-z_]+)$/;
		$seen{ $one[$place] =~ /\|t\|/ && $one[$place] !~ /^f/ ? 'replay' : $error ne 'null' ? $error : 'booked' }++;
		next if $many[$place] eq $one[$place];
		$differing++;
		diag("seed $seed, $function, element $place: " . $json->encode($elements[$place]) . "\n  many: $many[$place]\n  one:  $one[$place]");
	}
	return;
}

# read_rows returns the rows of a query that must not fail, and must find some.
sub read_rows
{
	my ($sql) = @_;
	my @rows = $session->rows($sql);

	die "$session->{error}{message}: $sql" if $session->error;
	die "no rows: $sql" if @rows == 0;
	return @rows;
}

# content is what the tables have of a side, without ids and times that differ.
sub content
{
	my ($side) = @_;
	my $users = "'" . join("','", map { id($side, $_) } 0 .. $#kinds) . "'";
	my $who = "CASE account_id WHEN '$team{$side}' THEN 'team' ELSE right(account_id::text, 3) END";
	my $mine = "account_id IN ($users, '$team{$side}')";
	my @rows;

	push @rows, map { join('|', map { $_ // 'null' } @$_) } read_rows($_) foreach (
		"SELECT 'account', " . ($who =~ s/account_id/id/gr) . ", kind, balance, held, expiring, lifetime_purchased, last_seq, plan_id, cycle_start, cycle_end,"
		. " allowance_used, held_from_credits, promised, trim_scale(carry), caps, caps_version, plain, ended_until IS NULL, chain_head IS NULL FROM ducto.accounts"
		. ' WHERE ' . ($mine =~ s/account_id/id/r) . ' ORDER BY 2',
		"SELECT 'entry', $who, seq, amount, balance_after, type, operation_type, right(actor::text, 3), model, idempotency_key, allowance_consumed, shortfall,"
		. ' cap_warning, burned_amounts, lifetime_purchased, expires_at, priority, exact_price, pricing, metadata, digest IS NULL'
		. " FROM ducto.ledger WHERE $mine ORDER BY 2, 3",
		"SELECT 'grant', $who, seq, type, amount, remaining, priority, expires_at, live FROM ducto.grants WHERE $mine ORDER BY 2, 3",
		"SELECT 'cap', $who, cap_type, model, cap_limit, action, of_plan, window_from, window_until, spent, held FROM ducto.spend_caps WHERE $mine ORDER BY 2, 3, 4",
		"SELECT 'member', right(user_id::text, 3), CASE WHEN month = date_trunc('month', ducto.clock()) THEN spent ELSE 0.0000 END, held FROM ducto.team_members WHERE team_id = '$team{$side}' ORDER BY 2");
	$seen{'promises of the allowance'} += $session->value("SELECT count(*) FROM ducto.accounts WHERE promised > 0 AND held > balance");
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
		diag("seed $seed, $when:\n  many: " . ($a[$i] // '') . "\n  one:  " . ($b[$i] // '')) if $differing < 10;
	}
	return;
}

# time_passes lets some hours pass, and hold something on both sides.
sub time_passes
{
	$session->run("SELECT ducto_advance_clock('1 hour'::interval * " . of(0, 0, 1, 5, 30) . ')');
	my $n = of(0 .. @kinds - 3, 4, 5);

	publish() if rand() < 0.5;
	both("SELECT ducto_reserve(:id($n), " . of(1, 4, 9, 25) . ', min_balance => 0, ttl_seconds => ' . of(60, 7200, 400000) . ')');
	return;
}

srand($seed);
note("DUCTO_SEED=$seed");
$node->init;
$node->append_conf('postgresql.conf', "synchronous_commit = off");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET ducto.test_clock = on');
foreach my $chain (qw(off on))
{
	my $was = $differing;

	$node->safe_psql('postgres', "ALTER DATABASE postgres SET ducto.ledger_chain = $chain");
	$session = Session->new($node);
	# To the middle of an hour, so that no hour ends while both sides do the same.
	$session->run("SELECT ducto_advance_clock(date_trunc('hour', ducto.clock()) + interval '90 minutes' - ducto.clock())");
	if ($chain eq 'off')
	{
		publish();
		make_account($_) foreach 0 .. $#kinds;
		make_team();
	}
	foreach my $step (1 .. STEPS)
	{
		run_batch('ducto_charge_many', map { a_charge() } 1 .. 1 + int(rand(60)));
		run_batch('ducto_add_credits_many', map { a_credit() } 1 .. 1 + int(rand(12)));
		compare_content("digests $chain, step $step") if $step % 2 == 0 || $step == STEPS;
		last if $differing > 0;
		time_passes();
	}
	is($differing - $was, 0, "seed $seed, digests $chain: batches do what their calls do");
	is($session->value("SELECT string_agg(concat_ws(' ', account_id, check_name, expected, actual), ', ') FROM ducto_verify() WHERE check_name <> 'test clock'"),
		undef, "digests $chain: nothing to find for the auditor");
	$session->quit;
}
ok($seen{$_}, "there were some: $_")
  foreach 'promises of the allowance', qw(booked replay insufficient_credits cap_reached feature_not_entitled idempotency_conflict team_not_found user_not_in_team model_not_priced);
$node->stop;
done_testing();
