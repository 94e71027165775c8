/* One rank's card, from the beginning to the end, over a library that stands in for NVIDIA's. Several ranks:
 * tests/mpi/test_cards.c. */
#include "tests/fake/nvml_world.h"
#include "tests/test.h"
#include "trainer/cards_parts.h"

#include <string.h>

#define HEAD "driver 580.95.05\ncard\nname NVIDIA H100\nuuid GPU-1\nbus 00000000:17:00.0\n"
#define FIT HEAD "ecc 1\nuncorrected 0\nrows_pending 0\nrows_failed 0\nmillijoules 5000000\nheld_back 1\n"
static const char bus[] = "0000:17:00.0";

struct scene {
    struct nvml_world world;
    struct comm *comm;
    struct cards *cards;
};

static struct scene scene_with(const char *kind, const char *lines, const char *place)
{
    struct scene s = { .comm = comm_self_new() };
    struct err e = ERR_INIT;

    nvml_world_open(&s.world, kind);
    nvml_world_is(&s.world, lines);
    assert_ok(cards_open(s.comm, place, &s.cards, &e));
    return s;
}

static void scene_done(struct scene *s)
{
    cards_close(s->cards);
    comm_close(s->comm);
    nvml_world_close(&s->world);
}

/* The event's canonical text has these words. */
static void assert_says(json_t *data, const char *words)
{
    CLEANUP(json_donep) json_t *taken = data;
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 << 10);
    struct err e = ERR_INIT;

    assert_non_null(taken);
    assert_ok(json_canonical(taken, &text, &e));
    if (!strstr(buf_text(&text), words))
        fail_msg("'%s' is not in %s", words, buf_text(&text));
}

static void the_cpu_has_none(void **state)
{
    struct scene s = scene_with("now", FIT, "");
    struct err e = ERR_INIT;
    (void)state;

    assert_null(s.cards);
    assert_ok(cards_check(s.cards, &e));
    assert_ok(cards_look(s.cards, 0, &e));
    assert_null(cards_opened_json(s.cards, 0));
    IGNORE(err_set(&e, ERR_DEVICE, "as it was"));
    assert_false(cards_end(s.cards, &e));
    assert_string_equal(e.text, "as it was");
    assert_null(cards_used_json(s.cards, 0));
    scene_done(&s);
}

static void a_card_is_told_of(void **state)
{
    struct scene s = scene_with("now", FIT, bus);
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(cards_check(s.cards, &e));
    assert_says(cards_opened_json(s.cards, 0), "\"driver\":\"580.95.05\",\"ecc\":true,\"ecc_corrected\":null,"
                                               "\"ecc_uncorrected\":0,\"held_back\":[],");
    assert_says(cards_opened_json(s.cards, 0), "\"of_ranks\":1,");
    assert_null(cards_opened_json(s.cards, CARDS_RANKS_AN_EVENT));
    scene_done(&s);
}

static void what_it_used_is_told(void **state)
{
    struct scene s = scene_with("now", FIT, bus);
    struct err e = ERR_INIT;
    (void)state;

    nvml_world_is(&s.world, HEAD "corrected 7\nuncorrected 0\nmillijoules 6234567\nheld_back 0x24\n");
    assert_ok(cards_look(s.cards, CARDS_LOOK_MS, &e));
    nvml_world_is(&s.world, HEAD "corrected 9\nuncorrected 0\nmillijoules 7234567\nheld_back 0x41\n");
    assert_false(cards_end(s.cards, &e));
    assert_int_equal(e.code, OK);
    assert_says(cards_used_json(s.cards, 0),
                "\"card\":\"GPU-1\",\"ecc_corrected\":null,\"ecc_uncorrected\":0,"
                "\"failed\":\"\",\"held_back\":[\"power_cap\",\"heat_software\",\"heat_hardware\"],");
    assert_says(cards_used_json(s.cards, 0), "\"joules\":2234,\"rank\":0,\"xids\":[]}]}");
    assert_says(cards_used_json(s.cards, 0), "{\"joules\":2234,\"of_ranks\":1,");
    scene_done(&s);
}

