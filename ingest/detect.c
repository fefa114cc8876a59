/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/detect.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"
#include "ingest/formats.h"
#include "ingest/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#define TAR_BLOCK 512u

/* A text descriptor (VMDK 5.0) is a few lines; a raw disk that starts with the same words is longer than this. */
#define VMDK_TEXT_MAX MIB

/* Window of zstd's --long mode; larger ones are refused, as the zstd program does by default. */
#define ZSTD_WINDOW_LOG_MAX 27

/* True if `block` is a tar header (POSIX ustar, "Header Block") of the member that every XVA starts with: its name, and
 * the sum of its bytes in octal at byte 148, taken with blanks in the sum's own place. */
static bool is_xva_header(const uint8_t block[static TAR_BLOCK])
{
	static const char name[] = "ova.xml";
	if (memcmp(block, name, sizeof(name)) != 0)
		return false;
	uint32_t sum = 0;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : block[i];
	uint32_t stated = 0;
	size_t i = 148;
	while (i < 156 && block[i] == ' ')
		i++;
	for (; i < 156 && block[i] >= '0' && block[i] <= '7'; i++)
		stated = stated * 8 + (uint32_t)(block[i] - '0');
	return sum == stated;
}

static bool is_gzip_xva(const uint8_t *head, size_t length)
{
	uint8_t block[TAR_BLOCK];
	z_stream z = {0};
	z.next_in = (Bytef *)(uintptr_t)head; /* zlib reads only */
	z.avail_in = (uInt)length;
	z.next_out = block;
	z.avail_out = sizeof(block);
	/* 16: expect a gzip header (zlib.h, inflateInit2). */
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return false;
	int result = inflate(&z, Z_SYNC_FLUSH);
	inflateEnd(&z);
	return (result == Z_OK || result == Z_STREAM_END) && z.avail_out == 0 && is_xva_header(block);
}

static bool is_zstd_xva(const uint8_t *head, size_t length)
{
	uint8_t block[TAR_BLOCK];
	ZSTD_DCtx *context = ZSTD_createDCtx();
	if (!context)
		return false;
	ZSTD_inBuffer in = {head, length, 0};
	ZSTD_outBuffer out = {block, sizeof(block), 0};
	size_t result = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	while (!ZSTD_isError(result) && out.pos < out.size) {
		size_t in_before = in.pos;
		size_t out_before = out.pos;
		result = ZSTD_decompressStream(context, &out, &in);
		if (in.pos == in_before && out.pos == out_before)
			break;
	}
	ZSTD_freeDCtx(context);
	return out.pos == out.size && is_xva_header(block);
}

static bool has_at(const uint8_t *head, size_t length, size_t offset, const char *magic, size_t magic_length)
{
	return offset <= length && magic_length <= length - offset && memcmp(head + offset, magic, magic_length) == 0;
}

static bool is_vmdk_text(const uint8_t *head, size_t length, uint64_t size_bytes)
{
	static const char words[] = "# Disk DescriptorFile";
	/* QEMU fills the last sector up with zeroes. */
	while (length > 0 && head[length - 1] == '\0')
		length--;
	return size_bytes <= VMDK_TEXT_MAX && has_at(head, length, 0, words, sizeof(words) - 1) &&
	       !memchr(head, '\0', length);
}

struct magic {
	const char *format;
	size_t offset;
	const char *bytes;
	size_t length;
};

#define MAGIC(format, offset, bytes)                     \
	{                                                \
		format, offset, bytes, sizeof(bytes) - 1 \
	}

static const struct magic magics[] = {
	MAGIC("vhd", 0, "conectix"),          /* VHD 1.0: the footer's copy of a dynamic or differencing disk */
	MAGIC("vhdx", 0, "vhdxfile"),         /* MS-VHDX 2.2.1 */
	MAGIC("qcow2", 0, "QFI\xfb\0\0\0\2"), /* QCOW2 specification, versions 2 and 3 */
	MAGIC("qcow2", 0, "QFI\xfb\0\0\0\3"),
	MAGIC("vmdk", 0, "KDMV"),             /* VMDK 5.0, hosted sparse extent */
	MAGIC("vmdk", 0, "COWD"),             /* VMDK 5.0, ESX server sparse extent */
	MAGIC("vdi", 64, "\x7f\x10\xda\xbe"), /* VirtualBox, VDIPREHEADER: 0xbeda107f little-endian after 64 of text */
	MAGIC("qed", 0, "QED\0"),             /* QED specification */
	MAGIC("parallels", 0, "WithoutFreeSpace"), /* Parallels expandable image, older */
	MAGIC("parallels", 0, "WithouFreSpacExt"), /* and newer */
};

const char *detect_bytes(const uint8_t *head, size_t length, uint64_t size_bytes)
{
	length = min_u64(length, DETECT_HEAD_BYTES);
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (has_at(head, length, magics[i].offset, magics[i].bytes, magics[i].length))
			return magics[i].format;
	if (is_vmdk_text(head, length, size_bytes))
		return "vmdk";
	if (length >= TAR_BLOCK && is_xva_header(head))
		return "xva";
	enum stream_coding coding = stream_coding_of(head, length);
	if (coding == STREAM_GZIP && is_gzip_xva(head, length))
		return "xva";
	if (coding == STREAM_ZSTD && is_zstd_xva(head, length))
		return "xva";
	return "raw";
}

static enum err_code read_head(int fd, const char *path, uint8_t *head, size_t *ret_length, struct err *err)
{
	size_t length = 0;
	while (length < DETECT_HEAD_BYTES) {
		ssize_t n = pread(fd, head + length, DETECT_HEAD_BYTES - length, (off_t)length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "cannot read '%s'", path);
		if (n == 0)
			break;
		length += (size_t)n;
	}
	*ret_length = length;
	return ERR_OK;
}

enum err_code detect_format(const char *path, const char **ret, struct err *err)
{
	struct stat st;
	/* Not opened before its kind is known: opening a pipe would wait for its writer. */
	if (stat(path, &st) < 0)
		return err_errno(err, "cannot open '%s'", path);
	if (S_ISBLK(st.st_mode) || S_ISFIFO(st.st_mode)) {
		*ret = S_ISBLK(st.st_mode) ? "raw" : "xva";
		return ERR_OK;
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, 0, "'%s' is neither a file, a block device nor a pipe", path);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	AUTO_FREE uint8_t *head = malloc(DETECT_HEAD_BYTES);
	if (fd < 0)
		return err_errno(err, "cannot open '%s'", path);
	if (!head)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to look at '%s'", path);
	size_t length = 0;
	TRY(read_head(fd, path, head, &length, err));
	*ret = detect_bytes(head, length, (uint64_t)st.st_size);
	if (strcmp(*ret, "raw") == 0 && vhd_probe(path))
		*ret = "vhd";
	return ERR_OK;
}
