# The services from inside the network: addresses of ours, for `ranges` in the policy, and a way to our own things alone.

data "aws_vpc_endpoint_service" "s3" {
  service      = "s3"
  service_type = "Interface"
}

data "aws_vpc_endpoint_service" "kms" {
  service      = "kms"
  service_type = "Interface"
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id              = var.vpc_id
  vpc_endpoint_type   = "Interface"
  service_name        = data.aws_vpc_endpoint_service.s3.service_name
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  policy              = data.aws_iam_policy_document.s3_endpoint.json
}

resource "aws_vpc_endpoint" "kms" {
  vpc_id              = var.vpc_id
  vpc_endpoint_type   = "Interface"
  service_name        = data.aws_vpc_endpoint_service.kms.service_name
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  policy              = data.aws_iam_policy_document.kms_endpoint.json
}

resource "aws_security_group" "endpoints" {
  name        = "sovrun-endpoints"
  description = "HTTPS from the workers, nothing else; there is no rule for plain HTTP"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  security_group_id            = aws_security_group.endpoints.id
  referenced_security_group_id = var.worker_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

# Stolen credentials of another account, used from inside, reach no bucket of that account either.
data "aws_iam_policy_document" "s3_endpoint" {
  statement {
    sid       = "AllowOwnBucketsByOwnPrincipals"
    effect    = "Allow"
    actions   = ["s3:*"]
    resources = flatten([for bucket in aws_s3_bucket.sovrun : [bucket.arn, "${bucket.arn}/*"]])
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "kms_endpoint" {
  statement {
    sid       = "AllowOwnKeysByOwnPrincipals"
    effect    = "Allow"
    actions   = ["kms:*"]
    resources = ["arn:${data.aws_partition.current.partition}:kms:${var.region}:${var.account_id}:*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.account_id]
    }
  }

  # Listing and making have no resource of their own yet.
  statement {
    sid       = "AllowListAndCreateByOwnPrincipals"
    effect    = "Allow"
    actions   = ["kms:ListAliases", "kms:CreateKey"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.account_id]
    }
  }
}
