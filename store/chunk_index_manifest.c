/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_index_internal.h"

#include "base/cursor.h"
#include "base/endian.h"

#include <string.h>
#include <xxhash.h>

static const uint8_t manifest_magic[8] = {'x', 'e', 'n', 'o', 'i', 'd', 'x', '\n'};

#define MANIFEST_VERSION 1u

size_t index_manifest_encode(const struct index_manifest *manifest, uint8_t dst[static MANIFEST_SIZE_MAX])
{
	size_t length = MANIFEST_HEAD_SIZE + MANIFEST_RUN_SIZE * (size_t)manifest->run_count;
	memset(dst, 0, length);
	memcpy(dst, manifest_magic, sizeof(manifest_magic));
	le32_put(dst + 8, MANIFEST_VERSION);
	le32_put(dst + 12, manifest->run_count);
	le64_put(dst + 16, manifest->covered);
	for (unsigned i = 0; i < manifest->run_count; i++) {
		uint8_t *p = dst + MANIFEST_HEAD_SIZE + MANIFEST_RUN_SIZE * (size_t)i;
		le32_put(p, manifest->runs[i].number);
		le64_put(p + 8, manifest->runs[i].hash);
	}
	le64_put(dst + length, XXH3_64bits(dst, length));
	return length + 8;
}

enum err_code index_manifest_decode(const uint8_t *data, size_t length, struct index_manifest *ret, struct err *err)
{
	struct cursor c = cursor_of(data, length);
	const uint8_t *magic = cursor_take(&c, sizeof(manifest_magic));
	uint32_t version = cursor_le32(&c);
	if (!magic || memcmp(magic, manifest_magic, sizeof(manifest_magic)) != 0)
		return err_set(err, ERR_CORRUPT, 0, "'%s' is not an index manifest", MANIFEST_PATH);
	if (length < MANIFEST_HEAD_SIZE + 8 || le64_get(data + length - 8) != XXH3_64bits(data, length - 8))
		return err_set(err, ERR_CORRUPT, 0, "'%s' is damaged", MANIFEST_PATH);
	if (version != MANIFEST_VERSION)
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' has version %u, this program knows %u", MANIFEST_PATH,
			       version, MANIFEST_VERSION);
	struct index_manifest manifest = {0};
	manifest.run_count = cursor_le32(&c);
	manifest.covered = cursor_le64(&c);
	if (manifest.run_count > MANIFEST_RUNS_MAX || manifest.covered >> 40)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has numbers out of range", MANIFEST_PATH);
	cursor_zeroes(&c, 8);
	for (unsigned i = 0; i < manifest.run_count; i++) {
		manifest.runs[i].number = cursor_le32(&c);
		cursor_zeroes(&c, 4);
		manifest.runs[i].hash = cursor_le64(&c);
	}
	cursor_take(&c, 8); /* the checksum */
	TRY(cursor_finish(&c, "'" MANIFEST_PATH "'", err));
	*ret = manifest;
	return ERR_OK;
}
