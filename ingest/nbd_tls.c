/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/nbd_tls.h"

#include "base/cleanup.h"

#include <libxml/uri.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The value of parameter `name` in a query ("a=1&b=2", ";" also separates, as in libnbd), unescaped; NULL if it has
 * none. Gives the result. */
static char *query_value(const char *query, const char *name)
{
	size_t name_length = strlen(name);
	while (query && *query) {
		size_t length = strcspn(query, "&;");
		if (length > name_length && strncmp(query, name, name_length) == 0 && query[name_length] == '=')
			return xmlURIUnescapeString(query + name_length + 1, (int)(length - name_length - 1), NULL);
		query += length;
		query += *query != '\0';
	}
	return NULL;
}

static bool has_authority(const char *directory, const char *below)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s%s/ca-cert.pem", directory, below);
	return n > 0 && n < (int)sizeof(path) && access(path, R_OK) == 0;
}

static bool has_default_authority(void)
{
	const char *home = getenv("HOME");
	if (geteuid() == 0 || !home)
		return has_authority("/etc", "/pki/libnbd");
	return has_authority(home, "/.pki/libnbd") || has_authority(home, "/.config/pki/libnbd");
}

static void free_uri(xmlURI **uri)
{
	xmlFreeURI(*uri);
}

enum err_code nbd_tls_check(const char *uri, struct err *err)
{
	static const char unix_scheme[] = "nbds+unix:";
	if (strncmp(uri, unix_scheme, sizeof(unix_scheme) - 1) == 0)
		return ERR_OK;
	AUTO(free_uri) xmlURI *parsed = xmlParseURI(uri);
	if (!parsed)
		return err_set(err, ERR_INVALID, 0, "'%s' is not a well-formed address", uri);
	AUTO_FREE char *key_file = query_value(parsed->query_raw, "tls-psk-file");
	AUTO_FREE char *directory = query_value(parsed->query_raw, "tls-certificates");
	if (key_file)
		return ERR_OK;
	if (directory ? has_authority(directory, "") : has_default_authority())
		return ERR_OK;
	return err_set(err, ERR_INVALID, 0,
		       "nothing to check the identity of server '%s' with; add ?tls-certificates=DIR to the address, a "
		       "directory with the ca-cert.pem that signed the server's certificate",
		       uri);
}
