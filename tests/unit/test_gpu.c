/* The host's cards over a library that stands in for NVIDIA's: what they are, how they are, what befalls
 * them, and what is not known. */
#include "core/gpu/gpu.h"
#include "tests/fake/nvml_world.h"
#include "tests/test.h"

#include <string.h>

static const char two_cards[] = "driver 580.95.05\n"
                                "card\n"
                                "name NVIDIA H100 80GB HBM3\n"
                                "uuid GPU-11111111-2222-3333-4444-555555555555\n"
                                "bus 00000000:17:00.0\n"
                                "memory 85520809984\n"
                                "mig 0\n"
                                "ecc 1\n"
                                "corrected 3\n"
                                "uncorrected 0\n"
                                "rows_pending 0\n"
                                "rows_failed 0\n"
                                "celsius 41\n"
                                "sm_mhz 1980\n"
                                "memory_mhz 2619\n"
                                "milliwatts 121500\n"
                                "millijoules 98765432109\n"
                                "held_back 0x25\n"
                                "card\n"
                                "name NVIDIA T4\n"
                                "uuid GPU-66666666\n"
                                "bus 00000000:65:00.0\n";

struct host {
    struct nvml_world world;
    struct gpu_driver *driver;
};

static struct host host_open(const char *kind, const char *lines)
{
    struct err e = ERR_INIT;
    struct host h = { .driver = NULL };

    nvml_world_open(&h.world, kind);
    nvml_world_is(&h.world, lines);
    assert_ok(gpu_driver_open(&h.driver, &e));
    return h;
}

static void host_close(struct host *h)
{
    gpu_driver_close(h->driver);
    nvml_world_close(&h->world);
}

static void no_library_is_said(void **state)
{
    struct err e = ERR_INIT;
    struct gpu_driver *d = NULL;
    (void)state;

    enum err_code code = gpu_driver_open(&d, &e);
    if (code == OK) { /* a machine with a driver */
        gpu_driver_close(d);
        skip();
    }
    assert_int_equal(code, ERR_DEVICE);
    assert_non_null(strstr(e.text, "NVIDIA's management library"));
    assert_null(d);
}

static void cards_are_listed(void **state)
{
    struct host h = host_open("now", two_cards);
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct err e = ERR_INIT;
    size_t n = 0;
    (void)state;

    assert_ok(gpu_count(h.driver, &n, &e));
    assert_int_equal(n, 2);
    assert_ok(gpu_open_index(h.driver, 0, &g, &e));
    const struct gpu_card *c = gpu_card(g);
    assert_int_equal(c->index, 0);
    assert_string_equal(c->name, "NVIDIA H100 80GB HBM3");
    assert_string_equal(c->uuid, "GPU-11111111-2222-3333-4444-555555555555");
    assert_string_equal(c->bus, "00000000:17:00.0");
    assert_string_equal(c->driver, "580.95.05");
    assert_int_equal(c->memory_bytes, 85520809984);
    assert_int_equal(c->mig, 0);
    gpu_close(TAKE(g));
    assert_int_equal(gpu_open_index(h.driver, 2, &g, &e), ERR_DEVICE);
    host_close(&h);
}

/* CUDA writes the place on the bus with four digits in front, NVML with eight. */
static void a_card_is_found_by_its_place(void **state)
{
    struct host h = host_open("now", two_cards);
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(gpu_open_bus(h.driver, "0000:65:00.0", &g, &e));
    assert_int_equal(gpu_card(g)->index, 1);
    gpu_close(TAKE(g));
    assert_int_equal(gpu_open_bus(h.driver, "0000:66:00.0", &g, &e), ERR_DEVICE);
    assert_non_null(strstr(e.text, "Not Found"));
    host_close(&h);
}

