/* SPDX-License-Identifier: Apache-2.0 */
/* A small world for tests of the whole: a store with tiny segments on the simulated disk, disks in memory. Every world_
 * function fails the test when something goes otherwise than its name says. */
#ifndef TESTS_SUPPORT_WORLD_H
#define TESTS_SUPPORT_WORLD_H

#include "pipeline/backup.h"
#include "pipeline/restore.h"
#include "pipeline/verify.h"
#include "store/io_sim.h"
#include "store/store.h"

struct disk_image {
	uint8_t *data;
	uint64_t size;
	uint64_t blocks; /* whole ones: a last partial block is not among them */
	char name[16];
};

struct disk_image image_new(uint64_t size, unsigned number);
struct disk_image image_copy(const struct disk_image *image);
void image_free(struct disk_image *image);
void image_fill_random(struct disk_image *image, uint64_t first_block, uint64_t count, uint64_t seed);
void image_fill_text(struct disk_image *image, uint64_t first_block, uint64_t count, uint64_t seed);

struct world {
	struct io *io;
	struct store *store;
	bool sealed;
	bool use_recovery_key;
	bool made; /* init has run */
	unsigned lanes;
	enum verify_new verify_new;
	uint8_t recovery_secret[KEY_SIZE];
	struct saveset_bytes last_total; /* of the last backup */
	struct uuid last_tried;          /* id of the last backup that was begun, whether it succeeded or not */
};

int world_setup(void **state);
int world_teardown(void **state);
#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

struct unlock world_unlock(struct world *w);
/* The options of all worlds: 1 MiB segments, 128 KiB stripes, a key file without stretching. */
struct store_init_options world_init_options(bool sealed);

enum err_code world_try_init(struct world *w, struct err *err);
enum err_code world_try_open(struct world *w, enum store_mode mode, struct err *err);
void world_open(struct world *w, enum store_mode mode); /* makes the store first if there is none */
void world_close(struct world *w);
void world_reopen(struct world *w, enum store_mode mode);
struct uuid world_backup(struct world *w, const char *vm, const struct disk_image disks[], size_t count);
enum err_code world_try_backup(struct world *w, const char *vm, const struct disk_image disks[], size_t count,
			       struct uuid *ret_id, struct err *err);
enum err_code world_restore(struct world *w, const struct uuid *saveset, size_t disk, bool keep_going, uint8_t **ret,
			    struct damage_list *ret_damage, struct err *err);
void world_expect_restores(struct world *w, const struct uuid *saveset, size_t disk, const struct disk_image *image);
/* Scrub and verify find nothing. */
void world_expect_clean(struct world *w);
typedef enum err_code (*check_fn)(struct store *, const struct check_request *, struct check_report *,
				  struct stage_times *, struct err *);
void world_check(struct world *w, check_fn check, enum err_code expected, struct check_report *ret);
void world_remove_index(struct world *w);
void world_flip(struct world *w, uint64_t data_segment, uint64_t offset, unsigned bit);
uint64_t world_first_segment(struct world *w, enum segment_kind kind); /* number; works on a closed store */
size_t world_count_segment_files(struct world *w);
/* A notice of the open store that contains `text`, or NULL. */
const char *world_find_notice(struct world *w, const char *text);

#endif
