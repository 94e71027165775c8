/*
 * config_kind.h - which kind of file is this: told by the names of its settings.
 */
#ifndef RUNNER_CLI_CONFIG_KIND_H
#define RUNNER_CLI_CONFIG_KIND_H

#include "core/conf/conf.h"

enum config_kind { CONFIG_JOB, CONFIG_CLUSTER, CONFIG_POLICY };
extern const char *const config_kind_names[]; /* "job", "cluster", "policy", NULL */

/* ERR_USAGE where the names fit none, or several as well. */
enum err_code config_kind_of(const struct conf_doc *doc, const char *file, enum config_kind *out,
                             struct err *e);

#endif
