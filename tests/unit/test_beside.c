/* Work beside the caller's: one piece at a time, in order, and all of it before the end. */
#include "tests/test.h"
#include "trainer/beside.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>

struct piece {
    sem_t go;
    int count, nice;
    pthread_t thread;
    bool deaf;
};

static void note(struct piece *p)
{
    sigset_t mask;

    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    p->thread = pthread_self();
    p->deaf = sigismember(&mask, SIGTERM) == 1;
    p->nice = getpriority(PRIO_PROCESS, 0);
    p->count++;
}

static void count(void *context)
{
    note(context);
}

static void wait_and_count(void *context)
{
    struct piece *p = context;
    while (sem_wait(&p->go) != 0)
        ;
    note(p);
}

static struct beside *open_one(bool polite)
{
    struct err e = ERR_INIT;
    struct beside *b = NULL;
    assert_ok(beside_open(polite, &b, &e));
    return b;
}

static void the_caller_goes_on_meanwhile(void **state)
{
    (void)state;
    struct piece p = { .count = 0 };
    CLEANUP(beside_closep) struct beside *b = open_one(false);

    assert_int_equal(sem_init(&p.go, 0, 0), 0);
    assert_true(beside_done(b));
    beside_start(b, wait_and_count, &p);
    assert_false(beside_done(b)); /* it cannot be: nobody let it go */
    sem_post(&p.go);
    beside_wait(b);
    assert_true(beside_done(b));
    assert_int_equal(p.count, 1);
    assert_false(pthread_equal(p.thread, pthread_self()));
}

static void one_piece_after_the_other(void **state)
{
    (void)state;
    struct piece p = { .count = 0 };
    CLEANUP(beside_closep) struct beside *b = open_one(false);

    for (int i = 1; i <= 100; i++) {
        beside_start(b, count, &p);
        beside_wait(b);
        assert_int_equal(p.count, i);
    }
}

static void the_end_waits_for_what_is_under_way(void **state)
{
    (void)state;
    struct piece p = { .count = 0 };
    struct beside *b = open_one(false);

    assert_int_equal(sem_init(&p.go, 0, 0), 0);
    beside_start(b, wait_and_count, &p);
    sem_post(&p.go);
    beside_close(b);
    assert_int_equal(p.count, 1);
    beside_close(NULL);
}

static void a_polite_thread_is_alone_in_it_and_hears_no_signals(void **state)
{
    (void)state;
    struct piece p = { .count = 0 };
    int before = getpriority(PRIO_PROCESS, 0);
    CLEANUP(beside_closep) struct beside *b = open_one(true);
    sigset_t mask;

    beside_start(b, count, &p);
    beside_wait(b);
    assert_int_equal(p.nice, before > 10 ? before : 10);
    assert_true(p.deaf);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), before);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_caller_goes_on_meanwhile),
        cmocka_unit_test(one_piece_after_the_other),
        cmocka_unit_test(the_end_waits_for_what_is_under_way),
        cmocka_unit_test(a_polite_thread_is_alone_in_it_and_hears_no_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
