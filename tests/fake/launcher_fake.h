/*
 * launcher_fake.h - supervisors without processes: started, alive or dead as the test says.
 */
#ifndef TESTS_FAKE_LAUNCHER_FAKE_H
#define TESTS_FAKE_LAUNCHER_FAKE_H

#include "scheduler/launcher.h"

enum { FAKE_STARTS_MAX = 64 };

struct fake_start {
    char job[JOB_ID_BYTES];
    int64_t attempt;
    struct proc_id id;
    bool alive, killed; /* killed: by the scheduler */
};
struct launcher_fake {
    struct launcher base;
    struct fake_start starts[FAKE_STARTS_MAX];
    size_t count;
    bool refuse;      /* starting fails */
    int64_t stubborn; /* so many end() calls fail */
};

void launcher_fake_init(struct launcher_fake *l, const char *host);
struct fake_start *launcher_fake_last(struct launcher_fake *l); /* NULL: none */
size_t launcher_fake_alive(const struct launcher_fake *l);

#endif
