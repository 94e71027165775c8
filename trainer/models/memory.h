/*
 * memory.h - a model's memory on its device as a list: written down once, then added up or taken.
 *
 * A kind of model lists every array it needs and where the pointer to it belongs. model_plan() adds the list
 * up and model_open() takes it, so the two cannot differ.
 */
#ifndef TRAINER_MODELS_MEMORY_H
#define TRAINER_MODELS_MEMORY_H

#include "kernels/device.h"

enum memory_use { MEMORY_ACTIVATIONS, MEMORY_WORKSPACE, MEMORY_USES };

struct memory_piece {
    enum memory_use use;
    void *out; /* borrowed: a pointer to data of any type, set when the piece is taken */
    size_t count, bytes_each;
    void *taken; /* owned; NULL before */
};
struct memory_list {
    struct memory_piece *pieces; /* owned */
    size_t count, max;
};

void memory_init(struct memory_list *l, size_t pieces_max);
/* Gives back what was taken. Accepts a list of zeros. */
void memory_done(struct memory_list *l, struct device *d);

void memory_add(struct memory_list *l, enum memory_use use, void *out, size_t count, size_t bytes_each);
/* Bytes by use. ERR_LIMIT: a piece that no device has room for. */
enum err_code memory_sum(const struct memory_list *l, size_t out_bytes[MEMORY_USES], struct err *e);
/* All of it, zeroed. ERR_LIMIT: no room; what was taken until then is memory_done()'s to give back. */
enum err_code memory_take(struct memory_list *l, struct device *d, struct err *e);

#endif
