#include "runner/cli/commands.h"

#include "runner/cli/cli.h"

const struct cmd *const cli_commands[] = {
    &cmd_run,          &cmd_up,         &cmd_down,         &cmd_submit,
    &cmd_list,         &cmd_show,       &cmd_logs,         &cmd_watch,
    &cmd_cancel,       &cmd_why,        &cmd_model_ls,     &cmd_model_get,
    &cmd_model_verify, &cmd_data_stage, &cmd_data_ls,      &cmd_data_verify,
    &cmd_key_ls,       &cmd_key_create, &cmd_key_rotate,   &cmd_key_destroy,
    &cmd_audit_verify, &cmd_audit_tail, &cmd_config_check, &cmd_config_explain,
    &cmd_help,         &cmd_version,    &cmd_completion,   NULL,
};
