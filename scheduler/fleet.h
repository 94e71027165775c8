/*
 * fleet.h - the nodes and queues of the cluster, and how much of each is in use.
 *
 * A slot is room for one rank. Nodes and queues come from the configuration; what is in use is the sum over
 * the active jobs and is nowhere stored, so it cannot drift from them: who holds a slot is a job that can be
 * named. A job whose node has left the configuration still counts in its queue, and the other way round.
 *
 * Plain values, no input or output. Threads: one fleet, one thread.
 */
#ifndef SCHEDULER_FLEET_H
#define SCHEDULER_FLEET_H

#include "core/cluster/cluster.h"

enum { FLEET_NAME_BYTES = 64 };

struct fleet_node {
    char name[FLEET_NAME_BYTES];
    int64_t slots, used, jobs;
};
struct fleet_queue {
    char name[FLEET_NAME_BYTES];
    int64_t priority, slots_max; /* slots_max 0: no limit of its own */
    int64_t used, jobs;
};
struct fleet {
    struct fleet_node *nodes; /* owned; in the configuration's order */
    size_t node_count;
    struct fleet_queue queues[CLUSTER_QUEUES_MAX];
    size_t queue_count;
};

struct fleet fleet_new(const struct cluster *c);
void fleet_done(struct fleet *f);

/* One active job more, or (negative slots) less. */
void fleet_use(struct fleet *f, const char *node, const char *queue, int64_t slots);

struct fleet_node *fleet_node(const struct fleet *f, const char *name); /* NULL: not in the configuration */
const struct fleet_queue *fleet_queue(const struct fleet *f, const char *name); /* the same */

int64_t fleet_node_free(const struct fleet_node *n); /* never negative, also where the configuration shrank */
int64_t fleet_queue_free(const struct fleet_queue *q); /* INT64_MAX: no limit */
int64_t fleet_free(const struct fleet *f);             /* over all nodes */
int64_t fleet_free_on_one(const struct fleet *f);      /* the most on any one node */

/* Could a job of that size ever start here, were everything idle? ERR_USAGE says the numbers. */
enum err_code fleet_fits(const struct fleet *f, const char *queue, int64_t slots, struct err *e);

#endif
