/* SPDX-License-Identifier: Apache-2.0 */
/* What commit_log.c (files) and commit_log_entry.c (bytes) share. */
#ifndef STORE_COMMIT_LOG_INTERNAL_H
#define STORE_COMMIT_LOG_INTERNAL_H

#include "store/commit_log.h"

#define LOG_PAGE 4096u
#define LOG_ENTRY_HEAD 128u

/* What an entry is made of; arrays are borrowed. */
struct log_entry_content {
	bool checkpoint;
	uint64_t sequence;
	uint64_t time_unix_s;
	uint64_t next_segment;
	uint8_t previous_mac[32];
	const struct segment_info *segments;
	size_t segment_count;
	const struct log_saveset *savesets;
	size_t saveset_count;
};

/* Gives *ret (free): whole pages, LOG_PAGE-aligned. */
enum err_code log_entry_encode(const struct log_entry_content *content, const struct store_keys *keys, uint8_t **ret,
			       size_t *ret_length, uint8_t ret_mac[static 32], struct err *err);

struct log_entry_head {
	uint32_t version;
	bool checkpoint;
	uint64_t sequence;
	uint64_t time_unix_s;
	uint32_t payload; /* bytes after the head */
	uint32_t item_count;
	uint8_t previous_mac[32];
	uint8_t mac[32];
};

/* Reads and authenticates the head of an entry. ERR_NOT_FOUND: none here. */
enum err_code log_entry_peek(const uint8_t *data, size_t length, const struct store_keys *keys,
			     struct log_entry_head *ret, struct err *err);

enum err_code log_state_add_segment(struct log_state *state, const struct segment_info *info, struct err *err);
enum err_code log_state_add_saveset(struct log_state *state, const struct log_saveset *saveset, struct err *err);

#endif
