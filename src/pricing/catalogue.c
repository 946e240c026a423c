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
#include "utils/array.h"

#include "base/args.h"
#include "base/json.h"
#include "pricing/catalogue.h"

PG_FUNCTION_INFO_V1(ducto_import_prices);

#define NAME_MAX_BYTES	255

/* What they are of, and what they are where a list says nothing: as another, or 0. */
static const struct
{
	const char *variable;
	Rate		fallback;		/* itself for 0 */
	bool		prompt;			/* counts towards the length of the prompt */
}			rate_rules[RATES] = {
	{"input_tokens", RATE_INPUT, true},
	{"output_tokens", RATE_OUTPUT, false},
	{"cache_read_tokens", RATE_INPUT, true},
	{"cache_write_tokens", RATE_INPUT, true},
	{"cache_write_1h_tokens", RATE_CACHE_WRITE, true},
	{"audio_input_tokens", RATE_INPUT, true},
	{"image_input_tokens", RATE_INPUT, true},
	{"reasoning_tokens", RATE_OUTPUT, false},
	{"audio_output_tokens", RATE_OUTPUT, false},
	{"image_output_tokens", RATE_OUTPUT, false},
	{"images", RATE_IMAGES, false},
	{"audio_seconds", RATE_AUDIO_SECONDS, false},
	{"characters", RATE_CHARACTERS, false}
};

/* A name, and the model that it means. */
typedef struct NameEntry
{
	char		name[NAME_MAX_BYTES + 1];
	const Model *model;
	bool		ambiguous;		/* others of this name have another price */
} NameEntry;

/* A form of catalogues: it reads all models of one. */
typedef struct Format
{
	const char *name;
	void		(*read) (Import *import, const Place *catalogue);
} Format;

static const Format formats[] = {{"litellm", litellm_read}, {"models.dev", models_dev_read}};

/* In this order. */
static const char *const format_words[] = {"litellm", "models.dev", NULL};

/*
 * Compare tiers for list_sort.
 */
static int
tier_compare(const ListCell *a, const ListCell *b)
{
	return number_compare(((const Tier *) lfirst(a))->above, ((const Tier *) lfirst(b))->above);
}

/*
 * Return the rate of a tier, with what it is where the list does not say.
 */
static Numeric
tier_rate(const Tier *tier, Rate rate)
{
	if (tier->rates[rate] != NULL)
		return tier->rates[rate];
	return rate_rules[rate].fallback == rate ? int64_to_numeric(0) : tier_rate(tier, rate_rules[rate].fallback);
}

/*
 * Tell whether the result has a rate: all have those that every usage counts.
 */
static bool
rate_counts(const Import *import, Rate rate)
{
	if (rate >= FIRST_UNIT && rate < RATES)
	{
		const char *variable = rate_rules[rate].variable;

		return expr_variable_find(variable, (int) strlen(variable), &import->units) >= 0;
	}
	return true;
}

/*
 * Append what a tier charges to an expression.
 */
static void
tier_append(StringInfo expression, const Import *import, const Tier *tier)
{
	int			terms = 0;

	for (int i = 0; i < RATES; i++)
	{
		Numeric		rate = number_multiply(tier_rate(tier, i), import->factor);

		if (!rate_counts(import, i) || number_compare(rate, int64_to_numeric(0)) == 0)
			continue;
		appendStringInfo(expression, "%s%s * %s", terms++ > 0 ? " + " : "", rate_rules[i].variable, numeric_normalize(rate));
	}
	if (terms == 0)
		appendStringInfoChar(expression, '0');
}

/*
 * Append the length of the prompt to an expression.
 */
static void
prompt_append(StringInfo expression, const Import *import)
{
	int			terms = 0;

	for (int i = 0; i < RATES; i++)
		if (rate_rules[i].prompt && rate_counts(import, i))
			appendStringInfo(expression, "%s%s", terms++ > 0 ? " + " : "", rate_rules[i].variable);
}

/*
 * Complete the tiers of a model: what one does not say is as in the one before.
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
}

/*
 * Make the expression of a model.
 */
static char *
model_expression(const Import *import, const Model *model)
{
	StringInfoData expression;
	ExprProgram *program;
	ExprError	error;

	initStringInfo(&expression);
	for (int i = list_length(model->tiers) - 1; i >= 0; i--)
	{
		const Tier *tier = list_nth(model->tiers, i);

		tier_append(&expression, import, tier);
		if (i == 0)
			break;
		appendStringInfoString(&expression, " if ");
		prompt_append(&expression, import);
		appendStringInfo(&expression, " > %s else ", numeric_normalize(tier->above));
	}
	program = expr_parse(expression.data, expression.len, &import->units, &error);
	if (program == NULL)
		arg_reject_at("catalogue", model->path,
					  psprintf("makes an expression that is invalid at position %d: %s", error.position, error.message),
					  "Its prices must be numbers that a pricing can have.");
	pfree(program);
	return expression.data;
}

/*
 * model_add adds a model. It has no price unless input and output have one, or what it is
 * billed by instead, which is only then of use.
 */
