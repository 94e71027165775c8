#include "tests/home.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/crypto/crypto.h"
#include "core/job/dataset.h"
#include "tests/test.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>

enum { SHARDS = 2, RECORDS = 20 };

char *home_make(const char *name)
{
    CLEANUP(freep) char *folder = mem_printf("build/%s-XXXXXX", name);
    struct err e = ERR_INIT;

    assert_ok(dir_make("build", 0755, &e));
    assert_non_null(mkdtemp(folder));
    assert_ok(cluster_init_home(folder, &e));
    return TAKE(folder);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

void home_remove(char *home)
{
    nftw(home, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(home);
}

static enum err_code put_shard(struct store *store, const char *prefix, int number, struct dataset_shard *out,
                               struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct store_info info;

    buf_add_text(&text, "age,amount,class\n");
    for (int i = 0; i < RECORDS; i++)
        buf_addf(&text, "%d,%d,%s\n", 20 + i, 100 * i + number, i % 3 ? "good" : "bad");
    *out = (struct dataset_shard){ .bytes = text.len, .records = RECORDS };
    snprintf(out->key, sizeof(out->key), "%s/shard-%04d.csv", prefix, number);
    if (store_put(store, out->key, text.data, text.len, NULL, &info, e))
        return e->code;
    memcpy(out->version, info.version, sizeof(out->version));
    sha256_hex(text.data, text.len, out->sha256);
    return OK;
}

enum err_code home_stage(const struct cluster *c, const char *prefix, char out_digest[65], struct err *e)
{
    struct dataset_column columns[] = { { "age", COLUMN_NUMERIC },
                                        { "amount", COLUMN_NUMERIC },
                                        { "class", COLUMN_CATEGORY } };
    struct dataset_shard shards[SHARDS];
    struct dataset d = {
        .name = "small",
        .owner = "risk",
        .basis = "contract",
        .source = "test",
        .data_class = CLASS_INTERNAL,
        .format = "csv",
        .bucket = "data",
        .created_ms = clock_wall_ms(),
        .columns = columns,
        .column_count = ARRAY_LEN(columns),
        .shards = shards,
        .shard_count = SHARDS,
    };
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    CLEANUP(freep) char *key = mem_printf("%s/" DATASET_MANIFEST_NAME, prefix);

    if (cluster_open_store(c, "data", &store, e))
        return e->code;
    for (int i = 0; i < SHARDS; i++)
        if (put_shard(store, prefix, i, &shards[i], e))
            return e->code;
    if (dataset_to_text(&d, &text, e) || store_put(store, key, text.data, text.len, NULL, NULL, e))
        return e->code;
    dataset_digest(text.data, text.len, out_digest);
    return OK;
}
