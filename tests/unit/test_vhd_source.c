/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_helpers.h"
#include "vhd_builder.h"

#include <pthread.h>

#define DISK_BYTES (9 * MIB + 4 * 512)
#define DISK_SECTORS (DISK_BYTES / 512)

static void check_refused(const char *path, enum err_code code, const char *text)
{
	struct source_set set = {0};
	struct err err = {0};
	assert_int_equal(vhd_source_open(path, &set, &err), code);
	check_error(&err, code, text);
	assert_null(set.sources);
}

static void check_disk(struct disk_env *env, const char *path, const uint8_t *expected, uint64_t size)
{
	struct source_set set = {0};
	check_ok(vhd_source_open(path, &set, e));
	assert_int_equal(set.count, 1);
	check_source(env, set.sources[0], expected, size);
	release_set(&set);
}

/* A raw disk with data and holes, made with `seed`. */
static uint8_t *make_disk(uint64_t size, uint64_t seed)
{
	uint8_t *data = calloc(1, size);
	assert_non_null(data);
	for (uint64_t at = 0; at < size; at += 192 * KIB) {
		uint64_t length = min_u64(test_random(&seed) % (128 * 1024), size - at);
		fill_random(data + at, length, seed);
	}
	return data;
}

/* Sectors that a file of a chain has: runs of many lengths, and whole blocks with none, some and all. */
static uint8_t *make_sectors(uint64_t sectors, uint64_t seed)
{
	uint8_t *map = calloc(1, sectors);
	assert_non_null(map);
	for (uint64_t at = 0; at < sectors;) {
		uint64_t kind = test_random(&seed) % 4;
		uint64_t run = kind == 0 ? 1 + test_random(&seed) % 9 : 1 + test_random(&seed) % 3000;
		bool set = test_random(&seed) % 2;
		for (; run > 0 && at < sectors; run--, at++)
			map[at] = set;
	}
	return map;
}

static void test_vhd_source__reads_what_qemu_img_writes(void **state)
{
	struct disk_env *env = *state;
	static const char *const options[] = {"subformat=dynamic", "subformat=fixed", "subformat=dynamic,force_size=on",
					      "subformat=fixed,force_size=on"};
	uint8_t *data = make_disk(33 * MIB, 1);
	memset(data + 8 * MIB, 0, 12 * MIB);
	const char *raw = in_dir(env, "q.raw");
	const char *vhd = in_dir(env, "q.vhd");
	write_file_at(raw, 0, data, 33 * MIB);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		shell("qemu-img convert -f raw -O vpc -o %s '%s' '%s'", options[i], raw, vhd);
		assert_true(vhd_probe(vhd));
		struct source_set set = {0};
		check_ok(vhd_source_open(vhd, &set, e));
		uint64_t size = set.sources[0]->size_bytes;
		assert_true(size >= 33 * MIB && size < 34 * MIB); /* rounded up to a geometry unless forced */
		uint8_t *expected = calloc(1, size);
		assert_non_null(expected);
		memcpy(expected, data, 33 * MIB);
		check_source(env, set.sources[0], expected, size);
		assert_false(uuid_is_null(&set.sources[0]->uuid));
		assert_string_equal(set.sources[0]->name, "q.vhd");
		free(expected);
		release_set(&set);
	}
	assert_false(vhd_probe(raw));
	free(data);
}

static void test_vhd_source__tells_what_is_not_there(void **state)
{
	struct disk_env *env = *state;
	const char *vhd = in_dir(env, "empty.vhd");
	shell("qemu-img create -q -f vpc -o force_size=on '%s' 100G", vhd);
	shell("qemu-io -f vpc -c 'write -P 7 50G 64k' '%s' >/dev/null", vhd);
	struct source_set set = {0};
	struct block_extent extent;
	check_ok(vhd_source_open(vhd, &set, e));
	struct block_source *source = set.sources[0];
	assert_int_equal(source->size_bytes, 100 * GIB);
	assert_int_equal(source->data_bytes_hint, 2 * MIB);
	uint64_t data = 0;
	unsigned calls = 0;
	for (uint64_t at = 0; at < source->size_bytes; at = extent.offset + extent.length, calls++) {
		check_ok(source->ops->extent(source, at, &extent, e));
		assert_true(extent.offset <= at && extent.offset + extent.length > at);
		data += extent.zero ? 0 : extent.length;
		assert_true(extent.zero || (extent.offset >= 50 * GIB && extent.offset < 50 * GIB + 2 * MIB));
	}
	assert_true(data >= 64 * KIB && data <= 2 * MIB);
	assert_true(calls < 20);
	release_set(&set);
}

