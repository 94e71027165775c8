#!/usr/bin/python3
"""The main job on a real S3 service (Ceph RGW) with object lock: retention as read back by HEAD, and deletion refused."""
import datetime
import json
import os
import re
import subprocess

from cluster import CSV, SPEC, Cluster, check, finish, left_over

ENDPOINT = os.environ.get("SOVRUN_TEST_S3_ENDPOINT")
REGION = os.environ.get("SOVRUN_TEST_S3_REGION")
BUCKETS = {"data": "sovrun-data", "models": "sovrun-models", "evidence": "sovrun-evidence"}


def aws(*arguments, service="s3api"):
    """The AWS command line: a client that is not ours."""
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": os.environ["SOVRUN_TEST_S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["SOVRUN_TEST_S3_SECRET_KEY"],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return subprocess.run(["/usr/bin/aws", "--endpoint-url", ENDPOINT, "--output", "json", service, *arguments],
                          capture_output=True, text=True, env=environment, check=False)


def configure(c, endpoint=ENDPOINT, settings="", ledger="ledger"):
    """The embedded home with its stores moved to the S3 service, or to what stands before it at `endpoint`."""
    c.up()
    c.run("down")
    credentials = c.home / "keys" / "s3.yaml"
    credentials.touch(mode=0o600)
    credentials.write_text(f"access_key: {os.environ['SOVRUN_TEST_S3_ACCESS_KEY']}\n"
                           f"secret_key: {os.environ['SOVRUN_TEST_S3_SECRET_KEY']}\n")
    config = (c.home / "sovrun.yaml").read_text()
    config = re.sub(r"stores:\n  - .*\n",
                    f"stores:\n  - {{ kind: s3, endpoint: \"{endpoint}\", region: {REGION}, path_style: true, credentials_file: "
                    f"keys/s3.yaml, {settings}buckets: [{', '.join(BUCKETS.values())}] }}\n", config)
    config = config.replace("region: local", f"region: {REGION}")
    config = re.sub(r"default_data_bucket: \S+", f"default_data_bucket: {BUCKETS['data']}", config)
    config = re.sub(r"ledger: .*", f"ledger: {{ bucket: {BUCKETS['evidence']}, prefix: {ledger}, lock: compliance, retain: 1d }}", config)
    (c.home / "sovrun.yaml").write_text(config)
    c.allow(REGION, {}, {name: purpose for purpose, name in BUCKETS.items()}, endpoint.split("//")[1])
    for bucket in BUCKETS.values():
        aws("create-bucket", "--bucket", bucket, "--object-lock-enabled-for-bucket", "--create-bucket-configuration",
            f"LocationConstraint={REGION}")


def staging(c):
    """Only what is not there travels, to a real S3 too, by several threads."""
    place = f"s3://{BUCKETS['data']}/staged-twice"
    options = ("--class", "public", "--shards", "40", "--compress", "zstd", "--parallel", "4")
    first, again = (c.ask("data", "stage", CSV, place, *options) for _ in range(2))
    check("data stage to S3 sends all shards once", first["sent"] == 40 and again["sent"] == 0 and again["already"], (first, again))
    check("data verify reads them back", c.run("data", "verify", place).returncode == 0)
    listed = json.loads(aws("list-object-versions", "--bucket", BUCKETS["data"], "--prefix", "staged-twice/shards/").stdout)["Versions"]
    for lost in listed[7], listed[20]:
        aws("delete-object", "--bucket", BUCKETS["data"], "--key", lost["Key"], f"--version-id={lost['VersionId']}")
    bad = c.run("data", "verify", place, "--json")
    check("two lost shards are named", bad.returncode == 1 and {b["key"] for b in json.loads(bad.stdout)["bad"]} == {listed[7]["Key"], listed[20]["Key"]},
          bad.stdout + bad.stderr)
    check("staging again sends the two", c.ask("data", "stage", CSV, place, *options)["sent"] == 2 and c.run("data", "verify", place).returncode == 0)


def main():
    if not ENDPOINT:
        print("ok 1 # SKIP no SOVRUN_TEST_S3_ENDPOINT: tests/run.sh gives one")
        print("1..1")
        return
    c = Cluster("s3")
    try:
        configure(c)
        checked = c.run("config", "check", c.home / "sovrun.yaml")
        check("the cluster's configuration is accepted", checked.returncode == 0, checked.stderr)
        c.up()
        job = c.submit(SPEC, f"checkpoint.to=s3://{BUCKETS['models']}/credit", "checkpoint.lock=compliance", "checkpoint.retain=1d")
        shown = c.wait_over(job)
        if not check("the job succeeds with its data, checkpoints and model in S3", shown["job"]["state"] == "succeeded",
                     shown["job"]["reason"] + c.run("logs", job).stdout[-2000:]):
            return
        listed = json.loads(aws("list-objects-v2", "--bucket", BUCKETS["models"], "--prefix", f"credit/{job}/").stdout)["Contents"]
        keys = [o["Key"] for o in listed]
        check("checkpoint parts, their manifests and the model are there",
              any("/checkpoint/" in k and k.endswith(".sealed") for k in keys) and any("/checkpoint/" in k and k.endswith(".json") for k in keys)
              and any("/model/" in k for k in keys), keys)
        soonest = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=23)
        heads = {k: json.loads(aws("head-object", "--bucket", BUCKETS["models"], "--key", k).stdout) for k in keys}
        check("every one of them carries COMPLIANCE retention as read back by HEAD",
              all(h.get("ObjectLockMode") == "COMPLIANCE"
                  and datetime.datetime.fromisoformat(h["ObjectLockRetainUntilDate"].replace("Z", "+00:00")) > soonest
                  for h in heads.values()), heads)
        key = next(k for k in keys if "/checkpoint/" in k)
        refused = aws("delete-object", "--bucket", BUCKETS["models"], "--key", key, f"--version-id={heads[key]['VersionId']}")
        check("the AWS command line cannot delete a locked version", refused.returncode != 0 and "AccessDenied" in refused.stderr,
              refused.stderr + refused.stdout)
        check("model verify finds every object as its manifest says", c.run("model", "verify", job).returncode == 0)
        model = c.home / "model.safetensors"
        check("the model comes back", c.run("model", "get", job, "-o", model).returncode == 0 and model.exists())
        staging(c)
        audit = c.ask("audit", "verify")
        check("the ledger in S3 verifies", audit["ok"], audit)
        sealed = aws("get-object", "--bucket", BUCKETS["models"], "--key", key, str(c.home / "sealed"))
        body = (c.home / "sealed").read_bytes()
        check("what lies there is sealed", sealed.returncode == 0 and b"params" not in body and b"F32" not in body)
    finally:
        c.stop_quietly()
    check("nothing is left running", not left_over(c.home), left_over(c.home))


if __name__ == "__main__":
    main()
    finish()
