
# The property test: thousands of random operations, each of them compared with
# a model of the contract (lib/Model.pm) that knows nothing of the C code.
#
# After every step the answer, the balance, the grants in the order in which
# they are spent, and the ledger must be what the model says. Steps are retried
# under their keys, rolled back, undone by savepoints. Credit and holds really
# expire: they last from a fraction of a second to a few seconds, and the
# clock is the real one. The server judges at some moment between the two
# readings of its clock around a call. Where something expires between them,
# both outcomes are right, and the model tries both.
#
# Two sequences are run: one of a fixed seed, one of a random seed, or only
# that of DUCTO_SEED. DUCTO_STEPS is the number of steps of each. The seed is
# printed, and after a failure also what was done on the account. With
# DUCTO_CITUS the tables are distributed over a cluster.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use JSON::PP qw(encode_json);
use List::Util qw(max min sum0);
use Model::Operations;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Requests qw(chance one_of new_id some cap_room a_word request sql);
use Session;
use Storable qw(dclone);
use Test::More;
use Time::HiRes qw(sleep);

use constant FIXED_SEED => 20250717;
use constant STEPS      => $ENV{DUCTO_STEPS} || 2500;
use constant ROUND      => 1250;       # steps before new users come
use constant USERS      => 12;
use constant BATCH      => 'ducto_sweep(1)';
use constant NEAR       => 20;         # seconds before midnight at which a round ends

# The plans, in credits. The last is published first, and then no more.
my %plans = (
	free   => { free_allowance => 60 },
	pro    => { free_allowance => 400, max_concurrent => 6, per_operation => { image => { max_concurrent => 2 } } },
	credit => {
		free_allowance       => 20,
		default_billing_mode => 'overdraft',
		overdraft_floor      => -6,
		per_operation        => { chat => { overdraft_floor => -15 }, image => { billing_mode => 'strict' } }
	},
	bare => {},
	old  => { free_allowance => 90, retired => 1 });

# The columns of each function's row. Money and times are compared as numbers.
my %columns = (
	add_credits => [qw(transaction_id user_id amount new_balance lifetime_purchased expires_at idempotent error)],
	charge  => [qw(transaction_id user_id amount balance_after allowance_consumed shortfall idempotent cap_warning error)],
	deduct  => [qw(transaction_id user_id amount balance_after allowance_consumed shortfall idempotent cap_warning error)],
	reserve => [qw(reservation_id user_id amount balance reserved available billing_mode expires_at idempotent error)],
	renew   => [qw(reservation_id user_id amount balance reserved available billing_mode expires_at idempotent error)],
	release => [qw(reservation_id user_id released reason)],
	set_user_plan => [qw(user_id plan_id error)],
	set_spend_cap    => [qw(user_id cap_type model cap_limit action current_spend)],
	remove_spend_cap => [qw(removed)],
	check_spend_cap  => [qw(capped current_spend cap_limit action model)],
	increment_usage_window => [qw(plan_id free_allowance allowance_used allowance_remaining error)],
	refund  => [qw(refund_transaction_id original_transaction_id user_id team_id amount new_balance allowance_restored idempotent error)],
	reverse_credits => [qw(reversal_transaction_id original_transaction_id user_id team_id amount shortfall new_balance lifetime_purchased idempotent error)],
	transfer => [qw(out_transaction_id in_transaction_id from_id to_id amount from_balance to_balance idempotent error)],
	shown   => [qw(balance lifetime_purchased reserved available next_expiry plan_id free_allowance allowance_used allowance_remaining caps grants)],
	entry   => [qw(id seq type amount balance_after allowance model reference burned created_at effective_at)],
);
my %is_money = map { $_ => 1 } qw(amount new_balance lifetime_purchased balance_after allowance_consumed shortfall
  balance reserved available allowance_restored allowance
  free_allowance allowance_used allowance_remaining cap_limit current_spend from_balance to_balance);

