/*
 * selftest.h - every forbidden act, tried for real, and what came of it.
 *
 * An act is a row of a table: a name, what must come of it, and a function that tries it and fills in what
 * did. Three kinds: acts on a bucket (in a scratch prefix, on objects made for it, under locks of LOCK_MS),
 * acts on an endpoint (with the cluster's own guard, authority and certificate, or with wrong ones), and acts
 * on our own client, before servers of our own on loopback that no one should talk to (core/crypto/trap.h).
 *
 * The outcomes:
 *     refused    what was forbidden did not happen, or what must hold was seen to hold
 *     allowed    it happened: the cluster is not as safe as its policy says
 *     untried    it could not be tried, and `observed` says why
 *     noted      a fact that is neither
 *     none       does not apply here
 *
 * While acts run, refused connections come here and not into the ledger one by one: they are what is wanted.
 */
#ifndef RUNNER_CLI_SELFTEST_H
#define RUNNER_CLI_SELFTEST_H

#include "core/cluster/cluster.h"
#include "core/http/guard.h"
#include "core/json/json.h"
#include "core/store/s3_probe.h"

enum selftest_outcome {
    SELFTEST_REFUSED,
    SELFTEST_ALLOWED,
    SELFTEST_UNTRIED,
    SELFTEST_NOTED,
    SELFTEST_NONE,
    SELFTEST_OUTCOMES
};
extern const char *const selftest_outcomes[]; /* "refused", "allowed", "untried", "noted", "none", NULL */

enum {
    SELFTEST_ROWS_MAX = 4096,
    SELFTEST_TEXT_BYTES = 400,
    SELFTEST_KEY_BYTES = 128,
    SELFTEST_LEFT_MAX = 256,
    SELFTEST_LOCK_MS = 90 * 1000
};
#define SELFTEST_PREFIX ".sovrun-selftest/"

struct selftest_row {
    const char *act, *expected;
    char place[SELFTEST_TEXT_BYTES];
    char observed[SELFTEST_TEXT_BYTES], evidence[SELFTEST_TEXT_BYTES];
    enum selftest_outcome outcome;
};
/* Objects that could not be removed yet. */
struct selftest_left {
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES];
    int64_t until_ms; /* 0: no lock says so */
};

struct selftest {
    const struct cluster *cluster;    /* borrowed */
    const char *foreign;              /* "BUCKET/KEY" in another region; NULL: none was named */
    char scratch[SELFTEST_KEY_BYTES]; /* ".sovrun-selftest/RANDOM" */
    char *folder;                     /* for certificates: below HOME/run; owned */
    struct selftest_row *rows;        /* owned */
    size_t row_count;
    struct selftest_left *left; /* owned; SELFTEST_LEFT_MAX at most */
    size_t left_count;
    /* the last refused connection of the act under way */
    enum http_refusal_kind refused_kind;
    int refused_count;
};
enum err_code selftest_begin(struct selftest *t, const struct cluster *c, const char *foreign, struct err *e);
void selftest_done(struct selftest *t);

/* A row for an act that is about to be tried; what it says is set by selftest_says(). */
struct selftest_row *selftest_row(struct selftest *t, const char *act, const char *expected,
                                  const char *place);
void selftest_says(struct selftest_row *r, enum selftest_outcome outcome, const char *evidence,
                   const char *observed, ...) PRINTF_LIKE(4, 5);

/* All acts of a kind. Nothing here fails: what could not be tried is a row. */
void selftest_bucket(struct selftest *t, const char *bucket);
void selftest_endpoint(struct selftest *t, const char *bucket); /* of the store that holds the bucket */
/* The same, its place and credentials (or why there are none) given. */
void selftest_place(struct selftest *t, const struct store_place *place,
                    const struct store_session *credentials, const struct err *problem);
void selftest_key_service(struct selftest *t); /* where keys come from one */
void selftest_client(struct selftest *t);
/* What this run left, and what others did more than ten minutes ago: removed where no lock holds it. */
void selftest_sweep(struct selftest *t, const char *bucket);

size_t selftest_count(const struct selftest *t, enum selftest_outcome outcome);
json_t *selftest_report(const struct selftest *t, const char *policy_sha256, int64_t time_ms);

/* For acts. A file of the folder, written; the caller frees the path. NULL, and *e, where that fails. */
char *selftest_file(const struct selftest *t, const char *name, const char *text, struct err *e);

#endif
