#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VHDs, fixed and dynamic, come back bit for bit; a VHD written by us satisfies QEMU.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img

new_store store
make_disk disk.raw 48 12
for kind in fixed dynamic; do
	qemu-img convert -O vpc -o subformat=$kind,force_size=on disk.raw "$kind.vhd"
	xl backup --vm "$kind" root="$kind.vhd"
	xl restore "$kind:root" "$kind.raw"
	same disk.raw "$kind.raw"
done

xl restore --format vhd dynamic written.vhd
qemu-img compare -f vpc -F raw written.vhd disk.raw
qemu-img info -f vpc written.vhd >info
xl backup --vm again root=written.vhd
xl restore again back.raw
same disk.raw back.raw

# The end of the VHD is missing: no saveset, a clear message, and what was there is still there.
truncate -s -600K dynamic.vhd
expect_code 1 xl backup --vm broken root=dynamic.vhd
expect_error dynamic.vhd
expect_code 1 xl show broken
xl list --json >list
[ "$(wc -l <list)" -eq 3 ] || fail "the list is not as before"
