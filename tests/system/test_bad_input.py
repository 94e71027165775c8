#!/usr/bin/python3
"""Bad input and missing services: a clear message (what, where, what to do), the right exit code, and nothing half done."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

from cluster import CSV, LONG, SPEC, Cluster, check, finish, left_over

HERE = None  # a scratch folder below the cluster's home


def spec_with(name, old, new):
    text = SPEC.read_text().replace("file://german-credit.csv", f"file://{CSV}")
    assert old in text, old
    path = HERE / f"{name}.yaml"
    path.write_text(text.replace(old, new))
    return path


def line_of(path, word):
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if word in line)


def refused(c, what, done, code, *words):
    said = done.stderr + done.stdout
    check(f"{what}: exit {code}", done.returncode == code, f"exit {done.returncode}: {said}")
    check(f"{what}: says {', '.join(map(repr, words))}", all(w in said for w in words), said)


def bad_specs(c):
    for name, old, new, words in (
        ("unknown key", "epochs: 40", "epohcs: 40", ("train.epohcs", "epochs")),
        ("wrong type", "batch: 64", "batch: many", ("train.batch", "many")),
        ("bad range", "dropout: 0.3", "dropout: 1.5", ("model.dropout", "1.5")),
        ("leaves no power of two", "leaves: 8", "leaves: 7", ("train.leaves",)),
        ("more ranks than leaves", "ranks: 2", "ranks: 16", ("resources.ranks",)),
    ):
        path = spec_with(name.replace(" ", "-"), old, new)
        where = f"{path.name}:{line_of(path, new.split(':')[0] + ':')}"
        for command in ("submit", "run"):
            refused(c, f"{name}, {command}", c.run(command, path), 2, where, *words)
    jobs = c.ask("list")["jobs"]
    check("nothing was stored of what was refused", jobs == [], jobs)
    refused(c, "a spec that is not there", c.run("submit", HERE / "none.yaml"), 6, "none.yaml")
    refused(c, "a bad --set", c.run("submit", SPEC, "--set", "train.epohcs=3"), 2, "train.epohcs", "epochs")
    refused(c, "a queue that is not there", c.run("submit", SPEC, "--set", "queue=nowhere"), 2, "nowhere")
    refused(c, "more ranks than the cluster has slots", c.run("submit", SPEC, "--set", "resources.ranks=64", "--set", "train.leaves=64"), 2,
            "64")
    refused(c, "a key that is not there", c.run("submit", SPEC, "--set", "checkpoint.key=nokey"), 2, "checkpoint.key", "nokey")
    refused(c, "checkpoints among the ledger's objects", c.run("submit", SPEC, "--set", "checkpoint.to=s3://evidence/ledger/head"), 3, "ledger")
    refused(c, "data among the ledger's objects", c.run("data", "stage", CSV, "s3://evidence/ledger/segment"), 3, "ledger")
    refused(c, "a bucket that is not the cluster's", c.run("submit", SPEC, "--set", "checkpoint.to=s3://elsewhere/x"), 3, "elsewhere")


def bad_data(c):
    lines = CSV.read_text().splitlines()

    def stage(name, changed, *options):
        path = HERE / f"{name}.csv"
        path.write_text("\n".join(changed) + "\n")
        return c.run("data", "stage", path, f"s3://data/{name}", *options)

    refused(c, "a CSV line with a field too few", stage("ragged", lines[:5] + [lines[5].rsplit(",", 1)[0]] + lines[6:]), 2, "ragged.csv:6")
    refused(c, "a CSV without records", stage("empty", lines[:1]), 2, "empty.csv")
    swapped = [lines[0]] + [line.replace(",6,", ",six,", 1) if i == 0 else line for i, line in enumerate(lines[1:])]
    refused(c, "a word in a column that is said to be numeric", stage("word", swapped, "--column", "duration=numeric"), 2, "word.csv:2", "duration", "six")
    no_class = [line.rsplit(",", 1)[0] for line in lines]
    check("a CSV without the target can be staged", stage("noclass", no_class).returncode == 0)
    refused(c, "but not trained on", c.run("submit", SPEC, "--set", "data.train=s3://data/noclass"), 2, "class")
    refused(c, "a dataset that is not there", c.run("submit", SPEC, "--set", "data.train=s3://data/nothing"), 6, "s3://data/nothing")


def shard_files(c, prefix):
    return sorted(p for p in (c.home / "store" / "data").rglob("*") if p.is_file() and f"/{prefix}/" in str(p) and "shard" in str(p)
                  and p.stat().st_size > 1000)


def rewrite(path, data):
    """Behind the store's back, as a broken disk would."""
    os.chmod(path, 0o600)
    path.write_bytes(data)


def changed_shards(c):
    for name, change, word in (
        ("flipped", lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:], "SHA-256"),
        ("truncated", lambda b: b[:-100], "bytes"),
    ):
        check(f"staged {name}", c.run("data", "stage", CSV, f"s3://data/{name}").returncode == 0)
        victim = shard_files(c, name)[3]
        rewrite(victim, change(victim.read_bytes()))
        verified = c.run("data", "verify", f"s3://data/{name}")
        refused(c, f"data verify of a {name} shard", verified, 1, f"{name}/shards/")
        done = c.run("submit", SPEC, "--set", f"data.train=s3://data/{name}", "--wait")
        refused(c, f"a job on a {name} shard", done, 5, "shard", word)


