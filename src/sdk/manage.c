/*
 * manage.c
 *		What the SDKs change beside credits: plans of users, the pricing, teams.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "common/cryptohash.h"
#include "common/sha1.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "account/funds.h"
#include "account/key.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/period.h"
#include "base/query.h"
#include "base/uuid.h"
#include "credit/debit.h"
#include "credit/plans.h"
#include "credit/teams.h"
#include "pricing/pricing.h"
#include "sdk/answer.h"

PG_FUNCTION_INFO_V1(ducto_sdk_plan_uuid);
PG_FUNCTION_INFO_V1(ducto_sdk_set_user_plan);
PG_FUNCTION_INFO_V1(ducto_sdk_increment_usage_window);
PG_FUNCTION_INFO_V1(ducto_sdk_set_active_pricing_config);
PG_FUNCTION_INFO_V1(ducto_sdk_activate_pricing_config);
PG_FUNCTION_INFO_V1(ducto_sdk_create_team);
PG_FUNCTION_INFO_V1(ducto_sdk_add_team_member);
PG_FUNCTION_INFO_V1(ducto_sdk_deduct_team);

#define PLAN_KEY_MAX	255			/* bytes */
#define KNOWN_PLANS		16

/* The namespace of the plans' ids. */
static const unsigned char plan_namespace[UUID_LEN] = {
	0x6d, 0x1f, 0x0c, 0x52, 0x3b, 0x7e, 0x4a, 0x1d, 0x9c, 0x40, 0x8e, 0x55, 0xd2, 0x71, 0xa6, 0x0b
};

static KeptQuery plan_query = {
	.sql = "SELECT FROM ducto.plans WHERE id = $1",
	.types = {TEXTOID}
};

/* Plans are few. */
static KeptQuery plans_query = {
	.sql = "SELECT id FROM ducto.plans",
	.whole = true
};

/*
 * To the SDKs a configuration that says nothing of a bonus gives new users 50
 * credits.
 */
static KeptQuery bonus_query = {
	.sql = "SELECT $1 - 'signup_bonus' - 'signupBonus' || '{\"signup_bonus\": 50}'",
	.types = {JSONBOID}
};

/*
 * Make the id by which the SDKs know a plan: that of its key (RFC 9562, version
 * 5).
 */
static void
plan_id_make(const char *key, pg_uuid_t *id)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA1);
	unsigned char digest[SHA1_DIGEST_LENGTH];

	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, plan_namespace, UUID_LEN) < 0 ||
		pg_cryptohash_update(hash, (const unsigned char *) key, strlen(key)) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA1 hash");
	pg_cryptohash_free(hash);
	memcpy(id->data, digest, UUID_LEN);
	id->data[6] = (id->data[6] & 0x0f) | 0x50;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

/*
 * sdk_plan_id tells the id by which the SDKs know a plan. That of a key is always
 * the same: the last ones are known.
 */
void
sdk_plan_id(const char *key, pg_uuid_t *id)
{
	static struct
	{
		char		key[PLAN_KEY_MAX + 1];
		pg_uuid_t	id;
	}			known[KNOWN_PLANS];
	static int	nknown = 0;
	static int	next = 0;

	for (int i = 0; i < nknown; i++)
		if (strcmp(key, known[i].key) == 0)
		{
			*id = known[i].id;
			return;
		}
	plan_id_make(key, id);
	if (strlen(key) > PLAN_KEY_MAX)
		return;
	strlcpy(known[next].key, key, sizeof(known[next].key));
	known[next].id = *id;
	nknown = Max(nknown, next + 1);
	next = (next + 1) % KNOWN_PLANS;
}

/*
 * ducto_sdk_plan_uuid makes the id by which the SDKs know a plan.
 */
Datum
ducto_sdk_plan_uuid(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	sdk_plan_id(text_to_cstring(PG_GETARG_TEXT_PP(0)), id);
	PG_RETURN_UUID_P(id);
}

/*
 * Return the key of the plan that has an id of the SDKs', NULL for none.
 */
