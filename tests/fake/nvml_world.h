/*
 * nvml_world.h - a host whose cards a test makes up: tests/nvml/standin.c in place of NVIDIA's library.
 *
 * The product asks the loader for libnvidia-ml.so.1; a library of that name that is loaded already is the one
 * it gets. So nothing in the product knows of this.
 */
#ifndef TESTS_FAKE_NVML_WORLD_H
#define TESTS_FAKE_NVML_WORLD_H

struct nvml_world {
    void *library; /* keeps it loaded */
    int file;      /* what the cards are */
};

/* `kind`: "now", "old" or "odd". */
void nvml_world_open(struct nvml_world *w, const char *kind);
void nvml_world_close(struct nvml_world *w);
/* From now on the cards are these lines; standin.c says which there are. */
void nvml_world_is(const struct nvml_world *w, const char *lines);

#endif
