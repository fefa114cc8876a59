/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench.h"

#include "base/size.h"
#include "pipeline/backup.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"Usage: xenolith-bench --disk FILE [options]\n"
	"       xenolith-bench --generate SIZE [--compressible PCT] [--duplicate PCT] [options]\n"
	"\n"
	"Measures what the stages of a backup cost on this CPU and what the disk gives, computes from that the least "
	"time a\n"
	"backup, restore, verify or scrub can take (the roofline), runs them, and prints how near they come.\n"
	"docs/BENCHMARK.md says what each figure means.\n"
	"\n"
	"Disks\n"
	"  --disk FILE           raw disk image or device to back up\n"
	"  --changed FILE        the same disk later, for the changed full\n"
	"  --vm2 FILE            disk of another VM of the same template\n"
	"  --generate SIZE       make up all three disks instead\n"
	"  --compressible PCT    of generated blocks that compress about 3:1 (default 75)\n"
	"  --duplicate PCT       of generated blocks that repeat an earlier one (default 2)\n"
	"  --work DIR            where stores and restored files are made (default ./xenolith-bench.work);\n"
	"                        on the disk that is to be measured\n"
	"\n"
	"What to run\n"
	"  --scenarios LIST      of first,unchanged,changed,second-vm,restore,verify,scrub, or none (default: all that "
	"have a\n"
	"                        disk); all but 'first' need 'first' before them\n"
	"  --lanes LIST          lane counts (default 1,2)\n"
	"  --repeat N            interleaved repetitions (default 3)\n"
	"  --level N             zstd level of the backups, -7 to 19 (default 1)\n"
	"  --levels LIST         further zstd levels to measure on the disk's blocks\n"
	"  --verify-new MODE     off, sample or all (default sample)\n"
	"  --sample SIZE         blocks to measure primitives with (default 256M)\n"
	"  --probe-size SIZE     most bytes of one disk probe (default 4G)\n"
	"\n"
	"Reports\n"
	"  --json FILE           everything, for machines ('-': standard output, instead of the text)\n"
	"  --html FILE           one self-contained page with bars\n"
	"  --keep                leave the last store and generated disks behind\n"
	"  --help, --version\n";

enum {
	OPT_DISK = 256,
	OPT_CHANGED,
	OPT_VM2,
	OPT_GENERATE,
	OPT_COMPRESSIBLE,
	OPT_DUPLICATE,
	OPT_WORK,
	OPT_SCENARIOS,
	OPT_LANES,
	OPT_REPEAT,
	OPT_LEVEL,
	OPT_LEVELS,
	OPT_VERIFY_NEW,
	OPT_SAMPLE,
	OPT_PROBE_SIZE,
	OPT_JSON,
	OPT_HTML,
	OPT_KEEP,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"disk", required_argument, NULL, OPT_DISK},
	{"changed", required_argument, NULL, OPT_CHANGED},
	{"vm2", required_argument, NULL, OPT_VM2},
	{"generate", required_argument, NULL, OPT_GENERATE},
	{"compressible", required_argument, NULL, OPT_COMPRESSIBLE},
	{"duplicate", required_argument, NULL, OPT_DUPLICATE},
	{"work", required_argument, NULL, OPT_WORK},
	{"scenarios", required_argument, NULL, OPT_SCENARIOS},
	{"lanes", required_argument, NULL, OPT_LANES},
	{"repeat", required_argument, NULL, OPT_REPEAT},
	{"level", required_argument, NULL, OPT_LEVEL},
	{"levels", required_argument, NULL, OPT_LEVELS},
	{"verify-new", required_argument, NULL, OPT_VERIFY_NEW},
	{"sample", required_argument, NULL, OPT_SAMPLE},
	{"probe-size", required_argument, NULL, OPT_PROBE_SIZE},
	{"json", required_argument, NULL, OPT_JSON},
	{"html", required_argument, NULL, OPT_HTML},
	{"keep", no_argument, NULL, OPT_KEEP},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static enum err_code path_parse(const char *text, char dst[static PATH_MAX], struct err *err)
{
	if (snprintf(dst, PATH_MAX, "%s", text) >= PATH_MAX || !text[0])
		return err_set(err, ERR_INVALID, 0, "'%.60s' is no usable path", text);
	return ERR_OK;
}

