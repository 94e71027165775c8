"""What the benches in Python share: a private Sovrun below build/bench, its API and its Redis spoken to directly, and statistics."""
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / os.environ.get("B", "build")
BIN = BUILD / "bin"
SPEC = ROOT / "configs" / "demo" / "credit-risk.yaml"
OVER = ("succeeded", "failed", "cancelled")


def spread(values, unit=""):
    """Median and, in brackets, the quartiles."""
    middle = statistics.median(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (middle,) * 3
    digits = 0 if abs(middle) >= 100 else 1 if abs(middle) >= 10 else 2 if abs(middle) >= 0.1 else 3
    return f"{middle:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"


# ---- what the kernel says of a process ----


def processor_seconds(pid):
    """Of all its threads, to the nanosecond; /proc/PID/stat counts in hundredths of a second only."""
    return sum(int(task.read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def wake_ups(pid):
    """How often its threads have gone to sleep of their own will."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        for line in task.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def resident_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


# ---- the scheduler's API, over its Unix socket ----


class Api:
    """One connection, kept open; as little of HTTP as it takes, so that the client costs next to nothing."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))

    def call(self, method, target, body=None):
        return self.exchange(self.request(method, target, body))

    @staticmethod
    def request(method, target, body=None):
        text = b"" if body is None else json.dumps(body).encode()
        return f"{method} {target} HTTP/1.1\r\nhost: scheduler\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text

    def exchange(self, request):
        self.socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.receive()
        head, body = answer.split(b"\r\n\r\n", 1)
        lines = head.decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        while len(body) < length:
            body += self.receive()
        if lines[0].split()[1][0] != "2":
            raise RuntimeError(f"{lines[0]}: {body.decode()}")
        return json.loads(body)

    def receive(self):
        some = self.socket.recv(1 << 16)
        if not some:
            raise RuntimeError("the scheduler closed the connection")
        return some


# ---- Redis ----


class Redis:
    """One connection, one command at a time: the peer of a durable submission."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))

    def send(self, *words):
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(parts))

    def line(self, *words):
        """A command whose answer is one line, or one short text."""
        self.send(*words)
        answer = self.socket.recv(1 << 16)
        if answer[:1] == b"-":
            raise RuntimeError(answer.decode())
        return answer


class Monitor(Redis):
    """Every command that Redis runs, with Redis' own time: the state's view of a job, without a poll."""

    def __init__(self, path):
        super().__init__(path)
        self.line("MONITOR")
        self.rest = b""

    def until(self, is_last, seconds):
        """[(wall seconds, line)] up to the first line that is_last() likes."""
        found, limit = [], time.monotonic() + seconds
        while time.monotonic() < limit:
            self.socket.settimeout(max(0.01, limit - time.monotonic()))
            try:
                self.rest += self.socket.recv(1 << 20)
            except TimeoutError:
                break
            *lines, self.rest = self.rest.split(b"\r\n")
            for line in lines:
                stamp, _, text = line.decode(errors="replace").partition(" ")
                found.append((float(stamp.lstrip("+")), text))
                if is_last(text):
                    return found
        raise RuntimeError(f"waited {seconds} s for something that did not come; last: {found[-3:]}")


# ---- a cluster ----


class Cluster:
    def __init__(self, name):
        self.home = BUILD / "bench" / name
        if (self.home / "sovrun.yaml").exists():
            self.sovrun("down", check=False)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.parent.mkdir(parents=True, exist_ok=True)

    def sovrun(self, *arguments, check=True):
        done = subprocess.run([BIN / "sovrun", *map(str, arguments), "--home", self.home], capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise RuntimeError(f"sovrun {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr}")
        return done

    def up(self):
        self.sovrun("up")
        return self

    def down(self):
        self.sovrun("down", check=False)

    def configure(self, *replacements):
        """Changes texts of the configuration that `up` wrote; between `down` and `up`."""
        path = self.home / "sovrun.yaml"
        text = path.read_text()
        for old, new in replacements:
            if old not in text:
                raise RuntimeError(f"'{old}' does not stand in {path}")
            text = text.replace(old, new)
        path.write_text(text)

    def stage(self):
        """The demo's data, staged once: what the API's submissions name."""
        done = self.sovrun("data", "stage", SPEC.parent / "german-credit.csv", "s3://data/german-credit", "--json")
        return json.loads(done.stdout)

    def api(self):
        return Api(self.home / "run" / "api.sock")

    def redis_socket(self):
        return self.home / "run" / "redis.sock"

    def pid(self, what):
        return int((self.home / "run" / f"{what}.pid").read_text().split()[0])

    def submission(self, *settings):
        """The body of POST /v1/jobs for the demo's job."""
        return {"spec": SPEC.read_text(), "file": SPEC.name, "set": ["data.train=s3://data/german-credit", *settings]}

    def wait(self, api, job, until, seconds=120):
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            shown = api.call("GET", f"/v1/jobs/{job}")
            if until(shown):
                return shown
            if shown["job"]["state"] in OVER:
                raise RuntimeError(f"job {job} {shown['job']['state']}: {shown['job']['reason']}")
            time.sleep(0.05)
        raise RuntimeError(f"job {job}: waited {seconds} s")
