/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith verify: opens, decompresses and hashes again what savesets need. */
#include <stdint.h>
#include <stdlib.h>

#include "appliance/find_saveset.h"
#include "appliance/findings.h"
#include "appliance/job.h"
#include "appliance/open_store.h"
#include "appliance/verb.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "pipeline/backup.h"

struct verify_options {
	uint64_t lanes;
};

static const struct option_row rows[] = {
	{0, "lanes", OPTION_NUMBER, offsetof(struct verify_options, lanes), "N",
	 "worker threads (default: one per CPU)", 1, LANES_MAX},
	OPTIONS_END,
};

/* Finds the savesets that the arguments name. Gives *ret (free), NULL without arguments: everything. */
static enum err_code choose(const struct invocation *invocation, struct store *store, struct log_saveset **ret,
			    struct err *err)
{
	if (!invocation->arg_count)
		return ERR_OK;
	AUTO(saveset_list_release) struct saveset_list list = {0};
	AUTO_FREE struct log_saveset *chosen = calloc(invocation->arg_count, sizeof(*chosen));
	if (!chosen)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory");
	TRY(saveset_list_load(store, &list, err));
	for (size_t i = 0; i < invocation->arg_count; i++) {
		const struct saveset_row *row = NULL;
		TRY(saveset_find(&list, invocation->args[i], &row, err));
		chosen[i] = *row->entry;
	}
	*ret = TAKE_PTR(chosen);
	return ERR_OK;
}

static enum err_code verify(const struct invocation *invocation, struct err *err)
{
	const struct verify_options *options = invocation->options;
	AUTO_OPEN_STORE store = {0};
	AUTO_JOB job = {0};
	AUTO_FREE struct log_saveset *savesets = NULL;
	TRY(open_store(invocation, STORE_READ, &store, err));
	TRY(choose(invocation, store.store, &savesets, err));
	TRY(job_begin(invocation, &job, err, "verify"));
	const struct check_request request = {
		.lanes = (unsigned)options->lanes,
		.savesets = savesets,
		.saveset_count = invocation->arg_count,
		.found = findings_tell,
		.user = invocation->output,
		.progress = &job.progress,
	};
	struct check_report report = {0};
	struct stage_times times = {0};
	uint64_t start_ns = clock_mono_ns();
	enum err_code code = verify_run(store.store, &request, &report, &times, err);
	job_end(&job);
	if (code == ERR_OK || code == ERR_CORRUPT)
		findings_summary(invocation->output, "verify", &report, (double)(clock_mono_ns() - start_ns) / 1e9);
	return code;
}

static enum exit_code run(const struct invocation *invocation)
{
	struct err err = {0};
	if (verify(invocation, &err) != ERR_OK)
		return invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
	return invocation_done(invocation);
}

const struct verb verb_verify = {
	.name = "verify",
	.arguments = "[SAVESET...]",
	.summary = "decrypt and check what savesets need",
	.description = "Reads, decrypts and decompresses every block that the given savesets (all, if none is given)\n"
		       "need, computes its identity again, and tells which disks and blocks any damage costs.",
	.shared = SHARED_OPEN,
	.args_max = SIZE_MAX,
	.options = rows,
	.options_size = sizeof(struct verify_options),
	.run = run,
};
