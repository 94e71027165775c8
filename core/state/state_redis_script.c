/*
 * The scripts. Redis runs each whole or not at all as far as others can see, but does not undo what a script
 * wrote before it failed: so the commit script checks everything first, and nothing that it writes afterwards
 * can be refused (types are apart by prefix, numbers were checked by the facade, a full memory is noticed
 * before the first write).
 */
#include "core/state/state_redis.h"

#include "base/text.h"

#include <string.h>

/* KEYS: the floor, then one for each operation. ARGV: three for each operation: its name, and two arguments.
 */
static const char commit_body[] =
    "local n = #KEYS - 1\n"
    "for i = 1, n do\n"
    "  if ARGV[3*i-2] == 'fence' and redis.call('HGET', KEYS[i+1], 't') ~= ARGV[3*i-1] then\n"
    "    return {'fence', i}\n"
    "  end\n"
    "end\n"
    "for i = 1, n do\n"
    "  if ARGV[3*i-2] == 'expect' then\n"
    "    local found = redis.call('HGET', KEYS[i+1], 'v') or '0'\n"
    "    if found ~= ARGV[3*i-1] then return {'expect', i, found} end\n"
    "  end\n"
    "end\n"
    "local write = {}\n"
    "function write.fence() end\n"
    "function write.expect() end\n"
    "function write.put(key, data)\n"
    "  if not redis.call('HGET', key, 'v') then\n"
    "    redis.call('HSET', key, 'v', redis.call('GET', KEYS[1]) or '0')\n"
    "  end\n"
    "  redis.call('HINCRBY', key, 'v', 1)\n"
    "  redis.call('HSET', key, 'd', data)\n"
    "end\n"
    "function write.delete(key)\n"
    "  local v = redis.call('HGET', key, 'v')\n"
    "  if not v then return end\n"
    "  if tonumber(v) > tonumber(redis.call('GET', KEYS[1]) or '0') then redis.call('SET', KEYS[1], v) end\n"
    "  redis.call('DEL', key)\n"
    "end\n"
    "function write.rank(key, member, score) redis.call('ZADD', key, score, member) end\n"
    "function write.unrank(key, member) redis.call('ZREM', key, member) end\n"
    "function write.append(key, data) redis.call('XADD', key, '*', 'd', data) end\n"
    "function write.drop(key, id) redis.call('XTRIM', key, 'MINID', '=', id) end\n"
    "for i = 1, n do write[ARGV[3*i-2]](KEYS[i+1], ARGV[3*i-1], ARGV[3*i]) end\n"
    "return {'done'}\n";

/* KEYS: the lease. ARGV: verb, owner, token, ttl. Answers: done, newest token, owner, ms left. */
static const char lease_body[] =
    "local verb, owner, token, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])\n"
    "local time = redis.call('TIME')\n"
    "local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)\n"
    "local h = redis.call('HMGET', KEYS[1], 'o', 't', 'u')\n"
    "local holder, last, upto = h[1] or '', h[2] or '0', tonumber(h[3] or '0')\n"
    "local function text(x) return string.format('%.0f', x) end\n"
    "local function answer(done)\n"
    "  if upto > now then return {done, last, holder, text(upto - now)} end\n"
    "  return {done, last, '', '0'}\n"
    "end\n"
    "if verb == 'look' then return answer(upto > now and 1 or 0) end\n"
    "if verb == 'take' then\n"
    "  if upto > now and holder ~= owner then return answer(0) end\n"
    "  last, holder, upto = text(math.max(tonumber(last) + 1, now)), owner, now + ttl\n"
    "  redis.call('HSET', KEYS[1], 'o', holder, 't', last, 'u', text(upto))\n"
    "  return answer(1)\n"
    "end\n"
    "if last == '0' or last ~= token then return answer(0) end\n"
    "if verb == 'renew' then\n"
    "  upto = now + ttl\n"
    "  redis.call('HSET', KEYS[1], 'u', text(upto))\n"
    "  return answer(1)\n"
    "end\n"
    "last, upto = text(tonumber(last) + 1), 0\n" /* release, break: nobody holds the token that comes next */
    "redis.call('HSET', KEYS[1], 't', last, 'u', '0')\n"
    "return answer(1)\n";

/* KEYS: streams. Answers: the id of each one's newest entry, "" where it has none. */
static const char tails_body[] = "local tails = {}\n"
                                 "for i = 1, #KEYS do\n"
                                 "  local newest = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)\n"
                                 "  tails[i] = newest[1] and newest[1][1] or ''\n"
                                 "end\n"
                                 "return tails\n";

