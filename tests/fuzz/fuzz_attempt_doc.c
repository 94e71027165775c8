/* Any text: refused without a word of it, or read; what was read is written to a text that reads the same. */
#include "core/cluster/attempt_doc.h"
#include "tests/fuzz/replay.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(attempt_doc_done) struct attempt_doc d = { .attempt = 0 };
    CLEANUP(attempt_doc_done) struct attempt_doc again = { .attempt = 0 };
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    CLEANUP(buf_wipe) struct buf text_again = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    struct err e = ERR_INIT;
    if (attempt_doc_from_text(data, n, &d, &e)) {
        invariant(e.code == ERR_CORRUPT || e.code == ERR_LIMIT);
        return 0;
    }
    invariant(d.attempt >= 1 && d.token >= 1 && d.data_key && d.signing_seed && job_id_is_valid(d.job));
    invariant(attempt_doc_to_text(&d, &text, &e) == OK);
    invariant(attempt_doc_from_text(text.data, text.len, &again, &e) == OK);
    invariant(attempt_doc_to_text(&again, &text_again, &e) == OK);
    invariant(text.len == text_again.len && memcmp(text.data, text_again.data, text.len) == 0);
    return 0;
}

REPLAY_MAIN("attempt_doc")
