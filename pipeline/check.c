/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/check_internal.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "pipeline/backup.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_init(struct check_job *job, const struct check_request *request, const char *phase)
{
	job->request = request;
	pthread_mutex_init(&job->mutex, NULL);
	if (request->progress)
		atomic_store(&request->progress->phase, phase);
}

unsigned check_lane_count(const struct check_request *request)
{
	long cpus = request->lanes ? (long)request->lanes : sysconf(_SC_NPROCESSORS_ONLN);
	return (unsigned)min_u64(cpus < 1 ? 1 : (uint64_t)cpus, LANES_MAX);
}

bool check_stopped(struct check_job *job)
{
	return atomic_load_explicit(&job->stop, memory_order_relaxed) || progress_is_cancelled(job->request->progress);
}

void check_fail(struct check_job *job, const struct err *err)
{
	LOCK_SCOPE(&job->mutex);
	if (!job->err.code)
		job->err = *err;
	atomic_store_explicit(&job->stop, true, memory_order_relaxed);
}

void check_report_finding(struct check_job *job, const struct finding *finding)
{
	LOCK_SCOPE(&job->mutex);
	job->found = true;
	if (job->request->found)
		job->request->found(job->request->user, finding);
}

void check_log(struct check_job *job, const struct store *store)
{
	const char *damage = store_log_damage(store);
	if (!damage)
		return;
	struct finding f = {.kind = FINDING_LOG};
	snprintf(f.text, sizeof(f.text), "%.255s", damage);
	check_report_finding(job, &f);
}

void check_run_lanes(struct check_job *job, void *(*main_fn)(void *), void *lanes, size_t lane_size, unsigned count)
{
	AUTO_FREE pthread_t *threads = calloc(count, sizeof(*threads));
	unsigned started = 0;
	for (; threads && started < count; started++) {
		int failed = pthread_create(&threads[started], NULL, main_fn, (uint8_t *)lanes + started * lane_size);
		if (failed)
			break;
	}
	if (started == 0) {
		struct err err = {0};
		err_set(&err, ERR_NO_MEMORY, 0, "cannot start a lane");
		check_fail(job, &err);
	}
	/* With fewer lanes than asked the rest does all the work. */
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
}

enum err_code check_finish(struct check_job *job, struct check_report *ret, struct err *err)
{
	*ret = job->report;
	enum err_code code = job->err.code;
	if (code != ERR_OK && err && !err->code)
		*err = job->err;
	if (code == ERR_OK && progress_is_cancelled(job->request->progress))
		code = err_set(err, ERR_CANCELLED, 0, "the check was stopped");
	if (code == ERR_OK && job->found)
		code = err_set(err, ERR_CORRUPT, 0, "damage was found in the store");
	pthread_mutex_destroy(&job->mutex);
	return code;
}
