# shellcheck shell=bash
# What each of the SDKs' functions costs beside the PL/pgSQL that it replaces, of
# the same work: one statement a call, planned by each call, as the clients send
# it. A ratio of 1 or less is what it must be. A run takes as many calls as fill
# seconds, so that what a session begins with and the ticks of the server's clock
# say little; histories are as long in the end as in the beginning where their
# length is what is measured. Some of the engine's own reads follow those of the
# SDKs.

sql -o /dev/null -c 'CREATE EXTENSION ducto_sdk'
users=$(by_size 899 299)
entries=$(by_size 50000 10000)
sql -o /dev/null -v "users=$users" -v "entries=$entries" -f "$BENCH/sdk_data.sql"
mkdir "$T/sdk"
plan=$(sql -c "SELECT ducto.sdk_plan_uuid('pro')")
dates="now() - interval '30 days', now()"
plans=$(sql -c "SELECT config -> 'plans' FROM ducto.pricing WHERE active")
lease="SELECT l ->> 'lease_id' AS lease FROM @create_lease(:user, 0.01, 'chat') l \\gset"
debit="SELECT l ->> 'transaction_id' AS tx FROM @deduct_with_allowance(:user, 0.01) l \\gset"

# the_calls prints a line for each call: NAME, and the statement, where @ is the
# schema; a name of the engine's is ducto_ and that of theirs.
the_calls() {
	cat <<-CALLS
		get_credits_balance SELECT * FROM @get_credits_balance(:user);
		get_available_credits SELECT * FROM @get_available_credits(:user);
		credits_add SELECT * FROM @credits_add(:user, 5, 'purchase', '{"invoice": "in_1"}');
		deduct_with_allowance SELECT * FROM @deduct_with_allowance(:user, 0.01, NULL, 0, 'gpt-4', '{}');
		deduct_with_a_plan SELECT * FROM @deduct_with_allowance(:planned, 0.01, NULL, 0, 'gpt-4', '{}');
		create_lease SELECT * FROM @create_lease(:user, 0.01, 'chat', 'strict', 0, NULL, 600);
		create_and_settle_lease $lease SELECT * FROM @settle_lease(:user, :lease, 0.01);
		create_and_release_lease $lease SELECT * FROM @release_lease(:user, :lease);
		create_and_renew_lease $lease SELECT * FROM @renew_lease(:user, :lease, 600);
		deduct_and_refund_credits $debit SELECT * FROM @refund_credits(:tx);
		get_active_pricing_config SELECT * FROM @get_active_pricing_config();
		get_pricing_config SELECT * FROM @get_pricing_config(1);
		get_pricing_configs SELECT * FROM @get_pricing_configs();
		get_pricing_history SELECT * FROM @get_pricing_history();
		activate_pricing_config SELECT * FROM @activate_pricing_config(1);
		activate_pricing SELECT * FROM @activate_pricing(1);
		set_active_pricing_config SELECT * FROM @set_active_pricing_config('{"models": {"_default": "1"}, "plans": $plans}');
		get_user_plan SELECT * FROM @get_user_plan(:planned);
		get_no_user_plan SELECT * FROM @get_user_plan(:user);
		set_user_plan SELECT * FROM @set_user_plan(:planned, 'pro');
		change_user_plan_twice SELECT * FROM @set_user_plan(:planned, 'plus'); SELECT * FROM @set_user_plan(:planned, 'pro');
		check_plan_allowance SELECT * FROM @check_plan_allowance(:planned);
		increment_usage_window SELECT * FROM @increment_usage_window(:planned, '$plan', 0.01);
		check_no_spend_cap SELECT * FROM @check_spend_cap(:user, 'gpt-4', 1);
		check_spend_cap SELECT * FROM @check_spend_cap(:capped, 'gpt-4', 1);
		list_user_transactions_10_of_21 SELECT * FROM @list_user_transactions(:reader, NULL, NULL, NULL, 10, 0);
		list_user_transactions_21 SELECT * FROM @list_user_transactions(:reader, NULL, NULL, NULL, 50, 0);
		list_usage_events_20 SELECT * FROM @list_usage_events(:reader, NULL, NULL, 50, 0);
		create_team SELECT * FROM @create_team('Red', 0);
		get_team_balance SELECT * FROM @get_team_balance(:team);
		add_team_member SELECT * FROM @add_team_member(:team, :user, 'member', 1000000);
		get_team_members SELECT * FROM @get_team_members(:team);
		deduct_team SELECT * FROM @deduct_team(:team, :user, 0.01, '{}');
		ducto_get_user_plan SELECT * FROM @ducto_get_user_plan(:planned);
		ducto_get_team_balance SELECT * FROM @ducto_get_team_balance(:team);
		ducto_get_team_members SELECT * FROM @ducto_get_team_members(:team);
	CALLS
}

# the_long_calls prints those that look through all entries.
the_long_calls() {
	cat <<-CALLS
		list_user_transactions_50_of_$entries SELECT * FROM @list_user_transactions(bench.account(1), NULL, NULL, NULL, 50, 0);
		spend_by_user SELECT * FROM @spend_by_user($dates);
		spend_by_model SELECT * FROM @spend_by_model($dates);
		top_users SELECT * FROM @top_users(10, $dates);
		daily_spend SELECT * FROM @daily_spend($dates);
		aggregate_stats SELECT * FROM @aggregate_stats($dates);
		expire_credits SELECT * FROM @expire_credits(false);
		expire_due_leases SELECT * FROM @expire_due_leases();
	CALLS
}

# make_script NAME SCHEMA STATEMENT makes the script of a call; ids are literals.
make_script() {
	local id="'00000000-0000-0000-0000-000000"

	{
		printf '%s\n' "\\set n random(10101, $((10100 + users)))" '\set p :n + 1000' '\set c :n + 2000' '\set r :n + 3000'
		sed -e 's/ \\gset /\\gset\n/' -e "s/@/$2./g" -e 's/theirs\.ducto_/theirs./g' \
			-e "s/:user/${id}0:n'/g" -e "s/:planned/${id}0:p'/g" -e "s/:capped/${id}0:c'/g" -e "s/:reader/${id}0:r'/g" \
			-e "s/:team/${id}2:n'/g" -e "s/:lease/':lease'/g" -e "s/:tx/':tx'/g" <<<"$3"
	} >"$T/sdk/$1.sql"
}

# compare TITLE CALLS makes the scripts of the calls that it reads, and races them. So
# many calls tell how many fill a run: eight times as many at least.
compare() {
	local name statement operations rate
	local -a specs=()
	local place=$T/sdk protocol=simple
	local -x PGOPTIONS='-c synchronous_commit=off -c request.jwt.claim.role=service_role'

	while read -r name statement; do
		make_script "$name" public "$statement"
		make_script "plpgsql_$name" theirs "$statement"
		specs+=("$name/plpgsql_$name<=1")
	done
	for name in "${specs[@]%<=*}"; do
		pgbench_run "${name#*/}" 1 "$2"
		operations=$(calculate "((n = int($rate * $seconds_a_run)) > 8 * $2 ? n : 8 * $2)")
		race_scripts 1 "${name#*/}" "${name%/*}"
		cat "$T/race" >>"$T/races"
	done
	mv "$T/races" "$T/race"
	race_table "$1" "${specs[@]}"
}

seconds_a_run=$(by_size 2 1)
the_calls | rounds=$(by_size 5 2) compare 'The SDKs, synchronous_commit off, clients: 1' 100
the_long_calls | rounds=$(by_size 3 2) compare 'The SDKs, over all entries' 3
