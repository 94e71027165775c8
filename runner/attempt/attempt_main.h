/*
 * attempt_main.h - `sovrun attempt --home DIR JOB N`: the supervisor of one attempt. The scheduler starts it;
 * people do not.
 */
#ifndef RUNNER_ATTEMPT_ATTEMPT_MAIN_H
#define RUNNER_ATTEMPT_ATTEMPT_MAIN_H

/* argv[0] is "attempt". 0: the attempt ended, however it did, and the state knows; or it was not ours to run.
 * 1: something failed, and standard error says what. 2: bad usage. */
int attempt_main(int argc, char **argv);

#endif
