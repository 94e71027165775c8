/* Whose key may be used: ARNs against the patterns of the policy, field by field. */
#include "tests/test.h"

#include "core/keys/keys.h"

#define ACCOUNT "arn:aws-eusc:kms:eusc-de-east-1:111122223333"

static const struct row {
    const char *name, *pattern, *arn;
    bool fits;
} rows[] = {
    { "the very key", ACCOUNT ":key/1", ACCOUNT ":key/1", true },
    { "any key of the account", ACCOUNT ":key/*", ACCOUNT ":key/1", true },
    { "any account", "arn:aws-eusc:kms:eusc-de-east-1:*:key/*", ACCOUNT ":key/1", true },
    { "another key", ACCOUNT ":key/1", ACCOUNT ":key/2", false },
    { "a key that begins alike", ACCOUNT ":key/1", ACCOUNT ":key/12", false },
    { "another account", ACCOUNT ":key/*", "arn:aws-eusc:kms:eusc-de-east-1:999922223333:key/1", false },
    { "another region", ACCOUNT ":key/*", "arn:aws-eusc:kms:eu-west-2:111122223333:key/1", false },
    { "another partition", ACCOUNT ":key/*", "arn:aws:kms:eusc-de-east-1:111122223333:key/1", false },
    { "an alias is no key", ACCOUNT ":key/*", ACCOUNT ":alias/1", false },
    { "a star ends a field only where it is the last", "arn:aws-*:kms:eusc-de-east-1:111122223333:key/*",
      ACCOUNT ":key/1", false },
    { "no star reaches across a colon", "arn:*:key/*", ACCOUNT ":key/1", false },
    { "nor does the last one", ACCOUNT ":key/*", ACCOUNT ":key/1:2", false },
    { "nor one that is all of the last field", ACCOUNT ":*", ACCOUNT ":key/1:2", false },
    { "an empty field is nobody's", "arn:*:kms:*:*:key/*", "arn::kms:eu-1:1:key/1", false },
    { "a field too few", "arn:*:kms:*:*:key/*", "arn:aws:kms:eu-1:key/1", false },
    { "no pattern", "", ACCOUNT ":key/1", false },
    { "no ARN", ACCOUNT ":key/*", "", false },
};

static void fits(void **state)
{
    const struct row *row = *state;
    assert_int_equal(keys_arn_fits(row->pattern, row->arn), row->fits);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, fits, NULL, NULL, (void *)(uintptr_t)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