static void test_vhd_source__finds_the_holes_of_a_fixed_disk(void **state)
{
	struct disk_env *env = *state;
	const char *vhd = in_dir(env, "fixed.vhd");
	shell("qemu-img create -q -f vpc -o subformat=fixed,force_size=on '%s' 1G", vhd);
	shell("qemu-io -f vpc -c 'write -P 7 512M 64k' '%s' >/dev/null", vhd);
	struct source_set set = {0};
	struct block_extent extent;
	check_ok(vhd_source_open(vhd, &set, e));
	struct block_source *source = set.sources[0];
	assert_int_equal(source->size_bytes, GIB);
	assert_true(source->data_bytes_hint >= 64 * KIB && source->data_bytes_hint < MIB);
	check_ok(source->ops->extent(source, MIB, &extent, e)); /* qemu-img allocates the first page */
	assert_true(extent.zero);
	assert_int_equal(extent.offset + extent.length, 512 * MIB);
	check_ok(source->ops->extent(source, 512 * MIB, &extent, e));
	assert_false(extent.zero);
	release_set(&set);
}

/* Reads a chain of three built from two block sizes, against plain arrays. */
static void chain_round_trip(struct disk_env *env, uint64_t seed, uint32_t base_type)
{
	const uint64_t base_size = 6 * MIB + 1024; /* the disk has grown since */
	uint8_t *base = make_disk(base_size, seed + 1);
	uint8_t *middle = make_disk(DISK_BYTES, seed + 2);
	uint8_t *leaf = make_disk(DISK_BYTES, seed + 3);
	uint8_t *base_map = make_sectors(base_size / 512, seed + 4);
	uint8_t *middle_map = make_sectors(DISK_SECTORS, seed + 5);
	uint8_t *leaf_map = make_sectors(DISK_SECTORS, seed + 6);
	if (base_type == 2)
		memset(base_map, 1, base_size / 512);
	build_vhd(&(struct vhd_build){.type = base_type,
				      .size = base_size,
				      .block_bytes = 512u << 10,
				      .uuid = 1,
				      .data = base,
				      .sectors = base_map},
		  in_dir(env, "c0.vhd"));
	build_vhd(&(struct vhd_build){.type = 4,
				      .size = DISK_BYTES,
				      .block_bytes = 2u << 20,
				      .uuid = 2,
				      .parent_uuid = 1,
				      .w2ru = ".\\c0.vhd",
				      .data = middle,
				      .sectors = middle_map},
		  in_dir(env, "c1.vhd"));
	build_vhd(&(struct vhd_build){.type = 4,
				      .size = DISK_BYTES,
				      .block_bytes = 1u << 20,
				      .uuid = 3,
				      .parent_uuid = 2,
				      .macx = "file://./c1.vhd",
				      .data = leaf,
				      .sectors = leaf_map},
		  in_dir(env, "c2.vhd"));
	uint8_t *expected = calloc(1, DISK_BYTES);
	assert_non_null(expected);
	for (uint64_t s = 0; s < DISK_SECTORS; s++) {
		const uint8_t *from = leaf_map[s] ? leaf : middle_map[s] ? middle : NULL;
		if (!from && s < base_size / 512 && base_map[s])
			from = base;
		if (from)
			memcpy(expected + s * 512, from + s * 512, 512);
	}
	check_disk(env, in_dir(env, "c2.vhd"), expected, DISK_BYTES);
	uint8_t *to_free[] = {base, middle, leaf, base_map, middle_map, leaf_map, expected};
	for (size_t i = 0; i < sizeof(to_free) / sizeof(to_free[0]); i++)
		free(to_free[i]);
}

