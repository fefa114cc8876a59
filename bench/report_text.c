/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include "base/size.h"
#include "store/chunk_hash.h"

#include <inttypes.h>

static void print_head(FILE *out, const struct bench *b)
{
	struct machine machine;
	char disks[DISKS_TEXT_SIZE], memory[SIZE_TEXT_SIZE];
	machine_describe(&machine);
	disks_describe(b, disks);
	fprintf(out, "machine  %s, %ld CPUs, %s, %s; chunk IDs by %s\n", machine.cpu, machine.cpus,
		size_format(machine.memory_bytes, memory), machine.kernel, chunk_hash_implementation());
	fprintf(out, "disk     %s\n", disks);
	fprintf(out,
		"method   %zu repetitions, interleaved; all reading and writing is direct, so no cache is dropped\n\n",
		b->options.repeat);
	fprintf(out, "%-10s %10s %10s %10s %10s %12s\n", "disk", "size", "allocated", "not zero", "new", "zstd ratio");
	for (unsigned i = 0; i < DISK_COUNT; i++) {
		const struct disk_survey *s = &b->surveys[i];
		char size[SIZE_TEXT_SIZE], read[SIZE_TEXT_SIZE], data[SIZE_TEXT_SIZE], fresh[SIZE_TEXT_SIZE];
		if (!s->size)
			continue;
		fprintf(out, "%-10s %10s %10s %10s %10s %12.2f\n", bench_disk_name((enum bench_disk)i),
			size_format(s->size, size), size_format(s->read, read), size_format(s->data, data),
			size_format(s->fresh, fresh),
			(double)b->records[i].sample->count * BLOCK_SIZE / (double)b->records[i].stored_bytes);
	}
}

static void print_primitives(FILE *out, const struct bench *b, const struct bench_summary *s)
{
	char sample[SIZE_TEXT_SIZE];
	fprintf(out, "\nPrimitives on %s of the first disk's blocks, ns per byte (MB/s) per thread, medians of %zu\n",
		size_format(b->samples[DISK_FIRST].count * BLOCK_SIZE, sample), b->pass_count);
	fprintf(out, "%-18s %18s", "", "alone");
	for (size_t l = 0; l < b->options.lane_count; l++)
		fprintf(out, "    %8u threads", b->options.lanes[l]);
	fputc('\n', out);
	for (unsigned p = 0; p < PRIMITIVE_COUNT; p++) {
		fprintf(out, "%-18s", primitive_name((enum primitive)p));
		for (size_t t = 0; t <= b->options.lane_count; t++) {
			double ns = s->primitives[DISK_FIRST][t].ns_per_byte[p];
			fprintf(out, " %8.3f (%7.0f)", ns, ns > 0 ? 1000 / ns : 0);
		}
		fputc('\n', out);
	}
	for (size_t i = 0; i < b->options.level_count; i++)
		fprintf(out, "zstd %-3d            compress %.3f, decompress %.3f, ratio %.3f\n", b->levels[i].level,
			b->levels[i].compress_ns_per_byte, b->levels[i].decompress_ns_per_byte, b->levels[i].ratio);
}

static void print_disk(FILE *out, const struct bench *b, const struct bench_summary *s)
{
	fprintf(out,
		"\nDisk, io_uring, O_DIRECT; reads 1 MiB x %u per lane, writes 2 MiB x %u per lane to fresh files\n",
		PROBE_READ_DEPTH, PROBE_WRITE_DEPTH);
	fprintf(out, "%-6s %28s %10s %28s %10s\n", "lanes", "read MB/s", "ns/B", "write MB/s", "ns/B");
	for (size_t l = 0; l < b->options.lane_count; l++) {
		const struct spread *r = &s->read_rate[l], *w = &s->write_rate[l];
		fprintf(out, "%-6u %12.0f (%5.0f to %5.0f) %10.3f %12.0f (%5.0f to %5.0f) %10.3f\n",
			b->options.lanes[l], r->median / 1e6, r->least / 1e6, r->most / 1e6, s->read_cpu[l],
			w->median / 1e6, w->least / 1e6, w->most / 1e6, s->write_cpu[l]);
	}
}

