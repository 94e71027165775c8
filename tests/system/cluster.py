"""A private Sovrun under build/, driven through its command line, for the system tests. TAP lines on standard output."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
B = ROOT / os.environ.get("B", "build")
BIN = B / "bin"
PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")
SPEC = ROOT / "configs" / "demo" / "credit-risk.yaml"
CSV = ROOT / "configs" / "demo" / "german-credit.csv"
# Long enough (ten seconds or so) that something can be killed in the middle.
LONG = ["train.epochs=1500", "train.lr=2e-4", "checkpoint.every=500"]

_count = _failed = 0


def check(name, good, detail=""):
    """One TAP line."""
    global _count, _failed
    _count += 1
    if good:
        print(f"ok {_count} - {name}", flush=True)
    else:
        _failed += 1
        print(f"not ok {_count} - {name}", flush=True)
        if detail:
            print("    " + str(detail).strip().replace("\n", "\n    "), flush=True)
    return good


def finish():
    print(f"1..{_count}")
    sys.exit(1 if _failed else 0)


def processes():
    """pid -> (parent, program's path or name) of everything that runs; zombies left out."""
    found = {}
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            text = (directory / "stat").read_text()
            state, parent = text[text.rindex(")") + 2 :].split()[:2]
            if state == "Z":
                continue
            try:
                program = os.readlink(directory / "exe")
            except OSError:
                program = text[text.index("(") + 1 : text.rindex(")")]
            found[int(directory.name)] = (int(parent), program)
        except OSError:
            continue
    return found


def start_of(pid):
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[19])


class Cluster:
    def __init__(self, name, enter=()):
        self.home = B / "test" / name
        self.enter = list(enter)  # a command that runs ours: in a namespace
        self.stop_quietly()
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.parent.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments, timeout=300):
        return subprocess.run([*self.enter, BIN / "sovrun", *map(str, arguments), "--home", self.home], capture_output=True, text=True,
                              timeout=timeout, check=False, stdin=subprocess.DEVNULL)

    def ask(self, *arguments):
        done = self.run(*arguments, "--json")
        if done.returncode != 0:
            raise RuntimeError(f"sovrun {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def up(self):
        done = self.run("up")
        if done.returncode != 0:
            raise RuntimeError(f"sovrun up: exit {done.returncode}: {done.stderr}{done.stdout}")

    def stop_quietly(self):
        if (self.home / "sovrun.yaml").exists():
            self.run("down", timeout=60)

    def allow(self, region, local, remote=None, endpoint=None, ranges=(), keys="file", more=""):
        """A policy: buckets as {name: purpose}, those in folders and those at a service HOST:PORT, all in one region. Admins may
        take models out, as in an embedded home."""
        regions = f"  - {{ name: folder, provider: local, region: {region} }}\n"
        if endpoint:
            regions += f"  - {{ name: service, provider: s3, region: {region}, endpoints: [\"{endpoint}\"], ranges: [{', '.join(ranges)}] }}\n"
        rows = "".join(f"  - {{ name: {name}, region: {where}, purposes: [{purpose}], classes: [public, internal, pseudonymized, personal] }}\n"
                       for where, buckets in (("folder", local), ("service", remote or {})) for name, purpose in buckets.items())
        (self.home / "policy.yaml").write_text(f"version: 1\nname: test\nregions:\n{regions}buckets:\n{rows}"
                                               f"keys: {{ providers: [{keys}] }}\n"
                                               f"exports: [{{ who: [\"role:admin\"], kinds: [model], to: [outside] }}]\n{more}")

    def submit(self, spec=SPEC, *settings):
        return self.ask("submit", spec, *[f"--set={s}" for s in settings])["job"]["id"]

    def wait(self, job, until, seconds=120):
        limit = time.monotonic() + seconds
        shown = None
        while time.monotonic() < limit:
            try:
                shown = self.ask("show", job)
            except RuntimeError:
                time.sleep(0.2)  # the scheduler or the state is being restarted
                continue
            if until(shown):
                return shown
            if shown["job"]["state"] in ("succeeded", "failed", "cancelled"):
                raise RuntimeError(f"job {job} is {shown['job']['state']} ({shown['job']['reason']})")
            time.sleep(0.1)
        raise RuntimeError(f"job {job}: waited {seconds} s; {json.dumps(shown)[:2000]}")

    def wait_over(self, job, seconds=180):
        return self.wait(job, lambda s: s["job"]["state"] in ("succeeded", "failed", "cancelled"), seconds)

    def wait_step(self, job, step):
        return self.wait(job, lambda s: (s.get("pulse") or {}).get("step", 0) >= step and s["pulse"]["checkpoint_step"] > 0)

    def recorded(self, event, job=None, at_least=1, seconds=15):
        """The ledger's records of that event, once there are so many: what happened comes to the ledger a moment later."""
        limit = time.monotonic() + seconds
        while True:
            only = ["--job", job] if job else []
            found = [r for r in self.ask("audit", "tail", "-n", "500", *only)["records"] if r["event"] == event]
            if len(found) >= at_least or time.monotonic() > limit:
                return found
            time.sleep(0.1)

    def attempts(self, job):
        return self.ask("show", job)["attempts"]

    def supervisor(self, job):
        return self.attempts(job)[-1]["supervisor_pid"]

    def below(self, top, name):
        """Processes called `name` that descend from process `top`."""
        every = processes()

        def descends(pid):
            while pid in every and pid != top:
                pid = every[pid][0]
            return pid == top

        return sorted(p for p, (_, program) in every.items() if program.endswith(name) and p != top and descends(p))

    def ranks(self, job):
        return self.below(self.supervisor(job), "sovrun-trainer")

    def scheduler(self):
        return int((self.home / "run" / "scheduler.pid").read_text().split()[0])

    def redis(self):
        return int((self.home / "run" / "redis.pid").read_text().split()[0])


def left_over(home):
    """What still runs of ours: our programs, or a Redis or mpirun that works in `home`."""
    found = []
    for pid, (_, program) in processes().items():
        if program.startswith(str(BIN)):
            found.append((pid, program))
        elif program.endswith(("redis-check-rdb", "redis-server", "mpirun", "orterun", "orted")):
            try:
                where = os.readlink(f"/proc/{pid}/cwd") + pathlib.Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
            if str(home) in where:
                found.append((pid, program))
    return found


def kill(*pids):
    """All of them; the end of one may have ended the next already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
