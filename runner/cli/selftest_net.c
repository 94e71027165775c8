/* Acts on an endpoint, and on our own client before servers that no one should talk to. */
#include "runner/cli/selftest.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/trap.h"
#include "core/http/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ORIGIN_BYTES = 300, PATIENCE_MS = 3000, ANSWER_BYTES = 64 * 1024, PEM_BYTES = 16 * 1024 };

static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/* ---- asking ---- */

/* One GET of "/"; *out_status where there was an answer. */
static enum err_code get_with(const struct http_options *o, int *out_status, struct err *e)
{
    CLEANUP(http_closep) struct http_client *c = NULL;
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ANSWER_BYTES);
    if (http_open(o, &c, e) || http_do(c, &(struct http_request){ .method = "GET", .target = "/" }, &r, e))
        return e->code;
    *out_status = r.status;
    return OK;
}

static enum err_code get(const char *origin, const char *ca_file, const struct http_guard *guard,
                         int *out_status, struct err *e)
{
    const struct http_options o = { .origin = origin,
                                    .ca_file = ca_file,
                                    .guard = guard,
                                    .connect_timeout_ms = PATIENCE_MS,
                                    .request_timeout_ms = PATIENCE_MS };
    return get_with(&o, out_status, e);
}

static bool was_refused(const struct selftest *t, enum http_refusal_kind kind)
{
    return t->refused_count > 0 && t->refused_kind == kind;
}

/* ---- an endpoint ---- */

struct endpoint {
    struct selftest *t;
    struct store_place place;
    const struct store_session *credentials;
    bool tls;
};

static enum err_code ask_as(const struct endpoint *p, const struct store_place *as, struct s3_said *out,
                            struct err *e)
{
    CLEANUP(s3_probe_closep) struct s3_probe *probe = NULL;
    const struct store_credentials lent = store_lend(p->credentials);
    if (s3_probe_open(as, &lent, &probe, e))
        return e->code;
    return s3_probe_location(probe, out, e);
}

/* As the cluster itself would, and any answer will do. */
static enum err_code ask_plainly(const struct endpoint *p, int *out_status, struct err *e)
{
    const struct store_place *at = &p->place;
    const struct http_options o = { .origin = at->endpoint,
                                    .ca_file = at->ca_file[0] ? at->ca_file : NULL,
                                    .cert_file = at->cert_file[0] ? at->cert_file : NULL,
                                    .key_file = at->key_file[0] ? at->key_file : NULL,
                                    .guard = &at->guard,
                                    .connect_timeout_ms = PATIENCE_MS,
                                    .request_timeout_ms = PATIENCE_MS };
    return get_with(&o, out_status, e);
}

/* A server that is away refuses nothing. */
static bool answers(const struct endpoint *p)
{
    struct err ignored = ERR_INIT;
    int status = 0;
    return ask_plainly(p, &status, &ignored) == OK;
}

/* The same host and port without TLS. */
static void try_plain(const struct endpoint *p, struct selftest_row *r)
{
    char origin[ORIGIN_BYTES];
    struct err e = ERR_INIT;
    int status = 0;
    if (!p->tls) {
        selftest_says(r, SELFTEST_NONE, "", "the endpoint is plain HTTP, on this machine alone");
        return;
    }
    snprintf(origin, sizeof(origin), "http://%s", p->place.endpoint + strlen("https://"));
    enum err_code code = get(origin, NULL, &p->place.guard, &status, &e);
    if (code == ERR_DENIED)
        selftest_says(r, SELFTEST_REFUSED, e.text, "not sent");
    else if (code && answers(p))
        selftest_says(r, SELFTEST_REFUSED, e.text, "no plain HTTP is spoken there");
    else if (code)
        selftest_says(r, SELFTEST_UNTRIED, e.text, "the endpoint does not answer");
    else if (status >= 400)
        selftest_says(r, SELFTEST_REFUSED, "on this machine itself our client would", "answered by HTTP %d",
                      status);
    else
        selftest_says(r, SELFTEST_ALLOWED, origin, "answered by HTTP %d, without TLS", status);
}

/* Addresses that are nobody's (RFC 5737, 3849): where the guard lets one through, it lets anyone. */
static void try_outside(const struct endpoint *p, struct selftest_row *r)
{
    static const char *const outside[] = { "https://192.0.2.1", "https://203.0.113.1",
                                           "https://[2001:db8::1]" };
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        struct err e = ERR_INIT;
        int status = 0;
        p->t->refused_count = 0;
        enum err_code code = get(outside[i], NULL, &p->place.guard, &status, &e);
        if (code != ERR_DENIED || !was_refused(p->t, HTTP_REFUSED_ADDRESS)) {
            selftest_says(r, SELFTEST_ALLOWED, e.text, "the guard lets %s through", outside[i]);
            return;
        }
    }
    selftest_says(r, SELFTEST_REFUSED, "192.0.2.1, 203.0.113.1, 2001:db8::1", "no socket was opened");
}

