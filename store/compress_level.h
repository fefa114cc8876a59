/* SPDX-License-Identifier: Apache-2.0 */
/* What a compression level means: zstd's own parameters for blocks of 64 KiB, but for level 1. */
#ifndef STORE_COMPRESS_LEVEL_H
#define STORE_COMPRESS_LEVEL_H

#include <zstd.h>

/* Level 1 takes matches from 5 bytes on instead of zstd's 6: on system disks, 1.0 % smaller for 2.3 % more time of the
 * codec (102,171 blocks of a Debian disk; bench/xenolith-bench measures the codec with these parameters too). Zero is
 * zstd's default. */
static inline void compress_level_set(ZSTD_CCtx *zstd, int level)
{
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_minMatch, level == 1 ? 5 : 0);
}

#endif
