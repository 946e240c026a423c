
# What ducto promises, once more and as simply as possible: a model that the
# property test compares with the server. It is written from the contract and
# the design, not from the C code: whole numbers of 1/10000 credit, times in
# microseconds, everything in lists that are walked from the start, no thought
# of speed.
#
# An operation takes the moment at which the server judged, the request, and
# the server's answer; it returns the row that the answer should be. Only what
# cannot be foretold is taken from the answer: new ids, and times that the
# server made from its own clock, as far as they lie where they must.
#
# Where the design leaves an order open, this is the one assumed:
# - of credit that is due but needed by holds, the soonest to expire expires
#   first as the holds end;
# - a balance in a result is that with the operation's own entry; what expires
#   because of the operation (holds need it no longer) is booked after it;
# - a deduct that skips the allowance which its reservation relied on fits as if
#   nothing had been held;
# - a hold of which a part was captured counts in caps with what it was admitted
#   for, but not with more than it still holds;
# - what holds were admitted on of the allowance is one sum per account: what
#   other usage takes of it leaves as many credits; holds that credits do not
#   cover rely on what is left of the allowance;
# - debt eats of a refund first what never expires, then what would go back to
#   the grants last;
# - of one moment, a cycle begins first, then holds end, then grants, and last
#   the cycle gives.
#
# Cycles are played one by one, however many an account slept through.

package Model;

use strict;
use warnings FATAL => 'all';

use List::Util qw(min max sum0);
use Model::Calendar qw(period later);

use constant NEVER    => 9e18;    # after all times
use constant PRIORITY => 50;      # of a grant that does not say

# How often something rare was met; a test looks whether it was at all.
our %met;

sub new
{
	my ($class) = @_;
	return bless { accounts => {}, plans => {}, config => {}, versions => {}, now => 0 }, $class;
}

# --- money -------------------------------------------------------------------

