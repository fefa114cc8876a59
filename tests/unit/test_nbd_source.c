/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/size.h"
#include "ingest/formats.h"
#include "ingest/nbd_source.h"
#include "tests/nbd_server.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define DISK_SIZE (5 * MIB + 12345)

/* What a test leaves behind if it fails in its middle. */
struct fixture {
	struct nbd_server server;
	struct source_set set;
	struct block_source *source;
	struct block_target *target;
	uint8_t *disk;
	uint8_t *copy;
	char path[128];
	char path_option[144];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char directory[64];
	test_directory_make(directory);
	f->disk = malloc(DISK_SIZE);
	f->copy = malloc(DISK_SIZE);
	fill_noise(f->disk, DISK_SIZE, 1);
	memset(f->disk + MIB, 0, 3 * MIB);
	snprintf(f->path, sizeof(f->path), "%s/disk", directory);
	snprintf(f->path_option, sizeof(f->path_option), "file=%s", f->path);
	write_file(f->path, f->disk, DISK_SIZE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	source_set_release(&f->set);
	block_source_close(f->source);
	block_target_close(f->target);
	nbd_server_stop(&f->server);
	*strrchr(f->path, '/') = '\0';
	test_directory_remove(f->path);
	free(f->disk);
	free(f->copy);
	free(f);
	return 0;
}

static void open_disk(struct fixture *f)
{
	struct err err = {0};
	if (nbd_source_open(f->server.uri, &f->set, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_int_equal(f->set.count, 1);
	assert_string_equal(f->set.sources[0]->ops->format, "nbd");
	assert_string_equal(f->set.sources[0]->name, f->server.uri);
}

static void check_disk(struct fixture *f)
{
	struct err err = {0};
	uint64_t bytes_read;
	assert_int_equal(f->set.sources[0]->size_bytes, DISK_SIZE);
	if (read_whole(f->set.sources[0], f->copy, &bytes_read, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_memory_equal(f->copy, f->disk, DISK_SIZE);
	assert_int_equal(f->set.sources[0]->ops->finish(f->set.sources[0], &err), ERR_OK);
}

static void test_source__reads_a_disk_of_odd_size(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "file", f->path_option);
	open_disk(f);
	check_disk(f);
}

static void test_source__skips_what_the_server_calls_zero(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "data", "data=0x55*65536 @3221225472 0x66*65536 @5368709120 1");
	open_disk(f);
	struct block_source *source = f->set.sources[0];
	struct err err = {0};
	struct block_extent extent;
	uint64_t zero_bytes = 0;
	for (uint64_t offset = 0; offset < source->size_bytes; offset = extent.offset + extent.length) {
		assert_int_equal(source->ops->extent(source, offset, &extent, &err), ERR_OK);
		assert_true(extent.offset <= offset && extent.length > offset - extent.offset);
		assert_true(extent.length <= source->size_bytes - extent.offset);
		if (extent.zero)
			zero_bytes += extent.offset + extent.length - offset;
		else
			assert_true(extent.offset < MIB || extent.offset >= 3 * GIB);
	}
	assert_true(zero_bytes > 4 * GIB);
	/* Backwards, out of the remembered window. */
	assert_int_equal(source->ops->extent(source, 1, &extent, &err), ERR_OK);
	assert_false(extent.zero);
	assert_int_equal(extent.offset, 0);
}

static void test_source__reads_all_without_allocation_map(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=noextents", "file", f->path_option);
	open_disk(f);
	uint64_t bytes_read;
	struct err err = {0};
	/* nbdkit says "all is data" here; a server without structured replies cannot say anything. */
	assert_int_equal(read_whole(f->set.sources[0], f->copy, &bytes_read, &err), ERR_OK);
	assert_int_equal(bytes_read, DISK_SIZE);
	assert_memory_equal(f->copy, f->disk, DISK_SIZE);
}

static void test_source__reads_from_a_server_without_structured_replies(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--no-sr", "file", f->path_option);
	open_disk(f);
	assert_null(f->set.sources[0]->ops->extent);
	check_disk(f);
}

static void test_source__obeys_block_size_limits(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=blocksize-policy", "--filter=truncate", "file", f->path_option,
			 "blocksize-minimum=4096", "blocksize-maximum=64K", "blocksize-preferred=4096",
			 "blocksize-error-policy=error", "round-up=4096");
	open_disk(f);
	uint64_t bytes_read;
	struct err err = {0};
	uint64_t size = f->set.sources[0]->size_bytes;
	assert_int_equal(size, round_up(DISK_SIZE, 4096));
	AUTO_FREE uint8_t *copy = malloc(size);
	if (read_whole(f->set.sources[0], copy, &bytes_read, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_memory_equal(copy, f->disk, DISK_SIZE);
}

struct worker {
	struct block_source *source;
	uint8_t *copy;
	enum err_code code;
	struct err err;
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	uint64_t bytes_read;
	worker->code = read_whole(worker->source, worker->copy, &bytes_read, &worker->err);
	return NULL;
}

static void check_parallel(struct fixture *f)
{
	struct worker workers[4];
	pthread_t threads[4];
	for (size_t i = 0; i < 4; i++) {
		workers[i] = (struct worker){.source = f->set.sources[0], .copy = malloc(DISK_SIZE)};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		if (workers[i].code != ERR_OK)
			fail_msg("%s", workers[i].err.msg);
		assert_memory_equal(workers[i].copy, f->disk, DISK_SIZE);
		free(workers[i].copy);
	}
}

static void test_source__lanes_share_one_connection_where_only_one_is_allowed(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "--filter=multi-conn", "--filter=limit", "-r", "file", f->path_option,
			 "multi-conn-mode=disable", "limit=1");
	open_disk(f);
	check_parallel(f);
}

static void test_source__lanes_open_connections_of_their_own(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "file", f->path_option);
	open_disk(f);
	check_parallel(f);
}

static void test_source__shares_when_the_server_refuses_more_connections(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "--filter=limit", "-r", "file", f->path_option, "limit=2");
	open_disk(f);
	check_parallel(f);
}

static void expect_read_error(struct fixture *f, struct block_source *source, enum err_code code, const char *text)
{
	struct err err = {0};
	uint64_t bytes_read;
	assert_int_equal(read_whole(source, f->copy, &bytes_read, &err), code);
	if (!strstr(err.msg, text))
		fail_msg("'%s' is not in: %s", text, err.msg);
}

static void test_source__read_error_names_the_offset(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=error", "file", f->path_option, "error-pread=EIO",
			 "error-pread-rate=100%");
	open_disk(f);
	expect_read_error(f, f->set.sources[0], ERR_IO, "cannot read 1048576 bytes at offset");
	expect_read_error(f, f->set.sources[0], ERR_IO, "Input/output error");
	/* An error of a read is not one of the connection. */
	struct err err = {0};
	assert_int_equal(f->set.sources[0]->ops->finish(f->set.sources[0], &err), ERR_OK);
}

