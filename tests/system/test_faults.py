#!/usr/bin/python3
"""A store that misbehaves in the middle of reading and of checkpoints: the same model to the bit, or an end that names its
cause; and never a checkpoint that does not verify. Through tests/fake/s3_proxy.py to a real S3 service with object lock."""
import json
import os
import re
import signal
import subprocess
import sys
import time

from cluster import B, BIN, CSV, ROOT, SPEC, Cluster, check, finish, kill, left_over
from test_s3 import BUCKETS, ENDPOINT, aws, configure

sys.path.insert(0, str(ROOT / "tests" / "fake"))
from s3_proxy import Proxy  # noqa: E402

MODELS, DATA = BUCKETS["models"], BUCKETS["data"]
SHORT = ["train.epochs=8", "checkpoint.every=20", "checkpoint.lock=compliance", "checkpoint.retain=1d", "checkpoint.keep=100", "retry.backoff=1s"]
AWAY = {"do": "error", "status": "503 Slow Down", "code": "SlowDown"}

# What passes by itself: each is met once, and the job must not even need a second attempt.
PASSING = {
    "503 SlowDown": AWAY,
    "500 InternalError": {"do": "error", "status": "500 Internal Server Error", "code": "InternalError"},
    "a reset before the request was read": {"do": "reset_before"},
    "a reset after it took effect": {"do": "reset_after"},
    "an empty answer": {"do": "nothing"},
    "a stall": {"do": "stall", "seconds": 20},
}
SKEWED = {"a clock that is off, says the store": {"do": "error", "status": "403 Forbidden", "code": "RequestTimeTooSkewed"}}
SLOW = {"a slow drip": {"do": "drip", "seconds": 1.0, "pieces": 10}}  # the last of all: it succeeds
OF_BODIES = {
    "a body cut short": {"do": "truncate"},
    "a stall in the middle of the body": {"do": "stall", "seconds": 20, "half": True},
    "a flipped bit on the way here": {"do": "flip_answer"},
}
UPLOADED = {"a flipped bit on the way there": {"do": "flip_request"}}
# A list that is cut or damaged is not taken for a shorter one; a flipped bit in it is another key, or no XML at all.
OF_LISTS = {"a body cut short": {"do": "truncate"}}

# phase: which requests, how many pass between two faults, and what is done to them
PHASES = {
    "reading shards": ("GET", rf"^/{DATA}/CASE/.*shard", 0, PASSING | SKEWED | OF_BODIES | SLOW),
    "a checkpoint's parts": ("PUT", rf"^/{MODELS}/CASE/.*/checkpoint/.*sealed$", 3, PASSING | SKEWED | UPLOADED | SLOW),
    "reading back their locks": ("HEAD", rf"^/{MODELS}/CASE/.*/checkpoint/", 3,
                                 PASSING | {"not there yet": {"do": "error", "status": "404 Not Found"}} | SLOW),
    "manifests": ("PUT", rf"^/{MODELS}/CASE/.*/checkpoint/.*json$", 0, PASSING | SKEWED | UPLOADED | SLOW),
    "the final model": ("PUT", rf"^/{MODELS}/CASE/.*/model/.*sealed$", 0, PASSING | SKEWED | UPLOADED | SLOW),
    "the model's manifest": ("PUT", rf"^/{MODELS}/CASE/.*/model/.*json$", 0, PASSING | SKEWED | UPLOADED | SLOW),
    "lists of checkpoints": ("GET", rf"^/{MODELS}\?.*prefix=CASE/", 0, PASSING | SKEWED | OF_LISTS | SLOW),
}

