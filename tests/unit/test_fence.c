/* The kernel's no, as sockets meet it inside of a fence. Needs the right to make one: else skipped, and it
 * says why. */
#include "core/cluster/fence.h"

#include "base/file.h"
#include "base/mem.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define JOB "261127-fence0"

/* ---- the list ---- */

static void allow_text(struct fence_list *l, const char *text, uint16_t port)
{
    struct http_range range;
    struct err e = ERR_INIT;
    assert_ok(http_range_parse(text, &range, &e));
    fence_allow(l, &range, port);
}

static bool lists(const struct fence_list *l, const char *text)
{
    char shown[FENCE_TEXT_BYTES];
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(fence_entry_format(&l->entries[i], shown), text) == 0)
            return true;
    return false;
}

static void what_is_allowed_is_listed_once(void **state)
{
    static struct fence_list l;
    (void)state;
    l = (struct fence_list){ .count = 0 };
    allow_text(&l, "10.0.0.0/8", 0);
    allow_text(&l, "10.0.0.0/8", 0);
    allow_text(&l, "10.0.0.0/8", 53);
    assert_int_equal(l.count, 2);
    assert_true(lists(&l, "10.0.0.0/8") && lists(&l, "10.0.0.0/8 port 53"));
}

static void a_guard_without_ranges_is_loopback(void **state)
{
    static struct fence_list l;
    (void)state;
    l = (struct fence_list){ .count = 0 };
    fence_allow_guard(&l, &(struct http_guard){ .range_count = 0 });
    assert_int_equal(l.count, 2);
    assert_true(lists(&l, "127.0.0.0/8") && lists(&l, "::1/128"));
}

static void name_servers_are_allowed_their_port(void **state)
{
    static const char conf[] = "# comment\nsearch x\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n"
                               "nameserver not-an-address\noptions ndots:1";
    static struct fence_list l;
    CLEANUP(freep) char *path = mem_printf("build/fence-resolv-%d", (int)getpid());
    struct err e = ERR_INIT;
    (void)state;
    l = (struct fence_list){ .count = 0 };
    assert_ok(file_write(path, conf, strlen(conf), 0600, &e));
    fence_allow_resolvers(&l, path);
    assert_ok(file_remove(path, &e));
    fence_allow_resolvers(&l, path); /* none: nothing */
    assert_int_equal(l.count, 2);
    assert_true(lists(&l, "192.0.2.53/32 port 53") && lists(&l, "2001:db8::53/128 port 53"));
}

static void a_place_is_its_addresses_and_port(void **state)
{
    static struct fence_list l;
    struct err e = ERR_INIT;
    (void)state;
    l = (struct fence_list){ .count = 0 };
    assert_ok(fence_allow_place(&l, "192.0.2.9:6379", &e));
    assert_true(l.count == 1 && lists(&l, "192.0.2.9/32 port 6379"));
    assert_int_equal(fence_allow_place(&l, "192.0.2.9", &e), ERR_USAGE);
    assert_int_equal(fence_allow_place(&l, "192.0.2.9:0", &e), ERR_USAGE);
    assert_int_equal(fence_allow_place(&l, "no-such-name.invalid:1", &e), ERR_RETRY);
}

static void too_long_a_list_is_no_fence(void **state)
{
    static struct fence_list l;
    struct fence *f = NULL;
    struct err e = ERR_INIT;
    char text[64];
    (void)state;
    l = (struct fence_list){ .count = 0 };
    for (int i = 0; i <= FENCE_RANGES_MAX; i++) {
        snprintf(text, sizeof(text), "10.0.%d.0/24", i);
        allow_text(&l, text, 0);
    }
    assert_true(l.full);
    assert_int_equal(fence_open(JOB, 1, &l, &f, &e), ERR_DENIED);
}

/* ---- in the kernel ---- */

enum way { CONNECT_TCP, CONNECT_UDP, SEND_UDP, SEND_RAW };

