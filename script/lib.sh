# shellcheck shell=bash
# What the scripts of this directory share: a private installation of
# PostgreSQL with ducto in it, and a private server. Sourced, never run.
#
# Everything a script makes is in a *room*: a directory ducto-room-XXXXXX below
# $TMPDIR whose file "owner" names the process that it belongs to and goes with.
# What a killed script left is removed by the next one. The checkout is only
# read: the sources are copied into the room and built there, so that it may
# belong to anyone, and each build is a whole one whose warnings are seen.
#
# PostgreSQL finds its share and library directories from where its programs
# are. A copy of the programs with links to the rest is thus an installation of
# its own, and ducto gets into it without root and without touching the real
# one. Its server listens on a socket in the room, nowhere else. A server does
# not run as root: root's runs as postgres, or nobody where there is no such
# user.
#
# PG_CONFIG chooses the installation, TMPDIR the place. Needs Linux.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
SERVER_PORT=65432
SHORT=60 # the length of a room's name up to which sockets in it work
LIMIT=1200 # the seconds that one job may take
CODE='^```(python|js)$' # how an example begins that is not in SQL
rooms=()

say() { printf '%s\n' "$*" >&2; }

die() {
	say "${0##*/}: $*"
	exit 1
}

# usage prints the comment at the top of the script.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# find_pg_config prints the pg_config to use: the one asked for, the one on
# the PATH, or the newest one among Debian's packages; nothing without any.
find_pg_config() {
	local found

	found=$(command -v "${PG_CONFIG:-pg_config}" || true)
	if [ -n "$found" ]; then
		realpath -s "$found"
	elif [ -n "${PG_CONFIG:-}" ]; then
		die "PG_CONFIG=$PG_CONFIG is no program"
	else
		find /usr/lib/postgresql -path '*/bin/pg_config' 2>/dev/null | sort -V | tail -n 1 || true
	fi
}

