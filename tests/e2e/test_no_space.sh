#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A full file system ends a backup with 14; the savesets that were there are still there, and restore.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires_root
requires mke2fs mount losetup

truncate -s 160M image
mke2fs -q -F -t ext4 -m 0 image
mkdir small
mount -o loop image small 2>/dev/null || skip "loop devices can't be mounted here"
mounted=$work/small
new_store small/store
make_disk disk.raw 24 26
xl backup --vm web root=disk.raw

head -c 300M /dev/urandom >big.raw
expect_code 14 xl backup -q --vm big root=big.raw
expect_one_line
xl list >list
grep -q web list || fail "the old saveset is gone"
if grep -q big list; then
	fail "a saveset without its content is visible"
fi
xl restore web back.raw
same disk.raw back.raw
xl scrub
xl verify

# A target that is too small.
expect_code 14 xl restore web small/back.raw
[ ! -e small/back.raw ] || fail "an incomplete file was left"
