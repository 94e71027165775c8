/*
 * budget.h - what a rank will need of memory, known before any of it is taken.
 *
 * Everything that grows with the model or the batch is counted; what is counted is what the parts take
 * (model_plan(), step.h, tree.h, checkpoint.h, export.h). A job that does not fit is refused at its start,
 * with the sizes and with what makes them smaller, and not killed by the kernel after an hour.
 */
#ifndef TRAINER_BUDGET_H
#define TRAINER_BUDGET_H

#include "core/job/job_spec.h"
#include "core/store/store.h"
#include "trainer/model.h"

/* Bytes of one rank. */
struct budget {
    uint64_t parameters;
    uint64_t moments;     /* AdamW's two, of the own slices */
    uint64_t gradients;   /* the tree's partial sums */
    uint64_t activations; /* of one leaf */
    uint64_t workspace;
    uint64_t
        checkpoint; /* the snapshot, and the largest of a part and the model file twice: plain and sealed */
    uint64_t data;  /* shards that are kept, and two batches */
    uint64_t total;
    uint64_t card; /* of total: what lies on a card and not in the host's memory; 0 on the CPU */
};
struct budget_question {
    const char *kind; /* of the model */
    const struct model_config *config;
    const struct job_spec *spec;
    struct device *device;
    size_t ranks;
    uint64_t data_bytes; /* of shards once they are read, at most */
};
/* ERR_USAGE: as model_open(). ERR_LIMIT: a part or the model file would be larger than an object may be. */
enum err_code budget_make(const struct budget_question *q, struct budget *out, struct err *e);

/* Memory that can still be had here: of the machine, or of the control group where that is less. 0: cannot be
 * told. */
uint64_t budget_available(void);

/* `ranks` of them share `available` of the host's memory, which is 0 where it is not known. ERR_LIMIT: the
 * sizes, and what to reduce. Pure. */
enum err_code budget_check(const struct budget *b, size_t ranks, uint64_t available, struct err *e);
/* The same of one rank's card, of which `room` bytes are left (device_room()). */
enum err_code budget_check_card(const struct budget *b, uint64_t room, struct err *e);
/* "parameters 475 MiB, moments 950 MiB, ...": for the log and for errors. */
void budget_text(const struct budget *b, char *out, size_t out_bytes);

#endif
