#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Passphrases, key files and the recovery key open a store, wrong ones do not, and none is ever lost by adding another.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

umask 077
printf 'correct horse\n' >pass
printf 'wrong horse\n' >wrong
printf 'new staple\n' >new
head -c 64 /dev/urandom >key
export XENOLITH_STORE=$work/store
xl init --passphrase-file pass >shown
grep -Eq '^ *4: ([a-z]{5} ?){5}$' shown || fail "the recovery key is not shown"
grep -E '^ *[1-4]: ' shown >words

make_disk disk.raw 8 19
xl backup --passphrase-file pass --vm web root=disk.raw
expect_code 12 xl list --passphrase-file wrong
expect_one_line
xl list --passphrase-command 'cat pass' | grep -q web || fail "the command did not open the store"
XENOLITH_PASSPHRASE_FILE=pass xl list | grep -q web || fail "the environment did not open the store"

# The recovery key, with and without line numbers, as the only thing left.
xl restore --recovery-key-file words web back.raw
same disk.raw back.raw
sed 's/^ *[1-4]: //' words | tr '[:lower:]' '[:upper:]' >typed
xl list --recovery-key-file typed | grep -q web || fail "the typed recovery key did not open the store"
sed 's/^\( *2: \)./\1x/' words >mistyped
expect_code 2 xl list --recovery-key-file mistyped
expect_error 2

xl key add --passphrase-file pass --new-key-file key --name nightly
xl key add --key-file key --new-passphrase-file new
xl key list >slots
[ "$(wc -l <slots)" -eq 4 ] || fail "three keys and a heading were expected"
xl list --key-file key | grep -q web || fail "the key file did not open the store"
xl key remove --key-file key --yes --dry-run 0
xl list --passphrase-file pass >/dev/null || fail "a dry run removed a key"
expect_code 2 xl key remove --key-file key 0 </dev/null
xl key remove --key-file key --yes 0
expect_code 12 xl list --passphrase-file pass
xl list --passphrase-file new | grep -q web || fail "the new passphrase did not open the store"
xl key remove --key-file key --yes 2
expect_code 2 xl key remove --key-file key --yes 1
expect_code 1 xl key remove --key-file key --yes 40

# An export brings the keys back.
xl key export --key-file key --new-passphrase-file new export
rm -r store/keys
expect_code 1 xl list --key-file key
cp -a export/keys store/
xl list --passphrase-file new | grep -q web || fail "the export did not open the store"
xl key export --paper --recovery-key-file words >paper
grep -E '^ *[1-4]: ' paper | cmp - words

# A key file is not too short, a passphrase not empty.
head -c 8 /dev/urandom >short
expect_code 2 xl key add --passphrase-file new --new-key-file short
: >empty
expect_code 2 xl key add --passphrase-file new --new-passphrase-file empty
