/*
 * bench_reduce.c - how long the exact sum of a gradient takes beside MPI_Allreduce: the budget is 1.2 times.
 *
 *     mpirun -np 2 ... bench_reduce [MiB]
 *
 * Three ways to have the sum of all ranks' vectors on every rank: MPI_Allreduce in one call; in pieces of
 * COMM_PIECE_FLOATS (`reduce: fast`); and the fixed tree (`reduce: exact`). They are timed in turn, ROUNDS
 * times, from a barrier until the last rank is done; printed are the medians of the times and of the ratios
 * within a round, with quartiles, as a machine's speed drifts. The fastest stands beside them: two ranks that
 * wait for each other lose more to whoever else uses the cores than anything else here. Each sum is checked.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "trainer/comm.h"

#include <inttypes.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 31, MIB_DEFAULT = 64, MIB_MAX = 1024, SMALL = 1024 };

struct bench {
    struct comm *comm;
    float *given, *data;
    size_t n;
};
typedef enum err_code way_fn(struct bench *b, struct err *e);

static enum err_code plain(struct bench *b, struct err *e)
{
    if (MPI_Allreduce(MPI_IN_PLACE, b->data, (int)b->n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD) != MPI_SUCCESS)
        return err_set(e, ERR_RETRY, "MPI_Allreduce failed");
    return OK;
}

static enum err_code in_pieces(struct bench *b, struct err *e)
{
    return comm_sum_fast(b->comm, b->data, b->n, e);
}

static enum err_code exact(struct bench *b, struct err *e)
{
    return comm_sum_scatter(b->comm, b->data, b->n, e) ? e->code : comm_spread(b->comm, b->data, b->n, e);
}

static const struct way {
    const char *name;
    way_fn *sum;
} ways[] = {
    { "MPI_Allreduce, one call ", plain },
    { "MPI_Allreduce, in pieces", in_pieces },
    { "exact                   ", exact },
};
enum { WAYS = ARRAY_LEN(ways), EXACT = 2 };

/* Small whole numbers: their sum is the same in any order. */
static float value(int rank, size_t i)
{
    return (float)((i * 7 + (size_t)rank * 3) % SMALL);
}

static bool is_right(const struct bench *b)
{
    for (size_t i = 0; i < b->n; i++) {
        float want = 0;
        for (int rank = 0; rank < b->comm->size; rank++)
            want += value(rank, i);
        if (b->data[i] != want)
            return false;
    }
    return true;
}

/* In ms, of the slowest rank. */
static enum err_code time_one(struct bench *b, const struct way *way, bool check, double *out, struct err *e)
{
    memcpy(b->data, b->given, b->n * sizeof(float));
    if (comm_barrier(b->comm, e))
        return e->code;
    int64_t from = clock_mono_us();
    if (way->sum(b, e))
        return e->code;
    int64_t us = clock_mono_us() - from;
    if (check && !is_right(b))
        return err_set(e, ERR_CORRUPT, "%s: the sum is wrong", way->name);
    if (comm_max(b->comm, &us, e))
        return e->code;
    *out = (double)us / 1e3;
    return OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts. */
static void print(const char *name, double v[ROUNDS], const char *unit)
{
    qsort(v, ROUNDS, sizeof(v[0]), by_value);
    printf("%s %7.2f%s (%.2f to %.2f)", name, v[ROUNDS / 2], unit, v[ROUNDS / 4], v[ROUNDS - 1 - ROUNDS / 4]);
}

static enum err_code run(struct bench *b, struct err *e)
{
    double ms[WAYS][ROUNDS] = { { 0 } }, ratio[WAYS][ROUNDS], ignored;

    for (size_t w = 0; w < WAYS; w++)
        if (time_one(b, &ways[w], true, &ignored, e)) /* memory is there from here on */
            return e->code;
    for (int i = 0; i < ROUNDS; i++) {
        for (size_t w = 0; w < WAYS; w++)
            if (time_one(b, &ways[w], false, &ms[w][i], e))
                return e->code;
        for (size_t w = 0; w < WAYS; w++)
            ratio[w][i] = ms[EXACT][i] / ms[w][i];
    }
    if (b->comm->rank != 0)
        return OK;
    printf("sum of %zu MiB over %d ranks, medians of %d (quartiles)\n", b->n * sizeof(float) >> 20,
           b->comm->size, ROUNDS);
    for (size_t w = 0; w < WAYS; w++) {
        print(ways[w].name, ms[w], " ms");
        printf(", fastest %.2f ms\n", ms[w][0]);
    }
    print("exact by one call       ", ratio[0], "");
    printf(", fastest by fastest %.2f\n", ms[EXACT][0] / ms[0][0]);
    print("exact by pieces         ", ratio[1], "");
    printf(", fastest by fastest %.2f\n", ms[EXACT][0] / ms[1][0]);
    return OK;
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    int64_t mib = MIB_DEFAULT;
    struct bench b = { .comm = NULL };

    if (argc > 2 || (argc == 2 && parse_i64(argv[1], &mib, &e)) || mib < 1 || mib > MIB_MAX) {
        fprintf(stderr, "usage: mpirun -np 2 bench_reduce [1 to %d MiB]\n", MIB_MAX);
        return 2;
    }
    if (comm_mpi_open(&argc, &argv, &b.comm, &e)) {
        fprintf(stderr, "bench_reduce: %s\n", e.text);
        return 1;
    }
    b.n = ((size_t)mib << 20) / sizeof(float);
    b.given = mem_array(b.n, sizeof(float));
    b.data = mem_array(b.n, sizeof(float));
    for (size_t i = 0; i < b.n; i++)
        b.given[i] = value(b.comm->rank, i);
    if (run(&b, &e)) {
        fprintf(stderr, "bench_reduce: %s\n", e.text);
        comm_abort(b.comm, 1);
    }
    free(b.given);
    free(b.data);
    comm_close(b.comm);
    return 0;
}
