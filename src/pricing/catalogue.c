/*
 * catalogue.c
 *		Makes a pricing configuration of a public price list. Nothing here knows
 *		of tables.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "base/args.h"
#include "base/json.h"
#include "base/place.h"
#include "expr/expr.h"

PG_FUNCTION_INFO_V1(ducto_import_prices);

#define NAME_MAX_BYTES	255
#define PROMPT			"input_tokens + cache_read_tokens + cache_write_tokens"

/* What has a rate. */
typedef enum Rate
{
	RATE_INPUT,
	RATE_OUTPUT,
	RATE_CACHE_READ,
	RATE_CACHE_WRITE,
	RATES
} Rate;

static const ExprVariable rate_variables[RATES] = {
	EXPR_INPUT_TOKENS, EXPR_OUTPUT_TOKENS, EXPR_CACHE_READ_TOKENS, EXPR_CACHE_WRITE_TOKENS
};

/* The rates for prompts of more than so many tokens. */
typedef struct Tier
{
	Numeric		above;			/* 0 for the first */
	Numeric		rates[RATES];	/* NULL: it is as in the tier before */
} Tier;

/* A model of a catalogue. */
typedef struct Model
{
	char	   *name;
	char	   *qualified;		/* with the provider; NULL where the name says it all */
	char	   *expression;		/* NULL: it has no price per token */
} Model;

/* A name, and the model that it means. */
typedef struct NameEntry
{
	char		name[NAME_MAX_BYTES + 1];
	const Model *model;
	bool		ambiguous;		/* others of this name have another price */
} NameEntry;

/* An import. */
typedef struct Import
{
	Numeric		factor;			/* credits for a unit of money */
	List	   *models;			/* of Model */
	HTAB	   *names;			/* of NameEntry */
} Import;

/* A form of catalogues: it reads all models of one. */
typedef struct Format
{
	const char *name;
	void		(*read) (Import *import, const Place *catalogue);
} Format;

static void litellm_read(Import *import, const Place *catalogue);
static void models_dev_read(Import *import, const Place *catalogue);

static const Format formats[] = {{"litellm", litellm_read}, {"models.dev", models_dev_read}};
static const char *const format_words[] = {"litellm", "models.dev", NULL};

/* What the rates are called. */
static Names litellm_rates[RATES] = {
	{"input_cost_per_token"}, {"output_cost_per_token"}, {"cache_read_input_token_cost"}, {"cache_creation_input_token_cost"}
};
static Names models_dev_rates[RATES] = {{"input"}, {"output"}, {"cache_read"}, {"cache_write"}};

/*
 * Multiply numbers.
 */