static void judge_certificate(const struct selftest *t, struct selftest_row *r, enum err_code code,
                              const struct err *e, int requests)
{
    if (code == OK || requests > 0)
        selftest_says(r, SELFTEST_ALLOWED, e->text, "a request was sent");
    else if (code == ERR_DENIED && was_refused(t, HTTP_REFUSED_CERTIFICATE))
        selftest_says(r, SELFTEST_REFUSED, e->text, "the certificate was not believed");
    else
        selftest_says(r, SELFTEST_UNTRIED, e->text, "no certificate was seen");
}

/* The endpoint's own certificate, by an authority that never signed it. */
static void try_authority(const struct endpoint *p, struct selftest_row *r)
{
    CLEANUP(trap_stopp) struct trap *stranger = NULL;
    CLEANUP(freep) char *file = NULL;
    struct http_guard guard = p->place.guard;
    struct err e = ERR_INIT;
    int status = 0;
    if (!p->tls) {
        selftest_says(r, SELFTEST_NONE, "", "no TLS");
        return;
    }
    if (trap_start(TRAP_GOOD, fine, &stranger, &e) ||
        !(file = selftest_file(p->t, "authority.pem", trap_authority(stranger), &e))) {
        selftest_says(r, SELFTEST_UNTRIED, e.text, "no other authority could be made");
        return;
    }
    guard.pin[0] = '\0';
    enum err_code code = get(p->place.endpoint, file, &guard, &status, &e);
    judge_certificate(p->t, r, code, &e, 0);
}

/* With the wrong papers; the right ones must be known to work. */
static void judge_papers(const struct endpoint *p, struct selftest_row *r, const struct store_place *as)
{
    struct s3_said said = { .status = 0 };
    struct err e = ERR_INIT;
    if (ask_as(p, &p->place, &said, &e) || !s3_said_yes(&said)) {
        selftest_says(r, SELFTEST_UNTRIED, e.code ? e.text : said.text, "with the right one it fails, too");
        return;
    }
    enum err_code code = ask_as(p, as, &said, &e);
    if (code == ERR_RETRY)
        selftest_says(r, SELFTEST_REFUSED, e.text, "the connection was ended");
    else if (code == ERR_DENIED)
        selftest_says(r, SELFTEST_REFUSED, e.text, "refused in the handshake");
    else if (code)
        selftest_says(r, SELFTEST_UNTRIED, e.text, "it could not be shown");
    else if (s3_said_yes(&said))
        selftest_says(r, SELFTEST_ALLOWED, said.text, "answered all the same");
    else
        selftest_says(r, SELFTEST_REFUSED, said.text, "HTTP %d", said.status);
}

static void try_no_papers(const struct endpoint *p, struct selftest_row *r)
{
    struct store_place as = p->place;
    if (!as.cert_file[0]) {
        selftest_says(r, SELFTEST_NONE, "", "the store is configured without a client certificate");
        return;
    }
    as.cert_file[0] = as.key_file[0] = '\0';
    judge_papers(p, r, &as);
}

static enum err_code take_stranger(const struct endpoint *p, struct store_place *as, struct err *e)
{
    CLEANUP(buf_done) struct buf certificate = BUF_INIT(PEM_BYTES);
    CLEANUP(buf_wipe) struct buf key = BUF_INIT(PEM_BYTES);
    if (trap_stranger(&certificate, &key, e))
        return e->code;
    CLEANUP(freep) char *certificate_file = selftest_file(p->t, "stranger.pem", buf_text(&certificate), e);
    CLEANUP(freep)
    char *key_file = certificate_file ? selftest_file(p->t, "stranger.key", buf_text(&key), e) : NULL;
    if (!key_file || text_copy(as->cert_file, sizeof(as->cert_file), certificate_file, "path", e) ||
        text_copy(as->key_file, sizeof(as->key_file), key_file, "path", e))
        return e->code;
    return OK;
}

