/*
 * policy.h - may this job run here, and if not, which rule says so and what would satisfy it.
 *
 * Pure functions of plain structs: no file, no socket, no clock, so the same question has the same answer at
 * submission, at placement and in a test. What is not allowed is denied: a bucket that the cluster does not
 * name does not exist for a job, whatever else the policy says. The first rule that says no is the answer;
 * the rules and their order:
 *
 *     data_staged   data.train is in the store, not a file of the submitting machine
 *     bucket        the buckets of data.train and checkpoint.to are the cluster's, and the policy's
 *                   where it lists any
 *     data_bucket   a dataset's shards lie in the bucket that the job names
 *     data_class    this cluster may hold data of that class
 *     kms_required  data keys are wrapped by a KMS or an HSM, not by files
 *     lock_min      checkpoints and models are locked at least so
 *     retain_min    and for at least so long
 *
 * A new rule is a row in policy.c's table.
 */
#ifndef CORE_POLICY_POLICY_H
#define CORE_POLICY_POLICY_H

#include "core/conf/conf.h"
#include "core/job/dataset.h"
#include "core/job/job_spec.h"
#include "core/keys/keys.h"
#include "core/store/store.h"

enum { POLICY_BUCKETS_MAX = 256, POLICY_CLASSES_MAX = 4, POLICY_RULE_BYTES = 32, POLICY_REASON_BYTES = 512 };

struct policy {
    bool kms_required;
    int data_classes[POLICY_CLASSES_MAX]; /* enum data_class */
    size_t data_class_count;              /* the default is all of them; an empty list allows none */
    int lock_min;                         /* enum store_lock_mode */
    int64_t retain_min_ms;
    char buckets[POLICY_BUCKETS_MAX][STORE_BUCKET_BYTES];
    size_t bucket_count; /* 0: all of the cluster's */
};
extern const struct conf_field policy_fields[];

struct policy_decision {
    bool allowed;
    char rule[POLICY_RULE_BYTES];     /* "" where allowed */
    char reason[POLICY_REASON_BYTES]; /* what, where, and what would satisfy it */
};

/* `dataset` NULL: not read yet, so what only it can tell is not asked. `cluster_buckets`: every bucket that
 * the cluster's configuration names. */
void policy_admit(const struct policy *policy, const struct job_spec *spec, const struct dataset *dataset,
                  enum keys_provider provider, const char *const *cluster_buckets,
                  size_t cluster_bucket_count, struct policy_decision *out);

#endif
