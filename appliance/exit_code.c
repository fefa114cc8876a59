/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/exit_code.h"

#include <signal.h>
#include <stddef.h>

#include "appliance/signals.h"

/* Every code that is not here ends as EXIT_FAILED. */
static const struct {
	enum err_code code;
	enum exit_code exit_code;
} exit_codes[] = {
	{ERR_OK, EXIT_DONE},   {ERR_INVALID, EXIT_USAGE},  {ERR_NO_STORE, EXIT_NO_STORE}, {ERR_BUSY, EXIT_BUSY},
	{ERR_AUTH, EXIT_AUTH}, {ERR_CORRUPT, EXIT_DAMAGE}, {ERR_NO_SPACE, EXIT_NO_SPACE},
};

enum exit_code exit_code_of(enum err_code code, enum corrupt_means corrupt_means)
{
	if (code == ERR_CANCELLED)
		return signals_received() == SIGTERM ? EXIT_TERMINATED : EXIT_INTERRUPTED;
	if (code == ERR_CORRUPT && corrupt_means == CORRUPT_IS_INPUT)
		return EXIT_FAILED;
	for (size_t i = 0; i < sizeof(exit_codes) / sizeof(exit_codes[0]); i++)
		if (exit_codes[i].code == code)
			return exit_codes[i].exit_code;
	return EXIT_FAILED;
}
