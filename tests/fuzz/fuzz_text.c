/* SPDX-License-Identifier: Apache-2.0 */
/* The small values that people type and files hold: sizes, numbers, identities, times. What is accepted, written anew,
 * is the same. */
#include "base/clock.h"
#include "base/size.h"
#include "base/uuid.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

#define TEXT_MAX 256

static void try_size(const char *text)
{
	uint64_t bytes, again;
	char formatted[SIZE_TEXT_SIZE], plain[32];
	struct err err = {0};
	if (size_parse(text, &bytes, &err) != ERR_OK) {
		require(err.code == ERR_INVALID && err.msg[0]);
		return;
	}
	require(bytes <= INT64_MAX && strlen(size_format(bytes, formatted)) < sizeof(formatted));
	snprintf(plain, sizeof(plain), "%llu", (unsigned long long)bytes);
	require(size_parse(plain, &again, NULL) == ERR_OK && again == bytes);
}

static void try_number(const char *text, uint64_t min, uint64_t max)
{
	uint64_t value;
	struct err err = {0};
	if (number_parse(text, "number", min, max, &value, &err) == ERR_OK)
		require(value >= min && value <= max);
	else
		require(err.code == ERR_INVALID && err.msg[0]);
}

static void try_identity(const char *text)
{
	struct uuid id, again;
	uint8_t bytes[16];
	char formatted[UUID_TEXT_SIZE];
	if (uuid_parse(text, &id))
		require(uuid_parse(uuid_format(&id, formatted), &again) && uuid_equal(&id, &again));
	if (hex_parse(text, bytes, sizeof(bytes)))
		require(strlen(text) == 2 * sizeof(bytes) &&
			hex_parse(hex_format(bytes, 16, formatted), id.bytes, 16) && memcmp(bytes, id.bytes, 16) == 0);
}

static void try_time(const char *text)
{
	uint64_t unix_s, again;
	char formatted[CLOCK_TEXT_SIZE];
	if (clock_parse_utc(text, &unix_s))
		require(clock_parse_utc(clock_format_utc(unix_s, formatted), &again) && unix_s == again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > TEXT_MAX)
		return 0;
	char *text = (char *)fuzz_pad(data, size, size + 1);
	try_size(text);
	try_number(text, 0, UINT64_MAX);
	try_number(text, 1, 4096);
	try_identity(text);
	try_time(text);
	free(text);
	return 0;
}