EXPIRED = {"do": "error", "status": "400 Bad Request", "code": "ExpiredToken"}
REDIRECT = {"do": "error", "status": "301 Moved Permanently", "code": "PermanentRedirect", "more": "Location: http://elsewhere.example/\r\n"}
# What does not pass: name, requests, fault, further settings, outcome, words of the reason
SHARD, PART = rf"^/{DATA}/CASE/.*shard", rf"^/{MODELS}/CASE/.*/checkpoint/.*part-0003.sealed$"
LASTING = [
    ("a token that is over, and no newer one, at a shard", "GET", SHARD, EXPIRED, ["retry.max=0"], "store_away",
     [f"s3://{DATA}", "CASE/shards/", "ExpiredToken", "no newer ones", "127.0.0.1"]),
    ("a token that is over, and no newer one, at a part", "PUT", PART, EXPIRED, ["checkpoint.deadline=5s", "retry.max=0"], "store_away",
     ["step 20", "rank 0", "part-0003.sealed", "ExpiredToken", "no newer ones"]),
    ("a redirect at a shard", "GET", SHARD, REDIRECT, [], "denied", ["shard", "redirect", "elsewhere.example"]),
    ("a redirect at a manifest", "PUT", rf"^/{MODELS}/CASE/.*/checkpoint/.*json$", REDIRECT, [], "denied",
     ["step 20", "/checkpoint/", ".json", "redirect", "elsewhere.example"]),
    ("a shard with a flipped bit, each time", "GET", SHARD, {"do": "flip_answer"}, [], "bad_data", ["shard", "SHA-256"]),
    ("a shard that is not there", "GET", SHARD, {"do": "error", "status": "404 Not Found", "code": "NoSuchKey"}, [], "bad_data", ["shard", "NoSuchKey"]),
    ("a part that is refused", "PUT", PART, {"do": "error", "status": "403 Forbidden", "code": "AccessDenied"}, [], "denied",
     ["step 20", "rank 0", "part-0003.sealed", "AccessDenied"]),
    ("a list that always fails", "GET", rf"^/{MODELS}\?.*prefix=CASE/", {"do": "error", "status": "403 Forbidden", "code": "AccessDenied"}, [], "denied",
     ["looking for checkpoints", "list", "AccessDenied"]),
    ("SlowDown without end, at the checkpoint's deadline", "PUT", PART, AWAY, ["checkpoint.deadline=3s", "retry.max=0"], "store_away",
     ["step 20", "rank 0", "part-0003.sealed", "deadline", "SlowDown"]),
    ("a stall without end, at the checkpoint's deadline", "PUT", PART, {"do": "stall", "seconds": 30}, ["checkpoint.deadline=5s", "retry.max=0"],
     "store_away", ["step 20", "rank 0", "part-0003.sealed", "deadline", "time-out"]),
]


def rules_of(case, method, target, skip, faults):
    """One rule for each fault, spread over the requests of a phase."""
    return [dict(fault, name=f"{case}: {name}", method=method, target=target.replace("CASE", case), skip=skip * i) for i, (name, fault) in
            enumerate(faults.items())]


class World:
    def __init__(self):
        self.proxy = Proxy(ENDPOINT)
        self.c = Cluster("faults")
        self.jobs, self.longer_model = [], None
        configure(self.c, self.proxy.endpoint, "patience: 60s, deadline: 2s, ", f"ledger-faults-{os.getpid()}")
        self.c.up()

    def stage(self, case):
        return self.c.run("data", "stage", CSV, f"s3://{DATA}/{case}", "--class", "personal", "--owner", "risk", "--basis", "test")

    def submit(self, case, *settings):
        job = self.c.submit(SPEC, *SHORT, f"checkpoint.to=s3://{MODELS}/{case}", *settings)
        self.jobs.append(job)
        return job

    def longer(self):
        """The model of an undisturbed job that is long enough for something to happen in the middle."""
        self.longer_model = self.longer_model or model_of(self.c.wait_over(self.submit("longer", *LONGER)))
        return self.longer_model

    def reason(self, shown):
        return shown["attempts"][-1]["outcome"] + ": " + shown["job"]["reason"]

    def same(self, name, shown, want, attempts=1):
        model = model_of(shown)
        log = self.c.run("logs", shown["job"]["id"]).stdout
        check(f"{name}: the same model to the bit", shown["job"]["state"] == "succeeded" and model == want,
              f"{model} is not {want}: {self.reason(shown)}\n{log[-3000:]}")
        if attempts:
            check(f"{name}: {attempts} attempt(s)", shown["job"]["attempts"] == attempts, f"{[a['reason'] for a in shown['attempts']]}\n{log[-3000:]}")


def passing(w, want):
    cases = {}
    for i, (phase, (method, target, skip, faults)) in enumerate(PHASES.items()):
        case = f"passing{i}"
        w.proxy.add(*rules_of(case, method, target, skip, faults))
        data = [] if DATA not in target else [f"data.train=s3://{DATA}/{case}"]
        if data:
            w.stage(case)
        cases[case] = (phase, faults, w.submit(case, *data))
    for case, (phase, faults, job) in cases.items():
        w.same(phase, w.c.wait_over(job), want)
        for name in faults:
            check(f"{phase}: {name} was met", w.proxy.hits(f"{case}: {name}") == 1)


