#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# With --json every line of every verb, on both streams, is an object with a type.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# Runs a verb and checks its lines; the first argument is the types wanted on standard output, the second the exit code.
check() {
	local types=$1 code=$2
	shift 2
	expect_code "$code" xl "$@"
	/usr/bin/python3 - "$types" out err <<'EOF' || fail "$*"
import json, sys
wanted = set(sys.argv[1].split(","))
seen = set()
for line in open(sys.argv[2], encoding="utf-8"):
    seen.add(json.loads(line)["type"])
assert seen == wanted - {""}, (seen, wanted)
for line in open(sys.argv[3], encoding="utf-8"):
    assert json.loads(line)["type"] in {"progress", "notice", "warning", "error"}, line
EOF
}

(umask 077 && head -c 64 /dev/urandom >key)
export XENOLITH_KEY_FILE=$work/key XENOLITH_STORE=$work/store
check recovery_key,summary 0 init --json --key-file key
make_disk disk.raw 8 27
check summary 0 backup --json --vm 'ünï "web"' --name 'a	b' --tag x --note 'two
lines' root=disk.raw
check saveset 0 list --json
check saveset 0 show --json latest
check summary 0 scrub --json
check summary 0 verify --json
check summary 0 rehearse --json latest
check summary 0 restore --json latest back.raw
check store,vm,saveset 0 stats --json
check key 0 key list --json
(umask 077 && head -c 64 /dev/urandom >other)
check summary 0 key add --json --new-key-file other
check summary 0 key remove --json --yes 1
check '' 1 show --json nobody
check '' 2 backup --json
check '' 10 list --json -s missing

xl list >table
grep -q 'a?b' table || fail "a control character reached the terminal"
