/* SPDX-License-Identifier: Apache-2.0 */
/* A saveset as one XVA: its own ova.xml where it has one, else a minimal one. */
#include "appliance/restore_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ingest/xva_writer.h"
#include "pipeline/restore.h"

DEFINE_CLEANUP(xva_writer, struct xva_writer, xva_writer_free)

/* Where the stream goes. */
struct xva_output {
	int fd;
	const char *path;
	bool is_created; /* by us, so an incomplete one is removed */
};

static void close_output(struct xva_output *output)
{
	if (output->is_created)
		unlink(output->path);
	if (output->fd > STDERR_FILENO)
		close(output->fd);
}

static enum err_code open_output(const char *path, bool overwrite, struct xva_output *ret, struct err *err)
{
	if (strcmp(path, "-") == 0) {
		*ret = (struct xva_output){.fd = STDOUT_FILENO, .path = "standard output"};
		return ERR_OK;
	}
	struct stat st;
	bool exists = stat(path, &st) == 0;
	if (exists && !overwrite && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
		return err_set(err, ERR_EXISTS, 0, "'%s' is there already; give --overwrite to replace it", path);
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_CREAT | (exists ? O_TRUNC : O_EXCL), 0600);
	if (fd < 0)
		return err_errno(err, "can't make '%s'", path);
	*ret = (struct xva_output){.fd = fd, .path = path, .is_created = !exists};
	return ERR_OK;
}

/* The saveset's ova.xml, or one made for its disks. Gives *ret (free). */
static enum err_code get_ova_xml(struct output *output, struct store *store, const struct saveset *saveset,
				 uint8_t **ret, size_t *ret_length, struct err *err)
{
	for (size_t i = 0; i < saveset->document_count; i++)
		if (strcmp(saveset->documents[i].name, "ova.xml") == 0)
			return restore_document(store, &saveset->documents[i], ret, ret_length, err);
	AUTO_FREE struct xva_new_disk *disks = calloc(saveset->disk_count ? saveset->disk_count : 1, sizeof(*disks));
	if (!disks)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory");
	for (size_t i = 0; i < saveset->disk_count; i++)
		disks[i] = (struct xva_new_disk){saveset->disks[i].name, saveset->disks[i].uuid,
						 saveset->disks[i].bytes.size};
	output_notice(output, "the saveset has no ova.xml: the VM gets default settings and no network card");
	return xva_make_ova_xml(saveset->vm_name, &saveset->vm_uuid, disks, saveset->disk_count, ret, ret_length, err);
}

/* The saveset's disk that ova.xml calls `wanted`. */
static enum err_code find_disk(const struct saveset *saveset, const struct xva_disk *wanted,
			       const struct saveset_disk **ret, struct err *err)
{
	for (size_t i = 0; i < saveset->disk_count; i++)
		if (strcmp(saveset->disks[i].name, wanted->name) == 0) {
			*ret = &saveset->disks[i];
			return ERR_OK;
		}
	return err_set(err, ERR_NOT_FOUND, 0,
		       "the VM's ova.xml names disk '%s', which is not in the saveset; restore the disks one by one",
		       wanted->name);
}

static enum err_code write_disk(const struct invocation *invocation, struct store *store,
				const struct saveset_disk *disk, const struct xva_disk *place,
				struct xva_writer *writer, const struct restore_options *options,
				struct restore_sums *sums, struct err *err)
{
	AUTO(cleanup_target) struct block_target *target = NULL;
	TRY(xva_target_new(writer, place->ref, disk->name, disk->bytes.size, &target, err));
	return restore_disk(invocation, store, "restore", disk, target, options->keep_going, (unsigned)options->lanes,
			    sums, err);
}

enum err_code restore_xva(const struct invocation *invocation, struct store *store, const struct saveset *saveset,
			  const char *path, const struct restore_options *options, struct restore_sums *sums,
			  struct err *err)
{
	AUTO_FREE uint8_t *ova_xml = NULL;
	size_t length = 0;
	size_t count = 0;
	TRY(get_ova_xml(invocation->output, store, saveset, &ova_xml, &length, err));
	AUTO_FREE struct xva_disk *places = NULL;
	TRY(xva_disk_refs(ova_xml, length, &places, &count, err));
	for (size_t i = 0; i < count; i++) {
		const struct saveset_disk *disk = NULL;
		TRY(find_disk(saveset, &places[i], &disk, err));
	}
	AUTO(close_output) struct xva_output output = {.fd = -1};
	AUTO(cleanup_xva_writer) struct xva_writer *writer = NULL;
	TRY(open_output(path, options->overwrite, &output, err));
	/* In the order of the words of --xva-checksum, behind the default. */
	static const enum xva_checksum forms[] = {XVA_XXHASH, XVA_XXHASH, XVA_SHA1};
	TRY(xva_writer_new(output.fd, output.path, ova_xml, length, forms[options->xva_checksum], &writer, err));
	enum err_code damage = ERR_OK;
	for (size_t i = 0; i < count; i++) {
		const struct saveset_disk *disk = NULL;
		TRY(find_disk(saveset, &places[i], &disk, err));
		enum err_code code = write_disk(invocation, store, disk, &places[i], writer, options, sums, err);
		if (code == ERR_CORRUPT && options->keep_going)
			damage = code;
		else if (code != ERR_OK)
			return code;
	}
	TRY(xva_writer_finish(writer, err));
	output.is_created = false;
	return damage;
}
