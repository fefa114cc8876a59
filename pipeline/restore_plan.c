/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/restore_plan.h"

#include "base/size.h"

#include <stdlib.h>

static int by_place(const void *a, const void *b)
{
	const struct fetch_item *x = a;
	const struct fetch_item *y = b;
	uint64_t xs = segment_number(x->segment);
	uint64_t ys = segment_number(y->segment);
	if (xs != ys)
		return xs < ys ? -1 : 1;
	if (x->entry->offset != y->entry->offset)
		return x->entry->offset < y->entry->offset ? -1 : 1;
	return x->block - y->block;
}

/* Joins items into reads. */
static void make_runs(struct fetch_plan *plan)
{
	plan->run_count = 0;
	for (unsigned i = 0; i < plan->item_count; i++) {
		struct fetch_item *item = &plan->items[i];
		const struct record_entry *e = item->entry;
		uint64_t start = round_down(e->offset, IO_ALIGN);
		uint64_t end = round_up((uint64_t)e->offset + e->stored_length, IO_ALIGN);
		struct fetch_run *run = plan->run_count ? &plan->runs[plan->run_count - 1] : NULL;
		const struct fetch_item *before = i ? &plan->items[i - 1] : NULL;
		bool same_segment = before && segment_number(before->segment) == segment_number(item->segment);
		item->same_as_before = same_segment && before->entry->offset == e->offset;
		if (run && same_segment && start <= run->offset + run->length + FETCH_GAP &&
		    end - run->offset <= FETCH_MAX) {
			run->length = (uint32_t)(max_u64(end, run->offset + run->length) - run->offset);
			run->count++;
			continue;
		}
		item->same_as_before = false;
		plan->runs[plan->run_count++] = (struct fetch_run){
			.first = i,
			.count = 1,
			.offset = start,
			.length = (uint32_t)(end - start),
		};
	}
}

enum err_code fetch_plan_make(struct fetch_plan *plan, struct restore_job *job, struct restore_claim *claim,
			      struct store_guess *guess, struct err *err)
{
	plan->item_count = 0;
	for (unsigned block = 0; claim->has_leaf && block < DISK_MAP_FANOUT; block++) {
		if (!map_node_has(&claim->node, block))
			continue;
		struct fetch_item *item = &plan->items[plan->item_count];
		struct err why = {0};
		enum err_code code = store_find_near(job->store, &claim->node.ids[block], guess, &item->entry, &why);
		if (code == ERR_OK && (item->entry->kind != RECORD_CHUNK || item->entry->raw_length != BLOCK_SIZE))
			code = err_set(&why, ERR_CORRUPT, 0, "its record is no block");
		if (code != ERR_OK) {
			TRY(restore_lose_block(job, claim->leaf * DISK_MAP_FANOUT + block, &why, err));
			claim->node.present[block / 8] &= (uint8_t) ~(1u << (block % 8));
			continue;
		}
		item->segment = segment_ref(guess->segment);
		item->block = (uint8_t)block;
		plan->item_count++;
	}
	qsort(plan->items, plan->item_count, sizeof(plan->items[0]), by_place);
	make_runs(plan);
	return ERR_OK;
}

void fetch_plan_release(struct fetch_plan *plan)
{
	for (unsigned i = 0; i < plan->item_count; i++)
		segment_unref(plan->items[i].segment);
	plan->item_count = 0;
	plan->run_count = 0;
}
