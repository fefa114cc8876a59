#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On a terminal a live line is shown and cleaned away; elsewhere a line per phase; --quiet is quiet; NO_COLOR is honoured.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires script

new_store store
make_disk disk.raw 64 28
export TERM=xterm
script -qec "'$XENOLITH' backup --vm web --limit-rate 40M root=disk.raw" typescript >/dev/null
grep -q $'\r.*read.*%.*left' typescript || fail "no live line"
grep -q $'\033\[K' typescript || fail "the live line is not cleared"
xl backup --vm web --limit-rate 40M root=disk.raw 2>err >/dev/null
grep -q 'read' err || fail "no line for a phase"
if grep -q $'\033' err; then
	fail "control sequences in a file"
fi
xl backup -q --vm web root=disk.raw >out 2>err
[ ! -s err ] && [ ! -s out ] || fail "--quiet says something"

script -qec "'$XENOLITH' show nobody" typescript >/dev/null || true
grep -q $'\033\[1;31merror' typescript || fail "an error is not coloured on a terminal"
NO_COLOR=1 script -qec "'$XENOLITH' show nobody" typescript >/dev/null || true
if grep -q $'\033\[1;31m' typescript; then
	fail "NO_COLOR is not honoured"
fi

"$XENOLITH" backup --vm web --limit-rate 20M --no-compare root=disk.raw >out 2>err &
job=$!
started+=("$job")
wait_until grep -q read err
before=$(wc -l <err)
kill -USR1 "$job"
more() { [ "$(wc -l <err)" -gt "$before" ]; }
wait_until more
wait "$job"
started=()
