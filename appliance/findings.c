/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/findings.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/size.h"

static const char *kind_name(const struct finding *finding)
{
	switch (finding->kind) {
	case FINDING_SEGMENT:
		return "segment";
	case FINDING_RECORD:
		return "record";
	case FINDING_DISK:
		return "disk";
	case FINDING_SAVESET:
		return "saveset";
	case FINDING_LOG:
		return "log";
	}
	return "unknown";
}

static json_t *finding_json(const struct finding *finding)
{
	json_t *row = json_pack("{s:s, s:o}", "kind", kind_name(finding), "message", output_json_text(finding->text));
	if (!row)
		return NULL;
	if (finding->kind == FINDING_SEGMENT || finding->kind == FINDING_RECORD) {
		json_object_set_new(row, "segment", json_integer((json_int_t)finding->segment));
		json_object_set_new(row, "offset", json_integer((json_int_t)finding->offset));
		json_object_set_new(row, "length", json_integer((json_int_t)finding->length));
		return row;
	}
	if (finding->kind == FINDING_LOG)
		return row;
	char uuid[UUID_TEXT_SIZE];
	json_object_set_new(row, "saveset", json_string(uuid_format(&finding->saveset, uuid)));
	json_object_set_new(row, "vm", output_json_text(finding->vm_name));
	if (finding->kind == FINDING_DISK) {
		json_object_set_new(row, "disk", output_json_text(finding->disk_name));
		json_object_set_new(row, "first_block", json_integer((json_int_t)finding->first_block));
		json_object_set_new(row, "block_count", json_integer((json_int_t)finding->block_count));
	}
	return row;
}

char *findings_range(uint64_t first_block, uint64_t block_count, char dst[static FINDINGS_RANGE_SIZE])
{
	char at[SIZE_TEXT_SIZE];
	char length[SIZE_TEXT_SIZE];
	size_format(first_block * BLOCK_SIZE, at);
	size_format(block_count * BLOCK_SIZE, length);
	if (block_count == 1)
		snprintf(dst, FINDINGS_RANGE_SIZE, "block %" PRIu64 " (%s at %s)", first_block, length, at);
	else
		snprintf(dst, FINDINGS_RANGE_SIZE, "blocks %" PRIu64 "-%" PRIu64 " (%s at %s)", first_block,
			 first_block + block_count - 1, length, at);
	return dst;
}

void findings_tell(void *user, const struct finding *finding)
{
	struct output *output = user;
	char clean[sizeof(finding->text)];
	output_text(output, "damage: %s", output_clean(finding->text, clean, sizeof(clean)));
	output_row(output, "damage", finding_json(finding));
}

void findings_summary(struct output *output, const char *verb, const struct check_report *report, double seconds)
{
	char read[SIZE_TEXT_SIZE], rate[SIZE_TEXT_SIZE], plain[SIZE_TEXT_SIZE];
	bool is_whole = report->damaged_segments + report->damaged_records + report->damaged_savesets == 0;
	output_row(output, "summary",
		   json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "verb", verb, "whole", is_whole,
			     "segments", (json_int_t)report->segments, "records", (json_int_t)report->records,
			     "bytes_read", (json_int_t)report->bytes_read, "plain_bytes",
			     (json_int_t)report->plain_bytes, "damaged_segments", (json_int_t)report->damaged_segments,
			     "damaged_records", (json_int_t)report->damaged_records, "damaged_blocks",
			     (json_int_t)report->damaged_blocks, "damaged_savesets",
			     (json_int_t)report->damaged_savesets, "seconds", seconds));
	size_format(report->bytes_read, read);
	size_format((uint64_t)((double)report->bytes_read / (seconds > 0.001 ? seconds : 0.001)), rate);
	size_format(report->plain_bytes, plain);
	char records[80] = "";
	if (report->records)
		snprintf(records, sizeof(records), ", %" PRIu64 " records, %s of content", report->records, plain);
	output_text(output, "%s: %" PRIu64 " segments%s, %s read, %s/s", verb, report->segments, records, read, rate);
	if (is_whole)
		output_text(output, "no damage found");
	else
		output_text(output,
			    "damage found: %" PRIu64 " segments, %" PRIu64 " records, %" PRIu64
			    " blocks of disks, %" PRIu64 " savesets",
			    report->damaged_segments, report->damaged_records, report->damaged_blocks,
			    report->damaged_savesets);
}
