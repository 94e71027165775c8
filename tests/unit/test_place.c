/* Which job starts where. Jobs "default/2 small/4+900": queue, slots, and how long a back-off still runs. */
#include "scheduler/place.h"
#include "tests/scheduler.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { NOW_MS = 1000000 };

static const struct row {
    const char *name;
    const char *nodes, *queues, *used; /* used: "NODE:SLOTS ...", in queue default */
    const char *jobs;                  /* in the order in which they are served */
    const char *want; /* a node's name, or backoff, behind, queue, node, never; for each job */
} rows[] = {
    { "a job starts on a node with room", "a:4", "default:0", "", "default/2", "a" },
    { "a job takes a whole node", "a:4", "default:0", "", "default/4", "a" },
    { "nothing starts without a job", "a:4", "default:0", "", "", "" },
    { "jobs start as long as there is room", "a:4", "default:0", "", "default/2 default/2 default/1",
      "a a node" },
    { "the fullest node with room is taken", "a:8 b:8", "default:0", "b:6", "default/2 default/8", "b a" },
    { "of equal nodes the first is taken", "a:8 b:8", "default:0", "", "default/3", "a" },
    { "all ranks or none: free slots of two nodes do not add up", "a:4 b:4", "default:0", "a:2 b:2",
      "default/4", "node" },
    { "a blocked job holds back its queue, though the next would fit", "a:4", "default:0", "a:2",
      "default/4 default/1", "node behind" },
    { "a blocked job does not hold back another queue", "a:4", "default:0 other:0", "a:2",
      "default/4 other/2", "node a" },
    { "the first in line of each queue counts, not the queue", "a:4", "default:0 other:0", "",
      "default/2 other/2 default/1 other/1", "a a node node" },
    { "a queue may not hold more than its limit", "a:8", "default:0 small:2", "", "small/2 small/1 default/4",
      "a queue a" },
    { "a queue's limit holds back what is behind", "a:8", "small:3", "", "small/2 small/2 small/1",
      "a queue behind" },
    { "a back-off that runs steps aside", "a:2", "default:0", "", "default/2+900 default/2", "backoff a" },
    { "a back-off that just ended counts no more", "a:2", "default:0", "", "default/2+0 default/2",
      "a node" },
    { "one that waits out a failure holds nobody back, not even behind a blocked one", "a:2", "default:0",
      "a:1", "default/2 default/1+5 default/1", "node backoff behind" },
    { "what can never fit does not hold back the others", "a:2", "default:0", "", "default/3 default/2",
      "never a" },
    { "a queue that has gone does not hold back the others", "a:2", "default:0", "", "gone/1 default/2",
      "never a" },
    { "no node, no start", "", "default:0", "", "default/1", "never" },
    { "a full cluster starts nothing", "a:2 b:2", "default:0", "a:2 b:2", "default/1 default/1",
      "node behind" },
};

static const char *const kinds[] = {
    [PLACE_BACKOFF] = "backoff", [PLACE_BEHIND] = "behind", [PLACE_QUEUE] = "queue",
    [PLACE_NODE] = "node",       [PLACE_NEVER] = "never",
};

static void use(struct fleet *f, const char *text)
{
    char node[64];
    long long slots;
    int used;

    for (; sscanf(text, " %63[^:]:%lld%n", node, &slots, &used) == 2; text += used)
        fleet_use(f, node, "default", slots);
}

static bool next_job(const char **io_text, int number, struct place_job *out)
{
    long long slots, wait = -1;
    int used = 0;

    memset(out, 0, sizeof(*out));
    if (sscanf(*io_text, " %63[^/]/%lld%n", out->queue, &slots, &used) != 2)
        return false;
    *io_text += used;
    if (**io_text == '+' && sscanf(*io_text, "+%lld%n", &wait, &used) == 1)
        *io_text += used;
    test_id(number, out->id);
    out->slots = slots;
    out->not_before_ms = wait < 0 ? 0 : NOW_MS + wait;
    return true;
}

static void places(void **state)
{
    const struct row *r = *state;
    CLEANUP(cluster_freep) struct cluster *c = test_cluster(r->nodes, r->queues);
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);
    struct place_answer answer;
    struct place_job job;
    struct place p;
    char got[256] = "";
    const char *rest = r->jobs;

    use(&f, r->used);
    const int64_t free_before = fleet_free(&f);
    int64_t started = 0;
    place_begin(&p, &f, NOW_MS);
    for (int n = 0; next_job(&rest, n, &job); n++) {
        place_ask(&p, &job, &answer);
        const char *word = answer.kind == PLACE_START ? f.nodes[answer.node].name : kinds[answer.kind];
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", n ? " " : "", word);
        assert_true(answer.why[0]);
        started += answer.kind == PLACE_START ? job.slots : 0;
    }
    assert_string_equal(got, r->want);
    assert_int_equal(fleet_free(&f), free_before - started); /* what starts is counted, once */
}

static void a_round_says_when_it_is_over(void **state)
{
    (void)state;
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:2", "default:0 other:0");
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);
    const struct place_job large = { .id = "261122-000001", .queue = "default", .slots = 2 };
    const struct place_job small = { .id = "261122-000002", .queue = "other", .slots = 1 };
    struct place_answer answer;
    struct place p;

    place_begin(&p, &f, NOW_MS);
    place_ask(&p, &small, &answer);
    assert_false(place_is_blocked(&p, "default"));
    assert_false(place_is_full(&p));
    place_ask(&p, &large, &answer);
    assert_true(place_is_blocked(&p, "default"));
    assert_false(place_is_blocked(&p, "other"));
    assert_true(place_is_blocked(&p, "gone"));
    place_ask(&p, &small, &answer);
    assert_true(place_is_full(&p));
}

static void the_sentence_says_needs_free_and_who_is_ahead(void **state)
{
    (void)state;
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:4 b:4", "default:0 small:3");
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);
    struct place_job job = { .id = "261122-00000a", .queue = "default", .slots = 4 };
    struct place_answer answer;
    struct place p;

    fleet_use(&f, "a", "default", 1);
    fleet_use(&f, "b", "small", 2);
    place_begin(&p, &f, NOW_MS);
    place_ask(&p, &job, &answer);
    assert_string_equal(answer.why,
                        "needs 4 slots on one node; the most that is free on one is 3 (5 over all 2 nodes)");
    memcpy(job.id, "261122-00000b", sizeof("261122-00000b"));
    job.slots = 1;
    place_ask(&p, &job, &answer);
    assert_int_equal(answer.ahead, 1);
    assert_string_equal(answer.blocker, "261122-00000a");
    assert_string_equal(
        answer.why,
        "needs 1 slot; 1 job of queue 'default' waits ahead of it, the first is 261122-00000a, which "
        "needs 4 slots; 3 are free on one node");
    memcpy(job.queue, "small", sizeof("small"));
    job.slots = 2;
    place_ask(&p, &job, &answer);
    assert_string_equal(answer.why, "needs 2 slots; queue 'small' may hold 3 at once and holds 2");
    job.not_before_ms = NOW_MS + 12300;
    place_ask(&p, &job, &answer);
    assert_int_equal(answer.wait_ms, 12300);
    assert_string_equal(answer.why, "waits 12.3s more after a failed attempt, then needs 2 slots");
    job.slots = 5;
    place_ask(&p, &job, &answer);
    assert_non_null(strstr(answer.why, "may never hold more than 3"));
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 2] = {
        cmocka_unit_test(a_round_says_when_it_is_over),
        cmocka_unit_test(the_sentence_says_needs_free_and_who_is_ahead),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[2 + i] = (struct CMUnitTest){ rows[i].name, places, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
