# Makes the lines of the table of many clients on nodes of a cluster, of what was
# measured. A node that is added to two shares nothing with them: what three do
# beside two follows from the CPU time of a call. Needs median.awk.

function line(name, title, comparison) {
	if (!((name, 1) in cpu))
		return
	printf "%s|%d|%d|%s\n", title, median_rate(name), median_cpu(name), comparison
}

function verdict(what, value, target) {
	return sprintf("%s|%.2f|>= %s, %s", what, value, target, value >= target ? "met" : "missed")
}

END {
	print "nodes|charges/s|CPU us|compared|ratio|target"
	line("one_pinned", "one server on a core", "||")
	if (("one_pinned", 1) in cpu)
		line("two_pinned", "two workers on a core each",
			verdict("charges/s with one server", median_rate("two_pinned") / median_rate("one_pinned"), 1.5))
	line("two", "two workers on all cores", "||")
	line("three", "three workers on all cores",
		verdict("what the third adds, of a node, by CPU", 3 * median_cpu("two") / median_cpu("three") - 2, 0.8))
}
