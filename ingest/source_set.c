/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/formats.h"

#include <stdlib.h>

enum err_code source_set_of_one(struct block_source *source, struct source_set *ret, struct err *err)
{
	struct block_source **sources = calloc(1, sizeof(struct block_source *));
	if (!sources)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for disk '%s'", source->name);
	sources[0] = source;
	*ret = (struct source_set){.sources = sources, .count = 1};
	return ERR_OK;
}
