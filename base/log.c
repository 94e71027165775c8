#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A pipe takes so much at once (PIPE_BUF), so lines of several writers never mix. */
enum { LINE_BYTES = 4096 };

static const char *log_program = "-";
static enum log_level log_level = LOG_INFO;

void log_init(const char *program, enum log_level level)
{
    log_program = program;
    log_level = level;
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "?";
}

/* A value from outside must not end the line, nor forge a second one, nor steer the terminal. */
static void replace_control_characters(char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char cut[] = "...";
    enum { TEXT_MAX = LINE_BYTES - 1 }; /* the last byte is for the newline */
    char line[LINE_BYTES], when[CLOCK_TEXT_BYTES];
    int errno_before = errno;
    va_list ap;

    if (level > log_level)
        return;
    int head = snprintf(line, TEXT_MAX + 1, "%s %-5s %s %s ", clock_format(clock_wall_ms(), when),
                        level_name(level), log_program, event);
    size_t n = MIN((size_t)MAX(head, 0), (size_t)TEXT_MAX);
    va_start(ap, fmt);
    int detail = vsnprintf(line + n, TEXT_MAX + 1 - n, fmt, ap);
    va_end(ap);
    n += (size_t)MAX(detail, 0);
    if (n > TEXT_MAX) {
        n = TEXT_MAX;
        memcpy(line + n - strlen(cut), cut, strlen(cut));
    }
    while (n > 0 && line[n - 1] == ' ') /* an event without detail */
        n--;
    replace_control_characters(line, n);
    line[n++] = '\n';
    while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
        ;
    errno = errno_before;
}
