/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the seeds that are real structures of the store, each where its target looks for it: make_seeds CORPUS
 * Their first byte, where there is one, asks for MACs that fit; zeroes at the end are left out. */
#include "store/commit_log_internal.h"
#include "store/io_sim.h"
#include "store/recovery_key.h"
#include "store/segment_format.h"
#include "store/store_internal.h"
#include "tests/fuzz/fuzz.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

static const char *corpus;

static void write_seed(const char *target, const char *name, int flags, const void *data, size_t length)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", corpus, target);
	(void)mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/%s/%s", corpus, target, name);
	FILE *file = fopen(path, "wb");
	require(file && (flags < 0 || fputc(flags, file) == flags) && fwrite(data, 1, length, file) == length);
	require(fclose(file) == 0);
}

static void write_trimmed(const char *target, const char *name, int flags, const uint8_t *data, size_t length)
{
	while (length > 0 && data[length - 1] == 0)
		length--;
	write_seed(target, name, flags, data, length);
}

static void write_text(const char *target, const char *name, const char *text)
{
	write_seed(target, name, -1, text, strlen(text));
}

static struct uuid some_id(unsigned number)
{
	struct uuid id;
	memset(id.bytes, (int)number, sizeof(id.bytes));
	return id;
}

/* ---- Segments ---- */

static void seed_headers(void)
{
	static uint8_t bytes[SEGMENT_HEADER_MAX];
	struct segment_key_slot slots[20] = {0};
	for (unsigned i = 0; i < 20; i++) {
		slots[i].origin = some_id(i + 1);
		slots[i].cipher = AEAD_AES_256_GCM;
		slots[i].wrapped_set = i % 2 == 0;
		memset(slots[i].sealed, 's', sizeof(slots[i].sealed));
	}
	struct segment_header header = {
		.id = some_id(1),
		.store_id = fuzz_store_id,
		.number = 7,
		.kind = SEGMENT_DATA,
		.created_unix_s = 1700000000,
		.key_slots = slots,
	};
	for (header.key_slot_count = 1; header.key_slot_count <= 20; header.key_slot_count += 19) {
		header.length = segment_header_length(header.key_slot_count);
		segment_header_encode(&header, fuzz_key, bytes);
		write_trimmed("segment_header", header.key_slot_count == 1 ? "one-key" : "many-keys", FUZZ_SEAL, bytes,
			      header.length - 32);
	}
}

static void seed_stripe(void)
{
	uint8_t bytes[4096] = {0};
	struct record_entry entry = {
		.offset = 4096 + STRIPE_HEAD_SIZE,
		.stored_length = 100 + AEAD_TAG_SIZE,
		.raw_length = 100,
		.kind = RECORD_CHUNK,
		.codec = CODEC_RAW,
	};
	struct stripe_head head = {
		.segment_id = some_id(1),
		.record_count = 3,
		.length = sizeof(bytes),
		.dir_offset = STRIPE_HEAD_SIZE + 3 * entry.stored_length,
	};
	for (unsigned i = 0; i < head.record_count; i++) {
		record_entry_encode(&entry, bytes + head.dir_offset + (size_t)i * RECORD_ENTRY_SIZE);
		entry.offset += entry.stored_length;
		entry.ordinal++;
		entry.codec = CODEC_ZSTD;
		entry.raw_length = 4000;
	}
	stripe_head_encode(&head, fuzz_key, bytes);
	write_trimmed("stripe", "three-records", FUZZ_SEAL, bytes, sizeof(bytes));
	write_trimmed("stripe", "not-sealed", 0, bytes, sizeof(bytes));
}

static void seed_trailers(void)
{
	uint8_t bytes[TRAILER_SIZE];
	struct trailer trailer = {
		.id = some_id(1),
		.store_id = fuzz_store_id,
		.number = 7,
		.kind = SEGMENT_META,
		.header_length = 4096,
		.stripe_count = 2,
		.record_count = 70,
		.column_length = 4096,
		.data_end = 65536,
		.covered = 65536 + TRAILER_SIZE + 8192,
		.stored_bytes = 50000,
		.raw_bytes = 100000,
		.sealed_unix_s = 1700000000,
	};
	for (int i = 0; i < 2; i++, trailer.is_trailer = true) {
		trailer_encode(&trailer, fuzz_key, bytes, NULL);
		write_trimmed("trailer", i ? "trailer" : "footer", FUZZ_SEAL, bytes, TRAILER_SIZE - 32);
	}
}

