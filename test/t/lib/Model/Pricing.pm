
# Pricing in the model (Model.pm): versions that are published and activated, what
# they make of the plans, and what a usage costs. Prices are in 1/10000 of the unit
# of money: 1/100000000 credit.

package Model;

use strict;
use warnings FATAL => 'all';

use List::Util qw(max);
use Model;

our %met;

use constant REST_UNIT => 10_000;

# flat writes what nests as a text, by which two can be compared.
sub flat
{
	my ($what) = @_;

	return '[' . join(',', map { flat($_) } @$what) . ']' if ref $what eq 'ARRAY';
	return '{' . join(',', map { "$_:" . flat($what->{$_}) } sort keys %$what) . '}' if ref $what;
	return $what // '';
}

# terms_of is what of a plan is in force from a time on, and not just from now.
sub terms_of
{
	my ($plan) = @_;
	return flat([ $plan->{free_allowance} // 0, $plan->{cycle} // 'month', $plan->{grants} // [] ]);
}

# changed_plans lists the plans whose terms a configuration changes.
sub changed_plans
{
	my ($self, $config) = @_;
	return grep { !$self->{plans}{$_} || terms_of($self->{plans}{$_}) ne terms_of($config->{plans}{$_}) }
	  sort keys %{ $config->{plans} };
}

# adopt makes a configuration the active one at a time. What happened until then
# did so by the terms before. A plan that it lacks stays as it is for those who
# have it.
sub adopt
{
	my ($self, $version, $config, $at) = @_;
	my %changed = map { $_ => 1 } $self->changed_plans($config);

	$self->account($_, $at) foreach keys %{ $self->{accounts} };
	$self->{config} = $self->{versions}{$version} = $config;
	$self->{plans}{$_} = { %{ $self->{plans}{$_} }, retired => 1 } foreach keys %{ $self->{plans} };
	$self->{plans}{$_} = { %{ $config->{plans}{$_} }, id => $_, retired => 0 } foreach keys %{ $config->{plans} };
	foreach my $account (values %{ $self->{accounts} })
	{
		my $id = $account->{plan_id};

		next unless defined $id && $account->{plan};
		$account->{plan} = $self->{plans}{$id};
		$met{'a plan of somebody that is retired'}++ if $account->{plan}{retired};
		next unless $changed{$id};
		$met{'a plan of somebody whose terms change'}++;
		expire($account, $at);
	}
	return;
}

# price_of is what a usage costs under a configuration, exactly.
sub price_of
{
	my ($config, $usage) = @_;
	return $usage->{input_tokens} * $config->{price};
}

# nearest is a price as money, half up.
sub nearest
{
	my ($price) = @_;
	return $price < 0 ? 0 : int(($price + REST_UNIT / 2) / REST_UNIT);
}

# carry_over charges a price to the nearest unit, half up, with what former prices
# have left, and keeps what that leaves.
sub carry_over
{
	my ($account, $price) = @_;
	my $sum    = $account->{carry} + $price;
	my $amount = nearest($sum);

	$met{'a price that is charged with what others left'}++ if $amount != nearest($price);
	$account->{carry} = $sum - $amount * REST_UNIT;
	return $amount;
}

# charge_usage charges what a usage costs at the active pricing.
sub charge_usage
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $price   = price_of($self->{config}, $request->{usage});
	my %charge  = (%$request, model => $request->{usage}{model});

	return $self->charged($account, \%charge, $answer, sub {
		my ($error) = @_;
		return ($error ? nearest($price) : carry_over($account, $price), $price > 0);
	});
}

1;
