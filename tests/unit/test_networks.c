#include "core/cluster/networks.h"

#include "tests/home.h"
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const struct network_seen host[] = {
    { "eth0", "192.168.7.5" }, { "eth1", "10.20.0.5" },  { "eth1", "10.20.0.6" },
    { "eth1", "fe80::5" },     { "ib0", "10.21.3.9" },   { "ib0", "fd00:21::9" },
    { "eth2", "10.200.0.5" },  { "eth3", "fd00:20::5" }, { "eth10", "10.2.0.5" },
};

static const struct row {
    const char *name, *networks, *interfaces, *addresses;
    int family;
} rows[] = {
    { "one network, one interface", "10.20.0.0/16", "eth1", "10.20.0.5", AF_INET },
    { "two networks, two interfaces", "10.21.0.0/16,10.20.0.0/16", "eth1 ib0", "10.20.0.5 10.21.3.9",
      AF_INET },
    { "version 6", "fd00:20::/64", "eth3", "fd00:20::5", AF_INET6 },
    { "both versions: by whichever address comes first", "10.21.0.0/16,fd00:21::/64", "ib0", "10.21.3.9",
      AF_UNSPEC },
    { "an address alone", "10.20.0.6", "eth1", "10.20.0.6", AF_INET },
    { "a name that begins alike is another", "10.2.0.0/16", "eth10", "10.2.0.5", AF_INET },
    { "the whole of ten", "10.0.0.0/8", "eth1 ib0 eth2 eth10", "10.20.0.5 10.21.3.9 10.200.0.5 10.2.0.5",
      AF_INET },
};

static struct networks read_networks(const char *text)
{
    struct networks n;
    struct err e = ERR_INIT;
    assert_ok(networks_parse(text, &n, &e));
    return n;
}

static void chooses(void **state)
{
    const struct row *row = *state;
    const struct networks n = read_networks(row->networks);
    CLEANUP(buf_done) struct buf interfaces = BUF_INIT(1024);
    CLEANUP(buf_done) struct buf addresses = BUF_INIT(1024);
    struct network_pins p;
    struct err e = ERR_INIT;
    assert_ok(networks_choose(&n, "n7", host, ARRAY_LEN(host), &p, &e));
    for (size_t i = 0; i < p.count; i++) {
        buf_addf(&interfaces, "%s%s", i ? " " : "", p.at[i].interface);
        buf_addf(&addresses, "%s%s", i ? " " : "", p.at[i].address);
    }
    assert_string_equal(buf_text(&interfaces), row->interfaces);
    assert_string_equal(buf_text(&addresses), row->addresses);
    assert_string_equal(p.host, "n7");
    assert_int_equal(p.family, row->family);
}

static void a_host_outside_is_refused_with_all_that_helps(void **state)
{
    const struct networks n = read_networks("10.99.0.0/16,fd00:99::/64");
    struct network_pins p;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(networks_choose(&n, "n7", host, 2, &p, &e), ERR_DENIED);
    assert_string_equal(e.text,
                        "host n7 has no interface in the policy's networks (10.99.0.0/16,fd00:99::/64); it "
                        "has eth0 192.168.7.5, eth1 10.20.0.5: give it an address there, or have its network "
                        "added to `networks` of the data's region");
    assert_int_equal(networks_choose(&n, "n7", NULL, 0, &p, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "none but loopback"));
}

static void more_interfaces_than_there_is_room_for_are_refused(void **state)
{
    const struct networks n = read_networks("10.0.0.0/8");
    struct network_seen many[NETWORK_PINS_MAX + 1] = { { "", "" } };
    struct network_pins p;
    struct err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        snprintf(many[i].interface, sizeof(many[i].interface), "eth%zu", i);
        snprintf(many[i].address, sizeof(many[i].address), "10.0.0.%zu", i + 1);
    }
    assert_ok(networks_choose(&n, "n7", many, NETWORK_PINS_MAX, &p, &e));
    assert_int_equal(networks_choose(&n, "n7", many, ARRAY_LEN(many), &p, &e), ERR_LIMIT);
}

