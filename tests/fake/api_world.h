/*
 * api_world.h - the API's handlers over a real home below build/ with a small dataset, and a state in memory.
 * The scheduler's loop is not there: jobs wait, or are where the test puts them.
 */
#ifndef TESTS_FAKE_API_WORLD_H
#define TESTS_FAKE_API_WORLD_H

#include "scheduler/routes.h"
#include "tests/home.h"
#include "tests/scheduler.h"

struct api_world {
    char *home;
    struct cluster *cluster;
    struct state *state; /* keeps the memory alive */
    struct lead lead;
    struct handles *handles;
    struct api api;
    struct audit_counts counts; /* lent to api by who wants to */
    char dataset_digest[65];
};

/* For cmocka: *state is a struct api_world *. It leads, has one node with 8 slots, queues default, research
 * and small (2). */
int api_world_open(void **state);
int api_world_close(void **state);

/* One request by user ana. The status; its JSON in `out`, the whole reply in `out_reply`, where they are not
 * NULL. `query` is "name=value&..." or NULL. */
int api_ask_with(struct api_world *w, const char *method, const char *path, const char *query,
                 const void *body, size_t n, json_t **out, struct reply *out_reply);
int api_ask(struct api_world *w, const char *method, const char *path, const char *query, json_t **out);

extern const char api_spec[]; /* a small job's */
/* That job, changed by one `set`, with an idempotency key; either may be NULL. The status, or a valid id
 * or a failed test. */
int api_submit(struct api_world *w, const char *set, const char *key, json_t **out);
void api_submit_ok(struct api_world *w, const char *set, char out_id[JOB_ID_BYTES]);

const char *api_job_path(const char *id, const char *verb,
                         char out[REQUEST_PATH_BYTES]); /* /v1/jobs/IDVERB */

struct api_last {
    char event[64], job[JOB_ID_BYTES], actor[64], rule[64];
};
struct api_last api_last_event(struct api_world *w); /* of the outbox; "" where there is none */

#endif
