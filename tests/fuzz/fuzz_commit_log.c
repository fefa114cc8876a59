/* SPDX-License-Identifier: Apache-2.0 */
/* The two files of the commit log. A log with a few commits is the ground; the input says what is changed in its files:
 *
 *   flags (1), then any number of patches as fuzz_patch takes them; log-b stands behind log-a
 *
 * Whatever the files hold: if the log opens for writing and takes a commit, then the commit is there after a power
 * cut. */
#include "store/io_sim.h"
#include "tests/fuzz/fuzz_seal.h"

enum {
	FLAG_SEAL = FUZZ_SEAL, /* the entries' MACs are made to fit */
	FLAG_CHAIN = 1 << 1,   /* and each entry is made to follow the one before */
	FLAG_WRITE = 1 << 2,
	FLAG_CUT = 1 << 3, /* log-b ends at the last patch */
	FLAG_NO_A = 1 << 4,
	FLAG_NO_B = 1 << 5,
};

#define FILE_SIZE (16u << 10)
#define SEGMENTS 3u

static struct store_keys keys;
static uint8_t *ground[2];

static struct log_saveset saveset_of(uint8_t number)
{
	return (struct log_saveset){.id = {{number}}, .time_unix_s = 1700000000u + number};
}

static void make_ground(void)
{
	struct io *io;
	struct commit_log *log;
	char notice[512];
	size_t length;
	keys.store_id = fuzz_store_id;
	memcpy(keys.auth, fuzz_key, KEY_SIZE);
	require(io_sim_new(1, 0, &io, NULL) == ERR_OK && commit_log_create(io, &keys, FILE_SIZE, NULL) == ERR_OK);
	require(commit_log_open(io, &keys, true, &log, notice, NULL) == ERR_OK);
	for (uint8_t i = 1; i <= SEGMENTS; i++) {
		struct segment_info segment = {.number = i, .kind = SEGMENT_DATA, .record_count = i};
		struct log_saveset saveset = saveset_of(i);
		struct log_change change = {&segment, 1, &saveset};
		require(commit_log_append(log, &change, NULL) == ERR_OK);
	}
	commit_log_close(log);
	require(io_read_file(io, "log-a", FILE_SIZE, &ground[0], &length, NULL) == ERR_OK && length == FILE_SIZE);
	require(io_read_file(io, "log-b", FILE_SIZE, &ground[1], &length, NULL) == ERR_OK && length == FILE_SIZE);
	io_free(io);
}

static void put_file(struct io *io, const char *path, const uint8_t *data, size_t length)
{
	struct io_file *file;
	require(io_open(io, path, IO_WRITE | IO_CREATE, &file, NULL) == ERR_OK);
	require(length == 0 || io_write(file, 0, data, length, NULL) == ERR_OK);
	require(io_sync(file, NULL) == ERR_OK && io_sync_dir(io, "", NULL) == ERR_OK);
	io_file_close(file);
}

static struct io *make_disk(const uint8_t *data, size_t size)
{
	static uint8_t files[2 * FILE_SIZE];
	struct io *io;
	unsigned flags = data[0];
	memcpy(files, ground[0], FILE_SIZE);
	memcpy(files + FILE_SIZE, ground[1], FILE_SIZE);
	size_t cut = fuzz_patch(files, sizeof(files), data + 1, size - 1);
	if (flags & FLAG_SEAL) {
		seal_log(files, FILE_SIZE, flags & FLAG_CHAIN, fuzz_key);
		seal_log(files + FILE_SIZE, FILE_SIZE, flags & FLAG_CHAIN, fuzz_key);
	}
	require(io_sim_new(1, 0, &io, NULL) == ERR_OK);
	if (!(flags & FLAG_NO_A))
		put_file(io, "log-a", files, FILE_SIZE);
	if (!(flags & FLAG_NO_B))
		put_file(io, "log-b", files + FILE_SIZE,
			 flags & FLAG_CUT && cut >= FILE_SIZE ? cut - FILE_SIZE : FILE_SIZE);
	return io;
}

static bool has_saveset(const struct commit_log *log, const struct log_saveset *saveset)
{
	const struct log_state *state = commit_log_state(log);
	return state->saveset_count && uuid_equal(&state->savesets[state->saveset_count - 1].id, &saveset->id);
}

static void check_state(const struct commit_log *log)
{
	const struct log_state *state = commit_log_state(log);
	for (size_t i = 0; i < state->segment_count; i++) {
		require(i == 0 || state->segments[i - 1].number < state->segments[i].number);
		require(commit_log_segment(log, state->segments[i].number) == &state->segments[i]);
	}
	size_t length;
	require(commit_log_last_entry(log, &length) && length >= LOG_PAGE);
}

static struct commit_log *reopen(struct io *io, bool writable, struct commit_log *log)
{
	char notice[512];
	struct err err = {0};
	commit_log_close(log);
	log = NULL;
	enum err_code code = commit_log_open(io, &keys, writable, &log, notice, &err);
	if (code == ERR_OK)
		check_state(log);
	else
		require_message(code, &err);
	return log;
}

/* Commits, loses what was not synced, and looks. */
static struct commit_log *append(struct io *io, struct commit_log *log, unsigned seed)
{
	struct log_saveset saveset = saveset_of(200);
	struct log_change change = {.saveset_added = &saveset};
	struct err err = {0};
	enum err_code code = commit_log_append(log, &change, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return log;
	}
	require(has_saveset(log, &saveset));
	io_sim_power_cycle(io, seed);
	log = reopen(io, seed & 1, log);
	require(log && has_saveset(log, &saveset));
	return log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!ground[0])
		make_ground();
	if (size < 1)
		return 0;
	struct io *io = make_disk(data, size);
	struct commit_log *log = reopen(io, data[0] & FLAG_WRITE, NULL);
	for (unsigned i = 0; log && i < 6 && data[0] & FLAG_WRITE; i++)
		log = append(io, reopen(io, true, log), i);
	commit_log_close(log);
	io_free(io);
	return 0;
}
