
# A cluster of Citus: a coordinator and workers, each a server of its own behind
# a socket, and databases that are distributed over them.
#
#   plan skip_all => Citus::missing() if Citus::missing();
#   my $cluster = Citus->new('name', workers => 2);
#   my $node    = $cluster->coordinator;
#   $cluster->database('shop', shards => 4);
#   $cluster->keep('shop');
#   $cluster->copy('shop', 'corner', 'ducto.test_clock = on');

package Citus;

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

# missing tells why there can be no cluster here, nothing when there can.
sub missing
{
	my $library = `pg_config --pkglibdir`;

	chomp $library;
	return -e "$library/citus.so" ? '' : "Citus is not installed in $library";
}

# new makes the servers and starts them: how many workers, with what they are
# initialized with, and with more settings than a cluster needs.
sub new
{
	my ($class, $name, %options) = @_;
	my @nodes = map { PostgreSQL::Test::Cluster->new("${name}_$_") } 0 .. ($options{workers} || 2);

	foreach my $node (@nodes)
	{
		$node->init(@{ $options{init} || [] });
		$node->append_conf('postgresql.conf', CORE::join("\n",
			q(shared_preload_libraries = 'citus'), q(citus.node_conninfo = 'sslmode=disable'),
			sprintf(q(citus.local_hostname = '%s'), $node->host), 'citus.enable_statistics_collection = off', 'wal_level = logical', 'max_wal_senders = 10', 'max_replication_slots = 10',
			'max_connections = 100', 'max_prepared_transactions = 100', 'log_statement = none', 'synchronous_commit = off',
			@{ $options{settings} || [] }));
		$node->start;
	}
	return bless { nodes => \@nodes }, $class;
}

# coordinator and workers are the servers.
sub coordinator { return $_[0]{nodes}[0] }
sub workers     { my ($self) = @_; return @{ $self->{nodes} }[1 .. $#{ $self->{nodes} }] }

# empty makes a database on every server, which only the coordinator's knows all of.
sub empty
{
	my ($self, $dbname, @workers) = @_;

	$self->coordinator->safe_psql('postgres', "CREATE DATABASE $dbname");
	$self->join($dbname, @workers);
	return;
}

# join makes a database of the coordinator one of a cluster.
sub join
{
	my ($self, $dbname, @workers) = @_;

	$_->safe_psql('postgres', "CREATE DATABASE $dbname") foreach @workers;
	$_->safe_psql($dbname, 'CREATE EXTENSION citus') foreach $self->coordinator, @workers;
	$self->coordinator->safe_psql($dbname,
		sprintf(q(SELECT citus_set_coordinator_host('%s', %d)), $self->coordinator->host, $self->coordinator->port));
	$self->add($dbname, @workers);
	return;
}

# add makes workers known to the coordinator.
sub add
{
	my ($self, $dbname, @workers) = @_;

	$self->coordinator->safe_psql($dbname, sprintf(q(SELECT citus_add_node('%s', %d)), $_->host, $_->port)) foreach @workers;
	return;
}

# database makes one that is distributed.
sub database
{
	my ($self, $dbname, %options) = @_;

	$self->empty($dbname, $self->workers);
	$self->coordinator->safe_psql($dbname, 'CREATE EXTENSION ducto');
	$self->coordinator->safe_psql($dbname, $options{before}) if $options{before};
	$self->coordinator->safe_psql($dbname, 'SELECT * FROM ducto_distribute(' . ($options{shards} || 4) . ')');
	return;
}

# everywhere executes statements on every node, in a database.
sub everywhere
{
	my ($self, $dbname, @statements) = @_;

	foreach my $node (@{ $self->{nodes} })
	{
		$node->safe_psql($dbname, CORE::join(";\n", @statements));
	}
	return;
}

# keep makes a database one to be copied, to which nobody connects any more.
sub keep
{
	my ($self, $dbname) = @_;

	$self->everywhere('postgres', "ALTER DATABASE $dbname ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '$dbname'");
	return;
}

# copy makes a database as one that was kept, with settings.
sub copy
{
	my ($self, $kept, $dbname, @settings) = @_;

	foreach my $node (@{ $self->{nodes} })
	{
		$node->safe_psql('postgres', "CREATE DATABASE $dbname TEMPLATE $kept");
		$node->safe_psql('postgres', CORE::join('; ', map { "ALTER DATABASE $dbname SET $_" } @settings)) if @settings;
	}
	return;
}

# drop removes a database.
sub drop
{
	my ($self, $dbname) = @_;

	$self->everywhere('postgres', "DROP DATABASE $dbname WITH (FORCE)");
	return;
}

# stop stops the servers.
sub stop
{
	my ($self) = @_;

	$_->stop('immediate') foreach reverse @{ $self->{nodes} };
	return;
}

1;
