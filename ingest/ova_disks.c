/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ingest/ova_internal.h"

#define NULL_REF "OpaqueRef:NULL"

/* A disk with what decides its name. */
struct found_disk {
	const struct ova_object *vdi;
	const struct ova_object *vbd; /* NULL: the memory of a suspended VM */
};

/* The objects of a document sorted by id, so that references are found quickly in hostile documents too. */
struct id_entry {
	const struct ova_object *object;
};

struct id_index {
	struct id_entry *entries;
	size_t count;
};

static int compare_entries(const void *a, const void *b)
{
	const struct id_entry *x = a, *y = b;
	return strcmp(x->object->id, y->object->id);
}

static int compare_with_id(const void *id, const void *entry)
{
	const struct id_entry *e = entry;
	return strcmp(id, e->object->id);
}

static const struct ova_object *find(const struct id_index *index, const char *id, enum ova_class class)
{
	if (!id[0] || !index->count)
		return NULL;
	const struct id_entry *found =
		bsearch(id, index->entries, index->count, sizeof(*index->entries), compare_with_id);
	return found && found->object->class == class ? found->object : NULL;
}

/* Fills the index; its entries have room for all records. */
static enum err_code index_fill(const struct ova_records *records, struct id_index *index, struct err *err)
{
	for (size_t i = 0; i < records->count; i++)
		index->entries[index->count++].object = &records->objects[i];
	qsort(index->entries, index->count, sizeof(*index->entries), compare_entries);
	for (size_t i = 1; i < index->count; i++) {
		const char *id = index->entries[i].object->id;
		if (strcmp(index->entries[i - 1].object->id, id) == 0)
			return err_set(err, ERR_CORRUPT, 0, "ova.xml has two objects called '%s'", id);
	}
	return ERR_OK;
}

/* References become names of archive members and parts of messages. */
static bool ref_is_usable(const char *ref)
{
	const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_-";
	return ref[0] && ref[strspn(ref, allowed)] == '\0';
}

static enum err_code vdi_check(const struct ova_object *vdi, struct err *err)
{
	if (!ref_is_usable(vdi->id))
		return err_set(err, ERR_CORRUPT, 0, "ova.xml has a disk with an unusable reference");
	if (vdi->virtual_size == 0)
		return err_set(err, ERR_CORRUPT, 0, "ova.xml has no usable virtual_size for disk '%s'", vdi->id);
	return ERR_OK;
}

/* The VDI behind a VBD, or NULL in *ret if it is not streamed. */
static enum err_code vbd_target(const struct id_index *index, const struct ova_object *vbd,
				const struct ova_object **ret, struct err *err)
{
	*ret = NULL;
	if (strcmp(vbd->type, "CD") == 0 || strcmp(vbd->vdi, NULL_REF) == 0)
		return ERR_OK;
	const struct ova_object *vdi = find(index, vbd->vdi, OVA_VDI);
	if (!vdi)
		return err_set(err, ERR_CORRUPT, 0, "ova.xml: VBD '%.63s' is of a disk that is not there", vbd->id);
	const struct ova_object *sr = find(index, vdi->sr, OVA_SR);
	if (!sr || strcmp(sr->content_type, "iso") != 0)
		*ret = vdi;
	return ERR_OK;
}

static int compare_disks(const void *a, const void *b)
{
	const struct found_disk *x = a, *y = b;
	return strcmp(x->vdi->id, y->vdi->id);
}

/* All streamed disks in the order of the stream, each once, though several VBDs may lead to it. `found` has room for
 * one per object. */
static enum err_code collect(const struct ova_records *records, const struct id_index *index, struct found_disk *found,
			     size_t *ret_count, struct err *err)
{
	size_t count = 0;
	for (size_t i = 0; i < records->count; i++) {
		const struct ova_object *object = &records->objects[i];
		const struct ova_object *vdi = NULL;
		if (object->class == OVA_VBD)
			TRY(vbd_target(index, object, &vdi, err));
		else if (object->class == OVA_VDI && strcmp(object->type, "suspend") == 0)
			vdi = object;
		if (vdi) {
			TRY(vdi_check(vdi, err));
			found[count++] = (struct found_disk){vdi, object->class == OVA_VBD ? object : NULL};
		}
	}
	qsort(found, count, sizeof(*found), compare_disks);
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || found[kept - 1].vdi != found[i].vdi)
			found[kept++] = found[i];
	if (kept > XVA_DISKS_MAX)
		return err_set(err, ERR_LIMIT, 0, "ova.xml has more than %u disks", XVA_DISKS_MAX);
	*ret_count = kept;
	return ERR_OK;
}

