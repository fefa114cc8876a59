/* SPDX-License-Identifier: Apache-2.0 */
/* Headers: whatever is accepted is sound, and can be made again unless it uses forms that are only read. */
#include "ingest/tar.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fuzzer cannot guess the checksum, so it is set here for every other input. */
static void seal(uint8_t record[TAR_RECORD_SIZE])
{
	unsigned sum = 0;
	memset(record + 148, ' ', 8);
	for (size_t i = 0; i < TAR_RECORD_SIZE; i++)
		sum += record[i];
	for (size_t i = 6; i-- > 0; sum >>= 3)
		record[148 + i] = (uint8_t)('0' + (sum & 7));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t record[TAR_RECORD_SIZE] = {0}, again[TAR_RECORD_SIZE];
	struct tar_header header, second;
	if (size < 1)
		return 0;
	memcpy(record, data + 1, size - 1 < sizeof(record) ? size - 1 : sizeof(record));
	if (data[0] & 1)
		seal(record);
	if (tar_header_parse(record, &header, NULL) != ERR_OK)
		return 0;
	if (tar_record_is_zero(record) || strlen(header.name) > TAR_NAME_MAX || !header.name[0])
		abort();
	if (strlen(header.name) > TAR_MAKE_NAME_MAX || header.size > TAR_MAKE_SIZE_MAX)
		return 0;
	if (tar_header_make(header.name, header.size, again, NULL) != ERR_OK ||
	    tar_header_parse(again, &second, NULL) != ERR_OK || strcmp(header.name, second.name) != 0 ||
	    header.size != second.size)
		abort();
	return 0;
}
