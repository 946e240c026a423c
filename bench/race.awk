# Makes the lines of a race's table of what was measured, the first file, and of
# specs, NAME/BASE<=TARGET, the second. Needs median.awk.

function title(name) {
	gsub(/[_@]/, " ", name)
	return name
}

function line(name, comparison) {
	printf "%s|%d|%.1f|%s\n", title(name), median_rate(name), median_cpu(name), comparison
	shown[name] = 1
}

FNR == 1 { print "operation|ops/s|CPU us|compared with|ratio|target" }

{
	split($0, part, /\/|<=/)
	name = part[1]
	base = part[2]
	target = part[3]
	ratio = median_cpu(name, base)
	if (!shown[base])
		line(base, "||")
	line(name, sprintf("%s|%.2f|%s", title(base), ratio,
		target ? "<= " target (ratio <= target ? ", met" : ", missed") : ""))
}
