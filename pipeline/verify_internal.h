/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of verify share.
 *
 *   verify.c        the job: what to read, then read it, then say whom the damage hits
 *   verify_walk.c   from savesets to records, and from damaged records back to blocks of savesets
 *   verify_lane.c   one lane: opens and hashes the wanted records of one segment after the other
 */
#ifndef PIPELINE_VERIFY_INTERNAL_H
#define PIPELINE_VERIFY_INTERNAL_H

#include "pipeline/check_internal.h"
#include "pipeline/verify_marks.h"

struct verify_job {
	struct check_job check;
	struct store *store;
	struct node_store nodes;
	const struct log_saveset *savesets;
	size_t saveset_count;
	struct record_marks wanted;
	struct record_marks bad;
	_Atomic size_t next; /* index into the log's segments */
	bool missing;        /* a record that a map names is in no segment, or a node cannot be read */
};

/* Marks every record that the job's savesets need. */
enum err_code verify_collect(struct verify_job *job, struct err *err);

/* Marks every record of every live segment. */
enum err_code verify_collect_all(struct verify_job *job, struct err *err);

/* Tells which blocks of which savesets damaged or missing records cost. */
enum err_code verify_explain(struct verify_job *job, struct err *err);

struct verify_lane {
	struct verify_job *job;
	struct stage_times times;
};
void *verify_lane_main(void *lane);

#endif
