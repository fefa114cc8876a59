/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith rehearse: restores into nothing. */
#include "appliance/find_saveset.h"
#include "appliance/open_store.h"
#include "appliance/restore_disk.h"
#include "appliance/verb.h"
#include "base/clock.h"
#include "pipeline/backup.h"

struct rehearse_options {
	uint64_t lanes;
};

static const struct option_row rows[] = {
	{0, "lanes", OPTION_NUMBER, offsetof(struct rehearse_options, lanes), "N",
	 "worker threads (default: one per CPU)", 1, LANES_MAX},
	OPTIONS_END,
};

static enum err_code rehearse_disk(const struct invocation *invocation, struct store *store,
				   const struct saveset_disk *disk, struct restore_sums *sums, struct err *err)
{
	const struct rehearse_options *options = invocation->options;
	AUTO(cleanup_target) struct block_target *target = NULL;
	TRY(null_target_new(disk->name, disk->bytes.size, &target, err));
	return restore_disk(invocation, store, "rehearse", disk, target, /* keep_going= */ true,
			    (unsigned)options->lanes, sums, err);
}

static enum err_code rehearse(const struct invocation *invocation, struct restore_sums *sums, struct err *err)
{
	AUTO_OPEN_STORE store = {0};
	AUTO(saveset_list_release) struct saveset_list list = {0};
	const struct saveset_row *row = NULL;
	const struct saveset_disk *only = NULL;
	enum err_code damage = ERR_OK;
	TRY(open_store(invocation, STORE_READ, &store, err));
	TRY(saveset_list_load(store.store, &list, err));
	TRY(saveset_find_disk(&list, invocation->args[0], &row, &only, err));
	sums->start_ns = clock_mono_ns();
	for (size_t i = 0; i < row->saveset->disk_count; i++) {
		const struct saveset_disk *disk = &row->saveset->disks[i];
		if (only && disk != only)
			continue;
		enum err_code code = rehearse_disk(invocation, store.store, disk, sums, err);
		if (code == ERR_CORRUPT)
			damage = code;
		else if (code != ERR_OK)
			return code;
	}
	return damage;
}

static enum exit_code run(const struct invocation *invocation)
{
	struct err err = {0};
	struct restore_sums sums = {0};
	enum err_code code = rehearse(invocation, &sums, &err);
	if (code == ERR_OK || (code == ERR_CORRUPT && sums.disks))
		restore_summary(invocation, "rehearse", &sums);
	return code == ERR_OK ? invocation_done(invocation) : invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
}

const struct verb verb_rehearse = {
	.name = "rehearse",
	.arguments = "SAVESET[:DISK]",
	.summary = "restore a saveset into nothing, to see that it would work",
	.description =
		"Does all that a restore of the saveset (or of one disk of it) does, and drops the result. Every\n"
		"block is read, decrypted and checked; damage is told by disk and block range.",
	.shared = SHARED_OPEN,
	.args_min = 1,
	.args_max = 1,
	.options = rows,
	.options_size = sizeof(struct rehearse_options),
	.run = run,
};
