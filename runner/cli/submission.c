#include "runner/cli/submission.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/job/job_spec.h"
#include "runner/cli/data_place.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

enum { KEY_BYTES = 16, TRIES_MAX = 5, RETRY_MS = 200 };
static const char file_scheme[] = "file://";

static enum err_code read_spec(const char *file, struct buf *out, struct err *e)
{
    if (strcmp(file, "-") != 0)
        return conf_read_file(file, out, e);
    for (;;) { /* to the end of input, or the buffer's */
        uint8_t *room = buf_reserve(out, 4096);
        ssize_t n = room ? read(STDIN_FILENO, room, 4096) : 0;
        if (!room)
            return err_set(e, ERR_USAGE, "standard input: larger than %d bytes", CONF_BYTES_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "read standard input");
        if (n == 0)
            return OK;
        buf_commit(out, (size_t)n);
    }
}

static enum err_code check_spec(const char *file, const struct buf *text, const struct opt_list *sets,
                                struct job_spec *out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    if (conf_parse(file, buf_text(text), text->len, &doc, e))
        return e->code;
    for (size_t i = 0; i < sets->count; i++)
        if (conf_set(doc, sets->items[i], e))
            return e->code;
    return job_spec_from_doc(doc, out, e);
}

enum err_code submission_check_file(const char *file, const struct opt_list *sets, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_BYTES_MAX);
    CLEANUP(freep) struct job_spec *spec = mem_new(sizeof(*spec));
    if (strcmp(file, "-") == 0)
        return OK;
    return read_spec(file, &text, e) || check_spec(file, &text, sets, spec, e) ? e->code : OK;
}

/* ---- plain data ---- */

/* What file://PATH means in this job's file. The caller frees. */
static char *data_path(const char *file, const char *uri)
{
    CLEANUP(freep) char *folder = strcmp(file, "-") == 0 ? mem_text(".") : path_parent(file);
    return path_join(folder, uri + strlen(file_scheme));
}