static void a_reading_has_every_figure(void **state)
{
    static const int64_t want[GPU_FIGURE_COUNT] = {
        [GPU_ECC_ON] = 1,          [GPU_ECC_CORRECTED] = 3,
        [GPU_ECC_UNCORRECTED] = 0, [GPU_ROWS_PENDING] = 0,
        [GPU_ROWS_FAILED] = 0,     [GPU_CELSIUS] = 41,
        [GPU_SM_MHZ] = 1980,       [GPU_MEMORY_MHZ] = 2619,
        [GPU_MILLIWATTS] = 121500, [GPU_MILLIJOULES] = 98765432109,
        [GPU_HELD_BACK] = 0x25,
    };
    struct host h = host_open("now", two_cards);
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct gpu_reading r;
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(gpu_open_index(h.driver, 0, &g, &e));
    gpu_read(g, &r);
    for (size_t i = 0; i < GPU_FIGURE_COUNT; i++)
        assert_int_equal(r.figure[i], want[i]);
    assert_false(r.lost || r.reset_required);
    gpu_close(TAKE(g));
    host_close(&h);
}

static void what_is_not_supported_is_not_known(void **state)
{
    struct host h = host_open("now", two_cards);
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct gpu_reading r;
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(gpu_open_index(h.driver, 1, &g, &e));
    assert_int_equal(gpu_card(g)->memory_bytes, GPU_UNKNOWN);
    assert_int_equal(gpu_card(g)->mig, GPU_UNKNOWN);
    gpu_read(g, &r);
    for (size_t i = 0; i < GPU_FIGURE_COUNT; i++)
        assert_int_equal(r.figure[i], GPU_UNKNOWN);
    assert_false(r.lost || r.reset_required);
    gpu_close(TAKE(g));
    host_close(&h);
}

static void an_older_library_knows_less(void **state)
{
    struct host h = host_open("old", two_cards);
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct gpu_reading r;
    struct err e = ERR_INIT;
    uint32_t xid = 0;
    (void)state;

    assert_ok(gpu_open_index(h.driver, 0, &g, &e));
    gpu_read(g, &r);
    assert_int_equal(r.figure[GPU_HELD_BACK], 0x25); /* by the call's earlier name */
    assert_int_equal(r.figure[GPU_CELSIUS], 41);
    assert_int_equal(r.figure[GPU_ROWS_PENDING], GPU_UNKNOWN);
    assert_int_equal(r.figure[GPU_MILLIJOULES], GPU_UNKNOWN);
    assert_int_equal(gpu_watch(g, &e), ERR_DEVICE);
    assert_false(gpu_next_xid(g, &xid));
    gpu_close(TAKE(g));
    host_close(&h);
}

static void a_library_that_lacks_what_is_needed_is_refused(void **state)
{
    struct nvml_world world;
    struct gpu_driver *d = NULL;
    struct err e = ERR_INIT;
    (void)state;

    nvml_world_open(&world, "odd");
    assert_int_equal(gpu_driver_open(&d, &e), ERR_DEVICE);
    assert_non_null(strstr(e.text, "has no nvmlDeviceGetCount_v2"));
    nvml_world_close(&world);
}

static void a_driver_that_is_not_loaded_is_said(void **state)
{
    struct nvml_world world;
    struct gpu_driver *d = NULL;
    struct err e = ERR_INIT;
    (void)state;

    nvml_world_open(&world, "now");
    nvml_world_is(&world, "init 9\n");
    assert_int_equal(gpu_driver_open(&d, &e), ERR_DEVICE);
    assert_non_null(strstr(e.text, "Driver Not Loaded"));
    nvml_world_close(&world);
}

static void a_lost_card_says_so(void **state)
{
    struct host h = host_open("now", two_cards);
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct gpu_reading r;
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(gpu_open_index(h.driver, 0, &g, &e));
    nvml_world_is(&h.world, "card\nbus 00000000:17:00.0\nuncorrected 0\ncode 15\n");
    gpu_read(g, &r);
    assert_true(r.lost);
    assert_int_equal(r.figure[GPU_ECC_UNCORRECTED], GPU_UNKNOWN);
    nvml_world_is(&h.world, "card\nbus 00000000:17:00.0\ncode 16\n");
    gpu_read(g, &r);
    assert_true(r.reset_required && !r.lost);
    gpu_close(TAKE(g));
    host_close(&h);
}

