/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/nbd_connection.h"

#include "base/clock.h"
#include "base/size.h"
#include "ingest/nbd_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

/* What libnbd's manual takes as safe for servers that state no limit (nbd_get_block_size). */
#define DEFAULT_PAYLOAD_MAX (32u << 20)
#define ALIGN_MAX 65536u

const struct nbd_limits nbd_default_limits = {.connect_ms = 30000, .idle_ms = 60000};

struct scheme {
	const char *prefix;
	uint32_t transport;
	int tls;
};

static const struct scheme schemes[] = {
	{"nbd://", LIBNBD_ALLOW_TRANSPORT_TCP, LIBNBD_TLS_DISABLE},
	{"nbds://", LIBNBD_ALLOW_TRANSPORT_TCP, LIBNBD_TLS_REQUIRE},
	{"nbd+unix://", LIBNBD_ALLOW_TRANSPORT_UNIX, LIBNBD_TLS_DISABLE},
	{"nbds+unix://", LIBNBD_ALLOW_TRANSPORT_UNIX, LIBNBD_TLS_REQUIRE},
};

static const struct scheme *find_scheme(const char *spec)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncmp(spec, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			return &schemes[i];
	return NULL;
}

bool nbd_is_address(const char *spec)
{
	return find_scheme(spec) != NULL;
}

/* The library's last error of this thread, as a reason in our message about `name`. */
static enum err_code library_error(const char *what, const char *name, struct err *err)
{
	int os_errno = nbd_get_errno();
	enum err_code code = ERR_NET;
	if (os_errno == ENOENT)
		code = ERR_NOT_FOUND;
	else if (os_errno == ENOMEM)
		code = ERR_NO_MEMORY;
	const char *text = nbd_get_error();
	err_set(err, code, 0, "%s '%s': %s", what, name, text ? text : "unknown error");
	if (err)
		err->os_errno = os_errno;
	return code;
}

/* Settings before connecting (libnbd(3), nbd_connect_uri(3) "Disable URI features"). */
static int configure(struct nbd_handle *handle, const struct scheme *scheme)
{
	/* Every byte of a buffer is checked to have come (nbd_lane.c), so libnbd need not clear it first. */
	if (nbd_set_pread_initialize(handle, false) < 0 ||
	    nbd_add_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0)
		return -1;
	if (!scheme)
		return 0;
	/* Whoever names the address names the key file in it ("tls-psk-file="): it is the user's own file. */
	if (nbd_set_tls_verify_peer(handle, true) < 0 || nbd_set_uri_allow_transports(handle, scheme->transport) < 0 ||
	    nbd_set_uri_allow_tls(handle, scheme->tls) < 0 || nbd_set_uri_allow_local_file(handle, true) < 0)
		return -1;
	return 0;
}

static enum err_code handshake(struct nbd_handle *handle, const struct nbd_address *address, struct err *err)
{
	uint64_t deadline_ns = clock_mono_ns() + (uint64_t)address->limits.connect_ms * 1000000;
	int started = address->uri ? nbd_aio_connect_uri(handle, address->uri)
				   : nbd_aio_connect_unix(handle, address->socket_path);
	if (started < 0)
		return library_error("cannot connect to", address->name, err);
	while (nbd_aio_is_connecting(handle)) {
		uint64_t now_ns = clock_mono_ns();
		if (now_ns >= deadline_ns)
			return err_set(err, ERR_TIMEOUT, 0, "cannot connect to '%s': no answer within %u s",
				       address->name, (address->limits.connect_ms + 999) / 1000);
		if (nbd_poll(handle, (int)((deadline_ns - now_ns) / 1000000) + 1) < 0)
			return library_error("cannot connect to", address->name, err);
	}
	if (!nbd_aio_is_ready(handle))
		return err_set(err, ERR_NET, 0, "cannot connect to '%s': the server closed the connection",
			       address->name);
	return ERR_OK;
}

