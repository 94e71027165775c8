#include "core/cluster/networks.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"

#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(NETWORK_NAME_BYTES == IF_NAMESIZE, "an interface's name");

/* ---- the list ---- */

enum err_code networks_parse(const char *text, struct networks *out, struct err *e)
{
    struct networks n = { .count = 0 };
    char one[HTTP_RANGE_TEXT_BYTES];

    for (const char *at = text;; at++) {
        size_t bytes = strcspn(at, ",");
        if (n.count == NETWORKS_MAX)
            return err_set(e, ERR_USAGE, "more than %d networks", NETWORKS_MAX);
        if (bytes >= sizeof(one))
            return err_set(e, ERR_USAGE, "'%.60s...' is no network", at);
        memcpy(one, at, bytes);
        one[bytes] = '\0';
        if (http_range_parse(one, &n.ranges[n.count++], e))
            return e->code;
        at += bytes;
        if (*at == '\0')
            break;
    }
    *out = n;
    return OK;
}

void networks_format(const struct networks *n, struct buf *out)
{
    char text[HTTP_RANGE_TEXT_BYTES];

    for (size_t i = 0; i < n->count; i++)
        buf_addf(out, "%s%s", i ? "," : "", http_range_format(&n->ranges[i], text));
}

static bool is_ipv4(const struct http_range *r)
{
    char text[HTTP_RANGE_TEXT_BYTES];
    return !strchr(http_range_format(r, text), ':');
}

struct networks networks_for_mpi(const struct networks *n)
{
    struct networks out = { .count = 0 };

    for (size_t i = 0; i < n->count; i++)
        if (is_ipv4(&n->ranges[i]))
            out.ranges[out.count++] = n->ranges[i];
    return out;
}

static int family_of(const struct networks *n)
{
    size_t v4 = networks_for_mpi(n).count;
    if (v4 == n->count)
        return AF_INET;
    return v4 == 0 ? AF_INET6 : AF_UNSPEC;
}

/* ---- this host ---- */

static void free_interfaces(struct ifaddrs **list)
{
    if (*list)
        freeifaddrs(*list);
}

enum err_code networks_look(struct network_seen *out, size_t max, size_t *out_count, struct err *e)
{
    CLEANUP(free_interfaces) struct ifaddrs *list = NULL;
    size_t count = 0;

    if (getifaddrs(&list) != 0)
        return err_errno(e, "look at this host's interfaces");
    for (const struct ifaddrs *a = list; a; a = a->ifa_next) {
        bool here = (a->ifa_flags & IFF_UP) && !(a->ifa_flags & IFF_LOOPBACK);
        if (!here || !a->ifa_addr ||
            (a->ifa_addr->sa_family != AF_INET && a->ifa_addr->sa_family != AF_INET6))
            continue;
        if (count == max)
            return err_set(e, ERR_LIMIT, "this host has more than %zu addresses", max);
        snprintf(out[count].interface, sizeof(out[count].interface), "%s", a->ifa_name);
        http_address_format(a->ifa_addr, out[count++].address);
    }
    *out_count = count;
    return OK;
}

/* ---- the choice ---- */

static bool has_interface(const struct network_pins *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->at[i].interface, name) == 0)
            return true;
    return false;
}

static enum err_code refuse(const struct networks *n, const char *host, const struct network_seen *seen,
                            size_t count, struct err *e)
{
    CLEANUP(buf_done) struct buf named = BUF_INIT(NETWORKS_TEXT_BYTES);
    CLEANUP(buf_done) struct buf has = BUF_INIT(NETWORK_SEEN_MAX * sizeof(*seen) + 1);

    networks_format(n, &named);
    for (size_t i = 0; i < count; i++)
        buf_addf(&has, "%s%s %s", i ? ", " : "", seen[i].interface, seen[i].address);
    return err_set(e, ERR_DENIED,
                   "host %s has no interface in the policy's networks (%.300s); it has %.300s: give it an "
                   "address there, or have its network added to `networks` of the data's region",
                   host, buf_text(&named), has.len ? buf_text(&has) : "none but loopback");
}

enum err_code networks_choose(const struct networks *n, const char *host, const struct network_seen *seen,
                              size_t seen_count, struct network_pins *out, struct err *e)
{
    struct http_guard inside = { .range_count = (uint32_t)n->count };
    struct network_pins p = { .family = family_of(n) };

    invariant(n->count > 0); /* a guard without ranges would allow loopback */
    memcpy(inside.ranges, n->ranges, n->count * sizeof(n->ranges[0]));
    snprintf(p.host, sizeof(p.host), "%s", host);
    for (size_t i = 0; i < seen_count; i++) {
        if (!http_guard_allows_text(&inside, seen[i].address) || has_interface(&p, seen[i].interface))
            continue;
        if (p.count == NETWORK_PINS_MAX)
            return err_set(e, ERR_LIMIT,
                           "host %s has more than %d interfaces in the policy's networks: name narrower ones",
                           host, NETWORK_PINS_MAX);
        p.at[p.count++] = seen[i];
    }
    if (p.count == 0)
        return refuse(n, host, seen, seen_count, e);
    *out = p;
    return OK;
}

/* ---- RDMA ---- */

/* The adapter's port that the interface is on; the file counts from 0. */
static int port_of(const char *root, const char *interface)
{
    CLEANUP(freep) char *path = mem_printf("%s/%s/dev_port", root, interface);
    CLEANUP(buf_done) struct buf text = BUF_INIT(64);
    struct err ignored = ERR_INIT;
    int64_t port = 0;

    if (file_read(path, &text, &ignored))
        return 1;
    text.data[strcspn(buf_text(&text), "\n")] = '\0';
    return parse_i64(buf_text(&text), &port, &ignored) == OK && port >= 0 && port < 255 ? (int)port + 1 : 1;
}

void networks_find_adapters(const char *root, struct network_pins *p)
{
    p->adapter_count = 0;
    for (size_t i = 0; i < p->count; i++) {
        CLEANUP(freep) char *path = mem_printf("%s/%s/device/infiniband", root, p->at[i].interface);
        DIR *dir = opendir(path);
        const struct dirent *d;
        while (dir && (d = readdir(dir)) && p->adapter_count < NETWORK_PINS_MAX)
            if (d->d_name[0] != '.' && strlen(d->d_name) < NETWORK_ADAPTER_BYTES - sizeof(":255"))
                snprintf(p->adapters[p->adapter_count++], NETWORK_ADAPTER_BYTES, "%.24s:%d", d->d_name,
                         port_of(root, p->at[i].interface));
        if (dir)
            closedir(dir);
    }
}

enum err_code networks_pin(const struct networks *n, struct network_pins *out, struct err *e)
{
    CLEANUP(freep) struct network_seen *seen = mem_array(NETWORK_SEEN_MAX, sizeof(*seen));
    char host[HOST_NAME_MAX + 1] = "";
    size_t count = 0;

    if (gethostname(host, sizeof(host) - 1) != 0)
        snprintf(host, sizeof(host), "unknown");
    if (networks_look(seen, NETWORK_SEEN_MAX, &count, e) || networks_choose(n, host, seen, count, out, e))
        return e->code;
    networks_find_adapters("/sys/class/net", out);
    return OK;
}
