#include "core/http/guard.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { V4_BITS = 32, V6_BITS = 128, MAPPED_BITS = 96 };
static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

const char *const http_refusal_names[] = {
    [HTTP_REFUSED_ADDRESS] = "address",   [HTTP_REFUSED_PLAIN] = "plain",
    [HTTP_REFUSED_REDIRECT] = "redirect", [HTTP_REFUSED_CERTIFICATE] = "certificate",
    [HTTP_REFUSED_CLIENT] = "client",     NULL,
};

/* ---- ranges ---- */

static bool is_v4(const uint8_t address[16])
{
    return memcmp(address, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static bool parse_address(const char *text, uint8_t out[16])
{
    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    memcpy(out, mapped_prefix, sizeof(mapped_prefix));
    return inet_pton(AF_INET, text, out + sizeof(mapped_prefix)) == 1;
}

/* Are all bits from `bits` on zero? */
static bool ends_clean(const uint8_t address[16], unsigned bits)
{
    for (unsigned i = bits; i < V6_BITS; i++)
        if (address[i / 8] & (0x80 >> i % 8))
            return false;
    return true;
}

enum err_code http_range_parse(const char *text, struct http_range *out, struct err *e)
{
    char host[HTTP_RANGE_TEXT_BYTES];
    struct http_range r = { .bits = V6_BITS };
    size_t n = strcspn(text, "/");
    int64_t bits = 0;
    if (n >= sizeof(host))
        return err_set(e, ERR_USAGE, "'%.60s...' is no address range: 10.1.0.0/16 or 2001:db8::/32 is one",
                       text);
    memcpy(host, text, n);
    host[n] = '\0';
    if (!parse_address(host, r.address))
        return err_set(e, ERR_USAGE, "'%.60s' is no address range: 10.1.0.0/16 or 2001:db8::/32 is one",
                       text);
    bool v4 = is_v4(r.address) && !strchr(host, ':');
    int64_t most = v4 ? V4_BITS : V6_BITS;
    if (text[n] == '/') {
        if (parse_i64(text + n + 1, &bits, e) || bits < 0 || bits > most)
            return err_set(e, ERR_USAGE, "'%.60s': the prefix has 0 to %d bits", text, (int)most);
        r.bits = (uint8_t)(bits + (v4 ? MAPPED_BITS : 0));
    }
    if (!ends_clean(r.address, r.bits))
        return err_set(e, ERR_USAGE,
                       "'%.60s' has bits set behind its prefix: is the address or the length wrong?", text);
    *out = r;
    return OK;
}

const char *http_range_format(const struct http_range *r, char out[HTTP_RANGE_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN];
    bool v4 = is_v4(r->address) && r->bits >= MAPPED_BITS;
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? r->address + sizeof(mapped_prefix) : r->address, host,
              sizeof(host));
    snprintf(out, HTTP_RANGE_TEXT_BYTES, "%s/%d", host, r->bits - (v4 ? MAPPED_BITS : 0));
    return out;
}

static bool in_range(const struct http_range *r, const uint8_t address[16])
{
    unsigned whole = r->bits / 8, rest = r->bits % 8;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return memcmp(r->address, address, whole) == 0 &&
           (rest == 0 || (r->address[whole] & mask) == (address[whole] & mask));
}

/* ---- addresses ---- */

static bool address_of(const struct sockaddr *a, uint8_t out[16])
{
    if (a->sa_family == AF_INET) {
        memcpy(out, mapped_prefix, sizeof(mapped_prefix));
        memcpy(out + sizeof(mapped_prefix), &((const struct sockaddr_in *)a)->sin_addr, 4);
        return true;
    }
    if (a->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
        return true;
    }
    return false;
}

static bool is_loopback(const uint8_t address[16])
{
    static const uint8_t one[16] = { [15] = 1 };
    return memcmp(address, one, sizeof(one)) == 0 || (is_v4(address) && address[12] == 127);
}

static bool allows(const struct http_guard *g, const uint8_t address[16])
{
    if (g->range_count == 0)
        return is_loopback(address);
    for (uint32_t i = 0; i < g->range_count && i < HTTP_RANGES_MAX; i++)
        if (in_range(&g->ranges[i], address))
            return true;
    return false;
}

bool http_is_loopback(const struct sockaddr *address)
{
    uint8_t bytes[16];
    return address_of(address, bytes) && is_loopback(bytes);
}

bool http_guard_allows(const struct http_guard *g, const struct sockaddr *address)
{
    uint8_t bytes[16];
    return address_of(address, bytes) && allows(g, bytes);
}

bool http_guard_allows_text(const struct http_guard *g, const char *address)
{
    uint8_t bytes[16];
    return parse_address(address, bytes) && allows(g, bytes);
}

const char *http_address_format(const struct sockaddr *address, char out[HTTP_ADDRESS_BYTES])
{
    uint8_t bytes[16];
    if (!address_of(address, bytes))
        snprintf(out, HTTP_ADDRESS_BYTES, "(address family %d)", address->sa_family);
    else if (is_v4(bytes))
        inet_ntop(AF_INET, bytes + sizeof(mapped_prefix), out, HTTP_ADDRESS_BYTES);
    else
        inet_ntop(AF_INET6, bytes, out, HTTP_ADDRESS_BYTES);
    return out;
}

/* ---- refusals ---- */

/* The process has one record of what it was refused, as it has one log: a client deep inside a store would
 * otherwise need it passed through every layer. */
static struct {
    pthread_mutex_t lock;
    http_refused_fn *fn;
    void *context;
} observer = { .lock = PTHREAD_MUTEX_INITIALIZER };
static atomic_uint_fast64_t refusal_count;

void http_on_refusal(http_refused_fn *fn, void *context)
{
    pthread_mutex_lock(&observer.lock);
    observer.fn = fn;
    observer.context = context;
    pthread_mutex_unlock(&observer.lock);
}

uint64_t http_refusals(void)
{
    return atomic_load(&refusal_count);
}

void http_refuse(const struct http_refusal *r)
{
    atomic_fetch_add(&refusal_count, 1);
    pthread_mutex_lock(&observer.lock);
    if (observer.fn)
        observer.fn(observer.context, r);
    pthread_mutex_unlock(&observer.lock);
}