def lasting(w, _):
    jobs = []
    for i, (name, method, target, fault, settings, outcome, words) in enumerate(LASTING):
        case = f"lasting{i}"
        w.proxy.add(dict(fault, name=case, method=method, target=target.replace("CASE", case), count=-1))
        if DATA in target:
            w.stage(case)
            settings = [*settings, f"data.train=s3://{DATA}/{case}"]
        jobs.append((name, case, outcome, words, w.submit(case, *settings)))
    for name, case, outcome, words, job in jobs:
        shown = w.c.wait_over(job)
        reason = w.reason(shown)
        check(f"{name}: the job ends as {outcome}", shown["job"]["state"] == "failed" and shown["attempts"][-1]["outcome"] == outcome, reason)
        check(f"{name}: the reason tells of it", all(word.replace("CASE", case) in reason for word in words) and
              all(word.replace("CASE", case) in w.c.run("show", job).stdout for word in words[-1:]), f"{words} in: {reason}")


LONGER = ["train.epochs=40", "checkpoint.every=20"]


def model_of(shown):
    return (shown["job"]["result"] or {}).get("model", {}).get("sha256")


def outage(w, _):
    """30 s without a store, in the middle of training: the same attempt goes on, and says that it waits."""
    want = w.longer()
    job = w.submit("outage", *LONGER)
    w.c.wait(job, lambda s: (s.get("pulse") or {}).get("checkpoint_step", 0) > 0)
    w.proxy.down(30)
    shown = w.c.wait_over(job)
    log = w.c.run("logs", job).stdout
    w.same("the store gone for 30 s in the middle of training", shown, want)
    check("the log says that it waits, for what and why", re.search(r"store\.waiting rank=\d \w+=outage/.*(refused|reset|connect)", log, re.IGNORECASE) and
          "store.back" in log, log[-3000:])


def restart(w, want):
    """The newest checkpoint cannot be read back: the one before is taken, and the same model comes out."""
    done = []

    def strike():
        if not done:
            done.append(1)
            kill(*w.c.ranks(job))

    w.proxy.add({"name": "lost", "do": "reset_after", "method": "PUT", "target": rf"^/{MODELS}/restart/.*/checkpoint/0+60-.*json$", "then": strike},
                {"name": "spoiled", "do": "flip_answer", "method": "GET", "target": rf"^/{MODELS}/restart/.*/checkpoint/0+60-.*part-0005.sealed", "count": -1})
    job = w.submit("restart")
    shown = w.c.wait_over(job)
    w.same("ranks killed when a manifest's answer was lost, and its checkpoint unreadable", shown, want, 2)
    check("the lost answer and the damaged part were met", w.proxy.hits("lost") == 1 and w.proxy.hits("spoiled") >= 2)
    check("the record says which checkpoint was passed over", w.c.recorded("checkpoint.rejected", job) and w.c.recorded("checkpoint.restored", job))


def killed_supervisor(w, want):
    """kill -9 of the supervisor when the answer to a part's PUT was lost; afterwards the newest manifests are not listed."""
    done = []

    def strike():
        if not done:
            done.append(1)
            kill(w.c.supervisor(job))

    w.proxy.add({"name": "part", "do": "reset_after", "method": "PUT", "target": rf"^/{MODELS}/orphan/.*/checkpoint/0+60-.*part-0002.sealed$", "then": strike},
                {"name": "omit", "do": "omit", "method": "GET", "target": rf"^/{MODELS}\?.*prefix=orphan/.*/checkpoint/", "key": r"/0+40-[^<]*json", "count": -1})
    job = w.submit("orphan")
    w.same("kill -9 of the supervisor at an acknowledgement that was lost, and a list that omits the newest", w.c.wait_over(job), want, 2)
    check("both were met", w.proxy.hits("part") == 1 and w.proxy.hits("omit") >= 1, (w.proxy.hits("part"), w.proxy.hits("omit")))


def away_at_restart(w, _):
    """The store is gone when the second attempt is prepared: its supervisor waits under its lease."""
    want = w.longer()
    job = w.submit("back", *LONGER)
    w.c.wait(job, lambda s: (s.get("pulse") or {}).get("checkpoint_step", 0) > 0)
    w.proxy.down(12)
    kill(*w.c.ranks(job))
    w.same("the store gone for 12 s when ranks are lost", w.c.wait_over(job), want, 2)


def stopped_rank(w, want):
    """A rank that hangs in a checkpoint, and does not even notice its deadline."""
    done = []

    def strike():
        if not done:
            done.append(w.c.ranks(job)[-1])
            os.kill(done[0], signal.SIGSTOP)

    w.proxy.add({"name": "hang", "do": "stall", "seconds": 2, "method": "PUT", "target": rf"^/{MODELS}/hang/.*/checkpoint/0+40-.*part-0006.sealed$", "then": strike})
    job = w.submit("hang", "checkpoint.deadline=4s")
    shown = w.c.wait_over(job)
    w.same("a rank that hangs in a checkpoint", shown, want, 2)
    reason = shown["attempts"][0]["reason"]
    check("it is named, with the step", "step 40" in reason and "rank 1 missed the deadline" in reason, reason)