static Numeric
number_multiply(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_mul, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Add numbers.
 */
static Numeric
number_add(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Compare numbers: below 0, 0 or above 0.
 */
static int
number_compare(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Make a number of a text.
 */
static Numeric
number_make(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

/*
 * Compare tiers for list_sort.
 */
static int
tier_compare(const ListCell *a, const ListCell *b)
{
	return number_compare(((const Tier *) lfirst(a))->above, ((const Tier *) lfirst(b))->above);
}

/*
 * Find the tier for prompts above a size, a new one where there is none.
 */
static Tier *
tier_get(List **tiers, Numeric above)
{
	ListCell   *cell;
	Tier	   *tier;

	foreach(cell, *tiers)
		if (number_compare(((Tier *) lfirst(cell))->above, above) == 0)
			return lfirst(cell);
	tier = palloc0(sizeof(Tier));
	tier->above = above;
	*tiers = lappend(*tiers, tier);
	return tier;
}

/*
 * Append what a tier charges to an expression.
 */
static void
tier_append(StringInfo expression, const Tier *tier, Numeric factor)
{
	int			terms = 0;

	for (int i = 0; i < RATES; i++)
	{
		Numeric		rate = number_multiply(tier->rates[i], factor);

		if (number_compare(rate, int64_to_numeric(0)) == 0)
			continue;
		appendStringInfo(expression, "%s%s * %s", terms++ > 0 ? " + " : "", expr_variable_names[rate_variables[i]],
						 numeric_normalize(rate));
	}
	if (terms == 0)
		appendStringInfoChar(expression, '0');
}

/*
 * Complete the tiers of a model: what one does not say is as in the one before,
 * and tokens from and to the cache cost as much as input where no rate of their
 * own is known.
 */
static void
tiers_complete(List *tiers)
{
	const Tier *before = NULL;
	ListCell   *cell;

	list_sort(tiers, tier_compare);
	foreach(cell, tiers)
	{
		Tier	   *tier = lfirst(cell);

		for (int i = 0; i < RATES && before != NULL; i++)
			if (tier->rates[i] == NULL)
				tier->rates[i] = before->rates[i];
		before = tier;
	}
	foreach(cell, tiers)
	{
		Tier	   *tier = lfirst(cell);

		for (int i = RATE_CACHE_READ; i < RATES; i++)
			if (tier->rates[i] == NULL)
				tier->rates[i] = tier->rates[RATE_INPUT];
	}
}

/*
 * Make the expression of a model's tiers.
 */
static char *
tiers_expression(const Place *place, List *tiers, Numeric factor)
{
	StringInfoData expression;
	ExprProgram *program;
	ExprError	error;

	tiers_complete(tiers);
	initStringInfo(&expression);
	for (int i = list_length(tiers) - 1; i >= 0; i--)
	{
		const Tier *tier = list_nth(tiers, i);

		tier_append(&expression, tier, factor);
		if (i > 0)
			appendStringInfo(&expression, " if " PROMPT " > %s else ", numeric_normalize(tier->above));
	}
	program = expr_parse(expression.data, expression.len, NULL, &error);
	if (program == NULL)
		place_reject(place, psprintf("makes an expression that is invalid at position %d: %s", error.position, error.message));
	pfree(program);
	return expression.data;
}

/*
 * Read the rates that an object has into a tier, a rate for so many tokens.
 */
static void
rates_read(const Place *object, Names *names, Numeric scale, Tier *tier)
{
	for (int i = 0; i < RATES; i++)
	{
		Numeric		rate = place_number(object, names[i]);

		if (rate != NULL)
			tier->rates[i] = scale != NULL ? number_multiply(rate, scale) : rate;
	}
}

/*
 * Add a model. It has no price per token unless input and output have one.
 */
static void
model_add(Import *import, const Place *place, const char *provider, List *tiers)
{
	Model	   *model = palloc0(sizeof(Model));
	const Tier *first = linitial(tiers);

	model->name = pstrdup(place->key);
	if (provider != NULL)
		model->qualified = psprintf("%s/%s", provider, place->key);
	if (first->rates[RATE_INPUT] != NULL && first->rates[RATE_OUTPUT] != NULL)
		model->expression = tiers_expression(place, tiers, import->factor);
	if (place->key[0] == '\0' || strlen(model->qualified != NULL ? model->qualified : model->name) > NAME_MAX_BYTES)
		place_reject(place, psprintf("a name must be 1 to %d bytes long", NAME_MAX_BYTES));
	import->models = lappend(import->models, model);
}

/*
 * Go to the next member that is an object. The others are skipped.
 */
static bool
next_object(JsonbIterator **it, const Place *within, Place *place)
{
	JsonbValue	key;
	JsonbValue	value;

	while (JsonbIteratorNext(it, &key, true) == WJB_KEY)
	{
		CHECK_FOR_INTERRUPTS();
		(void) JsonbIteratorNext(it, &value, true);
		if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			continue;
		place->within = within;
		place->key = pnstrdup(key.val.string.val, key.val.string.len);
		place->container = value.val.binary.data;
		return true;
	}
	return false;
}

/*
 * Begin to go through the members of an object.
 */
static JsonbIterator *
objects_begin(const Place *object)
{
	JsonbIterator *it = JsonbIteratorInit(object->container);
	JsonbValue	start;

	(void) JsonbIteratorNext(&it, &start, true);
	return it;
}

/*
 * Return the size that a key is for prompts above, as 200000 of
 * input_cost_per_token_above_200k_tokens. NULL: it is no such key of this rate.
 */
static char *
key_threshold(const char *key, const char *rate)
{
	size_t		len = strlen(rate);
	size_t		digits;

	if (strncmp(key, rate, len) != 0 || strncmp(key + len, "_above_", 7) != 0)
		return NULL;
	key += len + 7;
	digits = strspn(key, "0123456789");
	if (digits == 0 || digits > 12)
		return NULL;
	if (strcmp(key + digits, "k_tokens") == 0)
		return psprintf("%.*s000", (int) digits, key);
	return strcmp(key + digits, "_tokens") == 0 ? pnstrdup(key, digits) : NULL;
}

/*
 * Read the rates of a model of LiteLLM for prompts above a size.
 */
static void
litellm_tiers_read(const Place *model, List **tiers)
{
	JsonbIterator *it = objects_begin(model);
	JsonbValue	key;
	JsonbValue	value;

	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(key.val.string.val, key.val.string.len);

		(void) JsonbIteratorNext(&it, &value, true);
		for (int i = 0; i < RATES; i++)
		{
			char	   *above = key_threshold(name, litellm_rates[i][0]);
			Numeric		rate = above != NULL ? place_number(model, (Names) {name}) : NULL;

			if (rate != NULL)
				tier_get(tiers, number_make(above))->rates[i] = rate;
		}
	}
}

/*
 * Read the rates of a model of LiteLLM that come as a table of sizes.
 */
static void
litellm_table_read(const Place *model, List **tiers)
{
	Place		table;
	int			n = place_array(model, (Names) {"tiered_pricing"}, &table);

	for (int i = 0; i < n; i++)
	{
		Place		row;
		Place		range;
		JsonbValue *from;

		place_element(&table, i, &row);
		if (place_array(&row, (Names) {"range"}, &range) != 2)
			place_reject(&row, "has no \"range\" of two numbers");
		from = getIthJsonbValueFromContainer(range.container, 0);
		if (from->type != jbvNumeric || number_compare(from->val.numeric, int64_to_numeric(0)) < 0)
			place_reject(&range, "does not begin with a number, 0 or greater");
		rates_read(&row, litellm_rates, NULL, tier_get(tiers, from->val.numeric));
	}
}

/*
 * Read a catalogue of LiteLLM: an object of models, with prices per token.
 */
static void
litellm_read(Import *import, const Place *catalogue)
{
	JsonbIterator *it = objects_begin(catalogue);
	Place		model;

	while (next_object(&it, catalogue, &model))
	{
		List	   *tiers = NIL;
		Tier	   *first = tier_get(&tiers, int64_to_numeric(0));
		char	   *mode;

		if (strcmp(model.key, "sample_spec") == 0)
			continue;
		rates_read(&model, litellm_rates, NULL, first);
		litellm_tiers_read(&model, &tiers);
		litellm_table_read(&model, &tiers);
		mode = place_text(&model, (Names) {"mode"});
		if (first->rates[RATE_OUTPUT] == NULL && mode != NULL && strcmp(mode, "embedding") == 0)
			first->rates[RATE_OUTPUT] = int64_to_numeric(0);
		model_add(import, &model, NULL, tiers);
	}
}

/*
 * Read the prices of a model of models.dev, per million tokens.
 */
static List *
models_dev_tiers(const Place *model)
{
	Numeric		scale = number_make("0.000001");
	List	   *tiers = NIL;
	Tier	   *first = tier_get(&tiers, int64_to_numeric(0));
	Place		cost;
	Place		place;
	int			n;

	if (!place_object(model, (Names) {"cost"}, &cost))
		return tiers;
	rates_read(&cost, models_dev_rates, scale, first);
	n = place_array(&cost, (Names) {"tiers"}, &place);
	for (int i = 0; i < n; i++)
	{
		Place		row;
		Place		tier;
		Numeric		above;

		place_element(&place, i, &row);
		above = place_object(&row, (Names) {"tier"}, &tier) ? place_number(&tier, (Names) {"size"}) : NULL;
		if (above == NULL)
			place_reject(&row, "has no \"tier\" with a \"size\"");
		rates_read(&row, models_dev_rates, scale, tier_get(&tiers, above));
	}
	if (n == 0 && place_object(&cost, (Names) {"context_over_200k"}, &place))
		rates_read(&place, models_dev_rates, scale, tier_get(&tiers, int64_to_numeric(200000)));
	return tiers;
}

/*
 * Read a catalogue of models.dev: an object of providers, each with models.
 */
static void
models_dev_read(Import *import, const Place *catalogue)
{
	JsonbIterator *providers = objects_begin(catalogue);
	Place		provider;

	while (next_object(&providers, catalogue, &provider))
	{
		JsonbIterator *it;
		Place		models;
		Place		model;

		if (!place_object(&provider, (Names) {"models"}, &models))
			continue;
		it = objects_begin(&models);
		while (next_object(&it, &models, &model))
			model_add(import, &model, provider.key, models_dev_tiers(&model));
	}
}

/*
 * Tell whether two models have the same price.
 */
static bool
prices_equal(const Model *a, const Model *b)
{
	return a->expression != NULL && b->expression != NULL && strcmp(a->expression, b->expression) == 0;
}

/*
 * Enter a name of a model. A name with a provider is that model's alone; a
 * short one is ambiguous where another model has it at another price.
 */
static void
name_enter(Import *import, const char *name, const Model *model)
{
	bool		found;
	NameEntry  *entry = hash_search(import->names, name, HASH_ENTER, &found);

	if (!found)
	{
		entry->model = model;
		entry->ambiguous = false;
	}
	else if (entry->model->qualified != NULL && strcmp(entry->model->qualified, name) == 0)
		return;
	else if (entry->model->expression == NULL)
		entry->model = model;
	else if (model->expression != NULL && !prices_equal(entry->model, model))
		entry->ambiguous = true;
}

/*
 * Enter the names of all models: those with the provider, and then the short
 * ones.
 */
static void
names_enter(Import *import)
{
	HASHCTL		control = {.keysize = NAME_MAX_BYTES + 1, .entrysize = sizeof(NameEntry), .hcxt = CurrentMemoryContext};
	ListCell   *cell;

	import->names = hash_create("ducto catalogue", 256, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	foreach(cell, import->models)
	{
		const Model *model = lfirst(cell);

		if (model->qualified != NULL)
			name_enter(import, model->qualified, model);
	}
	foreach(cell, import->models)
	{
		const Model *model = lfirst(cell);

		name_enter(import, model->name, model);
	}
}

/*
 * Push a model under a name.
 */
static void
model_push(JsonOut *out, const char *name, const Model *model)
{
	jsonout_key(out, name);
	jsonout_text(out, model->expression);
}

/*
 * Push all models that have a price: under the short name where it is clear
 * what it means. Returns how many there are.
 */
static int
models_push(const Import *import, JsonOut *out)
{
	ListCell   *cell;
	int			n = 0;

	foreach(cell, import->models)
	{
		const Model *model = lfirst(cell);
		const NameEntry *entry = hash_search(import->names, model->name, HASH_FIND, NULL);

		if (model->expression == NULL)
			continue;
		if (model->qualified == NULL || (!entry->ambiguous && prices_equal(entry->model, model)))
			model_push(out, model->name, model);
		else
			model_push(out, model->qualified, model);
		n++;
	}
	return n;
}

/*
 * Push the models of an array of names.
 */
static void
chosen_push(const Import *import, ArrayType *names, JsonOut *out)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	if (n == 0)
		arg_reject("models", "{}", "\"models\" must name at least one model, or be null for all.");
	for (int i = 0; i < n; i++)
	{
		char	   *name = nulls[i] ? NULL : TextDatumGetCString(values[i]);
		const NameEntry *entry = name != NULL && strlen(name) <= NAME_MAX_BYTES ?
			hash_search(import->names, name, HASH_FIND, NULL) : NULL;

		if (name == NULL)
			arg_reject("models", "null", "Each element of \"models\" must be the name of a model.");
		if (entry == NULL)
			arg_reject("models", psprintf("\"%s\"", name), "The catalogue has no model of this name.");
		if (entry->model->expression == NULL)
			arg_reject("models", psprintf("\"%s\"", name), "The catalogue has no price per token of input and output for it.");
		if (entry->ambiguous)
			arg_reject("models", psprintf("\"%s\"", name),
					   psprintf("Several providers have it, at different prices: name one, as in \"%s\".", entry->model->qualified));
		model_push(out, name, entry->model);
	}
}

/*
 * Return an optional number above a bound, or its default.
 */
static Numeric
arg_number(FunctionCallInfo fcinfo, int n, const char *name, int64 above, int64 fallback)
{
	Numeric		value;

	if (PG_ARGISNULL(n))
		return int64_to_numeric(fallback);
	value = PG_GETARG_NUMERIC(n);
	if (numeric_is_nan(value) || numeric_is_inf(value) || number_compare(value, int64_to_numeric(above)) <= 0)
		arg_reject(name, DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value))),
				   psprintf("\"%s\" must be a number greater than " INT64_FORMAT ".", name, above));
	return value;
}

