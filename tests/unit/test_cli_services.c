/* What `up`, `down` and `run` stand on: who listens, who holds a lock, who is last out, and Redis'
 * configuration. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "runner/cli/service_parts.h"
#include "runner/cli/services.h"
#include "tests/test.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct scene {
    char folder[64];
};

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static int scene_open(void **state)
{
    struct scene *s = mem_new(sizeof(*s));
    struct err e = ERR_INIT;
    snprintf(s->folder, sizeof(s->folder), "build/test-services-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(s->folder))
        return -1;
    *state = s;
    return 0;
}

static int scene_close(void **state)
{
    struct scene *s = *state;
    nftw(s->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

static char *in_folder(const struct scene *s, const char *name)
{
    return path_join(s->folder, name);
}

/* ---- who listens ---- */

static int listen_on(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void the_process_behind_a_socket_is_known(void **state)
{
    CLEANUP(freep) char *path = in_folder(*state, "s");
    struct proc_id id = { 0 }, self;
    struct err e = ERR_INIT;
    assert_false(service_listener(path, &id)); /* no file */
    int fd = listen_on(path);
    assert_true(service_listener(path, &id));
    assert_ok(proc_identify(getpid(), &self, &e));
    assert_int_equal(id.pid, self.pid);
    assert_int_equal(id.start_ticks, self.start_ticks);
    close(fd);
    assert_false(service_listener(path, &id)); /* the file alone is nobody */
}

static void a_path_that_is_too_long_is_nobody(void **state)
{
    char path[300];
    struct proc_id id;
    (void)state;
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_false(service_listener(path, &id));
}

/* ---- starting and ending ---- */

static void a_service_is_started_noted_and_ended(void **state)
{
    CLEANUP(freep) char *log = in_folder(*state, "log"), *pid_file = in_folder(*state, "pid");
    CLEANUP(buf_done) struct buf noted = BUF_INIT(256);
    const char *argv[] = { "sh", "-c", "echo started; exec sleep 60", NULL };
    char want[64];
    struct proc_id id;
    struct err e = ERR_INIT;
    bool killed = true;
    assert_ok(service_start(argv, log, pid_file, &id, &e));
    assert_ok(file_read(pid_file, &noted, &e));
    snprintf(want, sizeof(want), "%d %llu\n", (int)id.pid, (unsigned long long)id.start_ticks);
    assert_string_equal(buf_text(&noted), want);
    assert_int_equal(getsid(id.pid), id.pid); /* it outlives our terminal */
    assert_true(service_noted(pid_file, &id));
    service_end(id, 10000, &killed);
    assert_false(killed);
    assert_false(proc_alive(id));
    assert_false(service_noted(pid_file, &id));
}

static void a_pid_file_of_a_reused_number_is_nobody(void **state)
{
    CLEANUP(freep) char *path = in_folder(*state, "pid");
    static const char *const texts[] = { "", "x", "1", "0 0\n", "-1 5\n", "999999999 1\n" };
    char self[64];
    struct proc_id id;
    struct err e = ERR_INIT;
    assert_false(service_noted(path, &id)); /* no file */
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_ok(file_write(path, texts[i], strlen(texts[i]), 0600, &e));
        assert_false(service_noted(path, &id));
    }
    int n = snprintf(self, sizeof(self), "%d 1\n", (int)getpid()); /* our number, another start */
    assert_ok(file_write(path, self, (size_t)n, 0600, &e));
    assert_false(service_noted(path, &id));
}

static void who_does_not_listen_to_sigterm_is_killed(void **state)
{
    CLEANUP(freep) char *log = in_folder(*state, "log"), *pid_file = in_folder(*state, "pid");
    const char *argv[] = { "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.01; done", NULL };
    struct proc_id id;
    struct err e = ERR_INIT;
    bool killed = false;
    char words[64] = "";
    assert_ok(service_start(argv, log, pid_file, &id, &e));
    for (int i = 0; i < 1000 && strcmp(words, "deaf") != 0; i++) {
        usleep(5000);
        service_last_words(log, words, sizeof(words));
    }
    assert_string_equal(words, "deaf");
    service_end(id, 50, &killed);
    assert_true(killed);
    assert_false(proc_alive(id));
    service_kill_session(id);
}

static void last_words_are_the_last_line_that_says_something(void **state)
{
    CLEANUP(freep) char *log = in_folder(*state, "log");
    struct err e = ERR_INIT;
    char words[16];
    service_last_words(log, words, sizeof(words));
    assert_string_equal(words, "");
    assert_ok(file_write(log, "one\ntwo three\n\n \n", 17, 0600, &e));
    service_last_words(log, words, sizeof(words));
    assert_string_equal(words, "two three");
    assert_ok(file_write(log, "a line that is too long for it", 30, 0600, &e));
    service_last_words(log, words, sizeof(words));
    assert_string_equal(words, "a line that is ");
}

/* ---- supervisors ---- */

/* This program again, under another name, which then only waits. */
static struct proc_id start_as(const char *const *argv)
{
    struct proc_id id = { 0 };
    struct err e = ERR_INIT;
    int ready[2];
    char byte;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        execv("/proc/self/exe", (char *const *)argv);
        _exit(127);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* closed by exec */
    close(ready[0]);
    assert_ok(proc_identify(pid, &id, &e));
    return id;
}

