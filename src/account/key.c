/*
 * key.c
 *		Idempotency keys of everything that books.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "account/key.h"
#include "account/lines.h"
#include "base/args.h"
#include "base/probe.h"
#include "base/query.h"
#include "base/setting.h"

/* More keys than these are looked for in the pages of the index. */
#define PROBE_FROM	4

/* Exact under the account's lock. What it reads is not in the index: a scan of that alone is for the executor. */
static KeptQuery key_query = {
	.sql = "SELECT id FROM ducto.ledger WHERE account_id = $1 AND idempotency_key = $2",
	.types = {UUIDOID, TEXTOID}
};

/* As this, of many; OFFSET 0: each key is looked up in the index. */
static KeptQuery keys_query = {
	.sql = "SELECT k.n FROM unnest($1, $2) WITH ORDINALITY AS k(account_id, key, n), LATERAL (SELECT FROM ducto.ledger"
	" WHERE account_id = k.account_id AND idempotency_key = k.key OFFSET 0) l",
	.types = {UUIDARRAYOID, TEXTARRAYOID}
};

/* On a cluster, where each node looks for those that are its own. */
static KeptQuery keys_join_query = {
	.sql = "SELECT k.n FROM unnest($1, $2) WITH ORDINALITY AS k(account_id, key, n) JOIN ducto.ledger l"
	" ON l.account_id = k.account_id AND l.idempotency_key = k.key",
	.types = {UUIDARRAYOID, TEXTARRAYOID}
};

/*
 * key_checked returns the idempotency key of an operation that books credits,
 * NULL for none where none is required.
 */
char *
key_checked(char *key, const char *name)
{
	if (key == NULL && setting_require_key())
		arg_missing(name, "The setting ducto.require_idempotency_key is on.",
					psprintf("Pass a key in \"%s\": the same for each retry, another for each operation.", name));
	return text_checked(key, name);
}

/*
 * arg_key returns the idempotency key that is an argument, as key_checked does.
 */
char *
arg_key(FunctionCallInfo fcinfo, int n, const char *name)
{
	return key_checked(PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n)), name);
}

/*
 * Return the kind of operation that books entries of a type.
 */
static KeyKind
key_kind(EntryType type)
{
	switch (type)
	{
		case TYPE_USAGE:
			return KEY_DEBIT;
		case TYPE_REFUND:
			return KEY_REFUND;
		case TYPE_REVERSAL:
			return KEY_REVERSAL;
		case TYPE_TRANSFER_OUT:
			return KEY_TRANSFER;
		default:
			return KEY_CREDIT;
	}
}

/*
 * Tell whether two targets, NULL for none, are the same.
 */
static bool
target_equal(const pg_uuid_t *a, const pg_uuid_t *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return memcmp(a, b, UUID_LEN) == 0;
}

/*
 * key_find looks up a key of a locked account: it is free, as no key is, or a
 * replay of the same kind of operation on the same target (the reservation of
 * a deduct, the transaction of a refund or a reversal) by the same member (of a
 * team's debit), or a conflict. To whom a transfer was is for the caller to see.
 */
KeyState
key_find(const Account *acc, const char *key, KeyKind kind, const pg_uuid_t *target,
		 const pg_uuid_t *actor, LedgerEntry *original)
{
	Hold		hold;

	if (key == NULL || !acc->exists)
		return KEY_FREE;
	if (ledger_find_key(acc, key, original))
	{
		if (key_kind(original->type) == kind &&
			(kind == KEY_TRANSFER || target_equal(target, original->reference)) &&
			(kind != KEY_DEBIT || target_equal(actor, original->actor)))
			return KEY_REPLAY;
		return KEY_CONFLICT;
	}
	if (acc->closing_keys && hold_find_closing_key(&acc->id, key, &hold))
	{
		if (kind == KEY_DEBIT && target_equal(target, &hold.id))
			return KEY_REPLAY_ZERO;
		return KEY_CONFLICT;
	}
	if (acc->closing_keys && line_has_key(&acc->id, key))
		return KEY_CONFLICT;
	return KEY_FREE;
}

