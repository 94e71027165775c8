#include "scheduler/submit.h"

#include "base/text.h"
#include "core/artifact/rewrap.h"
#include "core/conf/conf.h"
#include "core/job/dataset.h"
#include "core/cluster/cluster_policy.h"
#include "scheduler/fleet.h"
#include "scheduler/text_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the body ---- */

static enum err_code take_sets(const json_t *list, struct submission *s, struct err *e)
{
    const json_t *item;
    size_t i;

    if (!list)
        return OK;
    if (!json_is_array(list) || json_array_size(list) > SUBMIT_SETS_MAX)
        return err_set(e, ERR_USAGE, "request: 'set' must be a list of at most %d texts", SUBMIT_SETS_MAX);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item))
            return err_set(e, ERR_USAGE, "request: 'set' must be a list of texts");
        s->sets[s->set_count++] = json_string_value(item);
    }
    return OK;
}

static enum err_code take_key(const json_t *key, struct submission *s, struct err *e)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *text = key ? json_string_value(key) : "";

    if (!text || strlen(text) >= sizeof(s->key) || strspn(text, letters) != strlen(text))
        return err_set(e, ERR_USAGE, "request: 'key' must be at most %d letters, digits, '-', '_' and '.'",
                       SUBMIT_KEY_BYTES - 1);
    memcpy(s->key, text, strlen(text) + 1);
    return OK;
}

static enum err_code take_file(const json_t *file, struct submission *s, struct err *e)
{
    const char *text = file ? json_string_value(file) : "job.yaml";

    if (!text || !*text || strlen(text) >= sizeof(s->file))
        return err_set(e, ERR_USAGE, "request: 'file' must be a text of 1 to %d bytes",
                       SUBMIT_FILE_BYTES - 1);
    memcpy(s->file, text, strlen(text) + 1);
    return OK;
}

static enum err_code check_members(const json_t *body, struct err *e)
{
    static const char *const known[] = { "file", "spec", "set", "key" };
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)body, name, value)
    {
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            found = found || strcmp(known[i], name) == 0;
        if (!found)
            return err_set(e, ERR_USAGE, "request: there is no member '%.40s'", name);
    }
    return OK;
}

enum err_code submission_from_json(const json_t *body, struct submission *out, struct err *e)
{
    struct submission s = { .spec = json_string_value(json_object_get(body, "spec")) };

    if (!json_is_object(body))
        return err_set(e, ERR_USAGE, "request: must be an object");
    if (!s.spec)
        return err_set(e, ERR_USAGE, "request: 'spec' must be a text");
    if (check_members(body, e) || take_file(json_object_get(body, "file"), &s, e) ||
        take_sets(json_object_get(body, "set"), &s, e) || take_key(json_object_get(body, "key"), &s, e))
        return e->code;
    *out = s;
    return OK;
}

/* ---- what is checked ---- */

/* A submission under way. */
struct intake {
    const struct moves *m;
    const struct submission *s;
    const char *user;
    struct conf_doc *doc; /* owned */
    struct dataset dataset;
    struct job job;
};

static void intake_done(struct intake *in)
{
    conf_free(in->doc);
    dataset_done(&in->dataset);
    job_done(&in->job);
}

static enum err_code at(const struct intake *in, const char *path, struct err *e)
{
    CLEANUP(buf_done) struct buf where = BUF_INIT(2048);

    return err_wrap(e, "%s", conf_where(in->doc, path, &where));
}

static enum err_code read_spec(struct intake *in, struct err *e)
{
    const struct submission *s = in->s;

    if (conf_parse(s->file, s->spec, strlen(s->spec), &in->doc, e))
        return e->code;
    for (size_t i = 0; i < s->set_count; i++)
        if (conf_set(in->doc, s->sets[i], e))
            return e->code;
    if (job_spec_from_doc(in->doc, &in->job.spec, e))
        return e->code;
    job_spec_digest(&in->job.spec, in->job.spec_digest);
    in->job.slots = in->job.spec.resources.ranks;
    return OK;
}

static enum err_code check_queue(const struct intake *in, struct err *e)
{
    const struct cluster *c = in->m->cluster;
    const char *names[CLUSTER_QUEUES_MAX];

