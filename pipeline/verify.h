/* SPDX-License-Identifier: Apache-2.0 */
/* The checks that read the store: scrub (checksums, no decryption) and verify (open, decompress, hash again). */
#ifndef PIPELINE_VERIFY_H
#define PIPELINE_VERIFY_H

#include "base/err.h"
#include "base/progress.h"
#include "pipeline/stage_times.h"
#include "store/store.h"

#include <stddef.h>
#include <stdint.h>

/* One finding, as a person needs it. */
struct finding {
	enum {
		FINDING_SEGMENT, /* cells or structures of a segment */
		FINDING_RECORD,  /* a record does not open or does not match its ID */
		FINDING_DISK,    /* blocks of a saveset's disk that this costs */
		FINDING_SAVESET, /* a saveset's description or map cannot be read */
		FINDING_LOG,     /* a copy of the commit log is damaged */
	} kind;
	struct uuid saveset;  /* DISK, SAVESET */
	char vm_name[128];    /* DISK, SAVESET */
	char disk_name[128];  /* DISK */
	uint64_t first_block; /* DISK */
	uint64_t block_count; /* DISK */
	uint64_t segment;     /* SEGMENT, RECORD: number */
	uint64_t offset;      /* SEGMENT, RECORD: bytes in the file */
	uint64_t length;
	char text[256]; /* one line */
};

typedef void (*finding_fn)(void *user, const struct finding *finding);

struct check_report {
	uint64_t segments;
	uint64_t records; /* verify: opened */
	uint64_t bytes_read;
	uint64_t plain_bytes; /* verify: hashed */
	uint64_t damaged_segments;
	uint64_t damaged_records;
	uint64_t damaged_blocks; /* of disks of savesets */
	uint64_t damaged_savesets;
};

struct check_request {
	unsigned lanes;                     /* 0: one per CPU */
	const struct log_saveset *savesets; /* verify: only these; NULL: everything in the store */
	size_t saveset_count;
	finding_fn found; /* called from one thread at a time */
	void *user;
	struct progress *progress;
};

/* Reads every live segment and checks every 4 KiB cell against the authenticated checksums. ERR_CORRUPT if anything is
 * damaged (after all was read). Needs no decryption of data. */
MUST_CHECK enum err_code scrub_run(struct store *store, const struct check_request *request, struct check_report *ret,
				   struct stage_times *ret_times, struct err *err);

/* Opens, decompresses and hashes every record that the savesets need (each once), and walks their maps; damage is told
 * by record and then by saveset, disk and block range. ERR_CORRUPT if anything is damaged; ERR_AUTH in a sealed store
 * without recovery key. */
MUST_CHECK enum err_code verify_run(struct store *store, const struct check_request *request, struct check_report *ret,
				    struct stage_times *ret_times, struct err *err);

#endif
