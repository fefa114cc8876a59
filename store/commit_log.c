/* SPDX-License-Identifier: Apache-2.0 */
/* The two files of the commit log.
 *
 *   log-a:  [checkpoint n][entry n+1][entry n+2]...[zeroes, or entries of an older chain]
 *   log-b:  the same bytes
 *
 * L1  At every instant one of the files holds a whole chain that contains every acknowledged commit: an entry goes to
 *     log-a and is synced before log-b is touched; a file that starts over with a checkpoint does so while the other is
 *     whole.
 * L2  A page is written once per chain: nothing durable is written over but by starting over.
 * L3  After a failed write or sync nothing more is appended: what is on the disk is unknown until it is read again.
 */
#include "store/commit_log_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const file_names[2] = {"log-a", "log-b"};

/* A file is read at once. 1 GiB is a checkpoint of nine million segments: half a pebibyte. */
#define LOG_FILE_MAX (UINT64_C(1) << 30)

/* How often a reader looks before it believes in damage. */
enum { READ_ATTEMPTS = 3 };

struct log_file {
	struct io_file *file;
	uint64_t size;
	uint64_t end; /* where the next entry goes */
};

struct commit_log {
	struct io *io;
	const struct store_keys *keys;
	bool writable;
	struct log_file files[2];
	struct log_state state;
	struct log_chain chain;
	uint8_t *last_entry;
	size_t last_entry_length;
	struct err broken; /* a write failed: nothing is certain any more */
};

DEFINE_CLEANUP(commit_log, struct commit_log, commit_log_close)

/* ---- Reading ---- */

/* One file's chain as found on the disk. */
struct candidate {
	bool found;
	uint8_t *data;
	size_t length;
	struct log_state state;
	struct log_chain chain;
	uint64_t end;
	uint64_t last_start;    /* of the last entry */
	uint64_t highest_after; /* sequence of a valid entry behind the chain's end, 0 if there is none */
};

static void candidate_release(struct candidate *c)
{
	free(c->data);
	log_state_release(&c->state);
}

/* Is there a newer entry behind a place that can't be read? Then this copy has lost committed entries. */
static uint64_t look_behind(const struct candidate *c, const struct store_keys *keys)
{
	uint64_t highest = 0;
	for (uint64_t at = c->end; at + LOG_PAGE <= c->length; at += LOG_PAGE) {
		struct log_entry_head head;
		if (log_entry_peek(c->data + at, c->length - at, keys, &head, NULL) == ERR_OK &&
		    head.sequence >= c->chain.next_sequence)
			highest = max_u64(highest, head.sequence);
	}
	return highest;
}

/* Goes on with the chain of `c` through the bytes of `from`: itself, or the other copy, which is the same byte for byte
 * where both are whole. */
static enum err_code follow(struct candidate *c, const struct candidate *from, const struct store_keys *keys,
			    struct err *err)
{
	size_t length = c->length < from->length ? c->length : from->length;
	while (c->end < length) {
		size_t n;
		struct err why = {0};
		enum err_code code =
			log_entry_apply(from->data + c->end, length - c->end, keys, &c->chain, &c->state, &n, &why);
		if (code == ERR_NO_MEMORY || code == ERR_UNSUPPORTED)
			return err_set(err, code, 0, "%s", why.msg);
		if (code != ERR_OK)
			break;
		if (from != c)
			memcpy(c->data + c->end, from->data + c->end, n);
		c->found = true;
		c->last_start = c->end;
		c->end += n;
	}
	return ERR_OK;
}

/* Where one copy has a hole the other may go on: takes turns. *ret_joined is set if that gave anything. */
static enum err_code join(struct candidate *best, const struct candidate *other, const struct store_keys *keys,
			  bool *ret_joined, struct err *err)
{
	uint64_t before;
	do {
		before = best->end;
		TRY(follow(best, other, keys, err));
		*ret_joined |= best->end > before;
		TRY(follow(best, best, keys, err));
	} while (best->end > before);
	return ERR_OK;
}

static enum err_code read_candidate(struct commit_log *log, unsigned which, struct candidate *c, struct err *err)
{
	struct log_file *f = &log->files[which];
	unsigned flags = IO_READ | (log->writable ? IO_WRITE | IO_DIRECT : 0);
	struct err why = {0};
	enum err_code code = io_open(log->io, file_names[which], flags, &f->file, &why);
	if (code == ERR_NOT_FOUND)
		return ERR_OK;
	if (code != ERR_OK) {
		if (err)
			*err = why;
		return code;
	}
	TRY(io_file_size(f->file, &f->size, err));
	f->size = round_down(min_u64(f->size, LOG_FILE_MAX), LOG_PAGE);
	c->data = aligned_alloc(LOG_PAGE, f->size ? f->size : LOG_PAGE);
	if (!c->data)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the commit log");
	if (io_read(f->file, 0, c->data, f->size, &c->length, &why) != ERR_OK)
		return ERR_OK; /* an unreadable copy is a damaged copy */
	TRY(follow(c, c, log->keys, err));
	c->highest_after = look_behind(c, log->keys);
	return ERR_OK;
}

