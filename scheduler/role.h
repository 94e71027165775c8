/*
 * role.h - what a caller may do besides his own jobs.
 *
 * sovrun.yaml names who is what (`roles: { admin: [ana], auditor: [eva] }`); whoever is let in and named
 * nowhere is an engineer. Where no admin is named, those whom the Unix socket lets in are: root and the
 * scheduler's own user. The token of the TCP listener is user "token", an admin only where it is named so.
 * Pure.
 */
#ifndef SCHEDULER_ROLE_H
#define SCHEDULER_ROLE_H

#include "core/cluster/cluster.h"

enum role { ROLE_ENGINEER, ROLE_AUDITOR, ROLE_ADMIN };
extern const char *const role_names[];

enum role role_of(const struct cluster *c, const char *user);
/* ERR_DENIED: "this needs the role admin; bob is engineer". An admin may do all that the others may. */
enum err_code role_require(const struct cluster *c, const char *user, enum role needed, struct err *e);

#endif
