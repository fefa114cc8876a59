/* SPDX-License-Identifier: Apache-2.0 */
/* What scrub and verify share: lanes, the report, findings told from one thread at a time. Private to pipeline/. */
#ifndef PIPELINE_CHECK_INTERNAL_H
#define PIPELINE_CHECK_INTERNAL_H

#include "pipeline/verify.h"

#include <pthread.h>
#include <stdatomic.h>

struct check_job {
	const struct check_request *request;
	pthread_mutex_t mutex; /* guards findings and err */
	struct err err;
	atomic_bool stop;           /* relaxed */
	struct check_report report; /* numbers are added with check_add while lanes run */
	bool found;                 /* any finding */
};

void check_init(struct check_job *job, const struct check_request *request, const char *phase);
unsigned check_lane_count(const struct check_request *request);
bool check_stopped(struct check_job *job);
void check_fail(struct check_job *job, const struct err *err);
/* Tells of damage to the commit log, which no segment shows. */
void check_log(struct check_job *job, const struct store *store);
void check_report_finding(struct check_job *job, const struct finding *finding);

static inline void check_add(uint64_t *number, uint64_t n)
{
	__atomic_fetch_add(number, n, __ATOMIC_RELAXED);
}

/* Runs `main_fn` in `count` threads over an array of lanes and waits for them. */
void check_run_lanes(struct check_job *job, void *(*main_fn)(void *), void *lanes, size_t lane_size, unsigned count);

/* The outcome: the first error of a lane, ERR_CANCELLED, or ERR_CORRUPT if there were findings. */
enum err_code check_finish(struct check_job *job, struct check_report *ret, struct err *err);

#endif
