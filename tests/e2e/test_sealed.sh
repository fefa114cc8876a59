#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In a sealed store the key backs up, compares, lists and scrubs, and only the recovery key reads.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

new_store store --sealed
make_disk disk.raw 24 20
xl backup --vm web root=disk.raw
xl backup --json --vm web root=disk.raw >second
[ "$(json_field second summary bytes.new)" -eq 0 ] || fail "a sealed store does not deduplicate"
xl list | grep -q web || fail "a sealed store does not list"
xl scrub
expect_code 12 xl restore web back.raw
expect_error recovery
[ ! -e back.raw ] || fail "a file was left behind"
expect_code 12 xl verify
xl restore --recovery-key-file store.recovery web back.raw
same disk.raw back.raw
xl verify --recovery-key-file store.recovery
