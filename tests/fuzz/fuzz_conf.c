/* Any text: refused with an error that says where, or read, printed as JSON, and read back to the same. */
#include "tests/conf_sample.h"
#include "tests/fuzz/replay.h"

static void check_error(const struct err *e)
{
    invariant(e->code == ERR_USAGE);
    invariant(strncmp(e->text, "f.yaml:", 7) == 0 || strncmp(e->text, "--set ", 6) == 0);
    for (const char *p = e->text; *p; p++)
        invariant((unsigned char)*p >= 0x20 && *p != 0x7F);
}

static bool read_sample(const void *text, size_t n, const char *set, struct sample *out)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(4096);
    struct err e = ERR_INIT;
    memset(out, 0, sizeof(*out)); /* padding too: structs are compared as bytes */
    if (conf_parse("f.yaml", text, n, &doc, &e) || (set && conf_set(doc, set, &e)) ||
        conf_bind(doc, sample_fields, out, &e)) {
        check_error(&e);
        return false;
    }
    invariant(*conf_where(doc, "train.lr", &scratch));
    return true;
}

static void print_sample(const struct sample *s, struct buf *out)
{
    CLEANUP(json_donep) json_t *j = conf_to_json(sample_fields, s);
    struct err e = ERR_INIT;
    invariant(json_canonical(j, out, &e) == OK);
}

/* The input, up to a first line "--set ...", is the text; that line, if there is one, is an assignment. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char mark[] = "--set ";
    char set[256] = "";
    CLEANUP(buf_done) struct buf json = BUF_INIT(1 << 20);
    struct sample s, back;
    const uint8_t *text = data, *end = data + n;
    if (n >= sizeof(mark) - 1 && memcmp(data, mark, sizeof(mark) - 1) == 0) {
        const uint8_t *from = data + sizeof(mark) - 1;
        const uint8_t *line_end = memchr(from, '\n', (size_t)(end - from));
        size_t len = (size_t)((line_end ? line_end : end) - from);
        if (len >= sizeof(set))
            return 0;
        memcpy(set, from, len);
        text = line_end ? line_end + 1 : end;
    }
    if (!read_sample(text, (size_t)(end - text), *set ? set : NULL, &s))
        return 0;
    print_sample(&s, &json);
    invariant(read_sample(json.data, json.len, NULL, &back));
    invariant(memcmp(&s, &back, sizeof(s)) == 0);
    return 0;
}

REPLAY_MAIN("conf")