static const struct row {
    const char *name;
    const char *ranges[3];
    uint16_t range_port; /* of the first */
    enum way way;
    const char *address;
    uint16_t port;
    bool refused;
} rows[] = {
    { "TCP to an address outside", { "127.0.0.0/8" }, 0, CONNECT_TCP, "198.51.100.7", 443, true },
    { "TCP to one inside", { "127.0.0.0/8" }, 0, CONNECT_TCP, "127.0.0.1", 9, false },
    { "UDP to an address outside", { "127.0.0.0/8" }, 0, CONNECT_UDP, "198.51.100.7", 53, true },
    { "UDP to one inside", { "127.0.0.0/8" }, 0, CONNECT_UDP, "127.0.0.1", 9, false },
    { "a datagram without a connection", { "127.0.0.0/8" }, 0, SEND_UDP, "198.51.100.7", 53, true },
    { "a datagram to one inside", { "127.0.0.0/8" }, 0, SEND_UDP, "127.0.0.1", 9, false },
    { "a raw packet to an address outside", { "127.0.0.1" }, 0, SEND_RAW, "127.0.0.2", 0, true },
    { "a raw packet to one inside", { "127.0.0.1" }, 0, SEND_RAW, "127.0.0.1", 0, false },
    { "the last address of a range", { "127.0.4.0/22" }, 0, CONNECT_UDP, "127.0.7.255", 9, false },
    { "one behind it", { "127.0.4.0/22" }, 0, CONNECT_UDP, "127.0.8.0", 9, true },
    { "one before it", { "127.0.4.0/22" }, 0, CONNECT_UDP, "127.0.3.255", 9, true },
    { "the second range counts", { "10.0.0.0/8", "127.0.0.0/8" }, 0, CONNECT_UDP, "127.0.0.1", 9, false },
    { "the port of a range", { "127.0.0.0/8" }, 53, CONNECT_UDP, "127.0.0.1", 53, false },
    { "another port", { "127.0.0.0/8" }, 53, CONNECT_UDP, "127.0.0.1", 54, true },
    { "nothing is allowed", { NULL }, 0, CONNECT_UDP, "127.0.0.1", 9, true },
    { "everything of version 4", { "0.0.0.0/0" }, 0, CONNECT_UDP, "198.51.100.7", 9, false },
    { "everything of version 4 is not version 6", { "0.0.0.0/0" }, 0, CONNECT_UDP, "2001:db8::1", 9, true },
    { "version 6 outside", { "::1" }, 0, CONNECT_UDP, "2001:db8::1", 9, true },
    { "version 6 outside, TCP", { "::1" }, 0, CONNECT_TCP, "2001:db8::1", 9, true },
    { "version 6 outside, a datagram", { "::1" }, 0, SEND_UDP, "2001:db8::1", 9, true },
    { "version 6 inside", { "2001:db8::/32" }, 0, CONNECT_UDP, "2001:db8:ffff::1", 9, false },
    { "version 6 inside, to a bit", { "2001:db8::/33" }, 0, CONNECT_UDP, "2001:db8:8000::1", 9, true },
    { "a mapped address is the one of version 4",
      { "127.0.0.0/8" },
      0,
      CONNECT_UDP,
      "::ffff:198.51.100.7",
      9,
      true },
    { "a mapped address inside", { "127.0.0.0/8" }, 0, CONNECT_UDP, "::ffff:127.0.0.1", 9, false },
};

static socklen_t address_of(const char *text, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof(*v4);
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1 ? sizeof(*v6) : 0;
}

/* In a process inside: 0 it was not the fence that said no, 1 it was, 2 there is no such socket here. */
static int try_socket(int join_fd, const struct row *row)
{
    static const uint8_t echo[8] = { 8, 0, 0xf7, 0xff };
    struct sockaddr_storage to;
    const socklen_t n = address_of(row->address, row->port, &to);
    if (write(join_fd, "0", 1) != 1) /* first: a socket belongs to the group that it was made in */
        return 2;
    const int fd = socket(to.ss_family,
                          (row->way == SEND_RAW      ? SOCK_RAW
                           : row->way == CONNECT_TCP ? SOCK_STREAM
                                                     : SOCK_DGRAM) |
                              SOCK_NONBLOCK,
                          row->way == SEND_RAW ? IPPROTO_ICMP : 0);
    if (fd < 0)
        return 2;
    const bool sends = row->way == SEND_UDP || row->way == SEND_RAW;
    const ssize_t done = sends ? sendto(fd, echo, sizeof(echo), 0, (struct sockaddr *)&to, n)
                               : connect(fd, (struct sockaddr *)&to, n);
    return done < 0 && errno == EPERM;
}

