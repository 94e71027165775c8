/*
 * test_consistency.c - a bit that flips in one rank's parameters, for tests/system/test_consistency.sh to run
 * under mpirun. Prints on rank 0 what consistency_check() says: of equal parameters, and with a bit of the
 * last rank's changed in the last slice. All ranks must be told the same.
 */
#include "base/mem.h"
#include "trainer/consistency.h"

#include <stdio.h>
#include <string.h>

enum { SLICES = 4, COLUMNS = 70 };

static void say(struct comm *c, const struct params *p, const float *values)
{
    struct err e = ERR_INIT;
    char all[8][ERR_TEXT_BYTES], own[ERR_TEXT_BYTES] = "equal";
    enum err_code code = consistency_check(c, p, values, &e);

    if (code)
        snprintf(own, sizeof(own), "%s: %.900s", code == ERR_CORRUPT ? "corrupt" : "other", e.text);
    err_clear(&e);
    if (comm_gather(c, own, sizeof(own), all, &e))
        exit(1);
    for (int r = 0; r < c->size; r++)
        if (strcmp(all[r], own) != 0)
            exit(1);
    if (c->rank == 0)
        printf("%s\n", own);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct comm *c = NULL;
    CLEANUP(freep) struct params *p = mem_new(sizeof(*p));
    static const size_t dims[] = { COLUMNS };

    if (comm_mpi_open(&argc, &argv, &c, &e) || c->size > 8)
        return 1;
    for (size_t i = 0; i < 3; i++)
        if (params_add(p, dims, 1, &e, "layer.%zu", i))
            return 1;
    params_cut(p, SLICES);
    CLEANUP(freep) float *values = mem_array(p->padded, sizeof(*values));
    for (size_t i = 0; i < p->count; i++)
        values[i] = (float)i;
    say(c, p, values);
    uint8_t *byte = (uint8_t *)&values[3 * p->slice_count + 5];
    if (c->rank == c->size - 1)
        *byte = (uint8_t)(*byte ^ 1);
    say(c, p, values);
    comm_close(c);
    return 0;
}
