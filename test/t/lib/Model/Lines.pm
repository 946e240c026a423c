
# Lines in the model (Model.pm): many charges to a hold by one entry.

package Model;

use strict;
use warnings FATAL => 'all';

use List::Util qw(max min sum0);
use Model;
use Model::Operations;
use Model::Pricing;

our %met;

# line_price is what a line costs, exactly: a usage by the prices that its hold was
# made under.
sub line_price
{
	my ($self, $line, $hold) = @_;
	my $config = $hold ? $hold->{config} : $self->{config};

	$met{'a line at a price of before'}++ if $line->{usage} && $config->{price} != $self->{config}{price};
	return $line->{usage} ? price_of($config, $line->{usage}) : rounded($line->{amount}) * REST_UNIT;
}

# line_model is the model of a line of a hold.
sub line_model
{
	my ($line, $hold) = @_;
	return $line->{model} // ($line->{usage} // {})->{model} // $hold->{model};
}

# new_lines returns the lines of a request whose keys are new, and whether one of the
# others was used for something else.
sub new_lines
{
	my ($account, $request) = @_;
	my (%seen, @new, $error);

	foreach my $line (@{ $request->{lines} })
	{
		my $known = $account->{keys}{ $line->{key} };

		$error = 'idempotency_conflict'
		  if $known && $known->{kind} ne 'line' && ($known->{kind} ne 'debit' || !defined $known->{row}{transaction_id});
		$met{'a line under the key of a debit'}++ if $known && $known->{kind} eq 'debit';
		$met{'a line that is twice in a batch'}++ if $seen{ $line->{key} };
		push @new, $line unless $known || $seen{ $line->{key} }++;
	}
	return (\@new, $error);
}

# spent_by_model tells what lines spend on which model: the allowance pays the first
# ones, and the last ones miss what could not be charged.
sub spent_by_model
{
	my ($hold, $lines, $charges, $charge, $allowed) = @_;
	my (@models, %place);

	foreach my $i (0 .. $#$lines)
	{
		my $model = line_model($lines->[$i], $hold);
		my $taken = min($charges->[$i], $charge);
		my $free  = min($taken, $allowed);
		my $place = $place{ $model // '' } //= do { push @models, [ $model, 0 ]; $models[-1] };

		$place->[1] += $taken - $free;
		$charge -= $taken;
		$allowed -= $free;
	}
	return \@models;
}

sub settle
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $hold    = hold($account, $request);
	my $final   = is_true($request->{final});
	my ($new, $error) = new_lines($account, $request);
	my $row   = {
		transaction_id     => undef,
		booked             => 0,
		skipped            => @{ $request->{lines} } - @$new,
		amount             => 0,
		balance_after      => $account->{balance},
		allowance_consumed => 0,
		shortfall          => 0,
		remaining          => $hold && $hold->{state} eq 'open' ? $hold->{remaining} : 0,
		error              => undef
	};
	my $carry = $account->{carry};
	my (@charges, $charge, $allowed, $amount, $entry, $models);

	if (!$error && !@$new && (@{ $request->{lines} } > 0 || $hold) && !($final && $hold && $hold->{state} eq 'open'))
	{
		$met{'lines that are all known'}++ if @{ $request->{lines} } > 0;
		return $row;
	}
	unless ($error)
	{
		@charges = map { carry_over($account, $self->line_price($_, $hold)) } @$new;
		$amount  = sum0(@charges);
		($error, $charge, $allowed) =
		  take_from($account, $hold, $amount, { final => $final ? 'true' : 'false', overrun => $request->{overrun} });
	}
	if ($error)
	{
		$account->{carry} = $carry;
		return { %$row, amount => nearest(sum0(map { $self->line_price($_, $hold) } @$new)), error => $error };
	}
	if (@$new)
	{
		$models = spent_by_model($hold, $new, \@charges, $charge, $allowed);
		$met{'lines of several models'}++ if @$models > 1;
		$met{'lines of several models of which a part is free'}++ if @$models > 1 && $allowed > 0 && $allowed < $charge;
		$entry = debit($account, $charge, $allowed,
			id        => $answer->{transaction_id},
			model     => @$models == 1 ? $models->[0][0] : undef,
			models    => $models,
			lines     => join(',', sort map { "$_->{key}=" . $self->line_price($_, $hold) } @$new),
			reference => $hold->{id});
		$account->{keys}{ $_->{key} } = { kind => 'line', target => '', row => {} } foreach @$new;
	}
	$row = {
		%$row,
		transaction_id     => $entry ? $entry->{id} : undef,
		booked             => scalar @$new,
		amount             => $entry ? -$entry->{amount} : 0,
		balance_after      => $account->{balance},
		allowance_consumed => $entry ? $entry->{allowance} : 0,
		shortfall          => $amount - $charge,
		remaining          => $hold->{state} eq 'open' ? $hold->{remaining} : 0
	};
	expire($account);
	$row->{balance_after} = $account->{balance} unless $entry;
	return $row;
}

1;
