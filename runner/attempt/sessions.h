/*
 * sessions.h - the credentials that an attempt's ranks have, and newer ones before those end.
 *
 * An attempt begins with a session for its data, one for its models and, where there is a model.from, one for
 * that, in its document. From then on each is
 * looked after by itself: one with an end is renewed when half of its time is over, one without is read again
 * from its file every now and then, as whoever rotates it writes it there. What changed goes to the ranks
 * through the state, sealed (core/cluster/session_doc.h), and into the ledger: which bucket, which role,
 * until when; never what.
 */
#ifndef RUNNER_ATTEMPT_SESSIONS_H
#define RUNNER_ATTEMPT_SESSIONS_H

#include "core/cluster/session_doc.h"
#include "runner/attempt/standing.h"

struct sessions {
    const struct cluster *cluster;
    struct session_source { /* bucket "": not used */
        char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES];
        enum session_reach reach;
        int64_t due_at; /* when it is looked after next; monotonic */
    } sources[SESSION_USES];
    struct store_session now[SESSION_USES];
    struct secret *data_key; /* the attempt's, from its document */
    char name[64];           /* in the service's logs */
    bool published;          /* there is something in the state */
    bool failing;            /* said so */
};

/* ERR_DENIED: the service gives none. ERR_RETRY: it is away. */
enum err_code sessions_begin(const struct cluster *c, const struct job *job, int64_t attempt,
                             struct sessions *out, struct err *e);
void sessions_done(struct sessions *s);

/* Monotonic; INT64_MAX: never. */
int64_t sessions_due_at(const struct sessions *s);
/* One call takes at most so long, that to the state not counted. */
int64_t sessions_call_ms(const struct sessions *s);
/* Looks after one that is due. A failure is logged and tried again: those that the ranks have still hold. */
void sessions_keep(struct sessions *s, struct standing *standing);
/* At the end: nothing of them stays in the state, as far as it can be reached. */
void sessions_drop(struct sessions *s, struct standing *standing);

/* For the ledger: [{bucket, prefix, role, until_ms}], "" and 0 where there is no role or no end. */
json_t *sessions_json(const struct sessions *s);

#endif