my $cluster = $ENV{DUCTO_CITUS} ? Citus->new('model') : undef;
my $node = $cluster ? $cluster->coordinator : PostgreSQL::Test::Cluster->new('model');
my ($world, @sessions, $session, @stack, %log, %counts);
my ($seed, $next_user, @users, @published);

Requests::draw_from([ sort keys %plans ], sub { return $world->{accounts}{ one_of(@users) } }, sub { return one_of(@users) });


# --- answers -------------------------------------------------------------------

# microseconds is SQL that makes a time a number.
sub microseconds
{
	my ($time) = @_;
	return "(extract(epoch FROM $time) * 1000000)::bigint";
}

# read_columns makes a hash of a row.
sub read_columns
{
	my ($what, @values) = @_;
	my %row;

	foreach my $column (@{ $columns{$what} })
	{
		my $value = shift @values;
		$row{$column} = $is_money{$column} ? Model::money($value) : $value;
	}
	return \%row;
}

# ask makes a call between two readings of the clock, then looks at the
# account, all in one trip to the server.
sub ask
{
	my ($function, $call, $user) = @_;
	my $clock   = "SELECT 'clock', " . microseconds('clock_timestamp()') . ';';
	my $columns = join(', ', map { $_ eq 'expires_at' ? microseconds($_) : $_ } @{ $columns{$function} || ['*'] });
	my $account = $world->{accounts}{$user};
	my $booked  = $account ? $account->{compared} // 0 : 0;
	my %answer  = (entries => []);
	my @clock;
	my @rows = $session->rows(join("\n",
		$clock,
		"SELECT 'answer', $columns FROM $call;",
		$clock,
		"SELECT 'shown', balance, lifetime_purchased, reserved, available, " . microseconds('next_expiry') . ',',
		" plan_id, free_allowance, allowance_used, allowance_remaining,",
		" (SELECT coalesce(string_agg(cap, ',' ORDER BY cap COLLATE \"C\"), '') FROM (SELECT cap_type || ' ' || coalesce(model, '')",
		"   || '=' || (cap_limit * 10000)::bigint || ' ' || action || ' ' || (current_spend * 10000)::bigint AS cap",
		"  FROM ducto_list_spend_caps('$user')) AS c),",
		" (SELECT coalesce(string_agg(grant_id || '=' || (remaining * 10000)::bigint, ',' ORDER BY n), '')",
		"  FROM ducto_list_grants('$user') WITH ORDINALITY AS g(grant_id, type, amount, remaining, priority, expires_at, created_at, n))",
		" FROM ducto_get_balance('$user'), ducto_check_allowance('$user');",
		$clock,
		"SELECT 'entry', id, seq, type, amount, balance_after, allowance_consumed, model, reference,",
		" (SELECT string_agg(g || '=' || (a * 10000)::bigint, ',' ORDER BY n) FROM unnest(burned_grants, burned_amounts) WITH ORDINALITY AS b(g, a, n)),",
		microseconds('created_at') . ', ' . microseconds('effective_at'),
		" FROM ducto.ledger WHERE account_id = '$user' AND seq > $booked ORDER BY seq"));

	die "$call failed: $session->{error}{sqlstate} $session->{error}{message}" if $session->error;
	foreach my $row (@rows)
	{
		my $tag = shift @$row;

		push @clock, $row->[0] if $tag eq 'clock';
		$answer{row} = $columns{$function} ? read_columns($function, @$row) : $row if $tag eq 'answer';
		$answer{shown} = read_columns('shown', @$row) if $tag eq 'shown';
		push @{ $answer{entries} }, read_columns('entry', @$row) if $tag eq 'entry';
	}
	@answer{qw(before between after)} = @clock;
	return \%answer;
}

# --- comparing -----------------------------------------------------------------

