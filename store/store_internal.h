/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a store, shared by store.c (opening), store_init.c, store_config.c, store_recover.c (after a crash),
 * store_read.c (records) and store_txn.c (writing). */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

/* Open segments with their directories, some 100 KiB each: enough for every lane of a large machine and its
 * neighbours. */
#define SEGMENT_CACHE_SIZE 64
#define NOTICES_MAX 16

struct cached_segment {
	struct segment *segment;
	uint64_t used; /* tick of the last use */
};

struct store {
	struct io *io;
	enum store_mode mode;
	struct store_config config;
	struct store_keys *keys;
	struct chunk_hasher chunk_hasher;
	struct chunk_hasher node_hasher;
	struct commit_log *log;
	struct chunk_index *index;
	struct io_file *lock;
	char log_damage[512]; /* "": none */
	char *notices[NOTICES_MAX + 1];
	unsigned notice_count;

	atomic_uint_fast64_t next_segment; /* relaxed: only uniqueness matters */
	pthread_mutex_t commit_mutex;      /* guards log, and the order of commits; taken after a transaction's mutex */
	bool txn_active;                   /* guarded by commit_mutex */
	bool index_stale; /* an aborted transaction left claims in the index; guarded by commit_mutex */

	pthread_mutex_t cache_mutex; /* guards cache and everything below; taken last */
	struct cached_segment cache[SEGMENT_CACHE_SIZE];
	uint64_t cache_tick;
	bool all_directories_loaded;  /* a look-up missed: the index was filled from all live directories */
	struct record_opener *opener; /* for single records */
};

/* The check of store.conf: a MAC in hexadecimal. */
#define CONFIG_CHECK_SIZE 65

/* Parser of store.conf, free of I/O. The check is given as it stands there: judging it takes the keys
 * (store_check_config). ERR_CORRUPT, or ERR_UNSUPPORTED for a newer format. */
MUST_CHECK enum err_code store_config_parse(const void *data, size_t length, struct store_config *ret,
					    char ret_check[static CONFIG_CHECK_SIZE], struct err *err);

/* Writes store.conf (the last step of init). */
enum err_code store_write_config(struct io *io, const struct store_config *config, const struct store_keys *keys,
				 struct err *err);
/* Checks that store.conf is what init wrote: its mode and sizes decide how data is protected. */
enum err_code store_check_config(struct io *io, const struct store_config *config, const struct store_keys *keys,
				 struct err *err);

/* Adds a line for the user; silently full after NOTICES_MAX. */
void store_add_notice(struct store *store, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends what a crash left: sealed orphans are adopted, whole records of unsealed ones carried over. Sets
 * next_segment. */
enum err_code store_recover(struct store *store, struct err *err);

/* (Re)opens the index and adds what its runs do not cover. */
enum err_code store_load_index(struct store *store, struct err *err);

/* True if the record lies where the guess says or just behind; the guess then points to it. */
bool store_guess_hits(struct store_guess *guess, const struct chunk_id *id);

/* Takes over one reference. */
void store_guess_set(struct store_guess *guess, struct segment *segment, uint32_t slot);

/* What a writer of this store needs. The caller sets `sealed` and `user`. */
struct segment_context store_segment_context(const struct store *store, enum verify_new verify_new);

#endif
