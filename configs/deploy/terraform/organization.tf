# Above the account: what not even its administrators can do. Made in the organization's management account.

resource "aws_organizations_policy" "sovrun" {
  count   = var.organization_target_id == "" ? 0 : 1
  name    = "sovrun-region"
  type    = "SERVICE_CONTROL_POLICY"
  content = data.aws_iam_policy_document.organization.json
}

resource "aws_organizations_policy_attachment" "sovrun" {
  count     = var.organization_target_id == "" ? 0 : 1
  policy_id = aws_organizations_policy.sovrun[0].id
  target_id = var.organization_target_id
}

data "aws_iam_policy_document" "organization" {
  # Services without a region answer from one that may be another; they hold no data of jobs.
  statement {
    sid         = "DenyOtherRegions"
    effect      = "Deny"
    not_actions = ["iam:*", "organizations:*", "sts:*", "support:*"]
    resources   = ["*"]
    condition {
      test     = "StringNotEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  # Copies and replicas go through calls in our region and end in another: the calls themselves are not allowed.
  statement {
    sid    = "DenyReplication"
    effect = "Deny"
    actions = [
      "s3:PutReplicationConfiguration", "s3:ReplicateObject", "s3:ReplicateDelete", "s3:CreateMultiRegionAccessPoint",
      "s3:InitiateReplication", "kms:ReplicateKey", "kms:UpdatePrimaryRegion",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "DenyObjectsOfOtherAccounts"
    effect    = "Deny"
    actions   = ["s3:GetObject*", "s3:PutObject*"]
    resources = ["*"]
    condition {
      test     = "StringNotEquals"
      variable = "aws:ResourceAccount"
      values   = [var.account_id]
    }
  }

  statement {
    sid       = "DenyRetentionBypassAnywhere"
    effect    = "Deny"
    actions   = ["s3:BypassGovernanceRetention"]
    resources = ["*"]
  }

  statement {
    sid       = "DenyPlainHttpAnywhere"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["*"]
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