/*
 * Have a key of a list.
 */
static void
args_key_of(QueryArgs *args, int i, const void *keys)
{
	args_uuid(args, ((const AccountKey *) keys)[i].account);
	args_text(args, ((const AccountKey *) keys)[i].key);
}

/*
 * Find keys by one statement that takes all of them.
 */
static void
keys_find_together(AccountKey *keys, int n)
{
	pg_uuid_t  *accounts = palloc(sizeof(pg_uuid_t) * n);
	const char **texts = palloc(sizeof(char *) * n);
	QueryArgs	args = {0};
	uint64		found;

	for (int i = 0; i < n; i++)
	{
		accounts[i] = *keys[i].account;
		texts[i] = keys[i].key;
		keys[i].known = false;
	}
	args_uuid_array(&args, accounts, n);
	args_text_array(&args, texts, n);
	found = query_run(query_distributed(&keys_query) ? &keys_join_query : &keys_query, &args, SPI_OK_SELECT);
	for (uint64 row = 0; row < found; row++)
		keys[row_int8(row, 1) - 1].known = true;
}

/*
 * Look up each of some keys.
 */
static void
keys_look_up(AccountKey *keys, int n)
{
	uint64	   *ends = palloc(sizeof(uint64) * Max(n, 1));
	QueryEach	each = {.n = n, .args = args_key_of, .state = keys, .ends = ends};

	if (n == 0)
		return;
	if (!query_run_each(&key_query, &each))
	{
		keys_find_together(keys, n);
		return;
	}
	for (int i = 0; i < n; i++)
		keys[i].known = ends[i] > (i > 0 ? ends[i - 1] : 0);
}

/*
 * Look up those keys that the index may have. False: each has to be looked up.
 */
static bool
keys_look_up_possible(AccountKey *keys, int n)
{
	static const char *const columns[] = {"account_id", "idempotency_key"};
	ProbeKey   *probed = palloc0(sizeof(ProbeKey) * n);
	AccountKey *possible = palloc(sizeof(AccountKey) * n);
	int			npossible = 0;

	for (int i = 0; i < n; i++)
		probed[i] = (ProbeKey) {.first = keys[i].account, .text = keys[i].key, .len = (int) strlen(keys[i].key), .number = i};
	if (!probe_keys("ledger", columns, probed, n))
		return false;
	for (int i = 0; i < n; i++)
		if (probed[i].possible)
			possible[npossible++] = keys[probed[i].number];
	keys_look_up(possible, npossible);
	npossible = 0;
	for (int i = 0; i < n; i++)
		keys[probed[i].number].known = probed[i].possible && possible[npossible++].known;
	return true;
}

/*
 * keys_find tells which keys of locked accounts the ledger knows, of each only
 * once. Those of a batch that is repeated are mostly known, and those of another
 * new: the first of them tells.
 */
void
keys_find(AccountKey *keys, int n)
{
	keys_look_up(keys, n > PROBE_FROM ? 1 : n);
	if (n > PROBE_FROM && (keys[0].known || !keys_look_up_possible(keys, n)))
		keys_look_up(keys, n);
}

/*
 * key_repeat returns what a key that was looked up is when the call asks for
 * something else than the one that was booked under it did.
 */
KeyState
key_repeat(KeyState known, bool differs)
{
	if ((known == KEY_REPLAY || known == KEY_REPLAY_ZERO) && differs && setting_key_conflicts())
		return KEY_CONFLICT;
	return known;
}

/*
 * key_conflict returns the rejection of a key that was used for something else,
 * and tells which.
 */
Rejection
key_conflict(const char *key)
{
	return rejection_because(IDEMPOTENCY_CONFLICT, "The key \"%s\" of this account was used for something else.", key);
}

/*
 * key_is_elsewhere tells whether a key of a locked account is not that of an
 * entry but of a deduct of 0 or of a line; NULL is not.
 */
bool
key_is_elsewhere(const Account *acc, const char *key)
{
	Hold		hold;

	return key != NULL && acc->closing_keys &&
		(hold_find_closing_key(&acc->id, key, &hold) || line_has_key(&acc->id, key));
}
