#include "scheduler/auth.h"

#include "base/text.h"
#include "core/crypto/crypto.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { PASSWD_BYTES = 4096 };

/* A login name stands in ledger events, so only a plain one is taken; "uid-1000" says as much. */
static void name_user(uid_t uid, char out[JOB_USER_BYTES])
{
    struct passwd entry, *found = NULL;
    char room[PASSWD_BYTES];

    if (getpwuid_r(uid, &entry, room, sizeof(room), &found) == 0 && found &&
        text_is_name(found->pw_name, JOB_USER_BYTES - 1))
        snprintf(out, JOB_USER_BYTES, "%s", found->pw_name);
    else
        snprintf(out, JOB_USER_BYTES, "uid-%u", (unsigned)uid);
}

enum err_code auth_uid(const struct auth *a, uid_t uid, char out_user[JOB_USER_BYTES], struct err *e)
{
    if (uid != a->uid && uid != 0)
        return err_set(e, ERR_DENIED, "user %u may not use this scheduler", (unsigned)uid);
    name_user(uid, out_user);
    return OK;
}

enum err_code auth_peer(const struct auth *a, int fd, char out_user[JOB_USER_BYTES], struct err *e)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 || n != sizeof(peer))
        return err_set(e, ERR_DENIED, "the kernel does not say who is calling");
    return auth_uid(a, peer.uid, out_user, e);
}

enum err_code auth_bearer(const struct auth *a, const char *header, char out_user[JOB_USER_BYTES],
                          struct err *e)
{
    static const char scheme[] = "Bearer ";
    const size_t skip = strlen(scheme);

    if (!a->token || !header || strncasecmp(header, scheme, skip) != 0)
        return err_set(e, ERR_DENIED, "this needs 'authorization: Bearer TOKEN'");
    if (strlen(header + skip) != secret_len(a->token) ||
        !crypto_equal(header + skip, secret_bytes(a->token), secret_len(a->token)))
        return err_set(e, ERR_DENIED, "this is not the token");
    snprintf(out_user, JOB_USER_BYTES, "token");
    return OK;
}
