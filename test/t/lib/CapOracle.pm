
# What spend caps must say, counted by brute force: every debit, refund and hold
# of an account is kept, and what a cap counts is summed from them at every
# question. Nothing of the engine's counters is used, nor its windows: hours,
# days, weeks and months are labels that PostgreSQL's date_trunc gave.
#
# Amounts are in 1/10000 credits, times in microseconds. What is spent or held
# has a model and, in a team's pool, a member who did it. A member's cap is one
# of all models in the months of UTC.
#
# Caps that a plan has come to an account with the first call that locks it after
# they were published: a session of a new one is sought at that moment.

package CapOracle;

use strict;
use warnings FATAL => 'all';

use List::Util qw(max min sum0);

my %label    = (hourly => 0, daily => 1, weekly => 2, monthly => 3);
my %strength = (notify => 1, warn => 2, deny => 3);

sub new
{
	my ($class) = @_;
	return bless { spends => [], holds => {}, caps => {}, terms => {}, free => 0, stale => 0 }, $class;
}

# concerns tells whether a cap counts what has a model and a member.
sub concerns
{
	my ($cap, $what) = @_;
	return defined $cap->{actor} ? $cap->{actor} eq $what->{actor} : $cap->{model} eq '' || $cap->{model} eq $what->{model};
}

# open_holds lists the holds that there are at a time.
sub open_holds
{
	my ($self, $at) = @_;
	return grep { $_->{left} > 0 && $_->{expires} > $at } values %{ $self->{holds} };
}

# held is what counts of the holds at a time: what they were admitted for beyond
# the allowance, and no more than is left of them.
sub held
{
	my ($self, $cap, $at) = @_;
	return sum0(map { min($_->{counted}, $_->{left}) } grep { concerns($cap, $_) } $self->open_holds($at));
}

