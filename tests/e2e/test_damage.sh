#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Flipped bytes in a segment are found by scrub, verify, rehearse and restore; the rest comes back.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

new_store store
make_disk disk.raw 32 23
xl backup --vm web root=disk.raw
segment=$(find store/segments/data -type f -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2)
cp "$segment" whole
/usr/bin/python3 - "$segment" <<'EOF'
import sys
with open(sys.argv[1], "r+b") as file:
    for offset in (300000, 1000000):
        file.seek(offset)
        data = file.read(16)
        file.seek(offset)
        file.write(bytes(b ^ 0x55 for b in data))
EOF

expect_code 13 xl scrub
expect_output damage
expect_code 13 xl verify
expect_output "'root': blocks"
expect_code 13 xl verify --json
/usr/bin/python3 - out <<'EOF'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
(disk, *_) = [row for row in rows if row["type"] == "damage" and row["kind"] == "disk"]
assert disk["vm"] == "web" and disk["disk"] == "root" and disk["block_count"] >= 1, disk
(summary,) = [row for row in rows if row["type"] == "summary"]
assert summary["whole"] is False and summary["damaged_blocks"] >= 1, summary
EOF
expect_code 13 xl rehearse web
expect_code 13 xl restore web back.raw
[ ! -e back.raw ] || fail "a damaged restore left a file"
expect_code 13 xl restore --keep-going --json web back.raw

# What is not named as lost is as it was.
/usr/bin/python3 - out disk.raw back.raw <<'EOF'
import json, sys
lost = set()
for line in open(sys.argv[1]):
    row = json.loads(line)
    if row["type"] == "damage":
        lost.update(range(row["first_block"], row["first_block"] + row["block_count"]))
assert lost, "no block is named"
want, got = open(sys.argv[2], "rb").read(), open(sys.argv[3], "rb").read()
assert len(want) == len(got)
for block in range(len(want) // 65536):
    a, b = want[block * 65536:(block + 1) * 65536], got[block * 65536:(block + 1) * 65536]
    assert (b == bytes(65536)) if block in lost else a == b, "block %d" % block
EOF

cp whole "$segment"
xl verify
# A metadata segment.
meta=$(find store/segments/meta -type f | sort | tail -1)
cp "$meta" whole
printf 'damaged!' | dd of="$meta" bs=1 seek=4200 conv=notrunc status=none
expect_code 13 xl scrub
cp whole "$meta"

# A data segment is gone.
mv "$segment" elsewhere
expect_code 13 xl verify
expect_code 13 xl restore web back2.raw
mv elsewhere "$segment"
rm -rf back.raw store/index
xl restore web back.raw
same disk.raw back.raw