static void energy_that_began_anew_is_not_known(void **state)
{
    struct scene s = scene_with("now", FIT, bus);
    struct err e = ERR_INIT;
    (void)state;

    nvml_world_is(&s.world, HEAD "millijoules 4999999\n");
    cards_end(s.cards, &e);
    assert_says(cards_used_json(s.cards, 0), "{\"joules\":null,");
    scene_done(&s);
}

static const struct unfit {
    const char *name, *lines, *says;
} unfits[] = {
    { "an uncorrected error refuses the start", HEAD "uncorrected 1\n",
      "uncorrected memory errors since the driver was loaded: 1: reset the card" },
    { "a row that waits refuses the start", HEAD "rows_pending 1\nrows_failed 0\n", "waits to be replaced" },
    { "a row that failed refuses the start", HEAD "rows_pending 0\nrows_failed 1\n",
      "have the card replaced" },
};

static void unfit_is_refused(void **state)
{
    const struct unfit *u = *state;
    struct scene s = scene_with("now", u->lines, bus);
    struct err e = ERR_INIT;

    assert_int_equal(cards_check(s.cards, &e), ERR_DEVICE);
    assert_ptr_equal(strstr(e.text, "rank 0: card GPU-1 on host "), e.text);
    assert_non_null(strstr(e.text, " is not fit to train: "));
    assert_non_null(strstr(e.text, u->says));
    scene_done(&s);
}

static void what_nvml_does_not_know_is_used(void **state)
{
    struct scene s = scene_with("now", FIT, "0000:99:00.0");
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(cards_check(s.cards, &e));
    assert_ok(cards_look(s.cards, CARDS_LOOK_MS, &e));
    assert_says(cards_opened_json(s.cards, 0), "\"bus\":\"0000:99:00.0\",");
    assert_says(cards_opened_json(s.cards, 0), "\"why\":\"look at the card: NVML says: Not Found\"");
    assert_false(cards_end(s.cards, &e));
    assert_says(cards_used_json(s.cards, 0), "\"joules\":null,\"rank\":0,\"xids\":null");
    scene_done(&s);
}

static void an_older_library_has_no_xids_and_that_is_told(void **state)
{
    struct scene s = scene_with("old", FIT, bus);
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(cards_check(s.cards, &e));
    assert_false(cards_end(s.cards, &e));
    assert_says(cards_used_json(s.cards, 0), "\"xids\":null");
    scene_done(&s);
}

static void a_look_is_due_now_and_then(void **state)
{
    struct scene s = scene_with("now", FIT, bus);
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(cards_look(s.cards, 1000, &e));
    nvml_world_is(&s.world, FIT "xid 79\n");
    assert_ok(cards_look(s.cards, 1000 + CARDS_LOOK_MS - 1, &e));
    assert_int_equal(cards_look(s.cards, 1000 + CARDS_LOOK_MS, &e), ERR_DEVICE);
    assert_ptr_equal(strstr(e.text, "card GPU-1 on host "), e.text);
    assert_non_null(strstr(e.text, ": Xid 79: the card has fallen off the bus: restart the host"));
    assert_true(cards_end(s.cards, &e));
    assert_null(strstr(strstr(e.text, "Xid 79") + 1, "Xid 79")); /* it is named already */
    assert_says(cards_used_json(s.cards, 0), "\"xids\":[79]");
    scene_done(&s);
}

static const struct lasting {
    const char *name, *lines;
    bool ends;
} lastings[] = {
    { "a program's Xid does not end training", FIT "xid 13\nxid 45\n", false },
    { "one that is noted does not", FIT "xid 63\nxid 92\nxid 94\n", false },
    { "one that nobody knows does not", FIT "xid 4711\n", false },
    { "a row that waits for a reset does not", HEAD "uncorrected 0\nrows_pending 1\nrows_failed 0\n", false },
    { "one of the card's does", FIT "xid 13\nxid 48\n", true },
    { "an uncorrected error does", HEAD "uncorrected 1\n", true },
    { "a card that is lost does", HEAD "code 15\n", true },
};

