# shellcheck shell=bash
# What script/test does to run the server under a sanitizer. Sourced after
# lib.sh, never run.
#
# asan builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer
# and its assertions, without -fwrapv, so that an overflow is seen; the server
# is the stock one and gets their runtime preloaded. valgrind runs the server
# under memcheck.
#
# Both see the bounds of what malloc gives, asan those of variables too. Of
# palloc they see the blocks, not the single chunks in them: that takes a server
# built with USE_VALGRIND. The server runs without jit: what LLVM and the C
# library do to load it would be reported, and is not ducto's.

# how a report begins
REPORT='ERROR: AddressSanitizer|: runtime error: |^BEGIN'

# sanitizer_prepare chooses how ducto is built and the server run: sanitizer_prepare SANITIZER
sanitizer_prepare() {
	LIMIT=7200
	"${as_server[@]}" mkdir "$T/out/reports"
	as_server+=(env PGCTLTIMEOUT=600)
	case $1 in
	asan)
		make+=(with_llvm=no "COPT=-O1 -g -fno-omit-frame-pointer -fno-wrapv -DUSE_ASSERT_CHECKING -fsanitize=address,undefined")
		# The runtime starts with the first malloc. In a program of PostgreSQL that
		# is one that the C library makes in a library's constructor while it holds
		# a lock that the runtime wants too. So there is one before; that is too
		# early for options from the environment. PostgreSQL does not free at exit.
		gcc -x c -shared -fPIC -O0 -Wl,-z,initfirst -o "$T/early.so" - <<-END
			extern void *malloc(unsigned long);
			extern void free(void *);
			__attribute__((constructor)) static void early(void) { free(malloc(1)); }
			const char *__asan_default_options(void) { return "verify_asan_link_order=0:detect_leaks=0"; }
		END
		as_server+=("LD_PRELOAD=$T/early.so:$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)")
		;;
	valgrind)
		command -v valgrind >/dev/null || die 'this needs valgrind (package valgrind)'
		make+=(with_llvm=no 'COPT=-O1 -g -fno-omit-frame-pointer')
		;;
	*) die "no such sanitizer: $1" ;;
	esac
}

# sanitizer_install puts valgrind between the installation's callers and its
# server; not for initdb, whose server never loads ducto.
sanitizer_install() {
	[ "$1" = valgrind ] || return 0
	mv "$BIN/postgres" "$BIN/postgres.bin"
	cat >"$BIN/postgres" <<-END
		#!/bin/sh
		case \$1 in
		-V | --version | --boot | --check | --single | -C) exec "$BIN/postgres.bin" "\$@" ;;
		esac
		exec valgrind --quiet --leak-check=no --num-callers=30 --gen-suppressions=all \\
			--error-markers=BEGIN,END "--suppressions=$T/src/test/valgrind.supp" \\
			"--log-file=$T/out/reports/report.%p" "$BIN/postgres.bin" "\$@"
	END
	chmod 755 "$BIN/postgres"
}

# sanitizer_reports prints what was reported. AddressSanitizer and UndefinedBehaviorSanitizer
# together write to the server's log whatever they are told.
sanitizer_reports() {
	local addresses='s/^==[0-9]+== ?//; s/0x[0-9a-f]+/0x…/g'

	find "$T/out/reports" -type f -size +0 -exec cat {} + | sed -E "$addresses"
	find "$T/out" -name '*.log' -type f -exec sed -nE "/ERROR: AddressSanitizer/,/^SUMMARY: /{$addresses; p}" {} +
	find "$T/out" -name '*.log' -type f -exec cat {} + | sed -n '/: runtime error: /p' | sort -u
}
