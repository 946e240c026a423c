
# A session that stays: one psql behind two pipes, so that thousands of
# statements need no new connection each, and so that a test can hold a
# transaction open or see what a setting does for the rest of a session.
#
#   my $session = Session->new($node);
#   my $row = $session->row('SELECT * FROM ducto_get_balance(...)');
#
# A statement that fails does not end the session. What PostgreSQL said is in
# $session->error: a hash with sqlstate, message, detail and hint, undef after
# a success.

package Session;

use strict;
use warnings FATAL => 'all';

use IPC::Open2;
use IO::Select;
use PostgreSQL::Test::Utils;

use constant SEPARATOR => "\x1f";
use constant NULL      => "\x1e";

# new connects to a database of a node, "postgres" when none is given. What
# %options has under "env" is in the environment of the session's psql.
sub new
{
	my ($class, $node, %options) = @_;
	my $self = bless { count => 0, buffer => '', error => undef }, $class;
	my $connstr = $node->connstr($options{dbname} || 'postgres');

	$connstr .= " user=$options{user}" if defined $options{user};

	local %ENV = (%ENV, PGAPPNAME => 'session', %{ $options{env} || {} });
	local $SIG{PIPE} = 'IGNORE';
	$self->{pid} = open2($self->{out}, $self->{in},
		'sh', '-c', 'exec "$@" 2>&1', 'psql',
		$node->installed_command('psql'), '-XAtq',
		'-F', SEPARATOR, '-P', 'null=' . NULL,
		'-v', 'VERBOSITY=verbose', '-v', 'SHOW_CONTEXT=never', '-d', $connstr);
	$self->{in}->autoflush(1);
	$self->run('');
	return $self;
}

# run sends statements and returns the lines that came back.
sub run
{
	my ($self, $sql) = @_;

	$self->start($sql);
	return $self->finish;
}

# start sends statements and does not wait for them.
sub start
{
	my ($self, $sql) = @_;

	local $SIG{PIPE} = 'IGNORE';
	$self->{sent} = $sql;
	print { $self->{in} } "$sql\n;\n\\echo '--- @{[ ++$self->{count} ]} ---'\n";
	return;
}

# finish waits for the statements that were started last, and returns the lines
# that came back.
sub finish
{
	my ($self) = @_;
	my $marker = "--- $self->{count} ---";
	my $select = IO::Select->new($self->{out});

	until ($self->{buffer} =~ /^\Q$marker\E\n/m)
	{
		$select->can_read($PostgreSQL::Test::Utils::timeout_default)
		  or die "no answer in time to: $self->{sent}";
		sysread($self->{out}, $self->{buffer}, 65536, length $self->{buffer})
		  or die "the session ended: $self->{buffer}";
	}
	my ($text, $rest) = split /^\Q$marker\E\n/m, $self->{buffer}, 2;
	$self->{buffer} = $rest;
	$self->{error}  = undef;
	return split /\n/, $self->_without_messages($text);
}

# Keep the last error of a text apart, and drop the other messages.
sub _without_messages
{
	my ($self, $text) = @_;
	my @rest;
	my $at = '';

	foreach my $line (split /\n/, $text)
	{
		if ($line =~ /^(?:psql:\S+ )?(ERROR|FATAL):  (\w{5}): (.*)/)
		{
			$self->{error} = { sqlstate => $2, message => $3 };
			$at = 'message';
		}
		elsif ($line =~ /^(?:psql:\S+ )?(NOTICE|WARNING|INFO):  (.*)/)
		{
			push @{ $self->{messages} }, $2;
			$at = '';
		}
		elsif ($line =~ /^(DETAIL|HINT|LOCATION|CONTEXT|LINE \d+):\s+(.*)/)
		{
			$self->{error}{ lc $1 } = $2 if $self->{error};
		}
		elsif ($line =~ /^\\?\s+\^$/)
		{
			# the mark under the place of an error
		}
		else
		{
			push @rest, $line;
		}
	}
	return join("\n", @rest);
}

# error is what the last run failed with, or undef.
sub error
{
	my ($self) = @_;
	return $self->{error};
}

# sqlstate is that of the last run: 00000 for a success.
sub sqlstate
{
	my ($self) = @_;
	return $self->{error} ? $self->{error}{sqlstate} : '00000';
}

# rows returns all rows of a query, each an array of texts, undef for NULL.
sub rows
{
	my ($self, $sql) = @_;
	return map {
		[ map { $_ eq NULL ? undef : $_ } length $_ ? split(SEPARATOR, $_, -1) : ('') ]
	} $self->run($sql);
}

# row returns the first row of a query that must not fail.
sub row
{
	my ($self, $sql) = @_;
	my ($row) = $self->rows($sql);

	die "$self->{error}{sqlstate} $self->{error}{message}: $sql" if $self->{error};
	return $row;
}

# value returns the first column of the first row.
sub value
{
	my ($self, $sql) = @_;
	my $row = $self->row($sql);
	return $row ? $row->[0] : undef;
}

# record runs one call of a function that returns a row and gives it as a
# hash by the names of its columns.
sub record
{
	my ($self, $call, @columns) = @_;
	my $row = $self->row("SELECT * FROM $call");
	my %record;

	@record{@columns} = @$row;
	return \%record;
}

# quit ends the session.
sub quit
{
	my ($self) = @_;

	return unless $self->{pid};
	local $SIG{PIPE} = 'IGNORE';
	close $self->{in};
	close $self->{out};
	waitpid($self->{pid}, 0);
	$self->{pid} = undef;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@, $!);
	$self->quit;
	return;
}

1;
