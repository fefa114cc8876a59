#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The Debian package of a build directory: made, checked by lintian, installed, run, removed without a trace.
# usage: package.sh BUILD_DIRECTORY
set -euo pipefail
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"

build=$(cd "${1:?build directory}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --build "$build"
(cd "$work" && cpack --config "$build/CPackConfig.cmake" -B "$work")
package=$(find "$work" -maxdepth 1 -name 'xenolith_*.deb')
dpkg-deb --info "$package"
dpkg-deb --contents "$package"
if command -v lintian >/dev/null; then
	# There is no bug report at Debian that asks for the package.
	lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$package"
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "not root: the package is not installed"
	exit 0
fi

if [ "$(dpkg-query -W -f '${db:Status-Status}' xenolith 2>/dev/null || true)" = installed ]; then
	echo "a xenolith package is installed already; it stays as it is"
	exit 0
fi
dpkg -i "$package"
trap 'dpkg --purge xenolith; rm -rf "$work"' EXIT
cd "$work"
/usr/bin/xenolith version
(umask 077 && head -c 64 /dev/urandom >key)
head -c 3000000 /dev/urandom >disk.raw
export XENOLITH_STORE=$work/store XENOLITH_KEY_FILE=$work/key
/usr/bin/xenolith init --key-file key --recovery-file recovery
/usr/bin/xenolith backup --vm web root=disk.raw
/usr/bin/xenolith restore web back.raw
cmp disk.raw back.raw
dpkg -i "$package" # an upgrade over itself
/usr/bin/xenolith list
mapfile -t files < <(dpkg -L xenolith)
dpkg --purge xenolith
trap 'rm -rf "$work"' EXIT
for file in "${files[@]}"; do
	if [ -f "$file" ]; then
		echo "left behind: $file" >&2
		exit 1
	fi
done
echo "package: made, checked, installed, run, upgraded, removed"
