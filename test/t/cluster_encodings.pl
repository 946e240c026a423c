
# A cluster whose database is of another encoding than its clients: what goes to
# other nodes and comes from there, to be told, compared or booked again, is what
# it was. Citus itself takes what nodes tell each other for the client's.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Citus;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => Citus::missing() if Citus::missing();

my $cluster = Citus->new('encodings', workers => 2);
my $node    = $cluster->coordinator;
my @nodes   = ($node, $cluster->workers);
my @users   = map { sprintf "'00000000-0000-4000-9000-%012d'", $_ } 1 .. 8;

# The encodings of a database and of its clients, and a word that both have: as escapes, so that this file is ASCII.
my @pairs = (
	[ LATIN1    => UTF8   => 'caf\00E9' ],
	[ UTF8      => LATIN1 => 'caf\00E9' ],
	[ WIN1251   => KOI8R  => '\0440\0443\0431\043B\044C' ],
	[ SQL_ASCII => UTF8   => 'plain' ]);

foreach my $pair (@pairs)
{
	my ($encoding, $client, $letters) = @$pair;
	my $dbname = lc $encoding;
	my $word   = "U&'$letters'";
	my $set    = "SET client_encoding = '$client'; SET standard_conforming_strings = on";
	my $credit = "SELECT bool_and(idempotent) FROM (VALUES (" . join('), (', @users) . ")) u (id), ducto_add_credits(u.id::uuid, 100, 'purchase', idempotency_key => $word)";
	my $known  = "SELECT count(*), count(*) FILTER (WHERE idempotency_key = $word), count(*) FILTER (WHERE metadata ->> 'note' = $word) FROM ducto.ledger WHERE type = 'purchase'";

	$_->safe_psql('postgres', "CREATE DATABASE $dbname ENCODING '$encoding' LOCALE 'C' TEMPLATE template0; ALTER DATABASE $dbname SET ducto.chain = on")
	  foreach @nodes;
	$node->safe_psql($dbname, 'CREATE EXTENSION ducto');
	$node->safe_psql($dbname, "$set; " . join('; ', map { "SELECT ducto_add_credits($_, 100, 'purchase', jsonb_build_object('note', $word), idempotency_key => $word)" } @users));
	$_->safe_psql($dbname, 'CREATE EXTENSION citus') foreach @nodes;
	$node->safe_psql($dbname, sprintf q(SELECT citus_set_coordinator_host('%s', %d)), $node->host, $node->port);
	$cluster->add($dbname, $cluster->workers);
	$node->safe_psql($dbname, "$set; SELECT ducto_distribute(4)");
	is($node->safe_psql($dbname, "SET client_encoding = '$encoding'; $known"), '8|8|8', "$encoding and clients of $client: what is distributed stays what it was");
	is($_->safe_psql($dbname, "$set; $credit"), 't', 'keys are known on ' . $_->name) foreach @nodes;
	foreach my $at (@nodes)
	{
		my $user = $users[ $at->port % 8 ];
		my $usage = "SELECT id FROM ducto_list_transactions($user, ARRAY['usage'], max_rows => 1)";
		my $entry;

		is($at->safe_psql($dbname, qq{$set;
				SELECT count(*) FILTER (WHERE balance_after IS NOT NULL) FROM (VALUES (@{[ join '), (', @users ]})) u (id), ducto_charge(u.id::uuid, 1, model => $word, operation_type => $word);
				SELECT count(*) FROM ducto_charge_many(jsonb_build_array(@{[ join ', ', map { "jsonb_build_object('user_id', $_, 'amount', 1, 'model', $word)" } @users ]})) WHERE error IS NULL;
				SELECT reservation_id IS NOT NULL FROM ducto_reserve($user, 1, operation_type => $word, metadata => jsonb_build_object('note', $word));
				SELECT ducto_create_team($word) IS NOT NULL}), "8\n8\nt\nt", 'calls on ' . $at->name);
		is($at->safe_psql($dbname, qq{$set;
				SELECT count(*) > 0 AND bool_and(model = $word) FROM (VALUES (@{[ join '), (', @users ]})) u (id), ducto_list_transactions(u.id::uuid, ARRAY['usage']);
				SELECT bool_and(metadata ->> 'note' = $word) FROM ducto_list_transactions($user, ARRAY['purchase']);
				SELECT count(*) FROM ducto_spend_by_model() WHERE model = $word;
				SELECT count(*) > 0 AND bool_and(name = $word) FROM ducto_list_teams()}), "t\nt\n1\nt", 'and what they tell');
		$entry = $at->safe_psql($dbname, $usage);
		$at->safe_psql($dbname, "$set; SELECT ducto_refund('$entry', reason => $word)");
		is($node->safe_psql($dbname, "SET client_encoding = '$encoding'; SELECT count(*), count(*) FILTER (WHERE model = $word AND metadata ->> 'reason' = $word) FROM ducto.ledger WHERE type = 'refund' AND account_id = $user"), '1|1',
			'what is booked again is what it was');
		# an error is told as the client reads it
		like(($at->psql($dbname, "$set; SELECT ducto_refund('$entry', account_id => $user, metadata => to_jsonb(${word}::text))"))[2], qr/"metadata"/, 'an error');
		is($at->safe_psql($dbname, "$set; SELECT ducto_get_balance($user); SHOW client_encoding") =~ s/.*\n//sr, $client, 'and the client stays what it is');
	}
	is($_->safe_psql($dbname, "$set; SELECT * FROM ducto_verify()"), '', 'nothing to find for the auditor on ' . $_->name) foreach @nodes;
	$node->safe_psql($dbname, "$set; SELECT ducto_undistribute()");
	is($node->safe_psql($dbname, "$set; $known"), '8|8|8', 'and what is brought back');
	is($node->safe_psql($dbname, "$set; SELECT * FROM ducto_verify()"), '', 'nothing to find for the auditor');
}

$cluster->stop;
done_testing();
