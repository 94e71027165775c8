/*
 * conf_sample.h - a table with every kind of setting, for the tests and the fuzz target of core/conf.
 */
#ifndef TESTS_CONF_SAMPLE_H
#define TESTS_CONF_SAMPLE_H

#include "core/conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "200 steps" or "5 epochs": a value with a form of its own. */
struct sample_every {
    int64_t count;
    bool epochs;
};

static inline enum err_code sample_every_parse(const char *text, void *member, struct err *e)
{
    struct sample_every *every = member;
    char unit[8] = "";
    int count = 0, used = 0;
    if (sscanf(text, "%6d %6s%n", &count, unit, &used) != 2 || text[used] || count < 1 ||
        (strcmp(unit, "steps") != 0 && strcmp(unit, "epochs") != 0))
        return err_set(e, ERR_USAGE, "must be such as '200 steps' or '5 epochs'");
    every->count = count;
    every->epochs = unit[0] == 'e';
    return OK;
}

static inline void sample_every_print(const void *member, struct buf *out)
{
    const struct sample_every *every = member;
    if (every->count)
        buf_addf(out, "%d %s", (int)every->count, every->epochs ? "epochs" : "steps");
}

struct sample_ranks {
    int64_t min, max;
};

/* One number stands for both ends. */
static inline enum err_code sample_ranks_parse(const char *text, void *member, struct err *e)
{
    struct sample_ranks *ranks = member;
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 1 || n > 64)
        return err_set(e, ERR_USAGE, "must be a number from 1 to 64 or {min: 1, max: 8}");
    ranks->min = ranks->max = n;
    return OK;
}

struct sample_train {
    int64_t epochs;
    double lr;
    int schedule;
    bool shuffle;
    struct sample_every every;
};

struct sample_data {
    char train[64];
    char format[16];
    char missing[4][8];
    size_t missing_count;
};

struct sample_user {
    char name[16];
    int role;
    double share;
};

struct sample {
    char name[16];
    char note[32];
    int64_t time_limit_ms;
    uint64_t memory_bytes;
    struct sample_train train;
    struct sample_data data;
    struct sample_ranks ranks;
    int64_t hidden[4];
    size_t hidden_count;
    struct sample_user users[3];
    size_t user_count;
};

static const char *const sample_schedules[] = { "constant", "cosine", "linear", NULL };
static const char *const sample_roles[] = { "viewer", "engineer", "admin", NULL };

/* clang-format off */
static const struct conf_field sample_train_fields[] = {
    CONF_INT(sample_train, epochs, "10", 1, 1000, "passes over the data"),
    CONF_REAL(sample_train, lr, "3e-3", 0, 1, "peak rate"),
    CONF_CHOICE(sample_train, schedule, "cosine", sample_schedules, "how the rate falls"),
    CONF_BOOL(sample_train, shuffle, "true", "a new order each epoch"),
    CONF_CUSTOM(sample_train, every, NULL, sample_every_parse, sample_every_print, "checkpoint interval"),
    CONF_END,
};

static const struct conf_field sample_missing =
    { "missing", CONF_KIND_TEXT, 0, 8, false, NULL, 0, 7, .help = NULL };

static const struct conf_field sample_data_fields[] = {
    CONF_TEXT_REQUIRED(sample_data, train, "what to train on"),
    CONF_TEXT(sample_data, format, "csv", "csv or tokens"),
    CONF_LIST(sample_data, missing, missing_count, 4, NULL, &sample_missing, "texts that mean no value"),
    CONF_END,
};

static const struct conf_field sample_user_fields[] = {
    CONF_NAME_REQUIRED(sample_user, name, "who"),
    CONF_CHOICE(sample_user, role, "viewer", sample_roles, "what they may do"),
    CONF_REAL(sample_user, share, "1", 0, 100, "part of the fleet"),
    CONF_END,
};

static const struct conf_field sample_ranks_fields[] = {
    CONF_INT(sample_ranks, min, "1", 1, 64, "fewest"),
    CONF_INT(sample_ranks, max, "1", 1, 64, "most"),
    CONF_END,
};

static const struct conf_field sample_hidden =
    { NULL, CONF_KIND_INT, 0, 8, false, NULL, 1, 4096, .help = NULL };

static const struct conf_field sample_fields[] = {
    CONF_NAME(sample, name, NULL, "what it is called"),
    CONF_TEXT(sample, note, NULL, "for people"),
    CONF_DURATION(sample, time_limit_ms, "time_limit", "2h", 1000, 30 * 86400e3, "longest run"),
    CONF_SIZE(sample, memory_bytes, "memory", NULL, 1048576, 1099511627776.0, "per rank"),
    CONF_SECTION(sample, train, sample_train_fields, "how to train"),
    CONF_SECTION(sample, data, sample_data_fields, "where the data is"),
    { "ranks", CONF_KIND_SECTION, CONF_AT(sample, ranks), .fields = sample_ranks_fields,
      .parse = sample_ranks_parse, .help = "how many ranks: 2, or {min: 1, max: 8}" },
    { "hidden", CONF_KIND_LIST, CONF_AT(sample, hidden), .def = "[64, 32]", .max = 4,
      .element = &sample_hidden, .count_offset = offsetof(struct sample, hidden_count),
      .stride = sizeof(int64_t),
      .help = "layer widths" },
    CONF_LIST(sample, users, user_count, 3, sample_user_fields, NULL, "who may use it"),
    CONF_END,
};
/* clang-format on */

#endif
