#include "core/aws/sigv4.h"

#include "base/clock.h"
#include "base/text.h"
#include "core/crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CANONICAL_BYTES_MAX = 64 * 1024, DATE_BYTES = 8, KEY_BYTES_MAX = 256 };
static const char algorithm[] = "AWS4-HMAC-SHA256";

/* ---- query ---- */

struct pair {
    struct buf name, value;
};

static int pair_order(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = strcmp(buf_text(&x->name), buf_text(&y->name));
    return order ? order : strcmp(buf_text(&x->value), buf_text(&y->value));
}

enum err_code sigv4_query(const struct sigv4_param *params, size_t count, struct buf *out, struct err *e)
{
    struct pair pairs[SIGV4_PARAMS_MAX];
    if (count > SIGV4_PARAMS_MAX)
        return err_set(e, ERR_LIMIT, "a query of %zu parameters; %d are the most", count, SIGV4_PARAMS_MAX);
    for (size_t i = 0; i < count; i++) {
        pairs[i] = (struct pair){ BUF_INIT(CANONICAL_BYTES_MAX), BUF_INIT(CANONICAL_BYTES_MAX) };
        http_encode(params[i].name, false, &pairs[i].name);
        http_encode(params[i].value, false, &pairs[i].value);
    }
    qsort(pairs, count, sizeof(pairs[0]), pair_order);
    for (size_t i = 0; i < count; i++) {
        buf_addf(out, "%s%s=%s", i ? "&" : "", buf_text(&pairs[i].name), buf_text(&pairs[i].value));
        buf_done(&pairs[i].name);
        buf_done(&pairs[i].value);
    }
    return buf_check(out, "the query", e);
}

/* ---- canonical request ---- */

struct sorted_header {
    const struct http_header *header;
};

/* Names; and headers of one name in the order that they were given in. */
static int header_order(const void *a, const void *b)
{
    const struct sorted_header *x = a, *y = b;
    int order = strcasecmp(x->header->name, y->header->name);
    return order ? order : (x->header > y->header) - (x->header < y->header);
}

static void add_lower(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_add_byte(out, (uint8_t)(*text >= 'A' && *text <= 'Z' ? *text + ('a' - 'A') : *text));
}

/* Without spaces at the ends, and one where there are several. */
static void add_folded(struct buf *out, const char *value)
{
    value += strspn(value, " ");
    for (; *value; value++) {
        bool space_follows = value[0] == ' ' && (value[1] == ' ' || value[1] == '\0');
        if (!space_follows)
            buf_add_byte(out, (uint8_t)*value);
    }
}

static bool same_as_before(const struct sorted_header *sorted, size_t i)
{
    return i > 0 && strcasecmp(sorted[i].header->name, sorted[i - 1].header->name) == 0;
}

static void add_names(struct buf *out, const struct sorted_header *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (same_as_before(sorted, i))
            continue;
        if (i)
            buf_add_byte(out, ';');
        add_lower(out, sorted[i].header->name);
    }
}

static void add_headers(struct buf *out, const struct sorted_header *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool again = same_as_before(sorted, i);
        if (!again)
            add_lower(out, sorted[i].header->name);
        buf_add_byte(out, again ? ',' : ':');
        add_folded(out, sorted[i].header->value);
        if (i + 1 == count || !same_as_before(sorted, i + 1))
            buf_add_byte(out, '\n');
    }
}

/* The last segment of out is taken back. */
static void drop_segment(struct buf *out)
{
    while (out->len > 0 && out->data[--out->len] != '/')
        continue;
}

static void normalise_path(const char *path, struct buf *out)
{
    bool ends_in_slash = true;
    while (*path) {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        bool here = n == 1 && path[0] == '.', up = n == 2 && strncmp(path, "..", 2) == 0;
        ends_in_slash = here || up || n == 0 || path[n] == '/';
        if (up)
            drop_segment(out);
        else if (n > 0 && !here) {
            buf_add_byte(out, '/');
            buf_add(out, path, n);
        }
        path += n;
    }
    if (ends_in_slash)
        buf_add_byte(out, '/');
}

static void add_path(const struct sigv4_request *q, struct buf *out)
{
    CLEANUP(buf_done) struct buf path = BUF_INIT(CANONICAL_BYTES_MAX);
    if (q->path_normalised)
        normalise_path(q->path, &path);
    else
        buf_add_text(&path, q->path);
    if (q->path_encoded_again)
        http_encode(buf_text(&path), true, out);
    else
        buf_add_text(out, buf_text(&path));
}

static void canonical_request(const struct sigv4_request *q, const struct sorted_header *sorted,
                              struct buf *out)
{
    buf_addf(out, "%s\n", q->method);
    add_path(q, out);
    buf_addf(out, "\n%s\n", q->query);
    add_headers(out, sorted, q->header_count);
    buf_add_byte(out, '\n');
    add_names(out, sorted, q->header_count);
    buf_addf(out, "\n%s", q->payload_hash);
}

/* ---- the signature ---- */

