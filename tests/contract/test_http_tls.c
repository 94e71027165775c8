/*
 * Whom core/http believes: certificates made here, a server that is OpenSSL's own, and names and authorities
 * that fit or do not.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/proc.h"
#include "core/http/http.h"
#include "tests/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { OPENSSL_MS = 20000, PATH_BYTES = 300 };

static char folder[200];

static const char *in_folder(const char *name, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    return out;
}

/* A certificate for 127.0.0.1; `by` NULL: an authority that signs itself. */
static void make_certificate(const char *name, const char *by)
{
    char key[PATH_BYTES], pem[PATH_BYTES], by_key[PATH_BYTES], by_pem[PATH_BYTES], key_name[64], subject[64];
    struct err e = ERR_INIT;
    snprintf(key_name, sizeof(key_name), "%s.key", name);
    snprintf(subject, sizeof(subject), "/CN=%s", name);
    in_folder(key_name, key);
    in_folder(name, pem);
    const char *argv[32] = {
        "openssl", "req",   "-x509", "-newkey", "ec",    "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes",  "-days", "2",     "-subj",   subject, "-keyout",  key,
        "-out",    pem
    };
    size_t n = 16;
    if (by) {
        snprintf(key_name, sizeof(key_name), "%s.key", by);
        const char *more[] = { "-CA",     in_folder(by, by_pem),
                               "-CAkey",  in_folder(key_name, by_key),
                               "-addext", "subjectAltName=IP:127.0.0.1",
                               "-addext", "basicConstraints=critical,CA:FALSE" };
        for (size_t i = 0; i < ARRAY_LEN(more); i++)
            argv[n++] = more[i];
    }
    assert_ok(proc_run(argv, OPENSSL_MS, NULL, &e));
}

static int make_all(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    const char *build = getenv("B");
    snprintf(folder, sizeof(folder), "%s/test", build ? build : "build");
    assert_ok(dir_make(folder, 0755, &e));
    snprintf(folder, sizeof(folder), "%s/test/tls-XXXXXX", build ? build : "build");
    assert_non_null(mkdtemp(folder));
    make_certificate("authority.pem", NULL);
    make_certificate("stranger.pem", NULL);
    make_certificate("server.pem", "authority.pem");
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    const struct dirent *entry;
    while (d && (entry = readdir(d))) {
        CLEANUP(freep) char *path = path_join(folder, entry->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(folder);
    return 0;
}

/* The port stands in the server's first line: "ACCEPT 127.0.0.1:41234". */
static int64_t read_port(int fd)
{
    char text[512] = "";
    size_t n = 0;
    const char *line = NULL, *end = NULL;
    struct err e = ERR_INIT;
    int64_t port = 0;
    while (!line || !end) {
        ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
        assert_true(got > 0);
        n += (size_t)got;
        text[n] = '\0';
        line = strstr(text, "ACCEPT 127.0.0.1:");
        end = line ? strchr(line, '\n') : NULL;
    }
    CLEANUP(freep) char *number = mem_text_n(line + 17, (size_t)(end - line - 17));
    assert_ok(parse_i64(number, &port, &e));
    return port;
}

static const struct row {
    const char *name;
    const char *host, *authority; /* NULL: the system's */
    const char *flags[4];         /* of the server */
    enum err_code want;
} rows[] = {
    { "the right authority and the right name are believed", "127.0.0.1", "authority.pem", { NULL }, OK },
    { "TLS 1.2 will do", "127.0.0.1", "authority.pem", { "-tls1_2" }, OK },
    { "another authority is denied", "127.0.0.1", "stranger.pem", { NULL }, ERR_DENIED },
    { "the system's authorities do not know it", "127.0.0.1", NULL, { NULL }, ERR_DENIED },
    { "another name is denied", "localhost", "authority.pem", { NULL }, ERR_DENIED },
    { "TLS 1.1 is not spoken",
      "127.0.0.1",
      "authority.pem",
      { "-tls1_1", "-cipher", "ALL:@SECLEVEL=0" },
      ERR_RETRY },
};

static struct proc_id start_server(const struct row *row, int64_t *out_port)
{
    char key[PATH_BYTES], pem[PATH_BYTES];
    int ends[2];
    struct err e = ERR_INIT;
    struct proc_options o = PROC_OPTIONS_INIT;
    struct proc_id id;
    const char *argv[16] = { "openssl",
                             "s_server",
                             "-accept",
                             "127.0.0.1:0",
                             "-www",
                             "-cert",
                             in_folder("server.pem", pem),
                             "-key",
                             in_folder("server.pem.key", key) };
    size_t n = 9;
    for (size_t i = 0; i < ARRAY_LEN(row->flags) && row->flags[i]; i++)
        argv[n++] = row->flags[i];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    o.argv = argv;
    o.out = ends[1];
    o.die_with_parent = true;
    assert_ok(proc_start(&o, &id, &e));
    close(ends[1]);
    *out_port = read_port(ends[0]);
    close(ends[0]);
    return id;
}

static void believes(void **state)
{
    const struct row *row = *state;
    struct err e = ERR_INIT;
    char origin[64], authority[PATH_BYTES];
    int64_t port;
    int status;
    struct proc_id server = start_server(row, &port);
    snprintf(origin, sizeof(origin), "https://%s:%d", row->host, (int)port);
    struct http_options o = { .origin = origin,
                              .request_timeout_ms = 20000,
                              .ca_file = row->authority ? in_folder(row->authority, authority) : NULL };
    struct http_client *c = NULL;
    struct http_response r = HTTP_RESPONSE_INIT(64 * 1024);
    struct http_request q = { .method = "GET", .target = "/" };
    assert_ok(http_open(&o, &c, &e));
    enum err_code code = http_do(c, &q, &r, &e);
    http_response_done(&r);
    http_close(c);
    proc_signal(server, SIGKILL);
    IGNORE(proc_wait(server, &status, &(struct err)ERR_INIT));
    if (code != row->want)
        fail_msg("%s, not %s: %s", err_name(code), err_name(row->want), e.text);
    if (code == ERR_DENIED)
        assert_non_null(strstr(e.text, "certificate"));
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, believes, NULL, NULL, (void *)&rows[i] };
    return _cmocka_run_group_tests("http tls", tests, ARRAY_LEN(tests), make_all, remove_all);
}
