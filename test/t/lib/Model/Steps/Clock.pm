
# Steps that let time pass. What was before is looked at again.

package Model::Steps::Clock;

use strict;
use warnings FATAL => 'all';

use List::Util qw(max);
use Model::Compare qw(clock);
use Requests qw(chance one_of);

use constant DAYS => 86_400_000_000;

# counted lists the outcomes that the sequences are for.
sub counted
{
	return ('a balance of the past');
}

# pass lets time pass that nobody looks at: often to just before something
# happens, so that it does in one of the next steps.
sub pass
{
	my ($run, $step) = @_;

	return 1 if $run->{cluster};
	my $now  = $run->{session}->value('SELECT ' . clock());
	my @next = grep { $_ > $now + 5000 && $_ < $now + 3 * DAYS } $run->{world}->boundaries($now);
	my $by   = int(rand one_of(500_000, 2_000_000, 60_000_000, DAYS / 24, DAYS / 2, 2 * DAYS));

	$by = one_of(@next) - $now - one_of(0, 1000, 3000, 10_000) if @next && chance(50);
	$by = int(rand one_of(15 * DAYS, 40 * DAYS, 70 * DAYS, 400 * DAYS)) if chance(8);
	$by = max($by, 1000);
	$run->advance($by);
	push @{ $run->{log}{$_} }, "the clock moves by $by" foreach @{ $run->{users} };
	$run->{counts}{'the clock moves'}++;
	return 1;
}

1;