/* HMAC chain: secret, then date, region, service and "aws4_request". */
static void signing_key(const struct sigv4_request *q, const char *date, uint8_t out[SHA256_BYTES])
{
    uint8_t first[4 + KEY_BYTES_MAX] = { 'A', 'W', 'S', '4' };
    size_t n = secret_len(q->secret_key);
    memcpy(first + 4, secret_bytes(q->secret_key), n);
    hmac_sha256(first, 4 + n, date, DATE_BYTES, out);
    explicit_bzero(first, sizeof(first));
    const char *steps[] = { q->region, q->service, "aws4_request" };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        uint8_t next[SHA256_BYTES];
        hmac_sha256(out, SHA256_BYTES, steps[i], strlen(steps[i]), next);
        memcpy(out, next, sizeof(next));
        explicit_bzero(next, sizeof(next));
    }
}

static void sign_text(const uint8_t key[SHA256_BYTES], const struct buf *text, char out[SHA256_HEX_BYTES])
{
    uint8_t mac[SHA256_BYTES];
    hmac_sha256(key, SHA256_BYTES, text->data, text->len, mac);
    hex_encode(mac, sizeof(mac), out);
}

enum err_code sigv4_sign(const struct sigv4_request *q, struct buf *out, struct err *e)
{
    struct sorted_header sorted[SIGV4_HEADERS_MAX];
    CLEANUP(buf_done) struct buf canonical = BUF_INIT(CANONICAL_BYTES_MAX);
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
    char time[CLOCK_TEXT_BYTES], hash[SHA256_HEX_BYTES], signature[SHA256_HEX_BYTES];
    uint8_t key[SHA256_BYTES];
    if (q->header_count > SIGV4_HEADERS_MAX)
        return err_set(e, ERR_LIMIT, "%zu headers to sign; %d are the most", q->header_count,
                       SIGV4_HEADERS_MAX);
    if (secret_len(q->secret_key) > KEY_BYTES_MAX)
        return err_set(e, ERR_USAGE, "the secret key is longer than %d bytes", KEY_BYTES_MAX);
    for (size_t i = 0; i < q->header_count; i++)
        sorted[i].header = &q->headers[i];
    qsort(sorted, q->header_count, sizeof(sorted[0]), header_order);
    clock_format_s3(q->time_ms, time);
    canonical_request(q, sorted, &canonical);
    sha256_hex(canonical.data, canonical.len, hash);
    buf_addf(&text, "%s\n%s\n%.8s/%s/%s/aws4_request\n%s", algorithm, time, time, q->region, q->service,
             hash);
    if (buf_check(&canonical, "the request to sign", e) || buf_check(&text, "the text to sign", e))
        return e->code;
    signing_key(q, time, key);
    sign_text(key, &text, signature);
    explicit_bzero(key, sizeof(key));
    buf_addf(out, "%s Credential=%.*s/%.8s/%s/%s/aws4_request, SignedHeaders=", algorithm,
             (int)secret_len(q->access_key), (const char *)secret_bytes(q->access_key), time, q->region,
             q->service);
    add_names(out, sorted, q->header_count);
    buf_addf(out, ", Signature=%s", signature);
    return buf_check(out, "the signature", e);
}

/* ---- chunks ---- */

enum { SIGNATURE_DIGITS = 64 };
static const char chunk_mark[] = ";chunk-signature=";

static size_t chunk_frame_bytes(size_t n)
{
    char size[24];
    return (size_t)snprintf(size, sizeof(size), "%zx", n) + strlen(chunk_mark) + SIGNATURE_DIGITS + 4;
}

size_t sigv4_chunks_bytes(size_t n, size_t chunk_bytes)
{
    size_t whole = n / chunk_bytes, rest = n % chunk_bytes;
    return n + whole * chunk_frame_bytes(chunk_bytes) + (rest ? chunk_frame_bytes(rest) : 0) +
           chunk_frame_bytes(0);
}

/* `signature` is the one before, and then this one's. */
static void add_chunk(const struct sigv4_request *q, const uint8_t key[SHA256_BYTES], const void *data,
                      size_t n, char signature[SHA256_HEX_BYTES], struct buf *out)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
    char time[CLOCK_TEXT_BYTES], none[SHA256_HEX_BYTES], hash[SHA256_HEX_BYTES];
    clock_format_s3(q->time_ms, time);
    sha256_hex("", 0, none);
    sha256_hex(data, n, hash);
    buf_addf(&text, "%s-PAYLOAD\n%s\n%.8s/%s/%s/aws4_request\n%s\n%s\n%s", algorithm, time, time, q->region,
             q->service, signature, none, hash);
    sign_text(key, &text, signature);
    buf_addf(out, "%zx%s%s\r\n", n, chunk_mark, signature);
    buf_add(out, data, n);
    buf_add_text(out, "\r\n");
}

enum err_code sigv4_chunks(const struct sigv4_request *q, const char *authorization, const void *data,
                           size_t n, size_t chunk_bytes, struct buf *out, struct err *e)
{
    static const char mark[] = "Signature=";
    char time[CLOCK_TEXT_BYTES], signature[SHA256_HEX_BYTES];
    uint8_t key[SHA256_BYTES];
    const char *seed = strstr(authorization, mark);
    invariant(seed && strlen(seed) == strlen(mark) + SIGNATURE_DIGITS);
    memcpy(signature, seed + strlen(mark), sizeof(signature));
    signing_key(q, clock_format_s3(q->time_ms, time), key);
    for (size_t at = 0; at < n; at += chunk_bytes)
        add_chunk(q, key, (const uint8_t *)data + at, MIN(chunk_bytes, n - at), signature, out);
    add_chunk(q, key, "", 0, signature, out);
    explicit_bzero(key, sizeof(key));
    return buf_check(out, "a body in chunks", e);
}