static void test_source__broken_allocation_answers_read_as_data(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=error", "file", f->path_option, "error-extents=EIO",
			 "error-extents-rate=100%");
	open_disk(f);
	check_disk(f);
}

static void open_impatient(struct fixture *f)
{
	const struct nbd_address address = {
		.uri = f->server.uri, .name = "the server", .limits = {.connect_ms = 10000, .idle_ms = 200}};
	struct err err = {0};
	if (nbd_source_new(&address, "nbd", &f->source, &err) != ERR_OK)
		fail_msg("%s", err.msg);
}

static void test_source__gives_up_a_silent_server(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=delay", "--filter=multi-conn", "file", f->path_option,
			 "delay-read=60", "multi-conn-mode=disable");
	open_impatient(f);
	expect_read_error(f, f->source, ERR_TIMEOUT, "server 'the server' has ended no request for");
	/* And stays so, at once. */
	expect_read_error(f, f->source, ERR_TIMEOUT, "server 'the server' has ended no request for");
	struct err err = {0};
	assert_int_equal(f->source->ops->finish(f->source, &err), ERR_TIMEOUT);
}

static void test_source__gives_up_a_silent_server_on_its_own_connection(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=delay", "file", f->path_option, "delay-read=60");
	open_impatient(f);
	expect_read_error(f, f->source, ERR_TIMEOUT, "server 'the server' has ended no request for");
}

