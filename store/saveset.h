/* SPDX-License-Identifier: Apache-2.0 */
/* A saveset's description: what was backed up, when and how. Stored as JSON in a metadata record (docs/FORMAT.md,
 * "Savesets").
 *
 * Threads: a plain value. */
#ifndef STORE_SAVESET_H
#define STORE_SAVESET_H

#include "base/err.h"
#include "base/uuid.h"
#include "store/disk_map.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum saveset_level {
	LEVEL_FULL,
	LEVEL_COPY,
	LEVEL_DIFF,
	LEVEL_INC,
};

/* Bytes of one disk or of a whole saveset; see reference words: read from the source, different from the previous map,
 * new to the store (plain), and stored (ciphertext of the new chunks). */
struct saveset_bytes {
	uint64_t size; /* virtual size */
	uint64_t data; /* in blocks that are not zero */
	uint64_t read;
	uint64_t changed;
	uint64_t fresh; /* "new" in JSON */
	uint64_t stored;
};

struct saveset_disk {
	char *name;
	struct uuid uuid; /* null if the source had none */
	char *format;     /* what it was read as */
	struct disk_map map;
	struct saveset_bytes bytes;
	bool compared; /* with the map of an earlier saveset */
};

/* A document that travels with the disks (ova.xml); its bytes are chunks under a map like a disk's. */
struct saveset_document {
	char *name;
	uint64_t length;
	struct disk_map map;
};

struct saveset {
	struct uuid id;
	enum saveset_level level_asked;
	enum saveset_level level_done;
	char *level_reason; /* why done differs from asked, or NULL */
	char *vm_name;
	struct uuid vm_uuid; /* null if unknown */
	char *name;          /* given by the user, or NULL */
	char *note;          /* or NULL */
	char **tags;
	size_t tag_count;
	uint64_t start_unix_s;
	uint64_t stop_unix_s;
	struct saveset_disk *disks;
	size_t disk_count;
	char **excluded; /* names of disks left out on demand */
	size_t excluded_count;
	struct saveset_document *documents;
	size_t document_count;
	char **warnings;
	size_t warning_count;
};

/* A saveset with a random id and no content. */
MUST_CHECK enum err_code saveset_new(const char *vm_name, struct saveset **ret, struct err *err);
void saveset_free(struct saveset *saveset);

/* Appends a copy. */
MUST_CHECK enum err_code saveset_add_warning(struct saveset *saveset, const char *text, struct err *err);
MUST_CHECK enum err_code saveset_add_tag(struct saveset *saveset, const char *tag, struct err *err);
MUST_CHECK enum err_code saveset_add_excluded(struct saveset *saveset, const char *disk, struct err *err);
/* Makes room for one more; gives a zeroed element. */
MUST_CHECK enum err_code saveset_add_disk(struct saveset *saveset, const char *name, struct saveset_disk **ret,
					  struct err *err);
MUST_CHECK enum err_code saveset_add_document(struct saveset *saveset, const char *name, struct saveset_document **ret,
					      struct err *err);

/* Sums of all disks. */
struct saveset_bytes saveset_total(const struct saveset *saveset);

/* JSON, at most RECORD_RAW_MAX bytes (ERR_LIMIT). Gives *ret (free). */
MUST_CHECK enum err_code saveset_encode(const struct saveset *saveset, char **ret, size_t *ret_length, struct err *err);

/* Parses and checks what saveset_encode writes: untrusted. ERR_CORRUPT, or ERR_UNSUPPORTED for a newer version. */
MUST_CHECK enum err_code saveset_decode(const void *data, size_t length, struct saveset **ret, struct err *err);

const char *saveset_level_name(enum saveset_level level); /* "FULL" */

/* The short form of a saveset's id that lists show: the first 8 hex digits. */
#define SAVESET_SHORT_SIZE 9
char *saveset_short_id(const struct uuid *id, char dst[static SAVESET_SHORT_SIZE]);

#endif
