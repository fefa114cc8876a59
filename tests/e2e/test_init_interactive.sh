#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# At a terminal the passphrase is asked for twice, and a line of the recovery key until it is right; nothing typed is echoed.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

/usr/bin/python3 "$tests/e2e/init_dialogue.py" "$XENOLITH" "$work/store" "$work/words"
printf 'correct horse battery' >pass
xl list -s store --passphrase-file pass
xl list -s store --recovery-key-file words
