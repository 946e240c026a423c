
# Steps about credit: it is added, spent, given back, taken back, moved, and it expires.

package Model::Steps::Credits;

use strict;
use warnings FATAL => 'all';

use List::Util qw(min sum0);
use Model;
use Model::Compare qw(clock);
use Requests qw(chance one_of);

use constant BATCH => 'ducto_sweep(1)';

# met lists what the sequences are for, as the model names it.
sub met
{
	return (
		'a debit over several grants',
		'debt that eats a grant',
		'a debt',
		'a shortfall',
		'a grant that never expires',
		'a charge of more than there is, clamp',
		'a charge of more than there is, full',
		'a refund to a grant',
		'a refund to a grant that has expired',
		'a refund that a debt eats',
		(map { "a credit taken back that is spent, $_" } qw(clamp unspent full)),
		'a grant that moves',
		'a grant that comes back',
		'a refund to a grant that has moved',
		'a transfer that a debt eats');
}

# counted lists the outcomes that they are for.
sub counted
{
	return (
		'add_credits done', 'add_credits again', 'add_credits insufficient_credits', 'add_credits idempotency_conflict',
		'charge done', 'charge again', 'charge insufficient_credits', 'charge idempotency_conflict',
		'refund done', 'refund again', 'refund already_refunded', 'refund over_refund', 'refund not_refundable',
		'refund transaction_not_found', 'refund idempotency_conflict',
		'transfer done', 'transfer again', 'transfer insufficient_credits', 'transfer idempotency_conflict',
		(map { "reverse_credits $_" } qw(done again insufficient_credits already_refunded over_refund not_refundable),
			'transaction_not_found'));
}

# moved_grant lets what is left of a grant move away, a part of it come back,
# and refunds go to it: chance meets that too seldom.
sub moved_grant
{
	my ($run, $step) = @_;
	my ($from, $to) = @{ $run->{users} };
	my $debit = sub { (grep { $_->{type} eq 'usage' } @{ $run->{world}->account($from, 0)->{entries} })[0]{id} };
	my @calls = (
		[ 'add_credits', sub { user_id => $from, amount => 1_000_000, type => 'promo', lifetime => 3_600_000_000 } ],
		[ 'charge',   sub { user_id => $from, amount => 500_000 } ],
		[ 'transfer', sub { from_id => $from, to_id => $to, amount => 500_000 } ],
		[ 'refund',   sub { transaction_id => $debit->(), amount => 100_000 } ],
		[ 'transfer', sub { from_id => $to, to_id => $from, amount => 200_000 } ],
		[ 'refund',   sub { transaction_id => $debit->() } ]);

	return $run->story($step, $from, @calls);
}

# expired_by_user sums what the ledger says has expired.
sub expired_by_user
{
	my ($run) = @_;

	return map { $_->[0] => Model::money($_->[1]) }
	  $run->{session}->rows("SELECT account_id, -sum(amount) FROM ducto.ledger WHERE type = 'expiry' GROUP BY account_id");
}

# near_boundary tells whether something expired in the last 100 ms.
sub near_boundary
{
	my ($run, $clock) = @_;
	my @times = map { $_->{expires_at} } map { @{ $_->{holds} }, @{ $_->{grants} } } values %{ $run->{world}{accounts} };
	return grep { $_ <= $clock && $_ > $clock - 100_000 } @times;
}

# sweep books what is due, in one of the ways there are, and compares what
# that says with what the ledger says before and after. Balances do not change
# by it, which is what the next look at the accounts shows.
sub sweep
{
	my ($run, $step) = @_;
	my $call = one_of('ducto_sweep_expired()', 'ducto_sweep_expired(max_accounts => 1)',
		'ducto_sweep_expired(dry_run => true)', 'ducto_expire_reservations()', 'ducto_expire_reservations(max_rows => 1)',
		@{ $run->{stack} } ? () : BATCH);
	my %before;
	my $due = "(SELECT count(*) FROM ducto.reservations WHERE state = 'open' AND expires_at <= ducto.clock())";
	my ($clock, $answer, $low, $high, %after, %swept, $swept, $sum);

	$run->advance(int(600_000 * rand)) if !@{ $run->{stack} } && chance(25);
	%before = expired_by_user($run);
	$low    = $run->{session}->value("SELECT $due");

	if ($call eq BATCH)
	{
		$run->{session}->run("CALL $call");
		die "$call failed: $run->{session}{error}{message}" if $run->{session}->error;
	}
	else
	{
		$answer = $run->{session}->row("SELECT * FROM $call");
	}
	($high, $clock) = @{ $run->{session}->row("SELECT $due, " . clock()) };
	push @{ $run->{log}{$_} }, sprintf('%.6f %s -> %s', $clock / 1e6, $call, join(' ', @{ $answer || [] })) foreach @{ $run->{users} };
	$run->{counts}{$call}++;

	%after = expired_by_user($run);
	if ($call =~ /dry_run/)
	{
		return $run->differ($step, $run->{users}[0], 'a dry run changed the ledger')
		  if "@after{sort keys %after}" ne "@before{sort keys %before}";
		foreach my $user (keys %{ $run->{world}{accounts} })
		{
			my $account = $run->{world}->account($user, $clock);
			my @pending = @{ $account->{entries} }[ $account->{compared} // 0 .. $#{ $account->{entries} } ];
			my %turns   = map { $_->{at} => 1 } grep { defined $_->{cycle_end} } @pending;

			# cycles that are one expire less
			return $run->look($step) if keys %turns > 1;
			$swept{$user} = sum0(map { -$_->{amount} } grep { $_->{type} eq 'expiry' } @pending);
		}
	}
	else
	{
		$swept{$_} = $after{$_} - ($before{$_} // 0) foreach keys %after;
	}
	$swept = grep { $_ > 0 } values %swept;
	$sum   = sum0(values %swept);
	if ($call =~ /sweep_expired/ && ($answer->[0] != $swept || Model::money($answer->[1]) != $sum))
	{
		# a dry run may have been asked just before something expired
		return 1 if $call =~ /dry_run/ && $answer->[0] < $swept && near_boundary($run, $clock);
		return $run->differ($step, $run->{users}[0], "$call: should be $swept accounts and $sum, is @$answer");
	}
	return $run->differ($step, $run->{users}[0], "$call: more accounts than allowed")
	  if $call =~ /max_accounts/ && $swept > 1;
	if ($call =~ /expire_reservations/)
	{
		my $most = $call =~ /max_rows/ ? 1 : 1_000_000;

		$run->{counts}{'reservations closed as expired'} += $answer->[0];
		return $run->differ($step, $run->{users}[0], "$call: $low were due, it closed $answer->[0], $high are left")
		  if $answer->[0] < min($low, $most) || $answer->[0] > $most;
	}
	return $run->look($step);
}

1;
