/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith stats: what the store holds, and what that takes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/find_saveset.h"
#include "appliance/open_store.h"
#include "appliance/saveset_report.h"
#include "appliance/table.h"
#include "appliance/verb.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"

/* The whole store. */
struct store_sums {
	struct saveset_bytes savesets; /* sums over all of them */
	uint64_t segments;
	uint64_t chunks;       /* records of data segments */
	uint64_t unique_bytes; /* their plain bytes */
	uint64_t stored_bytes; /* their ciphertext */
	uint64_t meta_bytes;   /* files of metadata segments */
	uint64_t file_bytes;   /* files of all segments */
	struct chunk_index_stats index;
};

/* One VM: the savesets of a list that belong together. */
struct vm_sums {
	const struct saveset *newest;
	uint64_t savesets;
	struct saveset_bytes bytes;
};

static double ratio_of(uint64_t bytes, uint64_t stored)
{
	return stored ? (double)bytes / (double)stored : 0;
}

static void sum_store(struct store *store, const struct saveset_list *list, struct store_sums *sums)
{
	const struct log_state *state = store_state(store);
	for (size_t i = 0; i < list->count; i++) {
		if (!list->rows[i].saveset)
			continue;
		struct saveset_bytes bytes = saveset_total(list->rows[i].saveset);
		saveset_bytes_add(&sums->savesets, &bytes);
	}
	sums->segments = state->segment_count;
	for (size_t i = 0; i < state->segment_count; i++) {
		const struct segment_info *segment = &state->segments[i];
		sums->file_bytes += segment->file_length;
		if (segment->kind == SEGMENT_META) {
			sums->meta_bytes += segment->file_length;
			continue;
		}
		sums->chunks += segment->record_count;
		sums->unique_bytes += segment->raw_bytes;
		sums->stored_bytes += segment->stored_bytes;
	}
	store_index_stats(store, &sums->index);
}

static void tell_store(struct output *output, const struct saveset_list *list, const struct store_sums *sums)
{
	char text[SIZE_TEXT_SIZE];
	double ratio = ratio_of(sums->savesets.data, sums->file_bytes);
	output_row(output, "store",
		   json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:I}", "savesets",
			     (json_int_t)list->count, "size_bytes", (json_int_t)sums->savesets.size, "data_bytes",
			     (json_int_t)sums->savesets.data, "chunks", (json_int_t)sums->chunks, "unique_bytes",
			     (json_int_t)sums->unique_bytes, "stored_bytes", (json_int_t)sums->stored_bytes,
			     "meta_bytes", (json_int_t)sums->meta_bytes, "file_bytes", (json_int_t)sums->file_bytes,
			     "segments", (json_int_t)sums->segments, "ratio", ratio, "index_chunks",
			     (json_int_t)(sums->index.table_entries + sums->index.run_entries), "index_memory_bytes",
			     (json_int_t)sums->index.memory_bytes));
	output_text(output, "savesets    %zu", list->count);
	output_text(output, "logical     %s in disks of all savesets", size_format(sums->savesets.size, text));
	output_text(output, "data        %s of it are not zeroes", size_format(sums->savesets.data, text));
	output_text(output, "unique      %s in %" PRIu64 " chunks", size_format(sums->unique_bytes, text),
		    sums->chunks);
	output_text(output, "stored      %s compressed and encrypted", size_format(sums->stored_bytes, text));
	output_text(output, "on disk     %s in %" PRIu64 " segments, parity and directories included",
		    size_format(sums->file_bytes, text), sums->segments);
	output_text(output, "metadata    %s of that", size_format(sums->meta_bytes, text));
	output_text(output, "ratio       %.2f bytes of data per byte on disk", ratio);
	output_text(output, "index       %s of memory", size_format(sums->index.memory_bytes, text));
}

/* Groups the savesets by VM. `vms` has room for list->count. Returns how many VMs there are. */
static size_t sum_vms(const struct saveset_list *list, struct vm_sums vms[])
{
	size_t count = 0;
	for (size_t i = 0; i < list->count; i++) {
		const struct saveset *saveset = list->rows[i].saveset;
		if (!saveset)
			continue;
		size_t vm = 0;
		while (vm < count && !saveset_is_same_vm(vms[vm].newest, saveset))
			vm++;
		count += vm == count;
		struct saveset_bytes bytes = saveset_total(saveset);
		vms[vm].newest = saveset;
		vms[vm].savesets++;
		saveset_bytes_add(&vms[vm].bytes, &bytes);
	}
	return count;
}

