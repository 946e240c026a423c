
# A server whose clock jumps, by libfaketime: PostgreSQL's own, no test clock.
package JumpingClock;

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my ($library) = glob('/usr/lib/*/faketime/libfaketime.so.1');

# missing says why there can be none here, undef where there can.
sub missing
{
	return 'no libfaketime' unless defined $library;
	return 'another library is preloaded already' if $ENV{LD_PRELOAD};
	return;
}

# new starts a server at a time, in which the extension is.
sub new
{
	my ($class, $name, $time) = @_;
	my $self = bless { node => PostgreSQL::Test::Cluster->new($name), file => PostgreSQL::Test::Utils::tempdir() . '/clock' }, $class;

	$self->set($time);
	$self->{node}->init;
	$self->{node}->append_conf('postgresql.conf', "timezone = 'UTC'\nautovacuum = off");
	{
		local %ENV = (%ENV, LD_PRELOAD => $library, FAKETIME_TIMESTAMP_FILE => $self->{file}, FAKETIME_NO_CACHE => 1,
			FAKETIME_DONT_FAKE_MONOTONIC => 1, TZ => 'UTC');
		$self->{node}->start;
	}
	$self->{node}->safe_psql('postgres', 'CREATE EXTENSION ducto');
	return $self;
}

# node is the server.
sub node { return $_[0]{node} }

# set lets the clock jump. The library reads the file at each look at the clock. It
# starts there and goes on from there: a second later it is a second later.
sub set
{
	my ($self, $time) = @_;

	append_to_file("$self->{file}.new", "\@$time\n");
	rename "$self->{file}.new", $self->{file} or die "cannot set the clock: $!";
	return;
}

1;
