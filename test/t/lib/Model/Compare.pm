
# What the server answers to a step of the property test, and in what that differs
# from what the model (Model.pm) says.
#
# A step is asked for between two readings of ducto's clock, and the account looked
# at after it, all in one trip. The server judged at some moment between the two.
# Where something expires or begins between them, both outcomes are right, and the
# model tries both.

package Model::Compare;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use List::Util qw(max);
use Model;
use Storable qw(dclone);

our @EXPORT_OK = qw(ask clock columns follow microseconds moments);

# The columns of each function's row. Money and times are compared as numbers.
my %columns = (
	add_credits => [qw(transaction_id user_id amount new_balance lifetime_purchased expires_at idempotent error)],
	charge  => [qw(transaction_id user_id amount balance_after allowance_consumed shortfall idempotent cap_warning error)],
	charge_usage => [qw(transaction_id user_id amount balance_after allowance_consumed shortfall idempotent cap_warning error)],
	settle  => [qw(transaction_id booked skipped amount balance_after allowance_consumed shortfall remaining error)],
	deduct  => [qw(transaction_id user_id amount balance_after allowance_consumed shortfall idempotent cap_warning error)],
	reserve => [qw(reservation_id user_id amount balance reserved available billing_mode expires_at idempotent error)],
	renew   => [qw(reservation_id user_id amount balance reserved available billing_mode expires_at idempotent error)],
	release => [qw(reservation_id user_id released reason)],
	set_user_plan => [qw(user_id plan_id error)],
	set_spend_cap    => [qw(user_id cap_type model cap_limit action current_spend)],
	remove_spend_cap => [qw(removed)],
	check_spend_cap  => [qw(capped current_spend cap_limit action model)],
	increment_usage_window => [qw(plan_id free_allowance allowance_used allowance_remaining resets_at error)],
	refund  => [qw(refund_transaction_id original_transaction_id user_id team_id amount new_balance allowance_restored idempotent error)],
	reverse_credits => [qw(reversal_transaction_id original_transaction_id user_id team_id amount shortfall new_balance lifetime_purchased idempotent error)],
	transfer => [qw(out_transaction_id in_transaction_id from_id to_id amount from_balance to_balance idempotent error)],
	shown   => [qw(balance lifetime_purchased reserved available next_expiry plan_id free_allowance allowance_used allowance_remaining resets_at caps grants)],
	entry   => [qw(id seq type amount balance_after allowance model reference burned created_at effective_at cycle_end models lines)],
);
my %is_money = map { $_ => 1 } qw(amount new_balance lifetime_purchased balance_after allowance_consumed shortfall
  balance reserved available allowance_restored allowance remaining
  free_allowance allowance_used allowance_remaining cap_limit current_spend from_balance to_balance);

# clock is SQL for ducto's clock as a number, microseconds that of any time.
sub microseconds
{
	my ($time) = @_;
	return "(extract(epoch FROM $time) * 1000000)::bigint";
}

sub clock
{
	return microseconds('ducto.clock()');
}

