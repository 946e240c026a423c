
# Cheap calls against an oracle in whole numbers: a thousand random usages on
# accounts of all kinds, each in one of the ways in which a usage is charged.
# Every amount must be the price and what was carried over, rounded half up;
# in the end each account has paid its exact prices to less than 0.0001. Then
# many clients at once, whose prices are computed from what the ledger says
# was used. All that without digests in the ledger and with them.
#
# DUCTO_SEED repeats a run, DUCTO_STEPS is the number of usages in each half.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use JSON::PP qw(encode_json decode_json);
use Math::BigInt;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Test::More;

use constant STEPS => $ENV{DUCTO_STEPS} || 1000;

# A price is a count of 1e-20 credits here, an amount is 1e16 of them.
my $unit = Math::BigInt->new(10)->bpow(16);
my $half = Math::BigInt->new(10)->bpow(15)->bmul(5);

# The models: what each costs a token, as a fraction, and the same as an expression.
my %models = (
	tiny   => [ '48',    '1000000',     'input_tokens * 0.000048' ],
	small  => [ '15',    '100000000',   'input_tokens * 0.00000015' ],
	half   => [ '5',     '100000',      'input_tokens * 0.00005' ],
	third  => [ '1',     '3',           'input_tokens / 3' ],
	odd    => [ '1',     '70000',       'input_tokens * 0.0001 / 7' ],
	exact  => [ '25',    '100',         'input_tokens * 0.25' ],
	dear   => [ '12345', '100000',      'input_tokens * 0.12345' ],
	dust   => [ '1',     '10000000000', 'input_tokens * 1e-10' ]);

my %config = (
	models      => { map { $_ => $models{$_}[2] } keys %models },
	min_balance => 0,
	plans       => {
		free      => { name => 'Free', free_allowance => 40 },
		overdraft => { name => 'Overdraft', default_billing_mode => 'overdraft', overdraft_floor => -1000000 }
	});

my $node = PostgreSQL::Test::Cluster->new('cheap_calls');
my $seed = $ENV{DUCTO_SEED} // int(rand(2**31));
my (@accounts, @sessions);

# price is what a number of tokens costs, cut off behind 20 decimals.
sub price
{
	my ($model, $tokens) = @_;
	my ($numerator, $denominator) = @{ $models{$model} };

	return scalar(Math::BigInt->new(10)->bpow(20)->bmul($tokens)->bmul($numerator)->bdiv($denominator));
}

# charged is what a price takes from an account, in 1/10000 credits; the
# account's carry becomes what that leaves.
sub charged
{
	my ($account, $price) = @_;
	my $sum    = $account->{carry} + $price;
	my $amount = $price->copy->bmod($unit)->is_zero ? $price / $unit : ($sum + $half) / $unit;

	$account->{carry} = $sum - $amount * $unit;
	$account->{exact} += $price;
	$account->{paid}  += $amount;
	return $amount;
}

# units makes 1/10000 credits of a decimal.
sub units
{
	my ($decimal) = @_;

	$decimal =~ s/\.(\d{4})$/$1/ or die "$decimal has not four decimals";
	return Math::BigInt->new($decimal);
}

# account makes an account of some kind.
sub account
{
	my ($session, $kind) = @_;
	my $id = $session->value('SELECT gen_random_uuid()');
	my $account = { id => $id, kind => $kind, carry => Math::BigInt->bzero, exact => Math::BigInt->bzero, paid => Math::BigInt->bzero };

	$session->row("SELECT * FROM ducto_add_credits('$id', 1000000)");
	$session->row("SELECT * FROM ducto_set_user_plan('$id', '$kind')") if $config{plans}{$kind};
	$session->row("SELECT * FROM ducto_set_spend_cap('$id', 'daily', 10000000)") if $kind eq 'capped';
	$session->row("SELECT * FROM ducto_add_credits('$id', 5, 'promo', expires_at => now() + interval '1 day', priority => $_)")
	  foreach $kind eq 'grants' ? (1 .. 30) : ();
	if ($kind eq 'team')
	{
		$account->{team} = $session->value("SELECT team_id FROM ducto_create_team('Team', 1000000)");
		$session->row("SELECT * FROM ducto_add_team_member('$account->{team}', '$id')");
	}
	return $account;
}

# taken adds up what a call says that it took: of the allowance, of credits, and
# what was not there.
sub taken
{
	my ($row) = @_;
	my ($amount, $allowance, $shortfall) = @$row;

	return units($amount) + units($allowance) + units($shortfall);
}

# call charges a usage in one of the ways there are, and returns what it took.
sub call
{
	my ($session, $account, $usage, $key) = @_;
	my $way   = $account->{team} ? 'reserve' : (qw(charge charge charge reserve hold retry undo clamp))[ int(rand(8)) ];
	my $id    = $account->{id};
	my $took  = 'amount, allowance_consumed, shortfall';
	my $plain = "SELECT $took FROM ducto_charge_usage('$id', '$usage', idempotency_key => '$key')";
	my $row;

	if ($way eq 'reserve' || $way eq 'hold')
	{
		my $team = $account->{team} ? ", team_id => '$account->{team}'" : '';
		my $hold = $way eq 'hold' ? "ducto_reserve('$id', 0.0002)" : "ducto_reserve_usage('$id', '$usage'$team)";
		my ($reservation, $held) = @{ $session->row("SELECT reservation_id, amount FROM $hold") };

		$row = $session->row("SELECT $took FROM ducto_charge_usage('$id', '$usage', '$reservation', '$key', overrun => 'full')");
		die "$held does not cover @$row" if $way eq 'reserve' && taken($row) > units($held);
		return taken($row);
	}
	if ($way eq 'undo')
	{
		$session->run("BEGIN; $plain; ROLLBACK");
		$session->run("BEGIN; SAVEPOINT s; $plain; ROLLBACK TO s; COMMIT");
	}
	$plain =~ s/\)$/, overrun => 'clamp')/ if $way eq 'clamp';
	$row = $session->row($plain);
	die "$plain: $session->{error}{message}" if $session->error;
	if ($way eq 'retry')
	{
		my $again = $session->row($plain);
		die "$plain: @$again is not @$row" if "@$again" ne "@$row";
	}
	return taken($row);
}

