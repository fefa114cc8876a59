#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the fuzz targets and runs each for a while, from its corpus.
#
# usage: tests/fuzz/run.sh [SECONDS [TARGET...]]
#   SECONDS  per target, 10 by default
#   TARGET   its name without fuzz_; all by default
#
# Prints one line per target: how many inputs were run, the edges (cov) and features (ft) that they and the corpus reach, how many new
# inputs reached something that the corpus does not, and whether one broke something. That one stands in artifacts/TARGET/ of the build
# directory; `fuzz_TARGET FILE` of any build runs it again. The corpus itself is not touched. Exit code 1 if anything broke.
#
# Environment: XENOLITH_FUZZ_BUILD, a build directory that is configured already (default: the preset's, build/fuzz).
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-10}
shift || true
case $seconds in
'' | *[!0-9]*)
	echo "usage: tests/fuzz/run.sh [SECONDS [TARGET...]]" >&2
	exit 2
	;;
esac

if [ -z "${XENOLITH_FUZZ_BUILD:-}" ]; then
	cmake --preset fuzz >/dev/null
	XENOLITH_FUZZ_BUILD=build/fuzz
fi
programs=$XENOLITH_FUZZ_BUILD/tests/fuzz
artifacts=$XENOLITH_FUZZ_BUILD/artifacts
if [ $# -eq 0 ]; then
	for source in tests/fuzz/fuzz_*.c; do
		source=${source##*/fuzz_}
		set -- "$@" "${source%.c}"
	done
fi
cmake --build "$XENOLITH_FUZZ_BUILD" --target "${@/#/fuzz_}" >"$XENOLITH_FUZZ_BUILD/fuzz-build.log" 2>&1 || {
	tail -n 40 "$XENOLITH_FUZZ_BUILD/fuzz-build.log" >&2
	exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
printf '%-16s %12s %8s %8s %8s %8s\n' target executions cov ft new crashes
for target in "$@"; do
	mkdir -p "$scratch/$target" "$artifacts/$target"
	# Leaks count: whatever a parser refuses, it gives back what it took.
	result=0
	"$programs/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -detect_leaks=1 \
		-artifact_prefix="$artifacts/$target/" "$scratch/$target" "tests/fuzz/corpus/$target" >"$scratch/log" 2>&1 || result=$?
	executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/log")
	last=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$scratch/log" | tail -n 1 || true)
	read -r _ cov _ ft <<<"${last:-cov: 0 ft: 0}"
	new=$(find "$scratch/$target" -type f | wc -l)
	printf '%-16s %12s %8s %8s %8s %8s\n' "$target" "${executions:-0}" "$cov" "$ft" "$new" "$((result != 0))"
	if [ "$result" -ne 0 ]; then
		failed=1
		cp "$scratch/log" "$artifacts/$target/log"
		tail -n 40 "$scratch/log" >&2
	fi
done
[ "$failed" -eq 0 ] || echo "inputs that broke something: $artifacts" >&2
exit "$failed"