# spent is what counts of the debits at a time, which has labels: at least, and at most.
sub spent
{
	my ($self, $cap, $at, $labels) = @_;
	my $type = $cap->{type};
	my ($least, $most) = (0, 0);

	foreach my $spend (@{ $self->{spends} })
	{
		next if !concerns($cap, $spend);
		if ($type eq 'sliding')
		{
			$least += $spend->{left} if $spend->{at} > $at - $cap->{length};
			$most += $spend->{left} if $spend->{at} > $at - $cap->{length} - $cap->{length} / 60 - 61;
			next;
		}
		next if $type eq 'session' && ($at >= $cap->{until} || $spend->{at} < $cap->{from} || $spend->{at} >= $cap->{until});
		next if exists $label{$type} && $spend->{labels}[ $label{$type} ] ne $labels->[ $label{$type} ];
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

# --- allowance ---------------------------------------------------------------

# allowance is what is left of the plan's in the month of a time, which has labels.
sub allowance
{
	my ($self, $labels) = @_;
	my $month = $label{monthly};
	return max(0, $self->{free} - sum0(map { $_->{allowance} } grep { $_->{labels}[$month] eq $labels->[$month] } @{ $self->{spends} }));
}

# beyond_allowance is what credits pay of an amount that is spent.
sub beyond_allowance
{
	my ($self, $amount, $labels) = @_;
	return max(0, $amount - $self->allowance($labels));
}

# beyond_holds is what credits back of an amount that is held, beside the other holds.
sub beyond_holds
{
	my ($self, $amount, $at, $labels) = @_;
	my $backed = sum0(map { $_->{left} } $self->open_holds($at));
	my $left   = $self->allowance($labels);
	return max(0, $backed + $amount - $left) - max(0, $backed - $left);
}

# --- what is booked ----------------------------------------------------------

# opens lets a debit or a hold open the sessions that are over.
sub opens
{
	my ($self, $what, $at) = @_;
	foreach my $cap (values %{ $self->{caps} })
	{
		next if $cap->{type} ne 'session' || !concerns($cap, $what) || $at < $cap->{until};
		$cap->{from}  = $at;
		$cap->{until} = $at + $cap->{length};
	}
	return;
}

# spend books a debit: id, model, actor, credits and allowance, its time with labels.
sub spend
{
	my ($self, %spend) = @_;
	$self->opens(\%spend, $spend{at}) if $spend{amount} > 0;
	push @{ $self->{spends} }, { %spend, left => $spend{amount} };
	return;
}

# refund gives credits of a debit back, to the models of its lines in their order, and allowance.
sub refund
{
	my ($self, $id, $amount, $allowance) = @_;
	foreach my $spend (grep { $_->{id} eq $id } @{ $self->{spends} })
	{
		my $credits = min($spend->{left}, $amount);
		my $restored = min($spend->{allowance}, $allowance);

		$spend->{left} -= $credits;
		$spend->{allowance} -= $restored;
		$amount -= $credits;
		$allowance -= $restored;
	}
	return $amount == 0 && $allowance == 0;
}

# hold books a hold: model, actor, amount, what counts of it, from when to when.
sub hold
{
	my ($self, $id, %hold) = @_;
	$self->opens(\%hold, $hold{at}) if $hold{counted} > 0;
	$self->{holds}{$id} = { %hold, left => $hold{amount} };
	return;
}

# leave sets what is left of a hold.
sub leave
{
	my ($self, $id, $left) = @_;
	$self->{holds}{$id}{left} = $left;
	return;
}

# --- caps --------------------------------------------------------------------

# find_session opens the session of a cap with the first debit or open hold after a time.
sub find_session
{
	my ($self, $cap, $at, $after) = @_;
	my @opened = (map({ $_->{at} } grep({ $_->{amount} > 0 && concerns($cap, $_) } @{ $self->{spends} })),
		map({ $_->{at} } grep({ $_->{counted} > 0 && concerns($cap, $_) } $self->open_holds($at))));

	@opened = sort { $a <=> $b } grep { $_ > $after && $_ <= $at } @opened;
	($cap->{from}, $cap->{until}) = @opened ? ($opened[0], $opened[0] + $cap->{length}) : ($cap->{until}, $cap->{until});
	return;
}

# edit gives a cap other terms, which may be a plan's.
sub edit
{
	my ($self, $cap, $terms, $of_plan, $at) = @_;

	if ($cap->{length} != $terms->{length})
	{
		$cap->{length} = $terms->{length};
		if ($cap->{type} eq 'session' && $at < $cap->{until})
		{
			$cap->{until} = $cap->{from} + $cap->{length};
			$self->find_session($cap, $at, max($cap->{until} - 1, $at - $cap->{length})) if $cap->{until} <= $at;
		}
	}
	@{$cap}{qw(limit action of_plan)} = (@{$terms}{qw(limit action)}, $of_plan);
	return;
}

# start makes a cap, which starts from what its window has seen.
sub start
{
	my ($self, $terms, $of_plan, $at) = @_;
	my $cap = $self->{caps}{"$terms->{type} $terms->{model}"} = { %$terms, from => 0, until => 0, of_plan => $of_plan };

	$self->find_session($cap, $at, $at - $cap->{length}) if $cap->{type} eq 'session';
	return;
}

# set gives the account a cap of its own.
sub set
{
	my ($self, $terms, $at) = @_;
	my $cap = $self->{caps}{"$terms->{type} $terms->{model}"};

	return $cap ? $self->edit($cap, $terms, 0, $at) : $self->start($terms, 0, $at);
}

# remove takes a cap of its own away; the plan's is in force again. False: there is none.
sub remove
{
	my ($self, $name, $at) = @_;
	my $cap = $self->{caps}{$name};

	return 0 if !$cap || $cap->{of_plan};
	$self->{terms}{$name} ? $self->edit($cap, $self->{terms}{$name}, 1, $at) : delete $self->{caps}{$name};
	return 1;
}

# set_member caps what a member spends, or does so no longer.
sub set_member
{
	my ($self, $actor, $limit) = @_;
	my $name = "member $actor";

	delete $self->{caps}{$name};
	$self->{caps}{$name} = { type => 'monthly', actor => $actor, limit => $limit, action => 'deny', length => 0 } if defined $limit;
	return;
}

# publish changes what the plan has. The caps follow later.
sub publish
{
	my ($self, $free, @terms) = @_;
	$self->{free}  = $free;
	$self->{terms} = { map { ("$_->{type} $_->{model}" => $_) } @terms };
	$self->{stale} = 1;
	return;
}

# follow lets the caps be those that the plan has now.
sub follow
{
	my ($self, $at) = @_;
	my $terms = $self->{terms};

	return if !$self->{stale};
	$self->{stale} = 0;
	foreach my $name (grep { $self->{caps}{$_}{of_plan} } keys %{ $self->{caps} })
	{
		$terms->{$name} ? $self->edit($self->{caps}{$name}, $terms->{$name}, 1, $at) : delete $self->{caps}{$name};
	}
	$self->start($terms->{$_}, 1, $at) foreach grep { !$self->{caps}{$_} } keys %$terms;
	return;
}

# shown is what a reader sees, who changes nothing.
sub shown
{
	my ($self, $at) = @_;
	my $shown = bless { %$self, caps => { map { $_ => { %{ $self->{caps}{$_} } } } keys %{ $self->{caps} } } }, ref $self;

	$shown->follow($at);
	return $shown;
}

# --- what caps say -----------------------------------------------------------

# exceeded lists the caps that an amount would exceed at a time: for certain, and possibly.
sub exceeded
{
	my ($self, $what, $amount, $at, $labels) = @_;
	my (@sure, @possible);

	foreach my $name (sort keys %{ $self->{caps} })
	{
		my $cap = $self->{caps}{$name};
		next if !concerns($cap, $what);
		my ($least, $most) = $self->counted($cap, $at, $labels);
		push @sure, { %$cap, why => "$name: $least + $amount > $cap->{limit}" } if $least + $amount > $cap->{limit};
		push @possible, $cap if $most + $amount > $cap->{limit};
	}
	return (\@sure, \@possible);
}

# denied does the same for those that deny.
sub denied
{
	my ($self, @args) = @_;
	return map { [ grep { $_->{action} eq 'deny' } @$_ ] } $self->exceeded(@args);
}

# may_warn tells whether a call that spent what has a model and a member may have warned so.
sub may_warn
{
	my ($self, $warning, $what, $at, $labels) = @_;
	my ($sure, $possible) = $self->exceeded($what, 0, $at, $labels);
	my $least = max(0, map { $strength{ $_->{action} } } @$sure);

	return $least == 0 if $warning eq '';
	return $strength{$warning} >= $least && grep { $_->{action} eq $warning } @$possible;
}

1;
