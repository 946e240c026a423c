# Prints the medians of what was measured: NAME CPU RATE. Needs median.awk.

END {
	for (key in cpu) {
		split(key, part, SUBSEP)
		names[part[1]]
	}
	for (name in names)
		print name, median_cpu(name), median_rate(name)
}
