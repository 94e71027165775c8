#include "core/cluster/fence_bpf.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
    PROC_BYTES_MAX = 1 << 20,
    RESOLV_BYTES_MAX = 64 * 1024,
    DNS_PORT = 53,
    DISCARD_PORT = 9,
    REMOVE_TRIES = 50,
    REMOVE_PAUSE_US = 20000,
};
static const char group_prefix[] = "sovrun.";

const char *const fence_mode_names[] = {
    [FENCE_AUTO] = "auto",
    [FENCE_REQUIRED] = "required",
    [FENCE_OFF] = "off",
    NULL,
};

/* ---- the list ---- */

void fence_allow(struct fence_list *l, const struct http_range *range, uint16_t port)
{
    for (size_t i = 0; i < l->count; i++)
        if (memcmp(&l->entries[i].range, range, sizeof(*range)) == 0 && l->entries[i].port == port)
            return;
    if (l->count == FENCE_RANGES_MAX)
        l->full = true;
    else
        l->entries[l->count++] = (struct fence_entry){ *range, port };
}

static void allow_text(struct fence_list *l, const char *text, uint16_t port)
{
    struct http_range range;
    struct err ignored = ERR_INIT;
    if (http_range_parse(text, &range, &ignored) == OK)
        fence_allow(l, &range, port);
}

static void allow_address(struct fence_list *l, const struct sockaddr *address, uint16_t port)
{
    char text[HTTP_ADDRESS_BYTES];
    allow_text(l, http_address_format(address, text), port);
}

void fence_allow_guard(struct fence_list *l, const struct http_guard *g)
{
    if (g->range_count == 0) {
        allow_text(l, "127.0.0.0/8", 0);
        allow_text(l, "::1", 0);
    }
    for (uint32_t i = 0; i < g->range_count && i < HTTP_RANGES_MAX; i++)
        fence_allow(l, &g->ranges[i], 0);
}

void fence_allow_local(struct fence_list *l)
{
    struct ifaddrs *all = NULL;
    allow_text(l, "127.0.0.0/8", 0);
    allow_text(l, "::1", 0);
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *a = all; a; a = a->ifa_next)
        if (a->ifa_addr && (a->ifa_addr->sa_family == AF_INET || a->ifa_addr->sa_family == AF_INET6))
            allow_address(l, a->ifa_addr, 0);
    freeifaddrs(all);
}

void fence_allow_resolvers(struct fence_list *l, const char *path)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(RESOLV_BYTES_MAX);
    struct err ignored = ERR_INIT;
    char word[HTTP_RANGE_TEXT_BYTES];
    if (file_read(path, &text, &ignored))
        return;
    for (const char *line = buf_text(&text); *line;) {
        const size_t n = strcspn(line, "\n");
        if (sscanf(line, "nameserver %63s", word) == 1)
            allow_text(l, word, DNS_PORT);
        line += n + (line[n] == '\n');
    }
}

enum err_code fence_allow_place(struct fence_list *l, const char *place, struct err *e)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *all = NULL;
    const char *colon = strrchr(place, ':');
    int64_t port = 0;
    if (!colon || parse_i64(colon + 1, &port, e) || port < 1 || port > UINT16_MAX)
        return err_set(e, ERR_USAGE, "'%.100s' is no HOST:PORT", place);
    CLEANUP(freep) char *host = mem_text_n(place, (size_t)(colon - place));
    const int why = getaddrinfo(host, NULL, &hints, &all);
    if (why)
        return err_set(e, ERR_RETRY, "'%.100s': %s", host, gai_strerror(why));
    for (const struct addrinfo *a = all; a; a = a->ai_next)
        allow_address(l, a->ai_addr, (uint16_t)port);
    freeaddrinfo(all);
    return OK;
}

