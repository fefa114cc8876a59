/* SPDX-License-Identifier: Apache-2.0 */
/* The recovery key as it is shown once: four numbered lines of words and a QR code, in the terminal, in a file, or as
 * JSON.
 *
 * Threads: one owner. */
#ifndef APPLIANCE_PAPER_KEY_H
#define APPLIANCE_PAPER_KEY_H

#include "appliance/output.h"
#include "base/err.h"
#include "base/uuid.h"
#include "store/keys.h"

/* Prints words and QR code to the results (or a JSON row "recovery_key"). */
MUST_CHECK enum err_code paper_key_print(struct output *output, const uint8_t secret[static KEY_SIZE],
					 const struct uuid *store_id, struct err *err);

/* Makes the file `path` that paper_key_write will fill, so that a bad path is found before there is a key. ERR_EXISTS
 * if it is there. Gives *ret_fd. */
MUST_CHECK enum err_code paper_key_create(const char *path, int *ret_fd, struct err *err);

/* Writes the words to the file and makes them durable. */
MUST_CHECK enum err_code paper_key_write(int fd, const char *path, const uint8_t secret[static KEY_SIZE],
					 struct err *err);

/* Asks the person at the terminal for one line, chosen at random, until it is right. ERR_CANCELLED if there is nobody
 * (any more) who types. */
MUST_CHECK enum err_code paper_key_ask_back(struct output *output, const uint8_t secret[static KEY_SIZE],
					    struct err *err);

#endif
