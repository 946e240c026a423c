
# One sequence of the property test: what there is while it runs, and what its steps
# (Model/Steps) have in common.
#
# Of a run are: the node and its cluster, if it is one; the sessions, and which of
# them makes the next step; the world, as the model has it, and a copy of it for
# each open transaction and savepoint in the stack; the users; what was done on the
# account of each, in the log; and what was met, in counts.

package Model::Run;

use strict;
use warnings FATAL => 'all';

use List::Util qw(max);
use Model;
use Model::Compare qw(ask columns follow);
use Requests qw(one_of sql);
use Test::More;

# new makes a run, of which some things are given.
sub new
{
	my ($class, %given) = @_;

	return bless { sessions => [], stack => [], users => [], log => {}, counts => {}, %given }, $class;
}

# differ fails the test with all that is needed to understand it.
sub differ
{
	my ($run, $step, $user, @differences) = @_;
	my @lines = @{ $run->{log}{$user} };

	diag("seed $run->{seed}, step $step, user $user:");
	diag("  $_") foreach @differences;
	diag('its grants and holds, as the model has them:');
	diag('  ' . join(' ', map { $_ // 'null' } $_->{lot}{id}, @{$_}{qw(remaining expires_at due rolls_to priority)}))
	  foreach grep { $_->{remaining} > 0 } @{ ($run->{world}{accounts}{$user} // {})->{grants} || [] };
	diag("  hold $_->{id} $_->{remaining} $_->{expires_at}")
	  foreach grep { $_->{state} eq 'open' } @{ ($run->{world}{accounts}{$user} // {})->{holds} || [] };
	diag('what was done on the account, newest last:');
	diag("  $_") foreach @lines[ max(0, @lines - 100) .. $#lines ];
	return 0;
}

# make_call makes a call and compares it.
sub make_call
{
	my ($run, $step, $function, $request, $user) = @_;
	my $call = sql($function, $request);
	my ($answer, $error, @differences);

	# what is left of a gift has a name once it was seen
	return 0 if $function eq 'reverse_credits' && !$run->look_at($step, $user, 'a look');
	$answer = ask($run->{session}, $run->{world}, $function, $call, $user);
	$error = $answer->{row}{error} // $answer->{row}{reason} // '';

	push @{ $run->{log}{$user} }, sprintf('%.6f %s -> %s', $answer->{before} / 1e6, $call,
		join(' ', map { "$_=" . ($answer->{row}{$_} // 'null') } columns($function)));
	$run->{counts}{ "$function " . ($error || (($answer->{row}{idempotent} // 'f') eq 't' ? 'again' : 'done')) }++;
	($run->{world}, @differences) = follow($run->{world}, $function, $request, $user, $answer);
	return $run->differ($step, $user, @differences) if @differences;
	return $function eq 'transfer' ? $run->look_at($step, $request->{to_id}, $call) : 1;
}

# story makes calls one after another, each by what the ones before have made, and
# waits between them.
sub story
{
	my ($run, $step, $user, @calls) = @_;

	$run->{session} = $run->{sessions}[0];
	foreach my $call (@calls)
	{
		if ($call->[0] eq 'wait')
		{
			$run->advance($call->[1]);
			next;
		}
		my %request = $call->[1]->();

		return 0 unless $run->make_call($step, $call->[0], \%request, $request{from_id} // $user);
	}
	return 1;
}

# look_at compares an account that a call on another one changed.
sub look_at
{
	my ($run, $step, $user, $call) = @_;
	my @differences;

	push @{ $run->{log}{$user} }, "-- $call";
	($run->{world}, @differences) =
	  follow($run->{world}, 'look', {}, $user, ask($run->{session}, $run->{world}, 'look', 'generate_series(1, 1)', $user));
	return @differences ? $run->differ($step, $user, @differences) : 1;
}

# look compares what is shown of every user, also of one moment of the
# past.
sub look
{
	my ($run, $step) = @_;

	foreach my $user (@{ $run->{users} })
	{
		my $account = $run->{world}{accounts}{$user};
		my $seen    = $account && $account->{seen} ? one_of(@{ $account->{seen} }) : undef;
		my $call    = 'generate_series(1, 1)';
		my ($answer, @differences);

		$call = "ducto_balance_at('$user', timestamptz 'epoch' + interval '$seen->[0] microseconds')" if $seen;
		$answer = ask($run->{session}, $run->{world}, 'look', $call, $user);
		($run->{world}, @differences) = follow($run->{world}, 'look', {}, $user, $answer);
		push @differences, "balance at $seen->[0]: should be $seen->[1], is $answer->{row}[0]"
		  if $seen && Model::money($answer->{row}[0]) != $seen->[1];
		return $run->differ($step, $user, @differences) if @differences;
		$run->{counts}{'a balance of the past'}++ if $seen;
	}
	return 1;
}

# advance moves the test clock. A cluster has none: the time passes there.
sub advance
{
	my ($run, $by) = @_;

	if ($run->{cluster})
	{
		select(undef, undef, undef, $by / 1_000_000);
		return;
	}
	$run->{session}->run("SELECT ducto_advance_clock(interval '$by microseconds')");
	die "the clock does not move: $run->{session}{error}{message}" if $run->{session}->error;
	return;
}

1;
