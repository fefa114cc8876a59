/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a segment's structures, free of I/O: encoders and checked decoders. Private to store/ (and the fuzzers).
 * Layout: docs/FORMAT.md, "Segments". */
#ifndef STORE_SEGMENT_FORMAT_H
#define STORE_SEGMENT_FORMAT_H

#include "store/segment.h"

#define SEGMENT_VERSION 1u
#define SEGMENT_HEADER_FIXED 256u
#define SEGMENT_KEY_SLOT_SIZE 208u
#define SEGMENT_HEADER_MAX (64u << 10)
#define SEGMENT_KEY_SLOTS_MAX 256u /* (64 KiB - 256 - 32) / 208 = 313, rounded down */
#define STRIPE_HEAD_SIZE 128u
#define RECORD_ENTRY_SIZE 64u
#define RECORD_AD_SIZE 64u
#define TRAILER_SIZE 4096u

/* One wrapped data key and where it came from. */
struct segment_key_slot {
	struct uuid origin; /* id of the segment whose records were sealed with this key */
	uint8_t cipher;     /* enum aead_cipher */
	bool wrapped_set;   /* the appliance can unwrap it */
	uint8_t commitment[32];
	uint8_t wrapped[KEY_WRAPPED_SIZE];
	uint8_t sealed[KEY_SEALED_SIZE];
};

struct segment_header {
	struct uuid id;
	struct uuid store_id;
	uint64_t number;
	enum segment_kind kind;
	uint32_t length; /* of the header, a multiple of 4096 */
	uint64_t created_unix_s;
	uint8_t recovery_public[KEY_SIZE];
	uint8_t master_sealed[KEY_SEALED_SIZE];
	uint16_t key_slot_count;
	struct segment_key_slot *key_slots; /* owned; segment_header_release */
};

/* Bytes of a header with that many key slots. */
uint32_t segment_header_length(unsigned key_slots);

/* Writes header->length bytes to `dst`. */
void segment_header_encode(const struct segment_header *header, const uint8_t auth_key[static KEY_SIZE], uint8_t *dst);

/* Decodes and authenticates. `length` bytes are there; ret->length says how many the header takes. ERR_CORRUPT,
 * ERR_UNSUPPORTED (newer version), ERR_AUTH (of another store). */
MUST_CHECK enum err_code segment_header_decode(const uint8_t *data, size_t length,
					       const uint8_t auth_key[static KEY_SIZE], struct segment_header *ret,
					       struct err *err);
void segment_header_release(struct segment_header *header);

/* True if `data` (SEGMENT_HEADER_FIXED bytes) begins like a header and names another store than `store_id`. Not
 * authenticated: it only tells a file that is somebody's from one that is torn. */
bool segment_header_is_foreign(const uint8_t data[static SEGMENT_HEADER_FIXED], const struct uuid *store_id);

/* The data key's commitment: binds the header to one key, since the AEAD itself does not. */
void segment_key_commitment(const uint8_t key[static KEY_SIZE], const struct uuid *origin, uint8_t ret[static 32]);

struct stripe_head {
	struct uuid segment_id;
	uint32_t index;
	uint32_t first_slot;
	uint32_t record_count;
	uint32_t length;     /* of the stripe with padding, a multiple of 4096 */
	uint32_t dir_offset; /* of the directory, in the stripe */
};

void record_entry_encode(const struct record_entry *entry, uint8_t dst[static RECORD_ENTRY_SIZE]);

/* Decodes an entry and checks it against the bounds of the region [first, end) of the segment. */
MUST_CHECK enum err_code record_entry_decode(const uint8_t src[static RECORD_ENTRY_SIZE], uint32_t first, uint32_t end,
					     unsigned key_slots, struct record_entry *ret, struct err *err);

/* Writes the stripe's head with the MAC over head and directory (already at stripe + dir_offset). */
void stripe_head_encode(const struct stripe_head *head, const uint8_t auth_key[static KEY_SIZE], uint8_t *stripe);

/* Decodes the head alone, without authentication: enough to know how much to read. ERR_NOT_FOUND if there is no stripe
 * here. */
MUST_CHECK enum err_code stripe_head_peek(const uint8_t *data, size_t length, struct stripe_head *ret, struct err *err);

/* Authenticates head and directory of a whole stripe. */
MUST_CHECK enum err_code stripe_authenticate(const uint8_t *stripe, size_t length, const struct stripe_head *head,
					     const uint8_t auth_key[static KEY_SIZE], struct err *err);

/* Positions and digests of a sealed segment: the footer head (in front of the directory copy) and the trailer (last
 * page) have the same form. Everything else follows:
 *   [0, data_end) header and stripes   [data_end, covered) footer head, directory, padding
 *   then CRC table | parity (4 x column_length) | CRC table | header copy | trailer */
struct trailer {
	bool is_trailer; /* else the footer head */
	struct uuid id;
	struct uuid store_id;
	uint64_t number;
	enum segment_kind kind;
	uint32_t header_length;
	uint32_t stripe_count;
	uint32_t record_count;
	uint32_t column_length;
	uint64_t data_end;
	uint64_t covered; /* by parity: end of the footer */
	uint64_t stored_bytes;
	uint64_t raw_bytes;
	uint64_t sealed_unix_s;
	uint8_t directory_digest[32]; /* BLAKE2b-256 of the directory copy, unkeyed */
	uint8_t crc_digest[32];       /* of the CRC table; zero in the footer head */
};

/* Derived positions. */
struct trailer_layout {
	uint64_t table_length; /* of one CRC table, padded to 4096 */
	uint64_t cell_count;   /* cells of [0, covered) and of the parity */
	uint64_t first_table;
	uint64_t parity;
	uint64_t second_table;
	uint64_t header_copy;
	uint64_t trailer;
	uint64_t file_length;
};
struct trailer_layout trailer_layout(const struct trailer *trailer);

/* Writes TRAILER_SIZE bytes; the MAC stands in the last 32 and is copied to ret_mac unless NULL. */
void trailer_encode(const struct trailer *trailer, const uint8_t auth_key[static KEY_SIZE],
		    uint8_t dst[static TRAILER_SIZE], uint8_t *ret_mac);
MUST_CHECK enum err_code trailer_decode(const uint8_t src[static TRAILER_SIZE], const uint8_t auth_key[static KEY_SIZE],
					struct trailer *ret, uint8_t *ret_mac, struct err *err);

/* What the log should say of an open sealed segment. */
void segment_describe(const struct segment *segment, struct segment_info *ret);

/* The key slots of an open segment; the segment's. */
const struct segment_key_slot *segment_key_slots(const struct segment *segment, unsigned *ret_count);

/* The associated data of a record's AEAD. */
void record_associated_data(const struct uuid *origin, const struct record_entry *entry,
			    uint8_t dst[static RECORD_AD_SIZE]);

#endif
