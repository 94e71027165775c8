/*
 * commands.h - every command there is; each is defined in its own cmd_NAME.c.
 */
#ifndef RUNNER_CLI_COMMANDS_H
#define RUNNER_CLI_COMMANDS_H

#include "runner/cli/options.h"

extern const struct cmd cmd_run, cmd_up, cmd_down, cmd_submit, cmd_list, cmd_show, cmd_logs, cmd_watch,
    cmd_cancel, cmd_why;
extern const struct cmd cmd_model_ls, cmd_model_get, cmd_model_sample, cmd_model_verify;
extern const struct cmd cmd_data_stage, cmd_data_ls, cmd_data_verify;
extern const struct cmd cmd_key_ls, cmd_key_create, cmd_key_rotate, cmd_key_destroy;
extern const struct cmd cmd_audit_verify, cmd_audit_tail;
extern const struct cmd cmd_policy_check, cmd_policy_show, cmd_policy_selftest;
extern const struct cmd cmd_gpu_ls;
extern const struct cmd cmd_config_check, cmd_config_explain;
extern const struct cmd cmd_help, cmd_version, cmd_completion;

#endif
