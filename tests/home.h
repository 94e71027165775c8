/*
 * home.h - an embedded cluster's folder below build/, with a small dataset staged in it.
 */
#ifndef TESTS_HOME_H
#define TESTS_HOME_H

#include "core/cluster/cluster.h"

/* A new folder build/NAME-XXXXXX with all that cluster_init_home() makes. The caller frees. */
char *home_make(const char *name);
void home_remove(char *home); /* with all that is in it; frees */

/* 40 records of two numbers and a class, in two shards, as s3://data/PREFIX; the manifest's digest. */
enum err_code home_stage(const struct cluster *c, const char *prefix, char out_digest[65], struct err *e);

#endif
