/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/xva_sum.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/uuid.h"

struct xva_sum {
	bool sha1_wanted;
	bool xxh_wanted;
	EVP_MD_CTX *sha1;
	XXH64_state_t *xxh;
};

enum err_code xva_sum_new(struct xva_sum **ret, struct err *err)
{
	struct xva_sum *sum = calloc(1, sizeof(*sum));
	if (sum) {
		sum->sha1 = EVP_MD_CTX_new();
		sum->xxh = XXH64_createState();
	}
	if (!sum || !sum->sha1 || !sum->xxh) {
		xva_sum_free(sum);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for checksums");
	}
	*ret = sum;
	return ERR_OK;
}

void xva_sum_free(struct xva_sum *sum)
{
	if (!sum)
		return;
	EVP_MD_CTX_free(sum->sha1);
	XXH64_freeState(sum->xxh);
	free(sum);
}

static enum err_code sha1_failed(struct err *err)
{
	return err_set(err, ERR_UNSUPPORTED, 0, "the SHA-1 of XVA checksums is not available in this system's OpenSSL");
}

enum err_code xva_sum_begin(struct xva_sum *sum, enum xva_checksum form, struct err *err)
{
	sum->sha1_wanted = form != XVA_XXHASH;
	sum->xxh_wanted = form != XVA_SHA1;
	if (sum->sha1_wanted && EVP_DigestInit_ex(sum->sha1, EVP_sha1(), /* engine= */ NULL) != 1)
		return sha1_failed(err);
	if (sum->xxh_wanted)
		XXH64_reset(sum->xxh, /* seed= */ 0);
	return ERR_OK;
}

enum err_code xva_sum_update(struct xva_sum *sum, const void *data, size_t n, struct err *err)
{
	if (sum->sha1_wanted && EVP_DigestUpdate(sum->sha1, data, n) != 1)
		return sha1_failed(err);
	if (sum->xxh_wanted && n)
		XXH64_update(sum->xxh, data, n);
	return ERR_OK;
}

enum err_code xva_sum_end(struct xva_sum *sum, enum xva_checksum form, char dst[static XVA_SUM_TEXT_SIZE],
			  struct err *err)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	if (form == XVA_SHA1) {
		if (EVP_DigestFinal_ex(sum->sha1, digest, /* size= */ NULL) != 1)
			return sha1_failed(err);
		hex_format(digest, 20, dst);
	} else {
		snprintf(dst, XVA_SUM_TEXT_SIZE, "%016" PRIX64, (uint64_t)XXH64_digest(sum->xxh));
	}
	return ERR_OK;
}
