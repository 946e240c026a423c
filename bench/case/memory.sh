# shellcheck shell=bash
# Private memory of one backend over many calls.

calls=$(by_size 300000 50000)
{
	echo 'operation|after 10 %|after 50 %|after 100 %|target'
	for script in charge reserve_deduct; do
		PGOPTIONS='-c synchronous_commit=off' memory_of pgbench_run $script 1 "$calls"
		echo "${script//_/ }|$(memory_at 10)|$(memory_at 50)|$(memory_at 100)|$(
			verdict "$(memory_at 100)" "$(calculate "1.05 * $(memory_at 10)")")"
	done
} | table "Memory of one backend over $calls calls, in MB"
