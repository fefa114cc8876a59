#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The examples of every manual page run as they stand, but for the roots of their paths.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires qemu-img qemu-nbd

make_disk root.raw 16 31
make_disk data.raw 8 32
mkdir bin
ln -s "$XENOLITH" bin/xenolith
PATH=$work/bin:$PATH
printf 'a passphrase for examples\n' >passphrase
chmod 600 passphrase

for page in "$tests"/../docs/man/xenolith*.1; do
	name=$(basename "$page" .1)
	home=$work/$name
	mkdir -p "$home/exports" "$home/srv" "$home/media/usb"
	cp passphrase "$home/srv/safe-passphrase"
	cp data.raw "$home/exports/web-data.raw"
	qemu-img convert -O vpc -o force_size=on root.raw "$home/exports/web-root.vhd"
	qemu-img convert -O qcow2 root.raw "$home/exports/mail.qcow2"
	/usr/bin/python3 "$tests/tools/make_xva.py" "$home/exports/db.xva" --disk data.raw,ref=100,name=root --checksum xxhash --vm-name db
	export XENOLITH_PASSPHRASE_FILE=$home/srv/safe-passphrase
	unset XENOLITH_STORE
	case $name in
	xenolith | xenolith-init) ;; # their examples begin with the store
	*)
		export XENOLITH_STORE=$home/srv/backup
		xenolith init --recovery-file "$home/recovery" >/dev/null
		;;
	esac
	case $name in
	xenolith-restore | xenolith-list | xenolith-show | xenolith-verify | xenolith-scrub | xenolith-rehearse | xenolith-stats)
		xenolith backup -q --vm db "$home/exports/db.xva"
		xenolith backup -q --vm web root="$home/exports/web-root.vhd" data="$home/exports/web-data.raw"
		;;
	esac
	/usr/bin/python3 "$tests/e2e/man_examples.py" "$page" "$home" >"$name.sh"
	[ -s "$name.sh" ] || fail "$name has no examples"
	bash -e -u -o pipefail "$name.sh" >"$name.out" 2>&1 || {
		cat "$name.sh" "$name.out" >&2
		fail "the examples of $name(1)"
	}
done
