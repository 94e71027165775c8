#include "runner/cli/sampler.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/proc.h"
#include "base/stop.h"
#include "base/text.h"
#include "core/json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 8192, REQUEST_VERSION = 1 };

struct child {
    struct proc_id id; /* pid 0: none */
    int in, out;       /* ours: to its input, from its output */
};

static void child_done(struct child *c)
{
    struct err ignored = ERR_INIT;
    int status;

    fd_closep(&c->in);
    fd_closep(&c->out);
    if (c->id.pid == 0)
        return;
    proc_signal(c->id, SIGKILL); /* nothing where it has ended */
    IGNORE(proc_wait(c->id, &status, &ignored));
}

static enum err_code find_trainer(const struct cluster_launch *config, char **out, struct err *e)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n < 0)
        return err_errno(e, "read /proc/self/exe");
    self[n] = '\0';
    CLEANUP(freep) char *folder = path_parent(self);
    CLEANUP(freep)
    char *path = config->trainer[0] ? mem_text(config->trainer) : path_join(folder, "sovrun-trainer");
    if (access(path, X_OK) != 0)
        return err_set(e, ERR_IO, "the trainer '%s' is not there or cannot be executed", path);
    *out = TAKE(path);
    return OK;
}

static enum err_code start(const struct cluster_launch *config, struct child *c, struct err *e)
{
    CLEANUP(freep) char *program = NULL;
    struct proc_options o = PROC_OPTIONS_INIT;
    int in[2], out[2];

    if (find_trainer(config, &program, e))
        return e->code;
    if (pipe2(in, O_CLOEXEC) != 0)
        return err_errno(e, "pipe");
    CLEANUP(fd_closep) int its_in = in[0];
    c->in = in[1];
    if (pipe2(out, O_CLOEXEC) != 0)
        return err_errno(e, "pipe");
    c->out = out[0];
    CLEANUP(fd_closep) int its_out = out[1];
    const char *const argv[] = { program, "sample", NULL };
    o.argv = argv;
    o.dir = "/";
    o.in = its_in;
    o.out = its_out;
    o.err = STDERR_FILENO;
    o.die_with_parent = true;
    return proc_start(&o, &c->id, e);
}

static enum err_code make_line(const struct sampler_request *r, struct buf *out, struct err *e)
{
    CLEANUP(json_donep) json_t *j = NULL;
    json_t *prompt = json_array();
    size_t first = r->prompt->count > SAMPLER_PROMPT_MAX ? r->prompt->count - SAMPLER_PROMPT_MAX : 0;

    for (size_t i = first; i < r->prompt->count; i++)
        json_array_append_new(prompt, json_integer(r->prompt->ids[i]));
    j = json_pack("{s:i,s:I,s:o,s:I,s:I,s:s,s:I,s:I,s:I}", "version", REQUEST_VERSION, "file_bytes",
                  (json_int_t)r->file->len, "prompt", prompt, "tokens", (json_int_t)r->tokens, "seed",
                  (json_int_t)r->seed, "temperature", r->temperature, "top_k", (json_int_t)r->top_k,
                  "vocabulary", (json_int_t)r->vocabulary, "end", (json_int_t)r->end);
    if (json_canonical(j, out, e))
        return e->code;
    buf_add_byte(out, '\n');
    return buf_check(out, "request", e);
}

/* It reads all before it says anything. One that ended early says why on its output. */
static void send(struct child *c, const struct buf *line, const struct buf *file)
{
    struct err ignored = ERR_INIT;

    if (file_write_all(c->in, line->data, line->len, &ignored) == OK)
        IGNORE(file_write_all(c->in, file->data, file->len, &ignored));
    fd_closep(&c->in);
    c->in = -1;
}

/* "17", "over", "end" or "error SENTENCE". */
static enum err_code take_line(const char *line, sampler_fn *each, void *context, bool *out_over,
                               bool *out_ended, struct err *e)
{
    static const char error[] = "error ";
    int64_t id;

    *out_ended = strcmp(line, "end") == 0;
    *out_over = *out_ended || strcmp(line, "over") == 0;
    if (*out_over)
        return OK;
    if (text_starts(line, error))
        return err_set(e, ERR_USAGE, "%s", line + strlen(error));
    if (parse_i64(line, &id, e) || id < 0 || id > UINT32_MAX)
        return err_set(e, ERR_IO, "the trainer said '%.100s'", line);
    return each(context, (uint32_t)id, e);
}

static enum err_code receive(struct child *c, sampler_fn *each, void *context, bool *out_ended, struct err *e)
{
    char line[LINE_BYTES_MAX];
    size_t n = 0;
    bool over = false;

    while (!over) {
        ssize_t got = read(c->out, line + n, sizeof(line) - 1 - n);
        if (stop_asked())
            return err_set(e, ERR_CANCELED, "stopped");
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set(e, ERR_IO, "the trainer ended before it was done");
        n += (size_t)got;
        for (char *end; !over && (end = memchr(line, '\n', n)) != NULL;) {
            *end = '\0';
            if (take_line(line, each, context, &over, out_ended, e))
                return e->code;
            n -= (size_t)(end + 1 - line);
            memmove(line, end + 1, n);
        }
        if (n == sizeof(line) - 1)
            return err_set(e, ERR_IO, "the trainer said more than a line");
    }
    return OK;
}

enum err_code sampler_run(const struct cluster_launch *config, const struct sampler_request *r,
                          sampler_fn *each, void *context, bool *out_ended, struct err *e)
{
    CLEANUP(child_done) struct child c = { .in = -1, .out = -1 };
    CLEANUP(buf_done) struct buf line = BUF_INIT(4 << 20);

    if (make_line(r, &line, e) || start(config, &c, e))
        return err_wrap(e, "sample");
    send(&c, &line, r->file);
    return receive(&c, each, context, out_ended, e) ? err_wrap(e, "sample") : OK;
}
