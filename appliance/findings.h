/* SPDX-License-Identifier: Apache-2.0 */
/* How scrub and verify tell what they found.
 *
 * Threads: findings_tell may be called from any thread, one at a time. */
#ifndef APPLIANCE_FINDINGS_H
#define APPLIANCE_FINDINGS_H

#include "appliance/output.h"
#include "pipeline/verify.h"

/* A finding_fn: prints the finding as a result; `user` is the struct output. */
void findings_tell(void *user, const struct finding *finding);

/* Prints the sums of a check: `verb` is "scrub" or "verify", `seconds` what it took. */
void findings_summary(struct output *output, const char *verb, const struct check_report *report, double seconds);

/* The blocks of a disk in bytes, for people: "blocks 16-31 (1.00 MiB at 1.00 MiB)". Returns dst. */
#define FINDINGS_RANGE_SIZE 96
char *findings_range(uint64_t first_block, uint64_t block_count, char dst[static FINDINGS_RANGE_SIZE]);

#endif
