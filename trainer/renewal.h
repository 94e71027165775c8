/*
 * renewal.h - newer credentials for a rank's stores, from the state, where the supervisor puts them.
 *
 * Each rank looks by itself, and only when its own near their end or were refused: so no rank waits for
 * another in the middle of a transfer. The state away, or nothing there yet, is ERR_RETRY.
 */
#ifndef TRAINER_RENEWAL_H
#define TRAINER_RENEWAL_H

#include "core/cluster/session_doc.h"

typedef enum err_code renewal_open_fn(const struct state_config *config, const struct secret *password,
                                      struct state **out, struct err *e);
struct renewal {
    const struct attempt_doc *doc;
    enum session_use use;
    renewal_open_fn *open; /* state_open(), or a test's own */
};

/* The store of that use, under what the document has for it; `r` must outlive it. */
enum err_code renewal_open_store(struct renewal *r, struct store **out, struct err *e);
enum err_code renewal_look(void *renewal, struct store_session *out, struct err *e); /* a store_renew_fn */

#endif
