/* SPDX-License-Identifier: Apache-2.0 */
/* A minimal ova.xml for disks that never had one. The importer wants every field of a record that has no default in its
 * version of the data model, so the records below are whole; the tables hold what is the same in all of them.
 * References must resolve or be null, sets of references may be empty: the importer fills them. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/xva_writer.h"

#define NULL_REF "OpaqueRef:NULL"
#define EPOCH "19700101T00:00:00Z"

/* Numbers of equal width sort like numbers: the stream's order is the order of the disks. */
#define VM_ID 1001u
#define SR_ID 1002u
#define FIRST_VDI_ID 2000u
#define FIRST_VBD_ID 4000u
static_assert(FIRST_VDI_ID + XVA_DISKS_MAX <= FIRST_VBD_ID, "ids do not overlap");
static_assert(FIRST_VBD_ID + XVA_DISKS_MAX <= 9999, "ids have four digits");

enum field_kind {
	FIELD_TEXT, /* strings, enums, references and integers */
	FIELD_BOOL,
	FIELD_FLOAT,
	FIELD_DATE,
	FIELD_SET, /* empty */
	FIELD_MAP, /* empty */
};

struct field {
	const char *name;
	enum field_kind kind;
	const char *value;
};

static const struct field vm_fields[] = {
	{"allowed_operations", FIELD_SET, ""},
	{"current_operations", FIELD_MAP, ""},
	{"power_state", FIELD_TEXT, "Halted"},
	{"name_description", FIELD_TEXT, ""},
	{"user_version", FIELD_TEXT, "1"},
	{"is_a_template", FIELD_BOOL, "0"},
	{"is_default_template", FIELD_BOOL, "0"},
	{"suspend_VDI", FIELD_TEXT, NULL_REF},
	{"resident_on", FIELD_TEXT, NULL_REF},
	{"scheduled_to_be_resident_on", FIELD_TEXT, NULL_REF},
	{"affinity", FIELD_TEXT, NULL_REF},
	{"memory_overhead", FIELD_TEXT, "0"},
	{"memory_target", FIELD_TEXT, "2147483648"},
	{"memory_static_max", FIELD_TEXT, "2147483648"},
	{"memory_dynamic_max", FIELD_TEXT, "2147483648"},
	{"memory_dynamic_min", FIELD_TEXT, "2147483648"},
	{"memory_static_min", FIELD_TEXT, "536870912"},
	{"VCPUs_params", FIELD_MAP, ""},
	{"VCPUs_max", FIELD_TEXT, "2"},
	{"VCPUs_at_startup", FIELD_TEXT, "2"},
	{"actions_after_shutdown", FIELD_TEXT, "destroy"},
	{"actions_after_reboot", FIELD_TEXT, "restart"},
	{"actions_after_crash", FIELD_TEXT, "restart"},
	{"consoles", FIELD_SET, ""},
	{"VIFs", FIELD_SET, ""},
	{"crash_dumps", FIELD_SET, ""},
	{"VTPMs", FIELD_SET, ""},
	{"VUSBs", FIELD_SET, ""},
	{"VGPUs", FIELD_SET, ""},
	{"PV_bootloader", FIELD_TEXT, ""},
	{"PV_kernel", FIELD_TEXT, ""},
	{"PV_ramdisk", FIELD_TEXT, ""},
	{"PV_args", FIELD_TEXT, ""},
	{"PV_bootloader_args", FIELD_TEXT, ""},
	{"PV_legacy_args", FIELD_TEXT, ""},
	{"HVM_boot_policy", FIELD_TEXT, "BIOS order"},
	{"HVM_boot_params", FIELD_MAP, "order=cd"},
	{"HVM_shadow_multiplier", FIELD_FLOAT, "1.0"},
	{"platform", FIELD_MAP, "acpi=1 apic=true pae=true viridian=false"},
	{"PCI_bus", FIELD_TEXT, ""},
	{"other_config", FIELD_MAP, ""},
	{"domid", FIELD_TEXT, "-1"},
	{"domarch", FIELD_TEXT, ""},
	{"last_boot_CPU_flags", FIELD_MAP, ""},
	{"is_control_domain", FIELD_BOOL, "0"},
	{"metrics", FIELD_TEXT, NULL_REF},
	{"guest_metrics", FIELD_TEXT, NULL_REF},
	{"last_booted_record", FIELD_TEXT, ""},
	{"recommendations", FIELD_TEXT, ""},
	{"xenstore_data", FIELD_MAP, ""},
	{"ha_always_run", FIELD_BOOL, "0"},
	{"ha_restart_priority", FIELD_TEXT, ""},
	{"is_a_snapshot", FIELD_BOOL, "0"},
	{"snapshot_of", FIELD_TEXT, NULL_REF},
	{"snapshots", FIELD_SET, ""},
	{"snapshot_time", FIELD_DATE, EPOCH},
	{"transportable_snapshot_id", FIELD_TEXT, ""},
	{"blobs", FIELD_MAP, ""},
	{"tags", FIELD_SET, ""},
	{"blocked_operations", FIELD_MAP, ""},
	{"snapshot_info", FIELD_MAP, ""},
	{"snapshot_metadata", FIELD_TEXT, ""},
	{"parent", FIELD_TEXT, NULL_REF},
	{"children", FIELD_SET, ""},
	{"bios_strings", FIELD_MAP, ""},
	{"protection_policy", FIELD_TEXT, NULL_REF},
	{"is_snapshot_from_vmpp", FIELD_BOOL, "0"},
	{"snapshot_schedule", FIELD_TEXT, NULL_REF},
	{"is_vmss_snapshot", FIELD_BOOL, "0"},
	{"appliance", FIELD_TEXT, NULL_REF},
	{"start_delay", FIELD_TEXT, "0"},
	{"shutdown_delay", FIELD_TEXT, "0"},
	{"order", FIELD_TEXT, "0"},
	{"attached_PCIs", FIELD_SET, ""},
	{"suspend_SR", FIELD_TEXT, NULL_REF},
	{"version", FIELD_TEXT, "0"},
	{"generation_id", FIELD_TEXT, ""},
	{"hardware_platform_version", FIELD_TEXT, "0"},
	{"has_vendor_device", FIELD_BOOL, "0"},
	{"requires_reboot", FIELD_BOOL, "0"},
	{"reference_label", FIELD_TEXT, ""},
	{"domain_type", FIELD_TEXT, "hvm"},
	{"NVRAM", FIELD_MAP, ""},
};

