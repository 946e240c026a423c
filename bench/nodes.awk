# Makes the lines of the table of many clients on nodes of a cluster, and on servers
# that are none, of what was measured. A node that is added to two shares nothing with
# them: what three do beside two follows from the CPU time of a call. Needs median.awk.

function line(name, title, comparison) {
	if (!((name, 1) in cpu))
		return
	printf "%s|%d|%d|%s\n", title, median_rate(name), median_cpu(name), comparison
}

function ratio(what, value) {
	return sprintf("%s|%.2f|", what, value)
}

function verdict(what, value, target) {
	return ratio(what, value) ">= " target ", " (value >= target ? "met" : "missed")
}

function third(two, three) {
	return 3 * median_cpu(two) / median_cpu(three) - 2
}

END {
	print "nodes|charges/s|CPU us|compared|ratio|target"
	line("one_pinned", "one server on a core", "||")
	if (("one_pinned", 1) in cpu) {
		line("two_pinned", "two workers on a core each",
			verdict("charges/s with one server", median_rate("two_pinned") / median_rate("one_pinned"), 1.5))
		line("two_apart_pinned", "two servers that are no cluster, on a core each",
			ratio("charges/s with one server", median_rate("two_apart_pinned") / median_rate("one_pinned")))
	}
	line("two", "two workers on all cores", "||")
	line("three", "three workers on all cores",
		verdict("what the third adds, of a node, by CPU", third("two", "three"), 0.8))
	line("two_apart", "two servers that are no cluster, on all cores", "||")
	line("three_apart", "three such servers on all cores", ratio("what the third adds, of a server, by CPU", third("two_apart", "three_apart")))
}
