# Databases of other encodings than UTF-8: both extensions are made there, texts
# that the encoding has go in and come out, and those that it lacks are refused
# by PostgreSQL.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $alice = q{'e0000000-0000-4000-8000-000000000001'};

# The encodings, and a word that each has: as escapes, so that this file is ASCII.
my %words = (
	EUC_JP    => '\65E5\672C\8A9E',
	EUC_KR    => '\D55C\AD6D\C5B4',
	EUC_CN    => '\4E2D\6587',
	LATIN1    => 'caf\00E9',
	LATIN5    => '\0130stanbul',
	WIN1251   => '\0440\0443\0431\043B\044C',
	SQL_ASCII => 'plain');

my $node = PostgreSQL::Test::Cluster->new('encodings');
$node->init;
$node->start;

foreach my $encoding (sort keys %words)
{
	my $database = lc $encoding;
	my $word     = "U&'$words{$encoding}'";

	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION ducto; CREATE EXTENSION ducto_sdk');
	is($node->safe_psql($database, qq{
			SET client_encoding = 'UTF8';
			SELECT new_balance FROM ducto_add_credits($alice, 100, 'purchase', jsonb_build_object('note', $word), idempotency_key => $word)}),
		'100.0000', "$encoding: credits with a key and metadata");
	is($node->safe_psql($database, qq{
			SELECT idempotent FROM ducto_add_credits($alice, 100, 'purchase', idempotency_key => $word);
			SELECT error IS NULL FROM ducto_set_active_pricing(jsonb_build_object('models', jsonb_build_object($word, 'input_tokens', '_default', '1')));
			SELECT amount FROM ducto_charge_usage($alice, jsonb_build_object('model', $word, 'input_tokens', 7));
			SELECT amount FROM ducto_charge($alice, 2, model => $word, operation_type => $word);
			SELECT name = $word FROM ducto_create_team($word, idempotency_key => $word)}),
		"t\nt\n7.0000\n2.0000\nt", "$encoding: keys, models, operations and teams");
	is($node->safe_psql($database, qq{
			SELECT bool_and(model = $word) FROM ducto_list_transactions($alice, ARRAY['usage']);
			SELECT metadata ->> 'note' = $word FROM ducto_list_transactions($alice, ARRAY['purchase']);
			SELECT total_spend FROM ducto_spend_by_model() WHERE model = $word}),
		"t\nt\n9.0000", "$encoding: they come out as they went in");
	is($node->safe_psql($database, qq{
			SELECT credits_add($alice, 5, 'purchase', jsonb_build_object('idempotency_key', 'sdk' || $word, 'note', $word)) ->> 'new_balance';
			SELECT total FROM ducto_price(jsonb_build_object('model', repeat($word, 20), 'tool_calls', jsonb_build_array($word)));
			SELECT path = '/models/' || $word, strpos(problem, 'position 1: ') FROM ducto_validate_pricing(jsonb_build_object('models', jsonb_build_object($word, $word)))}),
		"96.0000\n1.0000\nt|4", "$encoding: the functions of the SDKs, usage and problems");
	# a message is cut between characters, or it could not be told
	like(($node->psql($database, qq{SELECT ducto_charge($alice, 1, metadata => to_jsonb(repeat($word, 60)))}))[2],
		qr/^.*ERROR:  invalid value for argument "metadata": ".*\.\.\.\nHINT/, "$encoding: an error with a long text");
	like(($node->psql($database, qq{SELECT ducto_charge($alice, 1, repeat($word, 100))}))[2],
		qr/"idempotency_key": a text of \d+ bytes/, "$encoding: a key that is too long");
	is($node->safe_psql($database, 'SELECT * FROM ducto_verify()'), '', "$encoding: every invariant holds");
}

my ($status, $out, $error) = $node->psql('latin1', qq{SELECT ducto_charge($alice, 1, model => U&'\\65E5')});
isnt($status, 0, 'what an encoding lacks is refused');
like($error, qr/has no equivalent in encoding "LATIN1"/, 'by PostgreSQL');

$node->stop;
done_testing();
