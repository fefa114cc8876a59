#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What QEMU reads comes back bit for bit, through a qemu-nbd that is gone afterwards; an image that lost its end is
# refused.
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

# One file per image here. Every cut takes something that the guest could see: QEMU fills up to a grain behind the last.
for options in qcow2 "qcow2 -c" "qcow2 -c -o compression_type=zstd" "vmdk -o subformat=monolithicSparse" \
	"vmdk -o subformat=streamOptimized" vhdx "vhdx -o subformat=fixed" vdi "vdi -o static=on" qed parallels; do
	# shellcheck disable=SC2086  # several words
	qemu-img convert -O $options disk.raw whole.image
	size=$(stat -c %s whole.image)
	for length in $((size - 65536)) $((size - size / 10)) $((size / 2)); do
		cp whole.image cut.image
		truncate -s "$length" cut.image
		expect_code 1 xl backup --vm cut root=cut.image
		expect_error cut.image
		expect_one_line
		expect_code 1 xl show cut
	done
done

# In files beside the image: an extent, a backing file.
for kind in monolithicFlat twoGbMaxExtentFlat twoGbMaxExtentSparse; do
	mkdir "$kind"
	qemu-img convert -O vmdk -o subformat="$kind" disk.raw "$kind/image.vmdk"
	extent=$(find "$kind" -name 'image-*.vmdk')
	truncate -s -65536 "$extent"
	expect_code 1 xl backup --vm cut --format vmdk root="$kind/image.vmdk"
	expect_error "$extent"
done
qemu-img convert -O qcow2 disk.raw base.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
truncate -s -65536 base.qcow2
expect_code 1 xl backup --vm cut --format qcow2 root=top.qcow2
expect_error base.qcow2
expect_code 1 xl show cut
