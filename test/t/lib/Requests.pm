
# Random requests for the property test: what a caller might ask for an account,
# often just at the edge of what the model (Model.pm) says is there.

package Requests;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use List::Util qw(max min);
use Model;

our @EXPORT_OK = qw(chance one_of new_id some cap_room a_word request sql);

# The arguments that are money, in requests as 1/100000.
my %money_arguments = map { $_ => 1 } qw(amount min_balance overdraft_floor cap_limit);

my ($seed, $next_id);
my ($another, $any_user, $price, @plans);

# draw_from tells what there is besides the account of a request: the names of
# plans, a function that gives some account, if it is known, one that gives some
# user, and one that gives the price of a token.
sub draw_from
{
	my ($names, $function, $users, $prices) = @_;

	@plans    = @$names;
	$another  = $function;
	$any_user = $users;
	$price    = $prices;
	return;
}

# restart begins the sequence of a seed.
sub restart
{
	($seed) = @_;
	srand($seed);
	$next_id = 0;
	return;
}

# chance is true so many times of a hundred.
sub chance
{
	my ($percent) = @_;
	return rand(100) < $percent;
}

# one_of picks one.
sub one_of
{
	return $_[ int rand @_ ];
}

# new_id makes a uuid that nobody has seen.
sub new_id
{
	return sprintf('%08x-0000-4000-8000-%012x', $seed & 0xffffffff, ++$next_id);
}

