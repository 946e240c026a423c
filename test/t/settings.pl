# Settings that a database, a role or a tool may have change nothing: both
# extensions are made under them, and all calls answer as in a database without.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ada = q{'5e770000-0000-4000-8000-000000000001'};
my $bob = q{'5e770000-0000-4000-8000-000000000002'};

# Calls of every capability; what they answer has neither ids nor times.
my $story = qq{
	SELECT version, error FROM ducto_set_active_pricing('{"models": {"I": "input_tokens * 0.01", "_default": "1"},
		"tools": {"_default": "tool_calls * 0.5"}, "fixed": {"job": "2.5e0"}, "plans": {"PRO": {"name": "Pro", "freeAllowance": 5,
		"features": {"i": null, "I": "1"}, "default_billing_mode": "overdraft", "overdraft_floor": -5}}}');
	SELECT path, problem FROM ducto_validate_pricing('{"models": {"a": "b"}, "plans": {"x": {}}, "Models": 1}');
	SELECT new_balance FROM ducto_add_credits($ada, 100.12345, 'purchase', '{"b": "a", "a": [null, 1.50]}', NULL, 'KEY I');
	SELECT new_balance, idempotent FROM ducto_add_credits($ada, 1, 'purchase', idempotency_key => 'KEY I');
	SELECT new_balance, idempotent FROM ducto_add_credits($ada, 1, 'purchase', idempotency_key => 'key i');
	SELECT new_balance FROM ducto_add_credits($ada, 9, 'promo', expires_at => clock_timestamp() + interval '31 days', priority => 3);
	SELECT amount, balance_after FROM ducto_charge($ada, 2, 'charge', '{"x": [1, null]}', 'I');
	SELECT amount, balance_after FROM ducto_charge_usage($ada, '{"model": "I", "input_tokens": 100, "tool_calls": ["a"], "fixed_job": "job"}');
	SELECT plan_id, error FROM ducto_set_user_plan($ada, 'PRO');
	SELECT has_feature FROM ducto_check_feature($ada, 'I');
	SELECT amount, allowance_consumed FROM ducto_charge($ada, 7);
	SELECT allowance_used, allowance_remaining, period_end - period_start > 26 FROM ducto_check_allowance($ada);
	SELECT billing_mode, reserved, expires_at > clock_timestamp() FROM ducto_reserve($ada, 10, idempotency_key => 'hold');
	SELECT amount, balance_after FROM ducto_deduct($ada, (SELECT reservation_id FROM ducto_reserve($ada, 10, idempotency_key => 'hold')),
		4, final => false);
	SELECT reason FROM ducto_release($ada, (SELECT reservation_id FROM ducto_reserve($ada, 10, idempotency_key => 'hold')));
	SELECT cap_type, current_spend, action FROM ducto_set_spend_cap($ada, 'monthly', 1000, 'warn', 'I');
	SELECT error, amount FROM ducto_charge($ada, 1000);
	SELECT amount, new_balance FROM ducto_refund((SELECT transaction_id FROM ducto_charge($ada, 2, 'charge')), 1.5, 'late');
	SELECT name, idempotent FROM ducto_create_team('I', 50, 'team');
	SELECT role, spend_cap FROM ducto_add_team_member((SELECT team_id FROM ducto_list_teams()), $bob, 'I', 20);
	SELECT amount, team_balance_after FROM ducto_deduct_team((SELECT team_id FROM ducto_list_teams()), $bob, 5);
	SELECT name, balance, role FROM ducto_list_teams($bob);
	SELECT type, amount, balance_after, model, idempotency_key, metadata FROM ducto_list_transactions($ada);
	SELECT type, amount, remaining, priority FROM ducto_list_grants($ada);
	SELECT ducto_rollup() > 0;
	SELECT model, total_spend FROM ducto_spend_by_model();
	SELECT total_credits_consumed, active_users FROM ducto_aggregate_stats();
	SELECT ducto_balance_at($ada, clock_timestamp()) = (SELECT balance FROM ducto_get_balance($ada));
	SELECT expired_count, ducto_expire_reservations() FROM ducto_sweep_expired();
	REVOKE CREATE ON SCHEMA public FROM PUBLIC;
	SELECT object, action FROM ducto_setup();
	SELECT ducto_grant_access('backend', 'read');
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO anon;
	SELECT count(*) FROM pg_proc p WHERE p.proname LIKE 'ducto\\_%' AND has_function_privilege('anon', oid, 'EXECUTE');
	SELECT count(*) > 10 FROM pg_proc p WHERE p.proname LIKE 'ducto\\_%' AND has_function_privilege('backend', oid, 'EXECUTE');
	SET request.jwt.claims = '{"sub": "5e770000-0000-4000-8000-000000000001"}';
	SELECT balance FROM ducto_my_balance();
	SELECT ducto_uuid('INVITE', 'I');
	SELECT credits_add($bob, 5, 'purchase') ->> 'new_balance';
	SELECT get_credits_balance($bob) ->> 'balance';
	SELECT * FROM ducto_verify();
	UPDATE ducto.ledger SET amount = 0;
	SELECT ducto_charge($ada, 'NaN')};

