/*
 * log.h - one event a line, named, with key=value detail, on standard error.
 *
 *     log_info("job.placed", "job=%s nodes=%d", id, n);
 *     2026-11-22T10:15:00.123Z info  scheduler job.placed job=261122-k3m9qz nodes=1
 *
 * error: someone must act. warn: we carried on, and the line says so. info: one per change of state. debug:
 * off unless asked for. Programs log; base, core and kernels log at debug only. Never a secret.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/def.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_init(const char *program, enum log_level level); /* program is borrowed */
void log_event(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_event(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_event(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)

#endif
