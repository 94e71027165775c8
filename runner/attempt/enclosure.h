/*
 * enclosure.h - what keeps one attempt's ranks in: the networks that they may talk over, and the kernel's
 * fence around them: whom it lets through, and what the ledger hears of it.
 *
 * Where ranks may be on several hosts (launch.transport) and the policy names networks, this host must have
 * an interface in them; it is asked here, before Open MPI would take any other. Each other host's ranks ask
 * for theirs (trainer/main.c).
 *
 * Let through are this host itself, what the guards of the job's stores and of the key service allow,
 * those networks, launch.fence_allow, and the state where it is not a unix socket; name servers only where
 * there is somebody else's name to look up. Whether there is a fence, of what kind, and if not why, stands in
 * the attempt's "attempt.started".
 */
#ifndef RUNNER_ATTEMPT_ENCLOSURE_H
#define RUNNER_ATTEMPT_ENCLOSURE_H

#include "core/cluster/cluster.h"
#include "core/cluster/egress.h"
#include "core/cluster/networks.h"
#include "core/job/job.h"
#include "core/json/json.h"

struct enclosure {
    struct networks networks; /* that Open MPI is pinned to; none: one host, or any */
    struct fence *fence;      /* owned; NULL: there is none */
    struct fence_list allowed;
    char why[ERR_TEXT_BYTES]; /* why there is none */
    uint64_t told;            /* so many refusals of the kernel's are in the queue already */
};

/* As launch.fence says. ERR_DENIED: it is required, and cannot be had, or this host is in none of the
 * networks; ERR_RETRY: the state's host has no
 * address. */
enum err_code enclosure_make(const struct cluster *c, const struct job *job, int64_t attempt,
                             struct enclosure *out, struct err *e);
void enclosure_done(struct enclosure *n); /* after the last rank */

int enclosure_join(const struct enclosure *n);     /* for launch_start(); -1: no fence */
json_t *enclosure_json(const struct enclosure *n); /* {"present","kind","allowed"} or {"present","why"} */
void enclosure_count(struct enclosure *n, struct egress *q); /* what the kernel refused since the last call */

#endif
