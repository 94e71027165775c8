/*
 * ruling.h - what a rule is made of: its finding, and what it looks up. Private to core/policy.
 *
 * A decision is begun, each rule begins a ruling in it, says what it finds through deny(), ruling_not_asked()
 * and ruling_at(), and is added. A rule returns whether it is satisfied, so that it reads `return deny(...)`.
 */
#ifndef CORE_POLICY_RULING_H
#define CORE_POLICY_RULING_H

#include "core/policy/endpoint.h"
#include "core/policy/policy.h"

#include <stdarg.h>

struct ruling {
    const struct policy *p;
    struct policy_finding *v;
};
void decision_begin(struct policy_decision *d);
struct ruling ruling_begin(const struct policy *p, struct policy_decision *d, const char *name);
void decision_add(
    struct policy_decision *d); /* the rule that was begun last is over; the first denial counts */

bool deny(const struct ruling *r, const char *fmt, ...) PRINTF_LIKE(2, 3); /* false */
bool ruling_not_asked(const struct ruling *r, const char *why);            /* true */
/* "policy.yaml:12: buckets 'data'", of the thing that decides; `name` NULL: the section. */
void ruling_at(const struct ruling *r, int64_t line, const char *section, const char *name);

const struct policy_bucket *policy_bucket_named(const struct policy *p, const char *name);
const struct policy_region *policy_region_named(const struct policy *p, const char *name);
const struct policy_place *policy_place_of(const struct policy_place *places, size_t count,
                                           const char *bucket);
bool has_int(const int *list, size_t count, int wanted);
bool has_text(const char *list, size_t stride, size_t count, const char *wanted);
#define HAS_TEXT(list, count, wanted) has_text((list)[0], sizeof((list)[0]), count, wanted)
bool region_has_endpoint(const struct policy_region *r, const struct endpoint *e);

/* Rules that several questions share. */
bool rule_purpose(const struct ruling *r, const char *setting, const char *bucket,
                  enum policy_purpose purpose);
bool rule_region(const struct ruling *r, const struct policy_place *place);
bool rule_class(const struct ruling *r, const char *bucket, enum data_class class, const char *what);
bool rule_provider(const struct ruling *r, int provider);
bool rule_tls(const struct ruling *r, const struct policy_place *place);

#endif
