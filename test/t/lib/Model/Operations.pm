
# The operations of the model (Model.pm): what each of ducto's functions answers,
# and what it does to the account.

package Model;

use strict;
use warnings FATAL => 'all';

use List::Util qw(min max sum0);
use Model;

our %met;

use constant TTL         => 600;        # seconds, likewise

# --- credit and usage --------------------------------------------------------

# made_time is a time that the server made from its clock and a duration. It is
# taken from the answer when the server can have made it.
sub made_time
{
	my ($when, $duration, $answer) = @_;
	my ($low, $high) = map { $_ + $duration } @{$when}{qw(low high)};

	return $answer if defined $answer && $answer >= $low && $answer <= $high;
	return $low;
}

sub add_credits
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $amount  = rounded($request->{amount});
	my $type    = $request->{type} // 'adjustment';
	my ($row, $error) = known($account, 'credit', $request);
	my ($entry, $burned, $expires_at);

	return $row if $row;
	$error //= 'insufficient_credits'
	  if $amount < 0 && $account->{balance} - held($account) + $amount < 0;
	$expires_at = made_time($when, $request->{lifetime}, $answer->{expires_at})
	  if defined $request->{lifetime};
	if (!$error && $amount != 0)
	{
		$account->{lifetime} += $amount if $type eq 'purchase';
		$burned = burn($account, -$amount) if $amount < 0;
		$met{'debt that eats a grant'}++ if $expires_at && $account->{balance} < 0;
		$entry = book($account,
			type   => $type,
			amount => $amount,
			burned => $burned,
			id     => $answer->{transaction_id});
		$met{'a grant that never expires'}++ if !$expires_at && defined $request->{priority};
		push @{ $account->{grants} }, {
			lot        => { id => $entry->{id} },
			seq        => $entry->{seq},
			amount     => $amount,
			remaining  => max(0, min($amount, $account->{balance})),
			priority   => $request->{priority} // 50,
			expires_at => $expires_at // NEVER,
			due        => 0
		} if $expires_at || defined $request->{priority};
	}
	$row = {
		transaction_id     => $entry ? $entry->{id} : undef,
		user_id            => $request->{user_id},
		amount             => $amount,
		new_balance        => $account->{balance},
		lifetime_purchased => $account->{lifetime},
		idempotent         => 'f',
		error              => $error
	};
	$row->{expires_at} = $expires_at unless $error;
	return $row if $error;
	$self->keep($account);
	remember($account, 'credit', $request, undef, $row) if $entry;
	expire($account);
	return $row;
}

# burn takes an amount from the grants, as much as they have, and returns what
# it took from which.
sub burn
{
	my ($account, $amount) = @_;
	my @burned;

	foreach my $grant (burn_order($account))
	{
		my $part = min($grant->{remaining}, $amount);

		last unless $part > 0;
		$met{'due credit that a deduct burns'}++ if $grant->{due};
		$grant->{remaining} -= $part;
		$amount -= $part;
		push @burned, [ $grant->{lot}, $part ];
	}
	$met{'a debit over several grants'}++ if @burned > 1;
	return \@burned;
}

# debit books a usage entry of which the allowance pays a part.
sub debit
{
	my ($account, $amount, $allowed, %entry) = @_;
	my $burned  = burn($account, $amount - $allowed);

	$met{'a debit that the allowance pays in part'}++ if $allowed > 0 && $allowed < $amount;
	return book($account, %entry,
		type      => 'usage',
		amount    => $allowed - $amount,
		allowance => $allowed,
		burned    => $burned);
}

# deduction makes the row of a charge or a deduct.
sub deduction
{
	my ($account, $request, %row) = @_;
	return {
		transaction_id     => undef,
		user_id            => $request->{user_id},
		amount             => rounded($request->{amount} // 0),
		balance_after      => $account->{balance},
		allowance_consumed => 0,
		shortfall          => 0,
		idempotent         => 'f',
		cap_warning        => undef,
		error              => undef,
		%row
	};
}

sub charge
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $amount  = rounded($request->{amount});

	return $self->charged($account, $request, $answer, sub { return ($amount, $amount > 0) });
}

