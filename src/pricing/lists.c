/*
 * lists.c
 *		Reads public price lists, each in its form.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "pricing/catalogue.h"

/* What the rates are called. */
static Names litellm_rates[RATES] = {
	[RATE_INPUT] = {"input_cost_per_token"},
	[RATE_OUTPUT] = {"output_cost_per_token"},
	[RATE_CACHE_READ] = {"cache_read_input_token_cost"},
	[RATE_CACHE_WRITE] = {"cache_creation_input_token_cost"},
	[RATE_CACHE_WRITE_1H] = {"cache_creation_input_token_cost_above_1hr"},
	[RATE_AUDIO_INPUT] = {"input_cost_per_audio_token"},
	[RATE_IMAGE_INPUT] = {"input_cost_per_image_token"},
	[RATE_REASONING] = {"output_cost_per_reasoning_token"},
	[RATE_AUDIO_OUTPUT] = {"output_cost_per_audio_token"},
	[RATE_IMAGE_OUTPUT] = {"output_cost_per_image_token"},
	[RATE_IMAGES] = {"output_cost_per_image"},
	[RATE_AUDIO_SECONDS] = {"output_cost_per_second", "input_cost_per_second"},
	[RATE_CHARACTERS] = {"input_cost_per_character"}
};
static Names models_dev_rates[RATES] = {
	[RATE_INPUT] = {"input"},
	[RATE_OUTPUT] = {"output"},
	[RATE_CACHE_READ] = {"cache_read"},
	[RATE_CACHE_WRITE] = {"cache_write"},
	[RATE_AUDIO_INPUT] = {"input_audio"},
	[RATE_REASONING] = {"reasoning"},
	[RATE_AUDIO_OUTPUT] = {"output_audio"}
};

/* What a model that is not billed by tokens is for, and so what it is billed by. */
static const struct
{
	const char *mode;
	Rate		rate;
}			litellm_modes[] = {
	{"image_generation", RATE_IMAGES},
	{"image_edit", RATE_IMAGES},
	{"audio_transcription", RATE_AUDIO_SECONDS},
	{"audio_speech", RATE_CHARACTERS}
};

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
 * Read the rates that an object has into a tier, a rate for so many tokens.
 */
static void
rates_read(const Place *object, Names *names, Numeric scale, Tier *tier)
{
	for (int i = 0; i < RATES; i++)
	{
		Numeric		rate = names[i][0] != NULL ? place_number(object, names[i]) : NULL;

		if (rate != NULL)
			tier->rates[i] = scale != NULL ? number_multiply(rate, scale) : rate;
	}
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
			char	   *above = i < FIRST_NO_TOKEN ? key_threshold(name, litellm_rates[i][0]) : NULL;
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
	Place		table = {0};
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
 * Forget the rates of a model of LiteLLM that are not what it is billed by.
 */
static void
litellm_mode_apply(Tier *first, const char *mode)
{
	Rate		rate = RATES;

	for (int i = 0; i < lengthof(litellm_modes) && mode != NULL; i++)
		if (strcmp(mode, litellm_modes[i].mode) == 0)
			rate = litellm_modes[i].rate;
	for (int i = FIRST_NO_TOKEN; i < RATES; i++)
		if (i != rate)
			first->rates[i] = NULL;
}

/*
 * litellm_read reads a catalogue of LiteLLM: an object of models, with prices per token.
 */
void
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
		litellm_mode_apply(first, mode);
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
	Place		place = {0};
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
 * models_dev_read reads a catalogue of models.dev: an object of providers, each with models.
 */
void
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
