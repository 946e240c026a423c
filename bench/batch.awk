# Makes calls of a function with arrays of charges, one a line: with batches,
# size, first (the first account), accounts (how many), keys (what the keys
# begin with, empty for none) and fields (more of each charge).

BEGIN {
	for (i = 0; i < batches; i++) {
		printf "SELECT count(error) FROM ducto_charge_many('["
		for (j = 0; j < size; j++) {
			printf "%s{\"user_id\":\"%032x\",\"amount\":0.01", j ? "," : "", first + (i * size + j) % accounts
			if (keys != "")
				printf ",\"idempotency_key\":\"%s-%d-%d\"", keys, i, j
			printf "%s}", fields
		}
		print "]');"
	}
}
