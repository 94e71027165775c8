#!/usr/bin/python3
"""Credentials that end, on a real S3 service with STS: ranks get sessions of a role for their own prefixes alone, and newer ones
before the old ones end, in the middle of a job, of a checkpoint and of staging."""
import datetime
import json
import os
import re
import subprocess
import sys
import time

from cluster import CSV, ROOT, SPEC, Cluster, check, finish, left_over
from test_s3 import BUCKETS, ENDPOINT, aws, configure

sys.path.insert(0, str(ROOT / "tests" / "fake"))
from s3_proxy import Proxy  # noqa: E402

MODELS, DATA = BUCKETS["models"], BUCKETS["data"]
ROLE = os.environ.get("SOVRUN_TEST_S3_ROLE")
LONGER = ["train.epochs=40", "checkpoint.every=20", "checkpoint.lock=compliance", "checkpoint.retain=1d", "checkpoint.keep=100"]


def model_of(shown):
    return (shown["job"]["result"] or {}).get("model", {}).get("sha256")


class Session:
    """Of the role, without a policy of its own: what it may do is not the matter here."""

    def __init__(self):
        told = aws("assume-role", "--role-arn", ROLE, "--role-session-name", "rotated", service="sts")
        if told.returncode:
            raise RuntimeError(told.stderr)
        self.keys = json.loads(told.stdout)["Credentials"]

    def write(self, c, seconds):
        """As the cluster's credentials; they end in so many seconds, it says. Replaced whole, as rotation does it."""
        until = datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)
        fresh = c.home / "keys" / "s3.yaml.new"
        fresh.touch(mode=0o600)
        fresh.write_text(f"access_key: {self.keys['AccessKeyId']}\nsecret_key: {self.keys['SecretAccessKey']}\n"
                         f"session_token: \"{self.keys['SessionToken']}\"\nexpires: {until:%Y-%m-%dT%H:%M:%SZ}\n")
        fresh.rename(c.home / "keys" / "s3.yaml")

    def over(self, **more):
        """A rule: whoever comes with it is told that it is over."""
        token = re.escape(self.keys["SessionToken"]).encode()
        return dict({"do": "error", "status": "400 Bad Request", "code": "ExpiredToken", "head": rb"(?i)x-amz-security-token: *" + token,
                     "count": -1}, **more)


def of_a_role(proxy, want):
    """Each attempt has sessions of its own; nothing else of a rank's reaches the store."""
    c = Cluster("sessions-role")
    try:
        configure(c, proxy.endpoint, f'role: "{ROLE}", patience: 20s, deadline: 2s, ', f"ledger-role-{os.getpid()}")
        c.up()
        proxy.plan([{"name": "sealed", "do": "pass", "method": "PUT", "target": rf"^/{MODELS}/role/.*sealed$", "head": rb"(?i)x-amz-security-token", "count": -1},
                    {"name": "bare", "do": "pass", "method": "PUT", "target": rf"^/{MODELS}/role/.*sealed$", "count": -1},
                    {"name": "shards", "do": "pass", "method": "GET", "target": rf"^/{DATA}/.*/shards/", "head": rb"(?i)x-amz-security-token", "count": -1}])
        job = c.submit(SPEC, *LONGER, f"checkpoint.to=s3://{MODELS}/role")
        shown = c.wait_over(job)
        log = c.run("logs", job).stdout
        check("a job under sessions of a role gives the same model", shown["job"]["state"] == "succeeded" and model_of(shown) == want,
              f"{shown['job']['reason']}\n{log[-2000:]}")
        check("whatever its ranks read and put, they did under a session", proxy.hits("sealed") > 0 and proxy.hits("bare") == 0 and proxy.hits("shards") > 0,
              (proxy.hits("sealed"), proxy.hits("bare"), proxy.hits("shards")))
        started = c.recorded("attempt.started", job)[0]["data"]["sessions"]
        ends = [s["until_ms"] / 1000 - time.time() for s in started]
        check("the record says which role, for what and until when", [s["role"] for s in started] == [ROLE, ROLE] and
              [s["bucket"] for s in started] == [DATA, MODELS] and started[1]["prefix"] == f"role/{job}" and all(3000 < s < 3700 for s in ends), started)
        check("and no secret", "token" not in json.dumps(started).lower() and "secret" not in json.dumps(started).lower(), started)
        proxy.plan([{"name": "away", "do": "error", "status": "503 Service Unavailable", "method": "POST", "target": "^/$", "count": 3}])
        shown = c.wait_over(c.submit(SPEC, *LONGER[:1], "train.epochs=2", f"checkpoint.to=s3://{MODELS}/role"))
        check("a session service that is away is waited for", shown["job"]["state"] == "succeeded" and shown["job"]["attempts"] == 1 and
              proxy.hits("away") == 3, (shown["job"]["reason"], proxy.hits("away")))
        proxy.plan([])
        c.run("down")
        path = c.home / "sovrun.yaml"
        path.write_text(path.read_text().replace(ROLE, "arn:aws:iam:::role/nobody"))
        c.up()
        job = c.submit(SPEC, "train.epochs=2", f"checkpoint.to=s3://{MODELS}/role", "retry.max=0")
        shown = c.wait_over(job)
        reason = shown["attempts"][-1]["outcome"] + ": " + shown["job"]["reason"]
        check("a role that is not there is a denial, and named", shown["job"]["state"] == "failed" and reason.startswith("denied") and
              "assume role 'arn:aws:iam:::role/nobody'" in reason, reason)
    finally:
        c.stop_quietly()
    check("nothing is left running", not left_over(c.home), left_over(c.home))


