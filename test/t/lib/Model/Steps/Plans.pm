
# Steps about plans, their cycles and allowances, and about caps; and the plans.

package Model::Steps::Plans;

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(encode_json);

# The plans, in credits. The last is published first, and then no more.
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

$plans{$_}{id} = $_ foreach keys %plans;

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
		(map { "a cap_warning: $_" } qw(deny warn notify)));
}

# counted lists the outcomes that they are for.
sub counted
{
	return (
		'set_user_plan done', 'set_user_plan plan_not_found',
		'increment_usage_window done', 'increment_usage_window plan_not_found',
		'charge cap_reached', 'reserve cap_reached', 'set_spend_cap done', 'remove_spend_cap done', 'check_spend_cap done');
}

# publication is SQL that makes plans known, by a pricing configuration.
sub publication
{
	my (@ids) = @_;
	my %config = (models => { _default => '1' }, plans => {});

	foreach my $id (@ids)
	{
		my %plan = (%{ $plans{$id} }, name => "Plan $id");

		delete @plan{qw(retired id)};
		$config{plans}{$id} = \%plan;
	}
	return "SELECT ducto_set_active_pricing('" . encode_json(\%config) . "')";
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
