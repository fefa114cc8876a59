#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ctrl-C ends with 130, leaves no saveset, and the next run finds what was durable; SIGTERM ends with 143; SIGUSR1 tells.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

new_store store
make_disk disk.raw 192 24

# Starts a slow backup and waits until it works. Its process is in $job.
start_backup() {
	"$XENOLITH" backup --json --vm web --compression none --limit-rate 20M root=disk.raw >out 2>err &
	job=$!
	started+=("$job")
	wait_until grep -q '"phase":"read"' err
}

for signal in INT TERM; do
	start_backup
	sleep 0.5
	kill -"$signal" "$job"
	code=0
	wait "$job" || code=$?
	[ "$signal $code" = "INT 130" ] || [ "$signal $code" = "TERM 143" ] || fail "$signal ended with $code"
	[ "$(xl list --json | wc -l)" -eq 0 ] || fail "an interrupted backup left a saveset"
	xl scrub
done

start_backup
kill -USR1 "$job"
kill -INT "$job"
wait "$job" || true

# Everything of the disk that was sealed before is found again.
wait_for_durable() { [ "$(find store/segments/data -size +60M | wc -l)" -ge 1 ]; }
"$XENOLITH" backup --json --vm web --compression none --lanes 1 --limit-rate 60M root=disk.raw >out 2>err &
job=$!
started+=("$job")
wait_until wait_for_durable
sleep 0.3
kill -INT "$job"
wait "$job" || true
xl backup --json --vm web root=disk.raw >report
[ "$(json_field report summary bytes.new)" -lt "$(json_field report summary bytes.data)" ] || fail "nothing was found again"
xl restore web back.raw
same disk.raw back.raw
xl verify
started=()
