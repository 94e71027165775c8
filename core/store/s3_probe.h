/*
 * s3_probe.h - raw calls to an S3 service that store.h would not make: for `sovrun policy selftest` alone.
 *
 * The store's own operations refuse by themselves what they know to be forbidden (shortening a retention,
 * say). That proves nothing about the service. A probe asks the service, once, without retries, and hands
 * back what it said.
 *
 * Each call returns OK where there was an answer, whatever it was; errors are those of http_do(): no answer,
 * or one that the guard refused. Threads: one probe, one thread.
 */
#ifndef CORE_STORE_S3_PROBE_H
#define CORE_STORE_S3_PROBE_H

#include "core/store/store.h"

struct s3_probe;
enum err_code s3_probe_open(const struct store_place *place, const struct store_credentials *credentials,
                            struct s3_probe **out, struct err *e);
void s3_probe_close(struct s3_probe *p);
DEFINE_CLEANUP_PTR(struct s3_probe, s3_probe_close)

struct s3_said {
    int status;
    char code[64];                     /* S3's own, "" for none */
    char text[ERR_TEXT_BYTES];         /* status, code, message and request id, for evidence */
    char version[STORE_VERSION_BYTES]; /* of what was put; "" for none */
    int64_t date_ms;                   /* the service's clock; 0 where it did not tell */
};
static inline bool s3_said_yes(const struct s3_said *said)
{
    return said->status >= 200 && said->status <= 299;
}

/* Remove a version; `bypass` asks to get round GOVERNANCE. */
enum err_code s3_probe_delete(struct s3_probe *p, const char *key, const char *version, bool bypass,
                              struct s3_said *out, struct err *e);
enum err_code s3_probe_retain(struct s3_probe *p, const char *key, const char *version,
                              enum store_lock_mode mode, int64_t until_ms, bool bypass, struct s3_said *out,
                              struct err *e);
/* `lock` NULL: without a word about locks. `if_absent`: "If-None-Match: *". */
enum err_code s3_probe_put(struct s3_probe *p, const char *key, const void *data, size_t n,
                           const struct store_lock *lock, bool if_absent, struct s3_said *out, struct err *e);
/* Server-side copy of "BUCKET/KEY", wherever that lies, to our `key`. */
enum err_code s3_probe_copy(struct s3_probe *p, const char *source, const char *key, struct s3_said *out,
                            struct err *e);
/* As two parts, with the lock in the headers of the upload's beginning and nothing done about it afterwards.
 */
enum err_code s3_probe_put_parts(struct s3_probe *p, const char *key, const struct store_lock *lock,
                                 struct s3_said *out, struct err *e);
enum err_code s3_probe_location(struct s3_probe *p, struct s3_said *out, struct err *e);

#endif
