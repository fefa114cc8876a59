/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t key_file[48] = "a key file of forty-eight bytes for all tests..";

/* ---- Images ---- */

struct disk_image image_new(uint64_t size, unsigned number)
{
	struct disk_image image = {.size = size, .blocks = size / BLOCK_SIZE};
	image.data = calloc(1, (size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE);
	assert_non_null(image.data);
	snprintf(image.name, sizeof(image.name), "disk%u", number);
	return image;
}

struct disk_image image_copy(const struct disk_image *image)
{
	struct disk_image copy = *image;
	copy.data = malloc((image->size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE);
	assert_non_null(copy.data);
	memcpy(copy.data, image->data, image->size);
	return copy;
}

void image_free(struct disk_image *image)
{
	free(image->data);
	image->data = NULL;
}

/* SplitMix64: Steele, Lea, Flood 2014. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void image_fill_random(struct disk_image *image, uint64_t first_block, uint64_t count, uint64_t seed)
{
	for (uint64_t i = 0; i < count * BLOCK_SIZE; i += 8) {
		uint64_t value = next_random(&seed);
		memcpy(image->data + first_block * BLOCK_SIZE + i, &value, 8);
	}
}

void image_fill_text(struct disk_image *image, uint64_t first_block, uint64_t count, uint64_t seed)
{
	for (uint64_t i = 0; i < count * BLOCK_SIZE; i += 32) {
		char line[64];
		snprintf(line, sizeof(line), "line %08u of a log: ok %07u\n", (unsigned)(next_random(&seed) % 1000),
			 (unsigned)(i / 32));
		memcpy(image->data + first_block * BLOCK_SIZE + i, line, 32);
	}
}

/* ---- The world ---- */

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err = {0};
	if (!w || io_sim_new(7, 0, &w->io, &err) != ERR_OK)
		return -1;
	w->lanes = 2;
	w->verify_new = VERIFY_NEW_ALL;
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	struct world *w = *state;
	store_close(w->store);
	io_free(w->io);
	free(w);
	return 0;
}

struct unlock world_unlock(struct world *w)
{
	if (w->use_recovery_key)
		return (struct unlock){UNLOCK_RECOVERY, w->recovery_secret, sizeof(w->recovery_secret)};
	return (struct unlock){UNLOCK_KEY_FILE, key_file, sizeof(key_file)};
}

struct store_init_options world_init_options(bool sealed)
{
	return (struct store_init_options){
		.sealed = sealed,
		.segment_size = 1 << 20,
		.stripe_size = 128 << 10,
		.log_size = 64 << 10,
		.slot_kind = KEY_SLOT_KEY_FILE,
		.secret = key_file,
		.secret_length = sizeof(key_file),
		.slot_name = "test",
	};
}

enum err_code world_try_init(struct world *w, struct err *err)
{
	struct store_init_options options = world_init_options(w->sealed);
	struct store_config config;
	return store_init(w->io, &options, w->recovery_secret, &config, err);
}

enum err_code world_try_open(struct world *w, enum store_mode mode, struct err *err)
{
	struct unlock unlock = world_unlock(w);
	return store_open(w->io, mode, &unlock, &w->store, err);
}

void world_open(struct world *w, enum store_mode mode)
{
	struct err err = {0};
	if (!w->made && world_try_init(w, &err) != ERR_OK)
		fail_msg("init: %s", err.msg);
	w->made = true;
	if (world_try_open(w, mode, &err) != ERR_OK)
		fail_msg("open: %s", err.msg);
}

void world_close(struct world *w)
{
	store_close(w->store);
	w->store = NULL;
}

void world_reopen(struct world *w, enum store_mode mode)
{
	world_close(w);
	world_open(w, mode);
}

enum err_code world_try_backup(struct world *w, const char *vm, const struct disk_image disks[], size_t count,
			       struct uuid *ret_id, struct err *err)
{
	struct block_source *sources[8] = {0};
	struct saveset *saveset = NULL;
	enum err_code code = saveset_new(vm, &saveset, err);
	if (code == ERR_OK)
		w->last_tried = saveset->id;
	for (size_t i = 0; i < count && code == ERR_OK; i++)
		code = memory_source_new(disks[i].name, disks[i].data, disks[i].size, &sources[i], err);
	struct backup_request request = {
		.sources = sources,
		.source_count = count,
		.lanes = w->lanes,
		.compression = COMPRESSION_DEFAULT,
		.verify_new = w->verify_new,
	};
	if (code == ERR_OK)
		code = backup_run(w->store, &request, saveset, NULL, err);
	if (code == ERR_OK) {
		*ret_id = saveset->id;
		w->last_total = saveset_total(saveset);
	}
	for (size_t i = 0; i < count; i++)
		block_source_close(sources[i]);
	saveset_free(saveset);
	return code;
}

struct uuid world_backup(struct world *w, const char *vm, const struct disk_image disks[], size_t count)
{
	struct uuid id = {{0}};
	struct err err = {0};
	if (world_try_backup(w, vm, disks, count, &id, &err) != ERR_OK)
		fail_msg("backup: %s", err.msg);
	return id;
}

static enum err_code load(struct world *w, const struct uuid *id, struct saveset **ret, struct err *err)
{
	const struct log_state *state = store_state(w->store);
	for (size_t i = 0; i < state->saveset_count; i++)
		if (uuid_equal(&state->savesets[i].id, id))
			return store_load_saveset(w->store, &state->savesets[i], ret, err);
	fail_msg("the saveset is not visible");
	return ERR_BUG;
}

enum err_code world_restore(struct world *w, const struct uuid *id, size_t disk, bool keep_going, uint8_t **ret,
			    struct damage_list *ret_damage, struct err *err)
{
	struct saveset *saveset;
	TRY(load(w, id, &saveset, err));
	uint64_t size = saveset->disks[disk].bytes.size;
	uint8_t *data = malloc(size);
	assert_non_null(data);
	memset(data, 0xee, size); /* the target must write zeroes too */
	struct block_target *target;
	assert_int_equal(memory_target_new("memory", data, size, &target, err), ERR_OK);
	struct restore_request request = {
		.map = &saveset->disks[disk].map,
		.size_bytes = size,
		.target = target,
		.lanes = w->lanes,
		.keep_going = keep_going,
	};
	struct damage_list damage;
	enum err_code code = restore_run(w->store, &request, &damage, NULL, err);
	block_target_close(target);
	saveset_free(saveset);
	if (ret_damage)
		*ret_damage = damage;
	else
		damage_list_release(&damage);
	*ret = data;
	return code;
}

void world_expect_restores(struct world *w, const struct uuid *id, size_t disk, const struct disk_image *image)
{
	uint8_t *data = NULL;
	struct err err = {0};
	if (world_restore(w, id, disk, false, &data, NULL, &err) != ERR_OK)
		fail_msg("restore: %s", err.msg);
	/* cmocka's own comparison goes byte by byte: it is asked only where the difference is. */
	if (memcmp(data, image->data, image->size) != 0)
		assert_memory_equal(data, image->data, image->size);
	free(data);
}

static void print_finding(void *user, const struct finding *finding)
{
	(void)user;
	print_message("finding: %s\n", finding->text);
}

void world_check(struct world *w, check_fn check, enum err_code expected, struct check_report *ret)
{
	struct err err = {0};
	struct check_request request = {.lanes = w->lanes, .found = expected == ERR_OK ? print_finding : NULL};
	if (check(w->store, &request, ret, NULL, &err) != expected)
		fail_msg("check: %s", err.code ? err.msg : "found nothing");
}

void world_expect_clean(struct world *w)
{
	struct check_report report;
	world_check(w, scrub_run, ERR_OK, &report);
	world_check(w, verify_run, ERR_OK, &report);
}

static enum err_code remove_entry(void *user, const char *name, struct err *err)
{
	char path[300];
	snprintf(path, sizeof(path), "index/%s", name);
	return io_remove(user, path, err);
}

void world_remove_index(struct world *w)
{
	struct err err = {0};
	if (io_list(w->io, "index", remove_entry, w->io, &err) != ERR_OK)
		fail_msg("removing the index: %s", err.msg);
}

void world_flip(struct world *w, uint64_t data_segment, uint64_t offset, unsigned bit)
{
	char path[SEGMENT_PATH_SIZE];
	segment_path(SEGMENT_DATA, data_segment, path);
	struct err err = {0};
	if (io_sim_flip(w->io, path, offset, bit, &err) != ERR_OK)
		fail_msg("flip: %s", err.msg);
}

static enum err_code note_smallest(void *user, const char *name, struct err *err)
{
	(void)err;
	uint64_t *smallest = user;
	uint64_t number = strtoull(name, NULL, 16);
	if (number < *smallest)
		*smallest = number;
	return ERR_OK;
}

uint64_t world_first_segment(struct world *w, enum segment_kind kind)
{
	uint64_t smallest = UINT64_MAX;
	struct err err = {0};
	const char *dir = kind == SEGMENT_DATA ? "segments/data" : "segments/meta";
	if (io_list(w->io, dir, note_smallest, &smallest, &err) != ERR_OK)
		fail_msg("listing: %s", err.msg);
	return smallest;
}

static enum err_code count_entry(void *user, const char *name, struct err *err)
{
	(void)name;
	(void)err;
	++*(size_t *)user;
	return ERR_OK;
}

size_t world_count_segment_files(struct world *w)
{
	size_t count = 0;
	struct err err = {0};
	if (io_list(w->io, "segments/data", count_entry, &count, &err) != ERR_OK ||
	    io_list(w->io, "segments/meta", count_entry, &count, &err) != ERR_OK)
		fail_msg("listing: %s", err.msg);
	return count;
}

const char *world_find_notice(struct world *w, const char *text)
{
	for (const char *const *notice = store_notices(w->store); *notice; notice++)
		if (strstr(*notice, text))
			return *notice;
	return NULL;
}
