
# What spend caps must say, counted by brute force: every debit, refund and hold
# of an account is kept, and what a cap counts is summed from them at every
# question. Nothing of the engine's counters is used, nor its windows: hours,
# days, weeks and months are labels that PostgreSQL's date_trunc gave.
#
# Amounts are in 1/10000 credits, times in microseconds.

package CapOracle;

use strict;
use warnings FATAL => 'all';

my %label = (hourly => 0, daily => 1, weekly => 2, monthly => 3);

sub new
{
	my ($class) = @_;
	return bless { spends => [], holds => {}, caps => {} }, $class;
}

sub concerns
{
	my ($cap, $model) = @_;
	return $cap->{model} eq '' || $cap->{model} eq $model;
}

# What is held at a time.
sub held
{
	my ($self, $cap, $at) = @_;
	my $sum = 0;
	foreach my $hold (values %{ $self->{holds} })
	{
		$sum += $hold->{left} if concerns($cap, $hold->{model}) && $hold->{expires} > $at;
	}
	return $sum;
}

# What counts of the debits at a time, which has labels: at least, and at most.
sub spent
{
	my ($self, $cap, $at, $labels) = @_;
	my $type = $cap->{type};
	my ($least, $most) = (0, 0);

	foreach my $spend (@{ $self->{spends} })
	{
		next if !concerns($cap, $spend->{model});
		if ($type eq 'sliding')
		{
			$least += $spend->{left} if $spend->{at} > $at - $cap->{length};
			$most += $spend->{left} if $spend->{at} > $at - $cap->{length} - $cap->{length} / 60 - 61;
			next;
		}
		next if $type eq 'session' && ($at >= $cap->{until} || $spend->{at} < $cap->{from} || $spend->{at} >= $cap->{until});
		next if exists $label{$type} && $spend->{labels}[$label{$type}] ne $labels->[$label{$type}];
		$least += $spend->{left};
		$most += $spend->{left};
	}
	return ($least, $most);
}

sub counted
{
	my ($self, $cap, $at, $labels) = @_;
	my ($least, $most) = $self->spent($cap, $at, $labels);
	my $held = $self->held($cap, $at);
	return ($least + $held, $most + $held);
}

# A debit or a hold opens the sessions that are over.
sub opens
{
	my ($self, $model, $at) = @_;
	foreach my $cap (values %{ $self->{caps} })
	{
		next if $cap->{type} ne 'session' || !concerns($cap, $model) || $at < $cap->{until};
		$cap->{from} = $at;
		$cap->{until} = $at + $cap->{length};
	}
	return;
}

sub spend
{
	my ($self, $id, $model, $amount, $at, $labels) = @_;
	$self->opens($model, $at) if $amount > 0;
	push @{ $self->{spends} }, { id => $id, model => $model, left => $amount, first => $amount, at => $at, labels => $labels };
	return;
}

sub refund
{
	my ($self, $id, $amount) = @_;
	foreach my $spend (@{ $self->{spends} })
	{
		$spend->{left} -= $amount if $spend->{id} eq $id;
	}
	return;
}

sub hold
{
	my ($self, $id, $model, $amount, $at, $expires) = @_;
	$self->opens($model, $at);
	$self->{holds}{$id} = { model => $model, left => $amount, at => $at, expires => $expires };
	return;
}

# A session that a new cap finds opened with the first debit or open hold in its length.
sub find_session
{
	my ($self, $cap, $at, $after) = @_;
	my @opened = (map({ $_->{at} } grep({ $_->{first} > 0 && concerns($cap, $_->{model}) } @{ $self->{spends} })),
		map({ $_->{at} } grep({ $_->{left} > 0 && $_->{expires} > $at && concerns($cap, $_->{model}) } values %{ $self->{holds} })));

	@opened = sort { $a <=> $b } grep { $_ > $after && $_ <= $at } @opened;
	($cap->{from}, $cap->{until}) = @opened ? ($opened[0], $opened[0] + $cap->{length}) : ($cap->{until}, $cap->{until});
	return;
}

sub set
{
	my ($self, $type, $model, $limit, $action, $length, $at) = @_;
	my $cap = $self->{caps}{"$type $model"};

	if (!defined $cap)
	{
		$cap = $self->{caps}{"$type $model"} = { type => $type, model => $model, length => $length, from => 0, until => 0 };
		$self->find_session($cap, $at, $at - $length) if $type eq 'session';
	}
	if ($cap->{length} != $length)
	{
		$cap->{length} = $length;
		if ($type eq 'session' && $at < $cap->{until})
		{
			$cap->{until} = $cap->{from} + $length;
			if ($cap->{until} <= $at)
			{
				my $after = $cap->{until} - 1 > $at - $length ? $cap->{until} - 1 : $at - $length;
				$self->find_session($cap, $at, $after);
			}
		}
	}
	$cap->{limit} = $limit;
	$cap->{action} = $action;
	return;
}

# The deny caps that an amount on a model would exceed at a time: for certain, and possibly.
sub exceeded
{
	my ($self, $model, $amount, $at, $labels) = @_;
	my (@sure, @possible);

	foreach my $name (sort keys %{ $self->{caps} })
	{
		my $cap = $self->{caps}{$name};
		next if $cap->{action} ne 'deny' || !concerns($cap, $model);
		my ($least, $most) = $self->counted($cap, $at, $labels);
		push @sure, "$name: $least + $amount > $cap->{limit}" if $least + $amount > $cap->{limit};
		push @possible, $name if $most + $amount > $cap->{limit};
	}
	return (\@sure, \@possible);
}

1;
