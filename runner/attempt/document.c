#include "runner/attempt/document.h"

#include "base/text.h"
#include "core/artifact/artifact.h"

#include <inttypes.h>
#include <string.h>

static enum err_code ask_policy(const struct cluster *c, const struct job *job, struct err *e)
{
    const char *buckets[CLUSTER_STORES_MAX * CLUSTER_BUCKETS_MAX];
    struct policy_decision decision;
    size_t count = 0;
    for (size_t i = 0; i < c->store_count; i++)
        for (size_t b = 0; b < c->stores[i].bucket_count; b++)
            buckets[count++] = c->stores[i].buckets[b];
    policy_admit(&c->policy, &job->spec, NULL, (enum keys_provider)c->keys.provider, buckets, count,
                 &decision);
    if (!decision.allowed)
        return err_set(e, ERR_DENIED, "policy (%s): %s", decision.rule, decision.reason);
    return OK;
}

static enum err_code open_place(const struct cluster *c, const char *uri, struct attempt_store *out,
                                struct err *e)
{
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    if (store_uri_parse(uri, bucket, key, e) || cluster_place(c, bucket, &out->place, e) ||
        cluster_credentials(c, bucket, &out->credentials, e))
        return err_wrap(e, "%s", uri);
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
    return OK;
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
                            int64_t token, struct buf *out, struct keys_facts *out_key, struct err *e)
{
    CLEANUP(attempt_doc_done)
    struct attempt_doc d = { .attempt = attempt, .token = token, .spec = job->spec };
    if (ask_policy(c, job, e))
        return e->code;
    memcpy(d.cluster, c->name, sizeof(d.cluster));
    memcpy(d.region, c->region, sizeof(d.region));
    memcpy(d.job, job->id, sizeof(d.job));
    memcpy(d.spec_digest, job->spec_digest, sizeof(d.spec_digest));
    memcpy(d.dataset_digest, job->dataset_digest, sizeof(d.dataset_digest));
    cluster_state_config(c, &d.state);
    d.keys = c->keys;
    if (open_place(c, job->spec.data.train, &d.data, e) ||
        open_place(c, job->spec.checkpoint.to, &d.models, e) || read_plan(s, job->id, attempt, &d, e) ||
        add_secrets(c, job, &d, out_key, e))
        return e->code;
    return attempt_doc_to_text(&d, out, e);
}
