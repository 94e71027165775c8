/*
 * networks.h - over which networks the ranks of a job may talk to each other, and this host's interfaces in
 * them.
 *
 * The policy names networks in the region that a job's data lies in; none: over any. They count where ranks
 * are on several hosts: then each host's ranks are pinned to the interfaces that have an address in them, and
 * a host that has none takes no part. Open MPI is told of the networks themselves, as it passes over what
 * fits no interface and takes any instead: so it is never left to find out.
 */
#ifndef CORE_CLUSTER_NETWORKS_H
#define CORE_CLUSTER_NETWORKS_H

#include "base/buf.h"
#include "base/err.h"
#include "core/http/guard.h"

#include <limits.h>
#include <stddef.h>

enum {
    NETWORKS_MAX = HTTP_RANGES_MAX,
    NETWORKS_TEXT_BYTES = NETWORKS_MAX * HTTP_RANGE_TEXT_BYTES,
    NETWORK_NAME_BYTES = 16,    /* of an interface */
    NETWORK_ADAPTER_BYTES = 32, /* "mlx5_0:1" */
    NETWORK_PINS_MAX = 8,
    NETWORK_SEEN_MAX = 256
};
/* networks_for_mpi(), in each rank's environment. */
#define NETWORKS_MPI_SETTING "OMPI_MCA_btl_tcp_if_include"

struct networks {
    struct http_range ranges[NETWORKS_MAX];
    size_t count; /* 0: none are named */
};
/* "10.20.0.0/16,fd00:20::/64". ERR_USAGE: not such a list. */
enum err_code networks_parse(const char *text, struct networks *out, struct err *e);
void networks_format(const struct networks *n, struct buf *out);
/* Those that Open MPI's TCP can be pinned to: the IPv4 ones. */
struct networks networks_for_mpi(const struct networks *n);

/* An address of this host; loopback and what is down are left out. */
struct network_seen {
    char interface[NETWORK_NAME_BYTES], address[HTTP_ADDRESS_BYTES];
};
enum err_code networks_look(struct network_seen *out, size_t max, size_t *out_count, struct err *e);

/* What one host's ranks are pinned to. Plain: it travels between ranks as it lies. */
struct network_pins {
    char host[HOST_NAME_MAX + 1];
    struct network_seen
        at[NETWORK_PINS_MAX]; /* each interface once, with its first address in the networks */
    size_t count;
    char adapters[NETWORK_PINS_MAX][NETWORK_ADAPTER_BYTES]; /* of those that are RDMA's, too: "mlx5_0:1" */
    size_t adapter_count;
    int family; /* AF_INET, AF_INET6: that of all the networks, so the same on each host; AF_UNSPEC: both */
};
/* Pure. ERR_DENIED, with host, networks, what was seen and what to do: no interface has an address in them.
 */
enum err_code networks_choose(const struct networks *n, const char *host, const struct network_seen *seen,
                              size_t seen_count, struct network_pins *out, struct err *e);
/* The RDMA adapters behind the pinned interfaces; `root` is "/sys/class/net", or a test's. */
void networks_find_adapters(const char *root, struct network_pins *pins);
/* All of it, for this host. */
enum err_code networks_pin(const struct networks *n, struct network_pins *out, struct err *e);

#endif
