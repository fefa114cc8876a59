#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cmake --install puts the program, its manual pages and completions where they belong, and the program runs from there.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires cmake man

build=$(dirname "$XENOLITH")
[ -f "$build/CMakeCache.txt" ] || skip "the program does not lie in its build directory"
[ -d "$build/man" ] || skip "only the program was built"
cmake --install "$build" --prefix "$work/usr" >/dev/null
[ "$(usr/bin/xenolith version)" = "$(xl version)" ] || fail "the installed program does not run"
for verb in init backup restore list show verify scrub rehearse stats key; do
	MANPATH=$work/usr/share/man man --warnings -l "usr/share/man/man1/xenolith-$verb.1.gz" >page 2>err
	grep -q "xenolith-$verb" page || fail "no manual page for $verb"
	[ ! -s err ] || fail "warnings in the page for $verb: $(cat err)"
	xl "$verb" --help >/dev/null 2>&1 || [ "$verb" = key ] || fail "no help for $verb"
done
bash -n usr/share/bash-completion/completions/xenolith

# Every option in a help text is in the manual page.
for verb in init backup restore list show verify scrub rehearse stats "key add" "key list" "key remove" "key export"; do
	zcat "usr/share/man/man1/xenolith-${verb%% *}.1.gz" usr/share/man/man1/xenolith.1.gz >source
	# shellcheck disable=SC2086  # "key add" is two words
	xl $verb --help | grep -oE '^ +(-.,)? +--[a-z-]+' | grep -oE -- '--[a-z-]+' | while read -r option; do
		grep -q -- "Fl Fl ${option#--}" source || fail "'$verb' takes $option, which its manual page does not tell"
	done
done
