/*
 * cluster_paths.h - what the files of core/cluster share. Private to the module.
 */
#ifndef CORE_CLUSTER_CLUSTER_PATHS_H
#define CORE_CLUSTER_CLUSTER_PATHS_H

#include "core/cluster/cluster.h"

enum { CLUSTER_SOCKET_PATH_MAX = 107 }; /* sockaddr_un.sun_path, less its NUL */

/* Absolute, without a slash at its end. Symbolic links stay: a short one is the way around the limit above.
 */
enum err_code cluster_home_path(const char *home, char out[CLUSTER_PATH_BYTES], struct err *e);

/* ERR_USAGE, with what to do, where the sockets of an embedded cluster in `home` would have too long a path.
 */
enum err_code cluster_check_sockets(const char *home, struct err *e);

const struct cluster_store *cluster_find_store(const struct cluster *c, const char *bucket); /* NULL: none */
bool cluster_is_dev(const struct cluster *c);

/* KEYS/signing.pem -> KEYS/signing.pub.pem. The caller frees. */
char *cluster_public_key_path(const struct cluster *c);

#endif