/* The server's block size constraints, which it may have made up (nbd_get_block_size(3)). */
static enum err_code read_block_sizes(struct nbd_connection *connection, struct err *err)
{
	int64_t minimum = nbd_get_block_size(connection->handle, LIBNBD_SIZE_MINIMUM);
	int64_t maximum = nbd_get_block_size(connection->handle, LIBNBD_SIZE_MAXIMUM);
	if (minimum < 0 || maximum < 0)
		return library_error("cannot ask for the block sizes of", connection->name, err);
	uint64_t align = minimum ? (uint64_t)minimum : 1;
	uint64_t payload = maximum ? min_u64((uint64_t)maximum, DEFAULT_PAYLOAD_MAX) : DEFAULT_PAYLOAD_MAX;
	bool power_of_two = (align & (align - 1)) == 0;
	if (power_of_two && align <= ALIGN_MAX)
		payload = round_down(payload, align);
	if (!power_of_two || align > ALIGN_MAX || payload < NBD_PAYLOAD_MIN)
		return err_set(
			err, ERR_UNSUPPORTED, 0,
			"server '%s' asks for blocks of at least %lld and at most %lld bytes, which cannot be used",
			connection->name, (long long)minimum, (long long)maximum);
	connection->align = (uint32_t)align;
	connection->payload_max = (uint32_t)payload;
	/* A last piece shorter than the alignment: let the server decide instead of refusing it here. */
	if (connection->size_bytes % align != 0) {
		uint32_t strict = nbd_get_strict_mode(connection->handle);
		if (nbd_set_strict_mode(connection->handle, strict & ~LIBNBD_STRICT_ALIGN) < 0)
			return library_error("cannot set up", connection->name, err);
	}
	return ERR_OK;
}

static enum err_code read_export(struct nbd_connection *connection, struct err *err)
{
	struct nbd_handle *handle = connection->handle;
	int64_t size = nbd_get_size(handle);
	if (size < 0)
		return library_error("cannot ask for the size of", connection->name, err);
	if (size == 0)
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' is an empty disk", connection->name);
	if ((uint64_t)size > NBD_SIZE_MAX)
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' claims an absurd size of %lld bytes", connection->name,
			       (long long)size);
	connection->size_bytes = (uint64_t)size;
	connection->read_only = nbd_is_read_only(handle) != 0;
	connection->multi_conn = nbd_can_multi_conn(handle) > 0;
	connection->can_zero = nbd_can_zero(handle) > 0;
	connection->can_flush = nbd_can_flush(handle) > 0;
	connection->has_extents = nbd_can_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0;
	return read_block_sizes(connection, err);
}

static struct nbd_connection *connection_new(const struct nbd_address *address)
{
	struct nbd_connection *connection = calloc(1, sizeof(*connection));
	if (!connection)
		return NULL;
	pthread_mutex_init(&connection->lock, NULL);
	pthread_cond_init(&connection->moved, NULL);
	connection->idle_ms = address->limits.idle_ms;
	connection->name = strdup(address->name);
	connection->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	connection->handle = nbd_create();
	if (!connection->name || connection->wake_fd < 0 || !connection->handle) {
		nbd_connection_close(connection);
		return NULL;
	}
	return connection;
}

enum err_code nbd_connection_open(const struct nbd_address *address, struct nbd_connection **ret, struct err *err)
{
	const struct scheme *scheme = NULL;
	if (address->uri) {
		scheme = find_scheme(address->uri);
		if (!scheme)
			return err_set(err, ERR_UNSUPPORTED, 0,
				       "'%s' is not an address that can be used; give nbd://, nbds://, nbd+unix:// or "
				       "nbds+unix://",
				       address->uri);
	}
	if (scheme && scheme->tls == LIBNBD_TLS_REQUIRE)
		TRY(nbd_tls_check(address->uri, err));
	AUTO(cleanup_nbd_connection) struct nbd_connection *connection = connection_new(address);
	if (!connection)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the connection to '%s'", address->name);
	if (configure(connection->handle, scheme) < 0)
		return library_error("cannot set up the connection to", address->name, err);
	TRY(handshake(connection->handle, address, err));
	if (scheme && scheme->tls == LIBNBD_TLS_REQUIRE && nbd_get_tls_negotiated(connection->handle) <= 0)
		return err_set(err, ERR_NET, 0, "server '%s' does not encrypt, and the address asks for it",
			       address->name);
	TRY(read_export(connection, err));
	*ret = TAKE_PTR(connection);
	return ERR_OK;
}

void nbd_connection_close(struct nbd_connection *connection)
{
	if (!connection)
		return;
	if (connection->handle && !connection->in_flight && nbd_aio_is_ready(connection->handle))
		(void)nbd_aio_disconnect(connection->handle, 0);
	nbd_close(connection->handle);
	if (connection->wake_fd >= 0)
		close(connection->wake_fd);
	pthread_cond_destroy(&connection->moved);
	pthread_mutex_destroy(&connection->lock);
	free(connection->name);
	free(connection);
}

enum err_code nbd_connection_check(struct nbd_connection *connection, struct err *err)
{
	LOCK_SCOPE(&connection->lock);
	if (connection->failure.code != ERR_OK && err && err->code == ERR_OK)
		*err = connection->failure;
	return connection->failure.code;
}
