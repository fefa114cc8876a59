#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What QEMU reads comes back bit for bit, through a qemu-nbd that is gone afterwards.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-nbd

new_store store
make_disk disk.raw 48 13
for format in qcow2 vhdx vmdk; do
	qemu-img convert -O $format disk.raw "disk.$format"
	mv "disk.$format" "image-$format" # the name must not matter
	xl backup --vm $format root="image-$format"
	xl restore $format "$format.raw"
	same disk.raw "$format.raw"
done
if pgrep -f "qemu-nbd.*$work" >/dev/null; then
	fail "a qemu-nbd is left behind"
fi

head -c 3000 image-qcow2 >cut.qcow2
expect_code 1 xl backup --vm cut root=cut.qcow2
expect_error cut.qcow2
expect_code 1 xl show cut
