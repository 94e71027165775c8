/*
 * refusals.h - the connections that this command was refused, told to the state for the ledger.
 */
#ifndef RUNNER_CLI_REFUSALS_H
#define RUNNER_CLI_REFUSALS_H

struct cli;

/* From now on refusals wait in c->egress. */
void refusals_watch(struct cli *c);
/* Tells what waits. Where the state cannot be reached the user hears that the ledger does not know. */
void refusals_tell(struct cli *c);
void refusals_done(struct cli *c);

/* "user:ana", as the scheduler would call whoever runs this. */
enum { REFUSALS_ACTOR_BYTES = 80 };
void refusals_actor(char out[REFUSALS_ACTOR_BYTES]);

#endif