static char *
plan_of_id(const pg_uuid_t *id)
{
	QueryArgs	none = {0};
	uint64		n = query_run(&plans_query, &none, SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
	{
		char	   *key = row_text(i, 1);
		pg_uuid_t	found;

		sdk_plan_id(key, &found);
		if (memcmp(&found, id, UUID_LEN) == 0)
			return key;
	}
	return NULL;
}

/*
 * Return the key of the plan of an id, which is given as it is written, or NULL; the
 * same when what is written is a key itself, or no plan's. The id that was asked for last is
 * known: that of a key is always the same.
 */
static char *
plan_key_of(const pg_uuid_t *id, char *written)
{
	static pg_uuid_t known_id;
	static char known_key[PLAN_KEY_MAX + 1] = "";
	QueryArgs	args = {0};
	char	   *key;

	if (known_key[0] != '\0' && memcmp(&known_id, id, UUID_LEN) == 0)
		return pstrdup(known_key);
	if (written == NULL)
		written = uuid_to_cstring(id);
	args_text(&args, written);
	if (query_run(&plan_query, &args, SPI_OK_SELECT) > 0)
		return written;
	key = plan_of_id(id);
	if (key == NULL)
		return written;
	if (strlen(key) <= PLAN_KEY_MAX)
	{
		strlcpy(known_key, key, sizeof(known_key));
		known_id = *id;
	}
	return key;
}

/*
 * Return the key of a plan that is given by its key or its id; what is neither
 * stays as it is.
 */
static char *
plan_key(char *given)
{
	Datum		id;

	return given != NULL && sdk_uuid(given, &id) ? plan_key_of(DatumGetUUIDP(id), given) : given;
}

/*
 * ducto_sdk_set_user_plan is ducto_set_user_plan for the SDKs.
 */
Datum
ducto_sdk_set_user_plan(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	char	   *plan = arg_text(fcinfo, 1, "p_plan_key");
	JsonOut		out = {0};
	Datum		answer;

	query_begin();
	plan = plan_key(plan);
	if (sdk_begin(&out, plan_assign(user, plan, NULL)))
	{
		put_uuid(&out, "user_id", user);
		put_plan(&out, plan);
	}
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_increment_usage_window is ducto_increment_usage_window for the SDKs.
 */
Datum
ducto_sdk_increment_usage_window(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	pg_uuid_t  *plan_id = arg_uuid(fcinfo, 1, "p_plan_id");
	Money		amount;
	JsonOut		out = {0};
	Account		acc;
	UserPlan	plan;
	Datum		answer;

	if (!sdk_amount(fcinfo, 2, SDK_NOT_NEGATIVE, &amount, &answer))
		PG_RETURN_DATUM(answer);
	query_begin();
	if (sdk_begin(&out, usage_increment(user, plan_key_of(plan_id, NULL), amount, &acc, &plan)))
	{
		put_text(&out, "usage", spend_to_cstring(allowance_used(&acc, acc.now)));
		put_date(&out, "period_start", period_date(account_cycle(&acc, acc.now).start, acc.zone));
	}
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * Answer with a version that has become the active one.
 */
static Datum
version_answer(int version, const pg_uuid_t *id)
{
	JsonOut		out = {0};

	sdk_begin(&out, ACCEPTED);
	put_uuid(&out, "id", id);
	put_int(&out, "version", version);
	put_bool(&out, "active", true);
	return sdk_answer(&out);
}

/*
 * Tell whether a trigger of ours books a bonus for new users: the import puts
 * it in the place of theirs. Its table may be any, so all triggers are looked at.
 */
static bool
books_bonus(void)
{
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("ducto_signup_bonus"));
	scan = systable_beginscan(triggers, InvalidOid, false, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return found;
}

/*
 * Tell whether a configuration has something under a name.
 */
static bool
config_has(Jsonb *config, const char *name)
{
	JsonbValue	value;

	return getKeyJsonValueFromContainer(&config->root, name, (int) strlen(name), &value) != NULL && value.type != jbvNull;
}

/*
 * Return a configuration as the SDKs mean it.
 */
static Jsonb *
config_meant(Jsonb *config)
{
	QueryArgs	args = {0};

	if (!JB_ROOT_IS_OBJECT(config) || config_has(config, "signup_bonus") || config_has(config, "signupBonus") || !books_bonus())
		return config;
	args_jsonb(&args, config);
	query_read(&bonus_query, &args);
	return row_jsonb(0, 1);
}

/*
 * ducto_sdk_set_active_pricing_config is ducto_set_active_pricing for the SDKs.
 */
Datum
ducto_sdk_set_active_pricing_config(PG_FUNCTION_ARGS)
{
	char	   *label = arg_text(fcinfo, 1, "p_label");
	pg_uuid_t	id;
	int			version;
	Datum		answer;

	arg_require(fcinfo, 0, "p_config");
	query_begin();
	version = pricing_publish(config_meant(PG_GETARG_JSONB_P(0)), label, &id);
	answer = version_answer(version, &id);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_activate_pricing_config is ducto_activate_pricing for the SDKs.
 */
Datum
ducto_sdk_activate_pricing_config(PG_FUNCTION_ARGS)
{
	JsonOut		out = {0};
	pg_uuid_t	id;
	Datum		answer;

	arg_require(fcinfo, 0, "p_version");
	query_begin();
	if (pricing_activate(PG_GETARG_INT32(0), &id))
		answer = version_answer(PG_GETARG_INT32(0), &id);
	else
	{
		jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
		put_text(&out, "error", "version_not_found");
		answer = sdk_answer(&out);
	}
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_create_team is ducto_create_team for the SDKs.
 */
Datum
ducto_sdk_create_team(PG_FUNCTION_ARGS)
{
	TeamRequest request = {.now = clock_now()};
	JsonOut		out = {0};
	Datum		answer;

	if (!PG_ARGISNULL(1) && !sdk_amount(fcinfo, 1, SDK_NOT_NEGATIVE, &request.amount, &answer))
		PG_RETURN_DATUM(answer);
	arg_require(fcinfo, 0, "p_name");
	request.name = arg_text(fcinfo, 0, "p_name");
	/* the SDKs have no key for it */
	if (request.amount > 0)
		(void) key_checked(NULL, "idempotency_key");
	query_begin();
	(void) team_make(&request);
	sdk_begin(&out, ACCEPTED);
	put_uuid(&out, "team_id", &request.id);
	put_text(&out, "name", request.name);
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_add_team_member is ducto_add_team_member for the SDKs.
 */
Datum
ducto_sdk_add_team_member(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "p_team_id");
	pg_uuid_t  *user = arg_uuid(fcinfo, 1, "p_user_id");
	MemberTerms terms = {.role = arg_text(fcinfo, 2, "p_role"), .capped = !PG_ARGISNULL(3)};
	JsonOut		out = {0};
	Datum		answer;

	if (terms.capped && !sdk_amount(fcinfo, 3, SDK_NOT_NEGATIVE, &terms.cap, &answer))
		PG_RETURN_DATUM(answer);
	query_begin();
	if (sdk_begin(&out, team_add_member(team, user, &terms)))
	{
		put_uuid(&out, "team_id", team);
		put_uuid(&out, "user_id", user);
		put_text(&out, "role", terms.role);
	}
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_deduct_team is ducto_deduct_team for the SDKs.
 */
Datum
ducto_sdk_deduct_team(PG_FUNCTION_ARGS)
{
	Debit		debit = {.operation_type = "usage"};
	Deduction	deduction;
	JsonOut		out = {0};
	Datum		answer;

	debit.team = arg_uuid(fcinfo, 0, "p_team_id");
	debit.user = arg_uuid(fcinfo, 1, "p_user_id");
	if (!sdk_amount(fcinfo, 2, SDK_POSITIVE, &debit.amount, &answer))
		PG_RETURN_DATUM(answer);
	debit.metadata = arg_metadata(fcinfo, 3, "p_metadata");
	debit.key = key_checked(sdk_member(debit.metadata, "idempotency_key"), "p_metadata.idempotency_key");
	debit.model = text_checked(sdk_member(debit.metadata, "model"), "p_metadata.model");
	query_begin();
	if (sdk_begin(&out, debit_make(&debit, &deduction)))
	{
		put_uuid(&out, "transaction_id", &deduction.transaction);
		put_uuid(&out, "team_id", debit.team);
		put_uuid(&out, "user_id", debit.user);
		put_money(&out, "amount", -deduction.amount);
		put_bool(&out, "idempotent", deduction.idempotent);
	}
	put_money(&out, "team_balance_after", deduction.balance_after);
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}