static const struct field vbd_fields[] = {
	{"allowed_operations", FIELD_SET, ""},
	{"current_operations", FIELD_MAP, ""},
	{"device", FIELD_TEXT, ""},
	{"mode", FIELD_TEXT, "RW"},
	{"type", FIELD_TEXT, "Disk"},
	{"unpluggable", FIELD_BOOL, "1"},
	{"storage_lock", FIELD_BOOL, "0"},
	{"empty", FIELD_BOOL, "0"},
	{"other_config", FIELD_MAP, "owner="},
	{"currently_attached", FIELD_BOOL, "0"},
	{"status_code", FIELD_TEXT, "0"},
	{"status_detail", FIELD_TEXT, ""},
	{"runtime_properties", FIELD_MAP, ""},
	{"qos_algorithm_type", FIELD_TEXT, ""},
	{"qos_algorithm_params", FIELD_MAP, ""},
	{"qos_supported_algorithms", FIELD_SET, ""},
	{"metrics", FIELD_TEXT, NULL_REF},
};

static const struct field vdi_fields[] = {
	{"name_description", FIELD_TEXT, ""},
	{"allowed_operations", FIELD_SET, ""},
	{"current_operations", FIELD_MAP, ""},
	{"crash_dumps", FIELD_SET, ""},
	{"physical_utilisation", FIELD_TEXT, "0"},
	{"type", FIELD_TEXT, "user"},
	{"sharable", FIELD_BOOL, "0"},
	{"read_only", FIELD_BOOL, "0"},
	{"other_config", FIELD_MAP, ""},
	{"storage_lock", FIELD_BOOL, "0"},
	{"managed", FIELD_BOOL, "1"},
	{"missing", FIELD_BOOL, "0"},
	{"parent", FIELD_TEXT, NULL_REF},
	{"xenstore_data", FIELD_MAP, ""},
	{"sm_config", FIELD_MAP, ""},
	{"is_a_snapshot", FIELD_BOOL, "0"},
	{"snapshot_of", FIELD_TEXT, NULL_REF},
	{"snapshots", FIELD_SET, ""},
	{"snapshot_time", FIELD_DATE, EPOCH},
	{"tags", FIELD_SET, ""},
	{"allow_caching", FIELD_BOOL, "0"},
	{"on_boot", FIELD_TEXT, "persist"},
	{"metadata_of_pool", FIELD_TEXT, NULL_REF},
	{"metadata_latest", FIELD_BOOL, "0"},
	{"is_tools_iso", FIELD_BOOL, "0"},
	{"cbt_enabled", FIELD_BOOL, "0"},
};

