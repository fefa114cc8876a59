/* SPDX-License-Identifier: Apache-2.0 */
/* The whole way from bytes to disks. The first byte of the input chooses:
 *  - even: the rest is a file as it is, compressed or not;
 *  - odd: the rest is a list of members of 6 bytes each, made into an archive with right headers and checksums, which
 * no fuzzer would find by itself: { disk, number, length low, length high, content, flags }. */
#include "ingest/tar.h"
#include "ingest/xva.h"
#include "ingest/xva_sum.h"

#include <stdlib.h>
#include <string.h>

#define ARCHIVE_MAX (4u << 20)
#define FLAG_SHA1 1
#define FLAG_NO_CHECKSUM 2
#define FLAG_BAD_CHECKSUM 4
#define FLAG_LARGE 8 /* length times 16 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct archive {
	uint8_t *data;
	size_t length;
};

static const char document[] =
	"<value><struct><member><name>version</name><value><struct><member><name>export_vsn</name><value>2</value></"
	"member>"
	"</struct></value></member><member><name>objects</name><value><array><data>"
	"<value><struct><member><name>class</name><value>VDI</value></member><member><name>id</name><value>Ref:1</"
	"value></member>"
	"<member><name>snapshot</name><value><struct><member><name>type</name><value>suspend</value></member>"
	"<member><name>virtual_size</name><value>17000001</value></member></struct></value></member></struct></value>"
	"<value><struct><member><name>class</name><value>VDI</value></member><member><name>id</name><value>Ref:2</"
	"value></member>"
	"<member><name>snapshot</name><value><struct><member><name>type</name><value>suspend</value></member>"
	"<member><name>virtual_size</name><value>4096</value></member></struct></value></member></struct></value>"
	"</data></array></value></member></struct></value>";

static void add(struct archive *a, const char *name, const void *content, size_t n)
{
	size_t padded = n + tar_padding(n);
	if (padded + TAR_RECORD_SIZE > ARCHIVE_MAX - a->length)
		return;
	if (tar_header_make(name, n, a->data + a->length, NULL) != ERR_OK)
		abort();
	a->length += TAR_RECORD_SIZE;
	memset(a->data + a->length, 0, padded);
	memcpy(a->data + a->length, content, n);
	a->length += padded;
}

static void add_chunk(struct archive *a, struct xva_sum *sum, const uint8_t spec[6])
{
	static uint8_t content[16 * 65536];
	struct xva_member member = {.number = spec[1]};
	char name[XVA_MEMBER_NAME_SIZE], text[XVA_SUM_TEXT_SIZE];
	size_t n = spec[2] | (size_t)spec[3] << 8;
	if (spec[5] & FLAG_LARGE)
		n *= 16;
	memset(content, spec[4], n);
	memcpy(member.ref, spec[0] & 1 ? "Ref:1" : "Ref:2", sizeof("Ref:1"));
	add(a, xva_member_format(&member, name), content, n);
	if (spec[5] & FLAG_NO_CHECKSUM)
		return;
	member.checksum = spec[5] & FLAG_SHA1 ? XVA_SHA1 : XVA_XXHASH;
	if (xva_sum_begin(sum, member.checksum, NULL) != ERR_OK || xva_sum_update(sum, content, n, NULL) != ERR_OK ||
	    xva_sum_end(sum, member.checksum, text, NULL) != ERR_OK)
		abort();
	if (spec[5] & FLAG_BAD_CHECKSUM)
		text[0] = text[0] == '0' ? '1' : '0';
	add(a, xva_member_format(&member, name), text, strlen(text));
}

static void assemble(struct archive *a, const uint8_t *data, size_t size)
{
	struct xva_sum *sum = NULL;
	if (xva_sum_new(&sum, NULL) != ERR_OK)
		abort();
	add(a, "ova.xml", document, sizeof(document) - 1);
	for (; size >= 6; data += 6, size -= 6)
		add_chunk(a, sum, data);
	if (a->length + 2 * TAR_RECORD_SIZE <= ARCHIVE_MAX) {
		memset(a->data + a->length, 0, 2 * TAR_RECORD_SIZE);
		a->length += 2 * TAR_RECORD_SIZE;
	}
	xva_sum_free(sum);
}

/* Reads a disk to its end; leaves ascend and stay within the disk. */
static enum err_code read_disk(struct block_source *source)
{
	static uint8_t *buffers[SOURCE_LEAF_BUFFERS];
	struct source_leaf leaf;
	uint64_t least = 0;
	for (size_t i = 0; i < SOURCE_LEAF_BUFFERS; i++)
		if (!buffers[i] && !(buffers[i] = aligned_alloc(4096, 1u << 20)))
			abort();
	for (;;) {
		struct err err = {0};
		enum err_code code = source->ops->read_next(source, buffers, &leaf, &err);
		if (code == ERR_BUG || (code != ERR_OK && !err.msg[0]))
			abort();
		if (code != ERR_OK || leaf.end)
			return code;
		if (leaf.leaf < least || leaf.leaf > (source->size_bytes - 1) >> 23)
			abort();
		least = leaf.leaf + 1;
	}
}

static void read_all(const uint8_t *data, size_t size)
{
	struct stream *stream = NULL;
	struct source_set set = {0};
	struct err err = {0};
	if (stream_open_memory(data, size, "fuzz", &stream, &err) != ERR_OK ||
	    xva_source_from_stream(stream, "fuzz", &set, &err) != ERR_OK)
		return;
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < set.count && code == ERR_OK; i++)
		code = read_disk(set.sources[i]);
	for (size_t i = 0; i < set.count && code == ERR_OK; i++)
		code = set.sources[i]->ops->finish(set.sources[i], &err);
	for (size_t i = 0; i < set.count; i++)
		block_source_close(set.sources[i]);
	free(set.documents[0].data);
	free(set.documents);
	free(set.sources);
	set.release(set.owner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t archive_data[ARCHIVE_MAX];
	if (size < 1)
		return 0;
	if ((data[0] & 1) == 0) {
		read_all(data + 1, size - 1);
		return 0;
	}
	struct archive archive = {.data = archive_data};
	assemble(&archive, data + 1, size - 1);
	read_all(archive.data, archive.length);
	return 0;
}
