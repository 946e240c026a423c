# Medians over the rounds of what was measured, the first file: ROUND NAME CPU
# OPERATIONS RATE.

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

FNR == NR {
	rounds = $1
	cpu[$2, $1] = $3 / $4
	rate[$2, $1] = $5
	next
}
