/*
 * scheduler.h - small clusters and jobs for the scheduler's tests, written as text: nodes "a:4 b:8" are two
 * nodes with 4 and 8 slots, queues "default:0 small:2" two queues of which the second may hold 2 slots at
 * once.
 */
#ifndef TESTS_SCHEDULER_H
#define TESTS_SCHEDULER_H

#include "core/cluster/cluster.h"
#include "core/job/job.h"
#include "tests/test.h"

struct cluster *test_cluster(const char *nodes, const char *queues); /* cluster_free() */

/* A queued job with a valid record: everything but what is given is a default. `number` makes its id. */
void test_job(struct job *out, int number, const char *queue, int64_t ranks);
const char *test_id(int number, char out[JOB_ID_BYTES]);

#endif
