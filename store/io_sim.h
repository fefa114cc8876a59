/* SPDX-License-Identifier: Apache-2.0 */
/* The storage interface on a simulated disk in memory, with the weakest promises that io.h allows. Deterministic: the
 * same seed and the same calls give the same disk.
 *
 *  - What was written and not synced is remembered as pending; a power cut keeps a random subset of the pending
 *    512-byte sectors, in any order (of two writes to one sector either may win), and names that were not synced with
 *    sync_dir may be missing, present, or (rename) old or new.
 *  - Any call, counted from 1, can be made to fail: an I/O error, a full disk, a power cut before or after it.
 *  - Bits can be flipped anywhere.
 *
 * Threads: calls are serialised by a lock inside. */
#ifndef STORE_IO_SIM_H
#define STORE_IO_SIM_H

#include "store/io.h"

/* A fault that makes no sense for the call it hits does not happen; a power cut always does (IO_SIM_TORN is then the
 * same as IO_SIM_CUT_BEFORE). */
enum io_sim_fault {
	IO_SIM_NONE,
	IO_SIM_EIO,        /* the call fails with EIO and does nothing */
	IO_SIM_ENOSPC,     /* a write or allocation fails with ENOSPC, half done; a new name with nothing done */
	IO_SIM_TORN,       /* a write is half done and then power fails */
	IO_SIM_CUT_BEFORE, /* power fails before the call: it and all later calls fail with EIO */
	IO_SIM_CUT_AFTER,  /* power fails after the call has succeeded on the disk; the caller sees EIO */
	IO_SIM_LOST_SYNC,  /* a sync of a file fails with EIO and drops some or all of what was pending, as Linux file
			    * systems may do; later syncs succeed */
};

/* An empty simulated disk of `capacity` bytes (0: without limit). */
MUST_CHECK enum err_code io_sim_new(uint64_t seed, uint64_t capacity, struct io **ret, struct err *err);

/* Arms a fault for the call with number `call` (1 is the next call after this one). `repeat`: all calls from there
 * on. */
void io_sim_arm(struct io *io, uint64_t call, enum io_sim_fault fault, bool repeat);

/* Calls made so far since io_sim_arm (or the beginning). Reads, writes, syncs, opens, and namespace calls count. */
uint64_t io_sim_calls(const struct io *io);

/* Only calls that can change the disk are counted and faulted when `writes_only`. */
void io_sim_count_writes_only(struct io *io, bool writes_only);

/* Cuts the power now and turns it on again: the disk keeps what a real one may have kept, chosen by `seed`. Open files
 * of before are dead (every call on them fails); locks are gone; faults are disarmed. */
void io_sim_power_cycle(struct io *io, uint64_t seed);

/* An independent copy of the disk as it would be seen by reading it now. */
MUST_CHECK enum err_code io_sim_clone(struct io *io, struct io **ret, struct err *err);

/* Flips bit `bit` of byte `offset` of file `path`. ERR_NOT_FOUND if there is no such byte. */
MUST_CHECK enum err_code io_sim_flip(struct io *io, const char *path, uint64_t offset, unsigned bit, struct err *err);

#endif