# differences lists the columns in which a row is not as it should be. Columns
# that are not expected are not looked at.
sub differences
{
	my ($what, $expected, $actual) = @_;
	my @differences;

	foreach my $column (sort keys %$expected)
	{
		my ($should, $is) = map { $_ // 'null' } ($expected->{$column}, $actual->{$column});

		push @differences, "$what $column: should be $should, is $is" if $should ne $is;
	}
	return @differences;
}

# entry_differences compares the ledger with the model's. What has expired may
# not be booked yet, unless it had when something was done on the account just
# now: up to the entry $must.
sub entry_differences
{
	my ($account, $entries, $answer, $must) = @_;
	my $compared = $account->{compared} // 0;
	my @expected = @{ $account->{entries} }[ $compared .. $#{ $account->{entries} } ];
	my @differences;

	foreach my $entry (@$entries)
	{
		my $expected = shift @expected;

		return "ledger: there should be no entry $entry->{seq}" unless $expected;
		push @differences, differences("entry $entry->{seq}", {
				(map { $_ => $expected->{$_} } qw(seq type amount balance_after allowance)),
				$entry->{type} eq 'usage' ? (model => $expected->{model}) : (),
				burned => join(',', map { "$_->[0]=$_->[1]" } @{ $expected->{burned} }) || undef,
				(map { defined $expected->{$_} ? ($_ => $expected->{$_}) : () } qw(id reference)),
				effective_at => $expected->{effective_at} // $entry->{created_at}
			}, $entry);
		push @differences, "entry $entry->{seq} created_at: not during the call"
		  if $must && ($entry->{created_at} < $answer->{before} || $entry->{created_at} > $answer->{between});
		$expected->{id} //= $entry->{id};
	}
	push @differences, "ledger: entry $_->{seq} ($_->{type} $_->{amount}) is missing"
	  foreach grep { $_->{seq} <= $must || $_->{type} ne 'expiry' } @expected;
	$account->{compared} = $compared + @$entries;
	return @differences;
}

# moments lists what "now" may have been between two readings of the clock.
sub moments
{
	my ($model, $from, $to) = @_;
	return ($from, grep { $_ <= $to } $model->boundaries($from));
}

# follow lets the model make a step as the server did, and returns the
# differences. Of several moments at which the server may have judged, it
# takes the first that explains all that was seen.
sub follow
{
	my ($function, $request, $user, $answer) = @_;
	my @moments = moments($world, $answer->{before}, $answer->{between});
	my @first;

	foreach my $at (@moments)
	{
		my $model    = @moments > 1 ? dclone($world) : $world;
		my @expected = step_differences($model, $function, $request, $at, $answer);
		my $must     = is_write($function, $answer->{row}) ? count_entries($model, $user) : 0;
		my @reads    = moments($model, max($at, $answer->{between}), $answer->{after});
		my @shown    = @reads > 1 ? map { dclone($model)->shown($user, $_) } @reads : ();

		foreach my $read (@reads)
		{
			my $then    = @reads > 1 ? dclone($model) : $model;
			my $shown   = $then->shown($user, $read);
			my $account = $then->{accounts}{$user};

			# each of the functions that show something reads the clock
			foreach my $column (keys %$shown)
			{
				my ($same) = grep { ($_->{$column} // '') eq ($answer->{shown}{$column} // '') } @shown;
				$shown->{$column} = $same->{$column} if $same;
			}
			my @differences = (
				@expected,
				differences('shown', $shown, $answer->{shown}),
				$account ? entry_differences($account, $answer->{entries}, $answer, $must) : ());

			if (!@differences)
			{
				push @{ $account->{seen} }, [ $answer->{after}, $shown->{balance} ]
				  if $account && @reads == 1;
				$world = $then;
				return ();
			}
			@first = @differences unless @first;
		}
	}
	return @first;
}

# count_entries tells how long a user's ledger is.
sub count_entries
{
	my ($model, $user) = @_;
	return $model->{accounts}{$user} ? scalar @{ $model->{accounts}{$user}{entries} } : 0;
}

# is_write tells whether a call locked the account, which books what is due.
sub is_write
{
	my ($function, $row) = @_;
	return exists $columns{$function} && $function ne 'check_spend_cap'
	  && ($row->{error} // '') !~ /^(?:transaction|plan)_not_found$/;
}

# step_differences makes a step in a model and compares the answer.
sub step_differences
{
	my ($model, $function, $request, $at, $answer) = @_;
	my $when = { at => $at, low => $answer->{before}, high => $answer->{between} };
	my $expected;

	return () unless exists $columns{$function};
	$expected = $model->$function($when, $request, $answer->{row});
	return differences($function, $expected, $answer->{row});
}

# --- steps ---------------------------------------------------------------------

# differ fails the test with all that is needed to understand it.
sub differ
{
	my ($step, $user, @differences) = @_;
	my @lines = @{ $log{$user} };

	diag("seed $seed, step $step, user $user:");
	diag("  $_") foreach @differences;
	diag('what was done on the account, newest last:');
	diag("  $_") foreach @lines[ max(0, @lines - 100) .. $#lines ];
	return 0;
}

# step_call makes a random call, or one under the key of an earlier one.
sub step_call
{
	my ($step) = @_;
	my $user    = one_of(@users);
	my $account = $world->account($user, 0);
	my ($function, $request);

	if (chance(15) && @{ $log{"keys $user"} || [] })
	{
		my ($old, $was) = @{ one_of(@{ $log{"keys $user"} }) };

		($function, $request) = ($old, {%$was});
		$request->{amount} = some($account) if defined $request->{amount} && chance(20);
		if (chance(35))
		{
			$function = one_of(grep { $_ ne $old } qw(add_credits charge deduct refund reverse_credits transfer));
			$request  = request($function, $account, $user);
			$request->{idempotency_key} = $was->{idempotency_key};
		}
	}
	else
	{
		my $holding = Model::held($account) > 0;

		$function = one_of(
			('add_credits') x 6, ('charge') x 5, ('reserve') x 8, ('deduct') x ($holding ? 7 : 2),
			('release') x 2, ('renew') x 1, ('refund') x 7,
			('reverse_credits') x 2, ('transfer') x 2,
			('set_user_plan') x 3, ('increment_usage_window') x 1,
			('set_spend_cap') x 3, ('remove_spend_cap') x 1, ('check_spend_cap') x 1);
		$request = request($function, $account, $user);
	}
	push @{ $log{"keys $user"} }, [ $function, $request ] if defined $request->{idempotency_key};
	return make_call($step, $function, $request, $user);
}

# make_call makes a call and compares it.
sub make_call
{
	my ($step, $function, $request, $user) = @_;
	my $call   = sql($function, $request);
	my $answer = ask($function, $call, $user);
	my $error  = $answer->{row}{error} // $answer->{row}{reason} // '';
	my @differences;

	push @{ $log{$user} }, sprintf('%.6f %s -> %s', $answer->{before} / 1e6, $call,
		join(' ', map { "$_=" . ($answer->{row}{$_} // 'null') } @{ $columns{$function} }));
	$counts{ "$function " . ($error || (($answer->{row}{idempotent} // 'f') eq 't' ? 'again' : 'done')) }++;
	@differences = follow($function, $request, $user, $answer);
	return differ($step, $user, @differences) if @differences;
	return $function eq 'transfer' ? look_at($step, $request->{to_id}, $call) : 1;
}

# step_moved_grant lets what is left of a grant move away, a part of it come back,
# and refunds go to it: chance meets that too seldom.
sub step_moved_grant
{
	my ($step) = @_;
	my ($from, $to) = @users;
	my $debit = sub { (grep { $_->{type} eq 'usage' } @{ $world->account($from, 0)->{entries} })[0]{id} };
	my @calls = (
		[ 'add_credits', sub { user_id => $from, amount => 1_000_000, type => 'promo', lifetime => 3_600_000_000 } ],
		[ 'charge',   sub { user_id => $from, amount => 500_000 } ],
		[ 'transfer', sub { from_id => $from, to_id => $to, amount => 500_000 } ],
		[ 'refund',   sub { transaction_id => $debit->(), amount => 100_000 } ],
		[ 'transfer', sub { from_id => $to, to_id => $from, amount => 200_000 } ],
		[ 'refund',   sub { transaction_id => $debit->() } ]);

	$session = $sessions[0];
	foreach my $call (@calls)
	{
		my %request = $call->[1]->();

		return 0 unless make_call($step, $call->[0], \%request, $request{from_id} // $from);
	}
	return 1;
}

# look_at compares an account that a call on another one changed.
sub look_at
{
	my ($step, $user, $call) = @_;
	my @differences;

	push @{ $log{$user} }, "-- $call";
	@differences = follow('look', {}, $user, ask('look', 'generate_series(1, 1)', $user));
	return @differences ? differ($step, $user, @differences) : 1;
}

# step_transaction begins and ends transactions and savepoints; the model is
# put aside and taken back.
sub step_transaction
{
	my ($step) = @_;
	my $command;

	if (!@stack)
	{
		$command = 'BEGIN';
		push @stack, dclone($world);
	}
	elsif (chance(35))
	{
		$command = 'SAVEPOINT s';
		push @stack, dclone($world);
	}
	elsif (@stack > 1 && chance(60))
	{
		$command = 'ROLLBACK TO s; RELEASE s';
		$world   = pop @stack;
	}
	elsif (chance(60))
	{
		$command = 'COMMIT';
		@stack   = ();
	}
	else
	{
		$command = 'ROLLBACK';
		$world   = $stack[0];
		@stack   = ();
	}
	$counts{$command}++;
	push @{ $log{$_} }, $command foreach @users;
	$session->run($command);
	die "$command failed: $session->{error}{message}" if $session->error;
	return 1;
}

# expired_by_user sums what the ledger says has expired.
sub expired_by_user
{
	return map { $_->[0] => Model::money($_->[1]) }
	  $session->rows("SELECT account_id, -sum(amount) FROM ducto.ledger WHERE type = 'expiry' GROUP BY account_id");
}

# step_sweep books what is due, in one of the ways there are, and compares what
# that says with what the ledger says before and after. Balances do not change
# by it, which is what the next look at the accounts shows.
sub step_sweep
{
	my ($step) = @_;
	my $call = one_of('ducto_sweep_expired()', 'ducto_sweep_expired(max_accounts => 1)',
		'ducto_sweep_expired(dry_run => true)', 'ducto_expire_reservations()', 'ducto_expire_reservations(max_rows => 1)',
		@stack ? () : BATCH);
	my %before;
	my $due = "(SELECT count(*) FROM ducto.reservations WHERE state = 'open' AND expires_at <= clock_timestamp())";
	my ($clock, $answer, $low, $high, %after, %swept, $swept, $sum);

	sleep(rand(0.6)) if chance(25);
	%before = expired_by_user();
	$low    = $session->value("SELECT $due");

	if ($call eq BATCH)
	{
		$session->run("CALL $call");
		die "$call failed: $session->{error}{message}" if $session->error;
	}
	else
	{
		$answer = $session->row("SELECT * FROM $call");
	}
	($high, $clock) = @{ $session->row("SELECT $due, " . microseconds('clock_timestamp()')) };
	push @{ $log{$_} }, sprintf('%.6f %s -> %s', $clock / 1e6, $call, join(' ', @{ $answer || [] })) foreach @users;
	$counts{$call}++;

	%after = expired_by_user();
	if ($call =~ /dry_run/)
	{
		return differ($step, $users[0], 'a dry run changed the ledger') if "@after{sort keys %after}" ne "@before{sort keys %before}";
		foreach my $user (keys %{ $world->{accounts} })
		{
			my $account = $world->account($user, $clock);
			$after{$user} = sum0(map { -$_->{amount} } grep { $_->{type} eq 'expiry' } @{ $account->{entries} });
		}
	}
	$swept{$_} = $after{$_} - ($before{$_} // 0) foreach keys %after;
	$swept = grep { $_ > 0 } values %swept;
	$sum   = sum0(values %swept);
	if ($call =~ /sweep_expired/ && ($answer->[0] != $swept || Model::money($answer->[1]) != $sum))
	{
		# a dry run may have been asked just before something expired
		return 1 if $call =~ /dry_run/ && $answer->[0] < $swept && near_boundary($clock);
		return differ($step, $users[0], "$call: should be $swept accounts and $sum, is @$answer");
	}
	return differ($step, $users[0], "$call: more accounts than allowed")
	  if $call =~ /max_accounts/ && $swept > 1;
	if ($call =~ /expire_reservations/)
	{
		my $most = $call =~ /max_rows/ ? 1 : 1_000_000;

		$counts{'reservations closed as expired'} += $answer->[0];
		return differ($step, $users[0], "$call: $low were due, it closed $answer->[0], $high are left")
		  if $answer->[0] < min($low, $most) || $answer->[0] > $most;
	}
	return step_look($step);
}

# near_boundary tells whether something expired in the last 100 ms.
sub near_boundary
{
	my ($clock) = @_;
	my @times = map { $_->{expires_at} } map { @{ $_->{holds} }, @{ $_->{grants} } } values %{ $world->{accounts} };
	return grep { $_ <= $clock && $_ > $clock - 100_000 } @times;
}

# step_look compares what is shown of every user, also of one moment of the
# past.
sub step_look
{
	my ($step) = @_;

	foreach my $user (@users)
	{
		my $account = $world->{accounts}{$user};
		my $seen    = $account && $account->{seen} ? one_of(@{ $account->{seen} }) : undef;
		my $call    = 'generate_series(1, 1)';
		my ($answer, @differences);

		$call = "ducto_balance_at('$user', timestamptz 'epoch' + interval '$seen->[0] microseconds')" if $seen;
		$answer = ask('look', $call, $user);
		@differences = follow('look', {}, $user, $answer);
		push @differences, "balance at $seen->[0]: should be $seen->[1], is $answer->{row}[0]"
		  if $seen && Model::money($answer->{row}[0]) != $seen->[1];
		return differ($step, $user, @differences) if @differences;
		$counts{'a balance of the past'}++ if $seen;
	}
	return 1;
}

# step_afford asks whether a reserve would be admitted.
sub step_afford
{
	my ($step) = @_;
	my $user    = one_of(@users);
	my $account = $world->account($user, 0);
	my $amount  = some($account, Model::room($account, Model::MIN_BALANCE));
	my $request = { user_id => $user, amount => $amount, a_word(operation_type => 'chat', 30), a_word(model => 'gpt', 30) };
	my $call    = sql('can_afford', $request);
	my $answer  = ask('look', $call, $user);
	my ($affordable, $available, $allowance, $reason) = @{ $answer->{row} };
	my @possible;

	$counts{"can_afford $affordable"}++;
	foreach my $at (moments($world, $answer->{before}, $answer->{between}))
	{
		my $then = dclone($world)->account($user, $at);
		my $why  = Model::refusal($then, $request);

		push @possible, join(' ', $why ? 'f' : 't', $then->{balance} - Model::held($then), Model::allowance($then), $why // 'null');
	}
	my $is = join(' ', $affordable, Model::money($available), Model::money($allowance), $reason // 'null');
	return differ($step, $user, "$call: should be @possible, is $is") unless grep { $_ eq $is } @possible;
	return 1;
}

# step makes one step of some kind.
sub step
{
	my ($step) = @_;

	$session = one_of(@sessions) unless @stack;
	return step_transaction($step) if chance(@stack ? 25 : 4);
	return step_sweep($step)       if chance(4);
	return step_look($step)        if chance(2);
	return step_afford($step)      if chance(2);
	if (chance(1) && !@stack)
	{
		sleep(rand(0.5));    # let something expire that nobody looks at
		return 1;
	}
	return step_call($step);
}

# --- rounds --------------------------------------------------------------------

# to_midnight is how many seconds the UTC day still has. The model knows one day
# and one month: a round ends before they do.
sub to_midnight
{
	return 86400 - time() % 86400;
}

# wait_for_midnight waits for the next day when it is near.
sub wait_for_midnight
{
	my $left = to_midnight();

	sleep($left + 1) if $left <= NEAR + 10;
	return;
}

# make_database makes a database in which the plans are known.
sub make_database
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE empty") unless $cluster;
	$cluster->database($name, before => join('; ', @published)) if $cluster;
	return;
}

# start_round begins with a new database and new users. One of the sessions
# lives in a time zone far away, which must not matter.
sub start_round
{
	my ($name) = @_;

	$_->quit foreach @sessions;
	make_database($name);
	@sessions = map { Session->new($node, dbname => $name) } 1 .. 2;
	$sessions[0]->run("SET timezone = 'Pacific/Kiritimati'");
	$world = Model->new(\%plans);
	@users = map { new_id() } 1 .. USERS;
	%log   = ();
	return;
}

# end_round ends an open transaction and audits. Then everything that can
# expire does, and only the rest is left.
sub end_round
{
	my ($step) = @_;
	my $good = 1;
	my ($clock, $last);

	$session->run('COMMIT') if @stack;
	@stack = ();
	push @{ $log{$_} }, 'COMMIT' foreach @users;
	$good = step_look($step);
	is(join("\n", $session->run('SELECT * FROM ducto_verify()')), '', "seed $seed: nothing to find for the auditor");
	return $good;
}

# publish makes plans known, by a pricing configuration.
sub publish
{
	my (@ids) = @_;
	my %config = (models => { _default => '1' }, plans => {});

	foreach my $id (@ids)
	{
		my %plan = (%{ $plans{$id} }, name => "Plan $id");

		delete $plan{retired};
		$config{plans}{$id} = \%plan;
	}
	push @published, "SELECT ducto_set_active_pricing('" . encode_json(\%config) . "')";
	$node->safe_psql('empty', $published[-1]) unless $cluster;
	return;
}

# run_sequence makes the steps of one seed.
sub run_sequence
{
	($seed) = @_;
	my $step   = 0;
	my $good   = 1;

	note("DUCTO_SEED=$seed");
	Requests::restart($seed);
	for (my $round = 1; $step < STEPS && $good; $round++)
	{
		my $end = min(STEPS, $step + ROUND);

		wait_for_midnight();
		start_round("seed_${seed}_$round");
		$good = step_moved_grant($step) if $round == 1;
		while ($good && $step < $end && to_midnight() > NEAR)
		{
			$good = step(++$step);
		}
		$good = end_round($step) if $good;
	}
	return ok($good, "seed $seed: $step steps as the model makes them");
}

# after_the_last waits until everything that lasts seconds has expired, swept by
# nobody, and then looks again, before and after a sweep.
sub after_the_last
{
	my $clock = $session->value('SELECT ' . microseconds('clock_timestamp()'));
	my $last  = max($clock, grep { $_ < $clock + 10_000_000 } $world->boundaries($clock));

	sleep(($last - $clock) / 1e6 + 0.05);
	ok(step_look('last'), 'after all that has expired since, the accounts are as the model says');
	$session->row('SELECT * FROM ducto_sweep_expired()');
	$session->row('SELECT * FROM ducto_expire_reservations()');
	ok(step_look('last'), '... and after a sweep');
	is($session->value("SELECT count(*) FROM ducto.grants WHERE live AND expires_at < now()"
			  . " AND (SELECT count(*) FROM ducto.reservations WHERE state = 'open') = 0"),
		0, '... which left nothing');
	is(join("\n", $session->run('SELECT * FROM ducto_verify()')), '', '... and nothing to find for the auditor');
	return;
}

unless ($cluster)
{
	$node->init;
	$node->append_conf('postgresql.conf', "log_statement = none\nsynchronous_commit = off");
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE empty');
	$node->safe_psql('empty', 'CREATE EXTENSION ducto');
}
publish(sort keys %plans);
publish(grep { !$plans{$_}{retired} } sort keys %plans);

my $good = 1;
foreach my $number (defined $ENV{DUCTO_SEED} && length $ENV{DUCTO_SEED} ? $ENV{DUCTO_SEED} : (FIXED_SEED, int(rand(2**31))))
{
	$good &&= run_sequence($number);
}

# A sequence that never meets what it is for proves nothing.
SKIP:
{
	skip 'the sequence ended early', 1 unless $good;
	after_the_last();
	note(sprintf('%6d %s', $counts{$_}, $_)) foreach sort keys %counts;
	note(sprintf('%6d %s', $Model::met{$_}, $_)) foreach sort keys %Model::met;
	skip 'a short run', 1 if STEPS < 2500 || defined $ENV{DUCTO_SEED} && length $ENV{DUCTO_SEED};
	my @missing = grep { !$Model::met{$_} } (
		'due credit that holds need',
		'due credit that holds need in part',
		'due credit that a deduct burns',
		'kept credit that expires with the hold',
		'a debit over several grants',
		'debt that eats a grant',
		'a hold below zero',
		'a debt',
		'a shortfall',
		'a late deduct',
		'a deduct of more than is held, reject',
		'a deduct of more than is held, clamp',
		'a deduct of more than is held, full',
		'a refund to a grant',
		'a refund to a grant that has expired',
		'a grant that never expires',
		'a charge of more than there is, clamp',
		'a charge of more than there is, full',
		(map { "a credit taken back that is spent, $_" } qw(clamp unspent full)),
		'a grant that moves',
		'a grant that comes back',
		'a refund to a grant that has moved',
		'a transfer that a debt eats',
		'a refund that a debt eats',
		'a hold that the allowance covers',
		'a plan that holds relied on, gone',
		'a debit that the allowance pays in part',
		'a refund of credits and allowance',
		'a refund of allowance to a user without a plan',
		'a refund that gives a cap room',
		'a cap that changes',
		'a hold paid by an allowance that is gone',
		'a new cap whose window has seen something',
		'a cap_warning: deny',
		'a cap_warning: warn',
		'a cap_warning: notify');
	push @missing, grep { !$counts{$_} } (
		'add_credits done', 'add_credits again', 'add_credits insufficient_credits', 'add_credits idempotency_conflict',
		'charge done', 'charge again', 'charge insufficient_credits', 'charge idempotency_conflict',
		'reserve done', 'reserve again', 'reserve insufficient_credits', 'reserve concurrency_limit',
		'deduct done', 'deduct again', 'deduct insufficient_credits', 'deduct reservation_expired',
		'deduct reservation_closed', 'deduct reservation_not_found', 'deduct idempotency_conflict',
		'release released', 'release already_released', 'release already_settled', 'release expired', 'release not_found',
		'renew done', 'renew reservation_expired', 'renew reservation_closed', 'renew reservation_not_found',
		'refund done', 'refund again', 'refund already_refunded', 'refund over_refund', 'refund not_refundable',
		'refund transaction_not_found', 'refund idempotency_conflict',
		'deduct ceiling_reached', 'transfer done', 'transfer again', 'transfer insufficient_credits', 'transfer idempotency_conflict',
		(map { "reverse_credits $_" } qw(done again insufficient_credits already_refunded over_refund not_refundable transaction_not_found)),
		'charge cap_reached', 'reserve cap_reached', 'set_spend_cap done', 'remove_spend_cap done', 'check_spend_cap done',
		'set_user_plan done', 'set_user_plan plan_not_found',
		'increment_usage_window done', 'increment_usage_window plan_not_found',
		'COMMIT', 'ROLLBACK', 'ROLLBACK TO s; RELEASE s', 'reservations closed as expired', 'a balance of the past');
	is("@missing", '', 'the sequences met everything that they are for');
}

$_->quit foreach @sessions;
$cluster ? $cluster->stop : $node->stop;
done_testing();
