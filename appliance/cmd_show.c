/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith show: everything about one saveset. */
#include "appliance/find_saveset.h"
#include "appliance/open_store.h"
#include "appliance/saveset_report.h"
#include "appliance/verb.h"
#include "base/cleanup.h"
#include "pipeline/restore.h"

#include <stdlib.h>
#include <string.h>

struct show_options {
	const char *document;
};

static const struct option_row rows[] = {
	{0, "document", OPTION_TEXT, offsetof(struct show_options, document), "NAME",
	 "write the document NAME of the saveset (ova.xml) to standard output", 0, 0},
	OPTIONS_END,
};

/* Writes one document of the saveset, as it is. */
static enum err_code write_document(struct store *store, const struct saveset *saveset, const char *name, FILE *file,
				    struct err *err)
{
	for (size_t i = 0; i < saveset->document_count; i++) {
		if (strcmp(saveset->documents[i].name, name) != 0)
			continue;
		AUTO_FREE uint8_t *data = NULL;
		size_t length = 0;
		TRY(restore_document(store, &saveset->documents[i], &data, &length, err));
		fwrite(data, 1, length, file);
		return ERR_OK;
	}
	return err_set(err, ERR_NOT_FOUND, 0, "the saveset has no document '%s'; 'xenolith show' lists them", name);
}

static enum err_code show(const struct invocation *invocation, struct err *err)
{
	const struct show_options *options = invocation->options;
	AUTO_OPEN_STORE store = {0};
	AUTO(saveset_list_release) struct saveset_list list = {0};
	const struct saveset_row *row = NULL;
	TRY(open_store(invocation, STORE_READ, &store, err));
	TRY(saveset_list_load(store.store, &list, err));
	TRY(saveset_find(&list, invocation->args[0], &row, err));
	if (options->document)
		return write_document(store.store, row->saveset, options->document, invocation->output->results, err);
	saveset_print(invocation->output, row->saveset, /* seconds= */ -1);
	output_row(invocation->output, "saveset", saveset_json(row->saveset));
	return ERR_OK;
}

static enum exit_code run(const struct invocation *invocation)
{
	struct err err = {0};
	if (show(invocation, &err) != ERR_OK)
		return invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
	return invocation_done(invocation);
}

const struct verb verb_show = {
	.name = "show",
	.arguments = "SAVESET",
	.summary = "show everything about a saveset",
	.description = "Shows what was backed up, when, how, and what it took. SAVESET is the id or its beginning,\n"
		       "the name of the saveset, the name or UUID of a VM (its newest saveset), or 'latest'.",
	.shared = SHARED_OPEN,
	.args_min = 1,
	.args_max = 1,
	.options = rows,
	.options_size = sizeof(struct show_options),
	.run = run,
};
