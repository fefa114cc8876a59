/* SPDX-License-Identifier: Apache-2.0 */
/* A whole store on the simulated disk, hostile in every file. A store with two backups of a small disk is the ground;
 * the input says what is changed in it:
 *
 *   flags (1), a file's number (1), then any number of patches as fuzz_patch takes them; the files stand one behind the
 *   other in the order of their names
 *
 * With FLAG_SEAL the patched log and segments get MACs that fit: the attacker has the authentication key, but neither
 * the keys that encrypt nor those that name chunks. Whatever opens: a restore that reports success gives exactly the
 * bytes that were backed up, and so does the restore of a backup made afterwards. */
#include "pipeline/backup.h"
#include "pipeline/restore.h"
#include "pipeline/verify.h"
#include "store/io_sim.h"
#include "store/store.h"
#include "tests/crash/lean_arena.h"
#include "tests/fuzz/fuzz_seal.h"

#include <stdio.h>

enum {
	FLAG_SEAL = FUZZ_SEAL,
	FLAG_CHAIN = 1 << 1,
	FLAG_WRITE = 1 << 2,
	FLAG_LOSE = 1 << 3, /* the numbered file is missing */
	FLAG_KEEP_GOING = 1 << 4,
	FLAG_ROLL_BACK = 1 << 5, /* the numbered count of entries is gone from the log: segments are orphans */
	FLAG_UNSEAL = 1 << 6,    /* segments end behind their stripes, every second one by the number */
	FLAG_STRIPES = 1 << 7,   /* of the segments only the stripes are sealed */
};

enum { BLOCKS = 12, VERSIONS = 3, FILES_MAX = 24 };
#define DISK_BYTES ((size_t)BLOCKS * BLOCK_SIZE - 512)

struct ground_file {
	char path[64];
	size_t offset; /* in `bytes` */
	size_t length;
	bool is_log;
	bool is_segment;
	struct trailer shape; /* of a segment */
};

static struct ground_file files[FILES_MAX];
static size_t file_count;
static uint8_t *ground; /* all files */
static size_t ground_length;
static uint8_t auth_key[KEY_SIZE];
static uint8_t versions[VERSIONS][(size_t)BLOCKS * BLOCK_SIZE]; /* of the disk; the last is not in the ground */
static struct uuid version_ids[VERSIONS];
static const char key_file[40] = "a key file of forty bytes for the fuzzer";

/* ---- The ground ---- */

static void fill_versions(void)
{
	uint8_t seed[randombytes_SEEDBYTES] = {1};
	randombytes_buf_deterministic(versions[0], (size_t)2 * BLOCK_SIZE, seed);
	for (size_t i = (size_t)2 * BLOCK_SIZE; i < (size_t)6 * BLOCK_SIZE; i++)
		versions[0][i] = (uint8_t)(i >> 16 ^ i % 97);
	for (size_t v = 1; v < VERSIONS; v++) {
		memcpy(versions[v], versions[v - 1], DISK_BYTES);
		memset(versions[v] + (size_t)3 * v * BLOCK_SIZE, (int)v, (size_t)BLOCK_SIZE + 100);
	}
}

static enum err_code back_up(struct store *store, size_t version, struct err *err)
{
	struct saveset *saveset;
	struct block_source *source;
	require(saveset_new("vm", &saveset, NULL) == ERR_OK);
	require(memory_source_new("disk", versions[version], DISK_BYTES, &source, NULL) == ERR_OK);
	struct backup_request request = {
		.sources = &source,
		.source_count = 1,
		.lanes = 1,
		.compression = COMPRESSION_DEFAULT,
		.verify_new = VERIFY_NEW_OFF,
	};
	enum err_code code = backup_run(store, &request, saveset, NULL, err);
	version_ids[version] = saveset->id;
	block_source_close(source);
	saveset_free(saveset);
	return code;
}

static enum err_code open_store(struct io *io, enum store_mode mode, struct store **ret, struct err *err)
{
	struct unlock unlock = {UNLOCK_KEY_FILE, key_file, sizeof(key_file)};
	return store_open(io, mode, &unlock, ret, err);
}

static enum err_code note_name(void *user, const char *name, struct err *err)
{
	(void)err;
	require(file_count < FILES_MAX);
	struct ground_file *file = &files[file_count++];
	int n = snprintf(file->path, sizeof(file->path), "%s%s", (const char *)user, name);
	require(n > 0 && (size_t)n < sizeof(file->path));
	return ERR_OK;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(((const struct ground_file *)a)->path, ((const struct ground_file *)b)->path);
}

