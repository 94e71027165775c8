/*
 * comm_nccl.h - the ranks' sums from card to card, by NVIDIA's NCCL.
 *
 * It stands on another comm (MPI), which it borrows, and which does everything but sums and spreading: the
 * unique id, barriers, gathers, agreement. Its memory is the device's, and its work runs on a stream of its
 * own, behind what the device's stream was given before. Nothing here waits for the card but comm_finish(),
 * which looks now and then, and then puts the device's stream behind it. So a sum of buckets goes on beside
 * the backward pass, without a thread.
 *
 * exact (DESIGN 8): the fixed tree of comm_sum_scatter_range(). A round is a send and a receive with the
 * partner, grouped, in pieces through memory that was taken at the beginning, and an addition on the card:
 * sum = own + other in fp32, as over MPI, so the bits are MPI's. They are the same on any number of cards of
 * a kind.
 *
 * fast: each rank's part of a range is reduced to that rank, by one group of ncclReduce(): a reduce-scatter
 * whose pieces may be uneven. The new parameters come back by comm_spread(). The order of the sum is NCCL's:
 * the same cards in the same order should repeat it, other numbers of cards do not.
 *
 * NCCL is loaded at run time (libnccl.so.2); a program that has none starts all the same, and the ranks go on
 * exchanging through the host. Over hosts it keeps to the interfaces of the policy's networks, whatever the
 * operator has said; else it is kept to itself by its environment, where he has not said otherwise: see
 * comm_nccl_load.c.
 *
 * Failures are ERR_RETRY with NCCL's text, and break this comm and the one below: the communicator is
 * aborted, so no stream waits for it any more, and another attempt may begin. That a rank merely hangs NCCL
 * does not notice; comm_until(), of this comm or the one below, does, and asks the comm below who it is.
 *
 * Threads: the device's.
 */
#ifndef TRAINER_COMM_NCCL_H
#define TRAINER_COMM_NCCL_H

#include "core/cluster/networks.h"
#include "kernels/device.h"
#include "trainer/comm.h"

enum {
    COMM_NCCL_INIT_MS = 120 * 1000,   /* until all ranks are connected */
    COMM_NCCL_PIECE_FLOATS = 4 << 20, /* 16 MiB on the card: what one message of an exact sum has */
    COMM_NOTE_BYTES = ERR_TEXT_BYTES
};

struct comm_nccl_config {
    int64_t init_ms;
    size_t piece_floats; /* the same on all ranks */
    const struct network_pins
        *pins; /* of this host; NULL, on all ranks: all are on one host, or nobody says */
};

/* Collective, and all ranks return the same. `under` and `d` are borrowed and must outlive it; any number of
 * ranks that is a power of two, one too. ERR_DEVICE: not to be had here (no card, no library, two ranks on
 * one card, ranks on several hosts and nobody named their network), and nothing has happened. ERR_RETRY: it
 * failed; `under` is broken. */
enum err_code comm_nccl_open(struct comm *under, struct device *d, const struct comm_nccl_config *config,
                             struct comm **out, struct err *e);

/* What the ranks are to sum by, with the device they have: NCCL where it can be had, else *out is NULL and it
 * is `under`, through the host. `pins`: as in struct comm_nccl_config. The note says which, and why, for the
 * log. Collective. */
enum err_code comm_for_device(struct comm *under, struct device *d, const struct network_pins *pins,
                              struct comm **out, char note[COMM_NOTE_BYTES], struct err *e);

#endif
