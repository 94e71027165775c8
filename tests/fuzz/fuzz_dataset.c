/* Any text as a dataset manifest: refused as corrupt, or read, written, and read back to the same; and then
 * it can be planned. */
#include "core/job/plan.h"
#include "tests/fuzz/replay.h"

#include <string.h>

static void check_plan(const struct dataset *d)
{
    CLEANUP(plan_done) struct plan p = { .segments = NULL };
    struct err e = ERR_INIT;
    const struct plan_rule rule = { .holdout = 0.3, .seed = 1, .leaves = 4 };
    enum err_code code = plan_for_dataset(d, &rule, 2, &p, &e);
    if (code) {
        invariant(code == ERR_USAGE); /* too few records */
        return;
    }
    uint64_t dealt = 0;
    for (uint32_t i = 0; i < p.leaf_start[p.leaves]; i++) {
        const struct plan_segment *s = &p.segments[i];
        invariant(s->shard < d->shard_count && s->count > 0);
        invariant(s->first + s->count <= d->shards[s->shard].records);
        dealt += s->count;
    }
    invariant(dealt == p.records_per_leaf * p.leaves);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(dataset_done) struct dataset back = { .columns = NULL };
    CLEANUP(buf_done) struct buf once = BUF_INIT(JSON_BYTES_MAX);
    CLEANUP(buf_done) struct buf twice = BUF_INIT(JSON_BYTES_MAX);
    struct err e = ERR_INIT;
    if (dataset_from_text(data, n, &d, &e)) {
        invariant(e.code == ERR_CORRUPT || e.code == ERR_LIMIT);
        invariant(strncmp(e.text, "dataset manifest", 16) == 0);
        return 0;
    }
    invariant(dataset_to_text(&d, &once, &e) == OK);
    invariant(dataset_from_text(once.data, once.len, &back, &e) == OK);
    invariant(dataset_to_text(&back, &twice, &e) == OK);
    invariant(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    check_plan(&d);
    return 0;
}

REPLAY_MAIN("dataset")
