/* SPDX-License-Identifier: Apache-2.0 */
/* A check for test builds: no (key, nonce) pair ever seals twice in a process. A nonce that repeats breaks the
 * encryption without breaking any round trip, so no other test would see it.
 *
 * Threads: any. Memory grows with every seal (16 bytes and slack), which is why release builds are without it. */
#ifndef STORE_NONCE_GUARD_H
#define STORE_NONCE_GUARD_H

#include <stdint.h>

/* Notes that `key` sealed with the nonce made of `ordinal`. Prints a message and aborts if it has done so before. */
void nonce_guard_record(const uint8_t key[static 32], uint64_t ordinal);

#endif
