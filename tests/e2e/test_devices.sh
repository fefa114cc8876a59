#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Block devices: backed up, written over only when told, refused when too small.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires_root
requires losetup blockdev

new_store store
make_disk disk.raw 32 33
device=$(losetup -f --show -r disk.raw 2>/dev/null) || skip "there are no loop devices here"
loops=("$device")
# shellcheck disable=SC2317,SC2329  # called by the trap
detach() {
	local loop
	for loop in "${loops[@]}"; do
		losetup -d "$loop" || true
	done
	end_test
}
trap detach EXIT
xl backup --vm device root="$device"
xl restore device back.raw
same disk.raw back.raw

truncate -s 40M target.raw
target=$(losetup -f --show target.raw)
loops+=("$target")
head -c 40M /dev/urandom >"$target"
expect_code 1 xl restore device "$target"
expect_error overwrite
xl restore --overwrite device "$target"
cmp -n $((32 << 20)) disk.raw "$target" || fail "the device differs"

truncate -s 16M small.raw
small=$(losetup -f --show small.raw)
loops+=("$small")
expect_code 14 xl restore --overwrite device "$small"
expect_error "$small"
