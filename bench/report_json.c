/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include "store/chunk_hash.h"

#include <jansson.h>

static json_t *spread_json(const struct spread *s)
{
	return json_pack("{s:f,s:f,s:f}", "median", s->median, "least", s->least, "most", s->most);
}

static json_t *machine_json(void)
{
	struct machine m;
	machine_describe(&m);
	return json_pack("{s:s,s:I,s:I,s:s,s:s}", "cpu", m.cpu, "cpus", (json_int_t)m.cpus, "memory_bytes",
			 (json_int_t)m.memory_bytes, "kernel", m.kernel, "chunk_hash", chunk_hash_implementation());
}

static json_t *disks_json(const struct bench *b)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < DISK_COUNT; i++) {
		const struct disk_survey *s = &b->surveys[i];
		if (s->size)
			json_array_append_new(list,
					      json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "name",
							bench_disk_name((enum bench_disk)i), "path",
							b->options.disks[i], "size_bytes", (json_int_t)s->size,
							"allocated_bytes", (json_int_t)s->read, "data_bytes",
							(json_int_t)s->data, "new_bytes", (json_int_t)s->fresh,
							"sample_blocks", (json_int_t)b->records[i].sample->count,
							"sample_stored_bytes", (json_int_t)b->records[i].stored_bytes));
	}
	return list;
}

static json_t *primitives_json(const struct bench *b, const struct bench_summary *s)
{
	json_t *list = json_array();
	for (unsigned disk = 0; disk < DISK_COUNT; disk++) {
		for (size_t t = 0; b->passes[disk][0] && t <= b->options.lane_count; t++) {
			json_t *costs = json_object();
			for (unsigned p = 0; p < PRIMITIVE_COUNT; p++)
				json_object_set_new(costs, primitive_name((enum primitive)p),
						    json_real(s->primitives[disk][t].ns_per_byte[p]));
			json_array_append_new(list,
					      json_pack("{s:s,s:I,s:o}", "disk", bench_disk_name((enum bench_disk)disk),
							"threads", (json_int_t)(t ? b->options.lanes[t - 1] : 1),
							"ns_per_byte", costs));
		}
	}
	return list;
}

static json_t *levels_json(const struct bench *b)
{
	json_t *list = json_array();
	for (size_t i = 0; i < b->options.level_count; i++) {
		const struct level_cost *l = &b->levels[i];
		json_array_append_new(list, json_pack("{s:i,s:f,s:f,s:f}", "level", l->level, "compress_ns_per_byte",
						      l->compress_ns_per_byte, "decompress_ns_per_byte",
						      l->decompress_ns_per_byte, "ratio", l->ratio));
	}
	return list;
}

static json_t *device_json(const struct bench *b, const struct bench_summary *s)
{
	json_t *list = json_array();
	for (size_t l = 0; l < b->options.lane_count; l++)
		json_array_append_new(list,
				      json_pack("{s:I,s:o,s:o,s:f,s:f}", "lanes", (json_int_t)b->options.lanes[l],
						"read_bytes_per_s", spread_json(&s->read_rate[l]), "write_bytes_per_s",
						spread_json(&s->write_rate[l]), "read_cpu_ns_per_byte", s->read_cpu[l],
						"write_cpu_ns_per_byte", s->write_cpu[l]));
	return list;
}

static json_t *stages_json(const struct scenario_summary *c)
{
	json_t *stages = json_object();
	for (unsigned i = 0; i < STAGE_COUNT; i++)
		json_object_set_new(stages, stage_name((enum stage)i), json_real((double)c->times.ns[i] / 1e9));
	return json_pack("{s:f,s:f,s:o}", "lane_s", (double)c->times.lane_ns / 1e9, "lane_cpu_s",
			 (double)c->times.lane_cpu_ns / 1e9, "stage_s", stages);
}

static json_t *roofline_json(const struct scenario_summary *c)
{
	json_t *terms = json_array();
	for (size_t i = 0; i < c->roofline.term_count; i++) {
		const struct roofline_term *t = &c->roofline.terms[i];
		json_array_append_new(terms, json_pack("{s:s,s:f,s:f}", "stage", t->stage, "bytes", t->bytes,
						       "ns_per_byte", t->ns_per_byte));
	}
	return json_pack("{s:s,s:f,s:f,s:f,s:s,s:o}", "cpu_formula", roofline_formula(c->scenario), "cpu_s",
			 c->roofline_cpu_s, "disk_s", c->disk_s, "wall_s", c->roofline_wall_s, "limit", limit_name(c),
			 "terms", terms);
}

