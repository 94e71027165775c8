#!/usr/bin/python3
"""bench_submit.py [SECTION...] - the main path of a job, measured: start, idle, submit, queue, train.

Each figure stands beside what it can be compared with, measured in the same run and in turn with it. A machine that others use
too drifts by a factor of two within minutes: so medians, with quartiles in brackets, and ratios; never one number alone.
"""
import contextlib
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from rig import BUILD, Cluster, Monitor, Redis, children, processor_seconds, resident_kib, spread, wake_ups

STARTS = 11
IDLE_S = 20
PEER_BYTES = 2048  # about what a submission writes
# Trains for half a minute or so, without a checkpoint on the way.
LONG = ["resources.ranks=1", "train.epochs=20000", "train.lr=1e-5", "checkpoint.every=1000000"]
SHORT = ["train.epochs=1", "checkpoint.every=1000000"]


def say(text=""):
    print(text, flush=True)


@contextlib.contextmanager
def running(cluster):
    cluster.up()
    try:
        yield cluster
    finally:
        cluster.down()


# ---- start: from the submission to the first step ----

MARKS = [  # what Redis sees of it, in the order in which it comes: a name, and what the command's text holds
    ("submitted", '\\"event\\":\\"job.submitted\\"'),
    ("placed", '\\"event\\":\\"job.placed\\"'),
    ("supervisor holds the lease", '"take"'),
    ("attempt recorded", '\\"event\\":\\"attempt.started\\"'),
    ("rank 0 has joined MPI", '\\"phase\\":\\"start\\"'),
    ("data open", '\\"phase\\":\\"restore\\"'),
    ("first step done", '\\"phase\\":\\"train\\"'),
]
STEPS = [  # the breakdown: from one mark to another
    ("submit -> acknowledged, durable", "sent", "acknowledged"),
    ("acknowledged -> placed", "acknowledged", "placed"),
    ("placed -> supervisor has the lease", "placed", "supervisor holds the lease"),
    ("lease -> attempt recorded", "supervisor holds the lease", "attempt recorded"),
    ("recorded -> mpirun started", "attempt recorded", "mpirun started"),
    ("mpirun started -> rank 0 has joined MPI", "mpirun started", "rank 0 has joined MPI"),
    ("joined -> stores and dataset open", "rank 0 has joined MPI", "data open"),
    ("data open -> first step done", "data open", "first step done"),
    ("submit -> mpirun started", "sent", "mpirun started"),
    ("submit -> first step done", "sent", "first step done"),
]


def mpirun_started(home, job):
    """By the supervisor's own log: the line that it writes right after the start."""
    for line in (home / "attempts" / f"{job}.1" / "supervisor.log").read_text().splitlines():
        if " attempt.running " in line:
            stamp = line.split()[0]
            seconds = time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")
            return time.mktime(seconds) - time.timezone + float(stamp[19:-1])
    raise RuntimeError(f"attempt 1 of job {job} was not started")


def start_once(cluster, api, monitor):
    request = api.request("POST", "/v1/jobs", cluster.submission(*SHORT))
    marks = {"sent": time.time()}
    job = api.exchange(request)["job"]["id"]
    marks["acknowledged"] = time.time()
    lines = monitor.until(lambda text: '\\"event\\":\\"job.finished\\"' in text and job in text, 60)
    for name, sign in MARKS:
        marks[name] = next(stamp for stamp, text in lines if sign in text and job in text)
    marks["mpirun started"] = mpirun_started(cluster.home, job)
    return marks


def command_of(pid):
    """The program's arguments and environment, as they were given to it."""
    arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")[:-1]
    return arguments, dict(pair.split(b"=", 1) for pair in environment)


def our_mpirun(cluster, api):
    """mpirun exactly as the supervisor calls it."""
    job = api.call("POST", "/v1/jobs", cluster.submission("train.epochs=2000"))["job"]["id"]
    shown = cluster.wait(api, job, lambda s: (s.get("pulse") or {}).get("phase") == "train")
    arguments, environment = command_of(shown["attempts"][-1]["launcher_pid"])
    api.call("POST", f"/v1/jobs/{job}/cancel")
    cluster.wait(api, job, lambda s: s["job"]["state"] == "cancelled")
    return arguments, environment


