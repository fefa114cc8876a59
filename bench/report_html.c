/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include "base/clock.h"
#include "base/size.h"
#include "bench/report_html_style.h"
#include "store/chunk_hash.h"

#include <math.h>

static void print_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*text, out);
		}
	}
}

static void print_head(FILE *out, const struct bench *b)
{
	struct machine machine;
	char disks[DISKS_TEXT_SIZE], memory[SIZE_TEXT_SIZE], now[CLOCK_TEXT_SIZE];
	machine_describe(&machine);
	disks_describe(b, disks);
	fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
	      "<meta name=\"viewport\" "
	      "content=\"width=device-width,initial-scale=1\"><title>xenolith-bench</title>\n<style>",
	      out);
	fputs(report_html_style, out);
	fputs("</style></head><body>\n<h1>xenolith-bench</h1>\n<p class=\"dim\">", out);
	print_escaped(out, machine.cpu);
	fprintf(out, ", %ld CPUs, %s, ", machine.cpus, size_format(machine.memory_bytes, memory));
	print_escaped(out, machine.kernel);
	fprintf(out, "; chunk IDs by %s. Version " XENOLITH_VERSION ", %s.</p>\n<p class=\"dim\">Disk: ",
		chunk_hash_implementation(), clock_format_utc(clock_unix_s(), now));
	print_escaped(out, disks);
	fprintf(out,
		". %zu interleaved repetitions, medians; all reading and writing is direct, so no cache was "
		"dropped.</p>\n",
		b->options.repeat);
}

static void print_card(FILE *out, const char *what, double value, const char *format, const char *note)
{
	fputs("<div class=\"card\">", out);
	fprintf(out, "%s<b>", what);
	/* The formats are constants of print_cards. */
	fprintf(out, "%.*f%s", format[0] - '0', value, format + 1);
	fprintf(out, "</b><small>%s</small></div>\n", note);
}

/* The first full with the most lanes, or whatever comes last. */
static const struct scenario_summary *headline(const struct bench_summary *s)
{
	const struct scenario_summary *best = NULL;
	for (size_t i = 0; i < s->scenario_count; i++)
		if (s->scenarios[i].scenario == SCENARIO_FIRST && (!best || s->scenarios[i].lanes >= best->lanes))
			best = &s->scenarios[i];
	return best;
}

static void print_cards(FILE *out, const struct bench_summary *s)
{
	const struct scenario_summary *c = headline(s);
	if (!c)
		return;
	fprintf(out, "<h2>First full, %u lanes</h2>\n<div class=\"cards\">\n", c->lanes);
	print_card(out, "Rate", c->rate / 1e6, "0 MB/s", "of allocated disk, wall time");
	print_card(out, "Wall time", c->wall_s.median, "2 s", "with commit");
	print_card(out, "CPU efficiency", 100 * c->cpu_efficiency, "1 %", "roofline CPU / CPU used");
	print_card(out, "Occupancy", 100 * c->occupancy, "1 %",
		   c->disk_bound ? "share of the disk's rate" : "share of the lanes' time that is work");
	print_card(out, "Share of roofline", 100 * c->wall_share, "1 %", "roofline / wall time");
	print_card(out, "Peak memory", (double)c->peak_memory / (double)MIB, "0 MiB", "whole process");
	fputs("</div>\n", out);
}

static double longest_wall(const struct bench_summary *s)
{
	double longest = 1e-9;
	for (size_t i = 0; i < s->scenario_count; i++)
		longest = fmax(longest, fmax(s->scenarios[i].wall_s.most, s->scenarios[i].roofline_wall_s));
	return longest;
}

static void print_scenario_bars(FILE *out, const struct bench_summary *s)
{
	double longest = longest_wall(s);
	fputs("<h2>Wall time and roofline</h2>\n<p class=\"legend\"><span><i "
	      "style=\"background:var(--bar)\"></i>measured, the line"
	      " is the spread</span><span><i style=\"background:var(--roof)\"></i>roofline: the least it can take "
	      "here</span></p>\n",
	      out);
	for (size_t i = 0; i < s->scenario_count; i++) {
		const struct scenario_summary *c = &s->scenarios[i];
		fprintf(out, "<div class=\"row\"><div>%s<br><small>%u lane%s, limit: %s</small></div><div>",
			scenario_title(c->scenario), c->lanes, c->lanes == 1 ? "" : "s", limit_name(c));
		fprintf(out,
			"<div class=\"track\"><i style=\"width:%.2f%%\"></i><u "
			"style=\"left:%.2f%%;width:%.2f%%\"></u></div>"
			"<div class=\"track\"><i class=\"roof\" style=\"width:%.2f%%\"></i></div></div>",
			100 * c->wall_s.median / longest, 100 * c->wall_s.least / longest,
			100 * (c->wall_s.most - c->wall_s.least) / longest, 100 * c->roofline_wall_s / longest);
		fprintf(out,
			"<div>%.2f s, roofline %.2f s<br><b class=\"%s\">%.0f %%</b> of roofline, %.0f "
			"MB/s</div></div>\n",
			c->wall_s.median, c->roofline_wall_s, c->wall_share >= 0.75 ? "good" : "weak",
			100 * c->wall_share, c->rate / 1e6);
	}
}