const char *fence_entry_format(const struct fence_entry *entry, char out[FENCE_TEXT_BYTES])
{
    char range[HTTP_RANGE_TEXT_BYTES];
    if (entry->port)
        snprintf(out, FENCE_TEXT_BYTES, "%s port %u", http_range_format(&entry->range, range), entry->port);
    else
        snprintf(out, FENCE_TEXT_BYTES, "%s", http_range_format(&entry->range, range));
    return out;
}

/* ---- the control group ---- */

/* The mount of version 2, and our own group in it: "0::/some/path". NULL: there is none. */
static char *own_group(void)
{
    CLEANUP(buf_done) struct buf mounts = BUF_INIT(PROC_BYTES_MAX);
    CLEANUP(buf_done) struct buf groups = BUF_INIT(PROC_BYTES_MAX);
    struct err ignored = ERR_INIT;
    char mount[512] = "", line[1024], type[64], where[512];
    if (file_read("/proc/self/mounts", &mounts, &ignored) ||
        file_read("/proc/self/cgroup", &groups, &ignored))
        return NULL;
    for (const char *p = buf_text(&mounts); *p && !mount[0];) {
        const size_t n = strcspn(p, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)MIN(n, sizeof(line) - 1), p);
        if (sscanf(line, "%*s %511s %63s", where, type) == 2 && strcmp(type, "cgroup2") == 0)
            snprintf(mount, sizeof(mount), "%s", where);
        p += n + (p[n] == '\n');
    }
    const char *own =
        text_starts(buf_text(&groups), "0::") ? buf_text(&groups) : strstr(buf_text(&groups), "\n0::");
    if (!mount[0] || !own)
        return NULL;
    own = strchr(own, '/');
    const size_t n = own ? strcspn(own, "\n") : 0;
    return n > 1 ? mem_printf("%s%.*s", mount, (int)n, own) : mem_text(mount);
}

struct fence {
    struct fence_bpf bpf;
    char *folder; /* owned */
    int join_fd;
    uint64_t probes; /* refusals that the probe made */
};

/* The kernel takes a moment to forget who has ended. */
static void remove_group(const char *folder)
{
    for (int i = 0; i < REMOVE_TRIES; i++) {
        if (rmdir(folder) == 0 || errno != EBUSY)
            return;
        usleep(REMOVE_PAUSE_US);
    }
}

void fence_close(struct fence *f)
{
    if (!f)
        return;
    if (f->join_fd >= 0)
        close(f->join_fd);
    if (f->folder)
        remove_group(f->folder);
    fence_bpf_done(&f->bpf);
    free(f->folder);
    free(f);
}

static enum err_code make_group(struct fence *f, const char *job, int64_t attempt, struct err *e)
{
    CLEANUP(freep) char *own = own_group();
    if (!own)
        return err_set(e, ERR_DENIED, "there are no control groups of version 2 here");
    CLEANUP(freep) char *folder = mem_printf("%s/%s%s.%" PRId64, own, group_prefix, job, attempt);
    if (mkdir(folder, 0755) != 0)
        return err_set(e, ERR_DENIED, "no control group can be made at '%s': %s", folder, strerror(errno));
    f->folder = TAKE(folder);
    CLEANUP(freep) char *procs = path_join(f->folder, "cgroup.procs");
    CLEANUP(fd_closep) int fd = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->join_fd = open(procs, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || f->join_fd < 0)
        return err_set(e, ERR_DENIED, "control group '%s': %s", f->folder, strerror(errno));
    return fence_bpf_attach(&f->bpf, fd, e);
}

/* ---- the probe ---- */

/* An address that is nobody's and that the list does not allow. NULL: it allows them all, and there is
 * nothing to probe. */
static const char *foreign_address(const struct fence_list *allowed)
{
    static const char *const nobodys[] = { "192.0.2.1", "198.51.100.1", "203.0.113.1" };
    for (size_t i = 0; i < ARRAY_LEN(nobodys); i++) {
        struct http_guard g = { .range_count = 1 };
        bool inside = false;
        for (size_t k = 0; k < allowed->count; k++) {
            g.ranges[0] = allowed->entries[k].range;
            inside = inside || http_guard_allows_text(&g, nobodys[i]);
        }
        if (!inside)
            return nobodys[i];
    }
    return NULL;
}

