/*
 * presets.h - the sovereign clouds that are known by name: their regions, hosts and what their object lock
 * can do.
 *
 * Facts as the providers' documentation and SDKs gave them in November 2026, but for what the probe of
 * `sovrun policy selftest` finds out by itself. A preset gives names and never address ranges: those are the
 * deployment's to state.
 */
#ifndef CORE_POLICY_PRESETS_H
#define CORE_POLICY_PRESETS_H

#include "core/policy/policy.h"

enum { PROVIDER_LOCAL, PROVIDER_S3 }; /* then the presets */

struct preset {
    const char *provider, *region, *country, *endpoint;
};
/* NULL: the provider has no such region. The two that are no presets have any. */
const struct preset *preset_find(int provider, const char *region);
bool preset_is_one(int provider);
void preset_regions(int provider, struct buf *out); /* "gra, rbx, ...", for messages */
struct policy_quirks preset_quirks(int provider);

#endif
