#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A raw image comes back bit for bit: its size need not be whole blocks, holes stay holes, names and defaults are as told.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

new_store store
make_disk disk.raw 40 11
printf 'the end' >>disk.raw # the last block is not whole
xl backup --vm web disk.raw
xl restore web back.raw
same disk.raw back.raw
[ "$(stat -c %b back.raw)" -le "$(($(stat -c %b disk.raw) + 2048))" ] || fail "the holes are gone"

xl restore web:disk.raw - >piped.raw
same disk.raw piped.raw

mkdir all
xl restore latest all
same disk.raw all/disk.raw

# A disk of nothing but zeroes.
truncate -s 100M empty.raw
xl backup --vm empty empty.raw
xl restore empty back-empty.raw
same empty.raw back-empty.raw
[ "$(stat -c %b back-empty.raw)" -le 64 ] || fail "zeroes were written"

# Less than one block.
printf 'tiny' >tiny.raw
xl backup --vm tiny tiny.raw
xl restore tiny back-tiny.raw
same tiny.raw back-tiny.raw
