/*
 * leftover.h - all processes of one session, found and ended.
 *
 * A supervisor leads a session; what it starts stays in it, whatever groups are made and whoever becomes the
 * parent. The kernel gives a session's number to no new process while the session has members. So where the
 * leader is dead, whoever carries its number as session is its orphan; and where a living process has that
 * number but another start time, the session has no members left and there is nothing to do.
 */
#ifndef SCHEDULER_LEFTOVER_H
#define SCHEDULER_LEFTOVER_H

#include "base/proc.h"

/* SIGKILL to every member of the session that `leader` led or leads; how many were still there. Zombies are
 * not counted. */
size_t leftover_kill(struct proc_id leader);

#endif
