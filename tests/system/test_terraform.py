#!/usr/bin/python3
"""configs/deploy/terraform/: every file parses, refers to what is there, and has the statements that its README names."""
import os
import re
import sys

from cluster import ROOT, check, finish

try:
    import hcl2
except ImportError:
    OWN = ROOT / "build" / "venv" / "bin" / "python"
    if OWN.exists() and not os.environ.get("SOVRUN_TEST_IN_VENV"):
        os.execve(OWN, [str(OWN), *sys.argv], {**os.environ, "SOVRUN_TEST_IN_VENV": "1"})
    print("ok 1 - the Terraform files # SKIP python-hcl2 is not there (tools/venv.sh)\n1..1")
    sys.exit(0)

FOLDER = ROOT / "configs" / "deploy" / "terraform"
# Denied whoever asks: the action, and the condition's test, variable and value. None: without a condition.
DENIED = {
    "DenyPlainHttp": ("s3:*", ("Bool", "aws:SecureTransport", "false")),
    "DenyOldTls": ("s3:*", ("NumericLessThan", "s3:TlsVersion", "1.2")),
    "DenyOtherEncryption": ("s3:PutObject", ("StringNotEquals", "s3:x-amz-server-side-encryption", "aws:kms")),
    "DenyOtherKey": ("s3:PutObject", ("ArnNotEquals", "s3:x-amz-server-side-encryption-aws-kms-key-id",
                                      "${aws_kms_key.store.arn}")),
    "DenyRetentionBypass": ("s3:BypassGovernanceRetention", None),
    "DenyRetentionBeyondTheCap": ("s3:PutObjectRetention", ("NumericGreaterThan", "s3:object-lock-remaining-retention-days",
                                                           "${var.retain_days_max}")),
    "DenyOtherRegions": (None, ("StringNotEquals", "aws:RequestedRegion", "${var.region}")),
    "DenyReplication": ("s3:PutReplicationConfiguration", None),
    "DenyRetentionBypassAnywhere": ("s3:BypassGovernanceRetention", None),
    "DenyPlainHttpAnywhere": ("s3:*", ("Bool", "aws:SecureTransport", "false")),
    "DenyGrants": ("kms:CreateGrant", None),
}
# A "not equals" that must not hit what does not carry the key.
ONLY_WHERE_SAID = ["DenyOtherEncryption", "DenyOtherKey", "DenyCopyFromElsewhere"]


def parse():
    documents = {}
    for path in sorted(FOLDER.glob("*.tf")):
        try:
            with path.open(encoding="utf-8") as f:
                documents[path.name] = hcl2.load(f)
            check(f"{path.name} parses", documents[path.name])
        except Exception as error:  # the library has many
            check(f"{path.name} parses", False, error)
    return documents


def blocks(documents, kind):
    """(file, type, name, body) of each `kind "type" "name" { body }`."""
    return [(file, type_, name, body) for file, doc in documents.items() for block in doc.get(kind, [])
            for type_, named in block.items() for name, body in named.items()]


def statements(documents):
    found = {}
    for file, type_, _, body in blocks(documents, "data"):
        for statement in body.get("statement", []) if type_ == "aws_iam_policy_document" else []:
            check(f"{statement['sid']} is there once", statement["sid"] not in found)
            found[statement["sid"]] = (file, statement)
    return found


def conditions(statement):
    return [(c["test"], c["variable"], value) for c in statement.get("condition", [])
            for value in (c["values"] if isinstance(c["values"], list) else [c["values"]])]