def rotated(proxy, want):
    """The cluster's own credentials are sessions that somebody renews in their file."""
    c = Cluster("sessions-rotated")
    try:
        configure(c, proxy.endpoint, "patience: 60s, deadline: 2s, ", f"ledger-rotated-{os.getpid()}")
        first, second = Session(), Session()
        first.write(c, 20)
        c.up()
        job = c.submit(SPEC, *LONGER, f"checkpoint.to=s3://{MODELS}/rotated")
        c.wait(job, lambda s: (s.get("pulse") or {}).get("checkpoint_step", 0) > 0)
        proxy.plan([first.over(name="old")])
        time.sleep(1)
        second.write(c, 3600)
        shown = c.wait_over(job)
        log = c.run("logs", job).stdout
        check("credentials that are over in the middle of a job: the same attempt goes on, to the same model",
              shown["job"]["state"] == "succeeded" and shown["job"]["attempts"] == 1 and model_of(shown) == want,
              f"{shown['job']['reason']} {[a['reason'] for a in shown['attempts']]}\n{log[-3000:]}")
        check("the old ones were refused", proxy.hits("old") > 0)
        check("ranks waited for the new ones, and say so", "the credentials are over, and there are no newer ones yet" in log and "store.back" in log, log[-3000:])
        told = c.recorded("session.renewed", job)
        check("the record says that they were renewed, and no secret", told and all(t["data"]["until_ms"] > 0 for t in told) and
              not any(k in json.dumps(told) for k in [second.keys["SessionToken"], second.keys["SecretAccessKey"], second.keys["AccessKeyId"]]), told)
        keys = subprocess.run(["redis-cli", "-s", c.home / "run" / "redis.sock", "--scan"], capture_output=True, text=True, check=False).stdout.split()
        check("nothing of them stays in the state", keys and not [k for k in keys if "sessions/" in k], keys)
        in_the_middle_of_staging(c, proxy, second)
        verified = c.run("model", "verify", job)
        check("what was made verifies", verified.returncode == 0, verified.stderr)
    finally:
        c.stop_quietly()
    check("nothing is left running, after rotation", not left_over(c.home), left_over(c.home))


def in_the_middle_of_staging(c, proxy, old):
    fresh = Session()
    proxy.plan([old.over(name="staging", method="PUT", target=rf"^/{DATA}/rotated/", skip=3, then=lambda: fresh.write(c, 3600))])
    done = c.run("data", "stage", CSV, f"s3://{DATA}/rotated", "--class", "public", "--shards", "40", "--parallel", "4")
    check("staging goes on under credentials that came while it ran", done.returncode == 0 and proxy.hits("staging") > 0, done.stderr)
    check("and all of it is there", c.run("data", "verify", f"s3://{DATA}/rotated").returncode == 0)
    proxy.plan([])


def main():
    if not ENDPOINT or not ROLE:
        print("ok 1 # SKIP no SOVRUN_TEST_S3_ROLE: tests/run.sh gives one")
        print("1..1")
        return
    proxy, plain = Proxy(ENDPOINT), Cluster("sessions-plain")
    try:
        configure(plain, ENDPOINT, "", f"ledger-plain-{os.getpid()}")
        plain.up()
        want = model_of(plain.wait_over(plain.submit(SPEC, *LONGER, f"checkpoint.to=s3://{MODELS}/plain")))
        check("an undisturbed job gives a model", want is not None)
        plain.stop_quietly()
        of_a_role(proxy, want)
        rotated(proxy, want)
    finally:
        plain.stop_quietly()
        proxy.close()
    finish()


if __name__ == "__main__":
    main()
