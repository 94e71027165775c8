/*
 * data_place.h - the address of a dataset, and what is recorded of it. Shared by the data commands and
 * `submit`.
 */
#ifndef RUNNER_CLI_DATA_PLACE_H
#define RUNNER_CLI_DATA_PLACE_H

#include "runner/cli/cli.h"
#include "runner/cli/stage.h"

struct data_place {
    struct cluster *cluster;                                  /* owned */
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES]; /* no slash at its end */
    char uri[STORE_BUCKET_BYTES + STORE_KEY_BYTES + 8];
    struct stage_target target; /* its own threads open the store with it */
};
void data_place_done(struct data_place *p);
/* ERR_USAGE: it names no place in a bucket. `out` stays where it is: the target points into it. */
enum err_code data_place_open(const struct cli *c, const char *uri, struct data_place *out, struct err *e);
/* The same for a cluster that is open already, and stays the caller's. */
void data_place_in(struct cluster *cluster, const char *bucket, const char *prefix, struct data_place *out);

/* "user:ana", as it stands in the ledger. */
void data_actor(char *out, size_t bytes);

/* ERR_RETRY where the state does not answer: it is not recorded. */
enum err_code data_record_override(const struct data_place *p, const struct stage_facts *f,
                                   const struct stage_options *o, struct err *e);
enum err_code data_record_staged(const struct data_place *p, const struct stage_facts *f,
                                 const struct stage_options *o, const struct stage_result *r, struct err *e);

#endif
