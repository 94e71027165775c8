#include "tests/fake/nvml_world.h"

#include "base/err.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Beside the folder of the test itself: build/tests/unit/test_gpu, build/tests/nvml/. */
static void library_path(const char *kind, char out[PATH_MAX])
{
    char self[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    invariant(n > 0);
    for (int i = 0; i < 2; i++)
        *strrchr(self, '/') = '\0';
    invariant(snprintf(out, PATH_MAX, "%s/nvml/%s/libnvidia-ml.so.1", self, kind) < PATH_MAX);
}

void nvml_world_open(struct nvml_world *w, const char *kind)
{
    char path[PATH_MAX], file[32];

    library_path(kind, path);
    w->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    w->file = memfd_create("cards", MFD_CLOEXEC);
    if (!w->library)
        fprintf(stderr, "%s\n", dlerror());
    invariant(w->library != NULL && w->file >= 0);
    snprintf(file, sizeof(file), "/proc/self/fd/%d", w->file);
    setenv("SOVRUN_TEST_NVML", file, 1);
}

void nvml_world_close(struct nvml_world *w)
{
    dlclose(w->library);
    close(w->file);
    unsetenv("SOVRUN_TEST_NVML");
}

void nvml_world_is(const struct nvml_world *w, const char *lines)
{
    size_t n = strlen(lines);
    invariant(ftruncate(w->file, 0) == 0 && pwrite(w->file, lines, n, 0) == (ssize_t)n);
}
