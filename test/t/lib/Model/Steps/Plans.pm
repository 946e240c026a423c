
# Steps about plans, their cycles and allowances, about caps, and about what is
# published; and the plans.

package Model::Steps::Plans;

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(encode_json);
use Model::Compare qw(clock microseconds);
use Model::Pricing;
use Requests qw(chance one_of);
use Scalar::Util qw(looks_like_number);
use Storable qw(dclone);

# The plans that there are first, in credits. The last is published first, and then
# no more.
our %plans = (
	free   => { free_allowance => 60 },
	pro    => { free_allowance => 400, max_concurrent => 6, per_operation => { image => { max_concurrent => 2 } } },
	credit => {
		free_allowance       => 20,
		default_billing_mode => 'overdraft',
		overdraft_floor      => -6,
		per_operation        => { chat => { overdraft_floor => -15 }, image => { billing_mode => 'strict' } },
		grants               => [ { amount => 4 } ]
	},
	bare  => {},
	daily => {
		cycle          => 'day',
		free_allowance => 9,
		grants         => [ { amount => 25, rollover => { max => 12, cycles => 2 } }, { amount => 3, type => 'promo', priority => 90 } ]
	},
	weekly  => { cycle => 'week', grants => [ { amount => 40, priority => 20 } ] },
	monthly => {
		free_allowance => 30,
		grants         => [ { amount => 80, rollover => { cycles => 1 } }, { amount => 5, type => 'signup_bonus', expires => 'never' },
			{ amount => 6, expires => '10 days', priority => 10 } ]
	},
	yearly => {
		cycle          => 'year',
		free_allowance => 50,
		grants         => [ { amount => 200, type => 'promo', expires => 'never', priority => 60 } ]
	},
	old    => { free_allowance => 90, cycle => 'week', grants => [ { amount => 7 } ], retired => 1 });

# met lists what the sequences are for, as the model names it.
sub met
{
	return (
		'a hold that the allowance covers',
		'a plan that holds relied on, gone',
		'a debit that the allowance pays in part',
		'a refund of credits and allowance',
		'a refund of allowance to a user without a plan',
		'a refund that gives a cap room',
		'a cycle that begins',
		'credit that lives on',
		'credit that is too much to live on',
		'a debt that a cycle pays',
		'a plan that gives the rest',
		'a cycle that has given already',
		'cycles that are one',
		'a hold paid by an allowance that is gone',
		'a cap that changes',
		'a new cap whose window has seen something',
		'a plan of somebody that is retired',
		'a plan of somebody whose terms change',
		'a price that is charged with what others left',
		(map { "a cap_warning: $_" } qw(deny warn notify)));
}

# counted lists the outcomes that they are for.
sub counted
{
	return (
		'set_user_plan done', 'set_user_plan plan_not_found',
		'another version', 'a version of before', 'charge_usage done', 'charge_usage again', 'charge_usage insufficient_credits',
		'increment_usage_window done', 'increment_usage_window plan_not_found',
		'charge cap_reached', 'reserve cap_reached', 'set_spend_cap done', 'remove_spend_cap done', 'check_spend_cap done');
}

# initial is the configuration that a sequence begins with, of some plans.
sub initial
{
	my (@ids) = @_;

	return { price => 3000, min_balance => 5, plans => { map { $_ => $plans{$_} } @ids } };
}

# as_json prepares what is to be written as JSON: a number that was used as a text
# is a number again.
sub as_json
{
	my ($what) = @_;

	return [ map { as_json($_) } @$what ] if ref $what eq 'ARRAY';
	return { map { $_ => as_json($what->{$_}) } keys %$what } if ref $what;
	return looks_like_number($what) ? 0 + $what : $what;
}

# publication is a call that publishes a configuration.
sub publication
{
	my ($config) = @_;
	my %json = (
		models => { _default => sprintf('input_tokens * %.8f', $config->{price} / 1e8) },
		min_balance => $config->{min_balance},
		plans => {});

	foreach my $id (keys %{ $config->{plans} })
	{
		my %plan = (%{ $config->{plans}{$id} }, name => "Plan $id");

		delete @plan{qw(retired id)};
		$json{plans}{$id} = \%plan;
	}
	return "ducto_set_active_pricing('" . encode_json(as_json(\%json)) . "')";
}

