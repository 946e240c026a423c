# Makes the lines of a race's table of what was measured, the first file: ROUND
# NAME CPU OPERATIONS RATE, and of specs, NAME/BASE<=TARGET, the second.

function median(list, n,    i, j, x) {
	for (i = 2; i <= n; i++) {
		x = list[i]
		for (j = i - 1; j > 0 && list[j] > x; j--)
			list[j + 1] = list[j]
		list[j + 1] = x
	}
	return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}

# The median over the rounds of CPU, or of CPU as a multiple of that of base.
function median_cpu(name, base,    i, list) {
	for (i = 1; i <= rounds; i++)
		list[i] = cpu[name, i] / (base ? cpu[base, i] : 1)
	return median(list, rounds)
}

function median_rate(name,    i, list) {
	for (i = 1; i <= rounds; i++)
		list[i] = rate[name, i]
	return median(list, rounds)
}

function title(name) {
	gsub("_", " ", name)
	return name
}

function line(name, comparison) {
	printf "%s|%d|%.1f|%s\n", title(name), median_rate(name), median_cpu(name), comparison
	shown[name] = 1
}

FNR == NR {
	rounds = $1
	cpu[$2, $1] = $3 / $4
	rate[$2, $1] = $5
	next
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
