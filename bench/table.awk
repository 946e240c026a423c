# Prints lines of cells, separated by |, as a Markdown table: the first line is
# the head, and columns with numbers are right-aligned.

BEGIN { FS = "|" }

{
	for (i = 1; i <= NF; i++) {
		cell[NR, i] = $i
		if (length($i) > width[i])
			width[i] = length($i)
		if (NR > 1 && $i != "" && $i !~ /^[0-9.]+$/)
			words[i] = 1
	}
	if (NF > columns)
		columns = NF
}

END {
	for (line = 1; line <= NR; line++) {
		for (i = 1; i <= columns; i++)
			printf "| %" (words[i] ? "-" : "") width[i] "s ", cell[line, i]
		print "|"
		if (line > 1)
			continue
		for (i = 1; i <= columns; i++) {
			rule = sprintf("%" width[i] "s", "")
			gsub(/ /, "-", rule)
			printf "|%s", words[i] ? rule "--" : rule "-:"
		}
		print "|"
	}
}
