#include "core/crypto/secret.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "core/crypto/crypto.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* Whole pages of its own: locking and leaving out of core dumps work by the page. */
struct secret {
    size_t mapped; /* bytes of the mapping that this struct begins */
    size_t len;
    uint8_t bytes[];
};

static struct secret *secret_map(size_t n)
{
    invariant(n <= SECRET_BYTES_MAX);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped = (sizeof(struct secret) + n + 1 + page - 1) / page * page;
    struct secret *s = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    invariant(s != MAP_FAILED);
    /* Best effort: without the right to lock, a secret works too, and swap is the administrator's matter. */
    (void)mlock(s, mapped);
    (void)madvise(s, mapped, MADV_DONTDUMP);
    s->mapped = mapped;
    s->len = n;
    return s;
}

struct secret *secret_new(const void *data, size_t n)
{
    struct secret *s = secret_map(n);
    if (n)
        memcpy(s->bytes, data, n);
    return s;
}

struct secret *secret_random(size_t n)
{
    struct secret *s = secret_map(n);
    random_bytes(s->bytes, n);
    return s;
}

struct secret *secret_copy(const struct secret *s)
{
    return secret_new(s->bytes, s->len);
}

void secret_free(struct secret *s)
{
    if (!s)
        return;
    size_t mapped = s->mapped;
    explicit_bzero(s, mapped);
    munmap(s, mapped);
}

const void *secret_bytes(const struct secret *s)
{
    return s->bytes;
}

size_t secret_len(const struct secret *s)
{
    return s->len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && crypto_equal(a->bytes, b->bytes, a->len);
}

enum err_code secret_from_file(const char *path, struct secret **out, struct err *e)
{
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(SECRET_BYTES_MAX);
    if (file_read_private(path, &text, e))
        return err_wrap(e, "secret '%s'", path);
    size_t n = text.len;
    if (n > 0 && text.data[n - 1] == '\n')
        n--;
    *out = secret_new(text.data, n);
    return OK;
}

void secret_harden_process(void)
{
    const struct rlimit none = { 0, 0 };
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &none);
}