/*
 * Return the format that an argument is the name of.
 */
static const Format *
arg_format(FunctionCallInfo fcinfo, int n, const char *name)
{
	const char *word;
	int			i = 0;

	arg_require(fcinfo, n, name);
	word = arg_word(fcinfo, n, name, format_words);
	while (strcmp(formats[i].name, word) != 0)
		i++;
	return &formats[i];
}

/*
 * ducto_import_prices returns a pricing configuration made of a public price
 * list. Arguments and errors: see its COMMENT.
 */
Datum
ducto_import_prices(PG_FUNCTION_ARGS)
{
	Import		import = {0};
	Place		catalogue = {.argument = "catalogue"};
	const Format *format = arg_format(fcinfo, 1, "format");
	Numeric		markup = arg_number(fcinfo, 2, "markup", -1, 0);
	Numeric		credits = arg_number(fcinfo, 3, "credits_per_unit", 0, 1);
	JsonOut		out = {0};

	arg_require(fcinfo, 0, "catalogue");
	catalogue.container = &arg_metadata(fcinfo, 0, "catalogue")->root;
	catalogue.hint = psprintf("\"catalogue\" must be a price list as \"%s\" publishes it, or a part of it.", format->name);
	import.factor = number_add(credits, number_multiply(credits, markup));
	format->read(&import, &catalogue);
	names_enter(&import);

	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	jsonout_key(&out, "models");
	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	if (!PG_ARGISNULL(4))
		chosen_push(&import, PG_GETARG_ARRAYTYPE_P(4), &out);
	else if (models_push(&import, &out) == 0)
		place_reject(&catalogue, psprintf("has no model with prices per token, found %s", place_keys(&catalogue)));
	jsonout_push(&out, WJB_END_OBJECT, NULL);
	PG_RETURN_JSONB_P(jsonout_end(&out));
}
