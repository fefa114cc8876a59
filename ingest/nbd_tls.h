/* SPDX-License-Identifier: Apache-2.0 */
#ifndef INGEST_NBD_TLS_H
#define INGEST_NBD_TLS_H

#include "base/err.h"

/* Makes sure that whoever answers at the TLS address `uri` will have to prove who it is. libnbd up to 1.20
 * (CVE-2024-7383) encrypts without looking at the server's certificate when it finds no "ca-cert.pem" of its own, so
 * one is demanded here: in the directory of "tls-certificates=", or in libnbd's default one (libnbd(3), "Setting up an
 * X.509 certificate authority"). A pre-shared key ("tls-psk-file=") proves both sides; who may answer on a Unix socket
 * is for its file permissions to say. ERR_INVALID: nothing to check the server with. */
MUST_CHECK enum err_code nbd_tls_check(const char *uri, struct err *err);

#endif
