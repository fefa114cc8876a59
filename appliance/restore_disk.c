/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/restore_disk.h"

#include <inttypes.h>
#include <stdio.h>

#include "appliance/findings.h"
#include "appliance/job.h"
#include "base/clock.h"
#include "base/size.h"
#include "pipeline/restore.h"

static void tell_damage(struct output *output, const char *disk, const struct damage_list *damage)
{
	for (size_t i = 0; i < damage->count; i++) {
		const struct lost_range *range = &damage->ranges[i];
		char where[FINDINGS_RANGE_SIZE];
		char name[256];
		char reason[sizeof(range->reason)];
		findings_range(range->first_block, range->block_count, where);
		output_text(output, "damage: disk '%s': %s lost: %s", output_clean(disk, name, sizeof(name)), where,
			    output_clean(range->reason, reason, sizeof(reason)));
		output_row(output, "damage",
			   json_pack("{s:o, s:I, s:I, s:I, s:I, s:o}", "disk", output_json_text(disk), "first_block",
				     (json_int_t)range->first_block, "block_count", (json_int_t)range->block_count,
				     "offset", (json_int_t)(range->first_block * BLOCK_SIZE), "length",
				     (json_int_t)(range->block_count * BLOCK_SIZE), "message",
				     output_json_text(range->reason)));
	}
	if (damage->truncated)
		output_warning(output, "there is more damage than can be listed");
}

enum err_code restore_disk(const struct invocation *invocation, struct store *store, const char *verb,
			   const struct saveset_disk *disk, struct block_target *target, bool keep_going,
			   unsigned lanes, struct restore_sums *sums, struct err *err)
{
	AUTO(damage_list_release) struct damage_list damage = {0};
	AUTO_JOB job = {0};
	TRY(job_begin(invocation, &job, err, "%s of '%s'", verb, disk->name));
	const struct restore_request request = {
		.map = &disk->map,
		.size_bytes = disk->bytes.size,
		.target = target,
		.lanes = lanes,
		.keep_going = keep_going,
		.progress = &job.progress,
	};
	struct stage_times times = {0};
	if (target->notice_set)
		output_notice(invocation->output, target->notice);
	struct err cause = {0}; /* of this disk; `err` may tell of an earlier one already */
	enum err_code code = restore_run(store, &request, &damage, &times, &cause);
	job_end(&job);
	tell_damage(invocation->output, disk->name, &damage);
	sums->disks++;
	sums->size_bytes += disk->bytes.size;
	sums->data_bytes += atomic_load(&job.progress.done_bytes);
	sums->lost_blocks += damage.lost_blocks;
	return code == ERR_OK ? ERR_OK : err_set(err, code, 0, "disk '%s': %s", disk->name, cause.msg);
}

void restore_summary(const struct invocation *invocation, const char *verb, const struct restore_sums *sums)
{
	double seconds = (double)(clock_mono_ns() - sums->start_ns) / 1e9;
	char size[SIZE_TEXT_SIZE], data[SIZE_TEXT_SIZE], rate[SIZE_TEXT_SIZE], duration[SIZE_TEXT_SIZE];
	output_row(invocation->output, "summary",
		   json_pack("{s:s, s:I, s:I, s:I, s:I, s:f}", "verb", verb, "disks", (json_int_t)sums->disks,
			     "size_bytes", (json_int_t)sums->size_bytes, "data_bytes", (json_int_t)sums->data_bytes,
			     "lost_blocks", (json_int_t)sums->lost_blocks, "seconds", seconds));
	if (invocation->output->quiet)
		return;
	size_format(sums->size_bytes, size);
	size_format(sums->data_bytes, data);
	size_format((uint64_t)((double)sums->data_bytes / (seconds > 0.001 ? seconds : 0.001)), rate);
	output_text(invocation->output, "%s: %" PRIu64 " disk%s of %s, %s of data in %s, %s/s", verb, sums->disks,
		    sums->disks == 1 ? "" : "s", size, data, output_duration(seconds, duration), rate);
	if (sums->lost_blocks)
		output_text(invocation->output, "%" PRIu64 " blocks of 64 KiB are lost and read as zeroes",
			    sums->lost_blocks);
}
