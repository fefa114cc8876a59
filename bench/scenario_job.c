/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/scenario_job.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "ingest/open.h"
#include "pipeline/backup.h"
#include "pipeline/restore.h"
#include "pipeline/verify.h"
#include "store/io_uring.h"
#include "store/store.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* ---- What the process uses ---- */

struct usage {
	uint64_t wall_ns;
	struct rusage cpu;
};

static struct usage usage_now(void)
{
	struct usage now = {.wall_ns = clock_mono_ns()};
	getrusage(RUSAGE_SELF, &now.cpu);
	return now;
}

static double seconds_of(struct timeval from, struct timeval to)
{
	return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_usec - from.tv_usec) / 1e6;
}

static void usage_since(const struct usage *start, struct scenario_result *ret)
{
	struct usage now = usage_now();
	ret->wall_s = (double)(now.wall_ns - start->wall_ns) / 1e9;
	ret->user_s = seconds_of(start->cpu.ru_utime, now.cpu.ru_utime);
	ret->system_s = seconds_of(start->cpu.ru_stime, now.cpu.ru_stime);
}

/* A line of /proc/self/status in bytes. getrusage would not do: its maximum survives the exec that made this process.
 */
static uint64_t memory_status(const char *name)
{
	AUTO_FCLOSE FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	size_t length = strlen(name);
	uint64_t kib = 0;
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, length) != 0 || line[length] != ':')
			continue;
		const char *digits = line + length + 1;
		for (digits += strspn(digits, " \t"); *digits >= '0' && *digits <= '9'; digits++)
			kib = kib * 10 + (uint64_t)(*digits - '0');
		break;
	}
	return kib * 1024;
}

/* ---- The jobs ---- */

static enum err_code init_store(const struct scenario_job *job, struct io *io, struct err *err)
{
	struct store_init_options options = {
		.slot_kind = KEY_SLOT_KEY_FILE,
		.secret = job->key,
		.secret_length = sizeof(job->key),
		.slot_name = "benchmark",
	};
	uint8_t recovery[KEY_SIZE];
	struct store_config config;
	enum err_code code = store_init(io, &options, recovery, &config, err);
	sodium_memzero(recovery, sizeof(recovery));
	return code;
}

static enum err_code back_up(const struct scenario_job *job, struct store *store, struct scenario_result *ret,
			     struct err *err)
{
	struct source_set set;
	struct saveset *saveset = NULL;
	TRY(source_open(job->source, "raw", &set, err));
	/* The same disk whatever file stands for it today. */
	snprintf(set.sources[0]->name, sizeof(set.sources[0]->name), "disk");
	struct backup_request request = {
		.sources = set.sources,
		.source_count = set.count,
		.lanes = job->lanes,
		.compression = job->compression,
		.verify_new = job->verify_new,
	};
	ret->virtual_bytes = set.sources[0]->size_bytes;
	enum err_code code = saveset_new(job->vm, &saveset, err);
	struct usage start = usage_now();
	if (code == ERR_OK)
		code = backup_run(store, &request, saveset, &ret->times, err);
	usage_since(&start, ret);
	saveset_free(saveset);
	source_set_release(&set);
	return code;
}

/* The newest saveset of the job's VM. */
static enum err_code load_newest(const struct scenario_job *job, struct store *store, struct saveset **ret,
				 struct err *err)
{
	const struct log_state *state = store_state(store);
	for (size_t i = state->saveset_count; i > 0; i--) {
		struct saveset *saveset;
		TRY(store_load_saveset(store, &state->savesets[i - 1], &saveset, err));
		if (strcmp(saveset->vm_name, job->vm) == 0 && saveset->disk_count == 1) {
			*ret = saveset;
			return ERR_OK;
		}
		saveset_free(saveset);
	}
	return err_set(err, ERR_NOT_FOUND, 0, "the store has no saveset of VM '%s'", job->vm);
}

