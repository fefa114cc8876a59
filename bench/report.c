/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

void machine_describe(struct machine *ret)
{
	*ret = (struct machine){.cpu = "unknown CPU", .cpus = sysconf(_SC_NPROCESSORS_ONLN)};
	ret->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct utsname name;
	if (uname(&name) == 0)
		snprintf(ret->kernel, sizeof(ret->kernel), "%s %s", name.sysname, name.release);
	AUTO_FCLOSE FILE *file = fopen("/proc/cpuinfo", "re");
	char line[1024];
	while (file && fgets(line, sizeof(line), file)) {
		char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
		if (!value)
			continue;
		value[strcspn(value, "\n")] = 0;
		snprintf(ret->cpu, sizeof(ret->cpu), "%.*s", (int)sizeof(ret->cpu) - 1, value + 2);
		break;
	}
}

void disks_describe(const struct bench *bench, char dst[static DISKS_TEXT_SIZE])
{
	const struct bench_options *o = &bench->options;
	char size[SIZE_TEXT_SIZE];
	if (o->generated)
		snprintf(dst, DISKS_TEXT_SIZE,
			 "generated, %s, %u %% of the blocks compressible (made of words), %u %% duplicates; changed: "
			 "%d %% new"
			 " blocks; second VM: %d %% new blocks",
			 size_format(o->generate.size_bytes, size), o->generate.compressible_percent,
			 o->generate.duplicate_percent, GENERATED_CHANGED_PERCENT, GENERATED_SECOND_PERCENT);
	else
		snprintf(dst, DISKS_TEXT_SIZE, "%s, %s", o->disks[DISK_FIRST],
			 size_format(bench->surveys[DISK_FIRST].size, size));
}

const char *roofline_formula(enum scenario scenario)
{
	switch (scenario) {
	case SCENARIO_RESTORE:
		return "S (read + open) + N (decompress + hash + write)";
	case SCENARIO_VERIFY:
		return "S (read + open) + U (decompress + hash)";
	case SCENARIO_SCRUB:
		return "F (read + crc32c)";
	default:
		return "L read + (L - N) zero-test + N hash + U compress + S (seal + xxh3)"
		       " + F (crc32c + 64/68 parity + write) + V (read + open) + V' (decompress + hash)";
	}
}

const char *limit_name(const struct scenario_summary *summary)
{
	return summary->disk_bound ? "disk" : "CPU";
}