def many_at_once(w, want):
    """RGW's own 503: as many requests as it takes at once are fewer than there are ranks."""
    def limit(n):
        return subprocess.run(["ceph", "--admin-daemon", os.environ["SOVRUN_TEST_S3_ADMIN_SOCKET"], "config", "set", "rgw_max_concurrent_requests", str(n)],
                              capture_output=True, text=True, check=False)

    before = w.proxy.slow_downs
    told = limit(2)
    try:
        w.same("RGW with two requests at once, four ranks", w.c.wait_over(w.submit("busy", "resources.ranks=4")), want)
    finally:
        limit(1024)
    check("RGW said SlowDown", told.returncode == 0 and w.proxy.slow_downs > before, told.stderr)


def parts_of_parts(w, _):
    """Slices so large that they go up in parts: the last step answers 200 with an error inside, or its answer is lost."""
    big = ["model.hidden=[2400,1900]", "train.leaves=2", "train.batch=32", "train.epochs=1", "checkpoint.every=1000", "checkpoint.lock=none",
           "checkpoint.retain=0"]
    target = rf"^/{MODELS}/multi/.*uploadId="
    want = w.c.wait_over(w.submit("single", *big))["job"]["result"]["model"]["sha256"]
    faults = {"an error inside a 200": {"do": "late_error", "code": "InternalError"}, "done, and an error inside a 200": {"do": "late_error", "code": "InternalError",
              "effect": True}, "a lost answer": {"do": "reset_after"}}
    w.proxy.add(*rules_of("multi", "POST", target, 0, faults), *rules_of("multi", "PUT", target, 0, {"part: 503": AWAY, "part: lost": {"do": "reset_after"}}))
    w.same("uploads in parts", w.c.wait_over(w.submit("multi", *big)), want)
    for name in [*faults, "part: 503", "part: lost"]:
        check(f"uploads in parts: {name} was met", w.proxy.hits(f"multi: {name}") == 1)


def twins(w, want):
    """A put whose answer was lost has been done twice. Keeping few removes the second version, of what goes and of what stays."""
    parts = {step: rf"^/{MODELS}/twins/.*/checkpoint/0+{step}-.*part-0001.sealed$" for step in (20, 80, 100)}
    w.proxy.add({"name": "twins: manifest", "do": "reset_after", "method": "PUT", "target": rf"^/{MODELS}/twins/.*/checkpoint/0+40-.*json$"},
                *({"name": f"twins: {step}", "do": "reset_after", "method": "PUT", "target": target} for step, target in parts.items()))
    job = w.submit("twins", "checkpoint.lock=none", "checkpoint.retain=0", "checkpoint.keep=2")
    w.same("answers to puts that were lost", w.c.wait_over(job), want)
    check("they were met", all(w.proxy.hits(f"twins: {name}") == 1 for name in ("manifest", *parts)))
    listed = json.loads(aws("list-object-versions", "--bucket", MODELS, "--prefix", f"twins/{job}/checkpoint/").stdout)
    keys = [v["Key"] for v in listed["Versions"]]
    manifests = [k for k in keys if k.endswith(".json")]
    check("of the checkpoints that stay there is one version of each object, and nothing of those that went",
          len(manifests) == 2 and len(keys) == len(set(keys)) and not listed.get("DeleteMarkers")
          and all(any(k.startswith(m[:-len(".json")]) for m in manifests) for k in keys) and any("0100-" in k for k in keys), keys)