# some makes an amount, in 1/100000: often small, often just what is there or
# next to it, sometimes with more decimals than are kept.
sub some
{
	my ($account, @interesting) = @_;
	my $amount =
	    chance(25) && @interesting ? 10 * one_of(@interesting) + 10 * one_of(-1, 0, 0, 1)
	  : chance(50) && ($interesting[0] // 0) > 0 ? int(10 * $interesting[0] * rand)
	  : chance(20)                 ? int(rand(2_000_000))
	  : chance(10)                 ? int(rand(30_000_000))
	  :                              100_000 * int(1 + rand 40);

	return max(10, $amount);
}

# cap_room lists what the caps still leave.
sub cap_room
{
	my ($account) = @_;
	return map { $_->{limit} - Model::spend($account, $_) } values %{ $account->{caps} };
}

# a_word says yes or no now and then.
sub a_word
{
	my ($name, $word, $percent) = @_;
	return chance($percent) ? ($name => $word) : ();
}

# key adds an idempotency key to some requests.
sub key
{
	return chance(40) ? (idempotency_key => 'key ' . ++$next_id) : ();
}

sub request_add_credits
{
	my ($account, $user) = @_;
	my %request = (user_id => $user);

	if (chance(12))
	{
		return { %request, amount => 0, type => 'adjustment' } if chance(10);
		return { %request, type => 'adjustment', key(),
			amount => -some($account, $account->{balance} - Model::held($account)) };
	}
	%request = (%request, key(),
		type   => one_of(qw(purchase subscription signup_bonus adjustment promo)),
		amount => some($account, -$account->{balance}));
	if (chance(80))
	{
		$request{lifetime} =
		  chance(30) ? one_of(3_600, 86_400, 864_000) * 1_000_000 : 100_000 + int(rand(1_500_000));
		$request{priority} = one_of(0, 10, 50, 50, 100) if chance(50);
	}
	elsif (chance(40))
	{
		$request{priority} = one_of(0, 50, 60);
	}
	return \%request;
}

sub request_charge
{
	my ($account, $user) = @_;
	my $room    = one_of(Model::room($account, 0), cap_room($account));
	my %request = (user_id => $user, key(), amount => some($account, $room, Model::expiring($account)),
		a_word(skip_allowance => 'true', 10), a_word(model => one_of('gpt', 'llama'), 50),
		a_word(operation_type => one_of('chat', 'image'), 20));

	$request{amount}      = 0                        if chance(2);
	$request{min_balance} = 100_000 * int(rand 10) if chance(20);
	$request{overrun} = one_of(qw(reject clamp full)) if chance(30);
	return \%request;
}

sub request_reserve
{
	my ($account, $user) = @_;
	my %request = (user_id => $user, key(), amount => some($account, Model::room($account, 0), $account->{balance}, cap_room($account)),
		a_word(skip_allowance => 'true', 20), a_word(model => one_of('gpt', 'llama'), 50));

	$request{ttl_seconds}    = one_of(1, 2, 600, 600, 200_000)   if chance(85);
	$request{operation_type} = one_of('chat', 'image')           if chance(40);
	$request{max_concurrent} = one_of(1, 2, 5)                   if chance(15);
	$request{ceiling}        = 'true'                            if chance(15);
	if (chance(20))
	{
		$request{billing_mode}    = 'overdraft';
		$request{overdraft_floor} = -100_000 * int(rand 30);
	}
	elsif (chance(80))
	{
		$request{min_balance} = 100_000 * one_of(0, 0, 0, 1, 10);
	}
	return \%request;
}

# a_hold picks a reservation: mostly one that is open or has expired, of this
# user.
sub a_hold
{
	my ($account) = @_;
	my @holds   = @{ $account->{holds} };
	my @open    = grep { $_->{state} eq 'open' } @holds;
	my @expired = grep { $_->{state} eq 'expired' } @holds;
	my $other   = $another->();

	return one_of(@open) if @open && chance(70);
	return $expired[-1] if @expired && chance(50);
	return $holds[ -1 - int rand min(scalar @holds, 8) ] if @holds && chance(90);
	return one_of(@{ $other->{holds} }) if $other && @{ $other->{holds} };
	return { id => new_id(), remaining => 10_0000, floor => 0, skip => 0 };
}

sub request_deduct
{
	my ($account, $user) = @_;
	my $hold    = a_hold($account);
	my $room    = Model::room($account, $hold->{floor}, $hold->{skip});
	my %request = (user_id => $user, reservation_id => $hold->{id}, key());

	$request{amount} =
	  chance(40)
	  ? max(10, int(10 * $hold->{remaining} * rand))
	  : some($account, $hold->{remaining}, $hold->{remaining} + $room, $hold->{remaining} + $room + 10000);
	$request{amount}     = 0                              if chance(8);
	$request{overrun}    = one_of(qw(reject clamp full))  if chance(75);
	$request{final}      = 'false'                        if $request{amount} && chance(35);
	$request{model}      = one_of('gpt', 'llama')         if chance(15);
	$request{skip_allowance} = one_of('true', 'false')    if chance(15);
	$request{allow_late} = 'false'                        if chance(15);
	return \%request;
}

# a_usage is what a call used.
sub a_usage
{
	my ($account, $amount) = @_;
	my $price = $price->();

	return { model => one_of('gpt', 'llama'), input_tokens =>
		  chance(5) ? 0 : chance(50) ? int(rand 4000) : int(min(1e9, $amount * 1000 / $price)) };
}

sub request_charge_usage
{
	my ($account, $user) = @_;
	return { user_id => $user, key(), a_word(overrun => one_of(qw(reject clamp full)), 50),
		usage => a_usage($account, some($account, Model::room($account, 0), cap_room($account))) };
}

# a_line is one of a batch: under a key of its own, or one that was used before.
sub a_line
{
	my ($account, $amount) = @_;
	my @known = sort keys %{ $account->{keys} };
	my %line  = (key => chance(12) && @known ? one_of(@known) : 'line ' . ++$next_id, a_word(model => one_of('gpt', 'llama'), 60));

	return { %line, usage => a_usage($account, $amount) } if chance(50);
	return { %line, amount => $amount };
}

sub request_settle
{
	my ($account, $user) = @_;
	my $hold    = a_hold($account);
	my $room    = Model::room($account, $hold->{floor}, $hold->{skip});
	my %request = (user_id => $user, reservation_id => $hold->{id},
		a_word(overrun => one_of(qw(reject clamp full)), 65), a_word(final => 'true', 25));
	my @amounts = map { some($account, $hold->{remaining}, $hold->{remaining} + $room, 0) } 1 .. int(rand 6);

	@amounts = map { chance(5) ? 0 : max(10, int($_ * rand() / @amounts)) } @amounts if chance(60);
	$request{lines} = [ map { a_line($account, $_) } @amounts ];
	push @{ $request{lines} }, $request{lines}[0] if @amounts && chance(8);
	return \%request;
}

sub request_release
{
	my ($account, $user) = @_;
	return { user_id => $user, reservation_id => a_hold($account)->{id} };
}

sub request_renew
{
	my ($account, $user) = @_;
	return {
		user_id        => $user,
		reservation_id => a_hold($account)->{id},
		ttl_seconds    => one_of(1, 1, 2, 3)
	};
}

sub request_refund
{
	my ($account, $user) = @_;
	my @entries = grep { defined $_->{id} } @{ $account->{entries} };
	my @debits  = grep { $_->{type} eq 'usage' } @entries;
	my $entry   = @debits && chance(90) ? $debits[ -1 - int rand min(scalar @debits, 6) ] : one_of(@entries);
	my %request = (transaction_id => $entry && chance(98) ? $entry->{id} : new_id(), key(),
		a_word(restore_allowance => 'false', 15));
	my $credits = $entry ? -$entry->{amount} - $entry->{refunded} : 0;
	my $allowed = $entry ? $entry->{allowance} - $entry->{restored} : 0;

	$request{amount} = some($account, $credits + one_of(0, $allowed), $credits + $allowed) if chance(60);
	return \%request;
}

sub request_reverse_credits
{
	my ($account, $user) = @_;
	my @entries = grep { defined $_->{id} } @{ $account->{entries} };
	my @credits = grep { $_->{type} !~ /usage|refund|reversal|transfer|expiry/ } @entries;
	my $entry   = @credits && chance(90) ? $credits[ -1 - int rand min(scalar @credits, 6) ] : one_of(@entries);
	my %request = (transaction_id => $entry && chance(98) ? $entry->{id} : new_id(), key(),
		a_word(overrun => one_of(qw(clamp unspent reject full)), 75));

	$request{amount} = some($account, $entry ? $entry->{amount} - $entry->{reversed} : 0, Model::room($account, 0, 1)) if chance(60);
	return \%request;
}

sub request_transfer
{
	my ($account, $user) = @_;
	my $to = $user;

	$to = $any_user->() while $to eq $user;
	return { from_id => $user, to_id => $to, key(),
		chance(30) ? () : (amount => some($account, $account->{balance} - Model::held($account), Model::expiring($account))) };
}

sub request_set_user_plan
{
	my ($account, $user) = @_;
	my %request = (user_id => $user, chance(25) ? () : (plan_id => one_of(@plans, chance(10) ? 'none such' : ())));

	# often the plan alone changes, or nothing does
	@request{qw(anchor timezone)} = @{$account}{qw(anchor zone)};
	if (chance(30))
	{
		$request{anchor} = chance(40) ? undef : int($account->{now} - 40 * 86_400_000_000 * rand);
		$request{anchor} = $request{anchor} - $request{anchor} % 86_400_000_000 + 9_000_000_000 if defined $request{anchor} && chance(30);
		$request{timezone} = one_of(undef, 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe');
	}
	$request{plan_id} = $account->{plan_id} if defined $account->{plan_id} && chance(15);
	$request{plan_id} = $account->{before} if defined $account->{before} && chance(30);
	delete @request{ grep { !defined $request{$_} } keys %request };
	return \%request;
}

sub request_increment_usage_window
{
	my ($account, $user) = @_;
	return {
		user_id => $user,
		plan_id => chance(20) ? 'none such' : one_of($account->{plan_id} // 'free', @plans),
		amount  => chance(10) ? 0 : some($account, Model::allowance($account))
	};
}

# a_cap names a cap, which may not be there.
sub a_cap
{
	my ($user) = @_;
	return (user_id => $user, cap_type => one_of('daily', 'monthly'), a_word(model => one_of('gpt', 'llama'), 40));
}

sub request_set_spend_cap
{
	my ($account, $user) = @_;
	my %cap   = a_cap($user);
	my $spend = Model::spend($account, { type => $cap{cap_type}, model => $cap{model} });

	return { %cap, a_word(action => one_of('deny', 'warn', 'notify'), 75),
		cap_limit => chance(4) ? 0 : 10 * $spend + some($account) };
}

sub request_remove_spend_cap
{
	my ($account, $user) = @_;
	return { a_cap($user) };
}

sub request_check_spend_cap
{
	my ($account, $user) = @_;
	return { user_id => $user, a_word(model => one_of('gpt', 'llama'), 50), amount => chance(10) ? 0 : some($account, cap_room($account)) };
}

# request makes a random request of a function for a user, out of what the
# account has.
sub request
{
	my ($function, $account, $user) = @_;
	return __PACKAGE__->can("request_$function")->($account, $user);
}

# money writes an amount of money.
sub money
{
	my ($value) = @_;
	return sprintf('%s%d.%05d', $value < 0 ? '-' : '', abs($value) / 100_000, abs($value) % 100_000);
}

# json writes an object of texts, of money, and of what was used.
sub json
{
	my ($object) = @_;
	my @members;

	foreach my $name (sort keys %$object)
	{
		my $value = $object->{$name};

		$value = ref $value ? json($value) : $money_arguments{$name} ? money($value) : $name =~ /_tokens$/ ? $value : "\"$value\"";
		push @members, "\"$name\": $value";
	}
	return '{' . join(', ', @members) . '}';
}

# sql writes a call.
sub sql
{
	my ($function, $request) = @_;
	my @arguments;

	foreach my $name (sort keys %$request)
	{
		my $value = $request->{$name};

		if ($name eq 'lifetime')
		{
			push @arguments, "expires_at => ducto.clock() + interval '$value microseconds'";
		}
		elsif ($name eq 'anchor')
		{
			push @arguments, "anchor => timestamptz 'epoch' + interval '$value microseconds'";
		}
		elsif (ref $value eq 'ARRAY')
		{
			push @arguments, "$name => '[" . join(', ', map { json($_) } @$value) . "]'";
		}
		else
		{
			$value = ref $value ? json($value) : $money_arguments{$name} ? money($value) : $value;
			push @arguments, "$name => '$value'";
		}
	}
	push @arguments, 'plan_id => NULL' if $function eq 'set_user_plan' && !defined $request->{plan_id};
	return "ducto_$function(" . join(', ', @arguments) . ')' . ($function eq 'remove_spend_cap' ? ' AS r(removed)' : '');
}

1;
