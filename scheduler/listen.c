#include "scheduler/listen.h"

#include "base/cleanup.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static enum err_code unix_address(const char *path, struct sockaddr_un *out, struct err *e)
{
    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(out->sun_path))
        return err_set(e, ERR_USAGE,
                       "the socket path '%s' has more than %zu bytes; choose a shorter home folder", path,
                       sizeof(out->sun_path) - 1);
    memcpy(out->sun_path, path, strlen(path));
    return OK;
}

static enum err_code remove_stale(const char *path, const struct sockaddr_un *address, struct err *e)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = -1;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? OK : err_errno(e, "look at '%s'", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, ERR_CONFLICT, "'%s' is there and is no socket", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(e, "socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
        return err_set(e, ERR_CONFLICT, "somebody answers on '%s' already", path);
    if (unlink(path) != 0)
        return err_errno(e, "remove '%s'", path);
    return OK;
}

enum err_code listen_unix(const char *path, int *out_fd, struct err *e)
{
    struct sockaddr_un address;
    CLEANUP(fd_closep) int fd = -1;

    if (unix_address(path, &address, e) || remove_stale(path, &address, e))
        return e->code;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, "socket");
    /* On Linux the mode given to the socket before bind() is the mode of the file: there is no moment of a
     * wider one. */
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        chmod(path, 0600) != 0 || listen(fd, LISTEN_BACKLOG) != 0)
        return err_errno(e, "listen on '%s'", path);
    *out_fd = TAKE_FD(fd);
    return OK;
}

/* ---- TCP ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static enum err_code parse_port(const char *text, uint16_t *out, struct err *e)
{
    int64_t port;

    if (parse_i64(text, &port, e) || port < 0 || port > UINT16_MAX)
        return err_set(e, ERR_USAGE, "'%.20s' is no port", text);
    *out = (uint16_t)port;
    return OK;
}

static enum err_code tcp_address(const char *text, union address *out, socklen_t *out_bytes, struct err *e)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    uint16_t port = 0;

    memset(out, 0, sizeof(*out));
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof(host))
        return err_set(e, ERR_USAGE, "'%.60s' is not HOST:PORT", text);
    if (parse_port(colon + 1, &port, e))
        return err_wrap(e, "'%.60s'", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    out->v4.sin_family = AF_INET;
    if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1 && (ntohl(out->v4.sin_addr.s_addr) >> 24) == 127) {
        out->v4.sin_port = htons(port);
        *out_bytes = sizeof(out->v4);
        return OK;
    }
    if (strcmp(host, "[::1]") == 0) {
        out->v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                         .sin6_port = htons(port),
                                         .sin6_addr = in6addr_loopback };
        *out_bytes = sizeof(out->v6);
        return OK;
    }
    return err_set(
        e, ERR_DENIED,
        "'%.60s' is not a loopback address; this version listens on no other (there is no TLS yet)", text);
}

static enum err_code port_of(int fd, uint16_t *out, struct err *e)
{
    union address bound = { .any = { .sa_family = AF_UNSPEC } };
    socklen_t n = sizeof(bound);

    if (getsockname(fd, &bound.any, &n) != 0)
        return err_errno(e, "getsockname");
    *out = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return OK;
}

enum err_code listen_tcp(const char *address, int *out_fd, uint16_t *out_port, struct err *e)
{
    union address a = { .any = { .sa_family = AF_UNSPEC } };
    socklen_t bytes = 0;
    const int on = 1;

    if (tcp_address(address, &a, &bytes, e))
        return err_wrap(e, "api.listen");
    CLEANUP(fd_closep) int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, "socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 || bind(fd, &a.any, bytes) != 0 ||
        listen(fd, LISTEN_BACKLOG) != 0)
        return err_errno(e, "listen on '%.60s'", address);
    if (port_of(fd, out_port, e))
        return e->code;
    *out_fd = TAKE_FD(fd);
    return OK;
}