static void print_scenario_table(FILE *out, const struct bench_summary *s)
{
	fputs("<div class=\"scroll\"><table><tr><th>scenario<th>lanes<th>wall s<th>spread<th>user s<th>system "
	      "s<th>roofline CPU s"
	      "<th>CPU efficiency<th>disk s<th>occupancy<th>read MB<th>written MB<th>peak MiB</tr>\n",
	      out);
	for (size_t i = 0; i < s->scenario_count; i++) {
		const struct scenario_summary *c = &s->scenarios[i];
		fprintf(out,
			"<tr><td>%s<td>%u<td>%.2f<td>%.2f to %.2f<td>%.2f<td>%.2f<td>%.2f<td>%.1f %%<td>%.2f<td>%.1f "
			"%%<td>%.0f"
			"<td>%.0f<td>%.0f</tr>\n",
			scenario_title(c->scenario), c->lanes, c->wall_s.median, c->wall_s.least, c->wall_s.most,
			c->user_s, c->system_s, c->roofline_cpu_s, 100 * c->cpu_efficiency, c->disk_s,
			100 * c->occupancy, c->read_bytes / 1e6, c->written_bytes / 1e6,
			(double)c->peak_memory / (double)MIB);
	}
	fputs("</table></div>\n", out);
}

static void print_stage_legend(FILE *out, const struct bench_summary *s)
{
	fputs("<p class=\"legend\">", out);
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
		uint64_t total = 0;
		for (size_t i = 0; i < s->scenario_count; i++)
			total += s->scenarios[i].times.ns[stage];
		if (total)
			fprintf(out, "<span><i class=\"%s\" style=\"background-color:var(--s%u)\"></i>%s</span>",
				stage_is_idle((enum stage)stage) ? "idle" : "", stage, stage_name((enum stage)stage));
	}
	fputs("</p>\n", out);
}

static void print_stage_bars(FILE *out, const struct bench_summary *s)
{
	fputs("<h2>Where the lanes' time went</h2>\n<p class=\"dim\">Measured inside the lanes; hatched is "
	      "waiting.</p>\n",
	      out);
	print_stage_legend(out, s);
	for (size_t i = 0; i < s->scenario_count; i++) {
		const struct scenario_summary *c = &s->scenarios[i];
		double lane_ns = (double)(c->times.lane_ns ? c->times.lane_ns : 1);
		fprintf(out, "<div class=\"row\"><div>%s<br><small>%u lane%s</small></div><div class=\"stack\">",
			scenario_title(c->scenario), c->lanes, c->lanes == 1 ? "" : "s");
		for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
			double share = (double)c->times.ns[stage] / lane_ns;
			if (share < 0.0005)
				continue;
			fprintf(out,
				"<i class=\"%s\" style=\"width:%.2f%%;background-color:var(--s%u)\" title=\"%s %.1f "
				"%%\">",
				stage_is_idle((enum stage)stage) ? "idle" : "", 100 * share, stage,
				stage_name((enum stage)stage), 100 * share);
			if (share > 0.09)
				fprintf(out, "%s %.0f %%", stage_name((enum stage)stage), 100 * share);
			fputs("</i>", out);
		}
		fprintf(out, "</div><div>%.2f lane seconds,<br>%.0f %% of them on a CPU</div></div>\n", lane_ns / 1e9,
			100 * (double)c->times.lane_cpu_ns / lane_ns);
	}
}

static void print_stage_table(FILE *out, const struct bench_summary *s)
{
	fputs("<div class=\"scroll\"><table><tr><th>seconds", out);
	for (size_t i = 0; i < s->scenario_count; i++)
		fprintf(out, "<th>%s, %u", scenario_title(s->scenarios[i].scenario), s->scenarios[i].lanes);
	fputs("</tr>\n", out);
	for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
		fprintf(out, "<tr><td>%s", stage_name((enum stage)stage));
		for (size_t i = 0; i < s->scenario_count; i++)
			fprintf(out, "<td>%.3f", (double)s->scenarios[i].times.ns[stage] / 1e9);
		fputs("</tr>\n", out);
	}
	fputs("</table></div>\n", out);
}