def check_readme(found):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", text, flags=re.MULTILINE))
    there = {sid: file for sid, (file, _) in found.items()}
    check("the README has each statement, and no other", told and told == there, sorted(set(told.items()) ^ set(there.items())))
    acts = set(re.findall(r'\bacts? "([^"]+)"', text))
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "runner" / "cli").glob("selftest_*.c"))
    known = set(re.findall(r'^    \{ "([^"]+)", "', source, flags=re.MULTILINE))
    check("the selftest has each act that the README names", acts and acts <= known, sorted(acts - known))
    rules = set(re.findall(r"\brule `(\w+)`", text))
    known = set(re.findall(r'^    \{ "(\w+)", \w+ \},$', (ROOT / "core/policy/policy.c").read_text(encoding="utf-8"),
                           flags=re.MULTILINE))
    check("the policy has each rule that the README names", rules and rules <= known, sorted(rules - known))


def check_denials(found):
    for sid, (action, condition) in DENIED.items():
        _, s = found.get(sid, ("", {}))
        good = s.get("effect") == "Deny" and (action is None or action in s.get("actions", []))
        good = good and (condition in conditions(s) if condition else not s.get("condition"))
        check(f"{sid} denies", good, s)
    for sid in ONLY_WHERE_SAID:
        _, s = found.get(sid, ("", {}))
        (variable,) = {v for test, v, _ in conditions(s) if test != "Null"} or {""}
        check(f"{sid} hits only what carries the key", ("Null", variable, "false") in conditions(s), conditions(s))
    for sid, (_, s) in found.items():
        check(f"{sid} says Allow or Deny by its name", sid.startswith(s.get("effect", "?")), s.get("effect"))
    _, manage = found["AllowAdminsToManage"]
    opening = [a for a in manage["actions"] if re.search(r"\*|Decrypt|ReEncrypt|GenerateDataKey", a)]
    check("who manages the key cannot open what it wrapped", not opening, opening)


def check_resources(documents):
    made = {(type_, name): body for _, type_, name, body in blocks(documents, "resource")}
    bucket = made.get(("aws_s3_bucket", "sovrun"), {})
    check("buckets are made with object lock", bucket.get("object_lock_enabled") is True, bucket)
    versioning = made[("aws_s3_bucket_versioning", "sovrun")]["versioning_configuration"]
    check("they keep versions", versioning[0]["status"] == "Enabled", versioning)
    rule = made[("aws_s3_bucket_server_side_encryption_configuration", "sovrun")]["rule"][0]
    default = rule["apply_server_side_encryption_by_default"][0]
    check("they encrypt by our key", default == {"sse_algorithm": "aws:kms", "kms_master_key_id": "${aws_kms_key.store.arn}"}, default)
    key, alias = made[("aws_kms_key", "train")], made[("aws_kms_alias", "train")]
    check("the key stays in its region", key["multi_region"] is False, key)
    check("its alias is version 1 of the name, as Sovrun looks for it",
          alias["name"] == "alias/${var.alias_prefix}-${var.key_name}-v1", alias)
    code = (ROOT / "core/keys/keys_kms.c").read_text(encoding="utf-8")
    check("which is what the code looks for", '"alias/%s-%s-v%"' in code)


def check_references(documents):
    """Everything that an expression names is made somewhere in the folder."""
    there = {f"{type_}.{name}" for kind in ("resource", "data") for _, type_, name, _ in blocks(documents, kind)}
    there |= {f"var.{name}" for doc in documents.values() for block in doc.get("variable", []) for name in block}
    there |= {f"local.{name}" for doc in documents.values() for block in doc.get("locals", []) for name in block}
    text = "\n".join(re.sub(r"#.*", "", (FOLDER / file).read_text(encoding="utf-8")) for file in documents)
    named = set(re.findall(r"(?<![\w.\"/-])(?:data\.)?((?:aws_\w+|var|local)\.\w+)", text))
    check("every reference leads somewhere", named and named <= there, sorted(named - there))
    unused = sorted(v for v in there if v.startswith("var.") and v not in named)
    check("every variable is used", not unused, unused)


def main():
    documents = parse()
    found = statements(documents)
    check_readme(found)
    check_denials(found)
    check_resources(documents)
    check_references(documents)
    finish()


if __name__ == "__main__":
    main()