static void print_scenarios(FILE *out, const struct bench_summary *s)
{
	fprintf(out, "\n%-15s %5s %21s %7s %7s %7s %7s | %8s %5s | %6s %6s %6s | %8s %8s %8s\n", "scenario", "lanes",
		"wall s (spread)", "MB/s", "user s", "sys s", "CPU s", "roofline", "limit", "CPU", "occup.", "wall",
		"peak MiB", "read MB", "write MB");
	for (size_t i = 0; i < s->scenario_count; i++) {
		const struct scenario_summary *c = &s->scenarios[i];
		fprintf(out,
			"%-15s %5u %7.2f (%5.2f-%5.2f) %7.0f %7.2f %7.2f %7.2f | %8.2f %5s | %5.1f%% %5.1f%% %5.1f%% |"
			" %8.0f %8.0f %8.0f\n",
			scenario_title(c->scenario), c->lanes, c->wall_s.median, c->wall_s.least, c->wall_s.most,
			c->rate / 1e6, c->user_s, c->system_s, c->cpu_s.median, c->roofline_wall_s, limit_name(c),
			100 * c->cpu_efficiency, 100 * c->occupancy, 100 * c->wall_share,
			(double)c->peak_memory / (double)MIB, c->read_bytes / 1e6, c->written_bytes / 1e6);
	}
	fputs("CPU: roofline CPU seconds / CPU seconds used. occup.: share of the lanes' time that is work (limit CPU) "
	      "or of\n"
	      "the disk's rate (limit disk). wall: roofline / wall time. Peak memory is the whole process.\n",
	      out);
}

static void print_roofline(FILE *out, const struct scenario_summary *c)
{
	fprintf(out, "%s, %u lanes: max(CPU %.2f s / %u, disk %.2f s)\n  CPU = %s\n", scenario_title(c->scenario),
		c->lanes, c->roofline_cpu_s, c->lanes, c->disk_s, roofline_formula(c->scenario));
	for (size_t t = 0; t < c->roofline.term_count; t++) {
		const struct roofline_term *term = &c->roofline.terms[t];
		fprintf(out, "    %-18s %9.1f MB x %6.3f ns/B = %6.3f s\n", term->stage, term->bytes / 1e6,
			term->ns_per_byte, term->bytes * term->ns_per_byte / 1e9);
	}
}

static void print_stages(FILE *out, const struct scenario_summary *c)
{
	double lane_s = (double)c->times.lane_ns / 1e9;
	fprintf(out, "  lanes' time: %.2f s, %.2f of them on a CPU\n", lane_s, (double)c->times.lane_cpu_ns / 1e9);
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
		if (c->times.ns[stage] > 0)
			fprintf(out, "    %-18s %8.3f s (%4.1f%%)\n", stage_name((enum stage)stage),
				(double)c->times.ns[stage] / 1e9,
				lane_s > 0 ? (double)c->times.ns[stage] / 1e7 / lane_s : 0);
	fprintf(out,
		"  memory: peak %.0f MiB, %.0f when it began, lanes' buffers %.0f; index %.1f MiB for %" PRIu64
		" chunks\n",
		(double)c->peak_memory / (double)MIB, (double)c->start_memory / (double)MIB,
		(double)c->buffer_memory / (double)MIB, (double)c->index_memory / (double)MIB, c->index_chunks);
}

/* Of each scenario the one with the most lanes; the rest is in the JSON and HTML reports. */
static void print_details(FILE *out, const struct bench_summary *s)
{
	fputs("\nRooflines and stages, with the most lanes\n", out);
	for (size_t i = 0; i < s->scenario_count; i++) {
		const struct scenario_summary *c = &s->scenarios[i];
		if (i + 1 < s->scenario_count && s->scenarios[i + 1].scenario == c->scenario)
			continue;
		print_roofline(out, c);
		print_stages(out, c);
	}
}

void report_text(FILE *out, const struct bench *b, const struct bench_summary *s)
{
	print_head(out, b);
	print_primitives(out, b, s);
	print_disk(out, b, s);
	if (!s->scenario_count)
		return;
	print_details(out, s);
	print_scenarios(out, s);
	for (size_t l = 1; l < b->options.lane_count; l++)
		if (s->speedup[l] > 0)
			fprintf(out, "first full: %u lanes are %.2f times as fast as %u\n", b->options.lanes[l],
				s->speedup[l], b->options.lanes[0]);
	if (b->restore_compared)
		fputs("a restored disk of each lane count was compared with its source: identical\n", out);
}
