#!/usr/bin/python3
"""demo.py - the main job, end to end, with a rank killed on the way. `make demo` runs it.

Starts a private cluster under build/demo (scheduler, Redis, store, keys), trains the credit-risk model twice, the second time
with a rank killed in the middle, fetches the model, scores the data with tools/predict.py, verifies the audit trail, and writes
build/demo/summary.json. Exits 0 only where all of it holds.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "bin"
OUT = ROOT / "build" / "demo"
HOME = OUT / "home"
SPEC = ROOT / "configs" / "demo" / "credit-risk.yaml"
# Long enough to be killed in the middle; otherwise the job as it stands in the file.
SETTINGS = ["train.epochs=600", "train.lr=2e-4", "checkpoint.every=1000"]
KILL_AFTER_STEP = 2500
DEADLINE_S = 150


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def sovrun(*arguments, check=True):
    done = subprocess.run([BIN / "sovrun", *arguments, "--home", HOME], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        sys.exit(f"demo: sovrun {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}{done.stdout}")
    return done


def ask(*arguments):
    return json.loads(sovrun(*arguments, "--json").stdout)


def submit(name):
    settings = [f"--set={s}" for s in [f"name={name}", *SETTINGS]]
    return ask("submit", SPEC, *settings)["job"]["id"]


def processes():
    """pid -> (parent, command name) of everything that runs."""
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        found[int(stat.parent.name)] = (int(text[text.rindex(")") + 2 :].split()[1]), name)
    return found


def ranks_of(job):
    """The trainer processes below the supervisor of the job's running attempt."""
    attempt = ask("show", job)["attempts"][-1]
    every = processes()

    def below(pid):
        while pid in every and pid != attempt["supervisor_pid"]:
            pid = every[pid][0]
        return pid == attempt["supervisor_pid"]

    return sorted(pid for pid, (_, name) in every.items() if name.startswith("sovrun-trainer") and below(pid))


class Memory:
    """The largest sum of resident memory over the demo's own processes, sampled while waiting."""

    def __init__(self):
        self.peak_kib = 0

    def sample(self):
        total, every = 0, processes()
        names = ("sovrun", "sovrun-schedule", "sovrun-trainer", "mpirun", "redis-server")
        for pid, (_, name) in every.items():
            if name in names:
                try:
                    if name == "redis-server" and str(OUT) not in os.readlink(f"/proc/{pid}/cwd"):
                        continue
                    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                        if line.startswith("VmRSS:"):
                            total += int(line.split()[1])
                except OSError:
                    pass
        self.peak_kib = max(self.peak_kib, total)


MEMORY = Memory()


def wait(job, until, what):
    limit = time.monotonic() + DEADLINE_S
    while time.monotonic() < limit:
        MEMORY.sample()
        shown = ask("show", job)
        if until(shown):
            return shown
        if shown["job"]["state"] in ("failed", "cancelled"):
            sys.exit(f"demo: job {job} {shown['job']['state']}: {shown['job']['reason']}\n" + sovrun("logs", job, check=False).stdout)
        time.sleep(0.1)
    sys.exit(f"demo: waited {DEADLINE_S} s for {what}; the job is {shown['job']['state']}: {shown['job']['reason']}")


def over(shown):
    return shown["job"]["state"] == "succeeded"


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    say("starting a private cluster: Redis, a store with versions and locks, file keys, the scheduler")
    sovrun("up")

    say(f"submitting {SPEC.name}: an MLP on 1,000 real credit records, two ranks under mpirun")
    unbroken = wait(submit("credit-unbroken"), over, "the unbroken job")
    say(f"trained without a break: {unbroken['job']['attempts']} attempt, model {unbroken['job']['result']['model']['sha256'][:16]}…")

    job = submit("credit-killed")
    say(f"submitted the same job again: {job}")
    wait(job, lambda s: (s.get("pulse") or {}).get("step", 0) >= KILL_AFTER_STEP and s["pulse"]["checkpoint_step"] > 0, "a checkpoint")
    victims = ranks_of(job)
    at = ask("show", job)["pulse"]["step"]
    os.kill(victims[-1], signal.SIGKILL)
    say(f"killed rank process {victims[-1]} with SIGKILL near step {at}")
    shown = wait(job, lambda s: s["job"]["attempts"] >= 2 and s["job"]["state"] == "running" or over(s), "the second attempt")
    say(f"attempt {shown['job']['attempts']} runs; it resumes from the last committed checkpoint")
    shown = wait(job, over, "the killed job")
    result = shown["job"]["result"]
    say(f"succeeded: hold-out AUC {result['metrics']['holdout_auc']:.4f}, model {result['model']['sha256'][:16]}…")

    model = OUT / "model.safetensors"
    sovrun("model", "get", job, "-o", model)
    predicted = subprocess.run([os.environ.get("PYTHON", "/usr/bin/python3"), ROOT / "tools" / "predict.py", model,
                                ROOT / "configs" / "demo" / "german-credit.csv", "--json"], capture_output=True, text=True, check=False)
    if predicted.returncode != 0:
        sys.exit(f"demo: tools/predict.py: {predicted.stderr}")
    say(f"model fetched, opened and read by tools/predict.py: AUC {json.loads(predicted.stdout)['auc']:.4f} over all 1,000 records")
    sovrun("model", "verify", job)
    audit = ask("audit", "verify")
    say(f"audit verified: {audit['records']} records in an unbroken, signed chain")

    summary = {
        "state": shown["job"]["state"],
        "attempts": shown["job"]["attempts"],
        "holdout_auc": result["metrics"]["holdout_auc"],
        "model_sha256": result["model"]["sha256"],
        "model_sha256_unbroken": unbroken["job"]["result"]["model"]["sha256"],
        "audit": "ok" if audit["ok"] else "bad",
        "peak_rss_mib": round(MEMORY.peak_kib / 1024, 1),
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    good = (summary["state"] == "succeeded" and summary["attempts"] == 2 and summary["holdout_auc"] >= 0.75
            and summary["model_sha256"] == summary["model_sha256_unbroken"] and summary["audit"] == "ok")
    say("the two models are the same to the bit" if good else "NOT as it should be")
    print(json.dumps(summary, indent=2))
    return 0 if good else 1


if __name__ == "__main__":
    STARTED = time.monotonic()
    try:
        code = main()
    finally:
        subprocess.run([BIN / "sovrun", "down", "--home", HOME], capture_output=True, check=False)
    sys.exit(code)
