/*
 * text_json.h - any bytes as a JSON text.
 *
 * Reasons quote file names and programs' output, which need not be UTF-8. A reason that is not must not keep
 * an event out of the audit trail or an answer from a caller: each byte that is not ASCII then becomes '?'.
 */
#ifndef SCHEDULER_TEXT_JSON_H
#define SCHEDULER_TEXT_JSON_H

#include "core/json/json.h"

json_t *text_json(const char *text); /* a new JSON string, never NULL */

#endif
