/*
 * Finding libnccl, and its environment before its first call.
 *
 * NCCL reads what it may do from the environment. What is set here are defaults: a variable that is there,
 * from the operator, stays as it is. (It comes before /etc/nccl.conf and ~/.nccl.conf, which NCCL reads too.)
 * Not so where the policy names networks and ranks are on several hosts: then the policy alone decides which
 * interfaces and adapters are used, and what the operator had set is told and replaced.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/def.h"
#include "base/log.h"
#include "trainer/comm_nccl_parts.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct setting {
    const char *name, *value;
};
static const struct setting settings[] = {
    /* A diagnosis server with threads and connections of its own: for whoever asks for it. */
    { "NCCL_RAS_ENABLE", "0" },
    /* So that a sum's order follows from the cards and their number alone, not from the message's size. */
    { "NCCL_ALGO", "Ring" },
    { "NCCL_PROTO", "Simple" },
    { "NCCL_NVLS_ENABLE", "0" },
};
static const struct setting settings_one_host[] = {
    /* The ranks find each other over the loopback interface alone: no port is open to any network. */
    { "NCCL_SOCKET_IFNAME", "=lo" },
    /* No fabric is needed, so nobody's plugin for one is looked for. */
    { "NCCL_NET_PLUGIN", "none" },
};

static void set_defaults(const struct setting *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        setenv(list[i].name, list[i].value, 0);
}

/* ---- the policy's networks ---- */

static void pin(const char *name, const char *value)
{
    const char *was = getenv(name);

    if (was && strcmp(was, value) != 0)
        log_warn("comm.replaced", "name=%s was=\"%s\" now=\"%s\" why=\"the policy names networks\"", name,
                 was, value);
    setenv(name, value, 1);
}

/* "=eth1,eth2": these and no others. */
static void pin_interfaces(const struct network_pins *p)
{
    CLEANUP(buf_done) struct buf list = BUF_INIT(NETWORK_PINS_MAX * NETWORK_NAME_BYTES + 2);

    for (size_t i = 0; i < p->count; i++)
        buf_addf(&list, "%s%s", i ? "," : "=", p->at[i].interface);
    pin("NCCL_SOCKET_IFNAME", buf_text(&list));
    if (p->family == AF_INET || p->family == AF_INET6)
        pin("NCCL_SOCKET_FAMILY", p->family == AF_INET ? "AF_INET" : "AF_INET6");
}

/* An adapter that is none of these interfaces' may lead anywhere; so does another's plugin, which need not
 * read these variables. */
static void pin_fabric(const struct network_pins *p)
{
    CLEANUP(buf_done) struct buf list = BUF_INIT(NETWORK_PINS_MAX * NETWORK_ADAPTER_BYTES + 2);

    for (size_t i = 0; i < p->adapter_count; i++)
        buf_addf(&list, "%s%s", i ? "," : "=", p->adapters[i]);
    if (list.len > 0)
        pin("NCCL_IB_HCA", buf_text(&list));
    else
        pin("NCCL_IB_DISABLE", "1");
    pin("NCCL_NET_PLUGIN", "none");
}

/* ---- the library ---- */

static enum err_code find_functions(void *library, const char *place, struct nccl *out, struct err *e)
{
#define LOAD(name)                                                                                           \
    {                                                                                                        \
        void *found = dlsym(library, #name);                                                                 \
        if (!found)                                                                                          \
            return err_set(e, ERR_DEVICE, "%s has no " #name, place);                                        \
        memcpy(&out->name##_, &found, sizeof(found));                                                        \
    }
    NCCL_FUNCTIONS(LOAD)
    return OK;
}

static void version_text(int code, char out[32])
{
    snprintf(out, 32, "%d.%d.%d", code / 10000, code / 100 % 100, code % 100);
}

/* Its structs grow from one minor version to the next, and an older library does not know the new ones. */
static enum err_code check_version(struct nccl *n, struct err *e)
{
    const int least = NCCL_VERSION(NCCL_MAJOR, NCCL_MINOR, 0);
    char is[32], needs[32];

    if (n->ncclGetVersion_(&n->version) != ncclSuccess)
        return err_set(e, ERR_DEVICE, "libnccl does not say its version");
    version_text(n->version, is);
    version_text(least, needs);
    if (n->version < least)
        return err_set(e, ERR_DEVICE, "libnccl is %s; this build needs %s or newer", is, needs);
    return OK;
}

enum err_code nccl_load(bool one_host, const struct network_pins *pins, struct nccl *out, struct err *e)
{
    static const char *const places[] = { "libnccl.so.2", "/usr/local/cuda/lib64/libnccl.so.2" };
    void *library = NULL;

    set_defaults(settings, ARRAY_LEN(settings));
    if (one_host)
        set_defaults(settings_one_host, ARRAY_LEN(settings_one_host));
    else if (pins) {
        pin_interfaces(pins);
        pin_fabric(pins);
    }
    for (size_t i = 0; i < ARRAY_LEN(places) && !library; i++)
        library = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(e, ERR_DEVICE, "load %s: %s", places[0], dlerror());
    return find_functions(library, places[0], out, e) ? e->code : check_version(out, e);
}
