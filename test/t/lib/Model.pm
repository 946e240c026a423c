
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
#   the grants last.

package Model;

use strict;
use warnings FATAL => 'all';

use List::Util qw(min max sum0);

# How often something rare was met; a test looks whether it was at all.
our %met;

sub new
{
	my ($class, $plans) = @_;
	return bless { accounts => {}, plans => $plans }, $class;
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
		used     => 0,     # of the allowance
		promised => 0,     # of it, to open holds, in any case
		caps     => {},
	};

	roll($account, $at);
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

# allowance is what is left of the plan's.
sub allowance
{
	my ($account) = @_;
	my $plan = $account->{plan};
	return $plan ? max(0, ($plan->{free_allowance} // 0) * 10000 - $account->{used}) : 0;
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

# take lets the allowance pay an amount: what is promised to no hold first. The
# promise of a hold that ended goes in any case.
sub take
{
	my ($account, $amount, $ended) = @_;
	my $unpromised = max(0, allowance($account) - $account->{promised});
	my ($backed) = parts($account);

	$account->{promised} = min($backed, max(0, $account->{promised} - max($amount - $unpromised, $ended)));
	$account->{used} += $amount;
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

# spend is what counts against caps, all of it or that on one model: what was
# spent and not refunded, and what is held.
sub spend
{
	my ($account, $model) = @_;
	my @counted = grep { !defined $model || ($_->{model} // '') eq $model } @{ $account->{entries} }, @{ $account->{holds} };
	return sum0(
		(map { -$_->{amount} - $_->{refunded} } grep { ($_->{type} // '') eq 'usage' } @counted),
		(map { min($_->{counted}, $_->{remaining}) } grep { ($_->{state} // '') eq 'open' } @counted));
}

# exceeded lists what the caps of a model do that would be exceeded.
sub exceeded
{
	my ($account, $model, $amount) = @_;
	return map { $_->{action} }
	  grep { (!defined $_->{model} || $_->{model} eq ($model // '')) && spend($account, $_->{model}) + $amount > $_->{limit} }
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

# burn_order sorts the grants that have something left as a debit burns them.
sub burn_order
{
	my ($account) = @_;
	return sort {
		     $b->{due} <=> $a->{due}
		  || $a->{priority} <=> $b->{priority}
		  || $a->{expires_at} <=> $b->{expires_at}
		  || $a->{seq} <=> $b->{seq}
		  || $a->{id} cmp $b->{id}
	} grep { $_->{remaining} > 0 } @{ $account->{grants} };
}

# book appends an entry to the account's ledger.
sub book
{
	my ($account, %entry) = @_;

	$account->{balance} += $entry{amount};
	$entry{balance_after} = $account->{balance};
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

# boundaries lists the moments after one at which something expires.
sub boundaries
{
	my ($self, $after) = @_;
	my %at;

	foreach my $account (values %{ $self->{accounts} })
	{
		$at{ $_->{expires_at} } = 1 foreach grep { $_->{state} eq 'open' } @{ $account->{holds} };
		$at{ $_->{expires_at} } = 1 foreach grep { $_->{remaining} > 0 && !$_->{due} } @{ $account->{grants} };
	}
	return sort { $a <=> $b } grep { $_ > $after } keys %at;
}

# roll plays what expires until a moment, in the order of time; of one moment
# the holds first, for they do not need what expires with them.
sub roll
{
	my ($account, $until) = @_;
	my @events = sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] }
	  grep { $_->[0] <= $until } (
		(map { [ $_->{expires_at}, 0, $_ ] } grep { $_->{state} eq 'open' } @{ $account->{holds} }),
		(map { [ $_->{expires_at}, 1, $_ ] } grep { $_->{remaining} > 0 && !$_->{due} } @{ $account->{grants} }));

	foreach my $event (@events)
	{
		my ($at, $is_grant, $what) = @$event;

		if ($is_grant)
		{
			$what->{due} = 1;
		}
		else
		{
			my $promise = promise($what);

			$what->{state} = 'expired';
			take($account, 0, $promise);
		}
		expire($account, $at);
	}
	return;
}

# expire takes away what is due, except for what holds need of it beyond the
# rest of the balance: at a moment of the past, or in the operation being made.
sub expire
{
	my ($account, $at) = @_;
	my @due = sort { $a->{expires_at} <=> $b->{expires_at} || $a->{seq} <=> $b->{seq} || $a->{id} cmp $b->{id} }
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
			reference    => $grant->{id},
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
