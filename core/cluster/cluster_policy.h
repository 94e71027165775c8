/*
 * cluster_policy.h - the policy asked about this cluster: its places, its jobs, and what its stores say of
 * themselves.
 *
 * core/policy decides about plain structs; here those are filled from the cluster's configuration.
 * cluster_load() has asked about the configuration itself already.
 */
#ifndef CORE_CLUSTER_CLUSTER_POLICY_H
#define CORE_CLUSTER_CLUSTER_POLICY_H

#include "core/cluster/cluster.h"
#include "core/cluster/networks.h"

/* May this job run here? `dataset` NULL: not read yet. */
void cluster_admit(const struct cluster *c, const struct job_spec *spec, const struct dataset *dataset,
                   struct policy_decision *out);

/* Over which networks its ranks may talk: those of the region that its data lies in. */
void cluster_networks(const struct cluster *c, const struct job_spec *spec, struct networks *out);

/* Does the configuration keep to the policy? ERR_DENIED with the rule and its line. */
enum err_code cluster_check_policy(const struct cluster *c, struct err *e);

/* Read back what the store says of a bucket, and hold it against the policy. ERR_DENIED: a mismatch; other
 * errors: the store could not be asked, within a quarter of an attempt's lease. */
enum err_code cluster_check_bucket(const struct cluster *c, const char *bucket, struct store_facts *out,
                                   struct err *e);
json_t *cluster_facts_json(const char *bucket, const struct store_facts *facts); /* for the ledger */

#endif
