#include "core/crypto/trap.h"

#include "base/mem.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { PEM_BYTES_MAX = 16 * 1024, HEAD_BYTES_MAX = 64 * 1024, READ_S = 3, DAY_S = 24 * 3600, BACKLOG = 16 };

struct trap {
    enum trap_kind kind;
    const char *answer;
    int listen_fd, quit_fd, port;
    struct buf authority;
    SSL_CTX *tls; /* NULL: plain */
    pthread_t thread;
    bool running;
    atomic_int connections, handshakes, requests;
};

static void key_free(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void certificate_free(X509 **certificate)
{
    X509_free(*certificate);
}

static void bio_free(BIO **bio)
{
    BIO_free_all(*bio);
}

/* ---- certificates ---- */

struct wanted {
    const char *common_name, *names; /* NULL: no SAN */
    bool is_authority;
    long from_s, to_s; /* from now */
};

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool good = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

/* Signed by `issuer` with its key; by itself where that is NULL. */
static X509 *make_certificate(const struct wanted *w, EVP_PKEY *key, const X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *c = X509_new();
    X509_NAME *name = c ? X509_get_subject_name(c) : NULL;
    bool good = c && X509_set_version(c, X509_VERSION_3) == 1 &&
                ASN1_INTEGER_set(X509_get_serialNumber(c), w->is_authority ? 1 : 2) == 1 &&
                X509_gmtime_adj(X509_getm_notBefore(c), w->from_s) &&
                X509_gmtime_adj(X509_getm_notAfter(c), w->to_s) && X509_set_pubkey(c, key) == 1 &&
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)w->common_name,
                                           -1, -1, 0) == 1 &&
                X509_set_issuer_name(c, issuer ? X509_get_subject_name(issuer) : name) == 1 &&
                add_extension(c, NID_basic_constraints, w->is_authority ? "critical,CA:TRUE" : "CA:FALSE") &&
                (!w->names || add_extension(c, NID_subject_alt_name, w->names)) &&
                X509_sign(c, issuer_key, EVP_sha256()) > 0;
    if (good)
        return c;
    X509_free(c);
    return NULL;
}

static bool certificate_pem(X509 *certificate, struct buf *out)
{
    CLEANUP(bio_free) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio || PEM_write_bio_X509(bio, certificate) != 1)
        return false;
    long n = BIO_get_mem_data(bio, &text);
    buf_add(out, text, (size_t)MAX(n, 0L));
    return !out->full;
}

