/* SPDX-License-Identifier: Apache-2.0 */
/* Debug messages by area, chosen at run time: XENOLITH_DEBUG=store,ingest or XENOLITH_DEBUG=all. Layers below the
 * appliance return errors and log at this level only. Secrets are never logged.
 *
 * Threads: any. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

/* True if messages of `area` ("store", "pipeline", "ingest", ...) are wanted. */
bool log_is_enabled(const char *area);

/* Writes one line "xenolith: area: message" to standard error if the area is enabled. */
void log_debug(const char *area, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
