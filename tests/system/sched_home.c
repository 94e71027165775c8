/* sched_home DIR: an embedded cluster's home with a small dataset staged as s3://data/set; for the system
 * tests' scripts. */
#include "tests/home.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    char digest[65];
    struct err e = ERR_INIT;

    if (argc != 2) {
        fputs("usage: sched_home DIR\n", stderr);
        return 2;
    }
    if (cluster_init_home(argv[1], &e) || cluster_load(argv[1], NULL, &c, &e) ||
        home_stage(c, "set", digest, &e)) {
        fprintf(stderr, "sched_home: %s\n", e.text);
        return 1;
    }
    return 0;
}
