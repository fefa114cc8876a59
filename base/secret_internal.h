/* SPDX-License-Identifier: Apache-2.0 */
/* The sources of a secret: private to base/secret*.c. Each fills `buffer` (SECRET_BUFFER_SIZE bytes of locked memory)
 * and gives the number of bytes in *ret_length; more than SECRET_MAX of text is left to the caller to refuse. */
#ifndef BASE_SECRET_INTERNAL_H
#define BASE_SECRET_INTERNAL_H

#include "base/secret.h"

#define SECRET_BUFFER_SIZE \
	(SECRET_MAX + 3) /* a newline of one or two bytes, and one byte that shows that it is too long */

/* Reads `fd` to its end or until the buffer is full. */
MUST_CHECK enum err_code secret_read_fd(int fd, const char *what, uint8_t *buffer, size_t *ret_length, struct err *err);

/* The first line that `command` prints. ERR_AUTH if it fails. */
MUST_CHECK enum err_code secret_from_command(const char *what, const char *command, uint8_t *buffer, size_t *ret_length,
					     struct err *err);

/* One line typed at the terminal without echo. ERR_NOT_FOUND if there is no terminal. */
MUST_CHECK enum err_code secret_from_terminal(const char *what, const char *prompt, uint8_t *buffer, size_t *ret_length,
					      struct err *err);

#endif