    for (size_t i = 0; i < c->queue_count; i++) {
        names[i] = c->queues[i].name;
        if (strcmp(names[i], in->job.spec.queue) == 0)
            return OK;
    }
    const char *near = text_nearest(in->job.spec.queue, names, c->queue_count);
    IGNORE(err_set(e, ERR_USAGE, "there is no queue '%s'%s%s%s", in->job.spec.queue,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : ""));
    return at(in, "queue", e);
}

static enum err_code check_size(const struct intake *in, struct err *e)
{
    struct fleet fleet = fleet_new(in->m->cluster);
    enum err_code code = fleet_fits(&fleet, in->job.spec.queue, in->job.slots, e);

    fleet_done(&fleet);
    return code ? at(in, "resources.ranks", e) : OK;
}

/* An idempotent refusal is of no use, so it is only recorded; a state that cannot record it says so instead.
 */
static enum err_code refuse(const struct intake *in, const struct policy_decision *d, struct err *e)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    CLEANUP(json_donep) json_t *data = json_object();
    char actor[JOB_USER_BYTES + 8];

    json_object_set_new(data, "rule", json_string(d->rule));
    json_object_set_new(data, "reason", text_json(d->reason));
    json_object_set_new(data, "policy_sha256", json_string(in->m->cluster->policy.digest));
    json_object_set_new(data, "name", text_json(in->job.spec.name));
    json_object_set_new(data, "spec_sha256", json_string(in->job.spec_digest));
    json_object_set_new(data, "train", text_json(in->job.spec.data.train));
    snprintf(actor, sizeof(actor), "user:%s", in->user);
    if (moves_fence(in->m, tx, e) || moves_event(in->m, tx, actor, "job.refused", "", data, e) ||
        state_commit(in->m->state, tx, e))
        return err_wrap(e, "record that policy refused the job (%s)", d->rule);
    return err_set(e, ERR_DENIED, "denied by policy rule %s: %s", d->rule, d->reason);
}

static enum err_code ask_policy(const struct intake *in, const struct dataset *dataset, struct err *e)
{
    struct policy_decision decision;

    cluster_admit(in->m->cluster, &in->job.spec, dataset, &decision);
    return decision.allowed ? OK : refuse(in, &decision, e);
}

/* Whatever the policy says of buckets. */
static enum err_code check_ledgers_place(const struct intake *in, struct err *e)
{
    const char *to = in->job.spec.checkpoint.to;
    struct policy_decision d = { .rule = "ledger" };
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];

    if (store_uri_parse(to, bucket, key, e))
        return at(in, "checkpoint.to", e);
    if (!cluster_is_ledgers(in->m->cluster, bucket, key))
        return OK;
    snprintf(d.reason, sizeof(d.reason),
             "checkpoint.to: '%.300s' is where the ledger lies: choose another place", to);
    return refuse(in, &d, e);
}

static enum err_code check_target(const struct intake *in, struct err *e)
{
    const char *target = in->job.spec.data.target;

    for (size_t i = 0; i < in->dataset.column_count; i++)
        if (strcmp(in->dataset.columns[i].name, target) == 0)
            return OK;
    IGNORE(err_set(e, ERR_USAGE, "dataset '%s' has no column '%s'", in->dataset.name, target));
    return at(in, "data.target", e);
}

static enum err_code check_vocabulary(const struct intake *in, struct err *e)
{
    int64_t vocab = in->job.spec.model.vocab, there = in->dataset.tokenizer.vocabulary;

    if (vocab == 0 && there == 0)
        IGNORE(err_set(e, ERR_USAGE,
                       "must be given: dataset '%s' does not say how many different tokens it has",
                       in->dataset.name));
    else if (vocab > 0 && vocab < there)
        IGNORE(err_set(e, ERR_USAGE,
                       "must be at least %" PRId64 ", which is what dataset '%s' has, not %" PRId64, there,
                       in->dataset.name, vocab));
    else
        return OK;
    return at(in, "model.vocab", e);
}

/* What the manifest can tell is told now, not by an attempt that fails. */
static enum err_code check_content(const struct intake *in, struct err *e)
{
    bool columns = in->job.spec.data.format == FORMAT_CSV;

