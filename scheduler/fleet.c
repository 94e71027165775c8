#include "scheduler/fleet.h"

#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

struct fleet fleet_new(const struct cluster *c)
{
    struct fleet f = { .node_count = c->node_count, .queue_count = c->queue_count };

    f.nodes = mem_array(c->node_count ? c->node_count : 1, sizeof(*f.nodes));
    for (size_t i = 0; i < c->node_count; i++) {
        memcpy(f.nodes[i].name, c->nodes[i].name, sizeof(f.nodes[i].name));
        f.nodes[i].slots = c->nodes[i].slots;
    }
    for (size_t i = 0; i < c->queue_count; i++) {
        memcpy(f.queues[i].name, c->queues[i].name, sizeof(f.queues[i].name));
        f.queues[i].priority = c->queues[i].priority;
        f.queues[i].slots_max = c->queues[i].slots_max;
    }
    return f;
}

void fleet_done(struct fleet *f)
{
    free(f->nodes);
    *f = (struct fleet){ .nodes = NULL };
}

struct fleet_node *fleet_node(const struct fleet *f, const char *name)
{
    for (size_t i = 0; i < f->node_count; i++)
        if (strcmp(f->nodes[i].name, name) == 0)
            return &f->nodes[i];
    return NULL;
}

const struct fleet_queue *fleet_queue(const struct fleet *f, const char *name)
{
    for (size_t i = 0; i < f->queue_count; i++)
        if (strcmp(f->queues[i].name, name) == 0)
            return &f->queues[i];
    return NULL;
}

void fleet_use(struct fleet *f, const char *node, const char *queue, int64_t slots)
{
    struct fleet_node *n = fleet_node(f, node);
    int64_t jobs = slots < 0 ? -1 : 1;

    if (n) {
        n->used += slots;
        n->jobs += jobs;
        invariant(n->used >= 0 && n->jobs >= 0);
    }
    for (size_t i = 0; i < f->queue_count; i++)
        if (strcmp(f->queues[i].name, queue) == 0) {
            f->queues[i].used += slots;
            f->queues[i].jobs += jobs;
            invariant(f->queues[i].used >= 0 && f->queues[i].jobs >= 0);
        }
}

int64_t fleet_node_free(const struct fleet_node *n)
{
    return MAX(0, n->slots - n->used);
}

int64_t fleet_queue_free(const struct fleet_queue *q)
{
    return q->slots_max == 0 ? INT64_MAX : MAX(0, q->slots_max - q->used);
}

int64_t fleet_free(const struct fleet *f)
{
    int64_t sum = 0;

    for (size_t i = 0; i < f->node_count; i++)
        sum += fleet_node_free(&f->nodes[i]);
    return sum;
}

int64_t fleet_free_on_one(const struct fleet *f)
{
    int64_t most = 0;

    for (size_t i = 0; i < f->node_count; i++)
        most = MAX(most, fleet_node_free(&f->nodes[i]));
    return most;
}

enum err_code fleet_fits(const struct fleet *f, const char *queue, int64_t slots, struct err *e)
{
    const struct fleet_queue *q = fleet_queue(f, queue);
    int64_t largest = 0;

    if (!q)
        return err_set(e, ERR_USAGE, "there is no queue '%s'", queue);
    if (q->slots_max && slots > q->slots_max)
        return err_set(e, ERR_USAGE,
                       "the job needs %" PRId64 " slots and queue '%s' may never hold more than %" PRId64,
                       slots, queue, q->slots_max);
    for (size_t i = 0; i < f->node_count; i++)
        largest = MAX(largest, f->nodes[i].slots);
    if (slots > largest)
        return err_set(e, ERR_USAGE,
                       "the job needs %" PRId64 " slots on one node and the largest node has %" PRId64, slots,
                       largest);
    return OK;
}
