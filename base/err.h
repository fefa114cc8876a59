/* SPDX-License-Identifier: Apache-2.0 */
/* Errors are values: a code that says what the caller should do, and one line of text that a person can act on.
 *
 * The caller makes a `struct err` on its stack (`struct err err = {0};`) and passes its address down. A function that
 * fails returns a code other than ERR_OK and fills the struct unless the pointer is NULL; on success it leaves it
 * alone. The first error wins: setting an error that is already set keeps the old one.
 *
 * Threads: a struct err belongs to one thread; hand it over by value.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

enum err_code {
	ERR_OK = 0,
	ERR_IO,          /* a device or the kernel failed; err->os_errno says how */
	ERR_NO_MEMORY,   /* an allocation failed; try with fewer lanes */
	ERR_NO_SPACE,    /* the store or the target is full */
	ERR_NOT_FOUND,   /* the named thing does not exist */
	ERR_NO_STORE,    /* the path holds no store */
	ERR_EXISTS,      /* the thing is already there and was not to be overwritten */
	ERR_CORRUPT,     /* bytes from outside are damaged, truncated or forged */
	ERR_UNSUPPORTED, /* well formed, but a kind or version this program does not know */
	ERR_INVALID,     /* the caller's request makes no sense (usage) */
	ERR_LIMIT,       /* a named limit is exceeded */
	ERR_AUTH,        /* wrong passphrase or key */
	ERR_NET,         /* a peer could not be reached or broke the protocol */
	ERR_TIMEOUT,     /* a peer did not answer in time */
	ERR_CANCELLED,   /* the user or another part of the job asked to stop */
	ERR_BUSY,        /* somebody else holds the lock */
	ERR_BUG,         /* an invariant of this program does not hold; nothing was trusted */
};

struct err {
	enum err_code code;
	int os_errno;  /* errno of the failed system call, 0 if none */
	char msg[512]; /* lower case, no full stop, names the object in quotes */
};

/* Sets `err` (may be NULL) to `code` with a formatted message, unless it is set already. `os_errno` other than 0
 * appends ": " and the system's text for it. Returns `code`, so that a function can end with `return err_set(...)`. */
enum err_code err_set(struct err *err, enum err_code code, int os_errno, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Like err_set, with a va_list. */
enum err_code err_setv(struct err *err, enum err_code code, int os_errno, const char *format, va_list args)
	__attribute__((format(printf, 4, 0)));

/* Puts "context: " in front of the message of a set error. Returns the error's code (ERR_OK if `err` is NULL or
 * unset). */
enum err_code err_context(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sets ERR_IO for the current errno, or the code that fits it better (ENOSPC and EDQUOT, ENOMEM, ENOENT, EEXIST). */
enum err_code err_errno(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Which code answers a system call's errno best; ERR_IO if none does. */
enum err_code err_code_of_errno(int os_errno);

/* The code's stable name for machines, such as "no-space". Never NULL. */
const char *err_code_name(enum err_code code);

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time: this tells it that setting an error gives an error. */
#define err_set(err, code, ...) ((void)(err_set)((err), (code), __VA_ARGS__), (code))
#define err_errno(err, ...) ((void)(err_errno)((err), __VA_ARGS__), ERR_IO)
#endif

/* Runs `call`; if it does not return ERR_OK, returns its code from the current function. */
#define TRY(call)                                \
	do {                                     \
		enum err_code try_code = (call); \
		if (try_code != ERR_OK)          \
			return try_code;         \
	} while (0)

/* Runs `call` where its code needs no answer, because the error is kept elsewhere or a first error outranks it. */
#define ERR_IGNORE(call)                             \
	do {                                         \
		enum err_code ignored_code = (call); \
		(void)ignored_code;                  \
	} while (0)

/* Marks a function whose result must be looked at. */
#define MUST_CHECK __attribute__((warn_unused_result))

#endif
