# shellcheck shell=bash
# How many operations a second there are with more and more clients, on accounts
# of their own.

rounds=$(by_size 4 3)
lifecycles=(charge plpgsql_charge reserve_deduct plpgsql_reserve_deduct)
for sync in on off; do
	: >"$T/clients"
	for clients in 1 2 4 8 16 32; do
		PGOPTIONS="-c synchronous_commit=$sync" race_scripts "$clients" "${lifecycles[@]}"
		medians | sed "s/^/$clients /" >>"$T/clients"
	done
	awk -v names="${lifecycles[*]}" '
		BEGIN { n = split(names, name, " ") }
		{ rate[$1, $2] = $4; if (!seen[$1]++) clients[++lines] = $1 }
		END {
			printf "clients"
			for (i = 1; i <= n; i++) { title = name[i]; gsub("_", " ", title); printf "|%s", title }
			print ""
			for (line = 1; line <= lines; line++) {
				printf "%d", clients[line]
				for (i = 1; i <= n; i++) printf "|%d", rate[clients[line], name[i]]
				print ""
			}
		}' "$T/clients" | table "Operations per second against clients, synchronous_commit $sync"
	for name in "${lifecycles[@]}"; do
		awk -v name="$name" '$2 == name { print $2, $1, $4 }' "$T/clients"
	done | plot "clients-$sync" "Throughput, synchronous_commit $sync" clients 'operations per second' 'set logscale x 2'
done