# run_sequence charges random usages, and compares each amount.
sub run_sequence
{
	my ($name) = @_;
	my $wrong = 0;

	for my $step (1 .. STEPS)
	{
		my $account = $accounts[ int(rand(@accounts)) ];
		my $model   = (sort keys %models)[ int(rand(keys %models)) ];
		my $tokens  = int(rand(4)) ? int(rand(60)) : int(rand(5000));
		my $price   = price($model, $tokens);
		my $usage   = encode_json({ model => $model, input_tokens => $tokens });
		my $before  = $account->{carry}->bstr;
		my $took    = call($sessions[ int(rand(@sessions)) ], $account, $usage, "step-$step");
		my $should  = charged($account, $price);

		next if $took == $should;
		diag("seed $seed, step $step, $account->{kind}: $usage with a carry of $before took $took, should take $should");
		$wrong++;
	}
	return is($wrong, 0, "seed $seed, $name: " . STEPS . ' usages take what the oracle says');
}

# nothing_wrong lets the auditor look at accounts.
sub nothing_wrong
{
	my ($name, @ids) = @_;

	return is(join("\n", map { $sessions[0]->run("SELECT * FROM ducto_verify('$_')") } @ids), '', "$name: nothing to find for the auditor");
}

# paid_exactly looks at what each account has paid in all.
sub paid_exactly
{
	my ($name) = @_;

	foreach my $account (@accounts)
	{
		my $id   = $account->{team} || $account->{id};
		my $what = "$name, $account->{kind}";
		my ($paid, $carry, $entries) = @{ $sessions[0]->row("SELECT sum(allowance_consumed + coalesce(shortfall, 0) - amount),"
			  . " (SELECT trim_scale(carry * 1e20) FROM ducto.accounts WHERE id = '$id'), count(*)"
			  . " FROM ducto.ledger WHERE account_id = '$id' AND type = 'usage'") };

		is(units($paid)->bstr, $account->{paid}->bstr, "$what: $entries entries have taken what the oracle says");
		is($carry, $account->{carry}->bstr, "$what: the rest is carried over");
		cmp_ok(($account->{exact} - units($paid) * $unit)->babs, '<', $unit, "$what: to less than 0.0001");
		nothing_wrong($what, $id);
	}
	return;
}

# run_clients lets clients charge few accounts at once. What they used is what
# the ledger says; what it costs, the oracle.
sub run_clients
{
	my ($name) = @_;
	my @ids = map { account($sessions[0], $_)->{id} } qw(plain grants);
	my ($exact, $paid) = (Math::BigInt->bzero, Math::BigInt->bzero);

	$node->pgbench(
		'-n -c 6 -j 2 -t 60', 0, [qr{processed: 360/360}], [qr{^$}], "$name, clients at once",
		{
			"cheap_calls_$name" => q{
			\set tokens random(1, 50)
			\set model random(1, 3)
			\set account random(1, 2)
			SELECT ducto_charge_usage((ARRAY['} . join(q{'::uuid, '}, @ids) . q{'::uuid])[:account],
				jsonb_build_object('input_tokens', :tokens, 'model', (ARRAY['tiny', 'odd', 'exact'])[:model]));
		} });
	foreach my $row ($sessions[0]->rows("SELECT pricing->'usage', allowance_consumed - amount FROM ducto.ledger"
			  . " WHERE type = 'usage' AND account_id IN ('$ids[0]', '$ids[1]')"))
	{
		my $usage = decode_json($row->[0]);

		$exact += price($usage->{model}, $usage->{input_tokens});
		$paid  += units($row->[1]);
	}
	my $carry = Math::BigInt->new($sessions[0]->value("SELECT trim_scale(sum(carry) * 1e20) FROM ducto.accounts WHERE id IN ('$ids[0]', '$ids[1]')"));
	is(($exact - $paid * $unit)->bstr, $carry->bstr, "$name, clients at once: no carry is lost");
	return nothing_wrong("$name, clients at once", @ids);
}

srand($seed);
note("DUCTO_SEED=$seed");
$node->init;
$node->append_conf('postgresql.conf', "synchronous_commit = off");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ducto');
$node->safe_psql('postgres', "SELECT FROM ducto_set_active_pricing('" . encode_json(\%config) . "')");
foreach my $chain (qw(off on))
{
	my $name = "digests $chain";

	$node->safe_psql('postgres', "ALTER DATABASE postgres SET ducto.ledger_chain = $chain");
	@sessions = (Session->new($node), Session->new($node));
	@accounts = map { account($sessions[0], $_) } qw(plain other free overdraft grants capped team);
	run_sequence($name);
	paid_exactly($name);
	run_clients($name);
	is($sessions[0]->value('SELECT count(digest) > 0 FROM ducto.ledger'), $chain eq 'on' ? 't' : 'f', "$name: it is so");
	$_->quit foreach @sessions;
}
is($node->safe_psql('postgres', 'SET ducto.ledger_chain = off; SELECT * FROM ducto_verify()'), '', 'nothing to find for the auditor in all');
$node->stop;
done_testing();
