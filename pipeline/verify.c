/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/verify_internal.h"

#include "base/cleanup.h"

#include <stdlib.h>

static enum err_code run_job(struct verify_job *job, struct stage_times *times, struct err *err)
{
	const struct check_request *request = job->check.request;
	const struct log_state *state = store_state(job->store);
	TRY(record_marks_init(&job->wanted, state, err));
	TRY(record_marks_init(&job->bad, state, err));
	TRY(request->savesets ? verify_collect(job, err) : verify_collect_all(job, err));
	unsigned count = check_lane_count(request);
	AUTO_FREE struct verify_lane *lanes = calloc(count, sizeof(*lanes));
	if (!lanes)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for lanes");
	for (unsigned i = 0; i < count; i++)
		lanes[i].job = job;
	check_run_lanes(&job->check, verify_lane_main, lanes, sizeof(*lanes), count);
	for (unsigned i = 0; i < count; i++)
		stage_times_add(times, &lanes[i].times);
	job->check.report.bytes_read = times->read_bytes;
	job->check.report.plain_bytes = times->data_bytes;
	if (job->check.err.code || check_stopped(&job->check))
		return ERR_OK;
	/* Every map must be readable and every record that it names must be there, also when all that is there is
	 * whole. */
	return verify_explain(job, err);
}

enum err_code verify_run(struct store *store, const struct check_request *request, struct check_report *ret,
			 struct stage_times *ret_times, struct err *err)
{
	const struct log_state *state = store_state(store);
	struct verify_job job = {
		.store = store,
		.nodes = store_nodes(store),
		.savesets = request->savesets ? request->savesets : state->savesets,
		.saveset_count = request->savesets ? request->saveset_count : state->saveset_count,
	};
	check_init(&job.check, request, "verify");
	if (store_config(store)->sealed && !store_keys_of(store)->has_recovery_secret)
		return err_set(err, ERR_AUTH, 0,
			       "a sealed store can be verified with the recovery key only; scrub needs no key");
	check_log(&job.check, store);
	struct stage_times times = {0};
	struct err why = {0};
	if (run_job(&job, &times, &why) != ERR_OK)
		check_fail(&job.check, &why);
	record_marks_release(&job.wanted);
	record_marks_release(&job.bad);
	if (ret_times)
		*ret_times = times;
	return check_finish(&job.check, ret, err);
}