static void test_vhd_source__reads_a_chain_sector_by_sector(void **state)
{
	for (uint64_t seed = 100; seed < 500; seed += 100)
		chain_round_trip(*state, seed, seed == 300 ? 2 : 3);
}

struct lane {
	pthread_t thread;
	struct block_source *source;
	struct io *io;
	uint8_t *memory;
	uint8_t *dst;
	unsigned index;
	struct err err;
};

#define LANES 3u

/* Reads every third 128 KiB after asking what is there. */
static void read_share(struct lane *lane, struct io_queue *queue)
{
	struct block_reader *reader = NULL;
	struct block_source *source = lane->source;
	const uint64_t step = 128 * KIB;
	if (source->ops->reader_open(source, queue, 1, &reader, &lane->err) != ERR_OK)
		return;
	for (uint64_t at = lane->index * step; at < source->size_bytes && lane->err.code == ERR_OK;
	     at += LANES * step) {
		struct block_read read = {
			.offset = at, .length = (uint32_t)min_u64(step, source->size_bytes - at), .data = lane->memory};
		struct block_extent extent;
		if (source->ops->extent(source, at, &extent, &lane->err) != ERR_OK)
			break;
		reader->ops->submit(reader, &read);
		while (!read.done && reader->ops->wait(reader, &lane->err) == ERR_OK)
			;
		memcpy(lane->dst + at, read.data, read.length);
		if (lane->err.code == ERR_OK)
			lane->err = read.err;
	}
	reader->ops->close(reader);
}

static void *run_lane(void *user)
{
	struct lane *lane = user;
	struct io_queue *queue = NULL;
	if (io_queue_new(lane->io, 4, lane->memory, MIB, &queue, &lane->err) == ERR_OK)
		read_share(lane, queue);
	io_queue_free(queue);
	return NULL;
}

static void test_vhd_source__lanes_share_bitmaps(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "shared.vhd");
	uint8_t *data = make_disk(DISK_BYTES, 21);
	uint8_t *map = make_sectors(DISK_SECTORS, 22);
	uint8_t *got = malloc(DISK_BYTES);
	assert_non_null(got);
	build_vhd(&(struct vhd_build){.type = 3,
				      .size = DISK_BYTES,
				      .block_bytes = 512u << 10,
				      .uuid = 1,
				      .data = data,
				      .sectors = map},
		  path);
	for (uint64_t s = 0; s < DISK_SECTORS; s++)
		if (!map[s])
			memset(data + s * 512, 0, 512);
	struct source_set set = {0};
	struct lane lanes[LANES] = {0};
	check_ok(vhd_source_open(path, &set, e));
	for (unsigned i = 0; i < LANES; i++) {
		lanes[i].index = i;
		lanes[i].source = set.sources[0];
		lanes[i].io = env->io;
		lanes[i].dst = got;
		lanes[i].memory = env->arena + ((size_t)i << 20);
		assert_int_equal(pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]), 0);
	}
	for (unsigned i = 0; i < LANES; i++) {
		pthread_join(lanes[i].thread, NULL);
		assert_string_equal(lanes[i].err.msg, "");
	}
	assert_memory_equal(got, data, DISK_BYTES);
	release_set(&set);
	free(data);
	free(map);
	free(got);
}

