/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/stage_times.h"

const char *stage_name(enum stage stage)
{
	static const char *const names[STAGE_COUNT] = {
		[STAGE_READ_SUBMIT] = "read-submit",
		[STAGE_READ_WAIT] = "read-wait",
		[STAGE_ZERO] = "zero-test",
		[STAGE_HASH] = "hash",
		[STAGE_LOOKUP] = "look-up",
		[STAGE_COMPRESS] = "compress",
		[STAGE_SEAL] = "seal",
		[STAGE_CHECKSUM] = "checksum",
		[STAGE_PARITY] = "parity",
		[STAGE_WRITE_SUBMIT] = "write-submit",
		[STAGE_WRITE_WAIT] = "write-wait",
		[STAGE_VERIFY_NEW] = "verify-new",
		[STAGE_MAP] = "disk-map",
		[STAGE_OPEN] = "open",
		[STAGE_DECOMPRESS] = "decompress",
		[STAGE_OTHER] = "other",
	};
	return (unsigned)stage < STAGE_COUNT ? names[stage] : "?";
}

void stage_times_add(struct stage_times *into, const struct stage_times *from)
{
	for (unsigned i = 0; i < STAGE_COUNT; i++)
		into->ns[i] += from->ns[i];
	into->lane_ns += from->lane_ns;
	into->lane_cpu_ns += from->lane_cpu_ns;
	into->lanes += from->lanes;
	into->read_bytes += from->read_bytes;
	into->data_bytes += from->data_bytes;
	into->new_bytes += from->new_bytes;
	into->stored_bytes += from->stored_bytes;
	into->file_bytes += from->file_bytes;
	into->buffer_bytes += from->buffer_bytes;
}