static const struct field sr_fields[] = {
	{"name_label", FIELD_TEXT, "Xenolith"},
	{"name_description", FIELD_TEXT, ""},
	{"allowed_operations", FIELD_SET, ""},
	{"current_operations", FIELD_MAP, ""},
	{"PBDs", FIELD_SET, ""},
	{"virtual_allocation", FIELD_TEXT, "0"},
	{"physical_utilisation", FIELD_TEXT, "0"},
	{"physical_size", FIELD_TEXT, "0"},
	{"type", FIELD_TEXT, "ext"},
	{"content_type", FIELD_TEXT, "user"},
	{"shared", FIELD_BOOL, "0"},
	{"other_config", FIELD_MAP, ""},
	{"tags", FIELD_SET, ""},
	{"sm_config", FIELD_MAP, ""},
	{"blobs", FIELD_MAP, ""},
	{"local_cache_enabled", FIELD_BOOL, "0"},
	{"introduced_by", FIELD_TEXT, NULL_REF},
	{"clustered", FIELD_BOOL, "0"},
	{"is_tools_sr", FIELD_BOOL, "0"},
};

static const struct field version_fields[] = {
	{"hostname", FIELD_TEXT, "xenolith"},
	{"date", FIELD_TEXT, "1970-01-01"},
	{"product_version", FIELD_TEXT, "7.0.0"},
	{"product_brand", FIELD_TEXT, "Xenolith"},
	{"build_number", FIELD_TEXT, "0"},
	/* An import refuses an export whose API is newer than its own, so an old one is named. */
	{"xapi_major", FIELD_TEXT, "2"},
	{"xapi_minor", FIELD_TEXT, "5"},
	{"export_vsn", FIELD_TEXT, "2"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Bytes of the UTF-8 character at `p` that XML 1.0 allows, or 0: malformed, overlong, a surrogate, or a control
 * character. */
static size_t xml_character(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	if (p[0] < 0x80)
		return p[0] >= 0x20 || p[0] == '\t' || p[0] == '\n' ? 1 : 0;
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	uint32_t value = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (p[i] & 0x3fu);
	}
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	bool allowed = p[0] >= 0xc2 && p[0] <= 0xf4 && value >= least[n] && value <= 0x10ffff &&
		       (value < 0xd800 || value > 0xdfff) && value != 0xfffe && value != 0xffff;
	return allowed ? n : 0;
}

/* Text as XML; what XML cannot say becomes '?'. */
static void put_text(FILE *out, const char *text)
{
	while (*text) {
		size_t n = xml_character(text);
		if (n == 0)
			fputc('?', out);
		else if (*text == '&')
			fputs("&amp;", out);
		else if (*text == '<')
			fputs("&lt;", out);
		else if (*text == '>')
			fputs("&gt;", out);
		else
			fwrite(text, 1, n, out);
		text += n ? n : 1;
	}
}

static void put_member(FILE *out, const char *name, const char *text)
{
	fprintf(out, "<member><name>%s</name><value>", name);
	put_text(out, text);
	fputs("</value></member>", out);
}

/* "a=1 b=2": keys and values without blanks; `words` is left as it is. */
static void put_map(FILE *out, const char *words)
{
	fputs("<struct>", out);
	while (*words) {
		size_t word = strcspn(words, " "), key = strcspn(words, "=");
		fprintf(out, "<member><name>%.*s</name><value>%.*s</value></member>", (int)key, words,
			(int)(word - key - 1), words + key + 1);
		words += word;
		words += *words == ' ';
	}
	fputs("</struct>", out);
}

static void put_fields(FILE *out, const struct field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct field *f = &fields[i];
		fprintf(out, "<member><name>%s</name><value>", f->name);
		switch (f->kind) {
		case FIELD_TEXT:
			put_text(out, f->value);
			break;
		case FIELD_BOOL:
			fprintf(out, "<boolean>%s</boolean>", f->value);
			break;
		case FIELD_FLOAT:
			fprintf(out, "<double>%s</double>", f->value);
			break;
		case FIELD_DATE:
			fprintf(out, "<dateTime.iso8601>%s</dateTime.iso8601>", f->value);
			break;
		case FIELD_SET:
			fputs("<array><data/></array>", out);
			break;
		case FIELD_MAP:
			put_map(out, f->value);
			break;
		}
		fputs("</value></member>\n", out);
	}
}

