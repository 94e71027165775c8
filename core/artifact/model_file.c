#include "core/artifact/model_file.h"

enum { METADATA_BYTES_MAX = 8 << 20 };

static enum err_code add_member(json_t *metadata, const char *name, const json_t *value, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(METADATA_BYTES_MAX);

    if (json_is_string(value)) {
        json_object_set_new(metadata, name, json_copy((json_t *)value));
        return OK;
    }
    if (!json_is_object(value))
        return err_set(e, ERR_CORRUPT, "model description: '%s' is neither text nor an object", name);
    if (json_canonical(value, &text, e))
        return err_wrap(e, "model description: '%s'", name);
    json_object_set_new(metadata, name, json_string(buf_text(&text)));
    return OK;
}

enum err_code model_file_metadata(const json_t *description, json_t **out, struct err *e)
{
    CLEANUP(json_donep) json_t *metadata = json_object();
    const char *name;
    json_t *value;

    if (!json_is_string(json_object_get(description, "format")))
        return err_set(e, ERR_CORRUPT, "model description: 'format' is missing");
    json_object_foreach((json_t *)description, name, value)
    {
        if (add_member(metadata, name, value, e))
            return e->code;
    }
    *out = TAKE(metadata);
    return OK;
}
