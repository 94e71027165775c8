/* Who may do more than run jobs. */
#include "base/mem.h"
#include "scheduler/role.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static const struct row {
    const char *name, *admin, *auditor, *user;
    enum role want;
} rows[] = {
    { "nobody named: whom the socket lets in is admin", NULL, NULL, "root", ROLE_ADMIN },
    { "nobody named: the token is not", NULL, NULL, "token", ROLE_ENGINEER },
    { "a named admin is admin", "ana", NULL, "ana", ROLE_ADMIN },
    { "with an admin named, another is engineer", "ana", NULL, "bob", ROLE_ENGINEER },
    { "with an admin named, root is engineer too", "ana", NULL, "root", ROLE_ENGINEER },
    { "a named auditor is auditor", "ana", "eva", "eva", ROLE_AUDITOR },
    { "the token may be named admin", "token", NULL, "token", ROLE_ADMIN },
    { "a name that only begins alike is another", "ana", NULL, "anabel", ROLE_ENGINEER },
};

static void has_role(void **state)
{
    const struct row *row = *state;
    CLEANUP(freep) struct cluster *c = mem_new(sizeof(*c));
    struct err e = ERR_INIT;
    if (row->admin)
        snprintf(c->roles.admin[c->roles.admin_count++], CLUSTER_USER_BYTES, "%s", row->admin);
    if (row->auditor)
        snprintf(c->roles.auditor[c->roles.auditor_count++], CLUSTER_USER_BYTES, "%s", row->auditor);
    assert_int_equal(role_of(c, row->user), row->want);
    assert_int_equal(role_require(c, row->user, ROLE_ADMIN, &e), row->want == ROLE_ADMIN ? OK : ERR_DENIED);
    assert_int_equal(role_require(c, row->user, ROLE_AUDITOR, &e),
                     row->want == ROLE_ENGINEER ? ERR_DENIED : OK);
    assert_ok(role_require(c, row->user, row->want, &e));
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, has_role, NULL, NULL, (void *)(uintptr_t)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