static void test_source__connecting_has_a_limit(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=delay", "file", f->path_option, "delay-open=60");
	const struct nbd_address address = {
		.uri = f->server.uri, .name = "the server", .limits = {.connect_ms = 200, .idle_ms = 200}};
	struct err err = {0};
	assert_int_equal(nbd_source_new(&address, "nbd", &f->source, &err), ERR_TIMEOUT);
	assert_string_equal(err.msg, "cannot connect to 'the server': no answer within 1 s");
}

static void test_source__server_that_dies_is_an_error(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=multi-conn", "--filter=delay", "file", f->path_option,
			 "multi-conn-mode=disable", "delay-read=1");
	open_disk(f);
	struct block_source *source = f->set.sources[0];
	struct block_reader *reader;
	struct err err = {0};
	struct block_read read = {.length = 65536, .data = f->copy};
	assert_int_equal(source->ops->reader_open(source, NULL, 1, &reader, &err), ERR_OK);
	reader->ops->submit(reader, &read);
	kill(f->server.child->pid, SIGKILL);
	while (!read.done)
		assert_int_equal(reader->ops->wait(reader, &err), ERR_OK);
	assert_int_equal(read.err.code, ERR_NET);
	assert_non_null(strstr(read.err.msg, "lost server 'nbd+unix://"));
	read = (struct block_read){.length = 65536, .data = f->copy};
	reader->ops->submit(reader, &read);
	assert_true(read.done);
	assert_int_equal(read.err.code, ERR_NET);
	reader->ops->close(reader);
	assert_int_equal(source->ops->finish(source, &err), ERR_NET);
}

static void test_source__close_ends_reads_in_flight(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "-r", "--filter=delay", "file", f->path_option, "delay-read=1");
	open_disk(f);
	struct block_source *source = f->set.sources[0];
	struct block_reader *reader;
	struct err err = {0};
	struct block_read read = {.length = 65536, .data = f->copy};
	assert_int_equal(source->ops->reader_open(source, NULL, 1, &reader, &err), ERR_OK);
	reader->ops->submit(reader, &read);
	reader->ops->close(reader);
}

static void expect_open_error(const char *uri, enum err_code code, const char *text)
{
	struct source_set set = {0};
	struct err err = {0};
	assert_int_equal(nbd_source_open(uri, &set, &err), code);
	assert_null(set.sources);
	if (!strstr(err.msg, text))
		fail_msg("'%s' is not in: %s", text, err.msg);
}

static void test_source__addresses_that_cannot_be_used_are_refused(void **state)
{
	(void)state;
	expect_open_error("nbd+unix:///?socket=/nonexistent/s", ERR_NOT_FOUND, "cannot connect to 'nbd+unix:///");
	expect_open_error("nbd://127.0.0.1:1/", ERR_NET, "Connection refused");
	expect_open_error("nbd+vsock:///", ERR_UNSUPPORTED, "is not an address that can be used");
	expect_open_error("nbd+ssh://host/", ERR_UNSUPPORTED, "is not an address that can be used");
	expect_open_error("nbd+unix:///", ERR_NET, "cannot connect to");
}

static void test_source__empty_and_absurd_disks_are_refused(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "null", "0");
	expect_open_error(f->server.uri, ERR_UNSUPPORTED, "is an empty disk");
	nbd_server_stop(&f->server);
	NBD_SERVER_START(&f->server, "null", "4E");
	expect_open_error(f->server.uri, ERR_UNSUPPORTED, "absurd size of 4611686018427387904 bytes");
}

