#!/usr/bin/python3
"""`sovrun policy selftest` on a real S3 behind nginx with TLS and mTLS: every forbidden act is refused. Then the same where
something is wrong on purpose: each time the row that is about it says so, and the exit code is 3."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import time

from cluster import B, Cluster, check, finish, left_over
from rig import NGINX, Authority, Front, free_port, tls

ENDPOINT = os.environ.get("SOVRUN_TEST_S3_ENDPOINT")
OTHER = os.environ.get("SOVRUN_TEST_S3_OTHER_ENDPOINT")
OTHER_REGION = os.environ.get("SOVRUN_TEST_S3_OTHER_REGION")
REGION = os.environ.get("SOVRUN_TEST_S3_REGION")
LOCKED, UNLOCKED, ABROAD = "selftest-locked", "selftest-unlocked", "selftest-abroad"
FOLDER = B / "test" / "selftest-rig"


def aws(endpoint, region, *arguments):
    environment = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": os.environ["SOVRUN_TEST_S3_ACCESS_KEY"],
                   "AWS_SECRET_ACCESS_KEY": os.environ["SOVRUN_TEST_S3_SECRET_KEY"], "AWS_DEFAULT_REGION": region,
                   "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(["/usr/bin/aws", "--endpoint-url", endpoint, "--output", "json", "s3api", *arguments], env=environment,
                          capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout) if done.stdout.strip() else {}


def make_buckets():
    for endpoint, region, bucket, locked in ((ENDPOINT, REGION, LOCKED, True), (ENDPOINT, REGION, UNLOCKED, False),
                                             (OTHER, OTHER_REGION, ABROAD, True)):
        aws(endpoint, region, "create-bucket", "--bucket", bucket, "--create-bucket-configuration", f"LocationConstraint={region}",
            *(["--object-lock-enabled-for-bucket"] if locked else []))
    aws(ENDPOINT, REGION, "put-bucket-versioning", "--bucket", UNLOCKED, "--versioning-configuration", "Status=Enabled")
    for endpoint, region, bucket in ((OTHER, OTHER_REGION, ABROAD), (ENDPOINT, REGION, UNLOCKED)):
        aws(endpoint, region, "put-object", "--bucket", bucket, "--key", "secret", "--body", "/etc/hostname")


class Fronts:
    """The same service with mTLS, without a look at client certificates, with an answer to plain HTTP, and another region's."""

    def __init__(self):
        shutil.rmtree(FOLDER, ignore_errors=True)
        self.ca = Authority(FOLDER / "pki", "authority")
        self.client = self.ca.sign("client", client=True)
        server = self.ca.sign("server", ["127.0.0.1"])
        self.front = Front(FOLDER / "front")
        self.ports = {}
        good = tls(*server, client_authority=self.ca.file)
        expired = tls(*self.ca.sign("expired", ["127.0.0.1"], days=(-10, -1)), client_authority=self.ca.file)
        renamed = tls(*self.ca.sign("renamed", ["s3.elsewhere.test"]), client_authority=self.ca.file)
        stranger = tls(*Authority(FOLDER / "pki", "stranger").sign("strange", ["127.0.0.1"]), client_authority=self.ca.file)
        for name, upstream, more in (("mtls", ENDPOINT, good), ("open", ENDPOINT, tls(*server)),
                                     ("plain", ENDPOINT, good + " error_page 497 =200 /plain;"), ("abroad", OTHER, good), ("expired", ENDPOINT, expired), ("renamed", ENDPOINT, renamed),
                                     ("stranger", ENDPOINT, stranger)):
            self.ports[name] = free_port(28000 + 300 * len(self.ports))
            self.front.add(f"127.0.0.1:{self.ports[name]} ssl", upstream, more)
        self.front.start()

    def store(self, name, buckets):
        return (f"  - {{ kind: s3, endpoint: \"https://127.0.0.1:{self.ports[name]}\", path_style: true, "
                f"credentials_file: keys/s3.yaml, ca_file: {self.ca.file}, cert_file: {self.client[0]}, "
                f"key_file: {self.client[1]}, buckets: [{buckets}] }}\n")


def configure(c):
    c.up()
    c.run("down")
    shutil.rmtree(c.home / "store")  # it is of another region
    credentials = c.home / "keys" / "s3.yaml"
    credentials.touch(mode=0o600)
    credentials.write_text(f"access_key: {os.environ['SOVRUN_TEST_S3_ACCESS_KEY']}\n"
                           f"secret_key: {os.environ['SOVRUN_TEST_S3_SECRET_KEY']}\n")
    path = c.home / "sovrun.yaml"
    path.write_text(path.read_text().replace("region: local", f"region: {REGION}"))


