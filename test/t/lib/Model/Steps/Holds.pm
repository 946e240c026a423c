
# Steps about what is held.

package Model::Steps::Holds;

use strict;
use warnings FATAL => 'all';

use Model;
use Model::Operations;
use Model::Compare qw(ask moments);
use Requests qw(a_word one_of some sql);
use Storable qw(dclone);

# met lists what the sequences are for, as the model names it.
sub met
{
	return (
		'due credit that holds need',
		'due credit that holds need in part',
		'due credit that a deduct burns',
		'kept credit that expires with the hold',
		'a hold below zero',
		'a late deduct',
		'a deduct of more than is held, reject',
		'a deduct of more than is held, clamp',
		'a deduct of more than is held, full',
		'lines of several models',
		'lines of several models of which a part is free',
		'lines that are all known',
		'a line at a price of before',
		'a line that is twice in a batch',
		'a line under the key of a debit');
}

# counted lists the outcomes that they are for.
sub counted
{
	return (
		'reserve done', 'reserve again', 'reserve insufficient_credits', 'reserve concurrency_limit',
		'deduct done', 'deduct again', 'deduct insufficient_credits', 'deduct reservation_expired',
		'deduct reservation_closed', 'deduct reservation_not_found', 'deduct idempotency_conflict', 'deduct ceiling_reached',
		'settle done', 'settle insufficient_credits', 'settle reservation_expired', 'settle reservation_closed',
		'settle reservation_not_found', 'settle idempotency_conflict', 'settle ceiling_reached',
		'release released', 'release already_released', 'release already_settled', 'release expired', 'release not_found',
		'renew done', 'renew reservation_expired', 'renew reservation_closed', 'renew reservation_not_found',
		'reservations closed as expired');
}

# due_hold lets credit expire that a hold needs, and the hold be settled with it.
sub due_hold
{
	my ($run, $step) = @_;
	my $user = $run->{users}[4];
	my $hold = sub { $run->{world}->account($user, 0)->{holds}[-1]{id} };
	my @calls = (
		[ 'add_credits', sub { user_id => $user, amount => 3_000_000, type => 'promo', lifetime => 500_000 } ],
		[ 'reserve',     sub { user_id => $user, amount => 2_000_000, ttl_seconds => 600, min_balance => 0 } ],
		[ 'wait', 600_000 ],
		[ 'deduct', sub { user_id => $user, reservation_id => $hold->(), amount => 1_500_000 } ]);

	return $run->story($step, $user, @calls);
}

# due_lines does the same with lines, of which the second batch leaves nothing to hold.
sub due_lines
{
	my ($run, $step) = @_;
	my $user = $run->{users}[5];
	my $hold = sub { $run->{world}->account($user, 0)->{holds}[-1]{id} };
	my $line = sub { return { key => "due $_[0]", amount => $_[1] } };
	my @calls = (
		[ 'add_credits', sub { user_id => $user, amount => 3_000_000, type => 'promo', lifetime => 500_000 } ],
		[ 'reserve',     sub { user_id => $user, amount => 2_000_000, ttl_seconds => 600, min_balance => 0 } ],
		[ 'wait', 600_000 ],
		[ 'settle', sub { user_id => $user, reservation_id => $hold->(), lines => [ $line->(1, 500_000), $line->(2, 0) ] } ],
		[ 'settle', sub { user_id => $user, reservation_id => $hold->(), lines => [ $line->(3, 700_000) ], final => 'true' } ]);

	return $run->story($step, $user, @calls);
}

# free_lines lets the allowance pay a part of lines of two models, and asks for lines
# that an open hold does not cover, and one that is late.
sub free_lines
{
	my ($run, $step) = @_;
	my $user = $run->{users}[6];
	my $hold = sub { $run->{world}->account($user, 0)->{holds}[-1]{id} };
	my $line = sub { return { key => "free $_[0]", amount => $_[1], model => $_[2] } };
	my $settle = sub { my @lines = @_; [ 'settle', sub { user_id => $user, reservation_id => $hold->(), lines => \@lines } ] };
	my @calls = (
		[ 'set_user_plan', sub { user_id => $user, plan_id => 'free' } ],
		[ 'add_credits',   sub { user_id => $user, amount => 5_000_000, type => 'purchase' } ],
		[ 'reserve',       sub { user_id => $user, amount => 8_000_000, ttl_seconds => 600, min_balance => 0 } ],
		$settle->($line->(1, 5_000_000, 'gpt'), $line->(2, 2_000_000, 'llama')),
		$settle->($line->(3, 9_000_000, 'gpt')),
		[ 'reserve', sub { user_id => $user, amount => 100_000, ttl_seconds => 1, min_balance => 0 } ],
		[ 'wait', 1_100_000 ],
		$settle->($line->(4, 9_000_000, 'gpt')));

	return $run->story($step, $user, @calls);
}

# afford asks whether a reserve would be admitted.
sub afford
{
	my ($run, $step) = @_;
	my $user    = one_of(@{ $run->{users} });
	my $account = $run->{world}->account($user, 0);
	my $amount  = some($account, Model::room($account, 10000 * $run->{world}{config}{min_balance}));
	my $request = { user_id => $user, amount => $amount, a_word(operation_type => 'chat', 30), a_word(model => 'gpt', 30) };
	my $call    = sql('can_afford', $request);
	my $answer  = ask($run->{session}, $run->{world}, 'look', $call, $user);
	my ($affordable, $available, $allowance, $reason) = @{ $answer->{row} };
	my @possible;

	$run->{counts}{"can_afford $affordable"}++;
	foreach my $at (moments($run->{world}, $answer->{before}, $answer->{between}))
	{
		my $world = dclone($run->{world});
		my $then  = $world->account($user, $at);
		my $why   = $world->refusal($then, $request);

		push @possible, join(' ', $why ? 'f' : 't', $then->{balance} - Model::held($then), Model::allowance($then), $why // 'null');
	}
	my $is = join(' ', $affordable, Model::money($available), Model::money($allowance), $reason // 'null');
	return $run->differ($step, $user, "$call: should be @possible, is $is") unless grep { $_ eq $is } @possible;
	return 1;
}

1;
