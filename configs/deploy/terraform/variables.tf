variable "region" {
  description = "the one region; `region` of the cluster and of the policy's region"
  type        = string
  default     = "eusc-de-east-1"
}

variable "account_id" {
  description = "the account that owns everything here"
  type        = string
}

variable "cluster" {
  description = "`cluster` in sovrun.yaml; data keys are bound to it"
  type        = string
}

variable "buckets" {
  description = "purpose, as in the policy, to bucket name"
  type        = map(string)
  default = {
    data     = "acme-train"
    models   = "acme-models"
    evidence = "acme-evidence"
  }
}

variable "retain_days_max" {
  description = "locks.retain_max of the policy, in days: a longer lock is refused, since none can be taken back"
  type        = number
  default     = 400
}

variable "alias_prefix" {
  description = "keys.alias_prefix in sovrun.yaml"
  type        = string
  default     = "sovrun"
}

variable "key_name" {
  description = "the key's name, without its version: checkpoint.key of the jobs"
  type        = string
  default     = "train"
}

variable "worker_role_arn" {
  description = "the role of the scheduler, the supervisors and the ranks"
  type        = string
}

variable "admin_role_arn" {
  description = "the role that makes and destroys keys and changes buckets; not the workers'"
  type        = string
}

variable "vpc_id" {
  description = "the network that the workers are in"
  type        = string
}

variable "subnet_ids" {
  description = "its subnets for the endpoints; their address ranges are `ranges` in the policy"
  type        = list(string)
}

variable "worker_security_group_id" {
  description = "who may open a connection to the endpoints"
  type        = string
}

variable "organization_target_id" {
  description = "root, unit or account to which the organization's policy is attached; empty: it is not made here"
  type        = string
  default     = ""
}
