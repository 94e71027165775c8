/*
 * ledger_format.h - inside core/ledger: the names, heads and segments as they lie in the store.
 *
 * Pure functions of bytes: no store, no clock. What they refuse they name, so that writer and verifier say
 * the same.
 */
#ifndef CORE_LEDGER_LEDGER_FORMAT_H
#define CORE_LEDGER_LEDGER_FORMAT_H

#include "core/ledger/ledger.h"

enum {
    LEDGER_SEGMENT_BYTES_MAX = LEDGER_BATCH_MAX * (LEDGER_RECORD_BYTES_MAX + 1),
    LEDGER_HEAD_BYTES_MAX = 16 * 1024,
    LEDGER_WHY_BYTES = 256,
};
extern const char ledger_no_hash[SHA256_HEX_BYTES]; /* what the first record builds on */

/* ---- names ---- */

enum ledger_kind { LEDGER_SEGMENT, LEDGER_HEAD };
/* With a slash last. */
void ledger_folder(const char *prefix, enum ledger_kind kind, char out[STORE_KEY_BYTES]);
void ledger_key(const char *prefix, enum ledger_kind kind, int64_t seq, int64_t token,
                char out[STORE_KEY_BYTES]);
/* The name behind the folder; false where it is none that ledger_key() makes. */
bool ledger_name_parse(enum ledger_kind kind, const char *name, int64_t *out_seq, int64_t *out_token);

/* ---- heads ---- */

struct ledger_signed {
    int64_t first, seq; /* its segment's records */
    int64_t token;
    char hash[SHA256_HEX_BYTES]; /* of record `seq` */
    char prev[SHA256_HEX_BYTES]; /* of record `first` - 1 */
};
enum err_code ledger_head_write(const struct ledger_signed *h, const char *cluster, int64_t wall_ms,
                                const struct signer *signer, struct buf *out, struct err *e);

/* ERR_CORRUPT unless every byte is as ledger_head_write() puts it under one of the keys, for this cluster and
 * the key that says (seq, token). */
enum err_code ledger_head_read(const void *bytes, size_t n, const char *cluster, int64_t seq, int64_t token,
                               const uint8_t (*keys)[SIGN_PUBLIC_BYTES], size_t count,
                               struct ledger_signed *out, struct err *e);
/* Its payload alone, once the signature is known to be good. */
enum err_code ledger_head_parse(const void *payload, size_t n, const char *cluster, struct ledger_signed *out,
                                struct err *e);

/* ---- segments ---- */

struct ledger_line {
    const char *text; /* borrowed from the segment's bytes; no newline, no NUL */
    size_t n;
    char hash[SHA256_HEX_BYTES];
};

struct ledger_segment {
    struct ledger_line line[LEDGER_BATCH_MAX + 1]; /* one more shows that there are too many */
    size_t count;
};

struct ledger_fault {
    int64_t seq; /* of the bad record; 0 where it is not in one */
    char why[LEDGER_WHY_BYTES];
};

/* Cuts the bytes into lines and proves each to be the record that the head has signed: the last by the head's
 * hash, each before it by the `prev` of the proven one behind it. False, and the fault, where that fails. */
bool ledger_segment_check(const struct buf *bytes, const struct ledger_signed *head,
                          struct ledger_segment *out, struct ledger_fault *fault);

/* A record of a checked segment, parsed. */
enum err_code ledger_record_parse(const struct ledger_line *line, json_t **out, struct err *e);

#endif
