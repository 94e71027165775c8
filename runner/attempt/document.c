#include "runner/attempt/document.h"

#include "base/clock.h"
#include "base/text.h"
#include "core/artifact/rewrap.h"
#include "core/cluster/cluster_policy.h"
#include "runner/attempt/origin.h"

#include <inttypes.h>
#include <string.h>

/* As the policy is now, and with the dataset: what it allowed when the job was submitted may be over. */
static enum err_code ask_policy(const struct cluster *c, const struct job *job, struct err *e)
{
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(dataset_done) struct dataset dataset = { .columns = NULL };
    struct policy_decision decision;
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES], digest[65];
    cluster_admit(c, &job->spec, NULL,
                  &decision); /* first without: a bucket that is not ours is not even asked */
    if (policy_verdict(&decision, e) || store_uri_parse(job->spec.data.train, bucket, prefix, e) ||
        cluster_open_store(c, bucket, &store, e) || dataset_load(store, prefix, &dataset, digest, e))
        return e->code;
    cluster_admit(c, &job->spec, &dataset, &decision);
    return policy_verdict(&decision, e);
}

/* Where the buckets are, as the store itself says, and not as a configuration has it. */
static enum err_code read_back(const struct cluster *c, const struct job *job, json_t **out, struct err *e)
{
    const char *const uris[] = { job->spec.data.train, job->spec.checkpoint.to, job->spec.model.from };
    *out = json_array();
    for (size_t i = 0; i < ARRAY_LEN(uris) && uris[i][0]; i++) {
        char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
        struct store_facts told = { .versioned = false };
        enum err_code code = store_uri_parse(uris[i], bucket, key, e);
        if (code == OK)
            code = cluster_check_bucket(c, bucket, &told, e);
        if (code == OK || code == ERR_DENIED)
            json_array_append_new(*out, cluster_facts_json(bucket, &told));
        if (code)
            return code;
    }
    return OK;
}

static enum err_code open_place(const struct cluster *c, const struct sessions *sessions,
                                enum session_use use, struct attempt_store *out, struct err *e)
{
    if (cluster_place(c, sessions->sources[use].bucket, &out->place, e))
        return e->code;
    store_session_copy(&sessions->now[use], &out->session);
    return OK;
}

/* Not with the ranks' patience: while the supervisor waits for a store it cannot renew the lease. It comes
 * back. */
static enum err_code open_models(const struct cluster *c, const struct attempt_doc *d, struct store **out,
                                 struct err *e)
{
    const struct store_credentials lent = store_lend(&d->models.session);
    struct store_place place = d->models.place;
    place.patience_ms = 1;
    place.deadline_ms = MIN(place.deadline_ms, c->timing.attempt_lease_ms / 4);
    if (cluster_open_place(&place, place.kind == STORE_S3 ? &lent : NULL, out, e))
        return e->code;
    store_until(*out, clock_mono_ms() + c->timing.attempt_lease_ms / 4);
    return OK;
}

/* A checkpoint that does not verify, or whose key is gone, is the trainer's to pass over and to report. */
static enum err_code take_key(struct store *s, struct keys *k, const struct artifact_trust *trust,
                              const char *manifest, struct attempt_doc *d, struct err *e)
{
    CLEANUP(artifact_done) struct artifact a = { 0 };
    struct attempt_key *next = &d->earlier[d->earlier_count];
    if (artifact_load(s, manifest, trust, &a, e) == OK && !attempt_doc_key(d, a.attempt, a.token) &&
        artifact_unwrap(s, k, trust, &a, &next->key, e) == OK) {
        next->attempt = a.attempt;
        next->token = a.token;
        d->earlier_count++;
    }
    if (e->code == ERR_CORRUPT || e->code == ERR_NOT_FOUND)
        err_clear(e);
    return e->code;
}

/* The keys of this job's newest checkpoints: one for each attempt that left some. */
static enum err_code gather_keys(const struct cluster *c, struct keys *k, struct attempt_doc *d,
                                 struct err *e)
{
    enum { CHECKPOINTS_MAX = 256 };
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(freep) char(*manifests)[STORE_KEY_BYTES] = NULL;
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES];
    struct artifact_trust trust = { .count = 1 };
    size_t count = 0;
    if (d->attempt == 1) /* nobody was before it */
        return OK;
    if (store_uri_parse(d->spec.checkpoint.to, bucket, prefix, e) || open_models(c, d, &store, e) ||
        cluster_public_key(c, trust.public_key[0], e) ||
        artifact_list(store, prefix, d->job, ARTIFACT_CHECKPOINT, CHECKPOINTS_MAX, &manifests, &count, e))
        return err_wrap(e, "keys of earlier checkpoints");
    for (size_t i = 0; i < count && d->earlier_count < ATTEMPT_KEYS_MAX; i++)
        if (take_key(store, k, &trust, manifests[i], d, e))
            return err_wrap(e, "keys of earlier checkpoints");
    return OK;
}

