#include "runner/cli/service_parts.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    LOOK_MS = 20,
    PID_TEXT_BYTES = 64,
    LOG_TAIL_BYTES = 4096,
    COMMAND_LINE_BYTES_MAX = 64 * 1024,
    KILL_MS_MAX = 5000
};

/* ---- who is there ---- */

/* -1: nobody listens there. The caller closes. */
static int connect_to(const char *socket_path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || strlen(socket_path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return -1;
    return TAKE_FD(fd);
}

bool service_listener(const char *socket_path, struct proc_id *out)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    struct err ignored = ERR_INIT;
    CLEANUP(fd_closep) int fd = connect_to(socket_path);

    if (fd < 0)
        return false;
    /* The process that called listen(). Of another PID namespace: it is there, but has no number here. */
    *out = (struct proc_id){ .pid = 0 };
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 || peer.pid <= 0)
        return true;
    return proc_identify(peer.pid, out, &ignored) == OK && proc_alive(*out);
}

enum err_code service_lock(const char *path, bool shared, int64_t timeout_ms, int *out_fd, struct err *e)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int64_t until = clock_mono_ms() + timeout_ms;

    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    while (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno(e, "lock '%s'", path);
        if (clock_mono_ms() >= until)
            return err_set(
                e, ERR_RETRY,
                "another sovrun is starting or stopping these services ('%s' is locked); try again later",
                path);
        clock_real.sleep_ms(&clock_real, LOOK_MS);
    }
    *out_fd = TAKE_FD(fd);
    return OK;
}

/* ---- starting and ending ---- */

enum err_code service_start(const char *const *argv, const char *log, const char *pid_file,
                            struct proc_id *out, struct err *e)
{
    CLEANUP(fd_closep) int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct proc_options o = PROC_OPTIONS_INIT;
    struct proc_id id;
    char text[PID_TEXT_BYTES];

    if (fd < 0)
        return err_errno(e, "open '%s'", log);
    o.argv = argv;
    o.dir = "/";
    o.out = o.err = fd;
    o.new_session = true;
    if (proc_start(&o, &id, e))
        return e->code;
    int n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)id.pid, id.start_ticks);
    if (file_write(pid_file, text, (size_t)n, 0600, e)) {
        proc_signal(id, SIGKILL);
        return e->code;
    }
    *out = id;
    return OK;
}

bool service_noted(const char *pid_file, struct proc_id *out)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(256);
    struct err ignored = ERR_INIT;
    struct proc_id id = { 0 };
    char *end;

    if (file_read(pid_file, &text, &ignored))
        return false;
    id.pid = (pid_t)strtol(buf_text(&text), &end, 10);
    id.start_ticks = strtoull(end, NULL, 10);
    *out = id;
    return id.pid > 1 && proc_alive(id);
}

static bool wait_gone(struct proc_id id, int64_t within_ms)
{
    int64_t until = clock_mono_ms() + within_ms;
    while (proc_alive(id)) {
        if (clock_mono_ms() >= until)
            return false;
        clock_real.sleep_ms(&clock_real, LOOK_MS);
    }
    return true;
}

void service_end(struct proc_id id, int64_t within_ms, bool *out_killed)
{
    *out_killed = false;
    proc_signal(id, SIGTERM);
    if (wait_gone(id, within_ms))
        return;
    *out_killed = true;
    proc_signal(id, SIGKILL);
    wait_gone(id, KILL_MS_MAX);
}

void service_last_words(const char *log, char *out, size_t out_bytes)
{
    CLEANUP(fd_closep) int fd = open(log, O_RDONLY | O_CLOEXEC);
    char tail[LOG_TAIL_BYTES + 1];
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t n =
        fd < 0 ? 0 : pread(fd, tail, LOG_TAIL_BYTES, size > LOG_TAIL_BYTES ? size - LOG_TAIL_BYTES : 0);
    size_t end = n > 0 ? (size_t)n : 0;

    while (end > 0 && (tail[end - 1] == '\n' || tail[end - 1] == ' '))
        end--;
    size_t from = end;
    while (from > 0 && tail[from - 1] != '\n')
        from--;
    snprintf(out, out_bytes, "%.*s", (int)MIN(end - from, out_bytes - 1), tail + from);
}

/* ---- Redis ---- */

