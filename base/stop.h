/*
 * stop.h - SIGTERM, SIGINT and SIGHUP (a terminal that was closed; not under nohup) as a flag and a descriptor
 * that poll() can wait for.
 */
#ifndef BASE_STOP_H
#define BASE_STOP_H

#include <stdbool.h>

void stop_init(void);     /* installs the handlers; once, from main */
bool stop_asked(void);    /* true after the first of them */
int stop_fd(void);        /* readable from then on */

#endif