def use(c, fronts, front, bucket):
    """From now on `bucket` is behind that front, and the policy has it there."""
    path = c.home / "sovrun.yaml"
    text = re.sub(r"stores:\n(  - .*\n)+", "stores:\n  - { kind: dir, root: store, buckets: [evidence, data] }\n"
                  + fronts.store(front, bucket), path.read_text())
    path.write_text(text)
    c.allow(REGION, {"evidence": "evidence", "data": "data"}, {bucket: "data, models"}, f"127.0.0.1:{fronts.ports[front]}")


def selftest(c, bucket, *more):
    done = c.run("policy", "selftest", "--json", "--bucket", bucket, *more)
    if not done.stdout:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr}")
    return done, json.loads(done.stdout)


def rows(said, outcome):
    return {r["act"]: r for r in said["report"]["rows"] if r["outcome"] == outcome}


EXPECTED = {
    "redirect to another host", "name that leads outside the ranges", "good certificate (to compare)", "expired certificate",
    "certificate for another name", "forged certificate", "TLS 1.1", "store without a region", "bucket that the cluster does not name",
    "key of another account and region", "plain HTTP", "address outside the ranges", "certificate of another authority",
    "no client certificate", "wrong client certificate", "proxy in the environment", "bucket in another region",
    "object without its lock", "shorten a retention", "COMPLIANCE to GOVERNANCE", "overwrite a locked version", "hide a locked version",
    "delete with bypass", "delete a locked version", "lock on an upload in parts", "copy from another region",
}


