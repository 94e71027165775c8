/*
 * fence.h - the kernel's own no for rank processes: where they may send, whatever code runs in them.
 *
 * The guard of the HTTP client (core/http/guard.h) holds our code to the policy. The fence holds everything
 * else in the ranks' processes, libraries and what they start, to the same addresses: they run in a control
 * group (version 2) of their own, to which programs are attached that refuse a connection, a datagram or a
 * packet to any other address (fence_bpf.h). The ranks of an attempt cannot leave it, unless they are root
 * and set out to.
 *
 * It needs Linux 5.1, control groups version 2 mounted and writable to us, and the right to load such
 * programs (root, or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN where the kernel wants that). Where one is
 * missing there is no fence, and fence_open() says which. It is never taken for granted: a probe process is
 * put inside and must be refused.
 *
 * Outside of it: unix sockets, packet sockets (AF_PACKET, which only root may open), and hosts other than
 * this one.
 */
#ifndef CORE_CLUSTER_FENCE_H
#define CORE_CLUSTER_FENCE_H

#include "base/cleanup.h"
#include "base/err.h"
#include "core/http/guard.h"

#include <stdint.h>

enum fence_mode { FENCE_AUTO, FENCE_REQUIRED, FENCE_OFF };
extern const char *const fence_mode_names[]; /* "auto", "required", "off", NULL: for configuration */

enum { FENCE_RANGES_MAX = 128, FENCE_TEXT_BYTES = 80 };

struct fence_entry {
    struct http_range range;
    uint16_t port; /* 0: any */
};
struct fence_list {
    struct fence_entry entries[FENCE_RANGES_MAX];
    size_t count;
    bool full; /* something did not fit: fence_open() refuses */
};
void fence_allow(struct fence_list *l, const struct http_range *range, uint16_t port); /* once each */
void fence_allow_guard(struct fence_list *l, const struct http_guard *g);              /* as the guard does */
/* Loopback, and the addresses of this host itself: nothing to them leaves it. */
void fence_allow_local(struct fence_list *l);
/* The name servers of a resolv.conf, port 53. */
void fence_allow_resolvers(struct fence_list *l, const char *path);
/* All addresses of "HOST:PORT". ERR_RETRY: the name has none now. */
enum err_code fence_allow_place(struct fence_list *l, const char *place, struct err *e);
const char *fence_entry_format(const struct fence_entry *entry, char out[FENCE_TEXT_BYTES]);

struct fence;
/* A control group for the attempt, empty and with its programs in force, as a probe has shown. ERR_DENIED:
 * there can be none here. */
enum err_code fence_open(const char *job, int64_t attempt, const struct fence_list *allowed,
                         struct fence **out, struct err *e);
/* Removes it where it is empty; else it stays, and so does its no, for fence_sweep_*() to remove. NULL is
 * fine. */
void fence_close(struct fence *f);
DEFINE_CLEANUP_PTR(struct fence, fence_close)

/* For proc_options.join: a process that writes here is inside. */
int fence_join_fd(const struct fence *f);

struct fence_refused {
    uint64_t count;              /* since it was opened, the probe's left out */
    char last[FENCE_TEXT_BYTES]; /* "198.51.100.7:443" */
};
enum err_code fence_refusals(const struct fence *f, struct fence_refused *out, struct err *e);

/* What killed supervisors left: empty groups of this job, or of the jobs that HOME/attempts knows. */
void fence_sweep_job(const char *job);
void fence_sweep_home(const char *home);

#endif
