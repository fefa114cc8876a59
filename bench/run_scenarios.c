/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM (PATH_MAX + 300)

static const char vm_first[] = "vm";
static const char vm_second[] = "second vm";

/* What the scenarios of one store share. */
struct round {
	struct bench *bench;
	size_t lane_index;
	size_t repetition;
	struct scenario_job job; /* filled in for the store; each scenario adds its own */
	const char *newest;      /* disk of the newest saveset of the first VM */
};

/* ---- The disk probe beside a scenario ---- */

struct file_list {
	char **paths;
	size_t count;
};

static void file_list_release(struct file_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->paths[i]);
	free(list->paths);
}

/* The data segments of the round's store. */
static enum err_code list_segments(const struct round *round, struct file_list *ret, struct err *err)
{
	char path[PATH_ROOM];
	for (uint64_t number = 0, missing = 0; missing < 64; number++) {
		char name[SEGMENT_PATH_SIZE];
		segment_path(SEGMENT_DATA, number, name);
		snprintf(path, sizeof(path), "%s/%s", round->job.store, name);
		if (access(path, R_OK) != 0) {
			missing++;
			continue;
		}
		missing = 0;
		char **grown = reallocarray(ret->paths, ret->count + 1, sizeof(*grown));
		if (grown)
			ret->paths = grown;
		if (!grown || !(grown[ret->count] = strdup(path)))
			return err_set(err, ERR_NO_MEMORY, 0, "no memory for a list of segments");
		ret->count++;
	}
	return ERR_OK;
}

/* Lets the disk do what the scenario had it do, and scales the time to the scenario's bytes. */
static enum err_code probe_like(const struct round *round, enum scenario scenario, struct scenario_run *run,
				struct err *err)
{
	const struct bench_options *options = &round->bench->options;
	bool from_store = scenario >= SCENARIO_RESTORE;
	enum bench_disk disk = scenario_disk(scenario);
	uint64_t read = from_store ? run->result.times.read_bytes : round->bench->surveys[disk].read;
	if (scenario == SCENARIO_SCRUB)
		read = run->result.virtual_bytes;
	uint64_t write = scenario == SCENARIO_RESTORE ? run->result.plain_bytes
			 : from_store                 ? 0
						      : run->result.times.file_bytes;
	double part = (double)options->probe_bytes / (double)(read + write);
	if (part > 1)
		part = 1;
	struct file_list segments = {0};
	enum err_code code = from_store ? list_segments(round, &segments, err) : ERR_OK;
	const char *source = options->disks[disk];
	struct disk_probe probe = {
		.read_files = from_store ? (const char *const *)segments.paths : &source,
		.read_file_count = from_store ? segments.count : 1,
		.write_directory = options->work,
		.read_bytes = (uint64_t)((double)read * part),
		.write_bytes = (uint64_t)((double)write * part),
		.lanes = options->lanes[round->lane_index],
	};
	if (code == ERR_OK)
		code = disk_probe_run(&probe, &run->probe, err);
	if (code == ERR_OK) {
		double probed = (double)(run->probe.read_bytes + run->probe.write_bytes);
		run->disk_s = run->probe.wall_s * (double)(read + write) / probed;
	}
	file_list_release(&segments);
	return code;
}

/* ---- Scenarios ---- */

/* "DIRECTORY/NAME" */
static enum err_code set_path(char dst[static PATH_MAX], const char *directory, const char *name, struct err *err)
{
	if (snprintf(dst, PATH_MAX, "%s/%s", directory, name) >= PATH_MAX)
		return err_set(err, ERR_LIMIT, 0, "the path '%s' is too long", directory);
	return ERR_OK;
}

/* Completes the round's job for a scenario; false if it is not to run. */
static bool prepare(struct round *round, enum scenario scenario, struct scenario_job *job)
{
	const struct bench_options *options = &round->bench->options;
	static const enum job_kind kinds[SCENARIO_COUNT] = {
		[SCENARIO_FIRST] = JOB_BACKUP,     [SCENARIO_UNCHANGED] = JOB_BACKUP, [SCENARIO_CHANGED] = JOB_BACKUP,
		[SCENARIO_SECOND_VM] = JOB_BACKUP, [SCENARIO_RESTORE] = JOB_RESTORE,  [SCENARIO_VERIFY] = JOB_VERIFY,
		[SCENARIO_SCRUB] = JOB_SCRUB,
	};
	enum bench_disk disk = scenario_disk(scenario);
	if (!options->scenarios[scenario] || !options->disks[disk][0])
		return false;
	*job = round->job;
	job->kind = kinds[scenario];
	memcpy(job->source, options->disks[disk], sizeof(job->source));
	snprintf(job->vm, sizeof(job->vm), "%s", scenario == SCENARIO_SECOND_VM ? vm_second : vm_first);
	if (job->kind == JOB_BACKUP && disk != DISK_SECOND_VM)
		round->newest = options->disks[disk];
	return true;
}

static enum err_code compare_restored(struct round *round, const char *target, struct err *err)
{
	bool equal;
	TRY(files_are_equal(target, round->newest, &equal, err));
	if (!equal)
		return err_set(err, ERR_CORRUPT, 0, "restored '%s' differs from '%s'", target, round->newest);
	round->bench->restore_compared = true;
	return ERR_OK;
}

static enum err_code run_scenario(struct round *round, enum scenario scenario, struct err *err)
{
	struct scenario_job job;
	if (!prepare(round, scenario, &job))
		return ERR_OK;
	struct scenario_runs *runs = &round->bench->runs[scenario][round->lane_index];
	struct scenario_run *run = &runs->runs[runs->count];
	fprintf(stderr, "%s, %u lanes: ", scenario_title(scenario), job.lanes);
	unlink(job.target);
	TRY(scenario_job_run(&job, &run->result, err));
	fprintf(stderr, "%.2f s, %.2f s CPU\n", run->result.wall_s, run->result.user_s + run->result.system_s);
	if (scenario == SCENARIO_RESTORE && round->repetition == 0)
		TRY(compare_restored(round, job.target, err));
	unlink(job.target);
	TRY(probe_like(round, scenario, run, err));
	runs->count++;
	return ERR_OK;
}

enum err_code bench_run_scenarios(struct bench *bench, size_t lane_index, size_t repetition, struct err *err)
{
	const struct bench_options *options = &bench->options;
	struct round round = {.bench = bench, .lane_index = lane_index, .repetition = repetition};
	round.job.kind = JOB_INIT;
	round.job.lanes = options->lanes[lane_index];
	round.job.compression = options->compression;
	round.job.verify_new = options->verify_new;
	round.newest = options->disks[DISK_FIRST];
	randombytes_buf(round.job.key, sizeof(round.job.key));
	TRY(set_path(round.job.store, options->work, "store", err));
	TRY(set_path(round.job.target, options->work, "restored.img", err));
	remove_tree(round.job.store);
	struct scenario_result ignored;
	enum err_code code = scenario_job_run(&round.job, &ignored, err);
	for (unsigned scenario = 0; code == ERR_OK && scenario < SCENARIO_COUNT; scenario++)
		code = run_scenario(&round, (enum scenario)scenario, err);
	unlink(round.job.target);
	if (!options->keep)
		remove_tree(round.job.store);
	return code;
}
