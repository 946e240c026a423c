/*
 * chain.c
 *		Digests of ledger entries: what an entry says, in bytes that are the
 *		same in every encoding, on every machine and in every version.
 *
 *		An entry's own digest is that of its columns which are not NULL, each as
 *		its name and its value with their lengths before them; so a column that
 *		comes later changes no entry that lacks it. Its digest in the chain is
 *		that of the one before, 32 zeros where there is none, of its own, its id,
 *		and of what only the account's lock tells: its seq, its created_at, and
 *		its effective_at where that is another. A statement that updates the
 *		account can make it therefore (CHAIN_HEAD in guarded.c). Two columns are
 *		left out: balance_after, which the amounts give, and xact, which is
 *		another one in a copy in another cluster.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "account/chain.h"

#define IMAGE_VERSION	1

PG_FUNCTION_INFO_V1(ducto_entry_digest);

/* Appends the bytes of a value. */
typedef void (*ImageWriter) (StringInfo out, Datum value);

/*
 * Append a length, and go back to it when the value is there: image_begin
 * returns its place.
 */
static int
image_begin(StringInfo out)
{
	int			place = out->len;

	pq_sendint32(out, 0);
	return place;
}

/*
 * Write the length of what was appended since image_begin.
 */
static void
image_end(StringInfo out, int place)
{
	uint32		length = pg_hton32((uint32) (out->len - place - (int) sizeof(uint32)));

	memcpy(out->data + place, &length, sizeof(length));
}

/*
 * Append a text in UTF-8. A database without encoding has its bytes.
 */
static void
image_bytes(StringInfo out, const char *text, int length)
{
	char	   *converted = pg_server_to_any(text, length, PG_UTF8);

	appendBinaryStringInfo(out, converted, converted == text ? length : (int) strlen(converted));
}

/*
 * Append a text.
 */
static void
image_text(StringInfo out, Datum value)
{
	text	   *bytes = DatumGetTextPP(value);

	image_bytes(out, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
}

/*
 * Append a number in decimals, without the zeros that end them.
 */
static void
image_numeric(StringInfo out, Datum value)
{
	char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	int			length = (int) strlen(digits);

	if (strchr(digits, '.') != NULL)
	{
		while (digits[length - 1] == '0')
			length--;
		if (digits[length - 1] == '.')
			length--;
	}
	appendBinaryStringInfo(out, digits, length);
	pfree(digits);
}

/*
 * Append an identifier.
 */
static void
image_uuid(StringInfo out, Datum value)
{
	appendBinaryStringInfo(out, (char *) DatumGetUUIDP(value)->data, UUID_LEN);
}

/*
 * Append an integer.
 */
static void
image_int4(StringInfo out, Datum value)
{
	pq_sendint32(out, (uint32) DatumGetInt32(value));
}

/*
 * Append a time: microseconds since 2000.
 */
static void
image_time(StringInfo out, Datum value)
{
	pq_sendint64(out, (uint64) DatumGetTimestampTz(value));
}

/*
 * Append the elements of an array, each with its length; that of NULL is -1.
 */
static void
image_array(StringInfo out, Datum value, Oid type, int length, bool by_value, char align, ImageWriter write)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(value), type, length, by_value, align, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int			place = image_begin(out);

		if (nulls[i])
			memset(out->data + place, 0xFF, sizeof(uint32));
		else
		{
			write(out, elements[i]);
			image_end(out, place);
		}
	}
}

/*
 * Append an array of identifiers.
 */
static void
image_uuids(StringInfo out, Datum value)
{
	image_array(out, value, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, image_uuid);
}

/*
 * Append an array of numbers.
 */
static void
image_numerics(StringInfo out, Datum value)
{
	image_array(out, value, NUMERICOID, -1, false, TYPALIGN_INT, image_numeric);
}

/*
 * Append an array of texts.
 */
static void
image_texts(StringInfo out, Datum value)
{
	image_array(out, value, TEXTOID, -1, false, TYPALIGN_INT, image_text);
}

/*
 * Append an array of integers.
 */
static void
image_integers(StringInfo out, Datum value)
{
	image_array(out, value, INT4OID, sizeof(int32), true, TYPALIGN_INT, image_int4);
}

/* A member of a JSON object: where its key and its value are in the image. */
typedef struct JsonMember
{
	const char *data;
	int			key_length;
	int			length;
} JsonMember;

