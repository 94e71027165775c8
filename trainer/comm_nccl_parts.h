/*
 * comm_nccl_parts.h - the library as it is loaded. Private to comm_nccl*.c; comm_nccl.h is the door.
 */
#ifndef TRAINER_COMM_NCCL_PARTS_H
#define TRAINER_COMM_NCCL_PARTS_H

#include "base/err.h"
#include "core/cluster/networks.h"

#include <nccl.h>

/* Every function of the library that is used: named once. */
#define NCCL_FUNCTIONS(X)                                                                                    \
    X(ncclCommAbort)                                                                                         \
    X(ncclCommDestroy)                                                                                       \
    X(ncclCommFinalize)                                                                                      \
    X(ncclCommGetAsyncError)                                                                                 \
    X(ncclCommInitRankConfig)                                                                                \
    X(ncclGetErrorString)                                                                                    \
    X(ncclGetLastError)                                                                                      \
    X(ncclGetUniqueId)                                                                                       \
    X(ncclGetVersion)                                                                                        \
    X(ncclGroupEnd)                                                                                          \
    X(ncclGroupStart)                                                                                        \
    X(ncclRecv)                                                                                              \
    X(ncclReduce)                                                                                            \
    X(ncclSend)
#define NCCL_POINTER(name) __typeof__(&(name)) name##_;
struct nccl {
    int version;
    NCCL_FUNCTIONS(NCCL_POINTER)
};

/* Once a process; it stays loaded, as threads of its own may still be in it. `one_host`: all ranks are on it;
 * else `pins`, which may be NULL. ERR_DEVICE: there is none, or it is older than this build needs. */
enum err_code nccl_load(bool one_host, const struct network_pins *pins, struct nccl *out, struct err *e);

#endif