static void try_wrong_papers(const struct endpoint *p, struct selftest_row *r)
{
    struct store_place as = p->place;
    struct err e = ERR_INIT;
    if (!as.cert_file[0])
        selftest_says(r, SELFTEST_NONE, "", "the store is configured without a client certificate");
    else if (take_stranger(p, &as, &e))
        selftest_says(r, SELFTEST_UNTRIED, e.text, "no certificate could be made");
    else
        judge_papers(p, r, &as);
}

/* ---- proxies ---- */

static const char *const proxy_names[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                           "ALL_PROXY" };
struct environment {
    char *before[ARRAY_LEN(proxy_names)]; /* owned; NULL: not set */
};

static void set_proxy(struct environment *kept, const char *proxy)
{
    for (size_t i = 0; i < ARRAY_LEN(proxy_names); i++) {
        const char *value = getenv(proxy_names[i]);
        kept->before[i] = value ? mem_text(value) : NULL;
        setenv(proxy_names[i], proxy, 1);
    }
}

static void unset_proxy(struct environment *kept)
{
    for (size_t i = 0; i < ARRAY_LEN(proxy_names); i++) {
        if (kept->before[i])
            setenv(proxy_names[i], kept->before[i], 1);
        else
            unsetenv(proxy_names[i]);
        free(kept->before[i]);
    }
}

static void try_proxy(const struct endpoint *p, struct selftest_row *r)
{
    CLEANUP(trap_stopp) struct trap *proxy = NULL;
    struct environment kept;
    struct err e = ERR_INIT;
    char origin[ORIGIN_BYTES];
    int status = 0;
    if (trap_start(TRAP_PLAIN, fine, &proxy, &e)) {
        selftest_says(r, SELFTEST_UNTRIED, e.text, "no proxy could be made");
        return;
    }
    snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", trap_port(proxy));
    set_proxy(&kept, origin);
    enum err_code code = ask_plainly(p, &status, &e);
    unset_proxy(&kept);
    if (trap_seen(proxy).connections > 0)
        selftest_says(r, SELFTEST_ALLOWED, origin, "the proxy was connected to");
    else if (code)
        selftest_says(r, SELFTEST_UNTRIED, e.text, "the endpoint does not answer");
    else
        selftest_says(r, SELFTEST_REFUSED, origin,
                      "the proxy saw no connection; the endpoint answered HTTP %d", status);
}

static const struct endpoint_act {
    const char *name, *expected;
    void (*run)(const struct endpoint *p, struct selftest_row *r);
    bool of_stores; /* makes calls that only a store understands */
} endpoint_acts[] = {
    { "plain HTTP", "refused", try_plain, false },
    { "address outside the ranges", "no socket", try_outside, false },
    { "certificate of another authority", "refused", try_authority, false },
    { "no client certificate", "refused", try_no_papers, true },
    { "wrong client certificate", "refused", try_wrong_papers, true },
    { "proxy in the environment", "not used", try_proxy, false },
};

static void try_endpoint(const struct endpoint *p, bool store, const struct err *problem)
{
    for (size_t i = 0; i < ARRAY_LEN(endpoint_acts); i++) {
        const struct endpoint_act *act = &endpoint_acts[i];
        if (act->of_stores && !store)
            continue;
        struct selftest_row *r = selftest_row(p->t, act->name, act->expected, p->place.endpoint);
        if (problem->code)
            selftest_says(r, SELFTEST_UNTRIED, problem->text, "the store is not configured well");
        else
            act->run(p, r);
    }
}

void selftest_place(struct selftest *t, const struct store_place *place,
                    const struct store_session *credentials, const struct err *problem)
{
    const struct endpoint p = {
        .t = t, .place = *place, .credentials = credentials, .tls = text_starts(place->endpoint, "https://")
    };
    try_endpoint(&p, true, problem);
}

void selftest_endpoint(struct selftest *t, const char *bucket)
{
    CLEANUP(store_session_done) struct store_session own = { .access_key = NULL };
    struct store_place place = { .kind = STORE_S3 };
    struct err problem = ERR_INIT;
    if (cluster_place(t->cluster, bucket, &place, &problem) == OK)
        IGNORE(cluster_credentials(t->cluster, bucket, &own, &problem));
    if (place.kind == STORE_S3) /* a folder has no endpoint */
        selftest_place(t, &place, &own, &problem);
}

