#include "core/artifact/model_file.h"

enum { METADATA_BYTES_MAX = 8 << 20 };

enum err_code model_file_metadata(const json_t *encoding, const char *dataset_content, json_t **out,
                                  struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(METADATA_BYTES_MAX);

    if (json_canonical(encoding, &text, e))
        return e->code;
    *out = json_pack("{s:s,s:s,s:s,s:s}", "format", "sovrun.mlp.v1", "encoding", buf_text(&text), "model",
                     "{\"activation\":\"relu\",\"kind\":\"mlp\"}", "dataset_content", dataset_content);
    return OK;
}