# another_gift is something else that a cycle may give.
sub another_gift
{
	return {
		amount => 1 + int(rand 60),
		(chance(30) ? (priority => one_of(5, 50, 95)) : ()),
		(chance(30) ? (expires => one_of('never', '3 days', '20 days')) :
		  chance(40) ? (rollover => { cycles => 1 + int(rand 3), (chance(50) ? (max => 1 + int(rand 40)) : ()) }) : ())
	};
}

# another_config changes something of a configuration.
sub another_config
{
	my ($was) = @_;
	my $config = dclone($was);
	my $id     = one_of(sort keys %{ $config->{plans} });
	my $plan   = $config->{plans}{$id};
	my $gifts  = $plan->{grants} ||= [];
	my @changes = (
		sub { $plan->{free_allowance} = one_of(0, 5, 9, 30, 60, 400) },
		sub { $plan->{cycle} = one_of(qw(day week month year)) },
		sub { $gifts->[ rand @$gifts ]{amount} = 1 + int(rand 90) if @$gifts },
		sub { push @$gifts, another_gift() if @$gifts < 4 },
		sub { pop @$gifts },
		sub { $plan->{max_concurrent} = 1 + int(rand 6) },
		sub { @{$plan}{qw(default_billing_mode overdraft_floor)} = ('overdraft', -one_of(1, 6, 20)) },
		sub { delete @{$plan}{qw(default_billing_mode overdraft_floor per_operation)} },
		sub { $config->{min_balance} = one_of(0, 0, 5, 8) },
		sub { $config->{price} = one_of(3000, 1, 12_345, 40_000, 250_000_000) },
		sub { delete $config->{plans}{$id} if keys %{ $config->{plans} } > 3 },
		sub { my $back = one_of(sort keys %plans); $config->{plans}{$back} ||= $plans{$back} });

	one_of(@changes)->() foreach 1 .. 1 + int(rand 3);
	return $config;
}

# publish makes another configuration the active one, or one of before. Whose terms
# it changes, and when, is what the history of the plans says then.
sub publish
{
	my ($run, $step) = @_;
	my $world  = $run->{world};
	my $old    = chance(25) ? one_of(sort { $a <=> $b } keys %{ $world->{versions} }) : undef;
	my $config = $old ? $world->{versions}{$old} : another_config($world->{config});
	my $call   = $old ? "ducto_activate_pricing($old)" : publication($config);
	my $before = $run->{session}->value('SELECT ' . clock());
	my ($version, $error) = @{ $run->{session}->row("SELECT version, error FROM $call") };
	my $after = $run->{session}->value('SELECT ' . clock());
	my @changed = $run->{session}->rows('SELECT plan_id, ' . microseconds('since') . ' FROM ducto.plan_allowances'
		  . " WHERE since >= timestamptz 'epoch' + interval '$before microseconds' ORDER BY plan_id COLLATE \"C\"");
	my @should = $world->changed_plans($config);
	my $at = @changed ? $changed[0][1] : $after;

	push @{ $run->{log}{$_} }, sprintf('%.6f %s', $at / 1e6, $call) foreach @{ $run->{users} };
	return $run->differ($step, $run->{users}[0], "$call: $error") if $error;
	return $run->differ($step, $run->{users}[0], "$call: it changed the terms of @{[ map { $_->[0] } @changed ]}, should of @should")
	  if "@should" ne join(' ', map { $_->[0] } @changed) || grep { $_->[1] < $before || $_->[1] > $after } @changed;
	$world->adopt($version, $config, $at);
	$run->{counts}{ $old ? 'a version of before' : 'another version' }++;
	return $run->look($step);
}

# plans_again lets a plan come back within its cycle, which gives nothing again,
# and a hold be paid by the allowance of a plan that is gone.
sub plans_again
{
	my ($run, $step) = @_;
	my $user = $run->{users}[2];
	my $plan = sub { my ($id) = @_; [ 'set_user_plan', sub { return (user_id => $user, $id ? (plan_id => $id) : ()) } ] };
	my $hold = sub { $run->{world}->account($user, 0)->{holds}[-1]{id} };
	my @calls = (
		(map { $plan->($_) } qw(weekly daily weekly free)),
		[ 'transfer', sub { from_id => $user, to_id => $run->{users}[3] } ],
		[ 'reserve',  sub { user_id => $user, amount => 200_000, ttl_seconds => 600, min_balance => 0 } ],
		$plan->(undef),
		[ 'deduct', sub { user_id => $user, reservation_id => $hold->(), amount => 200_000 } ]);

	return $run->story($step, $user, @calls);
}

1;
