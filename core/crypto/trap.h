/*
 * trap.h - a server that a careful client does not speak to: what `sovrun policy selftest` holds up to our
 * own.
 *
 * It listens on loopback, on a port of its own, shows one certificate and answers each request with one text.
 * What tells how a client behaved is counted: connections, finished handshakes, and requests of which at
 * least a byte came through. A client that refused a certificate is one that sent no request. Keys are made
 * anew for each trap and never leave the process; so a selftest works beside any cloud and needs no hostile
 * server anywhere.
 *
 * Threads: one of its own takes one connection at a time; the calls here are for one other. SIGPIPE must be
 * ignored.
 */
#ifndef CORE_CRYPTO_TRAP_H
#define CORE_CRYPTO_TRAP_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

enum trap_kind {
    TRAP_PLAIN,           /* no TLS */
    TRAP_GOOD,            /* nothing is wrong with it: shows that the others are refused for what is */
    TRAP_EXPIRED,         /* its time was over yesterday */
    TRAP_OTHER_NAME,      /* for another host */
    TRAP_OTHER_AUTHORITY, /* for the right host, signed by somebody else */
    TRAP_OLD_TLS,         /* speaks TLS 1.1 at most */
};

struct trap;
/* `answer` is HTTP, sent as it is after a request's head; borrowed until trap_stop(). */
enum err_code trap_start(enum trap_kind kind, const char *answer, struct trap **out, struct err *e);
void trap_stop(struct trap *t); /* NULL is fine */
DEFINE_CLEANUP_PTR(struct trap, trap_stop)

int trap_port(const struct trap *t);
/* The authority that a client is to trust, PEM; "" for TRAP_PLAIN. */
const char *trap_authority(const struct trap *t);

struct trap_seen {
    int connections, handshakes, requests;
};
struct trap_seen trap_seen(const struct trap *t);

/* A client certificate and its key, PEM, of an authority that nobody knows. `out_key` is the caller's to
 * wipe. */
enum err_code trap_stranger(struct buf *out_certificate, struct buf *out_key, struct err *e);

#endif
