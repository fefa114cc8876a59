/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/restore_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void damage_list_add(struct damage_list *list, uint64_t first_block, uint64_t count, const char *reason)
{
	list->lost_blocks += count;
	struct lost_range *last = list->count ? &list->ranges[list->count - 1] : NULL;
	if (last && last->first_block + last->block_count == first_block && strcmp(last->reason, reason) == 0) {
		last->block_count += count;
		return;
	}
	if (list->count == DAMAGE_RANGES_MAX) {
		list->truncated = true;
		return;
	}
	struct lost_range *grown = reallocarray(list->ranges, list->count + 1, sizeof(*grown));
	if (!grown) {
		list->truncated = true;
		return;
	}
	list->ranges = grown;
	struct lost_range *range = &grown[list->count++];
	range->first_block = first_block;
	range->block_count = count;
	snprintf(range->reason, sizeof(range->reason), "%s", reason);
}

static int by_first_block(const void *a, const void *b)
{
	const struct lost_range *x = a;
	const struct lost_range *y = b;
	return (x->first_block > y->first_block) - (x->first_block < y->first_block);
}

void damage_list_finish(struct damage_list *list)
{
	if (list->count == 0)
		return;
	qsort(list->ranges, list->count, sizeof(*list->ranges), by_first_block);
	size_t kept = 0;
	for (size_t i = 1; i < list->count; i++) {
		struct lost_range *last = &list->ranges[kept];
		const struct lost_range *next = &list->ranges[i];
		if (last->first_block + last->block_count == next->first_block &&
		    strcmp(last->reason, next->reason) == 0)
			last->block_count += next->block_count;
		else
			list->ranges[++kept] = *next;
	}
	list->count = kept + 1;
}

void damage_list_release(struct damage_list *list)
{
	free(list->ranges);
	*list = (struct damage_list){0};
}
