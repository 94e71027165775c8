#include "tests/fake/http_fake.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { REQUESTS_MAX = 64, REQUEST_BYTES_MAX = 32 << 20 };

struct http_fake {
    const struct http_fake_reply *replies;
    size_t reply_count;
    int listener;
    char origin[64];
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    struct buf requests[REQUESTS_MAX];
    int count, connections, open_fd;
    bool stopping;
};

static int bind_tcp(struct http_fake *f)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    invariant(fd >= 0 && bind(fd, (struct sockaddr *)&at, n) == 0);
    invariant(getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    snprintf(f->origin, sizeof(f->origin), "http://127.0.0.1:%u", ntohs(at.sin_port));
    return fd;
}

static int bind_unix(struct http_fake *f, const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    unlink(path);
    invariant(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    snprintf(f->origin, sizeof(f->origin), "http://scheduler");
    return fd;
}

static size_t body_bytes(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");
    return at ? strtoull(at + strlen("\r\ncontent-length:"), NULL, 10) : 0;
}

/* One request, head and body. False where the client has left. */
static bool read_request(int fd, struct buf *out)
{
    size_t whole = 0;
    while (whole == 0 || out->len < whole) {
        uint8_t *to = buf_reserve(out, 64 * 1024);
        ssize_t n = to ? read(fd, to, 64 * 1024) : 0;
        if (n <= 0)
            return false;
        buf_commit(out, (size_t)n);
        const char *end = whole ? NULL : strstr(buf_text(out), "\r\n\r\n");
        if (end)
            whole = (size_t)(end - buf_text(out)) + 4 + body_bytes(buf_text(out));
    }
    return true;
}

/* Keeps the request and picks the reply to it. */
static const struct http_fake_reply *next_reply(struct http_fake *f, struct buf *request)
{
    pthread_mutex_lock(&f->mutex);
    size_t i = MIN((size_t)f->count, f->reply_count - 1);
    if (f->count < REQUESTS_MAX)
        buf_move(&f->requests[f->count], request);
    f->count++;
    pthread_mutex_unlock(&f->mutex);
    return &f->replies[i];
}

static void say(int fd, const char *text)
{
    for (size_t n = strlen(text); n > 0;) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        n -= (size_t)sent;
    }
}

/* Another request on this connection? One that idles while somebody else wants to connect is closed, as
 * servers do. */
static bool goes_on(const struct http_fake *f, int fd)
{
    struct pollfd both[] = { { .fd = fd, .events = POLLIN }, { .fd = f->listener, .events = POLLIN } };
    while (poll(both, 2, -1) < 0)
        ;
    return both[0].revents != 0;
}

static void serve(struct http_fake *f, int fd)
{
    for (bool first = true; first || goes_on(f, fd); first = false) {
        CLEANUP(buf_done) struct buf request = BUF_INIT(REQUEST_BYTES_MAX);
        char byte;
        if (!read_request(fd, &request))
            return;
        const struct http_fake_reply *reply = next_reply(f, &request);
        say(fd, reply->text);
        if (reply->act == HTTP_FAKE_RESET) {
            struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        }
        if (reply->act == HTTP_FAKE_HANG)
            while (read(fd, &byte, 1) > 0)
                ;
        if (reply->act != HTTP_FAKE_SAY)
            return;
    }
}

static void *run(void *context)
{
    struct http_fake *f = context;
    for (;;) {
        int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_mutex_lock(&f->mutex);
        f->open_fd = fd;
        f->connections++;
        bool over = fd < 0 || f->stopping;
        pthread_mutex_unlock(&f->mutex);
        if (!over)
            serve(f, fd);
        pthread_mutex_lock(&f->mutex);
        f->open_fd = -1;
        pthread_mutex_unlock(&f->mutex);
        if (fd >= 0)
            close(fd);
        if (over)
            return NULL;
    }
}

struct http_fake *http_fake_start(const struct http_fake_reply *replies, size_t count,
                                  const char *unix_socket)
{
    struct http_fake *f = mem_new(sizeof(*f));
    f->replies = replies;
    f->reply_count = count;
    f->open_fd = -1;
    pthread_mutex_init(&f->mutex, NULL);
    for (size_t i = 0; i < REQUESTS_MAX; i++)
        f->requests[i] = (struct buf)BUF_INIT(REQUEST_BYTES_MAX);
    f->listener = unix_socket ? bind_unix(f, unix_socket) : bind_tcp(f);
    invariant(listen(f->listener, 16) == 0);
    invariant(pthread_create(&f->thread, NULL, run, f) == 0);
    return f;
}

void http_fake_stop(struct http_fake *f)
{
    pthread_mutex_lock(&f->mutex);
    f->stopping = true;
    if (f->open_fd >= 0)
        shutdown(f->open_fd, SHUT_RDWR);
    pthread_mutex_unlock(&f->mutex);
    shutdown(f->listener, SHUT_RDWR); /* wakes accept() */
    pthread_join(f->thread, NULL);
    close(f->listener);
    for (size_t i = 0; i < REQUESTS_MAX; i++)
        buf_done(&f->requests[i]);
    pthread_mutex_destroy(&f->mutex);
    free(f);
}

const char *http_fake_origin(const struct http_fake *f)
{
    return f->origin;
}

int http_fake_count(struct http_fake *f)
{
    pthread_mutex_lock(&f->mutex);
    int count = f->count;
    pthread_mutex_unlock(&f->mutex);
    return count;
}

int http_fake_connections(struct http_fake *f)
{
    pthread_mutex_lock(&f->mutex);
    int connections = f->connections;
    pthread_mutex_unlock(&f->mutex);
    return connections;
}

const char *http_fake_request(struct http_fake *f, int nth)
{
    pthread_mutex_lock(&f->mutex);
    const char *text = nth < MIN(f->count, (int)REQUESTS_MAX) ? buf_text(&f->requests[nth]) : "";
    pthread_mutex_unlock(&f->mutex);
    return text;
}
