# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the end-to-end tests share. A test is one behaviour; it sources this file, works in $work, and ends with 0, with 77 if
# something it needs is not there, or with anything else if the behaviour is not as promised.
set -euo pipefail

: "${XENOLITH:?path of the program under test}"
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin" tests
unset XENOLITH_STORE XENOLITH_PASSPHRASE_FILE XENOLITH_PASSPHRASE_COMMAND XENOLITH_KEY_FILE CREDENTIALS_DIRECTORY
work=$(mktemp -d "${TMPDIR:-/tmp}/xenolith-e2e.XXXXXX")
started=() # processes of ours, ended with the test

# shellcheck disable=SC2317,SC2329  # called by the trap
end_test() {
	local code=$?
	local pid
	for pid in "${started[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	if [ -n "${mounted-}" ]; then
		umount "$mounted" || true
	fi
	if [ -n "${XENOLITH_KEEP-}" ]; then
		echo "kept: $work" >&2
	else
		rm -rf "$work"
	fi
	exit "$code"
}
trap end_test EXIT
trap 'echo "failed at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
cd "$work"

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

skip() {
	echo "skipped: $*" >&2
	exit 77
}

# Skips the test if a program is missing.
requires() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || skip "'$program' is not installed"
	done
}

requires_root() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
}

# The program, under the key of new_store.
xl() { "$XENOLITH" "$@"; }

# Runs a command whose exit code must be the first argument; its output is in `out` and `err`.
expect_code() {
	local wanted=$1 code=0
	shift
	"$@" >"$work/out" 2>"$work/err" || code=$?
	if [ "$code" -ne "$wanted" ]; then
		cat "$work/out" "$work/err" >&2
		fail "exit code $code instead of $wanted: $*"
	fi
}

# The last command's standard error (or output) must contain a text, and an error must be one line.
expect_error() {
	grep -qF -- "$1" "$work/err" || {
		cat "$work/err" >&2
		fail "no '$1' in the messages"
	}
}
expect_output() {
	grep -qF -- "$1" "$work/out" || {
		cat "$work/out" >&2
		fail "no '$1' in the output"
	}
}
expect_one_line() {
	[ "$(wc -l <"$work/err")" -eq 1 ] || {
		cat "$work/err" >&2
		fail "the error is not one line"
	}
}

# Makes a store in $1 that opens with a key file, which is fast, and names both in the environment. Further arguments go to init.
new_store() {
	local store=$1
	shift
	(umask 077 && head -c 64 /dev/urandom >"$work/key")
	"$XENOLITH" init --key-file "$work/key" --recovery-file "$store.recovery" "$@" "$store" >/dev/null
	export XENOLITH_STORE=$store XENOLITH_KEY_FILE=$work/key
}

# Makes a raw disk: make_disk FILE MIB [SEED]. Text, random bytes, repeated blocks and holes; the same seed gives the same disk.
make_disk() {
	/usr/bin/python3 "$tests/e2e/make_disk.py" "$1" "$2" "${3-1}"
}

# A field of the last JSON line of a type: json_field FILE TYPE FIELD, FIELD as in bytes.new
json_field() {
	/usr/bin/python3 - "$@" <<'EOF'
import json, sys
path, kind, field = sys.argv[1:]
value = None
for line in open(path, encoding="utf-8"):
    row = json.loads(line)
    if row["type"] == kind:
        value = row
        for name in field.split("."):
            value = value[name]
print(value)
EOF
}

# Waits until a command succeeds; fails after a minute.
wait_until() {
	local deadline=$((SECONDS + 60))
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || fail "waited too long for: $*"
		sleep 0.05
	done
}

same() { cmp "$1" "$2" || fail "'$1' differs from '$2'"; }
