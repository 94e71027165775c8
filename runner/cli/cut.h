/*
 * cut.h - where one shard ends and the next begins. Pure.
 *
 *   equal    n records into s shards, as even as it comes out: what --shards asks for, and what a small CSV
 * gets without asking (8). The same file always gives the same shards, so a job can be run again to the bit.
 *   count    so many records each (--shard-records; tokens): a changed record changes one shard, appended
 * ones the last content  about so many bytes (--shard-bytes; text; large CSV): behind a record whose own hash
 * says so. A boundary depends on nothing but that record and the distance from the boundary before it, so
 * what is inserted, removed or changed in the middle moves the boundaries near it, and a little later all is
 * as it was: only those shards travel again. No shard is smaller than a quarter or larger than four times
 *            what was asked (and one record). Text is cut between paragraphs as long as that keeps shards
 * below twice the size, else between lines.
 */
#ifndef RUNNER_CLI_CUT_H
#define RUNNER_CLI_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cut_mode { CUT_EQUAL, CUT_COUNT, CUT_CONTENT };
struct cut_plan {
    enum cut_mode mode;
    uint64_t records, shards; /* equal */
    uint64_t each;            /* count: records; content: bytes */
    bool paragraphs;          /* content: it is text */
};
struct cut {
    struct cut_plan plan;
    uint64_t shard;          /* from 0 */
    uint64_t records, bytes; /* in it so far */
    uint64_t paragraph_bytes, paragraph_hash;
};
struct cut cut_new(const struct cut_plan *plan);
/* How many records more this shard may take; at least 1. */
uint64_t cut_room(const struct cut *c);
/* Takes a record (of tokens: several at once, at most cut_room()). True: the shard ends behind it. */
bool cut_take(struct cut *c, const void *raw, size_t n, uint64_t records);

/* Records of shard i when n records are cut into `shards`: the first ones have one more where it does not
 * come out even. */
uint64_t cut_share(uint64_t records, uint64_t shards, uint64_t i);

#endif
