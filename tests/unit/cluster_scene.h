/*
 * cluster_scene.h - a folder for each test of a cluster's configuration, and texts to put there.
 */
#ifndef TESTS_UNIT_CLUSTER_SCENE_H
#define TESTS_UNIT_CLUSTER_SCENE_H

#include "base/file.h"
#include "base/mem.h"
#include "core/cluster/cluster.h"
#include "tests/test.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Each test gets an empty folder below build/ as its state. */

static inline int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static inline int make_folder(void **state)
{
    struct err e = ERR_INIT;
    char *folder = mem_text("build/test-cluster-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(folder))
        return -1;
    *state = folder;
    return 0;
}

static inline int remove_folder(void **state)
{
    nftw(*state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return 0;
}

static inline void write_text(const char *home, const char *name, const char *text, mode_t mode)
{
    CLEANUP(freep) char *path = path_join(home, name);
    struct err e = ERR_INIT;
    assert_ok(file_write(path, text, strlen(text), mode, &e));
}

#define HEAD "name: c\nregion: eu-1\n"
#define STORES "stores:\n  - { root: store, buckets: [data, evidence] }\n"
#define NODES "nodes: [{ name: n1, slots: 4 }]\n"

#define POLICY(region)                                                                                       \
    "version: 1\nname: p\nregions: [" region "]\n"                                                           \
    "buckets:\n  - { name: data, region: here, purposes: [data] }\n"                                         \
    "  - { name: evidence, region: here, purposes: [evidence] }\n"
#define LOCAL "{ name: here, provider: local, region: eu-1 }"
#define REMOTE "{ name: here, provider: s3, region: eu-1, endpoints: [s3, kms], ranges: [10.1.0.0/16] }"

/* The configuration, and a policy that it keeps to. */
static inline void write_home(const char *home, const char *text)
{
    write_text(home, "sovrun.yaml", text, 0600);
    write_text(home, "policy.yaml",
               strstr(text, "kind: s3") ? POLICY(REMOTE) "keys: { providers: [file] }\n"
                                        : POLICY(LOCAL) "keys: { providers: [file] }\n",
               0600);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

#endif