static void what_ends_training(void **state)
{
    const struct lasting *l = *state;
    struct scene s = scene_with("now", FIT, bus);
    struct err e = ERR_INIT;

    nvml_world_is(&s.world, l->lines);
    assert_int_equal(cards_look(s.cards, CARDS_LOOK_MS, &e), l->ends ? ERR_DEVICE : OK);
    err_clear(&e);
    assert_int_equal(cards_end(s.cards, &e), l->ends);
    scene_done(&s);
}

static const struct failure {
    const char *name, *lines;
    enum err_code code;
    const char *text, *front; /* NULL: as it was */
} failures[] = {
    { "a device's failure is given the card's Xid", FIT "xid 45\nxid 79\n", ERR_DEVICE,
      "step 7: wait for the card", "Xid 79: the card has fallen off the bus: restart the host: step 7: " },
    { "where there is none heavier, a program's", FIT "xid 31\nxid 45\n", ERR_DEVICE,
      "step 7: wait for the card", "Xid 31: a program touched memory that it does not have: step 7: " },
    { "an uncorrected error is named", HEAD "uncorrected 3\n", ERR_DEVICE, "training diverged",
      "uncorrected memory errors since the job began: 3: reset the card" },
    { "without any it stays as it was", FIT, ERR_DEVICE, "step 7: wait for the card", NULL },
    { "a user's mistake stays one", FIT "xid 79\n", ERR_USAGE, "column 'x' is missing", NULL },
    { "a stop stays one", FIT "xid 63\n", ERR_CANCELED, "asked to stop: saved step 3", NULL },
};

static void failures_are_explained(void **state)
{
    const struct failure *f = *state;
    struct scene s = scene_with("now", FIT, bus);
    struct err e = ERR_INIT;

    nvml_world_is(&s.world, f->lines);
    IGNORE(err_set(&e, f->code, "%s", f->text));
    cards_end(s.cards, &e);
    assert_int_equal(e.code, f->code);
    if (!f->front) {
        assert_string_equal(e.text, f->text);
    } else {
        assert_ptr_equal(strstr(e.text, "rank 0: card GPU-1 on host "), e.text);
        if (!strstr(e.text, f->front))
            fail_msg("%s", e.text);
        assert_non_null(strstr(e.text, f->text));
    }
    scene_done(&s);
}

static void more_xids_than_there_is_room_for(void **state)
{
    struct scene s = scene_with("now", FIT, bus);
    CLEANUP(buf_done) struct buf lines = BUF_INIT(8192);
    struct err e = ERR_INIT;
    (void)state;

    buf_add_text(&lines, FIT);
    for (int i = 0; i < 3 * GPU_XIDS_MAX; i++)
        buf_add_text(&lines, "xid 45\n");
    buf_add_text(&lines, "xid 79\n");
    nvml_world_is(&s.world, buf_text(&lines));
    for (int i = 1; i <= 3; i++) /* so many at a look, and no more */
        assert_ok(cards_look(s.cards, i * (int64_t)CARDS_LOOK_MS, &e));
    assert_int_equal(cards_look(s.cards, 4 * (int64_t)CARDS_LOOK_MS, &e), ERR_DEVICE);
    scene_done(&s);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(unfits) + ARRAY_LEN(lastings) + ARRAY_LEN(failures) + 8];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(unfits); i++)
        tests[n++] = (struct CMUnitTest){ unfits[i].name, unfit_is_refused, NULL, NULL, (void *)&unfits[i] };
    for (size_t i = 0; i < ARRAY_LEN(lastings); i++)
        tests[n++] =
            (struct CMUnitTest){ lastings[i].name, what_ends_training, NULL, NULL, (void *)&lastings[i] };
    for (size_t i = 0; i < ARRAY_LEN(failures); i++)
        tests[n++] =
            (struct CMUnitTest){ failures[i].name, failures_are_explained, NULL, NULL, (void *)&failures[i] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(the_cpu_has_none);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_card_is_told_of);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(what_it_used_is_told);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(energy_that_began_anew_is_not_known);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(what_nvml_does_not_know_is_used);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(an_older_library_has_no_xids_and_that_is_told);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_look_is_due_now_and_then);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(more_xids_than_there_is_room_for);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
