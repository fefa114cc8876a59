/* SPDX-License-Identifier: Apache-2.0 */
/* A saveset as people and machines read it: the run report of a backup and what `show` prints. */
#ifndef APPLIANCE_SAVESET_REPORT_H
#define APPLIANCE_SAVESET_REPORT_H

#include "appliance/output.h"
#include "store/saveset.h"

#include <jansson.h>

/* Everything about it, without "type". Gives a new object, NULL out of memory. */
json_t *saveset_json(const struct saveset *saveset);

/* The same in text, to the results. `seconds` is what it took, measured; less than 0 if only its times are known. */
void saveset_print(struct output *output, const struct saveset *saveset, double seconds);

/* The bytes of a disk, of a saveset or of many: {"size": ..., "data": ..., ...}. Gives a new object. */
json_t *saveset_bytes_json(const struct saveset_bytes *bytes);

void saveset_bytes_add(struct saveset_bytes *into, const struct saveset_bytes *from);

#endif
