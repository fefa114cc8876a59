/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith-bench: how near the product comes to what this machine can do. docs/BENCHMARK.md. */
#include "bench/bench.h"
#include "bench/report.h"

#include "base/cleanup.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

typedef enum err_code (*report_fn)(FILE *, const struct bench *, const struct bench_summary *, struct err *);

static enum err_code write_report(const char *path, report_fn report, const struct bench *bench,
				  const struct bench_summary *summary, struct err *err)
{
	if (!path)
		return ERR_OK;
	if (strcmp(path, "-") == 0)
		return report(stdout, bench, summary, err);
	AUTO_FCLOSE FILE *file = fopen(path, "we");
	if (!file)
		return err_errno(err, "cannot write '%s'", path);
	TRY(report(file, bench, summary, err));
	return fflush(file) == 0 ? ERR_OK : err_errno(err, "cannot write '%s'", path);
}

static enum err_code run(struct bench *bench, struct err *err)
{
	static struct bench_summary summary;
	if (sodium_init() < 0)
		return err_set(err, ERR_BUG, 0, "libsodium does not start");
	TRY(bench_run(bench, err));
	bench_summarise(bench, &summary);
	if (!bench->options.json || strcmp(bench->options.json, "-") != 0)
		report_text(stdout, bench, &summary);
	TRY(write_report(bench->options.json, report_json, bench, &summary, err));
	return write_report(bench->options.html, report_html, bench, &summary, err);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	struct err err = {0};
	int status;
	if (argc == 2 && strcmp(argv[1], JOB_ARGUMENT) == 0)
		return scenario_job_main();
	if (!bench_options_parse(&bench.options, argc, argv, &status))
		return status;
	enum err_code code = run(&bench, &err);
	bench_release(&bench);
	if (code != ERR_OK)
		fprintf(stderr, "xenolith-bench: %s\n", err.msg);
	return code == ERR_OK ? 0 : 1;
}
