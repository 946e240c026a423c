EXTENSION = ducto
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" ducto.control)

MODULE_big = ducto
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))

# The install script is the concatenation of the capabilities, in this order.
SQL_PARTS = sql/preamble.sql sql/clock.sql sql/progress.sql sql/uuid.sql sql/plan.sql sql/account.sql sql/ledger.sql sql/chain.sql sql/grant.sql \
	sql/reservation.sql sql/settle.sql sql/refund.sql sql/reverse.sql sql/transfer.sql sql/cap.sql sql/team.sql sql/event.sql sql/pricing.sql sql/batch.sql \
	sql/expr.sql sql/analytics.sql sql/figures.sql sql/metrics.sql \
	sql/verify.sql sql/verify_rollup.sql sql/verify_rows.sql sql/verify_caps.sql sql/verify_event.sql sql/repair.sql sql/keep.sql sql/cluster.sql sql/access.sql

# The second extension: the functions that the SDKs call. Its C code is in ducto.so.
SDK_VERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" sdk/ducto_sdk.control)
SDK_SQL = sdk/ducto_sdk--$(SDK_VERSION).sql
SDK_PARTS = $(addprefix sdk/sql/,preamble.sql balance.sql lease.sql pricing.sql plan.sql analytics.sql team.sql \
	views.sql import.sql import_stage.sql import_entries.sql import_grants.sql import_move.sql import_report.sql \
	import_pricing.sql import_signup.sql guard.sql access.sql)

DATA_built = ducto--$(EXTVERSION).sql $(SDK_SQL)
DATA = sdk/ducto_sdk.control $(wildcard sql/upgrades/*.sql sdk/sql/upgrades/*.sql)
# An include names the folder.
PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare

# pg_regress looks into its output directory before its input directory, so
# the output must not be the top level, where sql/NAME.sql is source.
REGRESS = $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --outputdir=test/results --load-extension=ducto
# The tests drop a database of the name that they use, so it is one of ducto's.
USE_MODULE_DB = 1
ENCODING = UTF8
ISOLATION = $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=ducto
EXTRA_CLEAN = $(OBJS:.o=.d) ducto--$(EXTVERSION).sql $(SDK_SQL) test/results sdk/test/results output_iso

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# The compiler tells what each object depends on.
$(OBJS): CFLAGS += -MMD -MP
-include $(OBJS:.o=.d)

ducto--$(EXTVERSION).sql: $(SQL_PARTS)
	cat $^ > $@

$(SDK_SQL): $(SDK_PARTS)
	cat $^ > $@

# The tests of the second extension, before those of the first.
SDK_REGRESS = $(sort $(patsubst sdk/test/sql/%.sql,%,$(wildcard sdk/test/sql/*.sql)))
SDK_REGRESS_OPTS = --inputdir=sdk/test --outputdir=sdk/test/results --dbname=$(CONTRIB_TESTDB)_sdk
installcheck: sdk-installcheck
# On a slow machine long work would say how far it is.
installcheck: export PGOPTIONS := $(PGOPTIONS) -c ducto.progress_interval=1d
sdk-installcheck:
	$(pg_regress_installcheck) $(SDK_REGRESS_OPTS) $(SDK_REGRESS)
.PHONY: sdk-installcheck

# make print-VARIABLE shows a variable to scripts.
print-%:
	@echo $($*)
