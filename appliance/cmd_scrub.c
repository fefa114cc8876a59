/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith scrub: reads the whole store at disk speed and checks its checksums. */
#include "appliance/findings.h"
#include "appliance/job.h"
#include "appliance/open_store.h"
#include "appliance/verb.h"
#include "base/clock.h"
#include "pipeline/backup.h"

struct scrub_options {
	uint64_t lanes;
};

static const struct option_row rows[] = {
	{0, "lanes", OPTION_NUMBER, offsetof(struct scrub_options, lanes), "N", "worker threads (default: one per CPU)",
	 1, LANES_MAX},
	OPTIONS_END,
};

static enum exit_code run(const struct invocation *invocation)
{
	const struct scrub_options *options = invocation->options;
	struct err err = {0};
	AUTO_OPEN_STORE store = {0};
	AUTO_JOB job = {0};
	if (open_store(invocation, STORE_READ, &store, &err) != ERR_OK ||
	    job_begin(invocation, &job, &err, "scrub") != ERR_OK)
		return invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
	const struct check_request request = {
		.lanes = (unsigned)options->lanes,
		.found = findings_tell,
		.user = invocation->output,
		.progress = &job.progress,
	};
	struct check_report report = {0};
	struct stage_times times = {0};
	uint64_t start_ns = clock_mono_ns();
	enum err_code code = scrub_run(store.store, &request, &report, &times, &err);
	job_end(&job);
	if (code == ERR_OK || (code == ERR_CORRUPT && report.segments))
		findings_summary(invocation->output, "scrub", &report, (double)(clock_mono_ns() - start_ns) / 1e9);
	return code == ERR_OK ? invocation_done(invocation) : invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
}

const struct verb verb_scrub = {
	.name = "scrub",
	.arguments = "",
	.summary = "read the whole store and check its checksums",
	.description =
		"Reads every segment of the store at disk speed and checks it against the checksums in it.\n"
		"Nothing is decrypted; a sealed store needs no recovery key for it. 'xenolith verify' looks deeper.",
	.shared = SHARED_OPEN,
	.options = rows,
	.options_size = sizeof(struct scrub_options),
	.run = run,
};
