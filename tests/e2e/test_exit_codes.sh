#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every failure has its exit code and one line that says what is wrong.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# Usage.
for args in "" "nonsense" "key" "backup --nonsense" "backup" "list extra" "restore only-one" "scrub --lanes 0" \
	"backup --verify-new maybe x" "backup --limit-rate fast x" "list --vm"; do
	# shellcheck disable=SC2086  # words are wanted
	expect_code 2 xl $args
	expect_one_line
done
expect_code 2 xl list
expect_error XENOLITH_STORE

# No store.
mkdir nothing
for path in nothing missing; do
	expect_code 10 xl list -s "$path"
	expect_error "$path"
	expect_one_line
	expect_code 10 xl backup -s "$path" --vm web root=x
done

new_store store
make_disk disk.raw 8 21
expect_code 1 xl init --key-file key store
expect_error store
touch nothing/file
expect_code 1 xl init --key-file key nothing
cp store/store.conf conf
sed 's/^format = .*/format = 999/' conf >store/store.conf
expect_code 1 xl list
expect_error 999
expect_one_line
cp conf store/store.conf

xl backup --vm web root=disk.raw
expect_code 1 xl show nobody
expect_error nobody
expect_code 1 xl restore web:nodisk back.raw
expect_error root
expect_code 1 xl backup --vm web root=missing.raw
expect_error missing.raw
expect_code 2 xl backup root=disk.raw
expect_error --vm
expect_code 2 xl backup --vm web --exclude other root=disk.raw
expect_code 2 xl backup --vm web --exclude root root=disk.raw
expect_code 2 xl backup --vm web root=disk.raw root=disk.raw
expect_error root
expect_code 2 xl backup --vm web --compression strong root=disk.raw
expect_code 1 xl restore web disk.raw
expect_error disk.raw
same <(xl restore web -) disk.raw

# Names: what could mean several is refused with the candidates.
xl backup --vm web --name twin root=disk.raw
xl backup --vm web --name twin root=disk.raw
expect_code 2 xl show twin
expect_error "2 savesets"
xl show web >out
xl show "$(json_field <(xl list --json) saveset saveset)" >/dev/null
xl show "$(xl list | awk 'NR == 2 { print $1 }')" >/dev/null
xl backup --vm two root=disk.raw data=disk.raw
expect_code 2 xl restore two back.raw
expect_error data

# A reader whose output goes nowhere.
expect_code 14 sh -c "'$XENOLITH' list >/dev/full"