/* A value in Redis' double quotes. */
static void add_setting(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%s \"", name);
    for (const char *p = value; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_add_byte(out, '\\');
        if (*p == '\n')
            buf_add_text(out, "\\n");
        else
            buf_add_byte(out, (uint8_t)*p);
    }
    buf_add_text(out, "\"\n");
}

void service_redis_conf(const struct cluster *c, struct buf *out)
{
    static const char scheme[] = "unix:";
    CLEANUP(freep) char *dir = path_join(c->home, "redis");
    CLEANUP(freep) char *log = path_join(c->home, "log/redis.log");
    const char *socket = c->state.address + (text_starts(c->state.address, scheme) ? strlen(scheme) : 0);

    buf_add_text(out, "# Written by `sovrun up` at each start; changes are lost.\n"
                      "port 0\nprotected-mode yes\ndaemonize no\n");
    add_setting(out, "unixsocket", socket);
    buf_add_text(out, "unixsocketperm 600\n");
    add_setting(out, "dir", dir);
    add_setting(out, "logfile", log);
    buf_add_text(
        out, "# Every write is on disk before it is acknowledged, and nothing is thrown away to make room.\n"
             "appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory-policy noeviction\n");
    buf_add_text(out, "# Its housekeeping has next to nothing to do here, and would wake an idle machine.\n"
                      "hz 1\n");
}

void service_redis_ask_to_end(const char *socket_path)
{
    static const char ask[] = "SHUTDOWN NOSAVE\r\n"; /* NOSAVE: no snapshot; the append-only file is whole */
    CLEANUP(fd_closep) int fd = connect_to(socket_path);

    if (fd >= 0)
        (void)!send(fd, ask, strlen(ask), MSG_NOSIGNAL | MSG_DONTWAIT); /* SIGTERM comes behind it */
}

enum err_code service_redis_write_conf(const struct cluster *c, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(16 * 1024);
    CLEANUP(freep) char *path = path_join(c->home, "redis/redis.conf");
    service_redis_conf(c, &text);
    if (buf_check(&text, "redis.conf", e))
        return e->code;
    return file_write(path, text.data, text.len, 0600, e);
}

/* ---- supervisors ---- */

/* The NUL-separated words of a command line; how many. */
static size_t read_command_line(const char *pid, struct buf *text, const char **words, size_t max)
{
    char path[64];
    struct err ignored = ERR_INIT;
    size_t count = 0;

    snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
    buf_reset(text);
    if (file_read(path, text, &ignored))
        return 0;
    const char *p = buf_text(text), *end = p + text->len;
    while (p < end && count < max) {
        words[count++] = p;
        p += strlen(p) + 1;
    }
    return count;
}

static bool is_same_folder(const char *a, const char *b)
{
    struct stat one, other;
    if (strcmp(a, b) == 0)
        return true;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

static bool is_supervisor(const char *const *words, size_t count, const char *home)
{
    if (count < 4 || (strcmp(words[0], "sovrun") != 0 && !text_ends(words[0], "/sovrun")))
        return false;
    return strcmp(words[1], "attempt") == 0 && strcmp(words[2], "--home") == 0 &&
           is_same_folder(words[3], home);
}

size_t service_supervisors(const char *home, struct proc_id *out, size_t max)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(COMMAND_LINE_BYTES_MAX);
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    const char *words[4];
    size_t count = 0;

    while (proc && count < max && (entry = readdir(proc))) {
        struct err ignored = ERR_INIT;
        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
            continue;
        size_t n = read_command_line(entry->d_name, &text, words, ARRAY_LEN(words));
        if (is_supervisor(words, n, home) &&
            proc_identify((pid_t)strtol(entry->d_name, NULL, 10), &out[count], &ignored) == OK &&
            proc_alive(out[count]))
            count++;
    }
    if (proc)
        closedir(proc);
    return count;
}

size_t service_kill_session(struct proc_id leader)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    size_t count = 0;
    struct proc_id now;
    struct err ignored = ERR_INIT;

    /* The number is somebody else's by now: then nothing of that session is left. */
    if (proc_identify(leader.pid, &now, &ignored) == OK && now.start_ticks != leader.start_ticks) {
        if (proc)
            closedir(proc);
        return 0;
    }
    while (proc && (entry = readdir(proc))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 1 || getsid(pid) != leader.pid || proc_identify(pid, &now, &ignored) || !proc_alive(now))
            continue;
        proc_signal(now, SIGKILL);
        count++;
    }
    if (proc)
        closedir(proc);
    return count;
}