static void test_source__unknown_export_is_refused(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "--filter=exportname", "null", "1M", "exportname-strict=true", "exportname=here");
	char uri[256];
	snprintf(uri, sizeof(uri), "nbd+unix:///gone?socket=%s", f->server.socket_path);
	expect_open_error(uri, ERR_NOT_FOUND, "cannot connect to");
}

static void expect_hostile(struct fixture *f, const char *behaviour, enum err_code code, const char *text)
{
	nbd_server_start_hostile(&f->server, behaviour);
	open_impatient(f);
	expect_read_error(f, f->source, code, text);
	block_source_close(f->source);
	f->source = NULL;
	nbd_server_stop(&f->server);
}

static void test_source__server_that_lies_about_data_is_refused(void **state)
{
	struct fixture *f = *state;
	expect_hostile(f, "short-read", ERR_NET, "server sent 524288 of 1048576 bytes at offset");
	expect_hostile(f, "no-data", ERR_NET, "server sent 0 of 1048576 bytes at offset");
	expect_hostile(f, "read-beyond", ERR_NET, "lost server 'the server'");
	expect_hostile(f, "wrong-cookie", ERR_NET, "lost server 'the server'");
	expect_hostile(f, "hang-up", ERR_NET, "lost server 'the server'");
	expect_hostile(f, "trickle", ERR_TIMEOUT, "server 'the server' has ended no request");
	expect_hostile(f, "resize", ERR_CORRUPT, "'the server' changed its size from 4194304 to 4259840 bytes");
}

static void test_source__server_that_lies_about_allocation_is_refused(void **state)
{
	struct fixture *f = *state;
	expect_hostile(f, "empty-extent", ERR_NET, "sent a broken allocation map at offset 0");
	expect_hostile(f, "no-extents", ERR_NET, "");
}

static void test_source__block_sizes_that_cannot_be_used_are_refused(void **state)
{
	struct fixture *f = *state;
	nbd_server_start_hostile(&f->server, "limits");
	expect_open_error(f->server.uri, ERR_UNSUPPORTED, "asks for blocks of at least 1 and at most 1000 bytes");
}

static void test_source__odd_but_legal_answers_are_read(void **state)
{
	static const char *const behaviours[] = {"none", "long-extents", "many-extents", "unaligned"};
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(behaviours) / sizeof(behaviours[0]); i++) {
		struct err err = {0};
		uint64_t bytes_read;
		nbd_server_start_hostile(&f->server, behaviours[i]);
		open_impatient(f);
		memset(f->copy, 1, 4 * MIB);
		if (read_whole(f->source, f->copy, &bytes_read, &err) != ERR_OK)
			fail_msg("%s: %s", behaviours[i], err.msg);
		assert_int_equal(bytes_read, 4 * MIB);
		for (size_t j = 0; j < 4 * MIB; j++)
			if (f->copy[j])
				fail_msg("%s: byte %zu is not zero", behaviours[i], j);
		block_source_close(f->source);
		f->source = NULL;
		nbd_server_stop(&f->server);
	}
}

static void make_psk(struct fixture *f, char path[static 160], const char *name)
{
	snprintf(path, 160, "%s.%s.psk", f->path, name);
	char command[256];
	snprintf(command, sizeof(command), "psktool -u alice -p %s >/dev/null 2>&1", path);
	assert_int_equal(system(command), 0);
}

