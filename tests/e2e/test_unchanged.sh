#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk that did not change stores next to nothing; one that changed stores what changed; a second VM of the same content too.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

new_store store
make_disk disk.raw 64 17
xl backup --json --vm web root=disk.raw >first
before=$(du -sb store/segments | cut -f1)
xl backup --json --vm web root=disk.raw >second
after=$(du -sb store/segments | cut -f1)
[ "$(json_field second summary bytes.changed)" -eq 0 ] || fail "an unchanged disk has changed blocks"
[ "$(json_field second summary bytes.new)" -eq 0 ] || fail "an unchanged disk has new content"
[ $((after - before)) -le 1048576 ] || fail "an unchanged disk took $((after - before)) bytes"
/usr/bin/python3 - second <<'EOF'
import json, sys
(summary,) = [row for row in map(json.loads, open(sys.argv[1])) if row["type"] == "summary"]
assert summary["disks"][0]["compared"] is True, summary
EOF

xl backup --json --vm clone other-name=disk.raw >clone
[ "$(json_field clone summary bytes.new)" -eq 0 ] || fail "a clone has new content"

cp disk.raw old.raw
make_disk disk.raw 64 18 # changes every 16th block
xl backup --json --vm web root=disk.raw >third
[ "$(json_field third summary bytes.changed)" -eq $((64 * 65536)) ] || fail "changed: $(json_field third summary bytes.changed)"
[ "$(json_field third summary bytes.new)" -eq $((64 * 65536)) ] || fail "new: $(json_field third summary bytes.new)"

# Every saveset is complete in itself.
xl restore "$(json_field first summary saveset)" back.raw
same old.raw back.raw
xl restore --overwrite web back.raw
same disk.raw back.raw

# The disk grows and shrinks.
truncate -s 80M disk.raw
printf 'grown' | dd of=disk.raw bs=1M seek=79 conv=notrunc status=none
xl backup --json --vm web root=disk.raw >grown
[ "$(json_field grown summary bytes.changed)" -eq 65536 ] || fail "growing changed $(json_field grown summary bytes.changed)"
xl restore --overwrite web back.raw
same disk.raw back.raw
truncate -s 30M disk.raw
xl backup --vm web root=disk.raw
xl restore --overwrite web back.raw
same disk.raw back.raw
xl verify