# major_of prints the major version that a pg_config tells.
major_of() { "$1" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/'; }

# prepare installs what is missing, with options of script/bootstrap, sets up
# environment and room, and puts the sources there: prepare OPTION…
# With --demo the server's headers are there too, and no code for its JIT is
# made: that would take clang.
prepare() {
	local name

	umask 022
	trap finish EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	"$ROOT/script/bootstrap" "$@"
	pg_config=$(find_pg_config)
	# The caller's servers, time zone and make have no say in here; neither has
	# the language (the Perl tests drop LC_ALL), but a psql may speak it.
	export LANG=${LC_ALL:-${LC_CTYPE:-${LANG:-C}}}
	for name in "${!PG@}" "${!LC_@}" TZ MAKEFLAGS MAKELEVEL MFLAGS CDPATH; do
		unset "$name"
	done
	export PG_CONFIG=$pg_config
	plain=(LANG=C.UTF-8 LC_ALL=C)
	make_rooms
	copy_sources
	if [[ " $* " = *' --demo '* ]]; then
		make+=(with_llvm=no)
		borrow_headers
	fi
}

# finish removes all that the script made. A script with something to say
# after that defines at_end, which is given the exit status and may change it.
finish() {
	local status=$? room

	trap '' HUP INT TERM PIPE
	set +e
	for room in "${rooms[@]}"; do
		remove_room "$room"
	done
	if declare -F at_end >/dev/null; then
		at_end "$status"
		status=$?
	fi
	exit "$status"
}

# --- processes -------------------------------------------------------------

# process_start prints when a process started; nothing if it does not run.
process_start() {
	local line
	local -a field

	{ line=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
	read -r -a field <<<"${line##*) }"
	[ "${field[0]}" = Z ] || printf '%s\n' "${field[19]}"
}

record_process() { printf '%s %s\n' "$2" "$(process_start "$2")" >"$1"; }

# is_running tells whether the process recorded in a file still runs. The
# start is recorded too, because process ids are used again.
is_running() {
	local pid start

	[ -f "$1" ] && read -r pid start <"$1" && [ -n "$start" ] &&
		[ "$(process_start "$pid")" = "$start" ]
}

# end_process sends a signal and waits until the process is gone, 15 s at most.
end_process() {
	local tries=150

	kill "-$1" "$2" 2>/dev/null || true
	while [ $((tries--)) -gt 0 ] && [ -n "$(process_start "$2")" ]; do
		sleep 0.1
	done
}

# run_job runs a command that may take long as a process group of its own, so
# that it can be ended with the script, and ends it when it hangs: run_job LOG
# COMMAND…
run_job() {
	local log=$1 job status=0

	shift
	env --default-signal=INT,QUIT "${plain[@]}" timeout --kill-after=10 "$LIMIT" "$@" \
		</dev/null >"$log" 2>&1 &
	job=$!
	record_process "$T/job" $job
	wait $job || status=$?
	if [ $status -eq 124 ]; then
		printf '\nended: it took longer than %d s\n' "$LIMIT" >>"$log"
	fi
	return $status
}

# --- rooms -----------------------------------------------------------------

# make_rooms makes the room, $T, and where its name is too long for sockets a
# second one, $S; usually they are the same. as_server is what a command is
# prefixed with to run as the server's user.
make_rooms() {
	local place dir user

	place=$(cd "${TMPDIR:-/tmp}" && pwd -P) || die "TMPDIR is no directory"
	as_server=()
	user=$(id -u)
	if [ "$user" -eq 0 ]; then
		user=$(id -u postgres 2>/dev/null || id -u nobody)
		as_server=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups)
		"${as_server[@]}" test -x "$place" || place=/tmp
	fi
	[[ $place != *[[:space:]]* ]] || place=/tmp # PGXS cannot install there
	sweep_rooms "$place" /tmp

	T=$(make_room "$place")
	rooms=("$T")
	S=$T
	if [ ${#T} -gt $SHORT ]; then
		S=$(make_room /tmp)
		rooms+=("$S")
	fi
	for dir in "$T/data" "$T/out" "$S/sock" "$S/tmp"; do
		mkdir -m 700 "$dir"
		chown "$user" "$dir"
	done
	mkdir "$T/src" "$T/inst"
	as_server=(env "--chdir=$T/src" "${plain[@]}" "HOME=$S/tmp" "TMPDIR=$S/tmp" "${as_server[@]}")
}

make_room() {
	local room

	room=$(mktemp -d "$1/ducto-room-XXXXXX")
	record_process "$room/owner" $$
	[ ${#as_server[@]} -eq 0 ] || chmod 711 "$room"
	printf '%s\n' "$room"
}

# sweep_rooms removes the rooms of ours whose owner is gone.
sweep_rooms() {
	local room

	while IFS= read -r room; do
		if [ -O "$room" ] && [ -s "$room/owner" ] && ! is_running "$room/owner"; then
			remove_room "$room"
		fi
	done < <(find "$@" -maxdepth 1 -type d -name 'ducto-room-??????' 2>/dev/null)
}

# remove_room ends what runs in a room, and removes it.
remove_room() {
	local pid file

	if is_running "$1/job"; then
		read -r pid _ <"$1/job"
		end_process TERM "$pid"
	fi
	while IFS= read -r file; do
		pid=$(head -n 1 "$file") || continue
		# a server's working directory is the one that it serves
		if [ "$(readlink "/proc/$pid/cwd")" = "${file%/*}" ]; then
			end_process QUIT "$pid"
		fi
	done < <(find "$1" -name postmaster.pid -type f 2>/dev/null)
	rm -rf -- "$1" || say "cannot remove all of $1"
}

# --- installation and server -----------------------------------------------

# copy_sources puts a copy of the checkout into $T/src.
copy_sources() {
	tar -C "$ROOT" --exclude=./.git --exclude=node_modules -cf - . |
		tar -C "$T/src" --no-same-owner -xf -
	chmod -R a+rX "$T/src"
	make=(make -s --no-print-directory -C "$T/src" "PG_CONFIG=$PG_CONFIG")
}

# borrow_headers has the build use the server's headers from their package where
# the machine lacks them. To install it would bring clang and LLVM; to unpack it
# in the room takes no root, and goes with the room.
borrow_headers() {
	local headers package

	headers=$("$PG_CONFIG" --includedir-server)
	package=postgresql-server-dev-$(major_of "$PG_CONFIG")
	[ ! -e "$headers/postgres.h" ] || return 0
	say "fetching the headers of PostgreSQL, for this run only: $package"
	mkdir "$T/headers"
	run_job "$T/headers.log" env "--chdir=$T/headers" bash -c "apt-get -q download $package && dpkg-deb -x $package*.deb ." ||
		die "cannot fetch the headers; as root: apt-get install $package
$(tail -n 20 "$T/headers.log")"
	make+=("includedir_server=$T/headers$headers")
}

# build compiles the copy, without what a make in the checkout has left.
build() {
	run_job "$T/build.log" "${make[@]}" clean &&
		run_job "$T/build.log" "${make[@]}" -j "$(nproc)" all
}

# build_ducto builds where a failure is the end.
build_ducto() {
	say 'building ducto ...'
	build || die "cannot build:
$(tail -n 50 "$T/build.log")"
}

# have_packages installs the npm packages that a directory of the copy names, if
# they are not there: have_packages DIRECTORY
have_packages() { [ -e "$T/src/$1/node_modules" ] || install_packages "$1"; }

# install_packages installs them: install_packages DIRECTORY
install_packages() {
	run_job "$T/npm.log" env "--chdir=$T/src/$1" "npm_config_cache=$T/npm" \
		npm ci --include=dev --ignore-scripts --no-audit --no-fund
}

# make_var prints a variable of the Makefile.
make_var() { "${make[@]}" "print-$1"; }

# install_ducto makes the private installation; $BIN is where its programs are.
install_ducto() {
	local dir file

	dir=$("$PG_CONFIG" --bindir)
	BIN=$T/inst$dir
	mkdir -p "$BIN"
	for file in "$dir"/{postgres,initdb,psql,pg*,create*,drop*,cluster*,reindex*,vacuum*}; do
		[ ! -f "$file" ] || cp -L "$file" "$BIN"
	done
	for dir in "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)"; do
		mkdir -p "$T/inst$dir"
		cp -as "$dir/." "$T/inst$dir"
		find "$T/inst$dir" -name 'ducto*' -type l -delete
	done
	run_job "$T/install.log" "${make[@]}" install "DESTDIR=$T/inst" ||
		die "cannot install:
$(tail -n 20 "$T/install.log")"
	"$BIN/pg_config" --version >/dev/null ||
		die "programs in $T cannot be run: set TMPDIR to a place where they can"
}

# start_server makes a server and its database ducto, and points libpq at it:
# start_server SETTING…
start_server() {
	local -a psql

	"${as_server[@]}" "$BIN/initdb" -D "$T/data" -U postgres -A trust -E UTF8 --locale=C \
		>"$T/initdb.log" 2>&1 || die "initdb failed:
$(tail -n 20 "$T/initdb.log")"
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$S/sock'" \
		"port = $SERVER_PORT" "timezone = 'UTC'" "log_timezone = 'UTC'" "$@" \
		>>"$T/data/postgresql.conf"
	"${as_server[@]}" "$BIN/pg_ctl" -D "$T/data" -l "$T/out/server.log" -w start \
		>"$T/pg_ctl.log" 2>&1 || die "the server does not start:
$(tail -n 20 "$T/pg_ctl.log" "$T/out/server.log")"
	export PGHOST=$S/sock PGPORT=$SERVER_PORT PGUSER=postgres PGDATABASE=postgres
	psql=("$BIN/psql" -XAtq -v ON_ERROR_STOP=1 -c)
	[ "$("${psql[@]}" "SELECT name FROM pg_available_extensions WHERE name = 'ducto'")" = ducto ] ||
		die "the server does not see ducto in $T"
	"${psql[@]}" 'CREATE DATABASE ducto'
	export PGDATABASE=ducto
}

# --- clusters --------------------------------------------------------------

# citus_missing prints why there can be no cluster; nothing where Citus is installed.
citus_missing() {
	local library

	library=$("$PG_CONFIG" --pkglibdir)
	[ -e "$library/citus.so" ] || echo "Citus is not installed in $library"
}

# node_settings prints what a node of a cluster is started with.
node_settings() {
	printf '%s\n' "shared_preload_libraries = 'citus'" "citus.node_conninfo = 'sslmode=disable'" \
		"citus.local_hostname = '$S/sock'" 'citus.enable_statistics_collection = off' 'wal_level = logical' \
		'max_prepared_transactions = 200'
}

# start_node starts a server beside that of start_server, with a database of the
# same name that has Citus: start_node NAME PORT SETTING…
start_node() {
	local data=$T/data/$1

	"${as_server[@]}" "$BIN/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$T/initdb.log" 2>&1 ||
		die "initdb failed"
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$S/sock'" "port = $2" \
		"timezone = 'UTC'" "log_timezone = 'UTC'" "${@:3}" >>"$data/postgresql.conf"
	"${as_server[@]}" "$BIN/pg_ctl" -D "$data" -l "$T/out/$1.log" -w start >"$T/pg_ctl.log" 2>&1 ||
		die "$1 does not start:
$(tail -n 20 "$T/out/$1.log")"
	"$BIN/psql" -Xq -p "$2" -d postgres -c "CREATE DATABASE $PGDATABASE"
	"$BIN/psql" -Xq -p "$2" -c 'CREATE EXTENSION citus'
}

# begin_cluster makes a server with Citus a coordinator, to which join_cluster
# adds one as a worker: begin_cluster PORT, join_cluster PORT WORKER_PORT
begin_cluster() { "$BIN/psql" -Xq -v ON_ERROR_STOP=1 -o /dev/null -p "$1" -c "SELECT citus_set_coordinator_host('$S/sock', $1)"; }
join_cluster() { "$BIN/psql" -Xq -v ON_ERROR_STOP=1 -o /dev/null -p "$1" -c "SELECT citus_add_node('$S/sock', $2)"; }

# --- pages -----------------------------------------------------------------

# all_pages prints the pages of the copy that may have examples.
all_pages() { (cd "$T/src" && find README.md docs -name '*.md' | sort); }

# coded_pages prints those of them that have examples in another language than SQL.
coded_pages() {
	all_pages | while read -r page; do
		! grep -Eq "$CODE" "$T/src/$page" || printf '%s\n' "$page"
	done
}

# run_page runs script/examples.pl for a page of the copy, in an empty database of
# its own; where examples are not in SQL alone, ducto and their packages are there:
# run_page LOG PAGE OPTION…
run_page() {
	local log=$1 page=$2 directory=examples/node-postgres
	local -a command=(perl "$T/src/script/examples.pl" "${@:3}" "$T/src/$2")
	local -a psql=("$BIN/psql" -Xq -v ON_ERROR_STOP=1 -d postgres)

	if grep -q '^```js$' "$T/src/$page"; then
		if grep -q "^import .*'@supabase/supabase-js'" "$T/src/$page"; then
			directory=examples/supabase
			have_packages test/standin || return 1
			command=(node "$T/src/test/standin/run.js" "${command[@]}")
		fi
		have_packages "$directory" || return 1
	fi
	"${psql[@]}" <<-'END' || return 1
		SET client_min_messages = warning;
		DROP DATABASE IF EXISTS page WITH (FORCE);
		SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE oid >= 16384 \gexec
		CREATE DATABASE page;
	END
	if grep -Eq "$CODE" "$T/src/$page"; then
		"${psql[@]}" -d page -c 'CREATE EXTENSION ducto' || return 1
	fi
	run_job "$log" env "--chdir=$T/src/$directory" "PATH=$BIN:$PATH" PGDATABASE=page PGTZ=UTC "${command[@]}"
}
