/*
 * auth.h - who is calling.
 *
 * On the Unix socket the kernel says: only root and the user that the scheduler runs as are let in, and their
 * login name is the user of what they do. Over TCP, which is loopback only, the caller shows the token of
 * HOME/run/token, which the same user alone can read; it is compared in constant time, and the user is
 * "token". Everybody else gets 401 and nothing besides.
 *
 * Threads: any, on one auth, which does not change.
 */
#ifndef SCHEDULER_AUTH_H
#define SCHEDULER_AUTH_H

#include "core/crypto/secret.h"
#include "core/job/job.h"

#include <sys/types.h>

struct auth {
    uid_t uid;                  /* of the scheduler */
    const struct secret *token; /* borrowed; NULL: nobody over TCP */
};

/* ERR_DENIED says why. The peer of a connected Unix socket; and the value of an authorization header (NULL:
 * none was sent). */
enum err_code auth_peer(const struct auth *a, int fd, char out_user[JOB_USER_BYTES], struct err *e);
enum err_code auth_bearer(const struct auth *a, const char *header, char out_user[JOB_USER_BYTES],
                          struct err *e);

/* The rule and the name behind auth_peer(). */
enum err_code auth_uid(const struct auth *a, uid_t uid, char out_user[JOB_USER_BYTES], struct err *e);

#endif