static bool key_pem(EVP_PKEY *key, struct buf *out)
{
    CLEANUP(bio_free) BIO *bio = BIO_new(BIO_s_secmem());
    char *text = NULL;
    if (!bio || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        return false;
    long n = BIO_get_mem_data(bio, &text);
    buf_add(out, text, (size_t)MAX(n, 0L));
    return !out->full;
}

static enum err_code openssl_failed(const char *what, struct err *e)
{
    ERR_clear_error();
    return err_set(e, ERR_IO, "OpenSSL cannot make %s", what);
}

enum err_code trap_stranger(struct buf *out_certificate, struct buf *out_key, struct err *e)
{
    static const struct wanted stranger = { "stranger", NULL, false, -DAY_S, DAY_S };
    CLEANUP(key_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(certificate_free) X509 *c = key ? make_certificate(&stranger, key, NULL, key) : NULL;
    if (!c || !certificate_pem(c, out_certificate) || !key_pem(key, out_key))
        return openssl_failed("a client certificate", e);
    return OK;
}

/* ---- the server ---- */

static struct wanted wanted_of(enum trap_kind kind)
{
    static const char here[] = "IP:127.0.0.1,DNS:localhost", elsewhere[] = "DNS:elsewhere.invalid";
    struct wanted w = { "trap", kind == TRAP_OTHER_NAME ? elsewhere : here, false, -DAY_S, DAY_S };
    if (kind == TRAP_EXPIRED) {
        w.from_s = -2L * DAY_S;
        w.to_s = -DAY_S;
    }
    return w;
}

static bool use_old_tls(SSL_CTX *tls)
{
    return SSL_CTX_set_min_proto_version(tls, TLS1_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(tls, TLS1_1_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(tls, "DEFAULT:@SECLEVEL=0") == 1;
}

static bool make_tls(struct trap *t)
{
    static const struct wanted root = { "trap authority", NULL, true, -3L * DAY_S, DAY_S };
    const struct wanted leaf = wanted_of(t->kind);
    CLEANUP(key_free) EVP_PKEY *root_key = EVP_EC_gen("P-256");
    CLEANUP(key_free) EVP_PKEY *other_key = EVP_EC_gen("P-256");
    CLEANUP(key_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!root_key || !other_key || !key)
        return false;
    CLEANUP(certificate_free) X509 *authority = make_certificate(&root, root_key, NULL, root_key);
    EVP_PKEY *signing = t->kind == TRAP_OTHER_AUTHORITY ? other_key : root_key;
    CLEANUP(certificate_free) X509 *c = authority ? make_certificate(&leaf, key, authority, signing) : NULL;
    t->tls = SSL_CTX_new(TLS_server_method());
    return c && t->tls && certificate_pem(authority, &t->authority) &&
           SSL_CTX_use_certificate(t->tls, c) == 1 && SSL_CTX_use_PrivateKey(t->tls, key) == 1 &&
           (t->kind != TRAP_OLD_TLS || use_old_tls(t->tls));
}

/* The head, or what comes of it; true where at least a byte came. */
static bool read_head(SSL *ssl, int fd)
{
    char head[HEAD_BYTES_MAX];
    size_t n = 0;
    while (n + 1 < sizeof(head)) {
        const size_t room = sizeof(head) - 1 - n;
        ssize_t got = ssl ? SSL_read(ssl, head + n, (int)room) : recv(fd, head + n, room, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
        head[n] = '\0';
        if (strstr(head, "\r\n\r\n"))
            break;
    }
    return n > 0;
}

static void serve_one(struct trap *t, int fd)
{
    SSL *ssl = NULL;
    const struct timeval patience = { .tv_sec = READ_S };
    atomic_fetch_add(&t->connections, 1);
    IGNORE(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0);
    if (t->tls) {
        ssl = SSL_new(t->tls);
        if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_accept(ssl) != 1) {
            SSL_free(ssl);
            ERR_clear_error();
            return;
        }
        atomic_fetch_add(&t->handshakes, 1);
    }
    if (read_head(ssl, fd)) {
        const size_t n = strlen(t->answer);
        atomic_fetch_add(&t->requests, 1);
        if (ssl)
            IGNORE(SSL_write(ssl, t->answer, (int)n) <= 0);
        else
            IGNORE(send(fd, t->answer, n, MSG_NOSIGNAL) < 0);
    }
    if (ssl)
        SSL_shutdown(ssl);
    SSL_free(ssl);
    ERR_clear_error();
}

static void *run(void *arg)
{
    struct trap *t = arg;
    for (;;) {
        struct pollfd fds[] = { { .fd = t->quit_fd, .events = POLLIN },
                                { .fd = t->listen_fd, .events = POLLIN } };
        if (poll(fds, ARRAY_LEN(fds), -1) <= 0)
            continue;
        if (fds[0].revents)
            return NULL;
        CLEANUP(fd_closep) int fd = accept4(t->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            serve_one(t, fd);
    }
}

static enum err_code listen_here(struct trap *t, struct err *e)
{
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(here);
    t->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (t->listen_fd < 0 || bind(t->listen_fd, (struct sockaddr *)&here, sizeof(here)) != 0 ||
        listen(t->listen_fd, BACKLOG) != 0 || getsockname(t->listen_fd, (struct sockaddr *)&here, &n) != 0)
        return err_errno(e, "listen on loopback");
    t->port = ntohs(here.sin_port);
    return OK;
}

enum err_code trap_start(enum trap_kind kind, const char *answer, struct trap **out, struct err *e)
{
    CLEANUP(trap_stopp) struct trap *t = mem_new(sizeof(*t));
    t->kind = kind;
    t->answer = answer;
    t->listen_fd = -1;
    t->authority = (struct buf)BUF_INIT(PEM_BYTES_MAX);
    t->quit_fd = eventfd(0, EFD_CLOEXEC);
    if (t->quit_fd < 0)
        return err_errno(e, "eventfd");
    if (listen_here(t, e))
        return e->code;
    if (kind != TRAP_PLAIN && !make_tls(t))
        return openssl_failed("a server's certificate", e);
    if (pthread_create(&t->thread, NULL, run, t) != 0)
        return err_set(e, ERR_IO, "no thread for a listener");
    t->running = true;
    *out = TAKE(t);
    return OK;
}

void trap_stop(struct trap *t)
{
    if (!t)
        return;
    if (t->running) {
        invariant(eventfd_write(t->quit_fd, 1) == 0);
        pthread_join(t->thread, NULL);
    }
    if (t->listen_fd >= 0)
        close(t->listen_fd);
    if (t->quit_fd >= 0)
        close(t->quit_fd);
    SSL_CTX_free(t->tls);
    buf_done(&t->authority);
    free(t);
}

int trap_port(const struct trap *t)
{
    return t->port;
}

const char *trap_authority(const struct trap *t)
{
    return buf_text(&t->authority);
}

struct trap_seen trap_seen(const struct trap *t)
{
    return (struct trap_seen){ atomic_load(&t->connections), atomic_load(&t->handshakes),
                               atomic_load(&t->requests) };
}
