/*
 * Finding libnccl, and its environment before its first call.
 *
 * NCCL reads what it may do from the environment. What is set here are defaults: a variable that is there,
 * from the operator, stays as it is. (It comes before /etc/nccl.conf and ~/.nccl.conf, which NCCL reads too.)
 */
#include "base/def.h"
#include "trainer/comm_nccl_parts.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum err_code nccl_load(bool one_host, struct nccl *out, struct err *e)
{
    static const char *const places[] = { "libnccl.so.2", "/usr/local/cuda/lib64/libnccl.so.2" };
    void *library = NULL;

    set_defaults(settings, ARRAY_LEN(settings));
    if (one_host)
        set_defaults(settings_one_host, ARRAY_LEN(settings_one_host));
    for (size_t i = 0; i < ARRAY_LEN(places) && !library; i++)
        library = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(e, ERR_DEVICE, "load %s: %s", places[0], dlerror());
    return find_functions(library, places[0], out, e) ? e->code : check_version(out, e);
}