/* Writes the chain of `good` over the other file, byte by byte the same, and zeroes behind it. */
static enum err_code heal(struct commit_log *log, unsigned which, const struct candidate *good, struct err *err)
{
	struct log_file *f = &log->files[which];
	if (!f->file)
		TRY(io_open(log->io, file_names[which], IO_READ | IO_WRITE | IO_CREATE | IO_DIRECT, &f->file, err));
	AUTO_FREE uint8_t *copy = aligned_alloc(LOG_PAGE, good->length);
	if (!copy)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the commit log");
	memcpy(copy, good->data, good->end);
	memset(copy + good->end, 0, good->length - good->end);
	TRY(io_write(f->file, 0, copy, good->length, err));
	TRY(io_sync(f->file, err));
	f->size = good->length;
	f->end = good->end;
	return ERR_OK;
}

static enum err_code keep_last_entry(struct commit_log *log, const uint8_t *data, size_t length, struct err *err)
{
	uint8_t *copy = malloc(length);
	if (!copy)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a log entry");
	memcpy(copy, data, length);
	free(log->last_entry);
	log->last_entry = copy;
	log->last_entry_length = length;
	return ERR_OK;
}

/* Puts into words what is wrong with the copies, if anything is: `best` is used, what follows its entries up to
 * `highest` is lost. */
static void tell_of_damage(const struct commit_log *log, const struct candidate c[2], unsigned best, bool joined,
			   uint64_t highest, char ret_notice[static 512])
{
	const char *whole = file_names[best];
	const char *damaged = file_names[1 - best];
	uint64_t next = c[best].chain.next_sequence;
	if (highest >= next)
		snprintf(ret_notice, 512,
			 "both copies of the commit log are damaged: entries %" PRIu64 " to %" PRIu64
			 " are lost, and the store is shown as it was before them",
			 next, highest);
	else if (joined)
		snprintf(ret_notice, 512, "'%s' is damaged, '%s' is not complete, together they are whole%s", damaged,
			 whole, log->writable ? "; both were written again" : "");
	else if (!c[1 - best].found || c[1 - best].highest_after)
		snprintf(ret_notice, 512, "'%s' is damaged; '%s' is whole and was used%s", damaged, whole,
			 log->writable ? ", the damaged copy was written again" : "");
}

/* Takes the better of the two chains; brings the other file up to date. */
static enum err_code choose(struct commit_log *log, struct candidate c[2], char ret_notice[static 512], struct err *err)
{
	if (!c[0].found && !c[1].found)
		return err_set(err, ERR_CORRUPT, 0, "neither 'log-a' nor 'log-b' holds a whole commit log");
	unsigned best = !c[0].found || (c[1].found && c[1].chain.next_sequence > c[0].chain.next_sequence);
	unsigned other = 1 - best;
	bool joined = false;
	TRY(join(&c[best], &c[other], log->keys, &joined, err));
	uint64_t next = c[best].chain.next_sequence;
	uint64_t highest = max_u64(c[0].highest_after, c[1].highest_after);
	if (highest >= next && log->writable)
		return err_set(err, ERR_CORRUPT, 0,
			       "both copies of the commit log are damaged: entries %" PRIu64 " to %" PRIu64 " are lost",
			       next, highest);
	tell_of_damage(log, c, best, joined, highest, ret_notice);
	log->files[best].end = c[best].end;
	log->files[other].end = c[other].end;
	if (log->writable) {
		/* An entry that a crash left unsynced but whole counts from now on: it must not vanish later. */
		TRY(io_sync(log->files[best].file, err));
		if (!c[other].found || c[other].chain.next_sequence < next || c[other].end != c[best].end ||
		    memcmp(c[other].chain.previous_mac, c[best].chain.previous_mac, 32) != 0)
			TRY(heal(log, other, &c[best], err));
		if (joined) /* the other one is whole now */
			TRY(heal(log, best, &c[best], err));
		/* Their names too: an opening that was killed may have made one again. */
		TRY(io_sync_dir(log->io, "", err));
	}
	TRY(keep_last_entry(log, c[best].data + c[best].last_start, c[best].end - c[best].last_start, err));
	log->state = c[best].state;
	c[best].state = (struct log_state){0};
	log->chain = c[best].chain;
	return ERR_OK;
}