/* The worst case for the reader: every second sector from the parent. */
static void test_vhd_source__reads_alternating_sectors(void **state)
{
	struct disk_env *env = *state;
	uint8_t *base = malloc(DISK_BYTES);
	uint8_t *leaf = malloc(DISK_BYTES);
	uint8_t *map = calloc(1, DISK_SECTORS);
	assert_true(base && leaf && map);
	fill_random(base, DISK_BYTES, 1);
	fill_random(leaf, DISK_BYTES, 2);
	for (uint64_t s = 0; s < DISK_SECTORS; s += 2)
		map[s] = 1;
	build_vhd(&(struct vhd_build){.type = 3, .size = DISK_BYTES, .block_bytes = 2u << 20, .uuid = 1, .data = base},
		  in_dir(env, "a0.vhd"));
	build_vhd(&(struct vhd_build){.type = 4,
				      .size = DISK_BYTES,
				      .block_bytes = 2u << 20,
				      .uuid = 2,
				      .parent_uuid = 1,
				      .parent_name = "a0.vhd",
				      .data = leaf,
				      .sectors = map},
		  in_dir(env, "a1.vhd"));
	for (uint64_t s = 0; s < DISK_SECTORS; s++)
		if (!map[s])
			memcpy(leaf + s * 512, base + s * 512, 512);
	check_disk(env, in_dir(env, "a1.vhd"), leaf, DISK_BYTES);
	free(base);
	free(leaf);
	free(map);
}

/* Sectors of 4 KiB, where this machine lets us make such a device: most of a VHD can't be read directly there. */
static void test_vhd_source__reads_from_a_device_with_large_sectors(void **state)
{
	struct disk_env *env = *state;
	char command[512];
	snprintf(command, sizeof(command),
		 "cd '%s' && mkdir large && truncate -s 64M large.img && "
		 "d=$(losetup -f --show --sector-size 4096 large.img 2>/dev/null) && echo $d > large.dev && "
		 "mkfs.ext4 -q -F -b 4096 $d >/dev/null 2>&1 && mount $d large 2>/dev/null",
		 env->dir);
	if (system(command) != 0)
		skip();
	uint8_t *data = malloc(DISK_BYTES);
	assert_non_null(data);
	fill_random(data, DISK_BYTES, 8);
	struct vhd_build build = {.type = 3, .size = DISK_BYTES, .block_bytes = 2u << 20, .uuid = 1, .data = data};
	build_vhd(&build, in_dir(env, "large/x.vhd"));
	struct source_set set = {0};
	check_ok(vhd_source_open(in_dir(env, "large/x.vhd"), &set, e));
	bool noticed = set.sources[0]->notice_set && strstr(set.sources[0]->notice, "read through the page cache");
	check_source(env, set.sources[0], data, DISK_BYTES);
	release_set(&set);
	shell("cd '%s' && umount large && losetup -d $(cat large.dev)", env->dir);
	assert_true(noticed);
	free(data);
}

static void test_vhd_source__uses_the_copy_of_a_damaged_footer(void **state)
{
	struct disk_env *env = *state;
	uint8_t *data = make_disk(DISK_BYTES, 9);
	struct vhd_build build = {.type = 3, .size = DISK_BYTES, .block_bytes = 2u << 20, .uuid = 1, .data = data};
	const char *path = in_dir(env, "footer.vhd");
	for (int cut = 0; cut < 2; cut++) {
		build.no_tail = cut;
		build_vhd(&build, path);
		if (!cut)
			write_file_at(path, file_size(path) - 512, "garbage", 7);
		struct source_set set = {0};
		check_ok(vhd_source_open(path, &set, e));
		assert_true(set.sources[0]->notice_set);
		assert_non_null(strstr(set.sources[0]->notice, "the copy at its start was used"));
		check_source(env, set.sources[0], data, DISK_BYTES);
		release_set(&set);
	}
	write_file_at(path, 0, "garbage", 7);
	check_refused(path, ERR_CORRUPT, "has no VHD footer, and there is no sound copy at the start");
	free(data);
}