def typed_mpirun():
    """mpirun as a person would type it."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return [b"mpirun", b"-np", b"2", b"--oversubscribe", b"PROGRAM"], dict(os.environ, **root)


def floor_once(arguments, environment):
    """Seconds from the start of mpirun until rank 0 of a program that does nothing has joined MPI."""
    scratch = tempfile.mkdtemp(prefix="sovrun-bench.", dir="/dev/shm")
    given = [scratch.encode() if a.startswith(b"/dev/shm/") else a for a in arguments]
    given[-1] = str(BUILD / "bench" / "mpi_init").encode()
    begin = time.time()
    done = subprocess.run(given, env=environment, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(scratch, ignore_errors=True)
    return int(done.stdout) / 1e6 - begin


def bench_start():
    with running(Cluster("start")) as cluster:
        cluster.stage()
        api, monitor = cluster.api(), Monitor(cluster.redis_socket())
        ours, typed = our_mpirun(cluster, api), typed_mpirun()
        start_once(cluster, api, monitor)
        floors, typed_floors, jobs = [], [], []
        for _ in range(STARTS):
            floors.append(1000 * floor_once(*ours))
            jobs.append(start_once(cluster, api, monitor))
            typed_floors.append(1000 * floor_once(*typed))
            time.sleep(0.5)  # the ledger is written meanwhile
    say(f"start: 2 ranks, {STARTS} jobs in turn with {STARTS} runs of mpirun without a job; ms, median (quartiles)")
    for name, first, last in STEPS:
        say(f"  {name:42s} {spread([1000 * (j[last] - j[first]) for j in jobs])}")
    totals = [1000 * (j["first step done"] - j["sent"]) for j in jobs]
    for name, floor in (("the same mpirun", floors), ("mpirun as typed", typed_floors)):
        say(f"  floor: {name} -> MPI_Init returned    {spread(floor)}")
        say(f"    submit -> first step less that, by that  {spread([t - f for t, f in zip(totals, floor)])},  "
            f"{spread([t / f for t, f in zip(totals, floor)])}")


# ---- idle: what it costs to wait ----


def usage(pids):
    return {name: (processor_seconds(pid), wake_ups(pid)) for name, pid in pids.items()}


def over_time(pids, seconds):
    """{name: (share of a core in %, wake-ups per second)}"""
    before, begin = usage(pids), time.monotonic()
    time.sleep(seconds)
    after, spent = usage(pids), time.monotonic() - begin
    return {name: (100 * (after[name][0] - before[name][0]) / spent, (after[name][1] - before[name][1]) / spent) for name in pids}


def bench_idle():
    with running(Cluster("idle")) as cluster:
        cluster.stage()
        api = cluster.api()
        time.sleep(2)
        own = {"scheduler": cluster.pid("scheduler"), "redis": cluster.pid("redis")}
        idle = over_time(own, IDLE_S)
        job = api.call("POST", "/v1/jobs", cluster.submission(*LONG))["job"]["id"]
        shown = cluster.wait(api, job, lambda s: (s.get("pulse") or {}).get("phase") == "train")
        attempt = shown["attempts"][-1]
        busy = dict(own, supervisor=attempt["supervisor_pid"], mpirun=attempt["launcher_pid"], rank=children(attempt["launcher_pid"])[0])
        time.sleep(2)
        under_job = over_time(busy, IDLE_S)
        api.call("POST", f"/v1/jobs/{job}/cancel")
        cluster.wait(api, job, lambda s: s["job"]["state"] == "cancelled")
    for title, figures in (("nothing to do", idle), ("one job of one rank training", under_job)):
        say(f"idle: {title}, over {IDLE_S} s")
        for name, (share, wakes) in figures.items():
            say(f"  {name:12s} {share:8.3f} % of a core = {share * 0.6:7.3f} CPU seconds a minute, {wakes:8.1f} wake-ups a second")


# ---- submit and queue: jobs that wait ----


def held_cluster(name):
    """Its one slot is taken by a job whose mpirun sleeps: whatever comes behind it waits, and nothing computes."""
    cluster = Cluster(name)
    cluster.up()
    cluster.stage()
    cluster.down()
    sleeper = cluster.home / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 100000\n")
    sleeper.chmod(0o700)
    cluster.configure(("- { name: research }", "- { name: research, slots_max: 1 }"), ("stop_grace: 30s", "stop_grace: 1s"),
                      ("launch: { ", f"launch: {{ mpirun: {sleeper}, "))
    return cluster


def hold(cluster, api):
    job = api.call("POST", "/v1/jobs", cluster.submission("resources.ranks=1", "resources.time_limit=0s"))["job"]["id"]
    cluster.wait(api, job, lambda s: s["job"]["state"] == "running")


def waiting_request(cluster, number):
    """As `sovrun submit` sends it: with a key, so that a repeat finds the first one's job."""
    return dict(cluster.submission("resources.ranks=1"), key=f"bench-{os.getpid()}-{number}-{time.monotonic_ns()}")


def submit_many(cluster, count, gate=None):
    api = cluster.api()
    requests = [api.request("POST", "/v1/jobs", waiting_request(cluster, i)) for i in range(count)]
    if gate:
        gate.wait()
    begin = time.monotonic()
    for request in requests:
        api.exchange(request)
    return time.monotonic() - begin


