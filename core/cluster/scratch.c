#include "core/cluster/scratch.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char shared_memory[] = "/dev/shm";

static char *prefix_of(const char *job)
{
    return mem_printf("sovrun.%u.%s%s", (unsigned)geteuid(), job, job[0] ? "." : "");
}

/* ---- removing ---- */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    /* What cannot be removed is left; the folder's own removal fails then, which harms nobody. */
    remove(path);
    return 0;
}

void scratch_remove(const char *path)
{
    enum { OPEN_FOLDERS = 16 };
    if (path)
        nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
}

/* The parent is open to all users: a name alone does not make it ours. */
static void remove_if_ours(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid())
        scratch_remove(path);
}

/* HOME/attempts/JOB.N is there for "JOB.N-XXXXXX". */
static bool is_of_home(const char *rest, const char *home)
{
    const char *dash = strrchr(rest, '-');
    if (!dash || strchr(rest, '/'))
        return false;
    CLEANUP(freep) char *attempt = mem_printf("%s/attempts/%.*s", home, (int)(dash - rest), rest);
    return file_exists(attempt);
}

/* `home` NULL: of whatever home. */
static void sweep(const char *parent, const char *prefix, const char *home)
{
    struct dirent *entry;
    DIR *d = opendir(parent);
    if (!d)
        return;
    while ((entry = readdir(d)) != NULL) {
        CLEANUP(freep) char *path = path_join(parent, entry->d_name);
        if (text_starts(entry->d_name, prefix) && (!home || is_of_home(entry->d_name + strlen(prefix), home)))
            remove_if_ours(path);
    }
    closedir(d);
}

void scratch_sweep_job(const char *job)
{
    CLEANUP(freep) char *prefix = prefix_of(job);
    sweep(shared_memory, prefix, NULL);
}

void scratch_sweep_home(const char *home)
{
    CLEANUP(freep) char *prefix = prefix_of("");
    sweep(shared_memory, prefix, home);
}

/* ---- making ---- */

static char *make_folder(const char *parent, const char *prefix, int64_t attempt)
{
    CLEANUP(freep) char *path = mem_printf("%s/%s%" PRId64 "-XXXXXX", parent, prefix, attempt);
    return mkdtemp(path) ? TAKE(path) : NULL;
}

enum err_code scratch_make(const char *job, int64_t attempt, const char *fallback_dir, char **out,
                           struct err *e)
{
    /* Shared memory on disk would cost the ranks dearly; it is only the way out where there is no other. */
    const char *parents[] = { shared_memory, fallback_dir };
    CLEANUP(freep) char *prefix = prefix_of(job);
    for (size_t i = 0; i < ARRAY_LEN(parents); i++) {
        sweep(parents[i], prefix, NULL);
        char *path = make_folder(parents[i], prefix, attempt);
        if (path) {
            *out = path;
            return OK;
        }
    }
    return err_errno(e, "make a scratch folder in '%s'", fallback_dir);
}
