/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/summary.h"

#include "base/size.h"

#include <math.h>

/* ---- Costs ---- */

static void summarise_primitives(const struct bench *b, struct bench_summary *s)
{
	double values[REPEAT_MAX];
	for (unsigned disk = 0; disk < DISK_COUNT; disk++) {
		for (size_t t = 0; t <= b->options.lane_count; t++) {
			const struct primitive_costs *passes = b->passes[disk][t];
			for (unsigned p = 0; passes && p < PRIMITIVE_COUNT; p++) {
				for (size_t i = 0; i < b->pass_count; i++)
					values[i] = passes[i].ns_per_byte[p];
				s->primitives[disk][t].ns_per_byte[p] = median_of(values, b->pass_count);
			}
		}
	}
}

static void summarise_disk(const struct bench *b, struct bench_summary *s)
{
	double rates[REPEAT_MAX], costs[REPEAT_MAX];
	for (size_t l = 0; l < b->options.lane_count; l++) {
		for (size_t i = 0; i < b->probe_count; i++) {
			const struct disk_probe_result *r = &b->reads[l][i];
			rates[i] = (double)r->read_bytes / r->wall_s;
			costs[i] = r->cpu_s * 1e9 / (double)r->read_bytes;
		}
		s->read_rate[l] = spread_of(rates, b->probe_count);
		s->read_cpu[l] = median_of(costs, b->probe_count);
		for (size_t i = 0; i < b->probe_count; i++) {
			const struct disk_probe_result *w = &b->writes[l][i];
			rates[i] = (double)w->write_bytes / w->wall_s;
			costs[i] = w->cpu_s * 1e9 / (double)w->write_bytes;
		}
		s->write_rate[l] = spread_of(rates, b->probe_count);
		s->write_cpu[l] = median_of(costs, b->probe_count);
	}
}

/* ---- One scenario ---- */

static bool is_backup(enum scenario scenario)
{
	return scenario <= SCENARIO_SECOND_VM;
}

/* Share of the new records that is read back at once. */
static double check_share(const struct bench_options *options)
{
	switch (options->verify_new) {
	case VERIFY_NEW_OFF:
		return 0;
	case VERIFY_NEW_SAMPLE:
		return (double)STRIPE_SIZE_DEFAULT / SEGMENT_SIZE_DEFAULT;
	case VERIFY_NEW_ALL:
		break;
	}
	return 1;
}

static struct scenario_bytes bytes_of(const struct bench *b, enum scenario scenario, const struct scenario_result *r)
{
	const struct disk_survey *survey = &b->surveys[scenario_disk(scenario)];
	struct scenario_bytes bytes = {.stored = (double)r->times.stored_bytes, .file = (double)r->times.file_bytes};
	if (is_backup(scenario)) {
		bytes.read = (double)survey->read;
		bytes.data = (double)survey->data;
		bytes.fresh = scenario == SCENARIO_UNCHANGED ? 0 : (double)survey->fresh;
		bytes.check_stored = bytes.stored * check_share(&b->options);
		bytes.check_plain = bytes.fresh * check_share(&b->options);
	} else if (scenario == SCENARIO_RESTORE) {
		bytes.data = (double)r->plain_bytes;
	} else if (scenario == SCENARIO_VERIFY) {
		bytes.fresh = (double)r->plain_bytes;
	} else {
		bytes.file = (double)r->virtual_bytes;
	}
	return bytes;
}

static struct roofline roofline_of(enum scenario scenario, const struct scenario_bytes *bytes,
				   const struct lane_costs *costs)
{
	switch (scenario) {
	case SCENARIO_RESTORE:
		return roofline_restore(bytes, costs);
	case SCENARIO_VERIFY:
		return roofline_verify(bytes, costs);
	case SCENARIO_SCRUB:
		return roofline_scrub(bytes, costs);
	default:
		return roofline_backup(bytes, costs);
	}
}

static double idle_share(const struct stage_times *times)
{
	uint64_t idle = 0;
	for (unsigned i = 0; i < STAGE_COUNT; i++)
		if (stage_is_idle((enum stage)i))
			idle += times->ns[i];
	return times->lane_ns ? (double)idle / (double)times->lane_ns : 0;
}