/* { flags, seals, patches { offset (3), length (1), bytes } } of fuzz_segment.c. */
static void seed_segments(void)
{
	write_seed("segment", "intact", 0, "\0", 1);
	write_seed("segment", "intact-known", 1, "\0", 1);
	write_seed("segment", "salvaged-copied", 2 | 4, "\0", 1);
	write_seed("segment", "copied", 4, "\0", 1);
	write_seed("segment", "record-damaged", 4, "\0\x90\x10\0\1\xff", 6);
	write_seed("segment", "header-lost", 0, "\0\0\0\0\4dead", 9);
	write_seed("segment", "cut-in-the-stripes", 2 | 4 | 8, "\0\0\x30\0\0", 5);
	write_seed("segment", "entry-forged", 2, "\1\xa0\x1f\0\4\xff\xff\xff\xff", 9);
}

/* ---- Log ---- */

static size_t append_entry(uint8_t *log, size_t at, const struct store_keys *keys, struct log_entry_content *content)
{
	uint8_t *entry;
	size_t length;
	require(log_entry_encode(content, keys, &entry, &length, content->previous_mac, NULL) == ERR_OK);
	memcpy(log + at, entry, length);
	free(entry);
	content->sequence++;
	content->checkpoint = false;
	return at + length;
}

static void seed_log(void)
{
	static uint8_t log[16 * LOG_PAGE];
	static struct store_keys keys;
	keys.store_id = fuzz_store_id;
	memcpy(keys.auth, fuzz_key, KEY_SIZE);
	struct segment_info segments[3] = {
		{.number = 1, .kind = SEGMENT_DATA}, {.number = 2, .kind = SEGMENT_META}, {.number = 5}};
	for (unsigned i = 0; i < 3; i++) {
		segments[i].kind = i ? SEGMENT_META : SEGMENT_DATA;
		segments[i].id = some_id(i + 1);
		segments[i].record_count = 10;
	}
	struct log_saveset saveset = {.id = some_id(9), .time_unix_s = 1700000000};
	struct log_entry_content content = {
		.checkpoint = true,
		.sequence = 1,
		.time_unix_s = 1700000000,
		.next_segment = 1,
	};
	size_t end = append_entry(log, 0, &keys, &content);
	write_trimmed("log_entry", "empty", FUZZ_SEAL, log, end);
	content.segments = segments;
	content.segment_count = 2;
	content.savesets = &saveset;
	content.saveset_count = 1;
	content.next_segment = 3;
	end = append_entry(log, end, &keys, &content);
	content.segments = segments + 2;
	content.segment_count = 1;
	content.saveset_count = 0;
	content.next_segment = 6;
	end = append_entry(log, end, &keys, &content);
	write_trimmed("log_entry", "chain", FUZZ_SEAL | 2, log, end);
	write_trimmed("log_entry", "chain-not-sealed", 0, log, end);
}

/* ---- Texts ---- */

static void seed_saveset(void)
{
	struct saveset *saveset;
	struct saveset_disk *disk;
	struct saveset_document *document;
	char *text;
	size_t length;
	require(saveset_new("web server", &saveset, NULL) == ERR_OK);
	require(saveset_add_warning(saveset, "a warning", NULL) == ERR_OK);
	require(saveset_add_tag(saveset, "nightly", NULL) == ERR_OK);
	require(saveset_add_excluded(saveset, "scratch", NULL) == ERR_OK);
	require(saveset_add_disk(saveset, "xvda", &disk, NULL) == ERR_OK);
	saveset->vm_uuid = some_id(3);
	saveset->note = strdup("a \"note\"");
	disk->uuid = some_id(4);
	disk->format = strdup("vhd");
	disk->bytes = (struct saveset_bytes){
		.size = 100000, .data = 65536, .read = 100000, .changed = 65536, .fresh = 65536, .stored = 999};
	disk->map = (struct disk_map){.block_count = 2, .has_root = true};
	require(saveset_add_document(saveset, "ova.xml", &document, NULL) == ERR_OK);
	document->length = 1234;
	document->map = (struct disk_map){.block_count = 1};
	require(saveset_encode(saveset, &text, &length, NULL) == ERR_OK);
	write_seed("saveset", "one-disk", -1, text, length);
	free(text);
	saveset_free(saveset);
}

