/* SPDX-License-Identifier: Apache-2.0 */
/* The running checksum of one XVA chunk, in either form or in both while it is not known which one follows. */
#ifndef INGEST_XVA_SUM_H
#define INGEST_XVA_SUM_H

#include "ingest/xva.h"

struct xva_sum;

#define XVA_SUM_TEXT_SIZE 41 /* SHA-1's 40 digits and the terminating zero */

MUST_CHECK enum err_code xva_sum_new(struct xva_sum **ret, struct err *err);
void xva_sum_free(struct xva_sum *sum);

/* Starts over. `form`: XVA_SHA1, XVA_XXHASH, or XVA_NO_CHECKSUM for both. */
MUST_CHECK enum err_code xva_sum_begin(struct xva_sum *sum, enum xva_checksum form, struct err *err);
MUST_CHECK enum err_code xva_sum_update(struct xva_sum *sum, const void *data, size_t n, struct err *err);

/* Ends the chunk: its checksum in `form` (one that was begun), as XenServer spells it. */
MUST_CHECK enum err_code xva_sum_end(struct xva_sum *sum, enum xva_checksum form, char dst[static XVA_SUM_TEXT_SIZE],
				     struct err *err);

#endif