# columns lists those of a function's row.
sub columns
{
	my ($function) = @_;
	return @{ $columns{$function} };
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
	my ($session, $world, $function, $call, $user) = @_;
	my $clock   = "SELECT 'clock', " . clock() . ';';
	my $columns = join(', ', map { /^(?:expires|resets)_at$/ ? microseconds($_) : $_ } @{ $columns{$function} || ['*'] });
	my $account = $world->{accounts}{$user};
	my $booked  = $account ? $account->{booked} // 0 : 0;
	my %answer  = (entries => []);
	my @clock;
	my @rows = $session->rows(join("\n",
		$clock,
		"SELECT 'answer', $columns FROM $call;",
		$clock,
		"SELECT 'shown', balance, lifetime_purchased, reserved, available, " . microseconds('next_expiry') . ',',
		" plan_id, free_allowance, allowance_used, allowance_remaining, " . microseconds('resets_at') . ',',
		" (SELECT coalesce(string_agg(cap, ',' ORDER BY cap COLLATE \"C\"), '') FROM (SELECT cap_type || ' ' || coalesce(model, '')",
		"   || '=' || (cap_limit * 10000)::bigint || ' ' || action || ' ' || (current_spend * 10000)::bigint AS cap",
		"  FROM ducto_list_spend_caps('$user')) AS c),",
		" (SELECT coalesce(string_agg(grant_id || '=' || (remaining * 10000)::bigint, ',' ORDER BY n), '')",
		"  FROM ducto_list_grants('$user') WITH ORDINALITY AS g(grant_id, type, amount, remaining, priority, expires_at, created_at, n))",
		" FROM ducto_get_balance('$user'), ducto_check_allowance('$user');",
		$clock,
		"SELECT 'entry', id, seq, type, amount, balance_after, allowance_consumed, model, reference,",
		" (SELECT string_agg(g || '=' || (a * 10000)::bigint, ',' ORDER BY n) FROM unnest(burned_grants, burned_amounts) WITH ORDINALITY AS b(g, a, n)),",
		microseconds('created_at') . ', ' . microseconds('effective_at') . ', ' . microseconds('cycle_end') . ',',
		" (SELECT string_agg(coalesce(m, '') || '=' || (s * 10000)::bigint, ',' ORDER BY n)",
		"  FROM unnest(models, model_spend) WITH ORDINALITY AS u(m, s, n)),",
		" (SELECT string_agg(key || '=' || (u.amount * 100000000)::bigint, ',' ORDER BY key)",
		"  FROM ducto.usage_lines u WHERE u.account_id = l.account_id AND u.entry = l.id)",
		" FROM ducto.ledger l WHERE account_id = '$user' AND seq > $booked ORDER BY seq"));

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

# --- grants ----------------------------------------------------------------------

# known_as tells whether the server may call a grant by an id. What a cycle gave
# has one once it is booked; until then it is what is shown.
sub known_as
{
	my ($lot, $id) = @_;

	$lot->{id} = $id if $lot->{gift} && (!$lot->{booked} || !defined $lot->{id});
	return ($lot->{id} // '') eq $id;
}

# named writes a list of grants and amounts as the server does, whose list is given.
sub named
{
	my ($lots, $text) = @_;
	my @ids = map { (split /=/)[0] } split /,/, $text // '';
	my @named;

	foreach my $i (0 .. $#$lots)
	{
		my ($lot, $amount) = @{ $lots->[$i] };

		known_as($lot, $ids[$i]) if $i < @ids;
		push @named, ($lot->{id} // 'unknown') . "=$amount";
	}
	return join(',', @named);
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

# is_rolled tells whether an entry of either side came with the time, not by a call.
sub is_rolled
{
	my ($entry) = @_;
	return 0 unless $entry->{type} eq 'expiry' || defined $entry->{cycle_end};
	return defined $entry->{effective_at} && $entry->{effective_at} < ($entry->{created_at} // 9e18);
}

# one_entry compares an entry with the model's.
sub one_entry
{
	my ($account, $expected, $entry, $answer, $must) = @_;
	my $lot = $expected->{lot};
	my @differences;

	if ($lot && $expected->{type} ne 'expiry')
	{
		$lot->{id} = $expected->{id} = $entry->{id};
		$lot->{booked} = 1;
		# what lasts for days does so from the moment of the call
		$_->{expires_at} += $entry->{created_at} - $expected->{at}
		  foreach grep { $_->{lot} == $lot && $_->{days} && !defined $expected->{effective_at} } @{ $account->{grants} };
	}
	elsif ($lot && !known_as($lot, $entry->{reference}))
	{
		push @differences, "entry $entry->{seq}: should be the expiry of $lot->{id}, is that of $entry->{reference}";
	}
	push @differences, differences("entry $entry->{seq}", {
			(map { $_ => $expected->{$_} } qw(type amount balance_after allowance)),
			$entry->{type} eq 'usage' ? (model => $expected->{model}) : (),
			burned => named($expected->{burned}, $entry->{burned}) || undef,
			cycle_end => $expected->{cycle_end},
			models => join(',', map { ($_->[0] // '') . "=$_->[1]" } @{ $expected->{models} || [] }) || undef,
			lines => $expected->{lines},
			(map { defined $expected->{$_} ? ($_ => $expected->{$_}) : () } qw(id reference)),
			effective_at => $expected->{effective_at} // $entry->{created_at}
		}, $entry);
	push @differences, "entry $entry->{seq} created_at: not during the call"
	  if $must && ($entry->{created_at} < $answer->{before} || $entry->{created_at} > $answer->{between});
	$expected->{id} //= $entry->{id};
	return @differences;
}

# sums adds up what entries moved at each moment; nothing is left out but moments
# at which the balance stayed.
sub sums
{
	my %sums;

	$sums{ $_->{effective_at} } += $_->{amount} foreach @_;
	return join(', ', map { "$sums{$_} at $_" } grep { $sums{$_} != 0 } sort { $a <=> $b } keys %sums);
}

# rolled_differences compares what came with the time, in one roll. Cycles that
# gave just what they took are one on the server: then the balance of each moment
# is what is the same.
sub rolled_differences
{
	my ($account, $expected, $entries, $answer, $must) = @_;
	my ($should, $is) = (sums(@$expected), sums(@$entries));

	return map { one_entry($account, $expected->[$_], $entries->[$_], $answer, $must) } 0 .. $#$expected
	  if @$expected == @$entries;
	$Model::met{'cycles that are one'}++;
	foreach my $gift (grep { defined $_->{cycle_end} } @$expected)
	{
		my ($same) = grep { defined $_->{cycle_end} && join(' ', @{$_}{qw(type amount cycle_end)}) eq join(' ', @{$gift}{qw(type amount cycle_end)}) } @$entries;

		# which of the server's grants is left of it is seen where that is shown
		$gift->{lot}{booked} = 1;
		$gift->{lot}{id} = undef;
		$gift->{id} = $same ? $same->{id} : undef;
	}
	return "the ledger moved $is, but should $should" if $should ne $is;
	return "the ledger has " . @$entries . " entries for " . @$expected if @$entries > @$expected;
	return ();
}

# entry_differences compares the ledger with the model's. What has expired or begun
# may not be booked yet, unless it had when something was done on the account just
# now: up to the entry $must.
sub entry_differences
{
	my ($account, $entries, $answer, $must) = @_;
	my $compared = $account->{compared} // 0;
	my @expected = @{ $account->{entries} }[ $compared .. $#{ $account->{entries} } ];
	my @entries  = @$entries;
	my @differences;

	while (@entries)
	{
		my $until = is_rolled($entries[0]) ? max(map { $_->{effective_at} } grep { is_rolled($_) } @entries) : 0;
		my (@rolled, @came);

		push @rolled, shift @expected
		  while @expected && is_rolled($expected[0]) && ($expected[0]{seq} <= $must || $expected[0]{effective_at} <= $until);
		push @came, shift @entries while @entries && is_rolled($entries[0]);
		push @differences, rolled_differences($account, \@rolled, \@came, $answer, $must) if @rolled || @came;
		last unless @entries;
		return (@differences, "ledger: there should be no entry $entries[0]{seq} ($entries[0]{type} $entries[0]{amount})") unless @expected;
		push @differences, one_entry($account, shift @expected, shift @entries, $answer, $must);
	}
	$account->{compared} = @{ $account->{entries} } - @expected;
	$account->{booked} += @$entries;
	push @differences, "ledger: $_->{type} $_->{amount} is missing"
	  foreach grep { $_->{seq} <= $must || !is_rolled($_) } @expected;
	return @differences;
}

# moments lists what "now" may have been between two readings of the clock.
sub moments
{
	my ($model, $from, $to) = @_;
	return ($from, grep { $_ <= $to } $model->boundaries($from));
}

# shown is what a model shows of a user at a moment, written as the server's answer is.
sub shown
{
	my ($model, $user, $at, $answer) = @_;
	my $shown = $model->shown($user, $at);

	$shown->{grants} = named($shown->{grants}, $answer->{shown}{grants});
	return $shown;
}

# follow lets the model make a step as the server did, and returns the world after
# it and the differences. Of several moments at which the server may have judged,
# it takes the first that explains all that was seen.
sub follow
{
	my ($world, $function, $request, $user, $answer) = @_;
	my @moments = moments($world, $answer->{before}, $answer->{between});
	my @first;

	foreach my $at (@moments)
	{
		my $model    = @moments > 1 ? dclone($world) : $world;
		my @expected = step_differences($model, $function, $request, $at, $answer);
		my $must     = is_write($function, $answer->{row}) ? count_entries($model, $user) : 0;
		my @reads    = moments($model, max($at, $answer->{between}), $answer->{after});
		my @shown    = @reads > 1 ? map { shown(dclone($model), $user, $_, $answer) } @reads : ();

		foreach my $read (@reads)
		{
			my $then    = @reads > 1 ? dclone($model) : $model;
			my $account = $then->{accounts}{$user} && $then->account($user, $read);
			my @entries = $account ? entry_differences($account, $answer->{entries}, $answer, $must) : ();
			my $shown   = shown($then, $user, $read, $answer);
			my @differences;

			# each of the functions that show something reads the clock
			foreach my $column (keys %$shown)
			{
				my ($same) = grep { ($_->{$column} // '') eq ($answer->{shown}{$column} // '') } @shown;
				$shown->{$column} = $same->{$column} if $same;
			}
			@differences = (@expected, @entries, differences('shown', $shown, $answer->{shown}));
			if (!@differences)
			{
				push @{ $account->{seen} }, [ $answer->{after}, $shown->{balance} ]
				  if $account && @reads == 1;
				return ($then);
			}
			@first = @differences unless @first;
		}
	}
	return ($world, @first);
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

1;
