#!/usr/bin/python3
"""bench_jobs.py - a language model as a whole job: ranks against threads, and what checkpoints cost. `make bench-jobs` runs it.

One after the other, ROUNDS times in turn, on a private cluster under build/:
  two ranks of one thread against one rank of two threads, by tokens a second over all steps behind the first;
  a checkpoint every 4 steps against none;
  and, with BIG=1 (and SMALL=0 for nothing else), a model of 124M parameters (1.5 GB of state): what its copy takes beside a memcpy of as many bytes, and how long
  a killed job takes to have it back, beside `sovrun model verify`, which reads and opens it.
"""
import os
import pathlib
import re
import shutil
import statistics
import sys
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[1]
B = ROOT / os.environ.get("B", "build")
sys.path.insert(0, str(ROOT / "tests" / "system"))
from cluster import Cluster, kill  # noqa: E402 (the path is set above)

ROUNDS = int(os.environ.get("ROUNDS", "3"))
STEPS = 12
SIZES = {"layers": 6, "heads": 6, "width": 384, "context": 256, "vocab": 257}
LARGE = {"preset": "gpt2-124M", "context": 64}


def write_tokens(path, count, vocab):
    numpy.random.default_rng(1).integers(0, vocab, count, dtype=numpy.uint16).tofile(path)


def write_spec(path, name, model, data, batch, leaves, every):
    sizes = ", ".join(f"{k}: {v}" for k, v in model.items())
    path.write_text(f"name: {name}\nmodel: {{ kind: gpt, {sizes} }}\ndata: {{ train: {data}, format: tokens }}\n"
                    f"train: {{ epochs: 1, batch: {batch}, leaves: {leaves}, lr: 1e-4 }}\n"
                    f"checkpoint: {{ to: s3://models/bench, every: {every} steps, keep: 1 }}\nretry: {{ backoff: 0s }}\n")


def stage(c, name, count, vocab):
    file, uri = c.home / f"{name}.tokens", f"s3://data/{name}/v1"
    write_tokens(file, count, vocab)
    done = c.run("data", "stage", file, uri, "--class", "public", "--owner", "bench", "--basis", "none")
    if done.returncode:
        sys.exit(done.stderr)
    return uri


def run(c, spec, *settings):
    """-> (tokens a second, ms of a step by part in the last interval, log)."""
    job = c.submit(spec, *settings)
    shown = c.wait_over(job, 900)
    if shown["job"]["state"] != "succeeded":
        sys.exit(shown["job"]["reason"])
    pulse = shown["pulse"]
    return pulse["records_per_second"] * shown["job"]["spec"]["model"]["context"], pulse["step_ms"], c.run("logs", job).stdout


def ranks_and_checkpoints(c):
    uri = stage(c, "small", 8 * 256 * STEPS + 1, 257)
    spec = c.home / "small.yaml"
    write_spec(spec, "small", SIZES, uri, 8, 2, 1000)
    cases = {"one rank of two threads": ["resources.ranks=1", "resources.cpus_per_rank=2"],
             "two ranks of one thread": ["resources.ranks=2", "resources.cpus_per_rank=1"],
             "two ranks, a checkpoint every 4 steps": ["resources.ranks=2", "checkpoint.every=4"]}
    speeds, parts = {name: [] for name in cases}, {}
    for _ in range(ROUNDS):
        for name, settings in cases.items():
            speed, parts[name], _ = run(c, spec, *settings)
            speeds[name].append(speed)
    base = speeds["one rank of two threads"]
    print(f"\nL 6, C 384, T 256, B 8, V 257, {STEPS} steps, {ROUNDS} rounds")
    for name, s in speeds.items():
        ratio = statistics.median(x / y for x, y in zip(s, base))
        times = ", ".join(f"{k} {v:.0f}" for k, v in parts[name].items() if k not in ("slowest", "slowest_rank"))
        print(f"  {name:40} {statistics.median(s):7.0f} tokens/s   {ratio:.2f} x   last steps, ms: {times}")
    quiet, saving = speeds["two ranks of one thread"], speeds["two ranks, a checkpoint every 4 steps"]
    print(f"  with a checkpoint every 4 steps {statistics.median(x / y for x, y in zip(saving, quiet)):.2f} x the speed without")


def memcpy_ms(count):
    """Of as many bytes, both sides touched before."""
    a, b = numpy.ones(count // 8), numpy.zeros(count // 8)
    times = []
    for _ in range(5):
        began = time.monotonic()
        numpy.copyto(b, a)
        times.append((time.monotonic() - began) * 1e3)
    return statistics.median(times)


def big(c):
    uri = stage(c, "big", 4 * 64 * 30 + 1, 50257)
    spec = c.home / "big.yaml"
    write_spec(spec, "big", LARGE, uri, 4, 4, 6)
    job = c.submit(spec, "resources.ranks=1", "resources.cpus_per_rank=2")
    c.wait(job, lambda s: (s.get("pulse") or {}).get("checkpoint_step", -1) >= 12, 600)
    kill(*c.ranks(job))
    shown = c.wait_over(job, 900)
    log = c.run("logs", job, "--attempt", "1").stdout
    copies = [int(us) / 1e3 for us in re.findall(r"checkpoint\.copied .*?us=(\d+)", log)]
    restored = [int(ms) for ms in re.findall(r"checkpoint\.restored .*?ms=(\d+)", c.run("logs", job, "--attempt", "2").stdout)]
    state = 12 * 124_000_000
    began = time.monotonic()
    done = c.run("model", "verify", job, "--json", timeout=600)
    verify = time.monotonic() - began
    bytes_read = sum(a.get("bytes", 0) for a in c.ask("model", "ls", job)["artifacts"])
    print(f"\n124M parameters, {state / 1e9:.2f} GB of state, one rank of two threads: {shown['job']['state']}, "
          f"{shown['job']['attempts']} attempts, peak {shown['job']['result']['rank0_peak_rss_kib'] / 1024:.0f} MiB")
    copy = memcpy_ms(state)
    print(f"  the copy at a checkpoint: {', '.join(f'{x:.0f}' for x in copies)} ms; memcpy of as much: {copy:.0f} ms")
    print(f"  restored in {restored} ms; verify read and opened {bytes_read / 1e9:.2f} GB in {verify:.2f} s (exit {done.returncode}): "
          f"{bytes_read / verify / 1e6:.0f} MB/s")


def main():
    c = Cluster("bench-jobs")
    c.up()
    try:
        if os.environ.get("SMALL", "1") == "1":
            ranks_and_checkpoints(c)
        if os.environ.get("BIG") == "1":
            big(c)
    finally:
        c.stop_quietly()
        shutil.rmtree(c.home / "store", ignore_errors=True)


main()