def sealed_parts(c, job):
    found = sorted(p for p in (c.home / "store" / "models").rglob("*") if p.is_file() and f"/{job}/checkpoint/" in str(p)
                   and "part-" in str(p) and p.stat().st_size > 200)
    return found


def stop_all(c, job):
    """The job stops where it is: scheduler first, so that nothing starts the next attempt."""
    scheduler, supervisor = c.scheduler(), c.supervisor(job)
    for pid in (scheduler, supervisor):
        os.kill(pid, signal.SIGKILL)
    time.sleep(1.5)


def changed_checkpoints(c, want):
    job = c.submit(SPEC, *LONG)
    c.wait(job, lambda s: (s.get("pulse") or {}).get("checkpoint_step", 0) >= 1500)
    stop_all(c, job)
    newest = sealed_parts(c, job)[-1]
    rewrite(newest, newest.read_bytes()[:-9] + b"X" + newest.read_bytes()[-8:])
    c.up()
    shown = c.wait_over(job)
    check("a sealed part with a flipped byte: the checkpoint before it is used, and the model is the same",
          shown["job"]["state"] == "succeeded" and shown["job"]["result"]["model"]["sha256"] == want, shown["job"])
    check("and the ledger says that one was rejected and another restored",
          c.recorded("checkpoint.rejected", job) and c.recorded("checkpoint.restored", job))
    part = sealed_parts(c, job)[0]
    rewrite(part, part.read_bytes()[:-9] + b"X" + part.read_bytes()[-8:])
    refused(c, "model verify of a changed object", c.run("model", "verify", job), 1, "part-")
    return job


def wrong_key(c, job):
    kek = next((c.home / "keys").glob("demo.v1.key"))
    kept = kek.read_bytes()
    kek.write_text("00" * 32 + "\n")
    refused(c, "model get with another key", c.run("model", "get", job, "-o", HERE / "m.safetensors"), 1, "key")
    check("and no file is left", not (HERE / "m.safetensors").exists())
    kek.write_bytes(kept)
    os.chmod(kek, 0o644)
    refused(c, "a key that others may read", c.run("model", "get", job, "-o", HERE / "m.safetensors"), 3, "chmod 600")
    os.chmod(kek, 0o600)
    check("with the right key the model comes", c.run("model", "get", job, "-o", HERE / "m.safetensors").returncode == 0)


def missing_services(c):
    refused(c, "an unknown job", c.run("show", "261122-zzzzzz"), 6, "261122-zzzzzz")
    store = c.home / "store" / "models"
    store.rename(c.home / "store" / "models.away")
    done = c.run("submit", SPEC, "--set", "retry.max=0", "--wait")
    check("no store: nothing is submitted, and it says where", done.returncode == 4 and "models" in done.stderr, done.stderr + done.stdout)
    (c.home / "store" / "models.away").rename(store)
    os.kill(c.redis(), signal.SIGKILL)
    time.sleep(0.3)
    refused(c, "no Redis", c.run("list"), 4, "redis", "sovrun up")
    c.up()
    check("Redis back: the jobs are still there", len(c.ask("list")["jobs"]) > 0)
    c.run("down")
    refused(c, "no scheduler", c.run("list"), 4, "sovrun up")


def full_disk():
    """A store on a file system of 3 MB. Needs root to mount one."""
    if os.geteuid() != 0:
        check("full disk # SKIP needs root to mount a small file system", True)
        return
    c = Cluster("fulldisk")
    c.up()
    c.run("down")
    small = c.home / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        check(f"full disk # SKIP no file system can be mounted here: {mounted.stderr.strip()}", True)
        return
    try:
        shutil.copytree(c.home / "store" / "models", small / "models")
        config = (c.home / "sovrun.yaml").read_text()
        config = config.replace("- { kind: dir, root: store, buckets: [data, models, evidence] }",
                                "- { kind: dir, root: store, buckets: [data, evidence] }\n  - { kind: dir, root: small, buckets: [models] }")
        (c.home / "sovrun.yaml").write_text(config)
        c.up()
        done = c.run("submit", SPEC, "--set", "checkpoint.every=20", "--set", "checkpoint.keep=100", "--set", "retry.max=1",
                     "--set", "retry.backoff=100ms", "--wait")
        said = done.stderr + done.stdout
        check("a full disk: the job fails, exit 5", done.returncode == 5, said)
        check("and says that there is no space, and where", "space" in said.lower() and "small" in said, said)
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        job = c.ask("list")["jobs"][0]["id"]
        check("what had been committed is whole", c.run("model", "verify", job).returncode == 0, c.run("model", "verify", job).stderr)
    finally:
        c.stop_quietly()
        subprocess.run(["umount", small], check=False)


def main():
    global HERE
    c = Cluster("bad")
    try:
        c.up()
        HERE = pathlib.Path(c.home) / "scratch"
        HERE.mkdir()
        bad_specs(c)
        bad_data(c)
        changed_shards(c)
        want = c.wait_over(c.submit(SPEC, *LONG))["job"]["result"]["model"]["sha256"]
        wrong_key(c, changed_checkpoints(c, want))
        missing_services(c)
    finally:
        c.stop_quietly()
    full_disk()
    check("nothing is left running", not left_over(c.home), left_over(c.home))
    finish()


if __name__ == "__main__":
    main()