void selftest_key_service(struct selftest *t)
{
    const struct keys_config *k = &t->cluster->keys;
    struct endpoint p = { .t = t, .tls = text_starts(k->endpoint, "https://") };
    struct err problem = ERR_INIT;
    if (k->provider != KEYS_KMS)
        return;
    p.place.guard = k->guard;
    if (text_copy(p.place.endpoint, sizeof(p.place.endpoint), k->endpoint, "keys.endpoint", &problem) ||
        text_copy(p.place.ca_file, sizeof(p.place.ca_file), k->ca_file, "keys.ca_file", &problem) ||
        text_copy(p.place.cert_file, sizeof(p.place.cert_file), k->cert_file, "keys.cert_file", &problem))
        return;
    IGNORE(text_copy(p.place.key_file, sizeof(p.place.key_file), k->key_file, "keys.key_file", &problem));
    try_endpoint(&p, false, &problem);
}

/* ---- our own client ---- */

static void try_redirect(struct selftest *t, struct selftest_row *r)
{
    CLEANUP(trap_stopp) struct trap *target = NULL;
    CLEANUP(trap_stopp) struct trap *server = NULL;
    CLEANUP(freep) char *answer = NULL;
    struct err e = ERR_INIT;
    char origin[ORIGIN_BYTES];
    int status = 0;
    if (trap_start(TRAP_PLAIN, fine, &target, &e) == OK) {
        answer = mem_printf("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:%d/\r\n"
                            "Content-Length: 0\r\nConnection: close\r\n\r\n",
                            trap_port(target));
        IGNORE(trap_start(TRAP_PLAIN, answer, &server, &e));
    }
    if (e.code) {
        selftest_says(r, SELFTEST_UNTRIED, e.text, "no server could be made");
        return;
    }
    snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", trap_port(server));
    enum err_code code = get(origin, NULL, NULL, &status, &e);
    if (trap_seen(target).connections > 0 || code == OK)
        selftest_says(r, SELFTEST_ALLOWED, e.text, "it was followed");
    else if (code == ERR_DENIED && was_refused(t, HTTP_REFUSED_REDIRECT))
        selftest_says(r, SELFTEST_REFUSED, e.text, "its target saw no connection");
    else
        selftest_says(r, SELFTEST_UNTRIED, e.text, "our own server was not reached");
}

/* A name that leads elsewhere than the ranges say: "localhost", and ranges without loopback. */
static void try_name(struct selftest *t, struct selftest_row *r)
{
    CLEANUP(trap_stopp) struct trap *server = NULL;
    struct http_guard guard = { .range_count = 1 };
    struct err e = ERR_INIT;
    char origin[ORIGIN_BYTES];
    int status = 0;
    if (http_range_parse("192.0.2.0/24", &guard.ranges[0], &e) || trap_start(TRAP_PLAIN, fine, &server, &e)) {
        selftest_says(r, SELFTEST_UNTRIED, e.text, "no server could be made");
        return;
    }
    snprintf(origin, sizeof(origin), "http://localhost:%d", trap_port(server));
    enum err_code code = get(origin, NULL, &guard, &status, &e);
    if (trap_seen(server).connections > 0 || code == OK)
        selftest_says(r, SELFTEST_ALLOWED, e.text, "it was connected to");
    else if (code == ERR_DENIED && was_refused(t, HTTP_REFUSED_ADDRESS))
        selftest_says(r, SELFTEST_REFUSED, e.text, "the server there saw no connection");
    else
        selftest_says(r, SELFTEST_UNTRIED, e.text, "the name localhost leads nowhere");
}

static void try_trap(struct selftest *t, struct selftest_row *r, enum trap_kind kind)
{
    CLEANUP(trap_stopp) struct trap *server = NULL;
    CLEANUP(freep) char *file = NULL;
    struct err e = ERR_INIT;
    char origin[ORIGIN_BYTES];
    int status = 0;
    if (trap_start(kind, fine, &server, &e) ||
        !(file = selftest_file(t, "authority.pem", trap_authority(server), &e))) {
        selftest_says(r, SELFTEST_UNTRIED, e.text, "no server could be made");
        return;
    }
    snprintf(origin, sizeof(origin), "https://127.0.0.1:%d", trap_port(server));
    enum err_code code = get(origin, file, NULL, &status, &e);
    const struct trap_seen seen = trap_seen(server);
    if (kind == TRAP_GOOD && code == OK && seen.requests == 1)
        selftest_says(r, SELFTEST_REFUSED, "so the ones below are refused for what is wrong with them",
                      "spoken to");
    else if (kind == TRAP_GOOD)
        selftest_says(r, SELFTEST_UNTRIED, e.text, "not spoken to: the rows below prove nothing");
    else if (kind == TRAP_OLD_TLS && code && seen.connections > 0 && seen.handshakes == 0)
        selftest_says(r, SELFTEST_REFUSED, e.text, "no handshake came about");
    else
        judge_certificate(t, r, code, &e, seen.requests);
}

