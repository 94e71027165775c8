# Two keys: one that wraps data keys (Sovrun asks for it by name), one that the store encrypts with by itself.

locals {
  account_root = "arn:${data.aws_partition.current.partition}:iam::${var.account_id}:root"
}

resource "aws_kms_key" "train" {
  description              = "alias/${var.alias_prefix}-${var.key_name}-v1"
  customer_master_key_spec = "SYMMETRIC_DEFAULT"
  key_usage                = "ENCRYPT_DECRYPT"
  multi_region             = false # a replica would open our data elsewhere
  # A version of a Sovrun key is a key of its own; `sovrun key rotate` makes the next one and wraps again. The service's
  # own rotation would change what wraps behind the version that the manifests name.
  enable_key_rotation     = false
  deletion_window_in_days = 7
  policy                  = data.aws_iam_policy_document.train_key.json
}

# Version N of key NAME is alias/PREFIX-NAME-vN. Later versions and other keys: `sovrun key rotate`, `sovrun key create`.
resource "aws_kms_alias" "train" {
  name          = "alias/${var.alias_prefix}-${var.key_name}-v1"
  target_key_id = aws_kms_key.train.key_id
}

data "aws_iam_policy_document" "train_key" {
  # Keeping a key in order and using it are two people's work: no Decrypt here.
  statement {
    sid    = "AllowAdminsToManage"
    effect = "Allow"
    actions = [
      "kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:EnableKey", "kms:DisableKey",
      "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:TagResource",
      "kms:GetKeyRotationStatus", "kms:ListResourceTags",
    ]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [var.admin_role_arn]
    }
  }

  statement {
    sid       = "AllowWorkersToDescribe"
    effect    = "Allow"
    actions   = ["kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [var.worker_role_arn]
    }
  }

  # Every data key is bound to its cluster, job and region; a call that does not say so opens nothing.
  statement {
    sid       = "AllowWorkersToWrap"
    effect    = "Allow"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [var.worker_role_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:cluster"
      values   = [var.cluster]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:region"
      values   = [var.region]
    }
  }

  statement {
    sid       = "DenyKeyFromOutsideTheEndpoint"
    effect    = "Deny"
    actions   = ["kms:GenerateDataKey*", "kms:Decrypt", "kms:Encrypt", "kms:ReEncrypt*"]
    resources = ["*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "StringNotEquals"
      variable = "aws:SourceVpce"
      values   = [aws_vpc_endpoint.kms.id]
    }
  }

  # A grant would hand the key on, past all of the above.
  statement {
    sid       = "DenyGrants"
    effect    = "Deny"
    actions   = ["kms:CreateGrant"]
    resources = ["*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_kms_key" "store" {
  description             = "the buckets' own encryption, below Sovrun's seal"
  multi_region            = false
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.store_key.json
}

data "aws_iam_policy_document" "store_key" {
  statement {
    sid       = "AllowAccountToManageStoreKey"
    effect    = "Allow"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [local.account_root]
    }
  }

  statement {
    sid       = "AllowWorkersThroughTheStore"
    effect    = "Allow"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [var.worker_role_arn]
    }
    condition {
      test     = "StringLike"
      variable = "kms:ViaService"
      values   = ["s3.${var.region}.*"]
    }
  }
}

# Finding a key by its name lists the aliases, which no key's own policy can allow.
data "aws_iam_policy_document" "workers" {
  statement {
    sid       = "AllowWorkersToFindKeys"
    effect    = "Allow"
    actions   = ["kms:ListAliases"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "workers" {
  name   = "sovrun-find-keys"
  role   = element(split("/", var.worker_role_arn), length(split("/", var.worker_role_arn)) - 1)
  policy = data.aws_iam_policy_document.workers.json
}