void
model_add(Import *import, const Place *place, const char *provider, List *tiers)
{
	Model	   *model = palloc0(sizeof(Model));
	Tier	   *first = linitial(tiers);
	bool		tokens = first->rates[RATE_INPUT] != NULL && first->rates[RATE_OUTPUT] != NULL;
	bool		others = false;

	model->path = place_path(place);
	model->name = pstrdup(place->key);
	if (provider != NULL)
		model->qualified = psprintf("%s/%s", provider, place->key);
	if (place->key[0] == '\0' || strlen(model->qualified != NULL ? model->qualified : model->name) > NAME_MAX_BYTES)
		place_reject(place, psprintf("a name must be 1 to %d bytes long", NAME_MAX_BYTES));
	for (int i = FIRST_NO_TOKEN; i < RATES; i++)
	{
		if (tokens)
			first->rates[i] = NULL;
		others |= first->rates[i] != NULL;
	}
	tiers_complete(tiers);
	model->tiers = tokens || others ? tiers : NIL;
	import->models = lappend(import->models, model);
}

/*
 * Tell whether two tiers charge the same.
 */
static bool
tiers_equal(const Tier *a, const Tier *b)
{
	if (number_compare(a->above, b->above) != 0)
		return false;
	for (int i = 0; i < RATES; i++)
		if (number_compare(tier_rate(a, i), tier_rate(b, i)) != 0)
			return false;
	return true;
}

/*
 * Tell whether two models have the same price.
 */
static bool
prices_equal(const Model *a, const Model *b)
{
	if (a->tiers == NIL || list_length(a->tiers) != list_length(b->tiers))
		return false;
	for (int i = 0; i < list_length(a->tiers); i++)
		if (!tiers_equal(list_nth(a->tiers, i), list_nth(b->tiers, i)))
			return false;
	return true;
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
	else if (entry->model->tiers == NIL)
		entry->model = model;
	else if (model->tiers != NIL && !prices_equal(entry->model, model))
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
 * Take a model under a name.
 */
static void
model_take(Import *import, char *name, const Model *model)
{
	import->names_taken = lappend(import->names_taken, name);
	import->models_taken = lappend(import->models_taken, (void *) model);
}

/*
 * Take all models that have a price: under the short name where it is clear
 * what it means.
 */
static void
models_take(Import *import)
{
	ListCell   *cell;

	foreach(cell, import->models)
	{
		const Model *model = lfirst(cell);
		const NameEntry *entry = hash_search(import->names, model->name, HASH_FIND, NULL);

		if (model->tiers == NIL)
			continue;
		if (model->qualified == NULL || (!entry->ambiguous && prices_equal(entry->model, model)))
			model_take(import, model->name, model);
		else
			model_take(import, model->qualified, model);
	}
}

/*
 * Take the models of an array of names.
 */
static void
chosen_take(Import *import, ArrayType *names)
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
		if (entry->model->tiers == NIL)
			arg_reject("models", psprintf("\"%s\"", name), "The catalogue has no price of input and output, images, seconds or"
					   " characters for it.");
		if (entry->ambiguous)
			arg_reject("models", psprintf("\"%s\"", name),
					   psprintf("Several providers have it, at different prices: name one, as in \"%s\".", entry->model->qualified));
		model_take(import, name, entry->model);
	}
}

/*
 * Tell whether a model that is taken has another price for what a unit counts
 * than it would have without the unit.
 */
static bool
unit_is_needed(const Import *import, Rate rate)
{
	ListCell   *cell;
	ListCell   *tier;

	foreach(cell, import->models_taken)
	{
		const Model *model = lfirst(cell);

		foreach(tier, model->tiers)
		{
			Tier		without = *(const Tier *) lfirst(tier);

			without.rates[rate] = NULL;
			if (number_compare(tier_rate(lfirst(tier), rate), tier_rate(&without, rate)) != 0)
				return true;
		}
	}
	return false;
}

/*
 * Push the units that a model needs, and let the expressions have them: those
 * of the other models too, so that what is counted apart is never free.
 */
static void
units_push(Import *import, JsonOut *out)
{
	for (int i = FIRST_UNIT; i < RATES; i++)
		if (unit_is_needed(import, i))
			import->units.names[import->units.count++] = rate_rules[i].variable;
	if (import->units.count == 0)
		return;
	jsonout_key(out, "units");
	jsonout_push(out, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < import->units.count; i++)
		jsonout_element(out, import->units.names[i]);
	jsonout_push(out, WJB_END_ARRAY, NULL);
}

/*
 * Push the models that are taken.
 */
static void
models_push(const Import *import, JsonOut *out)
{
	jsonout_key(out, "models");
	jsonout_push(out, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < list_length(import->models_taken); i++)
	{
		CHECK_FOR_INTERRUPTS();
		jsonout_key(out, list_nth(import->names_taken, i));
		jsonout_text(out, model_expression(import, list_nth(import->models_taken, i)));
	}
	jsonout_push(out, WJB_END_OBJECT, NULL);
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
		arg_reject(name, numeric_shown(value), psprintf("\"%s\" must be a number greater than " INT64_FORMAT ".", name, above));
	return value;
}

/*
 * Return the format that an argument is the name of.
 */
static const Format *
arg_format(FunctionCallInfo fcinfo, int n, const char *name)
{
	arg_require(fcinfo, n, name);
	return &formats[arg_choice(fcinfo, n, name, format_words)];
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

	if (!PG_ARGISNULL(4))
		chosen_take(&import, PG_GETARG_ARRAYTYPE_P(4));
	else
		models_take(&import);
	if (import.models_taken == NIL)
		place_reject(&catalogue, psprintf("has no model with prices, found %s", place_keys(&catalogue)));

	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	units_push(&import, &out);
	models_push(&import, &out);
	PG_RETURN_JSONB_P(jsonout_end(&out));
}