/* ---- the list ---- */

static void a_list_comes_back_as_it_went(void **state)
{
    static const char text[] = "10.20.0.0/16,fd00:20::/64,192.0.2.7/32";
    const struct networks n = read_networks(text);
    CLEANUP(buf_done) struct buf all = BUF_INIT(NETWORKS_TEXT_BYTES);
    CLEANUP(buf_done) struct buf mpi = BUF_INIT(NETWORKS_TEXT_BYTES);
    const struct networks v4 = networks_for_mpi(&n);
    (void)state;
    networks_format(&n, &all);
    networks_format(&v4, &mpi);
    assert_string_equal(buf_text(&all), text);
    assert_string_equal(buf_text(&mpi), "10.20.0.0/16,192.0.2.7/32");
}

static void what_is_no_list_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "eth1",
        "10.20.0.0/16,",
        ",10.20.0.0/16",
        "10.20.0.0/33",
        "10.20.0.1/16",
        "10.20.0.0/16 10.21.0.0/16",
        "1111111111111111111111111111111111111111111111111111111111111111111"
    };
    CLEANUP(buf_done) struct buf many = BUF_INIT(4096);
    struct networks n = { .count = 7 };
    struct err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(networks_parse(bad[i], &n, &e), ERR_USAGE);
    for (int i = 0; i <= NETWORKS_MAX; i++)
        buf_addf(&many, "%s10.%d.0.0/16", i ? "," : "", i);
    assert_int_equal(networks_parse(buf_text(&many), &n, &e), ERR_USAGE);
    assert_int_equal(n.count, 7);
}

/* ---- this host ---- */

static void loopback_is_not_looked_at(void **state)
{
    CLEANUP(freep) struct network_seen *seen = mem_array(NETWORK_SEEN_MAX, sizeof(*seen));
    size_t count = 0;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(networks_look(seen, NETWORK_SEEN_MAX, &count, &e));
    for (size_t i = 0; i < count; i++) {
        assert_string_not_equal(seen[i].interface, "lo");
        assert_true(seen[i].address[0] != '\0');
    }
}

static void put(const char *root, const char *path, const char *text)
{
    CLEANUP(freep) char *file = path_join(root, path);
    CLEANUP(freep) char *folder = path_parent(file);
    struct err e = ERR_INIT;
    assert_ok(dir_make(folder, 0700, &e));
    assert_ok(file_write(file, text, strlen(text), 0600, &e));
}

static void adapters_are_those_of_the_interfaces(void **state)
{
    struct network_pins p = {
        .at = { { .interface = "eth1" }, { .interface = "ib0" }, { .interface = "lan" } }, .count = 3
    };
    char root[] = "build/networks-XXXXXX";
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(dir_make("build", 0755, &e));
    assert_non_null(mkdtemp(root));
    put(root, "eth1/device/infiniband/mlx5_0/x", "");
    put(root, "ib0/device/infiniband/mlx5_1/x", "");
    put(root, "ib0/dev_port", "1\n");
    put(root, "eth9/device/infiniband/mlx5_9/x", "");
    put(root, "lan/dev_port", "0\n");
    networks_find_adapters(root, &p);
    assert_int_equal(p.adapter_count, 2);
    assert_string_equal(p.adapters[0], "mlx5_0:1");
    assert_string_equal(p.adapters[1], "mlx5_1:2");
    home_remove(mem_text(root));
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 6] = {
        cmocka_unit_test(a_host_outside_is_refused_with_all_that_helps),
        cmocka_unit_test(more_interfaces_than_there_is_room_for_are_refused),
        cmocka_unit_test(a_list_comes_back_as_it_went),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(loopback_is_not_looked_at),
        cmocka_unit_test(adapters_are_those_of_the_interfaces),
    };
    enum { OTHERS = ARRAY_LEN(tests) - ARRAY_LEN(rows) };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[OTHERS + i] = (struct CMUnitTest){ rows[i].name, chooses, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
