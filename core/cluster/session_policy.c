#include "core/cluster/session_policy.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/json/json.h"

#include <stdio.h>
#include <string.h>

enum { PARTITION_BYTES = 32 };

static const char *const read_actions[] = { "s3:GetObject", "s3:GetObjectVersion", NULL };
static const char *const write_actions[] = {
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:GetObjectRetention",
    "s3:GetObjectLegalHold",
    "s3:PutObject",
    "s3:PutObjectRetention",
    "s3:PutObjectLegalHold",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    NULL,
};
static const char *const list_actions[] = { "s3:ListBucket", "s3:ListBucketVersions", NULL };
static const char *const key_read_actions[] = { "kms:Decrypt", NULL };
static const char *const key_write_actions[] = { "kms:Decrypt", "kms:GenerateDataKey", NULL };
/* Uploads that a killed rank left: the service knows no prefix for them. */
static const char *const upload_actions[] = { "s3:ListBucketMultipartUploads", NULL };

static json_t *strings(const char *const *texts)
{
    json_t *list = json_array();
    for (; *texts; texts++)
        json_array_append_new(list, json_string(*texts));
    return list;
}

static json_t *allow(const char *const *actions, const char *resource)
{
    return json_pack("{s:s, s:o, s:[s]}", "Effect", "Allow", "Action", strings(actions), "Resource",
                     resource);
}

/* "arn:aws-eusc:iam::123456789012:role/ranks" -> "aws-eusc" */
static enum err_code partition_of(const char *role, char out[PARTITION_BYTES], struct err *e)
{
    static const char scheme[] = "arn:";
    const char *start = role + strlen(scheme);
    size_t n = text_starts(role, scheme) ? strcspn(start, ":") : 0;
    if (n == 0 || n >= PARTITION_BYTES || start[n] != ':' || !text_starts(start + n, ":iam:") ||
        !strstr(start, ":role/"))
        return err_set(e, ERR_USAGE, "'%.100s' is no ARN of a role, as arn:aws:iam::123456789012:role/NAME",
                       role);
    memcpy(out, start, n);
    out[n] = '\0';
    return OK;
}

/* "arn:aws:iam::123456789012:role/ranks": Ceph has a tenant's name there, or nothing. */
static bool is_of_aws(const char *role)
{
    enum { ACCOUNT_DIGITS = 12 };
    static const char before[] = ":iam::";
    const char *account = strstr(role, before);
    return account && strspn(account + strlen(before), "0123456789") == ACCOUNT_DIGITS &&
           account[strlen(before) + ACCOUNT_DIGITS] == ':';
}

enum err_code session_policy(const char *role, const char *bucket, const char *prefix, const char *sse_key,
                             enum session_reach reach, struct buf *out, struct err *e)
{
    static const char *const ends[] = {
        [REACH_READ_BELOW] = "/*", [REACH_WRITE_BELOW] = "/*", [REACH_READ_ONE] = "", [REACH_READ_ALIKE] = "*"
    };
    bool write = reach == REACH_WRITE_BELOW;
    char partition[PARTITION_BYTES];
    if (partition_of(role, partition, e))
        return e->code;
    if (strpbrk(prefix, "*?$"))
        return err_set(e, ERR_USAGE,
                       "'%.200s' holds '*', '?' or '$', which a session's policy takes for a pattern",
                       prefix);
    CLEANUP(freep) char *below = mem_printf("%s%s", prefix, prefix[0] ? ends[reach] : "*");
    CLEANUP(freep) char *the_bucket = mem_printf("arn:%s:s3:::%s", partition, bucket);
    CLEANUP(freep) char *objects = mem_printf("%s/%s", the_bucket, below);
    json_t *list = allow(list_actions, the_bucket);
    json_object_set_new(list, "Condition", json_pack("{s:{s:[s]}}", "StringLike", "s3:prefix", below));
    CLEANUP(json_donep)
    json_t *policy = json_pack("{s:s, s:[o, o]}", "Version", "2012-10-17", "Statement",
                               allow(write ? write_actions : read_actions, objects), list);
    if (sse_key[0] && is_of_aws(role))
        json_array_append_new(json_object_get(policy, "Statement"),
                              allow(write ? key_write_actions : key_read_actions, sse_key));
    if (write)
        json_array_append_new(json_object_get(policy, "Statement"), allow(upload_actions, the_bucket));
    if (!policy)
        return err_set(e, ERR_USAGE, "'%.200s' is not UTF-8", prefix);
    return json_canonical(policy, out, e);
}
