#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Killed at random moments, the store stays whole: scrub, verify, and a further backup that restores.
# XENOLITH_KILL_ROUNDS sets how many rounds (default 6); TEST_SEED replays the moments.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

RANDOM=${TEST_SEED:-$(date +%s)}
echo "seed ${TEST_SEED:-$RANDOM}, rounds ${XENOLITH_KILL_ROUNDS:-6}"
new_store store
make_disk disk.raw 48 25
xl backup --vm web root=disk.raw
cp disk.raw before.raw
first=$(xl list --json | /usr/bin/python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["saveset"])')

for round in $(seq "${XENOLITH_KILL_ROUNDS:-6}"); do
	make_disk disk.raw 48 "$((round + 100))"
	"$XENOLITH" backup -q --vm web --lanes 2 --verify-new off root=disk.raw >/dev/null 2>&1 &
	job=$!
	sleep "0.$(printf '%03d' $((RANDOM % 400)))"
	kill -KILL "$job" 2>/dev/null || true
	wait "$job" 2>/dev/null || true
	xl scrub -q >scrub.out || fail "round $round: scrub"
	xl verify -q >verify.out || fail "round $round: verify"
	xl backup -q --vm web root=disk.raw
	xl restore -q --overwrite web back.raw
	same disk.raw back.raw
done
xl restore -q --overwrite "$first" back.raw
same before.raw back.raw
