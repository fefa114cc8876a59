/* SPDX-License-Identifier: Apache-2.0 */
/* From options, environment and prompt to what opens a store, or to the secret of a new key slot.
 *
 * Threads: one owner. */
#ifndef APPLIANCE_UNLOCK_H
#define APPLIANCE_UNLOCK_H

#include "appliance/verb.h"
#include "base/err.h"
#include "base/secret.h"
#include "store/keys.h"

/* The options that name a secret; all may be NULL. */
struct secret_options {
	const char *passphrase_file;
	const char *passphrase_command;
	const char *key_file;
};

/* Reads what opens the store `store_id`: --key-file, --recovery-key-file, --passphrase-file or --passphrase-command,
 * then XENOLITH_KEY_FILE, then what base/secret.h tries. Gives *ret_secret (secret_release), to which *ret refers. */
MUST_CHECK enum err_code unlock_read(const struct invocation *invocation, const struct uuid *store_id,
				     struct secret *ret_secret, struct unlock *ret, struct err *err);

/* Reads the secret of a new slot: a key file, or a passphrase, which a person types twice. Without any option the
 * environment serves if `use_environment`. Gives *ret (secret_release) and the slot's kind. */
MUST_CHECK enum err_code unlock_read_new(const struct invocation *invocation, const struct secret_options *options,
					 const char *what, bool use_environment, struct secret *ret,
					 enum key_slot_kind *ret_kind, struct err *err);

#endif