def submit_rate(cluster, clients, count):
    """Jobs a second, each acknowledged after it is on disk."""
    gate = multiprocessing.Barrier(clients + 1)
    workers = [multiprocessing.Process(target=submit_many, args=(cluster, count // clients, gate)) for _ in range(clients)]
    for worker in workers:
        worker.start()
    gate.wait()
    begin = time.monotonic()
    for worker in workers:
        worker.join()
    spent = time.monotonic() - begin
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a client failed")
    return count / spent


def redis_rate(cluster, count):
    """What one durable write of the same Redis costs, with nothing around it."""
    redis, value = Redis(cluster.redis_socket()), b"x" * PEER_BYTES
    begin = time.monotonic()
    for _ in range(count):
        redis.line("SET", "bench:peer", value)
    return count / (time.monotonic() - begin)


def bench_submit():
    rounds, count = 7, 200
    cluster = held_cluster("submit")
    with running(cluster):
        hold(cluster, cluster.api())
        submit_rate(cluster, 1, 50)
        rates = {"redis": [], 1: [], 4: []}
        spent = []
        for _ in range(rounds):
            rates["redis"].append(redis_rate(cluster, count))
            for clients in (1, 4):
                before = processor_seconds(cluster.pid("scheduler"))
                rates[clients].append(submit_rate(cluster, clients, count))
                spent.append(1000 * (processor_seconds(cluster.pid("scheduler")) - before) / count)
    say(f"submit: {rounds} rounds of {count} jobs each that wait; a second, median (quartiles)")
    say(f"  one durable write of {PEER_BYTES} bytes, one client   {spread(rates['redis'])}")
    for clients in (1, 4):
        share = [mine / bare for mine, bare in zip(rates[clients], rates["redis"])]
        say(f"  durable submissions, {clients} client(s)            {spread(rates[clients])} = {spread(share)} of the bare writes")
    say(f"  the scheduler's processor time for each       {spread(spent, ' ms')}")


def bench_queue():
    lists, cluster = 11, held_cluster("queue")
    with running(cluster):
        api = cluster.api()
        hold(cluster, api)
        memory = [(0, resident_kib(cluster.pid("scheduler")), resident_kib(cluster.pid("redis")))]
        queued, times, empty = 0, [], []
        for _ in range(lists):
            begin = time.monotonic()
            cluster.sovrun("list", "--json")
            empty.append(time.monotonic() - begin)
        for target in (1000, 10000):
            submit_rate(cluster, 4, target - queued)
            queued = target
            time.sleep(2)
            memory.append((queued, resident_kib(cluster.pid("scheduler")), resident_kib(cluster.pid("redis"))))
            if target == 1000:
                for _ in range(lists):
                    begin = time.monotonic()
                    cluster.sovrun("list", "--limit", "1000", "--json")
                    times.append(time.monotonic() - begin)
    say("queue: jobs that wait")
    say(f"  sovrun list with 1 job      {spread([1000 * t for t in empty], ' ms')}")
    say(f"  sovrun list with 1,000 jobs {spread([1000 * t for t in times], ' ms')}, all 1,000 of them shown")
    for jobs, scheduler, redis in memory:
        say(f"  {jobs:6d} queued: scheduler {scheduler / 1024:6.1f} MiB resident, redis {redis / 1024:6.1f} MiB")


# ---- train ----


def train_once(cluster, api, ranks, *settings):
    """Records a second over the attempt's training, checkpoints included, and the number of records."""
    job = api.call("POST", "/v1/jobs", cluster.submission(f"resources.ranks={ranks}", "train.lr=1e-5", *settings))["job"]["id"]
    shown = cluster.wait(api, job, lambda s: s["job"]["state"] == "succeeded")
    return shown["pulse"]["records_per_second"], shown["pulse"]["steps"]


def bench_train():
    rounds, epochs, batch, every = 5, 300, 64, 130
    settings = [f"train.epochs={epochs}", f"train.batch={batch}"]
    found = {}
    with running(Cluster("train")) as cluster:
        cluster.stage()
        api = cluster.api()
        train_once(cluster, api, 2, "train.epochs=1")
        for _ in range(rounds):
            for ranks in (1, 2):
                for checkpoints in (False, True):
                    rule = f"checkpoint.every={every if checkpoints else 1000000}"
                    found.setdefault((ranks, checkpoints), []).append(train_once(cluster, api, ranks, *settings, rule))
    steps = found[1, False][0][1]
    records, count = steps * batch, (steps - 1) // every
    say(f"train: the demo's model, {steps} steps of {batch} records, {rounds} rounds; median (quartiles)")
    for ranks in (1, 2):
        plain = [rate for rate, _ in found[ranks, False]]
        saved = [rate for rate, _ in found[ranks, True]]
        stalls = [1000 * (records / b - records / a) / count for a, b in zip(plain, saved)]
        say(f"  {ranks} rank(s): {spread(plain)} records a second = {spread([1000 * batch / r for r in plain], ' ms')} a step")
        say(f"  {ranks} rank(s): one checkpoint stalls the step for {spread(stalls, ' ms')} ({count} of them in each run)")
    ratios = [a[0] / b[0] for a, b in zip(found[2, False], found[1, False])]
    say(f"  2 ranks by 1 rank: {spread(ratios)}")


SECTIONS = {"start": bench_start, "idle": bench_idle, "submit": bench_submit, "queue": bench_queue, "train": bench_train}


def main():
    wanted = sys.argv[1:] or list(SECTIONS)
    if any(name not in SECTIONS for name in wanted):
        sys.exit(f"usage: bench_submit.py [{'|'.join(SECTIONS)}...]")
    for name in wanted:
        SECTIONS[name]()
        say(f"  (load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")


if __name__ == "__main__":
    main()