/*
 * Order members by the length of their keys, then by their bytes: in UTF-8
 * that is how jsonb orders them.
 */
static int
member_compare(const void *a, const void *b)
{
	const JsonMember *x = a;
	const JsonMember *y = b;

	if (x->key_length != y->key_length)
		return x->key_length < y->key_length ? -1 : 1;
	return memcmp(x->data, y->data, x->key_length);
}

static void image_json_container(StringInfo out, JsonbIterator **it);

/*
 * Append a JSON value that the iterator has returned: a letter for its type,
 * its length, its bytes.
 */
static void
image_json_value(StringInfo out, JsonbIterator **it, const JsonbValue *value)
{
	int			place;

	appendStringInfoCharMacro(out, value->type == jbvNull ? 'n' : value->type == jbvBool ? (value->val.boolean ? 't' : 'f') :
							  value->type == jbvNumeric ? '1' : value->type == jbvString ? 's' : value->type == jbvArray ? '[' : '{');
	place = image_begin(out);
	if (value->type == jbvNumeric)
		image_numeric(out, NumericGetDatum(value->val.numeric));
	else if (value->type == jbvString)
		image_bytes(out, value->val.string.val, value->val.string.len);
	else if (value->type == jbvArray || value->type == jbvObject)
		image_json_container(out, it);
	image_end(out, place);
}

/*
 * Append the members of an object that were written one after the other from
 * a place on, in their order.
 */
static void
image_json_sort(StringInfo out, int from, JsonMember *members, int n)
{
	int			length = out->len - from;
	char	   *unsorted = palloc(length + 1);
	const char *next = unsorted;

	memcpy(unsorted, out->data + from, length);
	for (int i = 0; i < n; i++)
	{
		members[i].data = next;
		next += members[i].length;
	}
	qsort(members, n, sizeof(JsonMember), member_compare);
	out->len = from;
	for (int i = 0; i < n; i++)
	{
		pq_sendint32(out, (uint32) members[i].key_length);
		appendBinaryStringInfo(out, members[i].data, members[i].length);
	}
}

/*
 * Append what is in an array or an object whose begin the iterator has
 * returned. The keys of an object come with their length, in an order that no
 * encoding changes.
 */
static void
image_json_container(StringInfo out, JsonbIterator **it)
{
	JsonMember *members = NULL;
	int			n = 0;
	int			max = 0;
	int			from = out->len;
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(it, &value, false)) != WJB_END_ARRAY && token != WJB_END_OBJECT)
	{
		if (token != WJB_KEY)
		{
			image_json_value(out, it, &value);
			continue;
		}
		if (n == max)
		{
			max = Max(2 * max, 8);
			members = members == NULL ? palloc(sizeof(JsonMember) * max) : repalloc(members, sizeof(JsonMember) * max);
		}
		members[n].length = out->len;
		image_bytes(out, value.val.string.val, value.val.string.len);
		members[n].key_length = out->len - members[n].length;
		(void) JsonbIteratorNext(it, &value, false);
		image_json_value(out, it, &value);
		members[n].length = out->len - members[n].length;
		n++;
	}
	if (n > 0)
		image_json_sort(out, from, members, n);
}

/*
 * Append a JSON value.
 */
static void
image_jsonb(StringInfo out, Datum value)
{
	JsonbIterator *it = JsonbIteratorInit(&DatumGetJsonbP(value)->root);
	JsonbValue	root;

	(void) JsonbIteratorNext(&it, &root, false);
	image_json_value(out, &it, &root);
}

/* A column, and how its value is written. */
typedef struct ChainColumn
{
	const char *name;
	ImageWriter write;
} ChainColumn;

#define OWN_COLUMN(n, column, kind)	[OWN_##column] = {#column, image_##kind},

static const ChainColumn columns[OWN_COLUMNS] = {
	[OWN_account_id] = {"account_id", image_uuid},
	LEDGER_OWN_FIELDS(OWN_COLUMN)
};

/*
 * Append a column as its name and its value.
 */
static void
image_column(StringInfo out, const ChainColumn *column, Datum value)
{
	int			length = (int) strlen(column->name);
	int			place;

	appendStringInfoCharMacro(out, (char) length);
	appendBinaryStringInfo(out, column->name, length);
	place = image_begin(out);
	column->write(out, value);
	image_end(out, place);
}