static void test_vhd_source__finds_the_parent_by_each_locator(void **state)
{
	struct disk_env *env = *state;
	uint8_t *data = make_disk(DISK_BYTES, 10);
	uint8_t *none = calloc(1, DISK_SECTORS);
	assert_non_null(none);
	shell("mkdir -p '%s/sub/deep'", env->dir);
	struct vhd_build parent = {.type = 3, .size = DISK_BYTES, .block_bytes = 2u << 20, .uuid = 1, .data = data};
	char absolute[128];
	snprintf(absolute, sizeof(absolute), "file://%s/sub/p.vhd", env->dir);
	const struct {
		const char *w2ru, *w2ku, *macx, *name, *at;
	} cases[] = {
		{.w2ru = ".\\sub\\p.vhd", .at = "sub/p.vhd"},
		{.w2ru = "sub\\deep\\p.vhd", .at = "sub/deep/p.vhd"},
		{.w2ku = "C:\\VMs\\p.vhd", .at = "p.vhd"}, /* the path is of another machine */
		{.macx = "file://./sub/p.vhd", .at = "sub/p.vhd"},
		{.macx = absolute, .at = "sub/p.vhd"},
		{.name = "p.vhd", .at = "p.vhd"},
		{.w2ru = "..\\elsewhere\\p.vhd", .macx = "file:///gone/x.vhd", .at = "p.vhd"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *child = in_dir(env, "child.vhd");
		const char *place = in_dir(env, cases[i].at);
		build_vhd(&parent, place);
		build_vhd(&(struct vhd_build){.type = 4,
					      .size = DISK_BYTES,
					      .block_bytes = 2u << 20,
					      .uuid = 2,
					      .parent_uuid = 1,
					      .w2ru = cases[i].w2ru,
					      .w2ku = cases[i].w2ku,
					      .macx = cases[i].macx,
					      .parent_name = cases[i].name,
					      .data = data,
					      .sectors = none},
			  child);
		check_disk(env, child, data, DISK_BYTES);
		unlink(place);
		check_refused(child, ERR_NOT_FOUND, "parent of '");
		check_refused(child, ERR_NOT_FOUND, place);
	}
	free(data);
	free(none);
}

static void test_vhd_source__refuses_a_parent_that_does_not_fit(void **state)
{
	struct disk_env *env = *state;
	uint8_t *data = make_disk(DISK_BYTES, 11);
	const char *parent = in_dir(env, "fit0.vhd");
	const char *child = in_dir(env, "fit1.vhd");
	struct vhd_build p = {
		.type = 3, .size = DISK_BYTES, .block_bytes = 2u << 20, .uuid = 1, .timestamp = 1000, .data = data};
	struct vhd_build c = p;
	c.type = 4;
	c.uuid = 2;
	c.parent_uuid = 7;
	c.w2ru = "fit0.vhd";
	build_vhd(&p, parent);
	build_vhd(&c, child);
	check_refused(child, ERR_CORRUPT, "fit0.vhd' is not the parent of '");
	check_refused(child, ERR_CORRUPT, "the child wants 07070707-0707-0707-0707-070707070707");
	c.parent_uuid = 1;
	c.parent_timestamp = 2000;
	build_vhd(&c, child);
	check_refused(child, ERR_CORRUPT, "has another time stamp than its child wants");
	check_refused(child, ERR_CORRUPT, "touch -d @946686800 '");
	/* What the message says helps; and so does the stamp in the parent's footer. */
	shell("touch -d @946686800 '%s'", parent);
	check_disk(env, child, data, DISK_BYTES);
	c.parent_timestamp = 1000;
	build_vhd(&c, child);
	check_disk(env, child, data, DISK_BYTES);
	/* No time stamp, no check. */
	p.timestamp = 0;
	c.parent_timestamp = 3000;
	build_vhd(&p, parent);
	build_vhd(&c, child);
	check_disk(env, child, data, DISK_BYTES);
	write_file_at(parent, 0, data, 4096);
	assert_int_equal(truncate(parent, 4096), 0);
	check_refused(child, ERR_CORRUPT, "parent of '");
	check_refused(child, ERR_CORRUPT, "fit0.vhd' has no VHD footer");
	free(data);
}

static void test_vhd_source__refuses_a_loop(void **state)
{
	struct disk_env *env = *state;
	uint8_t *data = make_disk(DISK_BYTES, 12);
	struct vhd_build a = {.type = 4,
			      .size = DISK_BYTES,
			      .block_bytes = 2u << 20,
			      .uuid = 1,
			      .parent_uuid = 2,
			      .w2ru = "loop1.vhd",
			      .data = data};
	struct vhd_build b = a;
	b.uuid = 2;
	b.parent_uuid = 1;
	b.w2ru = "loop0.vhd";
	build_vhd(&a, in_dir(env, "loop0.vhd"));
	build_vhd(&b, in_dir(env, "loop1.vhd"));
	check_refused(in_dir(env, "loop0.vhd"), ERR_CORRUPT, "form a loop: '");
	a.parent_uuid = 1;
	a.w2ru = "self.vhd";
	build_vhd(&a, in_dir(env, "self.vhd"));
	check_refused(in_dir(env, "self.vhd"), ERR_CORRUPT, "is its own ancestor");
	free(data);
}

static void test_vhd_source__refuses_an_endless_chain(void **state)
{
	struct disk_env *env = *state;
	uint8_t data[512] = {1};
	for (unsigned i = 0; i < 70; i++) {
		char name[32];
		char next[32];
		snprintf(name, sizeof(name), "long%u.vhd", i);
		snprintf(next, sizeof(next), "long%u.vhd", i + 1);
		build_vhd(&(struct vhd_build){.type = 4,
					      .size = 512,
					      .block_bytes = 512u << 10,
					      .uuid = (uint8_t)(i + 1),
					      .parent_uuid = (uint8_t)(i + 2),
					      .w2ru = next,
					      .data = data,
					      .sectors = (const uint8_t *)"\0"},
			  in_dir(env, name));
	}
	check_refused(in_dir(env, "long0.vhd"), ERR_CORRUPT, "more than 63 levels of parents");
}

static void test_vhd_source__refuses_hostile_tables(void **state)
{
	struct disk_env *env = *state;
	uint8_t *data = malloc(DISK_BYTES);
	assert_non_null(data);
	fill_random(data, DISK_BYTES, 13);
	struct vhd_build build = {.type = 3, .size = DISK_BYTES, .block_bytes = 2u << 20, .uuid = 1, .data = data};
	const char *path = in_dir(env, "hostile.vhd");
	uint8_t entry[4];
	build_vhd(&build, path);
	be32_put(entry, 0x7FFFFFFF);
	write_file_at(path, BUILD_TABLE_AT + 4, entry, 4);
	check_refused(path, ERR_CORRUPT, "past the end of the file");
	read_file_at(path, BUILD_TABLE_AT, entry, 4);
	write_file_at(path, BUILD_TABLE_AT + 4, entry, 4);
	check_refused(path, ERR_CORRUPT, "overlapping blocks");
	be32_put(entry, 2);
	write_file_at(path, BUILD_TABLE_AT + 4, entry, 4);
	check_refused(path, ERR_CORRUPT, "on top of the header");
	/* A table of four billion entries, in a file of a few MiB. */
	uint8_t header[1024];
	build_vhd(&build, path);
	read_file_at(path, 512, header, sizeof(header));
	be32_put(header + 28, UINT32_MAX);
	build_seal(header, sizeof(header), 36);
	write_file_at(path, 512, header, sizeof(header));
	check_refused(path, ERR_CORRUPT, "ends past the end of the file");
	build_vhd(&build, path);
	assert_int_equal(truncate(path, 3 * MIB), 0);
	check_refused(path, ERR_CORRUPT, "past the end of the file: it is truncated or damaged");
	assert_int_equal(truncate(path, 700), 0);
	check_refused(path, ERR_CORRUPT, "header at byte 512, past the end");
	assert_int_equal(truncate(path, 100), 0);
	check_refused(path, ERR_CORRUPT, "too short for a VHD");
	build.type = 2;
	build_vhd(&build, path);
	shell("tail -c 1000512 '%s' > '%s.cut'", path, path);
	check_refused(in_dir(env, "hostile.vhd.cut"), ERR_CORRUPT, "truncated: it is a fixed VHD of");
	free(data);
}

/* Damage anywhere in the structures is refused or harmless; it never makes the reader step outside the file. */
static void test_vhd_source__survives_any_flipped_bit(void **state)
{
	struct disk_env *env = *state;
	uint8_t *data = make_disk(DISK_BYTES, 14);
	uint8_t *got = malloc(DISK_BYTES);
	assert_non_null(got);
	struct vhd_build build = {.type = 3, .size = DISK_BYTES, .block_bytes = 2u << 20, .uuid = 1, .data = data};
	const char *path = in_dir(env, "flipped.vhd");
	build_vhd(&build, path);
	uint64_t seed = 15;
	unsigned opened = 0;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t at = test_random(&seed) % (BUILD_TABLE_AT + 512);
		uint8_t byte;
		read_file_at(path, at, &byte, 1);
		uint8_t flipped = (uint8_t)(byte ^ 1u << test_random(&seed) % 8);
		write_file_at(path, at, &flipped, 1);
		struct source_set set = {0};
		struct err err = {0};
		if (vhd_source_open(path, &set, &err) == ERR_OK) {
			opened++;
			assert_int_equal(set.sources[0]->size_bytes, DISK_BYTES);
			if (opened % 16 == 0)
				read_source(env, set.sources[0], true, got, &err);
			assert_int_equal(err.code, ERR_OK);
			release_set(&set);
		} else {
			assert_true(err.code == ERR_CORRUPT || err.code == ERR_UNSUPPORTED);
			assert_non_null(strstr(err.msg, "flipped.vhd"));
		}
		write_file_at(path, at, &byte, 1);
	}
	assert_true(opened > 0 && opened < 300);
	free(data);
	free(got);
}

