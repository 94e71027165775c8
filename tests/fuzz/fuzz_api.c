/*
 * A request as it comes: "METHOD PATH", a newline, and a body. The path has a route or none; the body is a
 * submission whose spec binds, or is refused as something that the caller can correct. The first line is also
 * read as a launch note.
 */
#include "core/conf/conf.h"
#include "core/job/job_spec.h"
#include "scheduler/launcher.h"
#include "scheduler/routes.h"
#include "scheduler/submit.h"
#include "tests/fuzz/replay.h"

#include <string.h>

static void route(char *line)
{
    char id[REQUEST_PATH_BYTES] = "";
    const struct route *found = NULL;
    struct err e = ERR_INIT;
    char *path = strchr(line, ' ');

    if (!path)
        return;
    *path++ = '\0';
    enum err_code code = routes_match(line, path, &found, id, &e);
    invariant(code == OK || code == ERR_NOT_FOUND || code == ERR_USAGE);
    invariant((code == OK) == (found != NULL));
    if (found)
        invariant(strlen(id) < REQUEST_PATH_BYTES && !strchr(id, '/') && strcmp(found->method, line) == 0);
}

static void note(const char *line)
{
    struct launcher_note n, back;
    char text[LAUNCHER_NOTE_BYTES];
    struct err e = ERR_INIT;

    if (launcher_note_parse(line, &n, &e)) {
        invariant(e.code == ERR_CORRUPT);
        return;
    }
    invariant(launcher_note_parse(launcher_note_text(&n, text), &back, &e) == OK);
    invariant(strcmp(n.host, back.host) == 0 && n.id.pid == back.id.pid &&
              n.id.start_ticks == back.id.start_ticks);
}

static enum err_code read_spec(const struct submission *s, struct job_spec *out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;

    if (conf_parse(s->file, s->spec, strlen(s->spec), &doc, e))
        return e->code;
    for (size_t i = 0; i < s->set_count; i++)
        if (conf_set(doc, s->sets[i], e))
            return e->code;
    return job_spec_from_doc(doc, out, e);
}

static void submit(const uint8_t *body, size_t n)
{
    CLEANUP(json_donep) json_t *doc = NULL;
    struct submission s = { .spec = NULL };
    struct job_spec spec;
    struct err e = ERR_INIT;

    if (json_parse(body, n, "request", &doc, &e))
        return;
    if (submission_from_json(doc, &s, &e) == OK) {
        invariant(s.spec && s.file[0] && s.set_count <= SUBMIT_SETS_MAX && strlen(s.key) < SUBMIT_KEY_BYTES &&
                  !strchr(s.key, '/'));
        if (read_spec(&s, &spec, &e) == OK)
            return;
    }
    invariant(e.code == ERR_USAGE || e.code == ERR_LIMIT);
    invariant(e.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *end = memchr(data, '\n', n);
    const size_t line_n = end ? (size_t)(end - data) : n;
    CLEANUP(freep) char *line = strndup((const char *)data, line_n);

    invariant(line);
    note(line);
    route(line);
    if (end)
        submit(end + 1, n - line_n - 1);
    return 0;
}

REPLAY_MAIN("api")
