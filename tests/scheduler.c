#include "tests/scheduler.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* The next "name:number" of a list. */
static bool next_pair(const char **io_text, char name[64], int64_t *out)
{
    long long n;
    int used = 0;

    if (sscanf(*io_text, " %63[^:]:%lld%n", name, &n, &used) != 2)
        return false;
    *io_text += used;
    *out = n;
    return true;
}

struct cluster *test_cluster(const char *nodes, const char *queues)
{
    struct cluster *c = mem_new(sizeof(*c));

    snprintf(c->name, sizeof(c->name), "test");
    snprintf(c->region, sizeof(c->region), "here");
    while (next_pair(&nodes, c->nodes[c->node_count].name, &c->nodes[c->node_count].slots))
        c->node_count++;
    while (next_pair(&queues, c->queues[c->queue_count].name, &c->queues[c->queue_count].slots_max))
        c->queue_count++;
    c->timing =
        (struct cluster_timing){ .leader_lease_ms = 5000, .attempt_lease_ms = 10000, .stop_grace_ms = 20000 };
    return c;
}

const char *test_id(int number, char out[JOB_ID_BYTES])
{
    snprintf(out, JOB_ID_BYTES, "261122-%06d", number % 1000000);
    return out;
}

void test_job(struct job *out, int number, const char *queue, int64_t ranks)
{
    static const char text[] =
        "name: test\nmodel: { kind: mlp, hidden: [4] }\n"
        "data: { train: s3://data/set, target: class, positive: bad }\n"
        "resources: { ranks: 1 }\ntrain: { epochs: 1, batch: 16, leaves: 16 }\n"
        "checkpoint: { to: s3://models/test, key: demo }\nretry: { max: 2, backoff: 10s }\n";
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    struct err e = ERR_INIT;

    memset(out, 0, sizeof(*out));
    assert_ok(conf_parse("job.yaml", text, strlen(text), &doc, &e));
    assert_ok(job_spec_from_doc(doc, &out->spec, &e));
    snprintf(out->spec.queue, sizeof(out->spec.queue), "%s", queue);
    out->spec.resources.ranks = ranks;
    job_spec_digest(&out->spec, out->spec_digest);
    memset(out->dataset_digest, 'a', sizeof(out->dataset_digest) - 1);
    snprintf(out->user, sizeof(out->user), "ana");
    test_id(number, out->id);
    out->slots = ranks;
}