def staging(w, _):
    target = rf"^/{DATA}/CASE/"
    w.proxy.add(*rules_of("whole", "PUT", target, 1, {"503": AWAY, "lost": {"do": "reset_after"}, "flip": {"do": "flip_request"}}))
    done = w.stage("whole")
    check("staging gets through 503, a lost answer and a flipped bit", done.returncode == 0, done.stderr)
    verified = w.c.run("data", "verify", f"s3://{DATA}/whole")
    check("what was staged is whole", verified.returncode == 0, verified.stderr)
    for case, fault, code, words in [("refused", {"do": "error", "status": "403 Forbidden", "code": "AccessDenied"}, 3, ["AccessDenied", f"s3://{DATA}/refused/"]),
                                      ("over", EXPIRED, 4, ["ExpiredToken", "no newer ones", f"s3://{DATA}/over/"]), ("away", AWAY, 4, ["SlowDown", f"s3://{DATA}/away/"])]:
        w.proxy.add(dict(fault, name=case, method="PUT", target=target.replace("CASE", case), count=-1))
        done = w.stage(case)
        check(f"staging that is {case}: exit {code}, and the cause is told", done.returncode == code and all(word in done.stderr for word in words),
              f"exit {done.returncode}: {done.stderr}")
        absent = w.c.run("data", "verify", f"s3://{DATA}/{case}")
        check(f"staging that is {case}: there is no such dataset", absent.returncode == 6, f"exit {absent.returncode}: {absent.stderr}")
    w.proxy.add(dict(AWAY, name="manifest", method="GET", target=rf"^/{DATA}/whole/.*json", count=-1))
    done = w.c.run("submit", SPEC, f"--set=data.train=s3://{DATA}/whole", f"--set=checkpoint.to=s3://{MODELS}/never")
    check("a job whose dataset cannot be read is not taken: exit 4, and the cause is told", done.returncode == 4 and "SlowDown" in done.stderr,
          f"exit {done.returncode}: {done.stderr}")


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def skewed(want):
    """All of us eight hours behind the store, or ahead of it."""
    for hours in ["-8h", "+8h"]:
        # Redis's allocator asks for the time before libfaketime can tell it: Redis alone keeps the true one.
        tools = B / "test" / "skewed-tools"
        script(tools / "redis-server", "unset LD_PRELOAD FAKETIME\nexec /usr/bin/redis-server \"$@\"\n")
        c = Cluster("skewed", enter=["env", f"PATH={tools}:{os.environ['PATH']}", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", hours])
        try:
            configure(c, ledger=f"ledger-skewed{hours}-{os.getpid()}")
            trainer = script(c.home / "trainer", f"export FAKETIME_DONT_FAKE_MONOTONIC=1\nexec faketime -f {hours} {BIN / 'sovrun-trainer'}\n")
            config = (c.home / "sovrun.yaml").read_text()
            (c.home / "sovrun.yaml").write_text(config.replace("launch: { ", f"launch: {{ trainer: {trainer}, "))
            c.up()
            job = c.submit(SPEC, *SHORT, f"checkpoint.to=s3://{MODELS}/skewed{hours}")
            shown = c.wait_over(job)
            off = (shown["job"]["submitted_ms"] / 1000 - time.time()) / 3600
            check(f"clocks {hours} off: they are, as the job's record says", abs(abs(off) - 8) < 0.1, off)
            model = model_of(shown)
            check(f"clocks {hours} off: the same model to the bit", model == want, f"{shown['job']['reason']}\n{c.run('logs', job).stdout[-3000:]}")
            sound(c, [job], f"clocks {hours} off")
        finally:
            c.stop_quietly()


def sound(c, jobs, name):
    """Whatever was done to the store: what has a manifest verifies, the audit trail too, and nothing is left running."""
    bad = {}
    for job in jobs:
        done = c.run("model", "verify", job)
        if done.returncode not in (0, 6):  # 6: there is no model, and no checkpoint either
            bad[job] = done.stderr + done.stdout
    check(f"{name}: every checkpoint and model that has a manifest verifies", not bad, bad)
    audit = c.run("audit", "verify", "--json")
    check(f"{name}: the audit trail verifies", audit.returncode == 0 and json.loads(audit.stdout)["ok"], audit.stdout + audit.stderr)
    c.run("down")
    time.sleep(0.5)
    check(f"{name}: nothing is left running", not left_over(c.home), left_over(c.home))


def main():
    if not ENDPOINT:
        print("ok 1 # SKIP no SOVRUN_TEST_S3_ENDPOINT: tests/run.sh gives one")
        print("1..1")
        return
    w = World()
    try:
        undisturbed = w.c.wait_over(w.submit("undisturbed"))
        want = model_of(undisturbed)
        check("an undisturbed job succeeds", undisturbed["job"]["state"] == "succeeded" and want, undisturbed["job"]["reason"])
        wanted = sys.argv[1:]  # names of acts, to try some alone
        for act in [passing, lasting, restart, killed_supervisor, stopped_rank, many_at_once, parts_of_parts, twins, staging, away_at_restart, outage]:
            begun = time.monotonic()
            if not wanted or act.__name__ in wanted:
                act(w, want)
                print(f"# {act.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
        w.proxy.plan([])
        sound(w.c, w.jobs, "afterwards")
        if not wanted or "skewed" in wanted:
            skewed(want)
    finally:
        w.c.stop_quietly()
        w.proxy.close()
    finish()


if __name__ == "__main__":
    main()