    if (strcmp(in->dataset.format, columns ? "csv" : "tokens") != 0) {
        IGNORE(err_set(e, ERR_USAGE, "dataset '%s' is of format %s; this model trains on %s%s",
                       in->dataset.name, in->dataset.format, columns ? "csv" : "tokens",
                       columns ? "" : " (`sovrun data stage --tokens` makes them of text)"));
        return at(in, "data.train", e);
    }
    return columns ? check_target(in, e) : check_vocabulary(in, e);
}

static enum err_code read_dataset(struct intake *in, struct err *e)
{
    CLEANUP(store_closep) struct store *store = NULL;
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES];

    if (store_uri_parse(in->job.spec.data.train, bucket, prefix, e) ||
        cluster_open_store(in->m->cluster, bucket, &store, e) ||
        dataset_load(store, prefix, &in->dataset, in->job.dataset_digest, e)) {
        IGNORE(err_wrap(e, "%s", in->job.spec.data.train));
        return at(in, "data.train", e);
    }
    return check_content(in, e);
}

/* What an attempt would only find later: no such object, or one that no rank could read. */
static enum err_code check_from(const struct intake *in, struct err *e)
{
    CLEANUP(store_closep) struct store *store = NULL;
    const char *uri = in->job.spec.model.from;
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    struct store_info info;

    if (!uri[0])
        return OK;
    if (store_uri_parse(uri, bucket, key, e) || cluster_open_store(in->m->cluster, bucket, &store, e))
        return at(in, "model.from", e);
    if (text_ends(key, ".json") && !artifact_is_manifest_key(key))
        IGNORE(err_set(e, ERR_USAGE, "%s is no manifest's key: `sovrun model ls JOB` lists them", uri));
    else if (store_head(store, key, NULL, &info, e) == ERR_NOT_FOUND)
        IGNORE(err_set(e, ERR_USAGE, "there is no %s", uri));
    else if (e->code == OK && info.bytes > STORE_OBJECT_BYTES_MAX)
        IGNORE(err_set(e, ERR_USAGE, "%s has %" PRIu64 " bytes; at most %" PRIu64 " are read", uri,
                       info.bytes, (uint64_t)STORE_OBJECT_BYTES_MAX));
    return e->code ? at(in, "model.from", e) : OK;
}

static enum err_code check_key(const struct intake *in, struct err *e)
{
    CLEANUP(keys_closep) struct keys *keys = NULL;
    const char *name = in->job.spec.checkpoint.key;

    if (cluster_open_keys(in->m->cluster, &keys, e))
        return err_wrap(e, "keys");
    if (keys_has(keys, name))
        return OK;
    IGNORE(err_set(e, ERR_USAGE, "there is no key '%s'", name));
    return at(in, "checkpoint.key", e);
}

static enum err_code check_room(const struct intake *in, struct err *e)
{
    int64_t waiting;

    if (state_count(in->m->state, JOB_SET_WAITING, &waiting, e))
        return e->code;
    if (waiting >= SUBMIT_WAITING_MAX)
        return err_set(e, ERR_RETRY, "%" PRId64 " jobs wait already, which is as many as the queues take",
                       waiting);
    return OK;
}

/* A bucket that is not where the policy has it is not read from: the store says where it is, whatever a
 * configuration says. */
static enum err_code check_buckets(const struct intake *in, struct err *e)
{
    const struct job_spec *spec = &in->job.spec;
    const char *const uris[] = { spec->data.train, spec->checkpoint.to, spec->model.from };
    const char *const settings[] = { "data.train", "checkpoint.to", "model.from" };

    for (size_t i = 0; i < ARRAY_LEN(uris) && uris[i][0]; i++) {
        char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
        struct store_facts facts;
        if (store_uri_parse(uris[i], bucket, key, e))
            return e->code;
        if (cluster_check_bucket(in->m->cluster, bucket, &facts, e) == ERR_DENIED) {
            struct policy_decision d = { .rule = "readback" };
            snprintf(d.reason, sizeof(d.reason), "%.500s", e->text);
            err_clear(e);
            return refuse(in, &d, e);
        }
        if (e->code)
            return at(in, settings[i], e);
    }
    return OK;
}

/* Policy first without the dataset: a bucket that is not ours must not even be asked. */
static enum err_code check_all(struct intake *in, struct err *e)
{
    if (read_spec(in, e) || check_queue(in, e) || check_size(in, e) || check_room(in, e) ||
        check_ledgers_place(in, e) || ask_policy(in, NULL, e) || check_buckets(in, e) ||
        read_dataset(in, e) || ask_policy(in, &in->dataset, e) || check_from(in, e) || check_key(in, e))
        return e->code;
    return OK;
}