/* A datagram socket that is connected sends nothing. 0: refused as it must be. */
static int probe(int join_fd, const char *address)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(DISCARD_PORT) };
    if (write(join_fd, "0", 1) != 1)
        return 2;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
        return 2;
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
        return 1;
    return errno == EPERM ? 0 : 1;
}

static enum err_code try_it(struct fence *f, const struct fence_list *allowed, struct err *e)
{
    const char *address = foreign_address(allowed);
    int status = 0;
    if (!address)
        return OK;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(probe(f->join_fd, address));
    if (pid < 0)
        return err_errno(e, "fence: fork");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 2)
        return err_set(e, ERR_DENIED, "no process can be put into the control group");
    if (WEXITSTATUS(status) != 0)
        return err_set(e, ERR_DENIED, "its programs are in place, and a probe was not refused");
    struct fence_bpf_value value;
    if (fence_bpf_read(&f->bpf, &value, e))
        return e->code;
    f->probes = value.count;
    return OK;
}

/* ---- the whole ---- */

enum err_code fence_open(const char *job, int64_t attempt, const struct fence_list *allowed,
                         struct fence **out, struct err *e)
{
    CLEANUP(fence_closep) struct fence *f = mem_new(sizeof(*f));
    f->bpf = (struct fence_bpf)FENCE_BPF_INIT;
    f->join_fd = -1;
    if (allowed->full)
        return err_set(e, ERR_DENIED, "more than %d ranges are allowed", FENCE_RANGES_MAX);
    fence_sweep_job(job);
    if (fence_bpf_load(allowed, &f->bpf, e) || make_group(f, job, attempt, e) || try_it(f, allowed, e))
        return err_wrap(e, "fence");
    *out = TAKE(f);
    return OK;
}

int fence_join_fd(const struct fence *f)
{
    return f->join_fd;
}

enum err_code fence_refusals(const struct fence *f, struct fence_refused *out, struct err *e)
{
    struct fence_bpf_value value;
    struct fence_refused r = { .count = 0 };
    char address[INET6_ADDRSTRLEN];
    struct http_range range = { .bits = 128 };
    if (fence_bpf_read(&f->bpf, &value, e))
        return e->code;
    r.count = value.count - f->probes;
    memcpy(range.address, value.address, sizeof(range.address));
    http_range_format(&range, r.last);
    r.last[strcspn(r.last, "/")] = '\0';
    snprintf(address, sizeof(address), "%.*s", (int)sizeof(address) - 1, r.last);
    if (value.port)
        snprintf(r.last, sizeof(r.last), strchr(address, ':') ? "[%s]:%u" : "%s:%u", address,
                 ntohs((uint16_t)value.port));
    *out = r;
    return OK;
}

/* ---- sweeping ---- */

static bool is_of_home(const char *name, const char *home)
{
    CLEANUP(freep) char *attempt = mem_printf("%s/attempts/%s", home, name);
    return !strchr(name, '/') && file_exists(attempt);
}

/* Empty ones only: the kernel keeps the others. */
static void sweep(const char *prefix, const char *home)
{
    CLEANUP(freep) char *own = own_group();
    struct dirent *entry;
    DIR *d = own ? opendir(own) : NULL;
    if (!d)
        return;
    while ((entry = readdir(d)) != NULL) {
        CLEANUP(freep) char *folder = path_join(own, entry->d_name);
        if (text_starts(entry->d_name, prefix) &&
            (!home || is_of_home(entry->d_name + strlen(group_prefix), home)))
            IGNORE(rmdir(folder) != 0);
    }
    closedir(d);
}

void fence_sweep_job(const char *job)
{
    CLEANUP(freep) char *prefix = mem_printf("%s%s.", group_prefix, job);
    sweep(prefix, NULL);
}

void fence_sweep_home(const char *home)
{
    sweep(group_prefix, home);
}