static void test_vhd_source__notices_a_change_in_any_level(void **state)
{
	struct disk_env *env = *state;
	uint8_t *data = make_disk(DISK_BYTES, 16);
	struct vhd_build parent = {.type = 3, .size = DISK_BYTES, .block_bytes = 2u << 20, .uuid = 1, .data = data};
	struct vhd_build child = {.type = 4,
				  .size = DISK_BYTES,
				  .block_bytes = 2u << 20,
				  .uuid = 2,
				  .parent_uuid = 1,
				  .w2ru = "changed0.vhd",
				  .data = data};
	build_vhd(&parent, in_dir(env, "changed0.vhd"));
	build_vhd(&child, in_dir(env, "changed1.vhd"));
	struct source_set set = {0};
	struct err err = {0};
	check_ok(vhd_source_open(in_dir(env, "changed1.vhd"), &set, e));
	assert_int_equal(truncate(in_dir(env, "changed0.vhd"), 1000), 0);
	assert_int_equal(set.sources[0]->ops->finish(set.sources[0], &err), ERR_IO);
	check_error(&err, ERR_IO, "changed0.vhd' changed while it was read");
	release_set(&set);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vhd_source__reads_what_qemu_img_writes),
		cmocka_unit_test(test_vhd_source__tells_what_is_not_there),
		cmocka_unit_test(test_vhd_source__finds_the_holes_of_a_fixed_disk),
		cmocka_unit_test(test_vhd_source__reads_a_chain_sector_by_sector),
		cmocka_unit_test(test_vhd_source__lanes_share_bitmaps),
		cmocka_unit_test(test_vhd_source__reads_alternating_sectors),
		cmocka_unit_test(test_vhd_source__reads_from_a_device_with_large_sectors),
		cmocka_unit_test(test_vhd_source__uses_the_copy_of_a_damaged_footer),
		cmocka_unit_test(test_vhd_source__finds_the_parent_by_each_locator),
		cmocka_unit_test(test_vhd_source__refuses_a_parent_that_does_not_fit),
		cmocka_unit_test(test_vhd_source__refuses_a_loop),
		cmocka_unit_test(test_vhd_source__refuses_an_endless_chain),
		cmocka_unit_test(test_vhd_source__refuses_hostile_tables),
		cmocka_unit_test(test_vhd_source__survives_any_flipped_bit),
		cmocka_unit_test(test_vhd_source__notices_a_change_in_any_level),
	};
	return cmocka_run_group_tests(tests, disk_env_setup, disk_env_teardown);
}