static json_t *repetitions_json(const struct scenario_runs *runs)
{
	json_t *list = json_array();
	for (size_t i = 0; i < runs->count; i++) {
		const struct scenario_run *run = &runs->runs[i];
		json_array_append_new(list, json_pack("{s:f,s:f,s:f,s:f}", "wall_s", run->result.wall_s, "user_s",
						      run->result.user_s, "system_s", run->result.system_s, "disk_s",
						      run->disk_s));
	}
	return list;
}

static json_t *scenario_json(const struct bench *b, const struct scenario_summary *c)
{
	size_t lane_index = 0;
	while (b->options.lanes[lane_index] != c->lanes)
		lane_index++;
	json_t *memory =
		json_pack("{s:I,s:I,s:I,s:I,s:I}", "peak_bytes", (json_int_t)c->peak_memory, "start_bytes",
			  (json_int_t)c->start_memory, "lane_buffer_bytes", (json_int_t)c->buffer_memory, "index_bytes",
			  (json_int_t)c->index_memory, "index_chunks", (json_int_t)c->index_chunks);
	json_t *ratios = json_pack("{s:f,s:f,s:f,s:f}", "cpu_efficiency", c->cpu_efficiency, "cpu_efficiency_alone",
				   c->cpu_efficiency_alone, "occupancy", c->occupancy, "wall_share", c->wall_share);
	return json_pack("{s:s,s:I,s:I,s:o,s:o,s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:o,s:o,s:o,s:o,s:o}", "scenario",
			 scenario_name(c->scenario), "lanes", (json_int_t)c->lanes, "repeats", (json_int_t)c->repeats,
			 "wall_s", spread_json(&c->wall_s), "cpu_s", spread_json(&c->cpu_s), "user_s", c->user_s,
			 "system_s", c->system_s, "bytes_per_s", c->rate, "read_bytes", c->read_bytes, "written_bytes",
			 c->written_bytes, "stored_bytes", (json_int_t)c->times.stored_bytes, "new_bytes",
			 (json_int_t)c->times.new_bytes, "ratios", ratios, "roofline", roofline_json(c), "stages",
			 stages_json(c), "memory", memory, "repetitions",
			 repetitions_json(&b->runs[c->scenario][lane_index]));
}

static json_t *options_json(const struct bench_options *o)
{
	static const char *const verify_new[] = {
		[VERIFY_NEW_OFF] = "off", [VERIFY_NEW_SAMPLE] = "sample", [VERIFY_NEW_ALL] = "all"};
	json_t *options =
		json_pack("{s:I,s:i,s:s,s:I,s:I,s:b}", "repeat", (json_int_t)o->repeat, "level", o->compression.level,
			  "verify_new", verify_new[o->verify_new], "sample_bytes", (json_int_t)o->sample_bytes,
			  "probe_bytes", (json_int_t)o->probe_bytes, "generated", o->generated);
	if (o->generated)
		json_object_set_new(options, "generate",
				    json_pack("{s:I,s:I,s:I}", "size_bytes", (json_int_t)o->generate.size_bytes,
					      "compressible_percent", (json_int_t)o->generate.compressible_percent,
					      "duplicate_percent", (json_int_t)o->generate.duplicate_percent));
	return options;
}

enum err_code report_json(FILE *out, const struct bench *b, const struct bench_summary *s, struct err *err)
{
	json_t *scenarios = json_array(), *speedups = json_array();
	for (size_t i = 0; i < s->scenario_count; i++)
		json_array_append_new(scenarios, scenario_json(b, &s->scenarios[i]));
	for (size_t l = 0; l < b->options.lane_count; l++)
		json_array_append_new(speedups, json_pack("{s:I,s:f}", "lanes", (json_int_t)b->options.lanes[l],
							  "first_full_speedup", s->speedup[l]));
	json_t *report = json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "type", "benchmark", "version",
				   XENOLITH_VERSION, "machine", machine_json(), "options", options_json(&b->options),
				   "disks", disks_json(b), "primitives", primitives_json(b, s), "levels",
				   levels_json(b), "device", device_json(b, s), "scenarios", scenarios, "scaling",
				   speedups, "restore_compared", b->restore_compared);
	if (!report)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the JSON report");
	int failed = json_dumpf(report, out, JSON_INDENT(1));
	json_decref(report);
	fputc('\n', out);
	return failed || ferror(out) ? err_set(err, ERR_IO, 0, "cannot write the JSON report") : ERR_OK;
}
