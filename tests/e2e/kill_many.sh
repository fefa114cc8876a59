#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Backups of a large disk, killed at random moments: after each kill scrub and verify find nothing, whatever is listed
# restores, and a further backup succeeds. Run by hand with a release build; the short form is test_kill.sh.
#
#   XENOLITH_KILL_COUNT   kills (default 200)
#   XENOLITH_KILL_MIB     size of the disk (default 1536)
#   XENOLITH_KILL_BATCH   kills until a new store is begun, so that the first full is killed too (default 20)
#   TEST_SEED             replays disks and moments
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires /usr/bin/python3

seed=${TEST_SEED:-$(date +%s)}
kills=${XENOLITH_KILL_COUNT:-200}
mib=${XENOLITH_KILL_MIB:-1536}
batch=${XENOLITH_KILL_BATCH:-20}
RANDOM=$((seed % 32768))
echo "seed $seed: $kills kills, a disk of $mib MiB, a new store after every $batch"

# Makes the disk (a third random bytes, a third text, a third holes), or changes some 40 MiB of it, here and there.
change_disk() {
	/usr/bin/python3 - "$mib" "$1" <<'PYTHON'
import os, random, sys
BLOCK = 65536
blocks, source = int(sys.argv[1]) * 16, random.Random(int(sys.argv[2]))

def text():
    line = b"%016x of a log: all is well at %016x\n" % (source.getrandbits(64), source.getrandbits(64))
    return (line * (BLOCK // len(line) + 1))[:BLOCK - 64] + source.randbytes(64)

is_new = not os.path.exists("disk.raw")
with open("disk.raw", "wb" if is_new else "r+b") as disk:
    disk.truncate(blocks * BLOCK)
    places = range(blocks * 2 // 3) if is_new else sorted(source.sample(range(blocks), min(640, blocks)))
    for place in places:
        is_random = place < blocks // 3 if is_new else source.random() < 0.5
        disk.seek(place * BLOCK)
        disk.write(source.randbytes(BLOCK) if is_random else text())
PYTHON
}

# The checksum of standard input.
sum_of() {
	/usr/bin/python3 -c 'import hashlib, sys; print(hashlib.file_digest(sys.stdin.buffer, "sha256").hexdigest())'
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }
listed() { xl list --json | grep -c '"type": *"saveset"' || true; }
newest() { xl list --json | /usr/bin/python3 -c 'import json, sys; print(json.loads(sys.stdin.readlines()[-1])["saveset"])'; }

begin_store() {
	rm -rf store
	rm -f store.recovery
	new_store store
	whole=0 # savesets that must be there
	sums=()
}

# The newest saveset is of the disk as it is now.
expect_newest() {
	local id
	id=$(newest)
	xl restore -q --overwrite "$id" back.raw
	same disk.raw back.raw
	restores=$((restores + 1))
}

# A saveset of long ago, by its checksum.
expect_older() {
	local which=$((RANDOM % ${#sums[@]}))
	local id=${sums[$which]%% *} sum=${sums[$which]##* }
	[ "$(xl restore -q "$id" - | sum_of)" = "$sum" ] || fail "saveset $id differs from its disk"
	restores=$((restores + 1))
}

# A moment of the run that will be killed: any, and each fourth time its end, where it commits.
choose_moment() {
	local duration=${durations[whole > 0]}
	if [ $((RANDOM % 4)) -eq 0 ]; then
		echo $((duration * (85 + RANDOM % 20) / 100))
	else
		echo $((duration * (RANDOM % 1000) / 1000))
	fi
}

done_kills=0
runs=0
survived=0
restores=0
durations=(2000 1000) # of a first backup and a later one, as measured last
begin_store
while [ "$done_kills" -lt "$kills" ]; do
	change_disk "$((seed + runs))"
	runs=$((runs + 1))
	moment=$(choose_moment)
	"$XENOLITH" backup -q --vm web root=disk.raw >/dev/null 2>&1 &
	job=$!
	started=("$job")
	sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
	kill -KILL "$job" 2>/dev/null || true
	code=0
	wait "$job" 2>/dev/null || code=$?
	started=()
	case $code in
	0) whole=$((whole + 1)) ;;
	137) done_kills=$((done_kills + 1)) ;;
	*) fail "run $runs: the backup ended with $code" ;;
	esac

	xl scrub -q >out 2>&1 || fail "run $runs, killed at $moment ms: scrub: $(cat out)"
	xl verify -q >out 2>&1 || fail "run $runs, killed at $moment ms: verify: $(cat out)"
	found=$(listed)
	if [ "$found" -eq $((whole + 1)) ] && [ "$code" -eq 137 ]; then
		# The commit was durable before the process could say so.
		survived=$((survived + 1))
		whole=$found
		expect_newest
	fi
	[ "$found" -eq "$whole" ] || fail "run $runs, killed at $moment ms: $found savesets are listed instead of $whole"

	start=$(now_ms)
	xl backup -q --vm web root=disk.raw
	durations[found > 0]=$(($(now_ms) - start))
	whole=$((whole + 1))
	[ "$(listed)" -eq "$whole" ] || fail "run $runs: the further backup is not listed"
	sums+=("$(newest) $(sum_of <disk.raw)")
	if [ $((runs % 20)) -eq 0 ]; then
		expect_newest
		expect_older
	fi
	if [ "$code" -eq 137 ] && [ $((done_kills % batch)) -eq 0 ]; then
		expect_older
		echo "$done_kills kills in $runs runs: all whole; $(du -sm store | cut -f 1) MiB in $whole savesets"
		begin_store
	fi
done
echo "kill_many: $done_kills kills in $runs backups, each followed by scrub, verify and a further backup: all whole;" \
	"$survived commits had become durable; $restores savesets restored and compared; seed $seed"
