/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Passes over the primitives before the first scenario; each repetition adds one. */
#define FIRST_PASSES 5u

#define PURE_READ_SHARE 2u  /* of the probe's bytes, this part is read alone ... */
#define PURE_WRITE_SHARE 4u /* ... and this part written alone */

const char *scenario_name(enum scenario scenario)
{
	static const char *const names[SCENARIO_COUNT] = {
		"first", "unchanged", "changed", "second-vm", "restore", "verify", "scrub",
	};
	return names[scenario];
}

const char *scenario_title(enum scenario scenario)
{
	static const char *const titles[SCENARIO_COUNT] = {
		"first full", "unchanged full", "changed full", "second VM", "restore", "verify", "scrub",
	};
	return titles[scenario];
}

const char *bench_disk_name(enum bench_disk disk)
{
	static const char *const names[DISK_COUNT] = {"first", "changed", "second-vm"};
	return names[disk];
}

enum bench_disk scenario_disk(enum scenario scenario)
{
	switch (scenario) {
	case SCENARIO_CHANGED:
		return DISK_CHANGED;
	case SCENARIO_SECOND_VM:
		return DISK_SECOND_VM;
	default:
		return DISK_FIRST;
	}
}

/* ---- Preparation ---- */

static enum err_code make_disks(struct bench *b, struct err *err)
{
	static const enum generated_disk kinds[DISK_COUNT] = {GENERATED_FIRST, GENERATED_CHANGED, GENERATED_SECOND};
	for (unsigned i = 0; b->options.generated && i < DISK_COUNT; i++) {
		fprintf(stderr, "generating disk '%s'\n", bench_disk_name((enum bench_disk)i));
		if (snprintf(b->options.disks[i], PATH_MAX, "%s/%s.img", b->options.work,
			     bench_disk_name((enum bench_disk)i)) >= PATH_MAX)
			return err_set(err, ERR_LIMIT, 0, "the path '%s' is too long", b->options.work);
		TRY(generate_disk(b->options.disks[i], kinds[i], &b->options.generate, err));
	}
	return ERR_OK;
}

/* Counts what the disks hold and makes the records that primitives are measured with. */
static enum err_code survey_disks(struct bench *b, struct err *err)
{
	for (unsigned i = 0; i < DISK_COUNT; i++) {
		if (!b->options.disks[i][0])
			continue;
		fprintf(stderr, "surveying '%s'\n", b->options.disks[i]);
		uint64_t bytes = i == DISK_FIRST ? b->options.sample_bytes : b->options.sample_bytes / 4;
		TRY(survey_disk(b->options.disks[i], (size_t)(bytes / BLOCK_SIZE), &b->memory, &b->surveys[i],
				&b->samples[i], err));
		/* Too little new content to measure with: the first disk's stands for it. */
		if (i != DISK_FIRST && b->samples[i].count < 256)
			block_sample_release(&b->samples[i]);
		const struct block_sample *sample = b->samples[i].data ? &b->samples[i] : &b->samples[DISK_FIRST];
		if (sample->count < 64)
			return err_set(err, ERR_INVALID, 0, "'%s' holds too little data for a benchmark",
				       b->options.disks[i]);
		int level = b->options.compression.kind == COMPRESS_ZSTD ? b->options.compression.level : 1;
		TRY(record_set_init(&b->records[i], sample, level, err));
	}
	return ERR_OK;
}

static enum err_code allocate(struct bench *b, struct err *err)
{
	bool enough = true;
	for (unsigned disk = 0; disk < DISK_COUNT; disk++)
		for (size_t t = 0; b->records[disk].sealed && t <= b->options.lane_count; t++)
			enough &= (b->passes[disk][t] = calloc(REPEAT_MAX, sizeof(**b->passes[disk]))) != NULL;
	for (size_t l = 0; l < b->options.lane_count; l++) {
		enough &= (b->reads[l] = calloc(b->options.repeat, sizeof(**b->reads))) != NULL;
		enough &= (b->writes[l] = calloc(b->options.repeat, sizeof(**b->writes))) != NULL;
		for (unsigned s = 0; s < SCENARIO_COUNT; s++)
			enough &= (b->runs[s][l].runs = calloc(b->options.repeat, sizeof(struct scenario_run))) != NULL;
	}
	return enough ? ERR_OK : err_set(err, ERR_NO_MEMORY, 0, "no memory for the results");
}

/* ---- Measuring ---- */

