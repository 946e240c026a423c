# shellcheck shell=bash
# Statements inside of one call, as pg_stat_statements counts them: those that
# the executor is given, and with ducto.direct off all of them, beside the
# budget of the design.

# statements DIRECT CALL BEFORE prints how many a call has. BEFORE is a query
# that runs first; its columns are variables of the call.
statements() {
	sql -v "user='$(sql -c 'SELECT bench.account(1)')'" -f - <<SQL
SET ducto.direct = $1;
$3 \gset
SELECT pg_stat_statements_reset() \g /dev/null
SET pg_stat_statements.track = 'all';
$2 \g /dev/null
SET pg_stat_statements.track = 'none';
SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE NOT toplevel;
SQL
}

# count TITLE BUDGET CALL [BEFORE] prints the line of a call.
count() {
	local n

	n=$(statements on "$3" "${4:-SELECT}")
	echo "$1|$n|${2:+$(verdict "$n" "$2")}|$(statements off "$3" "${4:-SELECT}")"
}

hold='SELECT reservation_id FROM ducto_reserve(:user, 1)'
debit='SELECT transaction_id FROM ducto_charge(:user, 1)'
{
	echo 'call|statements|budget|with ducto.direct off'
	count charge 3 'SELECT * FROM ducto_charge(:user, 1)'
	count 'charge with key' 3 "SELECT * FROM ducto_charge(:user, 1, 'charge' || random())"
	count reserve 3 'SELECT * FROM ducto_reserve(:user, 1)'
	count 'reserve with key' 3 "SELECT * FROM ducto_reserve(:user, 1, idempotency_key => 'reserve' || random())"
	count deduct 3 "SELECT * FROM ducto_deduct(:user, :'reservation_id', 1)" "$hold"
	count 'deduct with key' 3 "SELECT * FROM ducto_deduct(:user, :'reservation_id', 1, 'deduct' || random())" "$hold"
	count release 2 "SELECT * FROM ducto_release(:user, :'reservation_id')" "$hold"
	count refund '' "SELECT * FROM ducto_refund(:'transaction_id')" "$debit"
	count 'add credits' '' 'SELECT * FROM ducto_add_credits(:user, 1)'
} | table 'Statements per call'