static void add_bytes(struct table *table, const struct saveset_bytes *bytes)
{
	char text[SIZE_TEXT_SIZE];
	table_cell(table, "%s", size_format(bytes->size, text));
	table_cell(table, "%s", size_format(bytes->data, text));
	table_cell(table, "%s", size_format(bytes->fresh, text));
	table_cell(table, "%s", size_format(bytes->stored, text));
	if (bytes->stored)
		table_cell(table, "%.2f", ratio_of(bytes->data, bytes->stored));
	else
		table_cell(table, "-");
}

static enum err_code tell_vms(struct output *output, const struct saveset_list *list, struct err *err)
{
	static const char *const headings[] = {"VM", "SAVESETS", "SIZE", "DATA", "NEW", "STORED", "RATIO"};
	AUTO_FREE struct vm_sums *vms = calloc(list->count ? list->count : 1, sizeof(*vms));
	if (!vms)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory for %zu savesets", list->count);
	size_t count = sum_vms(list, vms);
	struct table table;
	table_init(&table, headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < count; i++) {
		table_cell(&table, "%s", vms[i].newest->vm_name);
		table_cell(&table, "%" PRIu64, vms[i].savesets);
		add_bytes(&table, &vms[i].bytes);
		output_row(output, "vm",
			   json_pack("{s:o, s:I, s:o, s:f}", "vm", output_json_text(vms[i].newest->vm_name), "savesets",
				     (json_int_t)vms[i].savesets, "bytes", saveset_bytes_json(&vms[i].bytes), "ratio",
				     ratio_of(vms[i].bytes.data, vms[i].bytes.stored)));
	}
	output_text(output, "%s", "");
	table_print(&table, output, "");
	table_release(&table);
	return ERR_OK;
}

static void tell_savesets(struct output *output, const struct saveset_list *list)
{
	static const char *const headings[] = {"ID", "VM", "TIME", "SIZE", "DATA", "NEW", "STORED", "RATIO"};
	struct table table;
	table_init(&table, headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < list->count; i++) {
		const struct saveset *saveset = list->rows[i].saveset;
		if (!saveset)
			continue;
		struct saveset_bytes bytes = saveset_total(saveset);
		char id[UUID_TEXT_SIZE];
		char time[CLOCK_TEXT_SIZE];
		table_cell(&table, "%s", saveset_short_id(&saveset->id, id));
		table_cell(&table, "%s", saveset->vm_name);
		table_cell(&table, "%s", clock_format_local(list->rows[i].entry->time_unix_s, time));
		add_bytes(&table, &bytes);
		output_row(output, "saveset",
			   json_pack("{s:s, s:o, s:o, s:f}", "saveset", uuid_format(&saveset->id, id), "vm",
				     output_json_text(saveset->vm_name), "bytes", saveset_bytes_json(&bytes), "ratio",
				     ratio_of(bytes.data, bytes.stored)));
	}
	output_text(output, "%s", "");
	table_print(&table, output, "");
	table_release(&table);
}

static enum err_code tell_all(const struct invocation *invocation, bool *ret_damaged, struct err *err)
{
	AUTO_OPEN_STORE store = {0};
	AUTO(saveset_list_release) struct saveset_list list = {0};
	struct store_sums sums = {0};
	TRY(open_store(invocation, STORE_READ, &store, err));
	TRY(saveset_list_load(store.store, &list, err));
	for (size_t i = 0; i < list.count; i++)
		if (!list.rows[i].saveset)
			output_error(invocation->output, &list.rows[i].err);
	sum_store(store.store, &list, &sums);
	tell_store(invocation->output, &list, &sums);
	TRY(tell_vms(invocation->output, &list, err));
	tell_savesets(invocation->output, &list);
	*ret_damaged = list.damaged > 0;
	return ERR_OK;
}

static enum exit_code run(const struct invocation *invocation)
{
	struct err err = {0};
	bool is_damaged = false;
	if (tell_all(invocation, &is_damaged, &err) != ERR_OK)
		return invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
	enum exit_code exit_code = invocation_done(invocation);
	return exit_code == EXIT_DONE && is_damaged ? EXIT_DAMAGE : exit_code;
}

const struct verb verb_stats = {
	.name = "stats",
	.arguments = "",
	.summary = "show what the store holds and what that takes",
	.description = "Shows logical, unique and stored bytes and their ratio: of the whole store, of each VM and of\n"
		       "each saveset. NEW is what the store did not have before, STORED what that took.",
	.shared = SHARED_OPEN,
	.run = run,
};