static enum err_code percent_parse(const char *text, const char *what, unsigned *ret, struct err *err)
{
	uint64_t value;
	TRY(number_parse(text, what, 0, 100, &value, err));
	*ret = (unsigned)value;
	return ERR_OK;
}

static enum err_code level_parse(const char *text, int *ret, struct err *err)
{
	bool negative = text[0] == '-';
	uint64_t value;
	TRY(number_parse(text + negative, "zstd level", 0, negative ? 7 : 19, &value, err));
	*ret = negative ? -(int)value : (int)value;
	return ERR_OK;
}

/* Calls `item` for every part of a comma-separated list. */
static enum err_code list_parse(const char *text, struct bench_options *options,
				enum err_code (*item)(struct bench_options *, const char *, struct err *),
				struct err *err)
{
	char copy[256];
	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return err_set(err, ERR_INVALID, 0, "the list '%.60s...' is too long", text);
	char *rest = NULL;
	for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest))
		TRY(item(options, part, err));
	return ERR_OK;
}

static enum err_code add_lanes(struct bench_options *options, const char *text, struct err *err)
{
	uint64_t value;
	TRY(number_parse(text, "lanes", 1, LANES_MAX, &value, err));
	if (options->lane_count == LANE_COUNTS_MAX)
		return err_set(err, ERR_LIMIT, 0, "more than %d lane counts", LANE_COUNTS_MAX);
	options->lanes[options->lane_count++] = (unsigned)value;
	return ERR_OK;
}

static enum err_code add_level(struct bench_options *options, const char *text, struct err *err)
{
	if (options->level_count == LEVELS_MAX)
		return err_set(err, ERR_LIMIT, 0, "more than %d levels", LEVELS_MAX);
	return level_parse(text, &options->levels[options->level_count++], err);
}

static enum err_code add_scenario(struct bench_options *options, const char *text, struct err *err)
{
	if (strcmp(text, "none") == 0)
		return ERR_OK;
	for (unsigned i = 0; i < SCENARIO_COUNT; i++) {
		if (strcmp(text, scenario_name((enum scenario)i)) != 0)
			continue;
		options->scenarios[i] = true;
		return ERR_OK;
	}
	return err_set(err, ERR_INVALID, 0, "there is no scenario '%s'", text);
}

static enum err_code verify_new_parse(const char *text, enum verify_new *ret, struct err *err)
{
	static const char *const names[] = {
		[VERIFY_NEW_OFF] = "off", [VERIFY_NEW_SAMPLE] = "sample", [VERIFY_NEW_ALL] = "all"};
	for (unsigned i = 0; i < 3; i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*ret = (enum verify_new)i;
		return ERR_OK;
	}
	return err_set(err, ERR_INVALID, 0, "'%s' is none of off, sample and all", text);
}

static enum err_code what_to_run_parse(struct bench_options *o, int option, const char *value, struct err *err)
{
	uint64_t number;
	switch (option) {
	case OPT_SCENARIOS:
		memset(o->scenarios, 0, sizeof(o->scenarios));
		return list_parse(value, o, add_scenario, err);
	case OPT_LANES:
		o->lane_count = 0;
		return list_parse(value, o, add_lanes, err);
	case OPT_REPEAT:
		TRY(number_parse(value, "repetitions", 1, REPEAT_MAX, &number, err));
		o->repeat = (size_t)number;
		return ERR_OK;
	case OPT_LEVEL:
		o->compression.kind = COMPRESS_ZSTD;
		return level_parse(value, &o->compression.level, err);
	case OPT_LEVELS:
		return list_parse(value, o, add_level, err);
	case OPT_VERIFY_NEW:
		return verify_new_parse(value, &o->verify_new, err);
	case OPT_SAMPLE:
		return size_parse(value, &o->sample_bytes, err);
	default:
		return size_parse(value, &o->probe_bytes, err);
	}
}

