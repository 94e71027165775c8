/*
 * fence_bpf.h - five small programs that the kernel runs for the sockets of a control group. Private to
 * core/cluster/fence.c and its tests.
 *
 * Made instruction by instruction from a list of ranges, so nothing is compiled and no tool is needed: each
 * range is a comparison of at most four words. Four programs look at where a socket is to be connected or a
 * datagram to be sent (IPv4 and IPv6), and answer EPERM before a packet exists; the fifth looks at every
 * packet that leaves, and so at raw sockets and at whatever got past the others. All of them count what they
 * refuse, and keep the last.
 */
#ifndef CORE_CLUSTER_FENCE_BPF_H
#define CORE_CLUSTER_FENCE_BPF_H

#include "core/cluster/fence.h"

enum { FENCE_PROGRAMS = 5 };

struct fence_bpf {
    int map, programs[FENCE_PROGRAMS]; /* descriptors; -1: none */
};
#define FENCE_BPF_INIT                                                                                       \
    {                                                                                                        \
        .map = -1, .programs = { -1, -1, -1, -1, -1 }                                                        \
    }

/* ERR_DENIED: the kernel does not take them, and why. */
enum err_code fence_bpf_load(const struct fence_list *allowed, struct fence_bpf *out, struct err *e);
/* To the control group whose folder is open as `cgroup`; they stay with it until it is removed. */
enum err_code fence_bpf_attach(const struct fence_bpf *b, int cgroup, struct err *e);
void fence_bpf_done(struct fence_bpf *b);

/* What the programs keep. On the kernel's side an array of one. */
struct fence_bpf_value {
    uint64_t count;
    uint8_t address[16]; /* as in struct http_range */
    uint32_t port;       /* network byte order; 0: a packet's, which is not looked at */
    uint32_t unused;
};
enum err_code fence_bpf_read(const struct fence_bpf *b, struct fence_bpf_value *out, struct err *e);

#endif