def all_well(c, fronts):
    use(c, fronts, "mtls", LOCKED)
    c.up()
    done, said = selftest(c, LOCKED, "--foreign", f"{ABROAD}/secret")
    refused = rows(said, "refused")
    check("behind TLS and mTLS every forbidden act is refused, and the exit code is 0",
          done.returncode == 0 and set(refused) == EXPECTED and not rows(said, "allowed") and not rows(said, "untried"),
          json.dumps({"exit": done.returncode, "missing": sorted(EXPECTED - set(refused)), "allowed": rows(said, "allowed"),
                      "untried": rows(said, "untried")}, indent=1) + done.stderr)
    check("the facts are noted", set(rows(said, "noted")) == {"put without a lock", "put if absent", "clock of the store"},
          rows(said, "noted"))
    check("the evidence is the service's own word, with its request's id",
          "AccessDenied" in refused["delete a locked version"]["evidence"] and "(request tx" in refused["delete a locked version"]["evidence"],
          refused["delete a locked version"])
    check("this service drops the lock from an upload in parts, which is seen and mended",
          "do not lock it" in refused["lock on an upload in parts"]["evidence"], refused["lock on an upload in parts"])
    canonical = json.dumps(said["report"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    check("the report's digest is that of its canonical text", hashlib.sha256(canonical).hexdigest() == said["report_sha256"])
    limit = time.monotonic() + 10
    told = []
    while not told and time.monotonic() < limit:
        told = [r["data"] for r in c.ask("audit", "tail")["records"] if r["event"] == "policy.selftest"]
    check("the ledger has it", said["recorded"] and told and told[-1]["report_sha256"] == said["report_sha256"]
          and told[-1]["summary"] == said["report"]["summary"], told)
    check("what was refused on purpose does not stand there as an alarm",
          not [r for r in c.ask("audit", "tail")["records"] if r["event"] == "egress.refused"])
    versions = aws(ENDPOINT, REGION, "list-object-versions", "--bucket", LOCKED)
    there = {v["Key"] for v in versions.get("Versions", []) + versions.get("DeleteMarkers", [])}
    left = {l["key"] for l in said["report"]["left"]}
    check("what is left is what it says, and all of it below its prefix", there == left and left
          and all(k.startswith(".sovrun-selftest/") for k in left), (there, left))
    table = c.run("policy", "selftest", "--bucket", LOCKED)
    check("without a foreign object the copy is not tried, which the table says and exit 1",
          table.returncode == 1 and re.search(r"^not tried +copy from another region", table.stdout, re.M), table.stdout + table.stderr)
    table = c.run("policy", "selftest", "--bucket", LOCKED, "--allow-untried")
    check("unless that is fine", table.returncode == 0, table.stderr)


def must_say(c, what, done, said, acts):
    allowed = rows(said, "allowed")
    check(f"{what}: the rows say so, and exit 3", done.returncode == 3 and acts <= set(allowed),
          json.dumps(allowed, indent=1) + done.stderr)
    return allowed


def all_wrong(c, fronts):
    foreign = ("--foreign", f"{ABROAD}/secret")
    use(c, fronts, "mtls", UNLOCKED)
    done, said = selftest(c, UNLOCKED, *foreign)
    must_say(c, "a bucket without object lock", done, said,
             {"object without its lock", "delete a locked version", "lock on an upload in parts"})
    done, said = selftest(c, UNLOCKED, "--foreign", f"{UNLOCKED}/secret")
    must_say(c, "an object that can be copied", done, said, {"copy from another region"})
    use(c, fronts, "open", LOCKED)
    done, said = selftest(c, LOCKED, *foreign)
    allowed = must_say(c, "a server that looks at no client certificate", done, said,
                       {"no client certificate", "wrong client certificate"})
    check("and no other row does", len(allowed) == 2, sorted(allowed))
    use(c, fronts, "plain", LOCKED)
    done, said = selftest(c, LOCKED, *foreign)
    must_say(c, "a server that answers plain HTTP", done, said, {"plain HTTP"})
    use(c, fronts, "abroad", ABROAD)
    done, said = selftest(c, ABROAD, *foreign)
    must_say(c, "a bucket that lies in another region", done, said, {"bucket in another region"})


def bad_certificates(c, fronts):
    """The same on the way that jobs go, before a real server: denied, and in the ledger."""
    for name in ("expired", "renamed", "stranger"):
        use(c, fronts, name, LOCKED)
        done = c.run("data", "verify", f"s3://{LOCKED}/anything")
        limit = time.monotonic() + 10
        told = []
        while not told and time.monotonic() < limit:
            told = [r["data"] for r in c.ask("audit", "tail")["records"] if r["event"] == "egress.refused"
                    and str(fronts.ports[name]) in r["data"]["place"]]
        check(f"a server whose certificate is {name}: denied, and recorded",
              done.returncode == 3 and "certificate" in done.stderr and told and told[-1]["kind"] == "certificate"
              and told[-1]["program"] == "sovrun", f"exit {done.returncode}: {done.stderr}{told}")


def away(c, fronts):
    use(c, fronts, "mtls", "nobody-made-this")
    done, said = selftest(c, "nobody-made-this")
    check("a bucket that is not there: nothing is tried, and nothing is claimed",
          done.returncode == 1 and "delete a locked version" in rows(said, "untried") and not rows(said, "allowed"), done.stderr)
    fronts.ports["nobody"] = free_port(30700)
    use(c, fronts, "nobody", LOCKED)
    done, said = selftest(c, LOCKED, "--allow-untried")
    check("a server that is away has refused nothing",
          done.returncode == 0 and {"plain HTTP", "no client certificate", "wrong client certificate", "certificate of another authority",
                                    "proxy in the environment", "delete a locked version"} <= set(rows(said, "untried")),
          sorted(rows(said, "refused")))
    use(c, fronts, "mtls", LOCKED)
    c.run("down")
    done, said = selftest(c, LOCKED, "--foreign", f"{ABROAD}/secret")
    check("without a state it is tried, says that the ledger does not know, and exits with 4",
          done.returncode == 4 and not said["recorded"] and "not in the ledger" in done.stderr, done.stderr)
    done, said = selftest(c, LOCKED, "--foreign", f"{ABROAD}/secret", "--no-record")
    check("unless that was asked for", done.returncode == 0 and not said["recorded"], done.stderr)
    done = c.run("policy", "selftest", "--bucket", "elsewhere")
    check("a bucket that is none of the cluster's is refused", done.returncode == 3 and "elsewhere" in done.stderr, done.stderr)


def main():
    if not ENDPOINT or not OTHER or not NGINX:
        print("ok 1 # SKIP needs two S3 regions (tests/run.sh) and nginx")
        print("1..1")
        return
    c = Cluster("selftest")
    fronts = Fronts()
    try:
        make_buckets()
        configure(c)
        all_well(c, fronts)
        all_wrong(c, fronts)
        bad_certificates(c, fronts)
        away(c, fronts)
    finally:
        c.stop_quietly()
        fronts.front.stop()
    check("nothing is left running", not left_over(c.home), left_over(c.home))


if __name__ == "__main__":
    main()
    finish()