const char *redis_script_body(enum redis_script which)
{
    static const char *const bodies[SCRIPT_COUNT] = {
        [SCRIPT_COMMIT] = commit_body,
        [SCRIPT_LEASE] = lease_body,
        [SCRIPT_TAILS] = tails_body,
    };
    invariant(which > SCRIPT_NONE && which < SCRIPT_COUNT);
    return bodies[which];
}

enum err_code redis_scripts_ask(struct wire *w, int64_t deadline_ms, struct err *e)
{
    for (enum redis_script which = SCRIPT_NONE + 1; which < SCRIPT_COUNT; which++) {
        CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
        redis_arg_text(&cmd, "SCRIPT");
        redis_arg_text(&cmd, "LOAD");
        redis_arg_text(&cmd, redis_script_body(which));
        if (wire_send(w, &cmd, deadline_ms, e))
            return err_wrap(e, "load the scripts");
    }
    return OK;
}

enum err_code redis_scripts_take(struct wire *w, int64_t deadline_ms, struct err *e)
{
    for (enum redis_script which = SCRIPT_NONE + 1; which < SCRIPT_COUNT; which++) {
        CLEANUP(redis_reply_freep) redisReply *reply = NULL;
        if (wire_receive(w, deadline_ms, &reply, e) || redis_reply_is(reply, REDIS_REPLY_STRING, 0, e))
            return err_wrap(e, "load the scripts");
        if (reply->len != REDIS_SHA_BYTES - 1)
            return err_set(e, ERR_CORRUPT, "load the scripts: the answer is no SHA-1");
        memcpy(w->sha[which], reply->str, REDIS_SHA_BYTES);
    }
    return OK;
}

/* ---- replies ---- */

bool redis_reply_starts(const redisReply *r, const char *word)
{
    return r && r->type == REDIS_REPLY_ERROR && text_starts(r->str, word);
}

enum err_code redis_reply_check(const redisReply *r, struct err *e)
{
    static const struct {
        const char *word;
        enum err_code code;
    } known[] = {
        { "LOADING", ERR_RETRY },    { "BUSY", ERR_RETRY },        { "MASTERDOWN", ERR_RETRY },
        { "READONLY", ERR_RETRY },   { "CLUSTERDOWN", ERR_RETRY }, { "TRYAGAIN", ERR_RETRY },
        { "NOREPLICAS", ERR_RETRY }, { "MISCONF", ERR_RETRY },     { "UNBLOCKED", ERR_RETRY },
        { "OOM", ERR_LIMIT },        { "NOAUTH", ERR_DENIED },     { "WRONGPASS", ERR_DENIED },
        { "NOPERM", ERR_DENIED },    { "WRONGTYPE", ERR_CORRUPT }, { "MOVED", ERR_USAGE },
    };
    if (!r || r->type != REDIS_REPLY_ERROR)
        return OK;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t n = strlen(known[i].word);
        if (r->len >= n && memcmp(r->str, known[i].word, n) == 0 && (r->len == n || r->str[n] == ' '))
            return err_set(e, known[i].code, "redis: %.*s", (int)MIN(r->len, (size_t)200), r->str);
    }
    return err_set(e, ERR_IO, "redis: %.*s", (int)MIN(r->len, (size_t)200), r->str);
}

enum err_code redis_reply_is(const redisReply *r, int type, size_t elements_min, struct err *e)
{
    if (redis_reply_check(r, e))
        return e->code;
    if (!r || r->type != type || (type == REDIS_REPLY_ARRAY && r->elements < elements_min))
        return err_set(e, ERR_CORRUPT, "redis: an answer of another kind than asked for");
    return OK;
}

const redisReply *redis_reply_at(const redisReply *r, size_t i, int type)
{
    if (!r || r->type != REDIS_REPLY_ARRAY || i >= r->elements || r->element[i]->type != type)
        return NULL;
    return r->element[i];
}

enum err_code redis_reply_i64(const redisReply *r, int64_t *out, struct err *e)
{
    char *end = NULL;

    if (r && r->type == REDIS_REPLY_INTEGER) {
        *out = r->integer;
        return OK;
    }
    if (!r || r->type != REDIS_REPLY_STRING || r->len == 0)
        return err_set(e, ERR_CORRUPT, "redis: an answer without its number");
    int64_t v = strtoll(r->str, &end, 10);
    if (end != r->str + r->len)
        return err_set(e, ERR_CORRUPT, "redis: '%.40s' is not a number", r->str);
    *out = v;
    return OK;
}