static struct fence *open_fence(const struct fence_list *l)
{
    struct fence *f = NULL;
    struct err e = ERR_INIT;
    if (fence_open(JOB, 1, l, &f, &e)) {
        assert_int_equal(e.code, ERR_DENIED);
        print_message("no fence here: %s\n", e.text);
        skip();
    }
    return f;
}

static int run_inside(const struct fence *f, const struct row *row)
{
    int status;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(try_socket(fence_join_fd(f), row));
    assert_true(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void is_refused_or_not(void **state)
{
    const struct row *row = *state;
    static struct fence_list l;
    struct fence_refused before, after;
    struct err e = ERR_INIT;
    l = (struct fence_list){ .count = 0 };
    for (size_t i = 0; i < ARRAY_LEN(row->ranges) && row->ranges[i]; i++)
        allow_text(&l, row->ranges[i], i == 0 ? row->range_port : 0);
    CLEANUP(fence_closep) struct fence *f = open_fence(&l);
    assert_ok(fence_refusals(f, &before, &e));
    const int said = run_inside(f, row);
    if (said == 2)
        skip();
    assert_int_equal(said, row->refused);
    assert_ok(fence_refusals(f, &after, &e));
    assert_int_equal(before.count, 0);
    assert_int_equal(after.count, row->refused);
}

static void the_last_refusal_is_named(void **state)
{
    static const struct row rows_here[] = {
        { "", { NULL }, 0, CONNECT_TCP, "198.51.100.7", 443, true },
        { "", { NULL }, 0, CONNECT_UDP, "2001:db8::7", 53, true },
    };
    static const char *const names[] = { "198.51.100.7:443", "[2001:db8::7]:53" };
    static struct fence_list l;
    struct fence_refused r;
    struct err e = ERR_INIT;
    (void)state;
    l = (struct fence_list){ .count = 0 };
    fence_allow_local(&l);
    CLEANUP(fence_closep) struct fence *f = open_fence(&l);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(run_inside(f, &rows_here[i]), 1);
        assert_ok(fence_refusals(f, &r, &e));
        assert_int_equal(r.count, i + 1);
        assert_string_equal(r.last, names[i]);
    }
}

static void who_is_outside_is_not_held(void **state)
{
    static const struct row row = { "", { NULL }, 0, CONNECT_UDP, "127.0.0.1", 9, false };
    static struct fence_list l;
    struct sockaddr_storage to;
    (void)state;
    l = (struct fence_list){ .count = 0 };
    CLEANUP(fence_closep) struct fence *f = open_fence(&l);
    const socklen_t n = address_of(row.address, row.port, &to);
    CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, n), 0);
    assert_int_equal(run_inside(f, &row), 1);
}

/* A supervisor that was killed leaves its group; the job's next attempt removes it. */
static void what_was_left_is_removed(void **state)
{
    static struct fence_list l;
    struct fence *second = NULL;
    struct err e = ERR_INIT;
    (void)state;
    l = (struct fence_list){ .count = 0 };
    fence_allow_local(&l);
    struct fence *first = open_fence(&l);
    assert_int_equal(fence_open(JOB, 1, &l, &second, &e),
                     OK); /* the same name: the first is empty, and went */
    fence_close(second);
    fence_close(first); /* nothing there any more: fine */
    assert_ok(fence_open(JOB, 1, &l, &second, &e));
    fence_close(second);
}

int main(void)
{
    static const struct CMUnitTest whole[] = {
        cmocka_unit_test(what_is_allowed_is_listed_once),
        cmocka_unit_test(a_guard_without_ranges_is_loopback),
        cmocka_unit_test(name_servers_are_allowed_their_port),
        cmocka_unit_test(a_place_is_its_addresses_and_port),
        cmocka_unit_test(too_long_a_list_is_no_fence),
        cmocka_unit_test(the_last_refusal_is_named),
        cmocka_unit_test(who_is_outside_is_not_held),
        cmocka_unit_test(what_was_left_is_removed),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(whole)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, is_refused_or_not, NULL, NULL, (void *)&rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        tests[n++] = whole[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
