#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# XVAs in both checksum forms, plain and compressed, from a file and a pipe; an XVA written by us reads back.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires zstd
make_xva=$tests/tools/make_xva.py

new_store store
make_disk a.raw 24 14
make_disk b.raw 20 15
disks=(--disk "a.raw,ref=10,name=root,device=0" --disk "b.raw,ref=9,name=data,device=1")
/usr/bin/python3 "$make_xva" new.xva "${disks[@]}" --checksum xxhash --vm-name db
/usr/bin/python3 "$make_xva" old.xva "${disks[@]}" --checksum sha1 --vm-name db
gzip -k new.xva
zstd -q old.xva -o old.xva.zst

n=0
for file in new.xva old.xva new.xva.gz old.xva.zst; do
	n=$((n + 1))
	xl backup --name "run$n" - <"$file"
	xl restore "run$n:root" back-a.raw
	xl restore "run$n:data" back-b.raw
	same a.raw back-a.raw
	same b.raw back-b.raw
	rm back-a.raw back-b.raw
done
xl backup --name file new.xva
xl show --document ova.xml file >ova.xml
grep -q '<name>version</name>' ova.xml || fail "ova.xml did not come back"

for form in xxhash sha1; do
	xl restore --xva --xva-checksum $form file "out-$form.xva"
	xl backup --name "again-$form" "out-$form.xva"
	xl restore "again-$form:root" back-a.raw
	same a.raw back-a.raw
	rm back-a.raw
	tar -xOf "out-$form.xva" ova.xml | cmp - ova.xml
done
xl restore --xva file - >piped.xva
same out-xxhash.xva piped.xva

# Cut short, and with one byte changed.
head -c -3000000 new.xva >cut.xva
expect_code 1 xl backup --name cut cut.xva
expect_error cut.xva
cp new.xva bad.xva
printf 'X' | dd of=bad.xva bs=1 seek=5000000 conv=notrunc status=none
expect_code 1 xl backup --name bad bad.xva
expect_code 1 xl show bad
xl backup --name without-data --exclude data new.xva >report
grep -q 'excluded *data' report || fail "the report does not tell what was left out"
xl restore without-data back.raw
same a.raw back.raw