/* The file is at hand, so a slip of the pen in data.target is told before anything is stored. */
static enum err_code check_target(const char *path, const struct stage_facts *facts, const char *target,
                                  struct err *e)
{
    const char *names[DATASET_COLUMNS_MAX], *near;
    for (size_t i = 0; i < facts->column_count; i++) {
        names[i] = facts->columns[i].name;
        if (strcmp(names[i], target) == 0)
            return OK;
    }
    near = text_nearest(target, names, facts->column_count);
    return err_set(e, ERR_USAGE, "data.target: '%s' has no column '%s'%s%s%s", path, target,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* What is surveyed as a job's own file goes under a name that follows from its content. */
static enum err_code send_there(struct cluster *cluster, const struct source *source,
                                const struct stage_facts *facts, const struct stage_options *o,
                                char **out_uri, struct err *e)
{
    struct data_place place = { .cluster = NULL };
    struct stage_result r;
    struct err unrecorded = ERR_INIT;
    char prefix[STORE_KEY_BYTES];

    if (stage_prefix(source_name(source), facts, o, prefix, e))
        return e->code;
    data_place_in(cluster, cluster->default_data_bucket, prefix, &place);
    if (stage_send(source, facts, &place.target, o, &r, e))
        return e->code;
    progress_clear(o->progress);
    if (!r.already && data_record_staged(&place, facts, o, &r, &unrecorded))
        progress_say(o->progress, "not recorded in the ledger: %s", unrecorded.text);
    progress_say(o->progress, "%s %s (%zu shards, class personal)",
                 r.already ? "data is staged already:" : "data staged:", place.uri, r.shards);
    *out_uri = mem_text(place.uri);
    return OK;
}

/* What the file is, and what the job takes it for. */
static enum err_code check_format(const char *path, const struct source *source, const struct job_spec *spec,
                                  struct stage_options *o, struct err *e)
{
    static const enum records_format formats[] = {
        [FORMAT_CSV] = RECORDS_CSV, [FORMAT_TOKENS] = RECORDS_TOKENS, [FORMAT_TEXT] = RECORDS_TEXT
    };
    enum records_format wanted = formats[spec->data.format];
    const char *why;

    if (records_guess(source, &o->format, &why, e))
        return e->code;
    if (o->format != wanted)
        return err_set(e, ERR_USAGE, "'%s' is %s, %s; the job says data.format: %s", path,
                       records_format_names[o->format], why, records_format_names[wanted]);
    return OK;
}

static enum err_code stage_into(struct cluster *cluster, const char *path, const struct job_spec *spec,
                                struct progress *progress, char **out_uri, struct err *e)
{
    CLEANUP(source_closep) struct source *source = NULL;
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    const struct passwd *user = getpwuid(geteuid());
    CLEANUP(stage_tokenizer_done) struct stage_tokenizer tokenizer = { .is = NULL };
    struct stage_options o = { .data_class = CLASS_PERSONAL,
                               .owner = user ? user->pw_name : "",
                               .progress = progress };

    for (size_t i = 0; i < spec->data.missing_count; i++)
        o.missing[o.missing_count++] = spec->data.missing[i];
    if (source_open(path, cluster->home, 0, &source, e) || check_format(path, source, spec, &o, e))
        return err_wrap(e, "data.train");
    if (spec->data.format == FORMAT_TEXT) {
        o.tokenizer = &tokenizer;
        if (stage_tokenizer_open(TOKENIZER_BYTES, NULL, NULL, &tokenizer, e))
            return err_wrap(e, "data.train");
    }
    if (stage_survey(source, &o, &facts, e))
        return err_wrap(e, "data.train");
    o.reread = facts.bytes <= STAGE_SMALL_BYTES; /* what is broken is mended, where that is cheap */
    if ((spec->data.format == FORMAT_CSV && check_target(path, &facts, spec->data.target, e)) ||
        stage_check_policy(&cluster->policy, cluster->default_data_bucket, o.data_class, e))
        return e->code;
    if (send_there(cluster, source, &facts, &o, out_uri, e))
        return err_wrap(e, "data.train");
    return OK;
}

static enum err_code stage_data(const struct cli *c, const char *file, const struct job_spec *spec,
                                struct progress *progress, char **out_uri, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(freep) char *path = data_path(file, spec->data.train);
    _Static_assert((int)STAGE_MISSING_MAX >= (int)SPEC_MISSING_MAX, "they fit");

    if (cli_cluster(c, &cluster, e))
        return err_wrap(e, "data.train is a plain file, and staging it needs the cluster's configuration (or "
                           "stage it where that "
                           "is, with `sovrun data stage`, and name its s3:// address)");
    return stage_into(cluster, path, spec, progress, out_uri, e);
}

/* ---- sending ---- */

static json_t *make_request(const char *file, const struct buf *text, const struct opt_list *sets,
                            const char *train_uri, const struct job_spec *spec)
{
    uint8_t random[KEY_BYTES];
    char key[2 * KEY_BYTES + 1];
    json_t *list = json_array();

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), key);
    for (size_t i = 0; i < sets->count; i++)
        json_array_append_new(list, json_string(sets->items[i]));
    if (train_uri) {
        CLEANUP(freep) char *set = mem_printf("data.train=%s", train_uri);
        json_array_append_new(list, json_string(set));
        if (spec->data.format == FORMAT_TEXT) /* which it was */
            json_array_append_new(list, json_string("data.format=tokens"));
    }
    return json_pack("{s:s,s:s,s:o,s:s}", "file", file, "spec", buf_text(text), "set", list, "key", key);
}

/* With one key: a repeated request finds the job that the first one made, should that have come through. */
static enum err_code send(struct api_client *api, const json_t *request, json_t **out, struct err *e)
{
    for (int left = TRIES_MAX; left > 0; left--) {
        err_clear(e);
        if (api_call(api, "POST", "/v1/jobs", request, out, e) != ERR_RETRY)
            break;
        if (left > 1)
            clock_real.sleep_ms(&clock_real, RETRY_MS);
    }
    return e->code;
}

enum err_code submission_send(const struct cli *c, struct api_client *api, const char *file,
                              const struct opt_list *sets, struct progress *progress, json_t **out,
                              struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_BYTES_MAX);
    CLEANUP(freep) char *train_uri = NULL;
    CLEANUP(freep) struct job_spec *spec = mem_new(sizeof(*spec));

    if (read_spec(file, &text, e) || check_spec(file, &text, sets, spec, e))
        return e->code;
    if (text_starts(spec->data.train, file_scheme) && stage_data(c, file, spec, progress, &train_uri, e))
        return e->code;
    CLEANUP(json_donep) json_t *request = make_request(file, &text, sets, train_uri, spec);
    if (!request)
        return err_set(e, ERR_USAGE, "'%s' is not UTF-8, or one of --set is not", file);
    return send(api, request, out, e);
}
