/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of images that QEMU reads, compared with the file's length. The input is a sparse file:
 *
 *   format (1), length in sectors (2, little-endian), odd bytes (1), then patches as fuzz_patch takes them
 *
 * A file that is whole stays so when it gets longer, but for VMDK, which may have its header at the end. */
#include "base/endian.h"
#include "ingest/qemu_whole.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SECTOR = 512, HEAD = 4 };

static const char *const formats[] = {"qcow2", "vmdk", "vdi", "parallels", "raw"};

static void write_patches(int fd, size_t length, const uint8_t *data, size_t size)
{
	while (size >= 4 && length > 0) {
		size_t offset = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % length;
		size_t n = data[3] < size - 4 ? data[3] : size - 4;
		size_t fits = n < length - offset ? n : length - offset;
		require(pwrite(fd, data + 4, fits, (off_t)offset) == (ssize_t)fits);
		data += 4 + n;
		size -= 4 + n;
	}
}

static enum err_code check(int fd, const char *format)
{
	char path[64];
	struct err err = {0};
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	enum err_code code = qemu_whole_check(path, format, &err);
	if (code != ERR_OK)
		require_message(code, &err);
	return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEAD)
		return 0;
	const char *format = formats[data[0] % (sizeof(formats) / sizeof(formats[0]))];
	size_t length = (size_t)le16_get(data + 1) * SECTOR + data[3];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	require(fd >= 0 && ftruncate(fd, (off_t)length) == 0);
	write_patches(fd, length, data + HEAD, size - HEAD);
	enum err_code code = check(fd, format);
	require(ftruncate(fd, (off_t)(length - length % SECTOR) + (off_t)SECTOR * 9) == 0);
	enum err_code longer = check(fd, format);
	require(code != ERR_OK || longer == ERR_OK || strcmp(format, "vmdk") == 0);
	close(fd);
	return 0;
}
