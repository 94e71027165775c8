/* Any bytes as an answer of S3: read within its limits or refused, in each of the ways they are read. */
#include "core/store/s3_xml.h"
#include "tests/fuzz/replay.h"

#include <string.h>

static enum err_code check_entry(void *context, const struct store_info *info, struct err *e)
{
    (void)context;
    (void)e;
    invariant(info->key[0] && strnlen(info->key, sizeof(info->key)) < sizeof(info->key));
    invariant(strnlen(info->version, sizeof(info->version)) < sizeof(info->version));
    invariant(info->lock.mode == STORE_LOCK_NONE);
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err e = ERR_INIT;
    struct s3_error error;
    char text[64];
    bool more;
    if (n > 1024 * 1024)
        return 0;
    if (s3_xml_error(data, n, &error))
        for (const char *s = error.message; *s; s++)
            invariant(*s >= ' ' && *s <= '~');
    enum err_code page = s3_xml_page(data, n, check_entry, NULL, &more, &e);
    invariant(page == OK || page == ERR_CORRUPT || page == ERR_LIMIT);
    err_clear(&e);
    enum err_code one =
        s3_xml_text(data, n, "InitiateMultipartUploadResult/UploadId", text, sizeof(text), &e);
    invariant((one == OK) == (e.code == OK));
    invariant(strnlen(text, sizeof(text)) < sizeof(text));
    return 0;
}

REPLAY_MAIN("s3_xml")
