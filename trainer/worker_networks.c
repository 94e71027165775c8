#include "base/mem.h"
#include "trainer/worker_parts.h"

#include <string.h>
#include <unistd.h>

enum { HOSTS_AN_EVENT = 32 };

static enum err_code find_hosts(struct worker *w, bool *out_one, struct err *e)
{
    char own[HOST_NAME_MAX + 1] = "";
    CLEANUP(freep) char(*all)[sizeof(own)] = mem_array((size_t)w->comm->size, sizeof(own));

    IGNORE(gethostname(own, sizeof(own) - 1) != 0);
    if (comm_gather(w->comm, own, sizeof(own), all, e))
        return e->code;
    *out_one = true;
    for (int r = 1; r < w->comm->size; r++)
        *out_one = *out_one && strcmp(all[r], all[0]) == 0;
    return OK;
}

/* The document's networks must be those that MPI was started with: a launcher may have dropped or changed
 * them. */
static enum err_code pin_own(struct worker *w, struct err *e)
{
    CLEANUP(buf_done) struct buf want = BUF_INIT(NETWORKS_TEXT_BYTES);
    const struct networks mpi = networks_for_mpi(&w->doc->networks);
    const char *given = getenv(NETWORKS_MPI_SETTING);

    if (networks_pin(&w->doc->networks, w->pins, e))
        return err_wrap(e, "denied by policy rule networks");
    networks_format(&mpi, &want);
    if (mpi.count > 0 && given && strcmp(given, buf_text(&want)) == 0)
        return OK;
    return err_set(
        e, ERR_DENIED,
        "denied by policy rule networks: on host %s Open MPI was started with " NETWORKS_MPI_SETTING
        " '%.100s', and not with the policy's '%.300s': launch.mpirun must hand it on as it is",
        w->pins->host, given ? given : "", buf_text(&want));
}

static json_t *pins_json(const struct network_pins *p, int ranks)
{
    json_t *interfaces = json_array(), *adapters = json_array();

    for (size_t i = 0; i < p->count; i++)
        json_array_append_new(interfaces, json_pack("{s:s,s:s}", "name", p->at[i].interface, "address",
                                                    p->at[i].address));
    for (size_t i = 0; i < p->adapter_count; i++)
        json_array_append_new(adapters, json_string(p->adapters[i]));
    return json_pack("{s:s,s:i,s:o,s:o}", "host", p->host, "ranks", ranks, "interfaces", interfaces,
                     "adapters", adapters);
}

/* Each host once, with the number of its ranks. */
static json_t *hosts_json(const struct network_pins *all, int ranks)
{
    json_t *list = json_array();

    for (int r = 0; r < ranks; r++) {
        int count = 0;
        bool is_first = true;
        for (int other = 0; other < ranks; other++) {
            bool same = strcmp(all[r].host, all[other].host) == 0;
            is_first = is_first && !(same && other < r);
            count += same;
        }
        if (is_first)
            json_array_append_new(list, pins_json(&all[r], count));
    }
    return list;
}

static void tell(struct worker *w, const struct network_pins *all)
{
    CLEANUP(json_donep) json_t *hosts = hosts_json(all, w->comm->size);
    size_t count = json_array_size(hosts);

    for (size_t at = 0; at < count; at += HOSTS_AN_EVENT) {
        json_t *some = json_array(), *networks = json_array();
        char text[HTTP_RANGE_TEXT_BYTES];
        for (size_t i = at; i < MIN(at + HOSTS_AN_EVENT, count); i++)
            json_array_append(some, json_array_get(hosts, i));
        for (size_t i = 0; i < w->doc->networks.count; i++)
            json_array_append_new(networks,
                                  json_string(http_range_format(&w->doc->networks.ranges[i], text)));
        worker_tell(w, "networks.pinned",
                    json_pack("{s:o,s:I,s:o}", "networks", networks, "of_hosts", (json_int_t)count, "hosts",
                              some),
                    NULL, NULL);
    }
}

enum err_code worker_open_networks(struct worker *w, struct err *e)
{
    CLEANUP(freep) struct network_pins *all = NULL;
    bool one_host = false;

    if (w->doc->networks.count == 0 || w->comm->size == 1)
        return OK;
    if (find_hosts(w, &one_host, e) || one_host)
        return e->code;
    w->pins = mem_new(sizeof(*w->pins));
    IGNORE(pin_own(w, e));
    if (comm_agree(w->comm, e))
        return e->code;
    all = mem_array((size_t)w->comm->size, sizeof(*all));
    if (comm_gather(w->comm, w->pins, sizeof(*w->pins), all, e))
        return e->code;
    if (w->comm->rank == 0)
        tell(w, all);
    return OK;
}
