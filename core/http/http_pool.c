#include "core/http/http_pool.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/http/http_client.h"

#include <string.h>

enum { POLL_MS_MAX = 1000 };

struct slot {
    struct http_client *client; /* owned */
    struct http_exchange x;
    bool busy;
};
struct http_pool {
    CURLM *multi;
    struct slot *slots;
    size_t count, busy;
};

enum err_code http_pool_open(const struct http_options *o, size_t connections, struct http_pool **out,
                             struct err *e)
{
    CLEANUP(http_pool_closep) struct http_pool *p = mem_new(sizeof(*p));
    if (connections < 1 || connections > HTTP_POOL_MAX)
        return err_set(e, ERR_USAGE, "a pool has 1 to %d connections, not %zu", HTTP_POOL_MAX, connections);
    p->slots = mem_array(connections, sizeof(*p->slots));
    for (size_t i = 0; i < connections; i++) {
        struct slot *s = &p->slots[i];
        if (http_open(o, &s->client, e))
            return e->code;
        s->x = (struct http_exchange){ .slot = i, .r = HTTP_RESPONSE_INIT(0) };
        p->count++;
        curl_easy_setopt(s->client->curl, CURLOPT_PRIVATE, s);
    }
    p->multi = curl_multi_init();
    if (!p->multi || curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)connections) != CURLM_OK)
        return err_set(e, ERR_USAGE, "this libcurl (%s) has no multi interface", curl_version());
    *out = TAKE(p);
    return OK;
}

size_t http_pool_size(const struct http_pool *p)
{
    return p->count;
}

/* Whatever is under way is broken off. */
static void break_off(struct http_pool *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct slot *s = &p->slots[i];
        if (s->busy) {
            curl_multi_remove_handle(p->multi, s->client->curl);
            http_let_go(s->client);
        }
        s->busy = false;
        buf_done(&s->x.r.body);
        s->x.r.body = (struct buf)BUF_INIT(0);
    }
    p->busy = 0;
}

void http_pool_close(struct http_pool *p)
{
    if (!p)
        return;
    if (p->multi)
        break_off(p);
    for (size_t i = 0; i < p->count; i++) {
        http_close(p->slots[i].client);
        http_response_done(&p->slots[i].x.r);
    }
    if (p->multi)
        curl_multi_cleanup(p->multi);
    free(p->slots);
    free(p);
}

/* ---- running ---- */

/* An exchange that could not even be begun has ended, too. */
static enum err_code begin(struct http_pool *p, const struct http_work *w, struct slot *s, struct err *e)
{
    struct err failure = ERR_INIT;
    if (http_begin(s->client, &s->x.q, &s->x.r, &failure) == OK) {
        if (curl_multi_add_handle(p->multi, s->client->curl) == CURLM_OK) {
            s->busy = true;
            p->busy++;
            return OK;
        }
        http_let_go(s->client);
        IGNORE(err_set(&failure, ERR_USAGE, "%s: libcurl does not take the request", s->client->place));
    }
    return w->done(w->context, &s->x, &failure, e);
}

static enum err_code end(struct http_pool *p, const struct http_work *w, struct slot *s, CURLcode result,
                         struct err *e)
{
    struct err failure = ERR_INIT;
    curl_multi_remove_handle(p->multi, s->client->curl);
    s->busy = false;
    p->busy--;
    IGNORE(http_end(s->client, result, &s->x.q, &s->x.r, &failure));
    return w->done(w->context, &s->x, &failure, e);
}

/* Fill the free clients. *out_wait_ms: when to ask again; -1: when something has ended. */
static enum err_code fill(struct http_pool *p, const struct http_work *w, int64_t *out_wait_ms, bool *out_end,
                          struct err *e)
{
    *out_wait_ms = -1;
    *out_end = false;
    for (size_t i = 0; i < p->count; i++) {
        struct slot *s = &p->slots[i];
        if (s->busy)
            continue;
        enum http_next next = w->next(w->context, &s->x, out_wait_ms);
        *out_end = next == HTTP_NEXT_END;
        if (next != HTTP_NEXT_READY)
            return OK;
        *out_wait_ms = -1;
        if (begin(p, w, s, e))
            return e->code;
        if (!s->busy)
            i--; /* ended at once: the client is free again */
    }
    return OK;
}

static enum err_code collect(struct http_pool *p, const struct http_work *w, bool *out_any, struct err *e)
{
    CURLMsg *message;
    int left;
    *out_any = false;
    while ((message = curl_multi_info_read(p->multi, &left)) != NULL) {
        char *slot = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
        *out_any = true;
        if (end(p, w, (struct slot *)(void *)slot, result, e))
            return e->code;
    }
    return OK;
}

static enum err_code run(struct http_pool *p, const struct http_work *w, struct err *e)
{
    for (;;) {
        int64_t wait_ms;
        bool ended, any;
        int running;
        if (fill(p, w, &wait_ms, &ended, e))
            return e->code;
        if (p->busy == 0 && ended)
            return OK;
        if (p->busy == 0 && wait_ms >= 0) {
            clock_real.sleep_ms(&clock_real, MIN(wait_ms, (int64_t)POLL_MS_MAX));
            continue;
        }
        if (curl_multi_perform(p->multi, &running) != CURLM_OK)
            return err_set(e, ERR_IO, "libcurl cannot go on");
        if (collect(p, w, &any, e))
            return e->code;
        if (any)
            continue;
        int poll_ms = (int)(wait_ms >= 0 ? MIN(wait_ms, (int64_t)POLL_MS_MAX) : POLL_MS_MAX);
        if (curl_multi_poll(p->multi, NULL, 0, poll_ms, NULL) != CURLM_OK)
            return err_set(e, ERR_IO, "libcurl cannot wait");
    }
}

enum err_code http_pool_run(struct http_pool *p, const struct http_work *w, struct err *e)
{
    enum err_code code = run(p, w, e);
    break_off(p);
    return code;
}
