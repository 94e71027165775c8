/*
 * export_gate.h - asked before a model is opened for a file: may it leave the store?
 *
 * The scheduler decides, by the policy's `exports` and by who the socket says that we are, and has the answer
 * in the ledger's outbox before it gives it. Where nobody answers, nothing leaves. An embedded cluster that
 * is down is brought up for the question, as `run` does, and taken down again; jobs that wait there go on
 * waiting.
 *
 * What this does not hold: whoever can read the key provider's credentials and the store opens sealed objects
 * without asking (docs/SOVEREIGNTY.md).
 */
#ifndef RUNNER_CLI_EXPORT_GATE_H
#define RUNNER_CLI_EXPORT_GATE_H

#include "runner/cli/models.h"

/* ERR_DENIED: the policy's rule, its line and what would satisfy it. ERR_RETRY: it could not be asked, or not
 * be recorded. */
enum err_code export_gate(struct cli *c, const struct models *m, const struct artifact *a, struct err *e);

#endif