static void print_primitives(FILE *out, const struct bench *b, const struct bench_summary *s)
{
	double most = 1e-9;
	for (unsigned p = 0; p < PRIMITIVE_COUNT; p++)
		most = fmax(most, s->primitives[DISK_FIRST][0].ns_per_byte[p]);
	fprintf(out,
		"<h2>Primitives</h2>\n<p class=\"dim\">Nanoseconds per byte on one CPU, on %.0f MB of the disk's own "
		"blocks (zstd"
		" level %d: %.2f to 1); behind the bar: with as many threads at once as lanes.</p>\n",
		(double)b->samples[DISK_FIRST].count * BLOCK_SIZE / 1e6, b->records[DISK_FIRST].level,
		(double)b->samples[DISK_FIRST].count * BLOCK_SIZE / (double)b->records[DISK_FIRST].stored_bytes);
	for (unsigned p = 0; p < PRIMITIVE_COUNT; p++) {
		double alone = s->primitives[DISK_FIRST][0].ns_per_byte[p];
		fprintf(out,
			"<div class=\"row\"><div>%s</div><div><div class=\"track\"><i "
			"style=\"width:%.2f%%\"></i></div></div><div>"
			"<b>%.3f</b> ns/B, %.0f MB/s",
			primitive_name((enum primitive)p), 100 * alone / most, alone, alone > 0 ? 1000 / alone : 0);
		for (size_t t = 1; t <= b->options.lane_count; t++)
			if (b->options.lanes[t - 1] > 1)
				fprintf(out, "<br><small>%u threads: %.3f</small>", b->options.lanes[t - 1],
					s->primitives[DISK_FIRST][t].ns_per_byte[p]);
		fputs("</div></div>\n", out);
	}
}

static void print_disk(FILE *out, const struct bench *b, const struct bench_summary *s)
{
	double most = 1;
	for (size_t l = 0; l < b->options.lane_count; l++)
		most = fmax(most, fmax(s->read_rate[l].most, s->write_rate[l].most));
	fprintf(out,
		"<h2>Disk</h2>\n<p class=\"dim\">The lanes' own pattern with nothing done to the bytes: io_uring, "
		"O_DIRECT, reads of"
		" 1 MiB (%u in flight per lane), writes of 2 MiB (%u) to fresh files.</p>\n",
		PROBE_READ_DEPTH, PROBE_WRITE_DEPTH);
	for (size_t l = 0; l < b->options.lane_count; l++) {
		for (unsigned write = 0; write < 2; write++) {
			const struct spread *r = write ? &s->write_rate[l] : &s->read_rate[l];
			fprintf(out,
				"<div class=\"row\"><div>%s alone<br><small>%u lane%s</small></div><div><div "
				"class=\"track\"><i"
				" style=\"width:%.2f%%\"></i><u "
				"style=\"left:%.2f%%;width:%.2f%%\"></u></div></div><div><b>%.0f</b>"
				" MB/s (%.0f to %.0f)<br>%.3f ns of CPU per byte</div></div>\n",
				write ? "write" : "read", b->options.lanes[l], b->options.lanes[l] == 1 ? "" : "s",
				100 * r->median / most, 100 * r->least / most, 100 * (r->most - r->least) / most,
				r->median / 1e6, r->least / 1e6, r->most / 1e6,
				write ? s->write_cpu[l] : s->read_cpu[l]);
		}
	}
}

static void print_rooflines(FILE *out, const struct bench_summary *s)
{
	fputs("<h2>How the rooflines come about</h2>\n<p>Wall seconds = max(CPU seconds / lanes, disk seconds). Disk "
	      "seconds: what"
	      " the disk alone needs to read and write as much in the same proportion. CPU seconds: the sum below, of "
	      "bytes times"
	      " the primitive's cost.</p>\n<p class=\"dim\">L: bytes in extents that hold data; N: in blocks that are "
	      "not zero; U:"
	      " new content; S: stored bytes; F: bytes of files; V, V': stored and plain bytes that are read back at "
	      "once.</p>\n",
	      out);
	for (size_t i = 0; i < s->scenario_count; i++) {
		const struct scenario_summary *c = &s->scenarios[i];
		fprintf(out,
			"<details><summary>%s, %u lane%s: CPU %.2f s, disk %.2f s</summary><p><code>%s</code></p><div "
			"class=\"scroll\">"
			"<table><tr><th>stage<th>MB<th>ns per byte<th>seconds</tr>\n",
			scenario_title(c->scenario), c->lanes, c->lanes == 1 ? "" : "s", c->roofline_cpu_s, c->disk_s,
			roofline_formula(c->scenario));
		for (size_t t = 0; t < c->roofline.term_count; t++) {
			const struct roofline_term *term = &c->roofline.terms[t];
			fprintf(out, "<tr><td>%s<td>%.1f<td>%.3f<td>%.3f</tr>\n", term->stage, term->bytes / 1e6,
				term->ns_per_byte, term->bytes * term->ns_per_byte / 1e9);
		}
		fputs("</table></div></details>\n", out);
	}
}

enum err_code report_html(FILE *out, const struct bench *b, const struct bench_summary *s, struct err *err)
{
	print_head(out, b);
	if (s->scenario_count) {
		print_cards(out, s);
		print_scenario_bars(out, s);
		print_scenario_table(out, s);
		print_stage_bars(out, s);
		print_stage_table(out, s);
	}
	print_primitives(out, b, s);
	print_disk(out, b, s);
	if (s->scenario_count)
		print_rooflines(out, s);
	if (b->restore_compared)
		fputs("<p class=\"dim\">A restored disk of each lane count was compared with its source, byte by byte: "
		      "identical.</p>\n",
		      out);
	fputs("</body></html>\n", out);
	return ferror(out) ? err_set(err, ERR_IO, 0, "cannot write the HTML report") : ERR_OK;
}