# charged is the row of a charge of what a price is: an amount, and whether that is
# booked.
sub charged
{
	my ($self, $account, $request, $answer, $price) = @_;
	my $skip    = is_true($request->{skip_allowance});
	my ($row, $error) = known($account, 'debit', $request);
	my ($mode, $floor) = terms($account, $request);
	my $overrun = $request->{overrun} // 'reject';
	my $carry   = $account->{carry};
	my ($amount, $booked, $entry, $allowed, $limit, $charge);

	$floor = rounded($request->{min_balance} // 0) if defined $request->{min_balance} || $mode eq 'strict';

	return $row if $row;
	($amount, $booked) = $price->($error);
	$limit = room($account, $floor, $skip);
	$charge = $overrun eq 'clamp' ? min($amount, $limit) : $amount;
	$error //= 'insufficient_credits'
	  if $amount > 0 && $amount > $limit && $overrun eq 'reject';
	$error = 'cap_reached'
	  if (!$error || $error eq 'insufficient_credits')
	  && denied($account, $request->{model}, $skip ? $charge : max(0, $charge - allowance($account)));
	$account->{carry} = $carry if $error;
	return deduction($account, $request, amount => $amount, error => $error) if $error || !$booked;

	$met{"a charge of more than there is, $overrun"}++ if $amount > $limit;
	$self->keep($account);
	$allowed = $skip ? 0 : min(allowance($account), $charge);
	take($account, $allowed, 0);
	$entry = debit($account, $charge, $allowed, id => $answer->{transaction_id}, model => $request->{model});
	$row = deduction($account, $request,
		transaction_id     => $entry->{id},
		amount             => -$entry->{amount},
		allowance_consumed => $entry->{allowance},
		shortfall          => $amount - $charge,
		cap_warning        => $entry->{amount} < 0 ? warning($account, $request->{model}) : undef);
	remember($account, 'debit', $request, undef, $row);
	expire($account);
	return $row;
}

# reserve_floor is what must be left when the holds have taken what they need.
sub reserve_floor
{
	my ($self, $account, $request) = @_;
	my ($mode, $overdraft) = terms($account, $request);

	return $mode eq 'overdraft' ? $overdraft
	  : defined $request->{min_balance} ? rounded($request->{min_balance})
	  :                                   $self->{config}{min_balance} * 10000;
}

# refusal is why a reserve is not admitted, if so.
sub refusal
{
	my ($self, $account, $request) = @_;
	my $operation = $request->{operation_type} // 'usage';
	my $amount    = rounded($request->{amount});
	my (undef, undef, $most) = terms($account, $request);

	return 'concurrency_limit'
	  if defined $most
	  && $most <= grep { $_->{state} eq 'open' && $_->{operation_type} eq $operation } @{ $account->{holds} };
	return 'cap_reached'
	  if denied($account, $request->{model}, beyond($account, $amount, is_true($request->{skip_allowance})));
	return 'insufficient_credits'
	  if $amount > room($account, $self->reserve_floor($account, $request), is_true($request->{skip_allowance}));
	return undef;
}

sub reserve
{
	my ($self, $when, $request, $answer) = @_;
	my $account   = $self->account($request->{user_id}, $when->{at});
	my $key       = $request->{idempotency_key};
	my $amount    = rounded($request->{amount});
	my $operation = $request->{operation_type} // 'usage';
	my $skip      = is_true($request->{skip_allowance});
	my ($mode)    = terms($account, $request);
	my $floor     = $self->reserve_floor($account, $request);
	my ($row, $error, $hold);

	return { %{ $account->{reserves}{$key} }, idempotent => 't' }
	  if defined $key && $account->{reserves}{$key};
	$error = $self->refusal($account, $request);
	unless ($error)
	{
		$hold = {
			id             => $answer->{reservation_id},
			remaining      => $amount,
			amount         => $amount,
			operation_type => $operation,
			mode           => $mode,
			floor          => $floor,
			skip           => $skip,
			model          => $request->{model},
			config         => $self->{config},
			counted        => beyond($account, $amount, $skip),
			budget         => is_true($request->{ceiling}) ? $amount : undef,
			state          => 'open',
			expires_at     => made_time($when, ($request->{ttl_seconds} // TTL) * 1_000_000, $answer->{expires_at})
		};
		$met{'a hold that the allowance covers'}++ if $amount > 0 && allowance($account) > 0 && !$skip;
		push @{ $account->{holds} }, $hold;
		$account->{promised} += promise($hold);
		rely($account);
		$self->keep($account);
	}
	$row = {
		reservation_id => $hold ? $hold->{id} : undef,
		user_id        => $request->{user_id},
		amount         => $amount,
		balance        => $account->{balance},
		reserved       => held($account),
		available      => $account->{balance} - held($account),
		idempotent     => 'f',
		error          => $error
	};
	return $row unless $hold;
	$met{'a hold below zero'}++ if $row->{available} < 0;
	$row->{billing_mode} = $mode;
	$row->{expires_at}   = $hold->{expires_at};
	$account->{reserves}{$key} = $row if defined $key;
	return $row;
}

# hold finds a reservation of a user.
sub hold
{
	my ($account, $request) = @_;
	my ($hold) = grep { $_->{id} eq $request->{reservation_id} } @{ $account->{holds} };
	return $hold;
}

# allowed is what the allowance pays of a deduct: what is left of it or what the
# hold was admitted on, and of the promises what neither that nor the balance
# covers of what was held.
sub allowed
{
	my ($account, $hold, $charge) = @_;
	my $open = $hold->{state} eq 'open';
	my $paid = min($charge, max(allowance($account), min(promise($hold), $account->{promised})));
	my $missing = ($open ? min($charge, $hold->{remaining}) : 0) - $paid - max(0, $account->{balance});

	$met{'a hold paid by an allowance that is gone'}++ if $paid > allowance($account);
	return $paid if $hold->{skip} || $missing <= 0;
	return $paid + min($missing, max(0, $account->{promised} - $paid));
}

# take_from takes an amount from a hold, as far as there is enough, and returns why
# not, or what is charged and what of that the allowance pays.
sub take_from
{
	my ($account, $hold, $amount, $request) = @_;
	my $overrun = $request->{overrun} // 'reject';
	my ($late, $own, $limit, $charge, $skip, $allowed, $promise);

	return 'reservation_not_found' unless $hold;
	return 'reservation_closed' if $hold->{state} =~ /settled|released/;

	$late  = $hold->{state} eq 'expired';
	$own   = $late ? 0 : $hold->{remaining};
	$skip  = defined $request->{skip_allowance} ? is_true($request->{skip_allowance}) : $hold->{skip};
	$limit = room($account, $hold->{floor}, $skip, $hold);
	return 'reservation_expired' if $late && ($request->{allow_late} // 'true') ne 'true';
	return 'ceiling_reached' if defined $hold->{budget} && $amount > $hold->{budget};
	return $late ? 'reservation_expired' : 'insufficient_credits' if $amount > $limit && $overrun eq 'reject';

	$charge = $overrun eq 'full' ? $amount : min($amount, $limit);
	$met{"a deduct of more than is held, $overrun"}++ if $amount > $own && !$late;
	$met{'a late deduct'}++ if $late;
	$met{'a shortfall'}++ if $charge < $amount;
	$allowed = $skip ? 0 : allowed($account, $hold, $charge);
	$promise = promise($hold);
	$hold->{remaining} -= min($own, $charge);
	$hold->{budget} -= $charge if defined $hold->{budget};
	$hold->{state} = 'settled' if is_true($request->{final});
	take($account, $allowed, $promise - promise($hold));
	return (undef, $charge, $allowed);
}

sub deduct
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $hold    = hold($account, $request);
	my $amount  = rounded($request->{amount});
	my ($row, $error) = known($account, 'debit', $request, $request->{reservation_id});
	my ($model, $charge, $allowed, $entry);

	return $row if $row;
	($error, $charge, $allowed) = take_from($account, $hold, $amount, { final => 'true', %$request }) unless $error;
	return deduction($account, $request, error => $error) if $error;

	$model = $request->{model} // $hold->{model};
	$entry = debit($account, $charge, $allowed,
		id        => $answer->{transaction_id},
		model     => $model,
		reference => $hold->{id}) if $amount > 0;
	$met{'a debt'}++ if $entry && $account->{balance} < 0;
	$row = deduction($account, $request,
		transaction_id     => $entry ? $entry->{id} : undef,
		amount             => $entry ? -$entry->{amount} : 0,
		allowance_consumed => $entry ? $entry->{allowance} : 0,
		shortfall          => $amount - $charge,
		cap_warning        => $entry && $entry->{amount} < 0 ? warning($account, $model) : undef);
	expire($account);
	$row->{balance_after} = $account->{balance} unless $entry;
	remember($account, 'debit', $request, $request->{reservation_id}, $row);
	return $row;
}

sub release
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $hold    = hold($account, $request);
	my $reason  = 'not_found';

	if ($hold)
	{
		$reason = {
			open     => 'released',
			released => 'already_released',
			settled  => 'already_settled',
			expired  => 'expired'
		}->{ $hold->{state} };
		if ($hold->{state} eq 'open')
		{
			my $promise = promise($hold);

			$hold->{state} = 'released';
			take($account, 0, $promise);
			expire($account);
		}
	}
	return {
		reservation_id => $request->{reservation_id},
		user_id        => $request->{user_id},
		released       => $reason eq 'released' ? 't' : 'f',
		reason         => $reason
	};
}

sub renew
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $hold    = hold($account, $request);
	my $error =
	    !$hold                      ? 'reservation_not_found'
	  : $hold->{state} eq 'open'    ? undef
	  : $hold->{state} eq 'expired' ? 'reservation_expired'
	  :                               'reservation_closed';
	my %row = (
		user_id    => $request->{user_id},
		balance    => $account->{balance},
		reserved   => held($account),
		available  => $account->{balance} - held($account),
		idempotent => 'f',
		error      => $error
	);

	return \%row if $error;
	$hold->{expires_at} =
	  made_time($when, ($request->{ttl_seconds} // TTL) * 1_000_000, $answer->{expires_at});
	rely($account);
	return {
		%row,
		reservation_id => $hold->{id},
		expires_at     => $hold->{expires_at},
		billing_mode   => $hold->{mode}
	};
}

sub refund
{
	my ($self, $when, $request, $answer) = @_;
	my $id = $request->{transaction_id};
	my $restore = ($request->{restore_allowance} // 'true') eq 'true';
	my ($account, $debit, $row, $error, $amount, $credits, $left, $entry);

	foreach my $candidate (values %{ $self->{accounts} })
	{
		my ($found) = grep { defined $_->{id} && $_->{id} eq $id } @{ $candidate->{entries} };

		($account, $debit) = ($candidate, $found) if $found;
	}
	return { error => 'transaction_not_found', refund_transaction_id => undef, idempotent => 'f' }
	  unless $debit;

	$account = $self->account($account->{user}, $when->{at});
	($row, $error) = known($account, 'refund', $request, $id);
	return $row if $row;

	$credits = -$debit->{amount} - $debit->{refunded};
	$left    = $credits + ($restore ? $debit->{allowance} - $debit->{restored} : 0);
	$amount = defined $request->{amount} ? rounded($request->{amount}) : undef;
	$error //=
	    $debit->{type} ne 'usage'          ? 'not_refundable'
	  : $left <= 0                         ? 'already_refunded'
	  : defined $amount && $amount > $left ? 'over_refund'
	  :                                      undef;
	$amount //= $left unless $error;
	$row = {
		original_transaction_id => $id,
		user_id                 => $account->{user},
		team_id                 => undef,
		allowance_restored      => 0,
		idempotent              => 'f',
		error                   => $error
	};
	$row->{amount} = $amount if defined $amount;
	if (!$error)
	{
		my $restored = max(0, $amount - $credits);
		my $given;

		$amount -= $restored;
		$given = give_back($account, $debit, $amount, $when->{at});
		$entry = book($account,
			type      => 'refund',
			amount    => $amount,
			allowance => -$restored,
			burned    => $given,
			reference => $id,
			id        => $answer->{refund_transaction_id});
		$met{'a refund that gives a cap room'}++ if $amount > 0 && %{ $account->{caps} };
		$debit->{refunded} += $amount;
		$debit->{restored} += $restored;
		$row->{amount} = $amount;
		$row->{allowance_restored} = $restored;
		$met{'a refund of credits and allowance'}++ if $amount > 0 && $restored > 0;
		$met{'a refund of allowance to a user without a plan'}++ if $restored > 0 && !$account->{plan};
	}
	$row->{refund_transaction_id} = $entry ? $entry->{id} : undef;
	$row->{new_balance} = $account->{balance};
	return $row if $error;
	remember($account, 'refund', $request, $id, $row);
	expire($account);
	return $row;
}

# give_back returns credit to the grants that a debit burned, what it took last
# coming back first, after what earlier refunds gave back. What has expired
# since comes back without expiry, and a debt eats its part.
sub give_back
{
	my ($account, $debit, $amount, $at) = @_;
	my $burned = sum0(map { $_->[1] } @{ $debit->{burned} });
	my @parts  = ([ undef, -$debit->{amount} - $burned ], reverse @{ $debit->{burned} });
	my $skip   = $debit->{refunded};
	my $left   = max(0, $account->{balance} + $amount) - expiring($account);
	my @given;

	$met{'a refund that a debt eats'}++ if $account->{balance} < 0;
	foreach my $part (@parts)
	{
		my ($lot, $size) = @$part;
		my $skipped = min($skip, $size);
		my $back    = min($size - $skipped, $amount);
		my $grant;

		$skip -= $skipped;
		$amount -= $back;
		next unless defined $lot && $back > 0;
		($grant) = grep { $_->{lot} == $lot } @{ $account->{grants} };
		if ($grant->{expires_at} <= $at)
		{
			$met{'a refund to a grant that has expired'}++;
			next;
		}
		$met{'a refund to a grant that has moved'}++ if $grant->{amount} - $grant->{remaining} < $back;
		$back = min($back, $left, $grant->{amount} - $grant->{remaining});
		next unless $back > 0;
		$met{'a refund to a grant'}++;
		$left -= $back;
		$grant->{remaining} += $back;
		push @given, [ $lot, $back ];
	}
	return \@given;
}

# --- taking back, moving -------------------------------------------------------

# reverse_credits takes back what an entry added: what is left of its own grant,
# or else of what is in no grant, and then what a debit would take.
sub reverse_credits
{
	my ($self, $when, $request, $answer) = @_;
	my $id      = $request->{transaction_id};
	my $overrun = $request->{overrun} // 'clamp';
	my ($account, $credit, $row, $error, $wanted, $left, $grant, $own, $room, $take, $from_own, @burned, $entry);

	foreach my $candidate (values %{ $self->{accounts} })
	{
		my ($found) = grep { defined $_->{id} && $_->{id} eq $id } @{ $candidate->{entries} };

		($account, $credit) = ($candidate, $found) if $found;
	}
	return { error => 'transaction_not_found', reversal_transaction_id => undef, idempotent => 'f' }
	  unless $credit;

	$account = $self->account($account->{user}, $when->{at});
	($row, $error) = known($account, 'reversal', $request, $id);
	return $row if $row;

	$left = $credit->{amount} - $credit->{reversed};
	$wanted = defined $request->{amount} ? rounded($request->{amount}) : undef;
	$error //=
	    $credit->{amount} <= 0 || $credit->{type} !~ /^(?:purchase|subscription|signup_bonus|adjustment|promo)$/ ? 'not_refundable'
	  : $left <= 0                         ? 'already_refunded'
	  : defined $wanted && $wanted > $left ? 'over_refund'
	  :                                      undef;
	$row = {
		reversal_transaction_id => undef,
		original_transaction_id => $id,
		user_id                 => $account->{user},
		team_id                 => undef,
		shortfall               => 0,
		new_balance             => $account->{balance},
		lifetime_purchased      => $account->{lifetime},
		idempotent              => 'f',
		error                   => $error
	};
	$row->{amount} = $wanted if defined $wanted;
	return $row if $error;

	$wanted //= $left;
	($grant) = grep { ($_->{lot}{id} // '') eq $id } @{ $account->{grants} };
	$own  = $grant ? $grant->{remaining} : $credit->{granted} ? 0 : max(0, $account->{balance} - expiring($account));
	$room = room($account, 0, 1);
	return { %$row, error => 'insufficient_credits' } if $overrun eq 'reject' && $wanted > $room;
	$take = $overrun eq 'full' ? $wanted : min($wanted, $room, $overrun eq 'unspent' ? $own : $wanted);
	$met{"a credit taken back that is spent, $overrun"}++ if $wanted > min($own, $room);
	$from_own = min($take, $own);
	if ($grant && $from_own > 0)
	{
		$grant->{remaining} -= $from_own;
		push @burned, [ $grant->{lot}, $from_own ];
	}
	push @burned, @{ burn($account, $take - $from_own) };
	$account->{lifetime} -= $take if $credit->{type} eq 'purchase';
	$credit->{reversed} += $take;
	$entry = book($account,
		type      => 'reversal',
		amount    => -$take,
		burned    => \@burned,
		reference => $id,
		id        => $answer->{reversal_transaction_id});
	$row = { %$row,
		reversal_transaction_id => $entry->{id},
		amount                  => $take,
		shortfall               => $wanted - $take,
		new_balance             => $account->{balance},
		lifetime_purchased      => $account->{lifetime} };
	remember($account, 'reversal', $request, $id, $row);
	expire($account);
	return $row;
}

# transfer moves credits to another account: grants in the order in which they
# are spent, of which a debt there eats the first.
sub transfer
{
	my ($self, $when, $request, $answer) = @_;
	my $from      = $self->account($request->{from_id}, $when->{at});
	my $to        = $self->account($request->{to_id}, $when->{at});
	my $available = $from->{balance} - held($from);
	my $amount    = defined $request->{amount} ? rounded($request->{amount}) : max(0, $available);
	my ($row, $error) = known($from, 'transfer', $request, $request->{to_id});
	my ($burned, $eaten, $seq, @came, $out, $in);

	return $row if $row;
	$error //= 'insufficient_credits' if $amount > 0 && $amount > $available;
	$row = {
		out_transaction_id => undef,
		in_transaction_id  => undef,
		from_id            => $request->{from_id},
		to_id              => $request->{to_id},
		amount             => $error && !defined $request->{amount} ? 0 : $amount,
		from_balance       => $from->{balance},
		to_balance         => $to->{balance},
		idempotent         => 'f',
		error              => $error
	};
	return $row if $error || $amount == 0;

	$burned = burn($from, $amount);
	$eaten  = min($amount, max(0, -$to->{balance}));
	$seq    = @{ $to->{entries} } + 1;
	$met{'a transfer that a debt eats'}++ if $eaten > 0;
	foreach my $part (@$burned)
	{
		my ($lot, $size) = @$part;
		my ($left) = grep { $_->{lot} == $lot } @{ $from->{grants} };
		my ($there) = grep { $_->{lot} == $lot } @{ $to->{grants} };
		my $comes = $size - min($size, $eaten);

		$eaten -= $size - $comes;
		$left->{amount} = $left->{remaining} > 0 ? $left->{amount} - $size : 0;
		next unless $comes > 0;
		$met{'a grant that moves'}++;
		$met{'a grant that comes back'}++ if $there;
		push @{ $to->{grants} }, $there = { %$left, seq => $seq, amount => 0, remaining => 0, rolls_to => undef } unless $there;
		$there->{amount} += $comes;
		$there->{remaining} += $comes;
		if ($there->{expires_at} < $left->{expires_at})
		{
			$met{'a grant that comes once more, and lives on'}++;
			$there->{expires_at} = $left->{expires_at};
			$there->{due} = 0;
		}
		push @came, [ $lot, $comes ];
	}
	$out = book($from,
		type      => 'transfer_out',
		amount    => -$amount,
		burned    => $burned,
		reference => $answer->{in_transaction_id},
		id        => $answer->{out_transaction_id});
	$in = book($to,
		type      => 'transfer_in',
		amount    => $amount,
		burned    => \@came,
		reference => $answer->{out_transaction_id},
		id        => $answer->{in_transaction_id});
	$row = { %$row,
		out_transaction_id => $out->{id},
		in_transaction_id  => $in->{id},
		from_balance       => $from->{balance},
		to_balance         => $to->{balance} };
	$self->keep($to);
	remember($from, 'transfer', $request, $request->{to_id}, $row);
	expire($from);
	expire($to);
	return $row;
}

# --- plans -------------------------------------------------------------------

# allowed_by is what a plan allows, and what of it is used and left.
sub allowed_by
{
	my ($account, $id, $plan) = @_;
	my $allowed = 10000 * ($plan ? $plan->{free_allowance} // 0 : 0);

	return {
		plan_id             => $plan ? $id : undef,
		free_allowance      => $allowed,
		allowance_used      => $plan ? used($account) : 0,
		allowance_remaining => max(0, $allowed - used($account)),
		resets_at           => (cycle_of($account, $account->{now}))[1]
	};
}

# A retired plan stays with those who have it, but cannot be given.
sub set_user_plan
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $id      = $request->{plan_id};
	my $plan    = defined $id ? $self->{plans}{$id} : undef;

	return { user_id => $request->{user_id}, error => 'plan_not_found' }
	  if defined $id && (!$plan || $plan->{retired});
	$met{'a plan that holds relied on, gone'}++
	  if $account->{plan} && !$plan && allowance($account) > 0 && (parts($account))[0] > 0;
	begin_cycle($account, $request, $plan, $when->{at});
	$self->keep($account);
	expire($account);
	return { user_id => $request->{user_id}, plan_id => $id, error => undef };
}

# begin_cycle puts an account into the cycle of its new plan, unless plan and
# cycles are what they were. It gives the plan's credit, less what cycles that are
# not over gave, once for a cycle and plan.
sub begin_cycle
{
	my ($account, $request, $plan, $at) = @_;
	my $is   = sub { join ' ', map { $_ // '' } $account->{plan_id}, @{$account}{qw(anchor zone)} };
	my $was  = $account->{cycle} ? $is->() : 'none';
	my $runs = sub { grep { defined $_->{cycle_end} && $_->{cycle_end} > $at } @{ $account->{entries} } };

	$account->{before}  = $account->{plan_id};
	$account->{plan}    = $plan;
	$account->{plan_id} = $request->{plan_id};
	@{$account}{qw(anchor zone)} = @{$request}{qw(anchor timezone)};
	return if $is->() eq $was;
	$account->{cycle} = [ period_of($account, $at) ];
	return unless $plan && $plan->{grants};
	if (grep { $_->{cycle_end} == $account->{cycle}[1] && $_->{plan} eq $plan->{id} } $runs->())
	{
		$met{'a cycle that has given already'}++;
		return;
	}
	$met{'a plan that gives the rest'}++ if $runs->();
	give($account, $at, $plan, sum0(map { $_->{amount} } $runs->()), effective_at => undef);
	return;
}

sub increment_usage_window
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $id      = $request->{plan_id};
	my $plan    = $self->{plans}{$id};
	my $amount  = rounded($request->{amount});

	return { %{ allowed_by($account) }, error => 'plan_not_found' } unless $plan;
	if ($amount > 0)
	{
		book($account, type => 'usage', amount => 0, allowance => $amount);
		$self->keep($account);
		expire($account);
	}
	return { %{ allowed_by($account, $id, $plan) }, error => undef };
}

# --- caps --------------------------------------------------------------------

# shown_cap is a cap as it is listed.
sub shown_cap
{
	my ($account, $cap) = @_;
	return {
		cap_type      => $cap->{type},
		model         => $cap->{model},
		cap_limit     => $cap->{limit},
		action        => $cap->{action},
		current_spend => spend($account, $cap)
	};
}

sub set_spend_cap
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $name    = "$request->{cap_type} " . ($request->{model} // '');
	my $cap     = {
		type   => $request->{cap_type},
		model  => $request->{model},
		limit  => rounded($request->{cap_limit}),
		action => $request->{action} // 'deny'
	};

	$met{'a cap that changes'}++ if $account->{caps}{$name};
	$met{'a new cap whose window has seen something'}++ if !$account->{caps}{$name} && spend($account, $cap) > 0;
	$account->{caps}{$name} = $cap;
	rely($account);
	$self->keep($account);
	return { user_id => $request->{user_id}, %{ shown_cap($account, $cap) } };
}

sub remove_spend_cap
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $removed = delete $account->{caps}{ "$request->{cap_type} " . ($request->{model} // '') };

	rely($account) if $removed;
	return { removed => $removed ? 't' : 'f' };
}

# A model's own caps and those of all models are looked at, or without a model
# only these. Of several that would be exceeded any may be told.
sub check_spend_cap
{
	my ($self, $when, $request, $answer) = @_;
	my $account = $self->account($request->{user_id}, $when->{at});
	my $amount  = rounded($request->{amount});
	my $model   = $request->{model};
	my @caps    = map { shown_cap($account, $_) }
	  grep { !defined $_->{model} || $_->{model} eq ($model // '') } values %{ $account->{caps} };
	my @exceeded = grep { $_->{current_spend} + $amount > $_->{cap_limit} } @caps;
	my @deny     = grep { $_->{action} eq 'deny' } @exceeded;
	my $least    = min(map { $_->{cap_limit} - $_->{current_spend} } @caps);
	my @told     = @deny ? @deny : @exceeded ? @exceeded : grep { $_->{cap_limit} - $_->{current_spend} == $least } @caps;
	my $is       = sub { join ' ', map { $_ // 'null' } @{ $_[0] }{qw(current_spend cap_limit action model)} };
	my ($right)  = grep { $is->($_) eq $is->($answer) } @told;

	$right //= $told[0] // { current_spend => 0 };
	return { capped => @deny ? 't' : 'f', map { $_ => $right->{$_} } qw(current_spend cap_limit action model) };
}

# --- reads -------------------------------------------------------------------

# shown is what ducto_get_balance and ducto_list_grants show at a moment.
sub shown
{
	my ($self, $user, $at) = @_;
	my $account = $self->account($user, $at);
	my @live    = grep { !$_->{due} } burn_order($account);

	my $window = allowed_by($account, $account->{plan_id}, $account->{plan});

	return {
		%$window,
		balance            => $account->{balance},
		lifetime_purchased => $account->{lifetime},
		reserved           => held($account),
		available          => $account->{balance} - held($account),
		next_expiry        => min(grep { $_ < NEVER } map { $_->{expires_at} } @live),
		caps               => join(',', sort map {
				"$_->{type} " . ($_->{model} // '') . "=$_->{limit} $_->{action} " . spend($account, $_)
			} values %{ $account->{caps} }),
		grants             => [ map { [ $_->{lot}, $_->{remaining} ] } @live ]
	};
}

1;
