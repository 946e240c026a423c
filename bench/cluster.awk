# Makes the lines of the table of what calls cost on a cluster, of what was
# measured, the first file, as CALL@PLACE, and of CALL TARGET TARGET, the second:
# on the node of the account, and sent there. Needs median.awk.

function verdict(value, target) {
	return sprintf("%.1f|%s", value, target == "-" ? "" : "<= " target (value <= target ? ", met" : ", missed"))
}

FNR == 1 {
	print "CPU us|one server|the account's node is asked|times|target|the coordinator is asked: there" \
		"|and on the account's node|times|target"
}

{
	sent = median_cpu($1 "@sent")
	there = median_cpu($1 "@coordinator")
	name = $1
	gsub(/_/, " ", name)
	printf "%s|%d|%d|%s|%d|%d|%s\n", name, median_cpu($1 "@one"), median_cpu($1 "@asked"),
		verdict(median_cpu($1 "@asked", $1 "@one"), $2), there, sent - there,
		verdict(median_cpu($1 "@sent", $1 "@one"), $3)
}