static void supervisors_of_this_home_are_found(void **state)
{
    const struct scene *s = *state;
    CLEANUP(freep) char *home = realpath(s->folder, NULL);
    const char *ours[] = { "/x/bin/sovrun", "attempt", "--home", home, "261122-k3m9qz", "1", NULL };
    const char *of_another_home[] = { "/x/bin/sovrun", "attempt", "--home", "/", "261122-k3m9qz", "1", NULL };
    const char *another_program[] = { "/x/bin/notsovrun", "attempt", "--home", home,
                                      "261122-k3m9qz",    "1",       NULL };
    struct proc_id ids[] = { start_as(ours), start_as(of_another_home), start_as(another_program) }, found[4];
    int status;
    struct err e = ERR_INIT;
    size_t count =
        service_supervisors(s->folder, found, ARRAY_LEN(found)); /* also by another name of the folder */
    size_t none = service_supervisors("build", found + 1, 3);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        proc_signal(ids[i], SIGKILL);
        assert_ok(proc_wait(ids[i], &status, &e));
    }
    assert_int_equal(count, 1);
    assert_int_equal(found[0].pid, ids[0].pid);
    assert_int_equal(none, 0);
    assert_int_equal(service_supervisors(s->folder, found, ARRAY_LEN(found)), 0);
}

/* ---- Redis ---- */

static void redis_loses_nothing_and_listens_to_nobody_else(void **state)
{
    CLEANUP(freep) struct cluster *c = mem_new(sizeof(*c));
    CLEANUP(buf_done) struct buf conf = BUF_INIT(8192);
    static const char *const wants[] = {
        "\nport 0\n",
        "\nappendonly yes\n",
        "\nappendfsync always\n",
        "\nsave \"\"\n",
        "\nmaxmemory-policy noeviction\n",
        "\nunixsocketperm 600\n",
        "\nprotected-mode yes\n",
        "\ndaemonize no\n",
        "\nhz 1\n",
        "\nunixsocket \"/h \\\"x\\\\y/run/redis.sock\"\n",
        "\ndir \"/h \\\"x\\\\y/redis\"\n",
    };
    (void)state;
    snprintf(c->home, sizeof(c->home), "/h \"x\\y");
    snprintf(c->state.address, sizeof(c->state.address), "unix:%.100s/run/redis.sock", c->home);
    service_redis_conf(c, &conf);
    for (size_t i = 0; i < ARRAY_LEN(wants); i++)
        if (!strstr(buf_text(&conf), wants[i]))
            fail_msg("redis.conf lacks '%s':\n%s", wants[i], buf_text(&conf));
}

/* ---- locks and claims ---- */

static void a_lock_admits_one_and_says_who_waits(void **state)
{
    CLEANUP(freep) char *path = in_folder(*state, "lock");
    CLEANUP(fd_closep) int one = -1;
    CLEANUP(fd_closep) int other = -1;
    struct err e = ERR_INIT;
    assert_ok(service_lock(path, true, 0, &one, &e));
    assert_ok(service_lock(path, true, 0, &other, &e)); /* shared with shared */
    close(TAKE_FD(other));
    assert_int_equal(service_lock(path, false, 0, &other, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, path));
    close(TAKE_FD(one));
    err_clear(&e);
    assert_ok(service_lock(path, false, 0, &other, &e));
}

static void mark(const struct scene *s)
{
    CLEANUP(freep) char *path = in_folder(s, "run/transient");
    struct err e = ERR_INIT;
    assert_ok(file_write(path, "", 0, 0600, &e));
}

static void the_last_run_out_takes_transient_services_down(void **state)
{
    const struct scene *s = *state;
    struct cli c = { .home = s->folder };
    struct services_claim one = SERVICES_CLAIM_INIT, other = SERVICES_CLAIM_INIT;
    struct err e = ERR_INIT;
    bool last = true;
    assert_ok(services_claim(&c, &one, &e));
    assert_ok(services_claim(&c, &other, &e));
    mark(s);
    assert_ok(services_leave(&c, &one, &last, &e));
    assert_false(last); /* the other one still works */
    services_unclaim(&one);
    assert_ok(services_leave(&c, &other, &last, &e));
    assert_true(last);
    services_unclaim(&other);
}

static void services_that_up_made_stay(void **state)
{
    const struct scene *s = *state;
    struct cli c = { .home = s->folder };
    struct services_claim claim = SERVICES_CLAIM_INIT;
    struct err e = ERR_INIT;
    bool last = true;
    assert_ok(services_claim(&c, &claim, &e));
    assert_ok(services_leave(&c, &claim, &last, &e));
    assert_false(last); /* no mark */
    services_unclaim(&claim);
}

#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_open, scene_close)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "attempt") == 0) {
        alarm(60);
        pause();
        return 0;
    }
    const struct CMUnitTest tests[] = {
        SCENE_TEST(the_process_behind_a_socket_is_known),
        cmocka_unit_test(a_path_that_is_too_long_is_nobody),
        SCENE_TEST(a_service_is_started_noted_and_ended),
        SCENE_TEST(a_pid_file_of_a_reused_number_is_nobody),
        SCENE_TEST(who_does_not_listen_to_sigterm_is_killed),
        SCENE_TEST(last_words_are_the_last_line_that_says_something),
        SCENE_TEST(supervisors_of_this_home_are_found),
        cmocka_unit_test(redis_loses_nothing_and_listens_to_nobody_else),
        SCENE_TEST(a_lock_admits_one_and_says_who_waits),
        SCENE_TEST(the_last_run_out_takes_transient_services_down),
        SCENE_TEST(services_that_up_made_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
