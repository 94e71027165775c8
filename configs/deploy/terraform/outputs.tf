# What goes into policy.yaml and sovrun.yaml.

output "policy_ranges" {
  description = "regions[].ranges: the subnets that the endpoints' addresses are from"
  value       = [for subnet in data.aws_subnet.endpoints : subnet.cidr_block]
}

output "policy_arns" {
  description = "keys.arns"
  value       = ["arn:${data.aws_partition.current.partition}:kms:${var.region}:${var.account_id}:key/*"]
}

output "policy_buckets" {
  description = "buckets, by purpose"
  value       = var.buckets
}

data "aws_subnet" "endpoints" {
  for_each = toset(var.subnet_ids)
  id       = each.value
}
