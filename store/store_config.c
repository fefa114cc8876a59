/* SPDX-License-Identifier: Apache-2.0 */
/* store.conf: lines "key = value", comments with '#'. docs/FORMAT.md, "store.conf". */
#include "store/store_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_MAX = 4096 };

/* The lines that the check covers, in their order. Returns their length. */
static size_t format_config(const struct store_config *config, char *dst, size_t size)
{
	char id[UUID_TEXT_SIZE];
	char created[CLOCK_TEXT_SIZE];
	int n = snprintf(dst, size,
			 "format = %" PRIu32 "\n"
			 "id = %s\n"
			 "mode = %s\n"
			 "block_size = %u\n"
			 "segment_size = %" PRIu32 "\n"
			 "stripe_size = %" PRIu32 "\n"
			 "created = %s\n",
			 config->format_version, uuid_format(&config->id, id), config->sealed ? "sealed" : "readable",
			 BLOCK_SIZE, config->segment_size, config->stripe_size,
			 clock_format_utc(config->created_unix_s, created));
	return (size_t)n;
}

static void config_check(const struct store_config *config, const struct store_keys *keys,
			 char ret_hex[static CONFIG_CHECK_SIZE])
{
	char text[CONFIG_MAX];
	uint8_t mac[32];
	struct mac_part parts[] = {{"store.conf", 10}, {text, format_config(config, text, sizeof(text))}};
	key_mac(keys->auth, parts, 2, mac);
	hex_format(mac, sizeof(mac), ret_hex);
}

enum err_code store_write_config(struct io *io, const struct store_config *config, const struct store_keys *keys,
				 struct err *err)
{
	static const char comment[] = "# A Xenolith store. Everything here belongs to the program; see xenolith(1).\n";
	char text[CONFIG_MAX];
	char check[CONFIG_CHECK_SIZE];
	size_t used = sizeof(comment) - 1;
	memcpy(text, comment, used);
	used += format_config(config, text + used, sizeof(text) - used);
	config_check(config, keys, check);
	used += (size_t)snprintf(text + used, sizeof(text) - used, "check = %s\n", check);
	return io_write_file(io, "store.conf", text, used, err);
}

/* ---- Reading ---- */

struct parsed_config {
	struct store_config config;
	char check[CONFIG_CHECK_SIZE];
	unsigned seen; /* bit per key */
};

static bool parse_u32(const char *value, uint32_t min, uint32_t max, uint32_t *ret)
{
	uint64_t number;
	if (number_parse(value, "value", min, max, &number, NULL) != ERR_OK)
		return false;
	*ret = (uint32_t)number;
	return true;
}

static bool parse_mode(const char *value, bool *ret_sealed)
{
	*ret_sealed = strcmp(value, "sealed") == 0;
	return *ret_sealed || strcmp(value, "readable") == 0;
}

static bool parse_check(const char *value, char ret[static CONFIG_CHECK_SIZE])
{
	uint8_t bytes[32];
	if (!hex_parse(value, bytes, sizeof(bytes)))
		return false;
	memcpy(ret, value, CONFIG_CHECK_SIZE);
	return true;
}

/* Takes one line's value; false if it makes no sense. Unknown keys are left for later versions. */
static bool parse_value(struct parsed_config *p, const char *key, const char *value)
{
	static const char *const keys[] = {"format",       "id",          "mode",    "block_size",
					   "segment_size", "stripe_size", "created", "check"};
	struct store_config *c = &p->config;
	uint32_t block_size;
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(key, keys[i]) != 0)
			continue;
		p->seen |= 1u << i;
		switch (i) {
		case 0:
			return parse_u32(value, 1, UINT32_MAX, &c->format_version);
		case 1:
			return uuid_parse(value, &c->id);
		case 2:
			return parse_mode(value, &c->sealed);
		case 3:
			return parse_u32(value, BLOCK_SIZE, BLOCK_SIZE, &block_size);
		case 4:
			return parse_u32(value, SEGMENT_SIZE_MIN, SEGMENT_SIZE_MAX, &c->segment_size);
		case 5:
			return parse_u32(value, STRIPE_SIZE_MIN, STRIPE_SIZE_MAX, &c->stripe_size);
		case 6:
			return clock_parse_utc(value, &c->created_unix_s);
		default:
			return parse_check(value, p->check);
		}
	}
	return true;
}