static void load_file(struct io *io, struct ground_file *file)
{
	uint8_t *data;
	require(io_read_file(io, file->path, 8 << 20, &data, &file->length, NULL) == ERR_OK);
	ground = realloc(ground, ground_length + file->length);
	require(ground != NULL);
	memcpy(ground + ground_length, data, file->length);
	file->offset = ground_length;
	file->is_log = strncmp(file->path, "log-", 4) == 0;
	file->is_segment = strncmp(file->path, "segments/", 9) == 0;
	if (file->is_segment)
		require(trailer_decode(data + file->length - TRAILER_SIZE, auth_key, &file->shape, NULL, NULL) ==
			ERR_OK);
	ground_length += file->length;
	free(data);
}

static void load_files(struct io *io)
{
	static char folders[][16] = {"keys/", "index/", "segments/data/", "segments/meta/"};
	static const char *const single[] = {"store.conf", "log-a", "log-b", "lock"};
	static char top[] = "";
	for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
		ERR_IGNORE(note_name(top, single[i], NULL));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		char folder[32];
		snprintf(folder, sizeof(folder), "%.*s", (int)strlen(folders[i]) - 1, folders[i]);
		require(io_list(io, folder, note_name, folders[i], NULL) == ERR_OK);
	}
	qsort(files, file_count, sizeof(files[0]), compare_paths);
	for (size_t i = 0; i < file_count; i++)
		load_file(io, &files[i]);
}

static void make_ground(void)
{
	struct io *io;
	struct store *store;
	struct store_config config;
	uint8_t recovery_secret[KEY_SIZE];
	struct store_init_options options = {
		.segment_size = SEGMENT_SIZE_MIN,
		.stripe_size = STRIPE_SIZE_MIN,
		.log_size = 64 << 10,
		.slot_kind = KEY_SLOT_KEY_FILE,
		.secret = key_file,
		.secret_length = sizeof(key_file),
		.slot_name = "fuzz",
	};
	keep_memory();
	fill_versions();
	require(io_sim_new(1, 0, &io, NULL) == ERR_OK);
	require(store_init(io, &options, recovery_secret, &config, NULL) == ERR_OK);
	require(open_store(io, STORE_WRITE, &store, NULL) == ERR_OK);
	memcpy(auth_key, store_keys_of(store)->auth, KEY_SIZE);
	require(back_up(store, 0, NULL) == ERR_OK && back_up(store, 1, NULL) == ERR_OK);
	store_close(store);
	load_files(io);
	io_free(io);
}

/* ---- The disk as the input wants it ---- */

static void make_folders(struct io *io)
{
	static const char *const folders[] = {"keys", "index", "segments", "segments/data", "segments/meta"};
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		require(io_make_dir(io, folders[i], NULL) == ERR_OK);
}

/* Takes the last 1 to 4 entries away, as if they had never been committed. */
static void roll_back(uint8_t *log, size_t length, unsigned number)
{
	size_t ends[16];
	size_t count = 0;
	for (size_t at = 0; at + LOG_PAGE <= length && count < 16; at += LOG_PAGE)
		if (memcmp(log + at, "XLLOGENT", 8) == 0)
			ends[count++] = at;
	size_t gone = min_u64(1 + number % 4, count);
	if (gone)
		memset(log + ends[count - gone], 0, length - ends[count - gone]);
}

static void put_file(struct io *io, const char *path, const uint8_t *data, size_t length)
{
	struct io_file *file;
	require(io_open(io, path, IO_WRITE | IO_CREATE, &file, NULL) == ERR_OK);
	require(!length || io_write(file, 0, data, length, NULL) == ERR_OK);
	require(io_sync(file, NULL) == ERR_OK);
	io_file_close(file);
}

static struct io *make_disk(unsigned flags, unsigned number, const uint8_t *patches, size_t size)
{
	struct io *io;
	uint8_t *bytes = malloc(ground_length);
	require(bytes != NULL);
	require(io_sim_new(1, 0, &io, NULL) == ERR_OK);
	memcpy(bytes, ground, ground_length);
	(void)fuzz_patch(bytes, ground_length, patches, size);
	make_folders(io);
	for (size_t i = 0; i < file_count; i++) {
		const struct ground_file *f = &files[i];
		uint8_t *data = bytes + f->offset;
		size_t length = f->length;
		if (flags & FLAG_LOSE && number % file_count == i)
			continue;
		if (flags & FLAG_ROLL_BACK && f->is_log)
			roll_back(data, length, number);
		if (flags & FLAG_SEAL && f->is_log)
			seal_log(data, f->length, flags & FLAG_CHAIN, auth_key);
		if (flags & FLAG_SEAL && f->is_segment)
			seal_segment(data, &f->shape, flags & FLAG_STRIPES ? SEAL_STRIPES : SEAL_ALL, auth_key);
		if (flags & FLAG_UNSEAL && f->is_segment && (i + number) % 2)
			length = f->shape.data_end;
		put_file(io, f->path, data, length);
	}
	free(bytes);
	return io;
}