static void put_ref(FILE *out, const char *name, unsigned id)
{
	fprintf(out, "<member><name>%s</name><value>Ref:%u</value></member>", name, id);
}

static void put_ref_set(FILE *out, const char *name, unsigned first, size_t count)
{
	fprintf(out, "<member><name>%s</name><value><array><data>", name);
	for (size_t i = 0; i < count; i++)
		fprintf(out, "<value>Ref:%u</value>", first + (unsigned)i);
	fputs("</data></array></value></member>\n", out);
}

static void put_uuid(FILE *out, const struct uuid *uuid)
{
	struct uuid own = uuid && !uuid_is_null(uuid) ? *uuid : uuid_random();
	char text[UUID_TEXT_SIZE];
	put_member(out, "uuid", uuid_format(&own, text));
}

static void object_begin(FILE *out, const char *class, unsigned id)
{
	fputs("<value><struct>", out);
	put_member(out, "class", class);
	put_ref(out, "id", id);
	fputs("<member><name>snapshot</name><value><struct>", out);
}

static void object_end(FILE *out)
{
	fputs("</struct></value></member></struct></value>\n", out);
}

static void put_disk(FILE *out, const struct xva_new_disk *disk, unsigned index)
{
	char number[24];
	object_begin(out, "VBD", FIRST_VBD_ID + index);
	put_uuid(out, /* uuid= */ NULL);
	put_ref(out, "VM", VM_ID);
	put_ref(out, "VDI", FIRST_VDI_ID + index);
	/* Position 3 is by habit the CD drive's. */
	snprintf(number, sizeof(number), "%u", index < 3 ? index : index + 1);
	put_member(out, "userdevice", number);
	fprintf(out, "<member><name>bootable</name><value><boolean>%d</boolean></value></member>", index == 0);
	put_fields(out, vbd_fields, COUNT(vbd_fields));
	object_end(out);

	object_begin(out, "VDI", FIRST_VDI_ID + index);
	put_uuid(out, &disk->uuid);
	put_member(out, "name_label", disk->name);
	put_ref(out, "SR", SR_ID);
	put_ref_set(out, "VBDs", FIRST_VBD_ID + index, 1);
	snprintf(number, sizeof(number), "%" PRIu64, disk->size_bytes);
	put_member(out, "virtual_size", number);
	put_member(out, "location", "");
	put_fields(out, vdi_fields, COUNT(vdi_fields));
	object_end(out);
}

static void put_document(FILE *out, const char *vm_name, const struct uuid *vm_uuid, const struct xva_new_disk *disks,
			 size_t count)
{
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<value><struct><member><name>version</name><value><struct>",
	      out);
	put_fields(out, version_fields, COUNT(version_fields));
	fputs("</struct></value></member><member><name>objects</name><value><array><data>\n", out);
	object_begin(out, "VM", VM_ID);
	put_uuid(out, vm_uuid);
	put_member(out, "name_label", vm_name);
	put_ref_set(out, "VBDs", FIRST_VBD_ID, count);
	put_fields(out, vm_fields, COUNT(vm_fields));
	object_end(out);
	for (size_t i = 0; i < count; i++)
		put_disk(out, &disks[i], (unsigned)i);
	object_begin(out, "SR", SR_ID);
	put_uuid(out, /* uuid= */ NULL);
	put_ref_set(out, "VDIs", FIRST_VDI_ID, count);
	put_fields(out, sr_fields, COUNT(sr_fields));
	object_end(out);
	fputs("</data></array></value></member></struct></value>\n", out);
}

enum err_code xva_make_ova_xml(const char *vm_name, const struct uuid *vm_uuid, const struct xva_new_disk *disks,
			       size_t count, uint8_t **ret, size_t *ret_length, struct err *err)
{
	if (count == 0 || count > XVA_DISKS_MAX)
		return err_set(err, ERR_LIMIT, 0, "an XVA of %zu disks cannot be made; 1 to %u are possible", count,
			       XVA_DISKS_MAX);
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	if (!out)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to make an ova.xml");
	put_document(out, vm_name, vm_uuid, disks, count);
	bool failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to make an ova.xml");
	}
	*ret = (uint8_t *)text;
	*ret_length = length;
	return ERR_OK;
}