static enum err_code parse_line(struct parsed_config *p, char *line, struct err *err)
{
	line += strspn(line, " \t");
	if (*line == '#' || *line == '\0')
		return ERR_OK;
	char *equals = strchr(line, '=');
	if (!equals)
		return err_set(err, ERR_CORRUPT, 0, "'store.conf' has a line that is no setting");
	char *value = equals + 1 + strspn(equals + 1, " \t");
	while (equals > line && (equals[-1] == ' ' || equals[-1] == '\t'))
		equals--;
	*equals = '\0';
	if (parse_value(p, line, value))
		return ERR_OK;
	return err_set(err, ERR_CORRUPT, 0, "'store.conf': '%s' cannot be '%s'", line, value);
}

static enum err_code check_complete(const struct parsed_config *p, struct err *err)
{
	if (p->seen != 0xff)
		return err_set(err, ERR_CORRUPT, 0, "'store.conf' is not complete");
	if (p->config.segment_size % (SEGMENT_COLUMNS * 4096) || p->config.stripe_size % 4096 ||
	    p->config.segment_size < 4 * p->config.stripe_size)
		return err_set(err, ERR_CORRUPT, 0, "'store.conf': the segment and stripe sizes do not fit each other");
	return ERR_OK;
}

enum err_code store_config_parse(const void *data, size_t length, struct store_config *ret,
				 char ret_check[static CONFIG_CHECK_SIZE], struct err *err)
{
	struct parsed_config p = {0};
	char text[CONFIG_MAX + 1];
	if (length > CONFIG_MAX || memchr(data, '\0', length))
		return err_set(err, ERR_CORRUPT, 0, "'store.conf' is not a text of at most %d bytes", CONFIG_MAX);
	memcpy(text, data, length);
	text[length] = '\0';
	/* The version first: a newer format may have values that this program takes for damage. */
	struct err first = {0};
	char *rest = NULL;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		ERR_IGNORE(parse_line(&p, line, &first));
	if (p.config.format_version > STORE_FORMAT_VERSION)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "the store has format %" PRIu32 "; this program knows format %u and older",
			       p.config.format_version, STORE_FORMAT_VERSION);
	if (first.code)
		return err_set(err, first.code, 0, "%s", first.msg);
	TRY(check_complete(&p, err));
	*ret = p.config;
	memcpy(ret_check, p.check, CONFIG_CHECK_SIZE);
	return ERR_OK;
}

static enum err_code read_config(struct io *io, struct store_config *ret, char ret_check[static CONFIG_CHECK_SIZE],
				 struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	size_t length;
	struct err why = {0};
	enum err_code code = io_read_file(io, "store.conf", CONFIG_MAX, &data, &length, &why);
	if (code == ERR_NOT_FOUND)
		return err_set(err, ERR_NO_STORE, 0, "there is no store here: 'store.conf' is missing");
	if (code != ERR_OK)
		return err_set(err, code, 0, "%s", why.msg);
	return store_config_parse(data, length, ret, ret_check, err);
}

enum err_code store_read_config(struct io *io, struct store_config *ret, struct err *err)
{
	char check[CONFIG_CHECK_SIZE];
	return read_config(io, ret, check, err);
}

enum err_code store_check_config(struct io *io, const struct store_config *config, const struct store_keys *keys,
				 struct err *err)
{
	struct store_config again;
	char found[CONFIG_CHECK_SIZE];
	TRY(read_config(io, &again, found, err));
	char check[CONFIG_CHECK_SIZE];
	config_check(config, keys, check);
	if (sodium_memcmp(check, found, CONFIG_CHECK_SIZE - 1) != 0)
		return err_set(err, ERR_CORRUPT, 0, "'store.conf' was changed: its check does not fit");
	return ERR_OK;
}