# What is set, and what a locale of the database is.
my %settings = (
	strings  => [ 'standard_conforming_strings = off', 'escape_string_warning = off', 'backslash_quote = off' ],
	output   => [
		'bytea_output = escape',               "intervalstyle = 'sql_standard'",
		"datestyle = 'German, DMY'",           'extra_float_digits = -15',
		"timezone = 'Pacific/Kiritimati'",     'xmloption = document' ],
	quoting  => [ 'quote_all_identifiers = on', 'array_nulls = off', 'transform_null_equals = on' ],
	making   => [ 'check_function_bodies = off', 'row_security = off', 'default_toast_compression = pglz', 'lo_compat_privileges = on' ],
	planning => [
		'plan_cache_mode = force_custom_plan', 'enable_indexscan = off', 'enable_bitmapscan = off',
		'enable_hashjoin = off',               'join_collapse_limit = 1', 'work_mem = 64' ],
	isolated => [ 'default_transaction_isolation = serializable' ],
	replica  => [ 'session_replication_role = replica' ],
	plpgsql  => [ "plpgsql.variable_conflict = 'use_column'", "plpgsql.extra_errors = 'all'" ]);

my $node = PostgreSQL::Test::Cluster->new('settings');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE anon; CREATE ROLE backend');

# answers makes a database with settings, and both extensions there, and gives
# what the calls answer and say.
sub answers
{
	my ($database, $options, @settings) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 $options");
	$node->safe_psql('postgres', "ALTER DATABASE $database SET $_") foreach 'client_min_messages = warning', @settings;
	$node->safe_psql($database, 'CREATE EXTENSION ducto; CREATE EXTENSION ducto_sdk');
	my ($status, $out, $error) = $node->psql($database, $story, on_error_stop => 0);

	return "$out\n" . join("\n", $error =~ /ERROR: .*/g) . "\n";
}

my $plain = answers('plain', '');
like($plain, qr/^100\.1235\n100\.1235\|t\n101\.1235\|f$/m, 'the story is told');
is(() = $plain =~ /ERROR/g, 2, 'with two errors, which it asks for');

is(answers($_, '', @{ $settings{$_} }), $plain, "the same with @{ $settings{$_} }") foreach sort keys %settings;
SKIP:
{
	skip 'this PostgreSQL has no databases with a locale of ICU', 1
		if $node->safe_psql('postgres', "SELECT current_setting('server_version_num')::integer >= 150000"
			  . " AND EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')") ne 't';
	is(answers('turkish', q{LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C'}), $plain, 'the same where the capital of i is no I');
}

# Where nothing can be written, reads go on.
$node->safe_psql('postgres', 'ALTER DATABASE plain SET default_transaction_read_only = on');
is($node->safe_psql('plain', "SELECT balance > 0, (SELECT count(*) FROM ducto_verify()) FROM ducto_get_balance($ada)"),
	't|0', 'reads in a database that is read only');
like(($node->psql('plain', "SELECT ducto_charge($ada, 1)"))[2], qr/cannot execute .* in a read-only transaction/, 'and no writes');

$node->stop;
done_testing();
