#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Disks served over NBD, plain and with TLS, and restored into an NBD server.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
requires nbdkit openssl

new_store store
make_disk disk.raw 32 16

nbdkit -f -U "$work/plain.sock" -r file disk.raw &
started+=("$!")
wait_until test -S plain.sock
xl backup --vm plain "root=nbd+unix:///?socket=$work/plain.sock"
xl restore plain back.raw
same disk.raw back.raw

truncate -s 32M target.raw
nbdkit -f -U "$work/target.sock" file target.raw &
started+=("$!")
wait_until test -S target.sock
expect_code 1 xl restore plain "nbd+unix:///?socket=$work/target.sock"
expect_error overwrite
xl restore --overwrite plain "nbd+unix:///?socket=$work/target.sock"
same disk.raw target.raw

mkdir certs
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout certs/ca-key.pem -out certs/ca-cert.pem 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout certs/server-key.pem -out server.csr 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >san
openssl x509 -req -in server.csr -CA certs/ca-cert.pem -CAkey certs/ca-key.pem -CAcreateserial -days 2 -extfile san \
	-out certs/server-cert.pem 2>/dev/null
nbdkit -f -U "$work/tls.sock" --tls=require --tls-certificates="$work/certs" -r file disk.raw &
started+=("$!")
wait_until test -S tls.sock
xl backup --vm tls "root=nbds+unix:///?socket=$work/tls.sock&tls-certificates=$work/certs&tls-hostname=localhost"
xl restore tls back-tls.raw
same disk.raw back-tls.raw
xl backup --vm cleartext "root=nbd+unix:///?socket=$work/tls.sock" 2>err && fail "a server that wants TLS served without"
grep -q . err || fail "no message"