/* ---- the commit ---- */

static const char *repeat_key(const char *user, const char *key, char out[STATE_NAME_BYTES])
{
    snprintf(out, STATE_NAME_BYTES, "submit/%s/%s", user, key);
    return out;
}

/* The job that this key made before; ERR_NOT_FOUND: none. */
static enum err_code find_repeat(const struct moves *m, const struct submission *s, const char *user,
                                 struct job *out, struct err *e)
{
    CLEANUP(buf_done) struct buf id = BUF_INIT(JOB_ID_BYTES);
    char key[STATE_NAME_BYTES];

    if (!s->key[0])
        return err_set(e, ERR_NOT_FOUND, "no key was given");
    if (state_get(m->state, repeat_key(user, s->key, key), &id, NULL, e))
        return e->code;
    return moves_read(m->state, buf_text(&id), out, NULL, e);
}

static json_t *submitted_data(const struct intake *in)
{
    const struct job_spec *spec = &in->job.spec;
    json_t *data = json_object();

    json_object_set_new(data, "name", text_json(spec->name));
    json_object_set_new(data, "queue", text_json(spec->queue));
    json_object_set_new(data, "slots", json_integer(in->job.slots));
    json_object_set_new(data, "spec", job_spec_to_json(spec));
    json_object_set_new(data, "spec_sha256", json_string(in->job.spec_digest));
    json_object_set_new(data, "dataset", text_json(spec->data.train));
    json_object_set_new(data, "dataset_sha256", json_string(in->job.dataset_digest));
    json_object_set_new(data, "data_class", json_string(data_class_names[in->dataset.data_class]));
    json_object_set_new(data, "policy_sha256", json_string(in->m->cluster->policy.digest));
    return data;
}

static enum err_code commit_new(struct intake *in, struct err *e)
{
    const struct moves *m = in->m;
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    CLEANUP(json_donep) json_t *data = submitted_data(in);
    struct job *j = &in->job;
    char key[JOB_KEY_BYTES], repeat[STATE_NAME_BYTES], actor[JOB_USER_BYTES + 8];

    j->submitted_ms = m->clock->wall_ms(m->clock);
    job_new_id(j->submitted_ms, j->id);
    snprintf(actor, sizeof(actor), "user:%s", in->user);
    if (moves_fence(m, tx, e))
        return e->code;
    state_tx_expect(tx, job_key(j->id, key), 0);
    if (in->s->key[0]) {
        repeat_key(in->user, in->s->key, repeat);
        state_tx_expect(tx, repeat, 0);
        state_tx_put_text(tx, repeat, j->id);
    }
    state_tx_rank(tx, JOB_SET_ALL, j->id, (double)j->submitted_ms);
    if (moves_put(m, tx, j, e) || moves_event(m, tx, actor, "job.submitted", j->id, data, e))
        return e->code;
    return state_commit(m->state, tx, e);
}

static void take_job(struct intake *in, struct job *out)
{
    *out = in->job;
    in->job.result = NULL;
}

enum err_code submit_job(const struct moves *m, const struct submission *s, const char *user, struct job *out,
                         struct err *e)
{
    CLEANUP(intake_done) struct intake in = { .m = m, .s = s, .user = user };

    if (find_repeat(m, s, user, out, e) == OK)
        return OK;
    if (e->code != ERR_NOT_FOUND)
        return e->code;
    err_clear(e);
    if (check_all(&in, e))
        return e->code;
    if (text_copy(in.job.user, sizeof(in.job.user), user, "user", e))
        return e->code;
    for (int i = 0; i < SUBMIT_IDS_MAX; i++) {
        if (commit_new(&in, e) == OK) {
            take_job(&in, out);
            return OK;
        }
        if (e->code != ERR_CONFLICT)
            break;
        /* The id is taken, or a twin of this request was faster. */
        err_clear(e);
        if (find_repeat(m, s, user, out, e) == OK)
            return OK;
        if (e->code != ERR_NOT_FOUND)
            break;
        err_clear(e);
    }
    return err_wrap(e, "submit");
}
