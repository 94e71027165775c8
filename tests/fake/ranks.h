/*
 * ranks.h - an mpirun and trainers for tests of the supervisor: the test's own program under other names.
 *
 * What it is called as (argv[0]) decides what it does. A test links itself as "mpirun", "trainer-good" and so
 * on, and its main() asks fake_main() first.
 */
#ifndef TESTS_FAKE_RANKS_H
#define TESTS_FAKE_RANKS_H

#include <stdbool.h>

/* True where argv[0] is one of these names: *out_status is what main() shall return. */
bool fake_main(int argc, char **argv, int *out_status);

extern const char *const fake_names[]; /* NULL-terminated */

#endif
