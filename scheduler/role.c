#include "scheduler/role.h"

#include <string.h>

const char *const role_names[] = {
    [ROLE_ENGINEER] = "engineer",
    [ROLE_AUDITOR] = "auditor",
    [ROLE_ADMIN] = "admin",
};

static bool is_named(const char (*names)[CLUSTER_USER_BYTES], size_t count, const char *user)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], user) == 0)
            return true;
    return false;
}

enum role role_of(const struct cluster *c, const char *user)
{
    const struct cluster_roles *r = &c->roles;
    bool over_tcp = strcmp(user, "token") == 0;
    if (is_named(r->admin, r->admin_count, user) || (r->admin_count == 0 && !over_tcp))
        return ROLE_ADMIN;
    return is_named(r->auditor, r->auditor_count, user) ? ROLE_AUDITOR : ROLE_ENGINEER;
}

enum err_code role_require(const struct cluster *c, const char *user, enum role needed, struct err *e)
{
    enum role own = role_of(c, user);
    if (own == needed || own == ROLE_ADMIN)
        return OK;
    return err_set(e, ERR_DENIED, "this needs the role %s, and '%s' is %s here (roles in sovrun.yaml)",
                   role_names[needed], user, role_names[own]);
}
