/* SPDX-License-Identifier: Apache-2.0 */
/* Disks made up for the benchmark where the user has none at hand: their compressibility and duplication are given.
 *
 * Threads: one owner. */
#ifndef BENCH_GENERATE_H
#define BENCH_GENERATE_H

#include "base/err.h"

#include <stdint.h>

/* What the disks hold. Percent of the blocks. A compressible block is made of words and numbers (about 3:1 at zstd
 * level 1), any other of random bytes; a duplicate has the content of an earlier block of the same disk. */
struct generate_options {
	uint64_t size_bytes;
	unsigned compressible_percent;
	unsigned duplicate_percent;
};

/* Of the changed disk, this many percent of the blocks have new content; of the second VM's disk, half of them. */
#define GENERATED_CHANGED_PERCENT 3
#define GENERATED_SECOND_PERCENT 50

enum generated_disk {
	GENERATED_FIRST,
	GENERATED_CHANGED,
	GENERATED_SECOND,
};

/* Writes the disk to the file `path`, replacing it. The same options make the same bytes. */
MUST_CHECK enum err_code generate_disk(const char *path, enum generated_disk which,
				       const struct generate_options *options, struct err *err);

#endif