/* ---- What is done with it ---- */

/* The bytes that a saveset must restore to, or NULL if it is none that was made. */
static const uint8_t *version_of(const struct saveset *saveset)
{
	for (size_t i = 0; i < VERSIONS; i++)
		if (uuid_equal(&saveset->id, &version_ids[i]))
			return versions[i];
	return NULL;
}

static enum err_code restore(struct store *store, const struct log_saveset *entry, bool keep_going, struct err *err)
{
	static uint8_t restored[(size_t)BLOCKS * BLOCK_SIZE];
	struct saveset *saveset;
	struct block_target *target;
	struct damage_list damage;
	TRY(store_load_saveset(store, entry, &saveset, err));
	const uint8_t *expected = version_of(saveset);
	require(expected && saveset->disk_count == 1 && saveset->disks[0].bytes.size == DISK_BYTES);
	memset(restored, 0xee, DISK_BYTES);
	require(memory_target_new("target", restored, DISK_BYTES, &target, NULL) == ERR_OK);
	struct restore_request request = {
		.map = &saveset->disks[0].map,
		.size_bytes = DISK_BYTES,
		.target = target,
		.lanes = 1,
		.keep_going = keep_going,
	};
	enum err_code code = restore_run(store, &request, &damage, NULL, err);
	require(code != ERR_OK || (damage.lost_blocks == 0 && memcmp(restored, expected, DISK_BYTES) == 0));
	damage_list_release(&damage);
	block_target_close(target);
	saveset_free(saveset);
	return code;
}

/* True if every saveset that is visible restores. */
static bool restore_all(struct store *store, bool keep_going)
{
	const struct log_state *state = store_state(store);
	bool all = true;
	for (size_t i = 0; i < state->saveset_count && i < 8; i++) {
		struct err err = {0};
		enum err_code code = restore(store, &state->savesets[i], keep_going, &err);
		if (code != ERR_OK)
			require_message(code, &err);
		all = all && code == ERR_OK;
	}
	return all;
}

static enum err_code check(struct store *store,
			   enum err_code (*run)(struct store *, const struct check_request *, struct check_report *,
						struct stage_times *, struct err *))
{
	struct check_request request = {.lanes = 1};
	struct check_report report;
	struct err err = {0};
	enum err_code code = run(store, &request, &report, NULL, &err);
	if (code != ERR_OK)
		require_message(code, &err);
	return code;
}

/* A store that could be written can be opened again, and has what was committed. */
static struct store *back_up_again(struct io *io, struct store *store)
{
	struct err err = {0};
	enum err_code code = back_up(store, VERSIONS - 1, &err);
	if (code != ERR_OK)
		require_message(code, &err);
	store_close(store);
	require(open_store(io, STORE_READ, &store, NULL) == ERR_OK);
	const struct log_state *state = store_state(store);
	require(code != ERR_OK || (state->saveset_count && uuid_equal(&state->savesets[state->saveset_count - 1].id,
								      &version_ids[VERSIONS - 1])));
	return store;
}

static void use(struct io *io, unsigned flags)
{
	struct store *store = NULL;
	struct err err = {0};
	enum err_code code = open_store(io, flags & FLAG_WRITE ? STORE_WRITE : STORE_READ, &store, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return;
	}
	bool all = restore_all(store, flags & FLAG_KEEP_GOING);
	ERR_IGNORE(check(store, scrub_run));
	bool verified = check(store, verify_run) == ERR_OK;
	require(all || !verified);
	if (flags & FLAG_WRITE)
		store = back_up_again(io, store);
	(void)restore_all(store, flags & FLAG_KEEP_GOING);
	store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!ground)
		make_ground();
	if (size < 2)
		return 0;
	struct io *io = make_disk(data[0], data[1], data + 2, size - 2);
	use(io, data[0]);
	io_free(io);
	return 0;
}
