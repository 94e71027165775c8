/*
 * stage_send.h - the second reading: cut, and what is new travels. Private to data stage; stage.h tells the
 * story.
 */
#ifndef RUNNER_CLI_STAGE_SEND_H
#define RUNNER_CLI_STAGE_SEND_H

#include "runner/cli/stage.h"

/* Fills d->shards (owned by d, also after a failure) and the sizes in io. `store` is the caller's handle,
 * used in this thread alone; `there`: what was staged before, with no shards where nothing was. */
enum err_code stage_send_shards(const struct source *source, const struct stage_facts *facts,
                                const struct stage_target *target, struct store *store,
                                const struct stage_options *o, const struct dataset *there, struct dataset *d,
                                struct stage_result *io, struct err *e);

#endif
