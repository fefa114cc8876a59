/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment_internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zstd.h>

struct record_opener {
	struct aead *aead[3]; /* by enum aead_cipher; made when first met */
	ZSTD_DCtx *zstd;
	/* Which key aead[key_cipher] has: comparing identities is cheaper than setting a key for every record. */
	unsigned key_cipher;
	struct uuid key_origin;
	struct record_open_times times;
};

enum err_code record_opener_new(struct record_opener **ret, struct err *err)
{
	struct record_opener *o = calloc(1, sizeof(*o));
	if (o)
		o->zstd = ZSTD_createDCtx();
	if (!o || !o->zstd) {
		free(o);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for opening records");
	}
	*ret = o;
	return ERR_OK;
}

void record_opener_free(struct record_opener *o)
{
	if (!o)
		return;
	for (unsigned i = 0; i < sizeof(o->aead) / sizeof(o->aead[0]); i++)
		aead_free(o->aead[i]);
	ZSTD_freeDCtx(o->zstd);
	free(o);
}

void record_opener_times(const struct record_opener *o, struct record_open_times *ret)
{
	*ret = o->times;
}

/* The AEAD context loaded with the key of a record's slot. */
static enum err_code load_key(struct record_opener *o, const struct segment *segment, unsigned slot_number,
			      struct aead **ret, struct err *err)
{
	const struct segment_key_slot *slot = &segment->header.key_slots[slot_number];
	if (!segment->has_key[slot_number])
		return err_set(err, ERR_AUTH, 0,
			       "segment %" PRIu64 " can be read with the recovery key only: the store is sealed",
			       segment->header.number);
	if (slot->cipher != AEAD_AES_256_GCM && slot->cipher != AEAD_XCHACHA20_POLY1305)
		return err_set(err, ERR_UNSUPPORTED, 0, "segment %" PRIu64 " uses unknown cipher %u",
			       segment->header.number, slot->cipher);
	if (!o->aead[slot->cipher])
		TRY(aead_new((enum aead_cipher)slot->cipher, &o->aead[slot->cipher], err));
	*ret = o->aead[slot->cipher];
	if (o->key_cipher == slot->cipher && uuid_equal(&o->key_origin, &slot->origin))
		return ERR_OK;
	o->key_cipher = 0;
	TRY(aead_set_key(*ret, segment->keys + (size_t)slot_number * KEY_SIZE, err));
	o->key_cipher = slot->cipher;
	o->key_origin = slot->origin;
	return ERR_OK;
}

enum err_code record_open(struct record_opener *o, const struct segment *segment, const struct record_entry *entry,
			  uint8_t *src, uint8_t *dst, struct err *err)
{
	struct aead *aead = NULL;
	TRY(load_key(o, segment, entry->key_slot, &aead, err));
	uint8_t ad[RECORD_AD_SIZE];
	record_associated_data(&segment->header.key_slots[entry->key_slot].origin, entry, ad);
	size_t length = entry->stored_length - AEAD_TAG_SIZE;
	uint8_t *opened = entry->codec == CODEC_RAW ? dst : src;
	uint64_t start = clock_mono_ns();
	if (aead_open(aead, entry->ordinal, ad, sizeof(ad), src, length, opened, NULL) != ERR_OK)
		return err_set(err, ERR_CORRUPT, 0, "segment %" PRIu64 ": the record at %" PRIu32 " is damaged",
			       segment->header.number, entry->offset);
	uint64_t opened_at = clock_mono_ns();
	o->times.aead_ns += opened_at - start;
	if (entry->codec == CODEC_RAW)
		return ERR_OK;
	size_t n = ZSTD_decompressDCtx(o->zstd, dst, entry->raw_length, opened, length);
	o->times.decompress_ns += clock_mono_ns() - opened_at;
	if (ZSTD_isError(n) || n != entry->raw_length)
		return err_set(err, ERR_CORRUPT, 0,
			       "segment %" PRIu64 ": the record at %" PRIu32 " does not decompress",
			       segment->header.number, entry->offset);
	return ERR_OK;
}
