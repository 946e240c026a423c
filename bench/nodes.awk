# Makes the lines of the table of many clients on nodes of a cluster, and on servers
# that are none, of what was measured. A node that is added to two shares nothing with
# them: what three do beside two follows from the CPU time of a call. Needs median.awk.

function line(name, title, comparison) {
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
	line("one", "one server", "||")
	line("two", "two workers", verdict("charges/s with one server", median_rate("two") / median_rate("one"), 1.5))
	line("three", "three workers, two at a time", verdict("what the third adds, of a node, by CPU", third("two", "three"), 0.8))
	line("two_apart", "two servers that are no cluster", ratio("charges/s with one server", median_rate("two_apart") / median_rate("one")))
	line("three_apart", "three such servers, two at a time", ratio("what the third adds, of a server, by CPU", third("two_apart", "three_apart")))
}