static enum err_code option_parse(struct bench_options *o, int option, const char *value, struct err *err)
{
	switch (option) {
	case OPT_DISK:
		return path_parse(value, o->disks[DISK_FIRST], err);
	case OPT_CHANGED:
		return path_parse(value, o->disks[DISK_CHANGED], err);
	case OPT_VM2:
		return path_parse(value, o->disks[DISK_SECOND_VM], err);
	case OPT_GENERATE:
		o->generated = true;
		return size_parse(value, &o->generate.size_bytes, err);
	case OPT_COMPRESSIBLE:
		return percent_parse(value, "percent of compressible blocks", &o->generate.compressible_percent, err);
	case OPT_DUPLICATE:
		return percent_parse(value, "percent of duplicate blocks", &o->generate.duplicate_percent, err);
	case OPT_WORK:
		return path_parse(value, o->work, err);
	case OPT_JSON:
		o->json = value;
		return ERR_OK;
	case OPT_HTML:
		o->html = value;
		return ERR_OK;
	case OPT_KEEP:
		o->keep = true;
		return ERR_OK;
	default:
		return what_to_run_parse(o, option, value, err);
	}
}

static enum err_code check(const struct bench_options *o, struct err *err)
{
	if (o->generated == (o->disks[DISK_FIRST][0] != 0))
		return err_set(err, ERR_INVALID, 0, "one of '--disk FILE' and '--generate SIZE' is needed");
	if (o->generated && o->generate.size_bytes < 64 * MIB)
		return err_set(err, ERR_INVALID, 0, "'--generate' needs 64M or more");
	if (o->sample_bytes < 8 * MIB)
		return err_set(err, ERR_INVALID, 0, "'--sample' needs 8M or more");
	if (o->probe_bytes < 64 * MIB)
		return err_set(err, ERR_INVALID, 0, "'--probe-size' needs 64M or more");
	for (unsigned s = SCENARIO_UNCHANGED; s < SCENARIO_COUNT; s++)
		if (o->scenarios[s] && !o->scenarios[SCENARIO_FIRST])
			return err_set(err, ERR_INVALID, 0, "scenario '%s' needs 'first' before it",
				       scenario_name((enum scenario)s));
	return ERR_OK;
}

bool bench_options_parse(struct bench_options *o, int argc, char **argv, int *ret_status)
{
	*o = (struct bench_options){
		.generate = {.compressible_percent = 75, .duplicate_percent = 2},
		.work = "xenolith-bench.work",
		.lanes = {1, 2},
		.lane_count = 2,
		.repeat = 3,
		.compression = COMPRESSION_DEFAULT,
		.verify_new = VERIFY_NEW_SAMPLE,
		.sample_bytes = 256 * MIB,
		.probe_bytes = 4 * GIB,
	};
	for (unsigned s = 0; s < SCENARIO_COUNT; s++)
		o->scenarios[s] = true;
	*ret_status = 2;
	struct err err = {0};
	int option;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (option == '?')
			return false;
		if (option == OPT_HELP || option == 'h' || option == OPT_VERSION) {
			fputs(option == OPT_VERSION ? "xenolith-bench " XENOLITH_VERSION "\n" : help, stdout);
			*ret_status = 0;
			return false;
		}
		if (option_parse(o, option, optarg, &err) != ERR_OK)
			break;
	}
	if (!err.code && optind < argc)
		(void)err_set(&err, ERR_INVALID, 0, "unexpected argument '%s'", argv[optind]);
	if (err.code || check(o, &err) != ERR_OK) {
		fprintf(stderr, "xenolith-bench: %s\n", err.msg);
		return false;
	}
	return true;
}