/* One pass on one disk's records: alone, and with as many threads as there are lanes. */
static enum err_code measure_primitives_of(struct bench *b, enum bench_disk disk, struct err *err)
{
	struct primitive_costs **passes = b->passes[disk];
	TRY(primitives_measure(&b->records[disk], /* threads= */ 1, &passes[0][b->pass_count], err));
	for (size_t l = 0; l < b->options.lane_count; l++) {
		if (b->options.lanes[l] == 1)
			passes[l + 1][b->pass_count] = passes[0][b->pass_count];
		else
			TRY(primitives_measure(&b->records[disk], b->options.lanes[l], &passes[l + 1][b->pass_count],
					       err));
	}
	return ERR_OK;
}

static enum err_code measure_primitives(struct bench *b, struct err *err)
{
	for (unsigned disk = 0; disk < DISK_COUNT; disk++)
		if (b->records[disk].sealed)
			TRY(measure_primitives_of(b, (enum bench_disk)disk, err));
	b->pass_count++;
	return ERR_OK;
}

static enum err_code measure_disk(struct bench *b, size_t lane_index, size_t repetition, struct err *err)
{
	const char *source = b->options.disks[DISK_FIRST];
	struct disk_probe probe = {
		.read_files = &source,
		.read_file_count = 1,
		.write_directory = b->options.work,
		.read_bytes = min_u64(b->options.probe_bytes / PURE_READ_SHARE, b->surveys[DISK_FIRST].read),
		.lanes = b->options.lanes[lane_index],
	};
	TRY(disk_probe_run(&probe, &b->reads[lane_index][repetition], err));
	probe.read_bytes = 0;
	probe.write_bytes = b->options.probe_bytes / PURE_WRITE_SHARE;
	return disk_probe_run(&probe, &b->writes[lane_index][repetition], err);
}

static bool wants_scenarios(const struct bench_options *options)
{
	for (unsigned s = 0; s < SCENARIO_COUNT; s++)
		if (options->scenarios[s])
			return true;
	return false;
}

/* Everything once more: primitives, disk, scenarios at each lane count. Repetitions are interleaved, because a disk or
 * a neighbour's load that changes over minutes must not fall on one lane count or one scenario alone. */
static enum err_code measure_repetition(struct bench *b, size_t repetition, struct err *err)
{
	fprintf(stderr, "repetition %zu of %zu\n", repetition + 1, b->options.repeat);
	if (b->pass_count < REPEAT_MAX)
		TRY(measure_primitives(b, err));
	for (size_t l = 0; l < b->options.lane_count; l++)
		TRY(measure_disk(b, l, repetition, err));
	b->probe_count++;
	for (size_t l = 0; wants_scenarios(&b->options) && l < b->options.lane_count; l++)
		TRY(bench_run_scenarios(b, l, repetition, err));
	return ERR_OK;
}

enum err_code bench_run(struct bench *b, struct err *err)
{
	if (mkdir(b->options.work, 0700) < 0 && access(b->options.work, W_OK) != 0)
		return err_errno(err, "cannot work in '%s'", b->options.work);
	TRY(make_disks(b, err));
	TRY(survey_disks(b, err));
	TRY(allocate(b, err));
	fprintf(stderr, "measuring primitives\n");
	for (unsigned i = 0; i < FIRST_PASSES; i++)
		TRY(measure_primitives(b, err));
	for (size_t i = 0; i < b->options.level_count; i++)
		TRY(level_measure(&b->samples[DISK_FIRST], b->options.levels[i], &b->levels[i], err));
	for (size_t i = 0; i < b->options.repeat; i++)
		TRY(measure_repetition(b, i, err));
	for (unsigned i = 0; b->options.generated && !b->options.keep && i < DISK_COUNT; i++)
		unlink(b->options.disks[i]);
	return ERR_OK;
}

void bench_release(struct bench *b)
{
	for (unsigned disk = 0; disk < DISK_COUNT; disk++) {
		block_sample_release(&b->samples[disk]);
		record_set_release(&b->records[disk]);
		for (size_t t = 0; t <= LANE_COUNTS_MAX; t++)
			free(b->passes[disk][t]);
	}
	for (size_t l = 0; l < LANE_COUNTS_MAX; l++) {
		free(b->reads[l]);
		free(b->writes[l]);
		for (unsigned s = 0; s < SCENARIO_COUNT; s++)
			free(b->runs[s][l].runs);
	}
	survey_memory_release(&b->memory);
}