static void try_good(struct selftest *t, struct selftest_row *r)
{
    try_trap(t, r, TRAP_GOOD);
}

static void try_expired(struct selftest *t, struct selftest_row *r)
{
    try_trap(t, r, TRAP_EXPIRED);
}

static void try_other_name(struct selftest *t, struct selftest_row *r)
{
    try_trap(t, r, TRAP_OTHER_NAME);
}

static void try_forged(struct selftest *t, struct selftest_row *r)
{
    try_trap(t, r, TRAP_OTHER_AUTHORITY);
}

static void try_old_tls(struct selftest *t, struct selftest_row *r)
{
    try_trap(t, r, TRAP_OLD_TLS);
}

/* ---- configuration and keys ---- */

/* Left out, a region would silently be one on another continent. */
static void try_no_region(struct selftest *t, struct selftest_row *r)
{
    CLEANUP(secret_freep) struct secret *key = secret_new("selftest", strlen("selftest"));
    CLEANUP(s3_probe_closep) struct s3_probe *probe = NULL;
    const struct store_place place = { .kind = STORE_S3,
                                       .bucket = "selftest",
                                       .endpoint = "http://127.0.0.1:9" };
    const struct store_credentials lent = { .access_key = key, .secret_key = key };
    struct err e = ERR_INIT;
    (void)t;
    if (s3_probe_open(&place, &lent, &probe, &e) == ERR_USAGE)
        selftest_says(r, SELFTEST_REFUSED, e.text, "no store without a region");
    else
        selftest_says(r, SELFTEST_ALLOWED, e.text, "a store without a region was opened");
}

static void try_unlisted(struct selftest *t, struct selftest_row *r)
{
    struct store_place place;
    struct err e = ERR_INIT;
    if (cluster_place(t->cluster, "sovrun-selftest-nobodys", &place, &e) == ERR_DENIED)
        selftest_says(r, SELFTEST_REFUSED, e.text, "denied");
    else
        selftest_says(r, SELFTEST_ALLOWED, e.text, "it was found");
}

static void try_foreign_key(struct selftest *t, struct selftest_row *r)
{
    static const char foreign[] = "arn:aws:kms:us-east-1:111122223333:key/5e1f7e57";
    CLEANUP(keys_closep) struct keys *keys = NULL;
    CLEANUP(secret_freep) struct secret *made = NULL;
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    const struct keys_context context = { .pair = { { "cluster", t->cluster->name } }, .count = 1 };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < t->cluster->keys.arn_count; i++)
        if (keys_arn_fits(t->cluster->keys.arns[i], foreign)) {
            selftest_says(r, SELFTEST_ALLOWED, t->cluster->keys.arns[i], "the pattern takes %s", foreign);
            return;
        }
    if (cluster_open_keys(t->cluster, &keys, &e))
        selftest_says(r, SELFTEST_UNTRIED, e.text, "the key provider does not open");
    else if (keys_generate(keys, foreign, &context, &made, &wrapped, &e) == OK)
        selftest_says(r, SELFTEST_ALLOWED, foreign, "a data key was wrapped by it");
    else if (e.code == ERR_RETRY)
        selftest_says(r, SELFTEST_UNTRIED, e.text, "the key provider does not answer");
    else
        selftest_says(r, SELFTEST_REFUSED, e.text, "%s", err_name(e.code));
}

static const struct client_act {
    const char *name, *place, *expected;
    void (*run)(struct selftest *t, struct selftest_row *r);
} client_acts[] = {
    { "redirect to another host", "own server", "not followed", try_redirect },
    { "name that leads outside the ranges", "own server", "no socket", try_name },
    { "good certificate (to compare)", "own server", "spoken to", try_good },
    { "expired certificate", "own server", "refused", try_expired },
    { "certificate for another name", "own server", "refused", try_other_name },
    { "forged certificate", "own server", "refused", try_forged },
    { "TLS 1.1", "own server", "refused", try_old_tls },
    { "store without a region", "configuration", "refused", try_no_region },
    { "bucket that the cluster does not name", "configuration", "denied", try_unlisted },
    { "key of another account and region", "key provider", "refused", try_foreign_key },
};

void selftest_client(struct selftest *t)
{
    for (size_t i = 0; i < ARRAY_LEN(client_acts); i++)
        client_acts[i].run(t, selftest_row(t, client_acts[i].name, client_acts[i].expected,
                                           client_acts[i].place));
}
