/* SPDX-License-Identifier: Apache-2.0 */
/* One run of one scenario in a process of its own, so that its CPU time and peak memory are its own too. The benchmark
 * starts itself again, hands the job over on standard input and takes the result from standard output; both are plain
 * structs, since both ends are the same program.
 *
 * Threads: none. */
#ifndef BENCH_SCENARIO_JOB_H
#define BENCH_SCENARIO_JOB_H

#include "base/err.h"
#include "pipeline/stage_times.h"
#include "store/segment.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum job_kind {
	JOB_INIT,    /* makes a store */
	JOB_BACKUP,  /* disk `source` as VM `vm` */
	JOB_RESTORE, /* the newest saveset of `vm` to the file `target` */
	JOB_VERIFY,
	JOB_SCRUB,
};

struct scenario_job {
	enum job_kind kind;
	char store[PATH_MAX];
	char source[PATH_MAX];
	char target[PATH_MAX];
	char vm[64];
	unsigned lanes;
	struct compression compression;
	enum verify_new verify_new;
	uint8_t key[32]; /* opens the store as a key file: no time goes into stretching a passphrase */
};

struct scenario_result {
	struct err err; /* set if the job failed; the rest is then meaningless */
	double wall_s;
	double user_s;
	double system_s;
	uint64_t peak_memory;  /* most resident bytes of the process */
	uint64_t start_memory; /* resident when the store was open and the job began */
	uint64_t index_memory; /* of the chunk index, at the end */
	uint64_t index_chunks;
	uint64_t virtual_bytes; /* size of the disk */
	uint64_t plain_bytes;   /* verify: hashed; restore: blocks that are not zero */
	struct stage_times times;
};

/* The argument that makes the program a job. */
#define JOB_ARGUMENT "--run-job"

/* The body of such a process: does the job on standard input. Returns the exit status. */
int scenario_job_main(void);

/* Runs a job in a fresh process and waits for it. Its failure is returned as an error. */
MUST_CHECK enum err_code scenario_job_run(const struct scenario_job *job, struct scenario_result *ret, struct err *err);

#endif