/* Ratios are taken within each repetition, whose disk probe ran beside it, and then their median. */
static void summarise_ratios(const struct scenario_runs *runs, struct scenario_summary *s, double alone_cpu_s)
{
	double disk[REPEAT_MAX], roof[REPEAT_MAX], cpu[REPEAT_MAX], alone[REPEAT_MAX], share[REPEAT_MAX],
		busy[REPEAT_MAX];
	double cpu_wall = s->roofline.cpu_s / s->lanes;
	for (size_t i = 0; i < runs->count; i++)
		disk[i] = runs->runs[i].disk_s;
	s->disk_s = median_of(disk, runs->count);
	s->disk_bound = s->disk_s > cpu_wall;
	for (size_t i = 0; i < runs->count; i++) {
		const struct scenario_result *r = &runs->runs[i].result;
		double used = r->user_s + r->system_s;
		roof[i] = fmax(cpu_wall, disk[i]);
		cpu[i] = s->roofline.cpu_s / used;
		alone[i] = alone_cpu_s / used;
		share[i] = roof[i] / r->wall_s;
		busy[i] = s->disk_bound ? disk[i] / r->wall_s : 1 - idle_share(&r->times);
	}
	s->roofline_wall_s = median_of(roof, runs->count);
	s->cpu_efficiency = median_of(cpu, runs->count);
	s->cpu_efficiency_alone = median_of(alone, runs->count);
	s->wall_share = median_of(share, runs->count);
	s->occupancy = median_of(busy, runs->count);
}

static void summarise_usage(const struct scenario_runs *runs, struct scenario_summary *s)
{
	double wall[REPEAT_MAX], cpu[REPEAT_MAX], user[REPEAT_MAX], kernel[REPEAT_MAX];
	for (size_t i = 0; i < runs->count; i++) {
		const struct scenario_result *r = &runs->runs[i].result;
		wall[i] = r->wall_s;
		user[i] = r->user_s;
		kernel[i] = r->system_s;
		cpu[i] = r->user_s + r->system_s;
		s->peak_memory = max_u64(s->peak_memory, r->peak_memory);
		s->start_memory = max_u64(s->start_memory, r->start_memory);
		s->buffer_memory = max_u64(s->buffer_memory, r->times.buffer_bytes);
		s->index_memory = max_u64(s->index_memory, r->index_memory);
		s->index_chunks = max_u64(s->index_chunks, r->index_chunks);
	}
	s->wall_s = spread_of(wall, runs->count);
	s->cpu_s = spread_of(cpu, runs->count);
	s->user_s = median_of(user, runs->count);
	s->system_s = median_of(kernel, runs->count);
}

/* The repetition whose wall time is nearest to the median. */
static const struct scenario_result *typical(const struct scenario_runs *runs, double median)
{
	size_t best = 0;
	for (size_t i = 1; i < runs->count; i++)
		if (fabs(runs->runs[i].result.wall_s - median) < fabs(runs->runs[best].result.wall_s - median))
			best = i;
	return &runs->runs[best].result;
}

static void summarise_scenario(const struct bench *b, struct bench_summary *summary, enum scenario scenario,
			       size_t lane_index)
{
	const struct scenario_runs *runs = &b->runs[scenario][lane_index];
	struct scenario_summary *s = &summary->scenarios[summary->scenario_count++];
	*s = (struct scenario_summary){
		.scenario = scenario, .lanes = b->options.lanes[lane_index], .repeats = runs->count};
	summarise_usage(runs, s);
	const struct scenario_result *r = typical(runs, s->wall_s.median);
	enum bench_disk disk = scenario_disk(scenario);
	struct scenario_bytes bytes = bytes_of(b, scenario, r);
	struct lane_costs costs = {
		.primitives = summary->primitives[disk][lane_index + 1],
		.read_ns_per_byte = summary->read_cpu[lane_index],
		.write_ns_per_byte = summary->write_cpu[lane_index],
	};
	s->roofline = roofline_of(scenario, &bytes, &costs);
	s->roofline_cpu_s = s->roofline.cpu_s;
	costs.primitives = summary->primitives[disk][0];
	summarise_ratios(runs, s, roofline_of(scenario, &bytes, &costs).cpu_s);
	s->times = r->times;
	s->read_bytes = (double)r->times.read_bytes;
	s->written_bytes = (double)r->times.file_bytes;
	s->bytes = is_backup(scenario) ? bytes.read : scenario == SCENARIO_SCRUB ? bytes.file : (double)r->plain_bytes;
	s->rate = s->bytes / s->wall_s.median;
}

static void summarise_speedup(const struct bench *b, struct bench_summary *s)
{
	const struct scenario_runs *base = &b->runs[SCENARIO_FIRST][0];
	double ratios[REPEAT_MAX];
	for (size_t l = 0; l < b->options.lane_count; l++) {
		const struct scenario_runs *runs = &b->runs[SCENARIO_FIRST][l];
		for (size_t i = 0; i < runs->count; i++)
			ratios[i] = base->runs[i].result.wall_s / runs->runs[i].result.wall_s;
		s->speedup[l] = median_of(ratios, runs->count);
	}
}

void bench_summarise(const struct bench *b, struct bench_summary *ret)
{
	*ret = (struct bench_summary){0};
	summarise_primitives(b, ret);
	summarise_disk(b, ret);
	for (unsigned scenario = 0; scenario < SCENARIO_COUNT; scenario++)
		for (size_t l = 0; l < b->options.lane_count; l++)
			if (b->runs[scenario][l].count)
				summarise_scenario(b, ret, (enum scenario)scenario, l);
	summarise_speedup(b, ret);
}
