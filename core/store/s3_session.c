/* The credentials that calls are signed with, and newer ones in time. */
#include "core/store/s3.h"

#include <string.h>

enum { RENEW_AHEAD_MS = 5 * 60 * 1000, ASK_EVERY_MS = 100 };

int64_t s3_server_now_ms(const struct store_s3 *s)
{
    return s->options.clock->wall_ms(s->options.clock) + s->skew_ms;
}

/* Many calls may find at once that the credentials are over: one of them asks. */
static void renew(struct store_s3 *s)
{
    struct store_session fresh = { .access_key = NULL };
    struct err ignored = ERR_INIT; /* what the call itself meets says enough */
    int64_t now_ms = s->options.clock->mono_ms(s->options.clock);
    if (now_ms < s->renew_not_before_ms)
        return;
    s->renew_not_before_ms = now_ms + ASK_EVERY_MS;
    if (s->renew(s->renew_context, &fresh, &ignored) == OK && fresh.access_key && fresh.secret_key &&
        !store_session_equal(&fresh, &s->session)) {
        store_session_done(&s->session);
        store_session_move(&fresh, &s->session);
        s->session_number++;
    }
    store_session_done(&fresh);
}

void s3_session_keep(struct store_s3 *s)
{
    if (s->renew && s->session.expires_ms > 0 &&
        s3_server_now_ms(s) + RENEW_AHEAD_MS >= s->session.expires_ms)
        renew(s);
}

bool s3_session_is_over(const struct store_s3 *s, const char *code, int status)
{
    enum { FORBIDDEN = 403 };
    static const char *const codes[] = { "ExpiredToken", "TokenRefreshRequired" };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strcmp(code, codes[i]) == 0)
            return true;
    /* Some services say no more of it than that access is denied; the answer to a HEAD says nothing. */
    bool unsaid = status == FORBIDDEN && (!code[0] || strcmp(code, "AccessDenied") == 0);
    return unsaid && s->session.expires_ms > 0 && s3_server_now_ms(s) >= s->session.expires_ms;
}

bool s3_session_newer(struct store_s3 *s, const struct s3_call *call)
{
    if (call->session == s->session_number)
        renew(s);
    return call->session != s->session_number;
}