static void test_source__encrypts_if_and_only_if_the_scheme_says_so(void **state)
{
	struct fixture *f = *state;
	if (!test_has_program("psktool"))
		skip();
	char right[160];
	char wrong[160];
	char option[192];
	char uri[512];
	make_psk(f, right, "right");
	make_psk(f, wrong, "wrong");
	snprintf(option, sizeof(option), "--tls-psk=%s", right);
	NBD_SERVER_START(&f->server, "-r", "--tls=require", option, "file", f->path_option);
	expect_open_error(f->server.uri, ERR_NET, "cannot connect to");
	snprintf(uri, sizeof(uri), "nbds+unix://alice@/?socket=%s&tls-psk-file=%s", f->server.socket_path, wrong);
	expect_open_error(uri, ERR_NET, "cannot connect to");
	snprintf(uri, sizeof(uri), "nbds+unix://alice@/?socket=%s&tls-psk-file=%s", f->server.socket_path, right);
	struct err err = {0};
	if (nbd_source_open(uri, &f->set, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	check_disk(f);
	check_parallel(f);
	source_set_release(&f->set);
	nbd_server_stop(&f->server);

	/* A server that does not encrypt must not be talked to in the clear. */
	NBD_SERVER_START(&f->server, "-r", "file", f->path_option);
	snprintf(uri, sizeof(uri), "nbds+unix://alice@/?socket=%s&tls-psk-file=%s", f->server.socket_path, right);
	expect_open_error(uri, ERR_NET, "cannot connect to");
}

/* A directory with a certificate of `host`, and the authority that signed it. */
static void make_certificates(const struct fixture *f, const char *name, const char *host)
{
	char command[1024];
	snprintf(command, sizeof(command),
		 "exec >/dev/null 2>&1; set -e; mkdir %s.%s; cd %s.%s;"
		 "printf 'cn = test\\nca\\ncert_signing_key\\n' >ca.info;"
		 "printf 'cn = %s\\ndns_name = %s\\ntls_www_server\\nsigning_key\\n' >server.info;"
		 "certtool --generate-privkey --key-type=ecdsa --outfile ca-key.pem;"
		 "certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info --outfile ca-cert.pem;"
		 "certtool --generate-privkey --key-type=ecdsa --outfile server-key.pem;"
		 "certtool --generate-certificate --load-privkey server-key.pem --load-ca-certificate ca-cert.pem "
		 "--load-ca-privkey ca-key.pem --template server.info --outfile server-cert.pem",
		 f->path, name, f->path, name, host, host);
	assert_int_equal(system(command), 0);
}

/* A port that nobody listened on just now. */
static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void start_tls_server(struct fixture *f, const char *certificates, unsigned port)
{
	char option[256];
	char port_text[16];
	snprintf(option, sizeof(option), "--tls-certificates=%s.%s", f->path, certificates);
	snprintf(port_text, sizeof(port_text), "%u", port);
	nbd_server_prepare(&f->server);
	const char *const argv[] = {"nbdkit",
				    "-f",
				    "-r",
				    "-i",
				    "127.0.0.1",
				    "-p",
				    port_text,
				    "--tls=require",
				    option,
				    "--pidfile",
				    f->server.ready_path,
				    "file",
				    f->path_option,
				    NULL};
	nbd_server_run(&f->server, argv);
}

static void test_source__server_must_prove_its_name(void **state)
{
	struct fixture *f = *state;
	if (!test_has_program("certtool"))
		skip();
	char uri[512];
	unsigned port = free_port();
	make_certificates(f, "right", "localhost");
	make_certificates(f, "other", "elsewhere.example");
	start_tls_server(f, "right", port);
	/* No authority to check the certificate with: encrypted, but with whom? */
	setenv("HOME", "/nonexistent", /* overwrite= */ 1);
	snprintf(uri, sizeof(uri), "nbds://localhost:%u/?tls-certificates=/nonexistent", port);
	expect_open_error(uri, ERR_INVALID, "nothing to check the identity of server 'nbds://localhost:");
	snprintf(uri, sizeof(uri), "nbds://localhost:%u/?tls-certificates=%s.other", port, f->path);
	expect_open_error(uri, ERR_NET, "certificate verification");
	snprintf(uri, sizeof(uri), "nbds://localhost:%u/?tls-certificates=%s.right", port, f->path);
	struct err err = {0};
	if (nbd_source_open(uri, &f->set, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	check_disk(f);
	source_set_release(&f->set);
	nbd_server_stop(&f->server);

	start_tls_server(f, "other", port);
	snprintf(uri, sizeof(uri), "nbds://localhost:%u/?tls-certificates=%s.other", port, f->path);
	expect_open_error(uri, ERR_NET, "certificate verification");
}

static void open_target(struct fixture *f, uint64_t size_bytes)
{
	const struct target_options options = {.overwrite = true};
	struct err err = {0};
	if (nbd_target_open(f->server.uri, &options, "disk", size_bytes, &f->target, &err) != ERR_OK)
		fail_msg("%s", err.msg);
}

/* Writes the fixture's disk: its zeroes with `zero`, the rest with two writes in flight. */
static void write_disk(struct fixture *f)
{
	struct block_writer *writer;
	struct err err = {0};
	/* Memory behind the last write is zero up to 4096 bytes. */
	AUTO_FREE uint8_t *tail = calloc(1, 2 * MIB);
	memcpy(tail, f->disk + 4 * MIB, DISK_SIZE - 4 * MIB);
	assert_int_equal(f->target->ops->writer_open(f->target, NULL, 2, &writer, &err), ERR_OK);
	struct block_write writes[3] = {
		{.offset = 0, .length = MIB, .data = f->disk},
		{.offset = 4 * MIB, .length = MIB, .data = tail},
		{.offset = 5 * MIB, .length = DISK_SIZE - 5 * MIB, .data = tail + MIB},
	};
	for (size_t i = 0; i < 2; i++)
		writer->ops->submit(writer, &writes[i]);
	if (writer->ops->zero(writer, MIB, 3 * MIB, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	while (!writes[0].done || !writes[1].done)
		assert_int_equal(writer->ops->wait(writer, &err), ERR_OK);
	writer->ops->submit(writer, &writes[2]);
	while (!writes[2].done)
		assert_int_equal(writer->ops->wait(writer, &err), ERR_OK);
	for (size_t i = 0; i < 3; i++)
		if (writes[i].err.code != ERR_OK)
			fail_msg("%s", writes[i].err.msg);
	writer->ops->close(writer);
	if (f->target->ops->finish(f->target, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	block_target_close(f->target);
	f->target = NULL;
}

/* Overwrites the file behind the server with other noise, then writes the disk over it. */
static void check_write(struct fixture *f, size_t export_size)
{
	AUTO_FREE uint8_t *noise = malloc(export_size);
	fill_noise(noise, export_size, 2);
	write_file(f->path, noise, export_size);
	open_target(f, DISK_SIZE);
	write_disk(f);
	FILE *file = fopen(f->path, "rb");
	assert_non_null(file);
	assert_int_equal(fread(f->copy, 1, DISK_SIZE, file), DISK_SIZE);
	fclose(file);
	assert_memory_equal(f->copy, f->disk, DISK_SIZE);
}

static void test_target__writes_and_zeroes(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "file", f->path_option);
	check_write(f, DISK_SIZE);
}

static void test_target__writes_zeroes_where_the_server_cannot(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "--filter=nozero", "file", f->path_option);
	check_write(f, DISK_SIZE);
}

static void test_target__pads_the_end_to_the_servers_blocks(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "--filter=blocksize-policy", "file", f->path_option, "blocksize-minimum=512",
			 "blocksize-maximum=128K", "blocksize-preferred=4096", "blocksize-error-policy=error");
	check_write(f, 6 * MIB);
}

static void test_target__larger_export_is_noticed(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "memory", "6M");
	open_target(f, 5 * MIB);
	assert_true(f->target->notice_set);
	assert_string_equal(f->target->notice,
			    "the target is larger than the disk; its last 1048576 bytes were left as they are");
}

static void expect_target_error(struct fixture *f, bool overwrite, uint64_t size_bytes, enum err_code code,
				const char *text)
{
	const struct target_options options = {.overwrite = overwrite};
	struct err err = {0};
	assert_int_equal(nbd_target_open(f->server.uri, &options, "sda", size_bytes, &f->target, &err), code);
	assert_null(f->target);
	if (!strstr(err.msg, text))
		fail_msg("'%s' is not in: %s", text, err.msg);
}

static void test_target__unfit_exports_are_refused(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "memory", "1M");
	expect_target_error(f, /* overwrite= */ false, MIB, ERR_EXISTS, "add --overwrite");
	expect_target_error(f, /* overwrite= */ true, MIB + 1, ERR_NO_SPACE,
			    "has 1048576 bytes, disk 'sda' needs 1048577");
	nbd_server_stop(&f->server);
	NBD_SERVER_START(&f->server, "-r", "memory", "1M");
	expect_target_error(f, /* overwrite= */ true, MIB, ERR_UNSUPPORTED, "is exported read-only");
}

static void expect_write_error(struct fixture *f, enum err_code code)
{
	struct block_writer *writer;
	struct err err = {0};
	struct block_write write = {.offset = 65536, .length = 65536, .data = f->disk};
	open_target(f, MIB);
	assert_int_equal(f->target->ops->writer_open(f->target, NULL, 1, &writer, &err), ERR_OK);
	writer->ops->submit(writer, &write);
	while (!write.done)
		assert_int_equal(writer->ops->wait(writer, &err), ERR_OK);
	assert_int_equal(write.err.code, code);
	assert_non_null(strstr(write.err.msg, "cannot write 65536 bytes at offset 65536 of 'nbd+unix://"));
	writer->ops->close(writer);
}

static void test_target__write_errors_are_kept_apart(void **state)
{
	struct fixture *f = *state;
	NBD_SERVER_START(&f->server, "--filter=error", "memory", "1M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%");
	expect_write_error(f, ERR_NO_SPACE);
	block_target_close(f->target);
	f->target = NULL;
	nbd_server_stop(&f->server);
	NBD_SERVER_START(&f->server, "--filter=error", "memory", "1M", "error-pwrite=EIO", "error-pwrite-rate=100%");
	expect_write_error(f, ERR_IO);
}

int main(void)
{
	if (!test_has_program("nbdkit"))
		return test_skip("nbdkit is not installed");
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_source__reads_a_disk_of_odd_size),
		TEST(test_source__skips_what_the_server_calls_zero),
		TEST(test_source__reads_all_without_allocation_map),
		TEST(test_source__reads_from_a_server_without_structured_replies),
		TEST(test_source__obeys_block_size_limits),
		TEST(test_source__lanes_share_one_connection_where_only_one_is_allowed),
		TEST(test_source__lanes_open_connections_of_their_own),
		TEST(test_source__shares_when_the_server_refuses_more_connections),
		TEST(test_source__read_error_names_the_offset),
		TEST(test_source__broken_allocation_answers_read_as_data),
		TEST(test_source__gives_up_a_silent_server),
		TEST(test_source__gives_up_a_silent_server_on_its_own_connection),
		TEST(test_source__connecting_has_a_limit),
		TEST(test_source__server_that_dies_is_an_error),
		TEST(test_source__close_ends_reads_in_flight),
		TEST(test_source__addresses_that_cannot_be_used_are_refused),
		TEST(test_source__empty_and_absurd_disks_are_refused),
		TEST(test_source__unknown_export_is_refused),
		TEST(test_source__encrypts_if_and_only_if_the_scheme_says_so),
		TEST(test_source__server_must_prove_its_name),
		TEST(test_source__server_that_lies_about_data_is_refused),
		TEST(test_source__server_that_lies_about_allocation_is_refused),
		TEST(test_source__block_sizes_that_cannot_be_used_are_refused),
		TEST(test_source__odd_but_legal_answers_are_read),
		TEST(test_target__writes_and_zeroes),
		TEST(test_target__writes_zeroes_where_the_server_cannot),
		TEST(test_target__pads_the_end_to_the_servers_blocks),
		TEST(test_target__larger_export_is_noticed),
		TEST(test_target__unfit_exports_are_refused),
		TEST(test_target__write_errors_are_kept_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