static enum err_code open_once(struct io *io, const struct store_keys *keys, bool writable, struct commit_log **ret,
			       char ret_notice[static 512], struct err *err)
{
	AUTO(cleanup_commit_log) struct commit_log *log = calloc(1, sizeof(*log));
	if (!log)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the commit log");
	log->io = io;
	log->keys = keys;
	log->writable = writable;
	ret_notice[0] = '\0';
	struct candidate c[2] = {{0}, {0}};
	enum err_code code = read_candidate(log, 0, &c[0], err);
	if (code == ERR_OK)
		code = read_candidate(log, 1, &c[1], err);
	if (code == ERR_OK)
		code = choose(log, c, ret_notice, err);
	candidate_release(&c[0]);
	candidate_release(&c[1]);
	if (code == ERR_OK)
		*ret = TAKE_PTR(log);
	return code;
}

enum err_code commit_log_open(struct io *io, const struct store_keys *keys, bool writable, struct commit_log **ret,
			      char ret_notice[static 512], struct err *err)
{
	/* A reader may meet a writer in the middle of an entry and take what it sees for damage: it looks again. */
	for (unsigned attempts = writable ? 1 : READ_ATTEMPTS;; attempts--) {
		struct err why = {0};
		enum err_code code = open_once(io, keys, writable, ret, ret_notice, &why);
		bool is_damaged = code == ERR_CORRUPT || (code == ERR_OK && *ret_notice);
		if (attempts == 1 || !is_damaged)
			return code == ERR_OK ? code : err_set(err, code, 0, "%s", why.msg);
		if (code == ERR_OK)
			commit_log_close(TAKE_PTR(*ret));
	}
}

void commit_log_close(struct commit_log *log)
{
	if (!log)
		return;
	io_file_close(log->files[0].file);
	io_file_close(log->files[1].file);
	log_state_release(&log->state);
	free(log->last_entry);
	free(log);
}

const struct log_state *commit_log_state(const struct commit_log *log)
{
	return &log->state;
}

