#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a backup was told is what the saveset knows; all kinds of compression and checking restore.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

new_store store
make_disk disk.raw 12 29
make_disk swap.raw 4 30
for how in none zstd auto 3 -5 19; do
	make_disk disk.raw 12 "$RANDOM"
	xl backup -q --vm "c$how" --compression "$how" --verify-new all --lanes 3 root=disk.raw
	xl restore -q --overwrite "c$how" back.raw
	same disk.raw back.raw
done
xl backup --json --vm web --vm-uuid 6B6F8F1A-0f43-4b58-8f13-64f5a2f0cb31 --name monday --tag weekly --tag db --note 'by hand' \
	--exclude swap.raw --verify-new off --no-compare root=disk.raw swap.raw >report
/usr/bin/python3 - report <<'EOF'
import json, sys
(row,) = [row for row in map(json.loads, open(sys.argv[1])) if row["type"] == "summary"]
assert row["vm"] == "web" and row["vm_uuid"] == "6b6f8f1a-0f43-4b58-8f13-64f5a2f0cb31", row
assert row["name"] == "monday" and row["tags"] == ["weekly", "db"] and row["note"] == "by hand", row
assert row["excluded"] == ["swap.raw"] and [disk["name"] for disk in row["disks"]] == ["root"], row
assert row["level_done"] == "FULL" and row["warnings"] == [] and row["bytes"]["size"] == 12 << 20, row
EOF
xl show monday >out
expect_output "by hand"
expect_output "swap.raw"
xl show 6b6f8f1a-0f43-4b58-8f13-64f5a2f0cb31 | grep -q monday || fail "the VM's UUID does not name its saveset"
[ "$(xl list --json --tag weekly --tag db | wc -l)" -eq 1 ] || fail "list --tag"
[ "$(xl list --json --vm web | wc -l)" -eq 1 ] || fail "list --vm"
[ "$(xl list --json --vm nobody | wc -l)" -eq 0 ] || fail "list --vm nobody"
xl stats --json >stats
[ "$(json_field stats store savesets)" -eq 7 ] || fail "stats"
