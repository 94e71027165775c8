/* config check, explain: the settings, as the programs themselves read them. */
#include "base/file.h"
#include "base/mem.h"
#include "core/job/job_spec.h"
#include "core/policy/policy.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/config_kind.h"
#include "runner/cli/print.h"

#include <string.h>

/* ---- what kind of file ---- */

static const char *const job_names[] = { "model",     "data",  "train", "checkpoint", "task",
                                         "resources", "retry", "queue", NULL };
static const char *const cluster_names[] = { "stores",
                                             "nodes",
                                             "queues",
                                             "region",
                                             "state",
                                             "api",
                                             "ledger",
                                             "keys",
                                             "signing_key",
                                             "policy",
                                             "timing",
                                             "launch",
                                             "default_data_bucket",
                                             NULL };
static const char *const policy_names[] = { "version", "regions",      "buckets", "locks",
                                            "tls",     "environments", "exports", NULL };

const char *const config_kind_names[] = { "job", "cluster", "policy", NULL };

static size_t count_names(const struct conf_doc *doc, const char *const *names)
{
    size_t count = 0;
    for (size_t i = 0; names[i]; i++)
        count += conf_has(doc, names[i]);
    return count;
}

enum err_code config_kind_of(const struct conf_doc *doc, const char *file, enum config_kind *out,
                             struct err *e)
{
    const size_t counts[] = { count_names(doc, job_names), count_names(doc, cluster_names),
                              count_names(doc, policy_names) };
    size_t best = 0, ties = 0;
    for (size_t i = 1; i < ARRAY_LEN(counts); i++)
        best = counts[i] > counts[best] ? i : best;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        ties += counts[i] == counts[best];
    if (counts[best] == 0 || ties > 1)
        return err_set(
            e, ERR_USAGE,
            "%s: neither a job's file nor a cluster's configuration, by its settings; say --kind job, "
            "cluster or policy",
            file);
    *out = (enum config_kind)best;
    return OK;
}

static enum err_code kind_by_name(const char *name, enum config_kind *out, struct err *e)
{
    for (int i = 0; config_kind_names[i]; i++)
        if (strcmp(config_kind_names[i], name) == 0) {
            *out = (enum config_kind)i;
            return OK;
        }
    return err_set(e, ERR_USAGE, "'%s': must be job, cluster or policy", name);
}

/* ---- check ---- */

struct check_settings {
    const char *kind;
    struct opt_list sets;
};

static enum err_code check_job(const struct conf_doc *doc, struct err *e)
{
    CLEANUP(freep) struct job_spec *spec = mem_new(sizeof(*spec));
    return job_spec_from_doc(doc, spec, e);
}

static enum err_code check_policy(const char *file, const struct opt_list *sets, struct err *e)
{
    CLEANUP(freep) struct policy *policy = mem_new(sizeof(*policy));
    if (sets->count)
        return err_set(e, ERR_USAGE, "--set is for jobs; a policy is what its file says");
    return policy_read_file(file, policy, e);
}

/* Its relative paths count from its own folder. */
static enum err_code check_cluster(const char *file, const struct opt_list *sets, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(freep) char *folder = path_parent(file);
    if (sets->count)
        return err_set(e, ERR_USAGE, "--set is for jobs; a cluster's configuration is what its file says");
    return cluster_load(folder, file, &cluster, e);
}

static enum err_code check_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct check_settings *s = settings;
    const char *file = a->list[0];
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    enum config_kind kind = CONFIG_JOB;

    if (conf_parse_file(file, &doc, e))
        return e->code;
    if (s->kind ? kind_by_name(s->kind, &kind, e) : config_kind_of(doc, file, &kind, e))
        return e->code;
    for (size_t i = 0; i < s->sets.count; i++)
        if (conf_set(doc, s->sets.items[i], e))
            return e->code;
    if (kind == CONFIG_JOB      ? check_job(doc, e)
        : kind == CONFIG_POLICY ? check_policy(file, &s->sets, e)
                                : check_cluster(file, &s->sets, e))
        return e->code;
    if (!c->json)
        return print_line(e, "ok: %s is a %s", file,
                          kind == CONFIG_CLUSTER ? "cluster's configuration" : config_kind_names[kind]);
    CLEANUP(json_donep)
    json_t *doc_json = json_pack("{s:b,s:s,s:s}", "ok", 1, "kind", config_kind_names[kind], "file", file);
    return print_json(doc_json, e);
}

static const struct opt check_options[] = {
    OPT_TEXT_ROW(check_settings, kind, "kind", 'k', "KIND",
                 "job, cluster or policy, where the file does not show it"),
    OPT_LIST_ROW(check_settings, sets, "set", 's', "KEY=VALUE",
                 "change a setting of a job's file, as in train.lr=0.01"),
    OPT_END,
};
const struct cmd cmd_config_check = {
    .name = "config check",
    .args = "FILE",
    .args_min = 1,
    .args_max = 1,
    .help = "is a job's or a cluster's file as it must be",
    .options = check_options,
    .settings_bytes = sizeof(struct check_settings),
    .run = check_run,
};

/* ---- explain ---- */

static enum err_code explain_run(struct cli *c, const struct arguments *a, const void *settings,
                                 struct err *e)
{
    static const struct conf_field *const tables[] = { job_spec_fields, cluster_fields, policy_fields };
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    enum config_kind kind = CONFIG_JOB;
    (void)settings;

    if (a->count && kind_by_name(a->list[0], &kind, e))
        return e->code;
    if (c->json) {
        CLEANUP(json_donep) json_t *doc = conf_explain_json(tables[kind]);
        return print_json(doc, e);
    }
    conf_explain(tables[kind], 0, &text);
    return print_out(&text, e);
}

const struct cmd cmd_config_explain = {
    .name = "config explain",
    .args = "[job|cluster|policy]",
    .args_max = 1,
    .help = "every setting: default, range, meaning",
    .run = explain_run,
};