const struct segment_info *commit_log_segment(const struct commit_log *log, uint64_t number)
{
	size_t low = 0;
	size_t high = log->state.segment_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (log->state.segments[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	bool found = low < log->state.segment_count && log->state.segments[low].number == number;
	return found ? &log->state.segments[low] : NULL;
}

const uint8_t *commit_log_last_entry(const struct commit_log *log, size_t *ret_length)
{
	*ret_length = log->last_entry_length;
	return log->last_entry;
}

/* ---- Writing ---- */

static enum err_code write_log_file(struct io *io, const char *name, const uint8_t *entry, size_t length, uint64_t size,
				    struct io_file **ret, struct err *err)
{
	struct io_file *file;
	struct err why = {0};
	enum err_code code = io_open(io, name, IO_READ | IO_WRITE | IO_CREATE | IO_DIRECT, &file, &why);
	if (code == ERR_EXISTS) /* an init that did not get to its end left it */
		TRY(io_open(io, name, IO_READ | IO_WRITE | IO_DIRECT, &file, err));
	else if (code != ERR_OK)
		return err_set(err, code, 0, "%s", why.msg);
	*ret = file;
	/* Zeroes in advance: later entries overwrite allocated blocks then, which syncs twice as fast as a file that
	 * grows. */
	AUTO_FREE uint8_t *page = aligned_alloc(LOG_PAGE, size);
	if (!page)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the commit log");
	memset(page, 0, size);
	memcpy(page, entry, length);
	TRY(io_write(file, 0, page, size, err));
	return io_sync(file, err);
}

enum err_code commit_log_create(struct io *io, const struct store_keys *keys, uint64_t file_size, struct err *err)
{
	struct log_entry_content content = {
		.checkpoint = true,
		.sequence = 1,
		.time_unix_s = clock_unix_s(),
		.next_segment = 1,
	};
	AUTO_FREE uint8_t *entry = NULL;
	size_t length;
	uint8_t mac[32];
	TRY(log_entry_encode(&content, keys, &entry, &length, mac, err));
	for (unsigned i = 0; i < 2; i++) {
		struct io_file *file = NULL;
		enum err_code code = write_log_file(io, file_names[i], entry, length, file_size, &file, err);
		io_file_close(file);
		TRY(code);
	}
	return ERR_OK;
}

static enum err_code put_entry(struct log_file *f, const uint8_t *entry, size_t length, struct err *err)
{
	TRY(io_write(f->file, f->end, entry, length, err));
	TRY(io_sync(f->file, err));
	f->end += length;
	return ERR_OK;
}

/* Starts a file over with a checkpoint and zeroes behind it. Grown to four times the checkpoint, so that starting over
 * costs a quarter of what is appended in between at most. */
static enum err_code start_over(struct log_file *f, const uint8_t *checkpoint, size_t length, struct err *err)
{
	if (length > LOG_FILE_MAX)
		return err_set(err, ERR_LIMIT, 0, "the commit log has outgrown %" PRIu64 " MiB", LOG_FILE_MAX >> 20);
	uint64_t size = max_u64(f->size, min_u64(round_up(4 * (uint64_t)length, LOG_PAGE), LOG_FILE_MAX));
	AUTO_FREE uint8_t *data = aligned_alloc(LOG_PAGE, size);
	if (!data)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the commit log");
	memset(data, 0, size);
	memcpy(data, checkpoint, length);
	TRY(io_write(f->file, 0, data, size, err));
	TRY(io_sync(f->file, err));
	f->size = size;
	f->end = length;
	return ERR_OK;
}

/* The state with a change applied, as the content of the checkpoint that carries it. */
static enum err_code write_checkpoint(struct commit_log *log, uint64_t time, uint8_t ret_mac[static 32],
				      struct err *err)
{
	struct log_entry_content content = {
		.checkpoint = true,
		.sequence = log->chain.next_sequence,
		.time_unix_s = time,
		.next_segment = log->state.next_segment,
		.segments = log->state.segments,
		.segment_count = log->state.segment_count,
		.savesets = log->state.savesets,
		.saveset_count = log->state.saveset_count,
	};
	memcpy(content.previous_mac, log->chain.previous_mac, 32);
	AUTO_FREE uint8_t *entry = NULL;
	size_t length;
	TRY(log_entry_encode(&content, log->keys, &entry, &length, ret_mac, err));
	TRY(start_over(&log->files[1], entry, length, err));
	return start_over(&log->files[0], entry, length, err);
}

/* Adds the change to the state in memory. */
static enum err_code apply_change(struct log_state *state, const struct log_change *change, struct err *err)
{
	for (size_t i = 0; i < change->segments_added_count; i++) {
		const struct segment_info *info = &change->segments_added[i];
		TRY(log_state_add_segment(state, info, err));
		state->next_segment = max_u64(state->next_segment, info->number + 1);
	}
	if (change->saveset_added)
		TRY(log_state_add_saveset(state, change->saveset_added, err));
	return ERR_OK;
}

static enum err_code append(struct commit_log *log, const struct log_change *change, struct err *err)
{
	uint64_t time = max_u64(clock_unix_s(), log->state.time_unix_s);
	TRY(apply_change(&log->state, change, err));
	struct log_entry_content content = {
		.sequence = log->chain.next_sequence,
		.time_unix_s = time,
		.next_segment = log->state.next_segment,
		.segments = change->segments_added,
		.segment_count = change->segments_added_count,
		.savesets = change->saveset_added,
		.saveset_count = change->saveset_added ? 1 : 0,
	};
	memcpy(content.previous_mac, log->chain.previous_mac, 32);
	AUTO_FREE uint8_t *entry = NULL;
	size_t length;
	uint8_t mac[32];
	TRY(log_entry_encode(&content, log->keys, &entry, &length, mac, err));
	TRY(keep_last_entry(log, entry, length, err));
	if (length <= log->files[0].size - log->files[0].end && length <= log->files[1].size - log->files[1].end) {
		TRY(put_entry(&log->files[0], entry, length, err));
		TRY(put_entry(&log->files[1], entry, length, err));
	} else {
		TRY(write_checkpoint(log, time, mac, err));
	}
	log->state.sequence = log->chain.next_sequence++;
	log->state.time_unix_s = time;
	memcpy(log->chain.previous_mac, mac, 32);
	return ERR_OK;
}

enum err_code commit_log_append(struct commit_log *log, const struct log_change *change, struct err *err)
{
	if (!log->writable)
		return err_set(err, ERR_BUG, 0, "the commit log is open for reading only");
	if (log->broken.code)
		return err_set(err, log->broken.code, 0, "the commit log failed before (%s); open the store again",
			       log->broken.msg);
	enum err_code code = append(log, change, &log->broken);
	if (code != ERR_OK && err && !err->code)
		*err = log->broken;
	return code;
}
