/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a disk over NBD with more say than ingest/formats.h gives: for the QEMU source, which serves itself, and for
 * tests with short limits. */
#ifndef INGEST_NBD_SOURCE_H
#define INGEST_NBD_SOURCE_H

#include "base/err.h"
#include "ingest/nbd_connection.h"
#include "pipeline/block_source.h"

/* Connects to `address` (copied) and makes a source whose ops->format is `format` (a literal). Gives *ret. */
MUST_CHECK enum err_code nbd_source_new(const struct nbd_address *address, const char *format,
					struct block_source **ret, struct err *err);

#endif
