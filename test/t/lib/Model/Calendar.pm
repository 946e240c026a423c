
# The calendar of the model (Model.pm): days, weeks, months and years by the clocks
# of a time zone, and cycles that repeat the day and time of an anchor there. Of
# zones it knows what the C library says, not what PostgreSQL does. Times are in
# microseconds.

package Model::Calendar;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use List::Util qw(max min);
use POSIX qw(tzset);
use Time::Local qw(timegm);

our @EXPORT_OK = qw(period later);

use constant SECOND  => 1_000_000;
use constant QUARTER => 900;          # seconds: no zone changes its clocks at another time
use constant DAY     => 86400 * SECOND;

my %offsets;    # that were asked for, and
my %last;       # the last period of each kind

# offset tells how many seconds the clocks of a zone are ahead of UTC in a quarter
# of an hour.
sub offset
{
	my ($zone, $quarter) = @_;

	return 0 unless defined $zone;
	return $offsets{$zone}{$quarter} //= do
	{
		my $seconds = $quarter * QUARTER;
		my $ahead;

		{
			local $ENV{TZ} = $zone;
			tzset();
			my @clock = localtime($seconds);
			$clock[5] += 1900;
			$ahead = timegm(@clock[ 0 .. 5 ]) - $seconds;
		}
		tzset();
		$ahead;
	};
}

# clock returns what the clocks of a zone show at a time.
sub clock
{
	my ($at, $zone) = @_;
	return $at + SECOND * offset($zone, int($at / SECOND / QUARTER));
}

# instant returns the first moment at which the clocks of a zone show a time or a
# later one.
sub instant
{
	my ($shown, $zone) = @_;
	my $quarter = int(($shown / SECOND - 15 * 3600) / QUARTER);

	return $shown unless defined $zone;
	for (;; $quarter++)
	{
		my $at = max($quarter * QUARTER * SECOND, $shown - SECOND * offset($zone, $quarter));

		return $at if $at < ($quarter + 1) * QUARTER * SECOND;
	}
}

# shift_by moves what clocks show by so many units: in months and years to the same
# day, or to the month's last.
sub shift_by
{
	my ($shown, $unit, $n) = @_;
	my ($day, $month, $year, $last);

	return $shown + $n * ($unit eq 'week' ? 7 : 1) * DAY if $unit eq 'day' || $unit eq 'week';
	(undef, undef, undef, $day, $month, $year) = gmtime(int($shown / SECOND));
	$month += 12 * $year + $n * ($unit eq 'year' ? 12 : 1);
	$last = (31, leap(int($month / 12)) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[ $month % 12 ];
	return $shown % DAY + SECOND * timegm(0, 0, 0, min($day, $last), $month % 12, 1900 + int($month / 12));
}

# leap tells whether a year since 1900 has a 29th of February.
sub leap
{
	my $year = 1900 + $_[0];
	return $year % 4 == 0 && ($year % 100 != 0 || $year % 400 == 0);
}

# period returns the start and the end of the period that a time is in: cycles of
# an anchor, or those of the calendar.
sub period
{
	my ($unit, $anchor, $zone, $at) = @_;
	my $last  = $last{ join ' ', $unit, $anchor // '', $zone // '' } //= [ 0, 0 ];
	my $shown = defined $anchor ? clock($anchor, $zone) : 946_857_600 * SECOND;    # Monday, 3 January 2000
	my %days  = (day => 1, week => 7, month => 30.44, year => 365.25);
	my ($n, $start);

	return @$last if $at >= $last->[0] && $at < $last->[1];

	$shown -= 2 * DAY if !defined $anchor && $unit ne 'week';
	$start = sub {
		my ($number) = @_;
		return defined $anchor && $number == 0 ? $anchor : instant(shift_by($shown, $unit, $number), $zone);
	};
	$n = int(($at - $shown) / DAY / $days{$unit}) - 2;
	$n++ while $start->($n + 1) <= $at;
	$n-- while $start->($n) > $at;
	@$last = ($start->($n), $start->($n + 1));
	return @$last;
}

# later returns the time so many days after another, by the clocks of a zone.
sub later
{
	my ($at, $days, $zone) = @_;
	return instant(clock($at, $zone) + $days * DAY, $zone);
}

1;
