/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/xva.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *suffix;
	enum xva_checksum checksum;
} suffixes[] = {{"", XVA_NO_CHECKSUM}, {".checksum", XVA_SHA1}, {".xxhash", XVA_XXHASH}};

/* Eight digits, or up to ten without a leading zero. Returns how many characters they are, 0 if they are none such. */
static size_t number_parse_digits(const char *p, uint64_t *ret)
{
	size_t n = strspn(p, "0123456789");
	if (n < 8 || n > 10 || (n > 8 && p[0] == '0'))
		return 0;
	uint64_t value = 0;
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (uint64_t)(p[i] - '0');
	*ret = value;
	return n;
}

bool xva_member_parse(const char *name, struct xva_member *ret)
{
	struct xva_member member = {0};
	size_t ref_length = strcspn(name, "/");
	if (ref_length == 0 || ref_length > OVA_REF_MAX || name[ref_length] != '/')
		return false;
	memcpy(member.ref, name, ref_length);
	const char *digits = name + ref_length + 1;
	size_t digit_count = number_parse_digits(digits, &member.number);
	if (!digit_count)
		return false;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		if (strcmp(digits + digit_count, suffixes[i].suffix) == 0) {
			member.checksum = suffixes[i].checksum;
			*ret = member;
			return true;
		}
	}
	return false;
}

char *xva_member_format(const struct xva_member *member, char dst[static XVA_MEMBER_NAME_SIZE])
{
	const char *suffix = "";
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (suffixes[i].checksum == member->checksum)
			suffix = suffixes[i].suffix;
	snprintf(dst, XVA_MEMBER_NAME_SIZE, "%s/%08" PRIu64 "%s", member->ref, member->number, suffix);
	return dst;
}

enum err_code xva_disk_refs(const uint8_t *ova_xml, size_t n, struct xva_disk **ret, size_t *ret_count, struct err *err)
{
	struct ova ova = {0};
	TRY(ova_xml_parse(ova_xml, n, &ova, err));
	*ret_count = ova.disk_count;
	*ret = TAKE_PTR(ova.disks);
	ova_release(&ova);
	return ERR_OK;
}
