
# Steps of any subject: a call at random, and the transactions around calls.

package Model::Steps::Calls;

use strict;
use warnings FATAL => 'all';

use Model;
use Requests qw(chance one_of request some);
use Storable qw(dclone);

# counted lists the outcomes that the sequences are for.
sub counted
{
	return ('COMMIT', 'ROLLBACK', 'ROLLBACK TO s; RELEASE s');
}

# at_random makes a random call, or one under the key of an earlier one.
sub at_random
{
	my ($run, $step) = @_;
	my $user    = one_of(@{ $run->{users} });
	my $account = $run->{world}->account($user, 0);
	my ($function, $request);

	if (chance(15) && @{ $run->{log}{"keys $user"} || [] })
	{
		my ($old, $was) = @{ one_of(@{ $run->{log}{"keys $user"} }) };

		($function, $request) = ($old, {%$was});
		$request->{amount} = some($account) if defined $request->{amount} && chance(20);
		if (chance(35))
		{
			$function = one_of(grep { $_ ne $old } qw(add_credits charge charge_usage deduct refund reverse_credits transfer));
			$request  = request($function, $account, $user);
			$request->{idempotency_key} = $was->{idempotency_key} // $was->{lines}[0]{key};
		}
	}
	else
	{
		my $holding = Model::held($account) > 0;

		$function = one_of(
			('add_credits') x 6, ('charge') x 5, ('reserve') x 8, ('deduct') x ($holding ? 7 : 2),
			('settle') x ($holding ? 9 : 2), ('charge_usage') x 3,
			('release') x 2, ('renew') x 1, ('refund') x 7,
			('reverse_credits') x 2, ('transfer') x 2,
			('set_user_plan') x 3, ('increment_usage_window') x 1,
			('set_spend_cap') x 3, ('remove_spend_cap') x 1, ('check_spend_cap') x 1);
		$request = request($function, $account, $user);
	}
	push @{ $run->{log}{"keys $user"} }, [ $function, $request ]
	  if defined $request->{idempotency_key} || @{ $request->{lines} || [] };
	return $run->make_call($step, $function, $request, $user);
}

# transaction begins and ends transactions and savepoints; the model is
# put aside and taken back.
sub transaction
{
	my ($run, $step) = @_;
	my $command;

	if (!@{ $run->{stack} })
	{
		$command = 'BEGIN';
		push @{ $run->{stack} }, dclone($run->{world});
	}
	elsif (chance(35))
	{
		$command = 'SAVEPOINT s';
		push @{ $run->{stack} }, dclone($run->{world});
	}
	elsif (@{ $run->{stack} } > 1 && chance(60))
	{
		$command = 'ROLLBACK TO s; RELEASE s';
		$run->{world}   = pop @{ $run->{stack} };
	}
	elsif (chance(60))
	{
		$command = 'COMMIT';
		@{ $run->{stack} }   = ();
	}
	else
	{
		$command = 'ROLLBACK';
		$run->{world}   = $run->{stack}[0];
		@{ $run->{stack} }   = ();
	}
	$run->{counts}{$command}++;
	push @{ $run->{log}{$_} }, $command foreach @{ $run->{users} };
	$run->{session}->run($command);
	die "$command failed: $run->{session}{error}{message}" if $run->{session}->error;
	return 1;
}

1;