/*
 * Make the SHA-256 of some bytes.
 */
static void
digest_of(const StringInfoData *bytes, uint8 *digest)
{
	bytea	   *input = palloc(VARHDRSZ + bytes->len);
	Datum		output;

	SET_VARSIZE(input, VARHDRSZ + bytes->len);
	memcpy(VARDATA(input), bytes->data, bytes->len);
	output = DirectFunctionCall1(sha256_bytea, PointerGetDatum(input));
	memcpy(digest, VARDATA(DatumGetByteaP(output)), DIGEST_LENGTH);
}

/*
 * chain_own makes an entry's own digest of its columns.
 */
void
chain_own(const Datum *values, const bool *nulls, ChainLink *link)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoCharMacro(&out, IMAGE_VERSION);
	for (int i = 0; i < OWN_COLUMNS; i++)
		if (!nulls[i])
			image_column(&out, &columns[i], values[i]);
	SET_VARSIZE(link, sizeof(ChainLink));
	digest_of(&out, link->own);
}

/*
 * digest_to_datum returns a digest as a bytea.
 */
Datum
digest_to_datum(const uint8 *digest)
{
	bytea	   *value = palloc(VARHDRSZ + DIGEST_LENGTH);

	SET_VARSIZE(value, VARHDRSZ + DIGEST_LENGTH);
	memcpy(VARDATA(value), digest, DIGEST_LENGTH);
	return PointerGetDatum(value);
}

/*
 * chain_digest moves the head of a chain to an entry: its digest in the chain.
 */
void
chain_digest(uint8 *head, const ChainLink *link, const ChainPlace *place)
{
	StringInfoData out;

	initStringInfo(&out);
	appendBinaryStringInfo(&out, (char *) head, DIGEST_LENGTH);
	appendBinaryStringInfo(&out, (char *) link->own, sizeof(link->own) + sizeof(link->id));
	pq_sendint64(&out, (uint64) place->seq);
	pq_sendint64(&out, (uint64) place->created_at);
	if (place->effective_at != place->created_at)
		pq_sendint64(&out, (uint64) place->effective_at);
	if (!TIMESTAMP_IS_NOBEGIN(place->cycle_end))
		pq_sendint64(&out, (uint64) place->cycle_end);
	digest_of(&out, head);
}

/* Where a row of the ledger has the columns. */
typedef struct ChainRow
{
	TupleDesc	desc;
	int			places[OWN_COLUMNS];
} ChainRow;

/*
 * Find the columns in a row's type, once for a query.
 */
static ChainRow *
chain_row(FunctionCallInfo fcinfo, HeapTupleHeader tuple)
{
	ChainRow   *row = fcinfo->flinfo->fn_extra;
	MemoryContext previous;

	if (row != NULL)
		return row;
	previous = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	row = palloc0(sizeof(ChainRow));
	row->desc = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(tuple), HeapTupleHeaderGetTypMod(tuple));
	for (int i = 0; i < OWN_COLUMNS; i++)
	{
		row->places[i] = -1;
		for (int place = 0; place < row->desc->natts; place++)
			if (strcmp(NameStr(TupleDescAttr(row->desc, place)->attname), columns[i].name) == 0)
				row->places[i] = place;
		if (row->places[i] < 0)
			elog(ERROR, "ledger has no column \"%s\"", columns[i].name);
	}
	MemoryContextSwitchTo(previous);
	fcinfo->flinfo->fn_extra = row;
	return row;
}

/*
 * ducto.entry_digest returns the own digest of an entry.
 */
Datum
ducto_entry_digest(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	ChainRow   *row = chain_row(fcinfo, header);
	Datum	   *values = palloc(sizeof(Datum) * row->desc->natts);
	bool	   *isnull = palloc(sizeof(bool) * row->desc->natts);
	Datum		ordered[OWN_COLUMNS];
	bool		nulls[OWN_COLUMNS];
	ChainLink	link;
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};

	ItemPointerSetInvalid(&tuple.t_self);
	heap_deform_tuple(&tuple, row->desc, values, isnull);
	for (int i = 0; i < OWN_COLUMNS; i++)
	{
		ordered[i] = values[row->places[i]];
		nulls[i] = isnull[row->places[i]];
	}
	chain_own(ordered, nulls, &link);
	PG_RETURN_DATUM(digest_to_datum(link.own));
}
