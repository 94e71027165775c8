#include "runner/cli/client.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/secret.h"
#include "core/job/job.h"

#include <stdio.h>
#include <string.h>

enum { TARGET_BYTES = 512 };

/* Who may read the file may use the API. None is fine: the scheduler will say whether it wants one. */
static enum err_code read_token(const struct cli *c, struct secret **out, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(freep) char *own = path_join(c->home, "run/token");
    struct err ignored = ERR_INIT;
    const char *path = own;

    if (cli_cluster(c, &cluster, &ignored) == OK && cluster->api.token_file[0])
        path = cluster->api.token_file;
    if (!file_exists(path)) {
        *out = NULL;
        return OK;
    }
    if (secret_from_file(path, out, e))
        return err_wrap(e, "API token");
    return OK;
}

enum err_code client_open(const struct cli *c, struct api_client **out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *token = NULL;
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(freep) char *socket = NULL;

    if (c->url && text_starts(c->url, "unix:"))
        return api_open(c->url, NULL, out, e);
    if (c->url) {
        if (!text_starts(c->url, "http://") && !text_starts(c->url, "https://"))
            return err_set(e, ERR_USAGE, "--url '%s': must be unix:PATH or http://HOST:PORT", c->url);
        if (read_token(c, &token, e))
            return e->code;
        return api_open(c->url, token, out, e);
    }
    if (cli_cluster(c, &cluster, e))
        return e->code;
    socket = mem_printf("unix:%s", cluster->api.socket);
    return api_open(socket, NULL, out, e);
}

enum err_code client_check_job(const char *id, struct err *e)
{
    if (!job_id_is_valid(id))
        return err_set(e, ERR_USAGE,
                       "'%s' is no job's id: they look like 261122-k3m9qz, and `sovrun list` shows them", id);
    return OK;
}

enum err_code client_job(struct api_client *api, const char *method, const char *id, const char *rest,
                         json_t **out, struct err *e)
{
    char target[TARGET_BYTES];
    if (client_check_job(id, e))
        return e->code;
    snprintf(target, sizeof(target), "/v1/jobs/%s%s", id, rest);
    return api_call(api, method, target, NULL, out, e);
}

const char *client_text(const json_t *shown, const char *section, const char *name)
{
    const json_t *spec = json_object_get(json_object_get(shown, "job"), "spec");
    return json_text_or(section ? json_object_get(spec, section) : spec, name, "");
}

bool client_is_over(const json_t *shown)
{
    const char *state = json_text_or(json_object_get(shown, "job"), "state", "");
    for (int s = 0; s < JOB_STATE_COUNT; s++)
        if (strcmp(job_state_names[s], state) == 0)
            return job_is_over((enum job_state)s);
    return false;
}