# money reads a numeric as the count of 1/10000.
sub money
{
	my ($text) = @_;

	return undef unless defined $text;
	my ($sign, $whole, $part) = $text =~ /^(-?)(\d+)(?:\.(\d{1,4})0*)?$/
	  or die "no amount of money: $text";
	my $count = $whole * 10000 + ($part // 0) * 10**(4 - length($part // '0000'));
	return $sign ? -$count : $count;
}

# rounded takes a count of 1/100000, which is what requests are made of, and
# rounds it half away from zero.
sub rounded
{
	my ($amount) = @_;
	my $count = int((abs($amount) + 5) / 10);
	return $amount < 0 ? -$count : $count;
}

# is_true reads a boolean of a request; false when it is not given.
sub is_true
{
	my ($word) = @_;
	return ($word // 'false') eq 'true' ? 1 : 0;
}

# --- accounts ----------------------------------------------------------------

# account returns a user's account, rolled forward to a moment. That of an
# unknown user is empty and not kept.
sub account
{
	my ($self, $user, $at) = @_;
	my $account = $self->{accounts}{$user} || {
		user     => $user,
		balance  => 0,
		lifetime => 0,
		grants   => [],
		holds    => [],
		entries  => [],
		keys     => {},    # of all that books
		reserves => {},    # keys of reserves
		plan     => undef,
		anchor   => undef, # of its cycles
		zone     => undef,
		cycle    => undef, # that it is in: start and end
		now      => $self->{now},
		promised => 0,     # of the allowance, to open holds, in any case
		carry    => 0,     # of exact prices, what no amount has charged yet
		caps     => {},
	};

	roll($account, $at);
	$self->{now} = $account->{now} = max($account->{now}, $self->{now}, $at);
	return $account;
}

# keep makes an account that an operation was made on.
sub keep
{
	my ($self, $account) = @_;
	$self->{accounts}{ $account->{user} } = $account;
	return;
}

# held is what open reservations hold.
sub held
{
	my ($account) = @_;
	return sum0(map { $_->{remaining} } grep { $_->{state} eq 'open' } @{ $account->{holds} });
}

# used is what the cycle's entries took of the allowance, and refunds did not give
# back.
sub used
{
	my ($account) = @_;
	my ($start, $end) = $account->{plan} ? @{ $account->{cycle} } : cycle_of($account, $account->{now});

	return sum0(map { $_->{allowance} - $_->{restored} }
		  grep { $_->{type} eq 'usage' && $_->{at} >= $start && $_->{at} < $end } @{ $account->{entries} });
}

# allowance is what is left of the plan's.
sub allowance
{
	my ($account) = @_;
	my $plan = $account->{plan};
	return $plan ? max(0, ($plan->{free_allowance} // 0) * 10000 - used($account)) : 0;
}

# parts sums what open reservations hold, but for one of them: of those that
# the allowance backs, and of those that it does not.
sub parts
{
	my ($account, $own) = @_;
	my @open = grep { $_->{state} eq 'open' && !($own && $_ == $own) } @{ $account->{holds} };
	return (
		sum0(map { $_->{remaining} } grep { !$_->{skip} } @open),
		sum0(map { $_->{remaining} } grep { $_->{skip} } @open));
}

# promise is what an open hold was admitted on of the allowance.
sub promise
{
	my ($hold) = @_;
	return $hold->{state} eq 'open' && !$hold->{skip} ? $hold->{remaining} - min($hold->{counted}, $hold->{remaining}) : 0;
}

# cover is what of the holds the allowance pays at most; one of them may be left
# out.
sub cover
{
	my ($account, $own) = @_;
	my ($backed) = parts($account, $own);
	my $promised = $own ? min($backed, max(0, $account->{promised} - promise($own))) : $account->{promised};
	return max(allowance($account), $promised);
}

# take lets the allowance pay an amount, before the entry says so: what is promised
# to no hold first. The promise of a hold that ended goes in any case.
sub take
{
	my ($account, $amount, $ended) = @_;
	my $unpromised = max(0, allowance($account) - $account->{promised});
	my ($backed) = parts($account);

	$account->{promised} = min($backed, max(0, $account->{promised} - max($amount - $unpromised, $ended)));
	return;
}

# rely promises holds what of the allowance they rely on, for want of credits.
sub rely
{
	my ($account) = @_;
	my ($backed) = parts($account);

	$account->{promised} =
	  min($backed, max($account->{promised}, min(allowance($account), held($account) - $account->{balance})));
	return;
}

# need is what holds need from credits: what the allowance does not cover.
sub need
{
	my ($account) = @_;
	my ($backed, $skipping) = parts($account);
	return $skipping + max(0, $backed - cover($account));
}

# room is the most that can be held or taken more: what does not raise the need,
# or leaves the floor untouched. It may take the place of a hold.
sub room
{
	my ($account, $floor, $skip, $own) = @_;
	my ($backed, $skipping) = parts($account, $own);
	my $left = cover($account, $skip && $own && !$own->{skip} ? $own : undef);
	my $need = $skip && $own && !$own->{skip} ? $skipping + max(0, $backed - $left) : need($account);
	my $most = max($need, $account->{balance} - $floor) - $skipping;

	return $skip ? $most - max(0, $backed - $left) : $most + $left - $backed;
}

# beyond is what a new hold needs beyond the allowance, which is what caps count
# of it.
sub beyond
{
	my ($account, $amount, $skip) = @_;
	my ($backed) = parts($account);
	my $left = allowance($account);
	return $skip ? $amount : max(0, $backed + $amount - $left) - max(0, $backed - $left);
}

# window returns the start of a cap's day or month that an account is in, and its
# end.
sub window
{
	my ($account, $cap) = @_;
	return period($cap->{type} eq 'daily' ? 'day' : 'month', undef, $account->{zone}, $account->{now});
}

# spend is what counts against a cap: what was spent in its window and not
# refunded, and what is held.
sub spend
{
	my ($account, $cap) = @_;
	my $model   = $cap->{model};
	my ($since) = window($account, $cap);
	return sum0(
		(map { spent_on($_, $model) } grep { $_->{type} eq 'usage' && $_->{at} >= $since } @{ $account->{entries} }),
		(map { min($_->{counted}, $_->{remaining}) }
			  grep { $_->{state} eq 'open' && (!defined $model || ($_->{model} // '') eq $model) } @{ $account->{holds} }));
}

# spent_on is what an entry spent on a model, or on all, and refunds did not give
# back. Lines get their refunds in the order in which their models first came.
sub spent_on
{
	my ($entry, $model) = @_;
	my $before = 0;

	return -$entry->{amount} - $entry->{refunded} if !defined $model || (!$entry->{models} && ($entry->{model} // '') eq $model);
	foreach my $part (@{ $entry->{models} || [] })
	{
		my ($of, $spent) = @$part;

		return $spent - min($spent, max(0, $entry->{refunded} - $before)) if defined $of && $of eq $model;
		$before += $spent;
	}
	return 0;
}

# exceeded lists what the caps of a model do that would be exceeded.
sub exceeded
{
	my ($account, $model, $amount) = @_;
	return map { $_->{action} }
	  grep { (!defined $_->{model} || $_->{model} eq ($model // '')) && spend($account, $_) + $amount > $_->{limit} }
	  values %{ $account->{caps} };
}

# denied tells whether a cap forbids to spend more.
sub denied
{
	my ($account, $model, $amount) = @_;
	return $amount > 0 && grep { $_ eq 'deny' } exceeded($account, $model, $amount);
}

# warning is the strongest action of the caps that were exceeded.
sub warning
{
	my ($account, $model) = @_;
	my %is = map { $_ => 1 } exceeded($account, $model, 0);
	my ($strongest) = grep { $is{$_} } qw(deny warn notify);

	$met{"a cap_warning: $strongest"}++ if $strongest;
	return $strongest;
}

# terms are the rules of an operation: what the request says, else the plan for
# the operation, else the plan.
sub terms
{
	my ($account, $request) = @_;
	my $plan = $account->{plan} // {};
	my $more = ($plan->{per_operation} // {})->{ $request->{operation_type} // 'usage' } // {};
	my $own  = $request->{overdraft_floor};

	return (
		$request->{billing_mode} // $more->{billing_mode} // $plan->{default_billing_mode} // 'strict',
		defined $own ? rounded($own) : 10000 * ($more->{overdraft_floor} // $plan->{overdraft_floor} // 0),
		$request->{max_concurrent} // $more->{max_concurrent} // $plan->{max_concurrent});
}

# expiring is what of the balance is in grants, due ones that holds keep too.
sub expiring
{
	my ($account) = @_;
	return sum0(map { $_->{remaining} } @{ $account->{grants} });
}

# older compares grants by when they came, those of one entry by their ids.
sub older
{
	my ($one, $other) = @_;
	return $one->{seq} <=> $other->{seq} || ($one->{lot}{id} // '') cmp($other->{lot}{id} // '');
}

# burn_order sorts the grants that have something left as a debit burns them.
sub burn_order
{
	my ($account) = @_;
	return sort {
		     $b->{due} <=> $a->{due}
		  || $a->{priority} <=> $b->{priority}
		  || $a->{expires_at} <=> $b->{expires_at}
		  || older($a, $b)
	} grep { $_->{remaining} > 0 } @{ $account->{grants} };
}

# book appends an entry to the account's ledger.
sub book
{
	my ($account, %entry) = @_;

	$account->{balance} += $entry{amount};
	$entry{balance_after} = $account->{balance};
	$entry{at} //= $account->{now};
	$entry{seq}           = @{ $account->{entries} } + 1;
	$entry{burned} ||= [];
	$entry{allowance} //= 0;
	$entry{refunded} = 0;
	$entry{restored} = 0;
	$entry{reversed} = 0;
	push @{ $account->{entries} }, \%entry;
	return \%entry;
}

# --- time --------------------------------------------------------------------

# boundaries lists the moments after one at which something expires or begins.
sub boundaries
{
	my ($self, $after) = @_;
	my %at;

	foreach my $account (values %{ $self->{accounts} })
	{
		$at{ $_->{expires_at} } = 1 foreach grep { $_->{state} eq 'open' } @{ $account->{holds} };
		$at{ $_->{expires_at} } = 1 foreach grep { $_->{remaining} > 0 && !$_->{due} } @{ $account->{grants} };
		$at{ (cycle_of($account, $after))[1] } = 1;
		$at{ (window($account, $_))[1] } = 1 foreach values %{ $account->{caps} };
	}
	return sort { $a <=> $b } grep { $_ > $after } keys %at;
}

# cycle_of is the cycle of an account that a time is in. One that has begun ends when
# it was to end, whatever has become of the plan, and the next one begins then.
sub cycle_of
{
	my ($account, $at) = @_;
	my ($start, $end) = period_of($account, $at);
	my $cycle = $account->{cycle} or return ($start, $end);

	return @$cycle if $at >= $cycle->[0] && $at < $cycle->[1];
	return (max($start, $cycle->[1]), $end);
}

# period_of is the one by the rules of its plan alone.
sub period_of
{
	my ($account, $at) = @_;
	return period($account->{plan} ? $account->{plan}{cycle} // 'month' : 'month', $account->{anchor}, $account->{zone}, $at);
}

# next_event is what happens next on an account: when, of what kind, to what. Of
# one moment a cycle begins, holds end, for they do not need what expires with
# them, grants end, and the cycle gives.
sub next_event
{
	my ($account) = @_;
	my @events = (
		(map { [ $_->{expires_at}, 'hold', 1, $_ ] } grep { $_->{state} eq 'open' } @{ $account->{holds} }),
		(map { [ $_->{expires_at}, 'grant', 2, $_ ] } grep { $_->{remaining} > 0 && !$_->{due} } @{ $account->{grants} }));

	push @events, [ $account->{cycle}[1], 'cycle', 0 ] if $account->{plan} && $account->{cycle};
	push @events, [ $account->{giving}, 'gifts', 3 ] if defined $account->{giving};
	return (sort { $a->[0] <=> $b->[0] || $a->[2] <=> $b->[2] || ($a->[2] == 2 ? older($a->[3], $b->[3]) : 0) } @events)[0];
}

# roll plays what happens until a moment, in the order of time.
sub roll
{
	my ($account, $until) = @_;

	while (my $event = next_event($account))
	{
		my ($at, $kind, undef, $what) = @$event;

		last if $at > $until;
		$account->{now} = max($account->{now}, $at);
		if ($kind eq 'cycle')
		{
			$account->{cycle}  = [ cycle_of($account, $at) ];
			$account->{giving} = $at if @{ $account->{plan}{grants} || [] };
			$met{'a cycle that begins'}++;
		}
		elsif ($kind eq 'gifts')
		{
			delete $account->{giving};
			give($account, $at, $account->{plan}, 0);
		}
		elsif ($kind eq 'hold')
		{
			my $promise = promise($what);

			$what->{state} = 'expired';
			take($account, 0, $promise);
		}
		elsif (defined $what->{rolls_to})
		{
			live_on($account, $what, $at);
		}
		else
		{
			$what->{due} = 1;
		}
		expire($account, $at);
	}
	return;
}

# live_on lets a grant go beyond its cycle, but for what is more than its plan
# says and no hold needs.
sub live_on
{
	my ($account, $grant, $at) = @_;
	my $excess = max(0, $grant->{remaining} - $grant->{rollover});
	my $due    = sum0(map { $_->{remaining} } grep { $_->{due} } @{ $account->{grants} });
	my $coming = defined $account->{giving} ? sum0(map { 10000 * $_->{amount} } @{ $account->{plan}{grants} }) : 0;
	my $needed = max(0, need($account) - ($account->{balance} - $due - $excess) - $coming);

	$met{'credit that lives on'}++;
	$met{'credit that is too much to live on'}++ if $excess > 0;
	$met{'credit that lives on for a hold'}++ if min($excess, $needed) > 0;
	$excess = max(0, $excess - $needed);
	if ($excess > 0)
	{
		$grant->{remaining} -= $excess;
		book($account, type => 'expiry', amount => -$excess, lot => $grant->{lot}, effective_at => $at);
	}
	$grant->{expires_at} = delete $grant->{rolls_to};
	return;
}

# give books what a plan gives in the cycle that an account is in, but for what
# was given already.
sub give
{
	my ($account, $at, $plan, $given, %entry) = @_;

	foreach my $gift (@{ $plan->{grants} || [] })
	{
		my $amount  = 10000 * $gift->{amount};
		my $skipped = min($given, $amount);
		my ($start, $end) = @{ $account->{cycle} };
		my $expires = $gift->{expires} // 'cycle';
		my $entry;

		$given -= $skipped;
		$amount -= $skipped;
		next unless $amount > 0;
		$met{'a debt that a cycle pays'}++ if $account->{balance} < 0;
		$expires = $expires eq 'cycle' ? $end : $expires eq 'never' ? NEVER : later($at, $expires =~ /(\d+) days/, $account->{zone});
		$entry = book($account, type => $gift->{type} // 'subscription', amount => $amount, effective_at => $at, at => $at,
			cycle_end => $end, plan => $plan->{id}, lot => { gift => 1 }, %entry);
		next unless $expires < NEVER || defined $gift->{priority};
		$entry->{granted} = 1;
		push @{ $account->{grants} }, {
			lot        => $entry->{lot},
			seq        => $entry->{seq},
			amount     => $amount,
			remaining  => max(0, min($amount, $account->{balance})),
			priority   => $gift->{priority} // PRIORITY,
			expires_at => $expires,
			days       => scalar(($gift->{expires} // '') =~ /days/),
			due        => 0 };
		if ($gift->{rollover})
		{
			my $grant = $account->{grants}[-1];

			$grant->{rollover} = $gift->{rollover}{max} ? 10000 * $gift->{rollover}{max} : NEVER;
			$grant->{rolls_to} = $end;
			$grant->{rolls_to} = (period_of($account, $grant->{rolls_to}))[1] foreach 1 .. $gift->{rollover}{cycles} // 1;
		}
	}
	return;
}

# expire takes away what is due, except for what holds need of it beyond the
# rest of the balance: at a moment of the past, or in the operation being made.
sub expire
{
	my ($account, $at) = @_;
	my @due = sort { $a->{expires_at} <=> $b->{expires_at} || older($a, $b) }
	  grep { $_->{due} && $_->{remaining} > 0 } @{ $account->{grants} };
	my $due  = sum0(map { $_->{remaining} } @due);
	my $rest = $account->{balance} - $due;
	my $kept = min($due, max(0, need($account) - $rest));

	$met{'due credit that holds need'}++ if $kept > 0;
	$met{'due credit that holds need in part'}++ if $kept > 0 && $kept < $due;
	foreach my $grant (@due)
	{
		my $amount = min($grant->{remaining}, $due - $kept);

		next unless $amount > 0;
		$met{'kept credit that expires with the hold'}++ if !$at || $at > $grant->{expires_at};
		$grant->{remaining} -= $amount;
		$due -= $amount;
		book($account,
			type         => 'expiry',
			amount       => -$amount,
			lot          => $grant->{lot},
			effective_at => $at);
	}
	rely($account);
	return;
}

# --- idempotency -------------------------------------------------------------

# known looks up a key: the row to answer, a conflict, or nothing.
sub known
{
	my ($account, $kind, $request, $target) = @_;
	my $key = $request->{idempotency_key};
	my $seen;

	return (undef, undef) unless defined $key;
	$seen = $account->{keys}{$key} or return (undef, undef);
	return (undef, 'idempotency_conflict')
	  unless $seen->{kind} eq $kind && $seen->{target} eq ($target // '');
	return ({ %{ $seen->{row} }, idempotent => 't' }, undef);
}

# remember keeps the row of a success for its key.
sub remember
{
	my ($account, $kind, $request, $target, $row) = @_;
	my $key = $request->{idempotency_key};

	$account->{keys}{$key} = { kind => $kind, target => $target // '', row => $row }
	  if defined $key;
	return $row;
}

1;