static enum err_code make_data_key(const struct cluster *c, const struct job *job, struct attempt_doc *d,
                                   struct keys_facts *out_key, struct err *e)
{
    CLEANUP(keys_closep) struct keys *keys = NULL;
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX - 1);
    const char *name = job->spec.checkpoint.key;
    struct keys_context context;
    artifact_key_context(c->name, c->region, job->id, &context);
    if (cluster_open_keys(c, &keys, e))
        return e->code;
    /* A missing folder is the operator's mistake; a key that the provider does not have, the spec's. */
    if (!keys_has(keys, name))
        return err_set(e, ERR_USAGE, "checkpoint.key: there is no key '%s'", name);
    if (keys_generate(keys, name, &context, &d->data_key, &wrapped, e) ||
        keys_describe(buf_text(&wrapped), out_key, e) ||
        text_copy(d->wrapped_key, sizeof(d->wrapped_key), buf_text(&wrapped), "wrapped key", e))
        return e->code;
    return gather_keys(c, keys, d, e) ? e->code : origin_find(c, keys, d, e);
}

static enum err_code add_secrets(const struct cluster *c, const struct job *job, struct attempt_doc *d,
                                 struct keys_facts *out_key, struct err *e)
{
    struct signer signer = { 0 };
    if (cluster_state_password(c, &d->state_password, e) || cluster_signer(c, &signer, e))
        return e->code;
    d->signing_seed = TAKE(signer.seed);
    signer_done(&signer);
    return make_data_key(c, job, d, out_key, e);
}

/* What the scheduler planned: the trainer makes its own plan, which must come out the same. */
static enum err_code read_plan(struct state *s, const char *job, int64_t attempt, struct attempt_doc *d,
                               struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(STATE_VALUE_BYTES_MAX);
    CLEANUP(buf_done) struct buf canonical = BUF_INIT(STATE_VALUE_BYTES_MAX);
    CLEANUP(json_donep) json_t *plan = NULL;
    char key[JOB_KEY_BYTES];
    if (state_get(s, job_plan_key(job, attempt, key), &text, NULL, e) ||
        json_parse(text.data, text.len, "plan", &plan, e) ||
        json_get_i64(plan, "plan", "epoch", &d->first_plan_epoch, e) || json_canonical(plan, &canonical, e))
        return err_wrap(e, "shard plan of attempt %" PRId64, attempt);
    sha256_hex(canonical.data, canonical.len, d->first_plan_digest);
    return OK;
}

enum err_code document_make(const struct cluster *c, struct state *s, const struct job *job, int64_t attempt,
                            int64_t token, struct buf *out, struct sessions *sessions,
                            struct document_facts *facts, struct err *e)
{
    CLEANUP(attempt_doc_done)
    struct attempt_doc d = { .attempt = attempt, .token = token, .spec = job->spec };
    if (ask_policy(c, job, e) || read_back(c, job, &facts->readback, e))
        return e->code;
    memcpy(d.cluster, c->name, sizeof(d.cluster));
    memcpy(d.region, c->region, sizeof(d.region));
    memcpy(d.job, job->id, sizeof(d.job));
    memcpy(d.spec_digest, job->spec_digest, sizeof(d.spec_digest));
    memcpy(d.dataset_digest, job->dataset_digest, sizeof(d.dataset_digest));
    cluster_networks(c, &job->spec, &d.networks);
    cluster_state_config(c, &d.state);
    if (sessions_begin(c, job, attempt, sessions, e) || open_place(c, sessions, SESSION_DATA, &d.data, e) ||
        open_place(c, sessions, SESSION_MODELS, &d.models, e) ||
        (job->spec.model.from[0] && open_place(c, sessions, SESSION_FROM, &d.from.at, e)) ||
        read_plan(s, job->id, attempt, &d, e) || add_secrets(c, job, &d, &facts->key, e))
        return e->code;
    sessions->data_key = secret_copy(d.data_key);
    return attempt_doc_to_text(&d, out, e);
}