static void xids_come_once_and_nobody_waits(void **state)
{
    struct host h = host_open("now", "card\nbus 00000000:17:00.0\nxid 13\n");
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct err e = ERR_INIT;
    uint32_t xid = 0;
    (void)state;

    assert_ok(gpu_open_index(h.driver, 0, &g, &e));
    assert_false(gpu_next_xid(g, &xid)); /* not watched yet */
    assert_ok(gpu_watch(g, &e));
    assert_ok(gpu_watch(g, &e));
    assert_false(gpu_next_xid(g, &xid)); /* what was before is not told */
    nvml_world_is(&h.world, "card\nbus 00000000:17:00.0\nxid 13\nxid 63\nxid 79\n");
    assert_true(gpu_next_xid(g, &xid));
    assert_int_equal(xid, 63);
    assert_true(gpu_next_xid(g, &xid));
    assert_int_equal(xid, 79);
    assert_false(gpu_next_xid(g, &xid));
    gpu_close(TAKE(g));
    host_close(&h);
}

static void a_card_without_events_is_said(void **state)
{
    struct host h = host_open("now", "card\nbus 00000000:17:00.0\nno_events 1\n");
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct err e = ERR_INIT;
    (void)state;

    assert_ok(gpu_open_index(h.driver, 0, &g, &e));
    assert_int_equal(gpu_watch(g, &e), ERR_DEVICE);
    gpu_close(TAKE(g));
    host_close(&h);
}

static void json_has_every_figure_by_its_name(void **state)
{
    const struct gpu_card card = { .index = 2, .memory_bytes = GPU_UNKNOWN, .mig = 1, .uuid = "GPU-1" };
    struct gpu_reading r = { .figure = { [GPU_ECC_ON] = 1,
                                         [GPU_ROWS_FAILED] = GPU_UNKNOWN,
                                         [GPU_CELSIUS] = 40,
                                         [GPU_HELD_BACK] = 0x45 } };
    CLEANUP(json_donep) json_t *o = json_object();
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    struct err e = ERR_INIT;
    (void)state;

    gpu_to_json(&card, &r, o);
    assert_ok(json_canonical(o, &text, &e));
    assert_string_equal(buf_text(&text),
                        "{\"bus\":null,\"celsius\":40,\"driver\":null,\"ecc\":true,\"ecc_corrected\":0,"
                        "\"ecc_uncorrected\":0,\"held_back\":[\"power_cap\",\"heat_hardware\"],\"index\":2,"
                        "\"memory_bytes\":null,\"memory_mhz\":0,\"mig\":true,\"millijoules\":0,"
                        "\"milliwatts\":0,\"name\":null,\"rows_failed\":null,\"rows_pending\":false,"
                        "\"sm_mhz\":0,\"uuid\":\"GPU-1\"}");
}

static void what_holds_a_card_back_has_names(void **state)
{
    CLEANUP(json_donep) json_t *idle = gpu_held_back_json(1), *all = gpu_held_back_json(UINT32_MAX);
    CLEANUP(json_donep) json_t *unknown = gpu_held_back_json(GPU_UNKNOWN);
    (void)state;

    assert_int_equal(json_array_size(idle), 0); /* nothing to do holds nobody back */
    assert_true(json_is_array(idle));
    assert_int_equal(json_array_size(all), 8);
    assert_true(json_is_null(unknown));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_library_is_said),
        cmocka_unit_test(cards_are_listed),
        cmocka_unit_test(a_card_is_found_by_its_place),
        cmocka_unit_test(a_reading_has_every_figure),
        cmocka_unit_test(what_is_not_supported_is_not_known),
        cmocka_unit_test(an_older_library_knows_less),
        cmocka_unit_test(a_library_that_lacks_what_is_needed_is_refused),
        cmocka_unit_test(a_driver_that_is_not_loaded_is_said),
        cmocka_unit_test(a_lost_card_says_so),
        cmocka_unit_test(xids_come_once_and_nobody_waits),
        cmocka_unit_test(a_card_without_events_is_said),
        cmocka_unit_test(json_has_every_figure_by_its_name),
        cmocka_unit_test(what_holds_a_card_back_has_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
