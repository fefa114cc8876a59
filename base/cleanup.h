/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup by scope, after the manner of systemd and nbdkit: a variable marked AUTO_* is released when its scope ends.
 * Hand ownership out with TAKE_PTR / TAKE_FD. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_unlock(pthread_mutex_t **mutex)
{
	if (*mutex)
		pthread_mutex_unlock(*mutex);
}

static inline pthread_mutex_t *cleanup_lock(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
	return mutex;
}

#define AUTO_FREE __attribute__((cleanup(cleanup_free)))
#define AUTO_CLOSE __attribute__((cleanup(cleanup_close)))
#define AUTO_FCLOSE __attribute__((cleanup(cleanup_fclose)))

/* Declares an owner that runs `func(&variable)` when the scope ends: AUTO(release_fn) struct x *p = NULL; */
#define AUTO(func) __attribute__((cleanup(func)))

/* Defines cleanup_NAME(type **) that calls func on a non-NULL pointer, for use with AUTO(). */
#define DEFINE_CLEANUP(name, type, func)            \
	static inline void cleanup_##name(type **p) \
	{                                           \
		if (*p)                             \
			func(*p);                   \
	}

/* Holds `mutex` until the scope ends. */
#define LOCK_SCOPE_JOIN2(a, b) a##b
#define LOCK_SCOPE_JOIN(a, b) LOCK_SCOPE_JOIN2(a, b)
#define LOCK_SCOPE(mutex)                                                                                          \
	__attribute__((cleanup(cleanup_unlock), unused)) pthread_mutex_t *LOCK_SCOPE_JOIN(lock_scope_, __LINE__) = \
		cleanup_lock(mutex)

/* Gives the pointer's value away and leaves NULL behind. */
#define TAKE_PTR(p)                         \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

/* Gives the descriptor away and leaves -1 behind. */
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#endif
