#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A second writer is told who writes and since when; readers and key commands go on beside the first.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

new_store store
make_disk disk.raw 16 22
xl backup --vm web root=disk.raw

# A backup that waits for its source: an XVA that never comes.
mkfifo pipe
"$XENOLITH" backup --json --vm slow - <pipe 2>slow.err &
writer=$!
started+=("$writer")
exec 9>pipe
/usr/bin/python3 "$tests/tools/make_xva.py" whole.xva --disk disk.raw,ref=1,name=root --checksum xxhash --vm-name slow
head -c 9000000 whole.xva >&9
is_busy() { ! "$XENOLITH" backup -q --vm other root=disk.raw 2>"$work/busy"; }
wait_until is_busy
expect_code 11 xl backup --vm other root=disk.raw
expect_one_line
expect_error "$writer"
xl list | grep -q web || fail "a reader is kept out"
xl restore web back.raw
same disk.raw back.raw
xl verify
(umask 077 && head -c 64 /dev/urandom >other.key)
xl key add --new-key-file other.key

tail -c +9000001 whole.xva >&9
exec 9>&-
wait "$writer"
started=()
xl restore slow back-slow.raw
same disk.raw back-slow.raw
xl backup --vm other root=disk.raw
