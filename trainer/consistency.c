#include "trainer/consistency.h"

#include "base/mem.h"
#include "core/crypto/crypto.h"

#include <string.h>

/* How many ranks have the same digest of slice `slice` as rank `rank`. */
static int agreeing(const uint8_t (*digests)[SHA256_BYTES], int size, size_t slices, size_t slice, int rank)
{
    const uint8_t *own = digests[(size_t)rank * slices + slice];
    int count = 0;
    for (int other = 0; other < size; other++)
        count += memcmp(own, digests[(size_t)other * slices + slice], SHA256_BYTES) == 0;
    return count;
}

static enum err_code name_culprit(const struct params *p, const uint8_t (*digests)[SHA256_BYTES], int size,
                                  size_t slice, struct err *e)
{
    static const char advice[] = "memory or a processor may be faulty there: look at that machine before it "
                                 "is used again";
    const char *tensor = params_tensor_at(p, slice * p->slice_count)->name;
    int odd = 0, most = 0;

    for (int rank = 0; rank < size; rank++) {
        most = MAX(most, agreeing(digests, size, p->slices, slice, rank));
        if (agreeing(digests, size, p->slices, slice, rank) < agreeing(digests, size, p->slices, slice, odd))
            odd = rank;
    }
    if (agreeing(digests, size, p->slices, slice, odd) < most)
        return err_set(e, ERR_CORRUPT,
                       "rank %d has other parameters than the rest, from slice %zu on ('%s'); %s", odd, slice,
                       tensor, advice);
    return err_set(e, ERR_CORRUPT,
                   "ranks 0 to %d disagree about the parameters, from slice %zu on ('%s'); %s", size - 1,
                   slice, tensor, advice);
}

enum err_code consistency_check(struct comm *comm, const struct params *params, const float *values,
                                struct err *e)
{
    size_t slices = params->slices;
    CLEANUP(freep) uint8_t(*own)[SHA256_BYTES] = mem_array(slices, SHA256_BYTES);
    CLEANUP(freep) uint8_t(*all)[SHA256_BYTES] = mem_array(slices * (size_t)comm->size, SHA256_BYTES);

    for (size_t i = 0; i < slices; i++)
        sha256(values + i * params->slice_count, params->slice_count * sizeof(float), own[i]);
    if (comm_gather(comm, own, slices * SHA256_BYTES, all, e))
        return err_wrap(e, "compare the parameters");
    for (size_t i = 0; i < slices; i++)
        if (agreeing((const uint8_t(*)[SHA256_BYTES])all, comm->size, slices, i, 0) != comm->size)
            return name_culprit(params, (const uint8_t(*)[SHA256_BYTES])all, comm->size, i, e);
    return OK;
}
