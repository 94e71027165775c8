# One bucket for each purpose: versions, object lock, and encryption by our key for whatever is put.

resource "aws_s3_bucket" "sovrun" {
  for_each            = var.buckets
  bucket              = each.value
  object_lock_enabled = true # at creation or never
}

resource "aws_s3_bucket_versioning" "sovrun" {
  for_each = aws_s3_bucket.sovrun
  bucket   = each.value.id
  versioning_configuration {
    status = "Enabled"
  }
}

# No default retention: Sovrun gives each object the lock that its job or the ledger asks for, and reads it back. A default
# would also hold the scratch objects of `sovrun policy selftest`.
resource "aws_s3_bucket_object_lock_configuration" "sovrun" {
  for_each            = aws_s3_bucket_versioning.sovrun
  bucket              = each.value.bucket
  object_lock_enabled = "Enabled"
}

resource "aws_s3_bucket_server_side_encryption_configuration" "sovrun" {
  for_each = aws_s3_bucket.sovrun
  bucket   = each.value.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.store.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "sovrun" {
  for_each                = aws_s3_bucket.sovrun
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "sovrun" {
  for_each = aws_s3_bucket.sovrun
  bucket   = each.value.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "sovrun" {
  for_each = aws_s3_bucket.sovrun
  bucket   = each.value.id
  policy   = data.aws_iam_policy_document.bucket[each.key].json
}

# A condition that compares with "not equals" also holds where the request does not carry the key at all. Where that is not
# meant, a second condition (Null ... false) asks that it does.
data "aws_iam_policy_document" "bucket" {
  for_each = aws_s3_bucket.sovrun

  statement {
    sid       = "DenyPlainHttp"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "DenyOldTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "NumericLessThan"
      variable = "s3:TlsVersion"
      values   = ["1.2"]
    }
  }

  # The data path has one way in. The admin's console has another, and no way to the objects.
  statement {
    sid       = "DenyObjectsFromOutsideTheEndpoint"
    effect    = "Deny"
    actions   = ["s3:*Object*"]
    resources = ["${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "StringNotEquals"
      variable = "aws:SourceVpce"
      values   = [aws_vpc_endpoint.s3.id]
    }
  }

  # A put that names no encryption gets the bucket's; one that names another than that is refused.
  statement {
    sid       = "DenyOtherEncryption"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = ["${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Null"
      variable = "s3:x-amz-server-side-encryption"
      values   = ["false"]
    }
    condition {
      test     = "StringNotEquals"
      variable = "s3:x-amz-server-side-encryption"
      values   = ["aws:kms"]
    }
  }

  statement {
    sid       = "DenyOtherKey"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = ["${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Null"
      variable = "s3:x-amz-server-side-encryption-aws-kms-key-id"
      values   = ["false"]
    }
    condition {
      test     = "ArnNotEquals"
      variable = "s3:x-amz-server-side-encryption-aws-kms-key-id"
      values   = [aws_kms_key.store.arn]
    }
  }

  statement {
    sid       = "DenyCopyFromElsewhere"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = ["${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Null"
      variable = "s3:x-amz-copy-source"
      values   = ["false"]
    }
    condition {
      test     = "StringNotLike"
      variable = "s3:x-amz-copy-source"
      values   = flatten([for name in values(var.buckets) : ["${name}/*", "/${name}/*"]])
    }
  }

  statement {
    sid       = "DenyRetentionBypass"
    effect    = "Deny"
    actions   = ["s3:BypassGovernanceRetention"]
    resources = ["${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }

  statement {
    sid       = "DenyRetentionBeyondTheCap"
    effect    = "Deny"
    actions   = ["s3:PutObject", "s3:PutObjectRetention"]
    resources = ["${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "NumericGreaterThan"
      variable = "s3:object-lock-remaining-retention-days"
      values   = [var.retain_days_max]
    }
  }

  # What makes the buckets what they are is changed by the admin's role or by nobody.
  statement {
    sid    = "DenyWeakerBucket"
    effect = "Deny"
    actions = [
      "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:PutBucketPolicy", "s3:PutBucketVersioning",
      "s3:PutBucketObjectLockConfiguration", "s3:PutEncryptionConfiguration", "s3:PutReplicationConfiguration",
      "s3:PutLifecycleConfiguration",
    ]
    resources = [each.value.arn]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = [var.admin_role_arn]
    }
  }

  statement {
    sid       = "AllowWorkersToList"
    effect    = "Allow"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetEncryptionConfiguration"]
    resources = [each.value.arn]
    principals {
      type        = "AWS"
      identifiers = [var.worker_role_arn]
    }
  }

  # A version is deleted only where no lock holds it: old checkpoints, and what an interrupted upload left.
  statement {
    sid    = "AllowWorkersObjects"
    effect = "Allow"
    actions = [
      "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:GetObjectLegalHold", "s3:PutObject",
      "s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:DeleteObject", "s3:DeleteObjectVersion",
      "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
    ]
    resources = ["${each.value.arn}/*"]
    principals {
      type        = "AWS"
      identifiers = [var.worker_role_arn]
    }
  }
}
