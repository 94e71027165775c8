/*
 * artifact_json.h - an artifact's manifest as text and back; only core/artifact uses it. Format:
 * docs/FORMATS.md.
 */
#ifndef CORE_ARTIFACT_ARTIFACT_JSON_H
#define CORE_ARTIFACT_ARTIFACT_JSON_H

#include "core/artifact/artifact.h"

#define ARTIFACT_PAYLOAD_TYPE "application/vnd.sovrun.artifact+json"
enum { ARTIFACT_VERSION = 1 };

enum err_code artifact_to_text(const struct artifact *a, struct buf *out, struct err *e); /* canonical */
/* Everything but manifest_key and manifest_version. ERR_CORRUPT names the member that is wrong. */
enum err_code artifact_from_text(const void *text, size_t n, struct artifact *out, struct err *e);

#endif