static enum err_code restore(const struct scenario_job *job, struct store *store, struct scenario_result *ret,
			     struct err *err)
{
	struct saveset *saveset = NULL;
	TRY(load_newest(job, store, &saveset, err));
	struct saveset_disk *disk = &saveset->disks[0];
	struct target_options options = {.format = "raw", .overwrite = true};
	struct damage_list damage = {0};
	struct block_target *target = NULL;
	ret->virtual_bytes = disk->bytes.size;
	ret->plain_bytes = disk->bytes.data;
	struct usage start = usage_now();
	enum err_code code = target_open(job->target, &options, disk->name, disk->bytes.size, &target, err);
	struct restore_request request = {
		.map = &disk->map,
		.size_bytes = disk->bytes.size,
		.target = target,
		.lanes = job->lanes,
	};
	if (code == ERR_OK)
		code = restore_run(store, &request, &damage, &ret->times, err);
	usage_since(&start, ret);
	block_target_close(target);
	damage_list_release(&damage);
	saveset_free(saveset);
	return code;
}

static enum err_code check(const struct scenario_job *job, struct store *store, struct scenario_result *ret,
			   struct err *err)
{
	struct check_request request = {.lanes = job->lanes};
	struct check_report report = {0};
	struct usage start = usage_now();
	enum err_code code = job->kind == JOB_SCRUB ? scrub_run(store, &request, &report, &ret->times, err)
						    : verify_run(store, &request, &report, &ret->times, err);
	usage_since(&start, ret);
	ret->plain_bytes = report.plain_bytes;
	ret->virtual_bytes = job->kind == JOB_SCRUB ? report.bytes_read : report.plain_bytes;
	return code;
}

static enum err_code run_on_store(const struct scenario_job *job, struct store *store, struct scenario_result *ret,
				  struct err *err)
{
	ret->start_memory = memory_status("VmRSS");
	switch (job->kind) {
	case JOB_BACKUP:
		return back_up(job, store, ret, err);
	case JOB_RESTORE:
		return restore(job, store, ret, err);
	case JOB_VERIFY:
	case JOB_SCRUB:
		return check(job, store, ret, err);
	case JOB_INIT:
		break;
	}
	return err_set(err, ERR_BUG, 0, "job %d is none that runs on a store", (int)job->kind);
}

static enum err_code run_job(const struct scenario_job *job, struct scenario_result *ret, struct err *err)
{
	struct io *io;
	TRY(io_uring_tree_new(job->store, job->kind == JOB_INIT, &io, err));
	if (job->kind == JOB_INIT) {
		enum err_code code = init_store(job, io, err);
		io_free(io);
		return code;
	}
	struct unlock unlock = {.kind = UNLOCK_KEY_FILE, .bytes = job->key, .length = sizeof(job->key)};
	struct store *store = NULL;
	enum err_code code = store_open(io, job->kind == JOB_BACKUP ? STORE_WRITE : STORE_READ, &unlock, &store, err);
	if (code == ERR_OK)
		code = run_on_store(job, store, ret, err);
	if (code == ERR_OK) {
		struct chunk_index_stats stats;
		store_index_stats(store, &stats);
		ret->index_memory = stats.memory_bytes;
		ret->index_chunks = stats.table_entries > stats.run_entries ? stats.table_entries : stats.run_entries;
		ret->peak_memory = memory_status("VmHWM");
	}
	store_close(store);
	io_free(io);
	return code;
}

int scenario_job_main(void)
{
	static struct scenario_job job;
	static struct scenario_result result;
	if (fread(&job, sizeof(job), 1, stdin) != 1) {
		fputs("xenolith-bench: a job is started by xenolith-bench itself\n", stderr);
		return 2;
	}
	if (sodium_init() < 0)
		(void)err_set(&result.err, ERR_BUG, 0, "libsodium does not start");
	else
		(void)(run_job(&job, &result, &result.err) == ERR_OK);
	return fwrite(&result, sizeof(result), 1, stdout) == 1 && fflush(stdout) == 0 ? 0 : 1;
}