/* "xvda" for 0, "xvdz" for 25, "xvdaa" for 26; false if the position is no number that a VBD can have. */
static bool device_name(const char *userdevice, char dst[static 8])
{
	unsigned n = 0;
	if (!userdevice[0] || strlen(userdevice) > 3 || userdevice[strspn(userdevice, "0123456789")])
		return false;
	for (const char *p = userdevice; *p; p++)
		n = n * 10 + (unsigned)(*p - '0');
	if (n >= 26 * 27)
		return false;
	if (n < 26)
		snprintf(dst, 8, "xvd%c", 'a' + (int)n);
	else
		snprintf(dst, 8, "xvd%c%c", 'a' + (int)(n / 26 - 1), 'a' + (int)(n % 26));
	return true;
}

static bool name_is_taken(const struct xva_disk *disks, size_t count, const char *name, size_t but)
{
	for (size_t i = 0; i < count; i++)
		if (i != but && strcmp(disks[i].name, name) == 0)
			return true;
	return false;
}

static bool label_is_unique(const struct found_disk *found, size_t count, size_t which)
{
	const char *label = found[which].vdi->name_label;
	for (size_t i = 0; i < count; i++)
		if (i != which && strcmp(found[i].vdi->name_label, label) == 0)
			return false;
	return label[0] != '\0';
}

/* Labels first, so that a position never takes the name that another disk was given by a person. */
static void name_disks(const struct found_disk *found, struct xva_disk *disks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (label_is_unique(found, count, i))
			memcpy(disks[i].name, found[i].vdi->name_label, sizeof(disks[i].name));
	for (size_t i = 0; i < count; i++) {
		char device[8] = "";
		if (disks[i].name[0])
			continue;
		if (found[i].vbd && device_name(found[i].vbd->userdevice, device) &&
		    !name_is_taken(disks, count, device, i))
			snprintf(disks[i].name, sizeof(disks[i].name), "%s", device);
	}
	/* A label may read like a reference; references themselves are unique. */
	for (size_t i = 0; i < count; i++) {
		if (disks[i].name[0])
			continue;
		char *name = disks[i].name;
		snprintf(name, sizeof(disks[i].name), "%s", disks[i].ref);
		for (size_t n = strlen(name); n < OVA_NAME_MAX && name_is_taken(disks, count, name, i);) {
			name[n++] = '_';
			name[n] = '\0';
		}
	}
}

/* The VM that was exported: metadata may hold its snapshots as further VMs, and the export of a snapshot nothing else.
 */
static const struct ova_object *find_vm(const struct ova_records *records)
{
	const struct ova_object *best = NULL;
	for (size_t i = 0; i < records->count; i++) {
		const struct ova_object *vm = &records->objects[i];
		if (vm->class == OVA_VM && !vm->is_control_domain &&
		    (!best || (best->is_a_snapshot && !vm->is_a_snapshot)))
			best = vm;
	}
	return best;
}

static enum err_code take_disks(const struct found_disk *found, size_t count, struct ova *ova, struct err *err)
{
	ova->disks = calloc(count + 1, sizeof(*ova->disks));
	if (!ova->disks)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read ova.xml");
	for (size_t i = 0; i < count; i++) {
		struct xva_disk *disk = &ova->disks[i];
		memcpy(disk->ref, found[i].vdi->id, sizeof(disk->ref));
		uuid_parse(found[i].vdi->uuid, &disk->uuid);
		disk->size_bytes = found[i].vdi->virtual_size;
		disk->suspend = strcmp(found[i].vdi->type, "suspend") == 0;
	}
	ova->disk_count = count;
	name_disks(found, ova->disks, count);
	return ERR_OK;
}

enum err_code ova_find_disks(const struct ova_records *records, struct ova *ret, struct err *err)
{
	AUTO_FREE struct found_disk *found = calloc(records->count + 1, sizeof(*found));
	AUTO_FREE struct id_entry *entries = calloc(records->count + 1, sizeof(*entries));
	if (!found || !entries)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read ova.xml");
	struct id_index index = {.entries = entries};
	size_t count = 0;
	TRY(index_fill(records, &index, err));
	TRY(collect(records, &index, found, &count, err));
	TRY(take_disks(found, count, ret, err));
	const struct ova_object *vm = find_vm(records);
	if (vm) {
		memcpy(ret->vm_name, vm->name_label, sizeof(ret->vm_name));
		uuid_parse(vm->uuid, &ret->vm_uuid);
	}
	ret->export_version = records->export_version;
	return ERR_OK;
}