static void copy_file(struct io *io, const char *path, const char *target, const char *name, int flags)
{
	uint8_t *data;
	size_t length;
	require(io_read_file(io, path, 4096, &data, &length, NULL) == ERR_OK);
	write_seed(target, name, flags, data, length);
	free(data);
}

static void seed_store_files(void)
{
	struct io *io;
	uint8_t secret[KEY_SIZE];
	char file[64] = {"a key file of at least thirty-two bytes"};
	struct store_init_options options = {
		.slot_kind = KEY_SLOT_KEY_FILE,
		.secret = file,
		.secret_length = sizeof(file),
		.slot_name = "seed",
	};
	struct store_config config;
	struct store_keys *keys;
	struct unlock unlock = {UNLOCK_KEY_FILE, file, sizeof(file)};
	struct passphrase_cost cost = {1, 8192};
	uint32_t slot;
	require(io_sim_new(1, 0, &io, NULL) == ERR_OK && store_init(io, &options, secret, &config, NULL) == ERR_OK);
	require(keys_unlock(io, &config.id, &unlock, &keys, NULL) == ERR_OK);
	require(key_slot_add(io, keys, KEY_SLOT_PASSPHRASE, "mäuse", "word", 4, &cost, &slot, NULL) == ERR_OK &&
		slot == 1);
	copy_file(io, "store.conf", "store_config", "default", -1);
	copy_file(io, "keys/slot-00", "key_files", "slot-key-file", 0);
	copy_file(io, "keys/slot-01", "key_files", "slot-passphrase", 0);
	copy_file(io, "keys/recovery", "key_files", "recovery", 1);
	keys_free(keys);
	io_free(io);
}

static void seed_recovery_key(void)
{
	uint8_t secret[KEY_SIZE];
	char text[RECOVERY_LINES * (RECOVERY_LINE_SIZE + 4)], qr[RECOVERY_QR_TEXT_SIZE];
	size_t n = 0;
	for (unsigned i = 0; i < KEY_SIZE; i++)
		secret[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < RECOVERY_LINES; i++) {
		char line[RECOVERY_LINE_SIZE];
		recovery_key_line(secret, i, line);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%u: %s\n", i + 1, line);
	}
	write_text("recovery_key", "words", text);
	recovery_key_qr_text(secret, &fuzz_store_id, qr);
	write_text("recovery_key", "qr", qr);
}

static void seed_text(void)
{
	write_text("text", "size", "1.5GiB");
	write_text("text", "number", "18446744073709551615");
	write_text("text", "uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
	write_text("text", "hex", "00112233445566778899aAbBcCdDeEfF");
	write_text("text", "time", "2026-11-22T09:48:00Z");
}

int main(int argc, char **argv)
{
	if (argc != 2 || sodium_init() < 0)
		return 2;
	corpus = argv[1];
	seed_headers();
	seed_stripe();
	seed_trailers();
	seed_segments();
	seed_log();
	seed_saveset();
	seed_store_files();
	seed_recovery_key();
	seed_text();
	write_seed("commit_log", "read", 0, "", 0);
	write_seed("commit_log", "write", 4, "", 0);
	write_seed("commit_log", "write-a-torn", 4, "\0\x30\0\4torn", 8);
	write_seed("commit_log", "write-b-lost", 4 | 32, "", 0);
	write_seed("commit_log", "read-b-cut", 8, "\0\x50\0\0", 4);
	write_seed("commit_log", "write-forged-sequence", 4 | 1, "\x20\x10\0\1\xff", 5);
	return 0;
}
