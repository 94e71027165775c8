#include "trainer/sequences.h"

#include <inttypes.h>
#include <string.h>

enum err_code sequence_tokens(const uint8_t *bytes, size_t n, size_t token_bytes, size_t vocab, int32_t *out,
                              struct err *e)
{
    invariant(token_bytes == 2 || token_bytes == 4);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *at = bytes + i * token_bytes;
        uint32_t token = (uint32_t)at[0] | (uint32_t)at[1] << 8;
        if (token_bytes == 4)
            token |= (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        if (token >= vocab)
            return err_set(e, ERR_CORRUPT, "token %zu is number %" PRIu32 ", and there are %zu", i, token,
                           vocab);
        out[i] = (int32_t)token;
    }
    return OK;
}

void sequence_take(const int32_t *tokens, size_t i, size_t context, int64_t end, int32_t *out_tokens,
                   int32_t *out_labels, int32_t *out_starts)
{
    const int32_t *from = tokens + i * context;
    int32_t start = 0;

    memcpy(out_tokens, from, context * sizeof(*from));
    memcpy(out_labels, from + 1, context * sizeof(*from));
    for (size_t t = 0; t < context; t++) {
        if (from[t] == end)
            start = (int32_t)t;
        out_starts[t] = start;
    }
}
