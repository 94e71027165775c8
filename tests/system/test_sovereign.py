#!/usr/bin/python3
"""Data stays where it may be: a job for the wrong region is denied when it is submitted; and where the policy is got round by a
bent name service or by a redirect, no socket opens. A packet capture in a network namespace sees not one packet, and the ledger
knows who was refused what. The foreign server is there, has a good certificate for the name, and would be glad of the data."""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import time

from cluster import B, SPEC, Cluster, check, finish, left_over
from rig import FOREIGN, HOST, NGINX, Authority, Capture, Front, Net, tls

ENDPOINT = os.environ.get("SOVRUN_TEST_S3_ENDPOINT")
OTHER = os.environ.get("SOVRUN_TEST_S3_OTHER_ENDPOINT")
OTHER_REGION = os.environ.get("SOVRUN_TEST_S3_OTHER_REGION")
REGION = os.environ.get("SOVRUN_TEST_S3_REGION")
DATA, MODELS, ABROAD = "sovereign-data", "sovereign-models", "sovereign-abroad"
PORT = 8443
FOLDER = B / "test" / "sovereign-rig"


def make_bucket(endpoint, region, bucket):
    environment = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": os.environ["SOVRUN_TEST_S3_ACCESS_KEY"],
                   "AWS_SECRET_ACCESS_KEY": os.environ["SOVRUN_TEST_S3_SECRET_KEY"], "AWS_DEFAULT_REGION": region,
                   "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(["/usr/bin/aws", "--endpoint-url", endpoint, "s3api", "create-bucket", "--bucket", bucket,
                           "--object-lock-enabled-for-bucket", "--create-bucket-configuration", f"LocationConstraint={region}"],
                          env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


class Scene:
    """The S3 service behind mTLS in our namespace, and the same service behind the foreign address in the world."""

    def __init__(self):
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.net = Net(FOLDER / "net")
        self.fronts = []
        self.ca = Authority(FOLDER / "pki", "authority")
        server = self.ca.sign("server", [HOST, FOREIGN])
        self.client = self.ca.sign("client", client=True)
        socket = FOLDER / "s3.sock"  # crosses namespaces
        socket.unlink(missing_ok=True)
        self.front("behind", [], f"unix:{socket}", ENDPOINT, "")
        self.home = self.front("home", self.net.enter, f"127.0.0.1:{PORT} ssl", f"http://unix:{socket}:",
                               tls(*server, client_authority=self.ca.file))
        self.front("abroad", self.net.in_world(), f"{FOREIGN}:{PORT} ssl", f"http://unix:{socket}:", tls(*server))

    def front(self, name, enter, listen, upstream, more):
        f = Front(FOLDER / name, enter)
        (f.folder / "redirect").unlink(missing_ok=True)
        f.add(listen, upstream, more)
        self.fronts.append(f)
        f.start()
        return f

    def close(self):
        for f in self.fronts:
            f.stop()
        self.net.close()


def configure(c, scene):
    """Data and models behind mTLS; the ledger in a folder, so that it can be written whatever happens to S3."""
    c.up()
    c.run("down")
    shutil.rmtree(c.home / "store")  # it is of another region
    credentials = c.home / "keys" / "s3.yaml"
    credentials.touch(mode=0o600)
    credentials.write_text(f"access_key: {os.environ['SOVRUN_TEST_S3_ACCESS_KEY']}\n"
                           f"secret_key: {os.environ['SOVRUN_TEST_S3_SECRET_KEY']}\n")
    config = (c.home / "sovrun.yaml").read_text()
    config = re.sub(r"stores:\n  - .*\n",
                    "stores:\n  - { kind: dir, root: store, buckets: [evidence] }\n"
                    f"  - {{ kind: s3, endpoint: \"https://{HOST}:{PORT}\", path_style: true, credentials_file: keys/s3.yaml, "
                    f"ca_file: {scene.ca.file}, cert_file: {scene.client[0]}, key_file: {scene.client[1]}, "
                    f"buckets: [{DATA}, {MODELS}] }}\n", config)
    config = config.replace("region: local", f"region: {REGION}")
    config = re.sub(r"default_data_bucket: \S+", f"default_data_bucket: {DATA}", config)
    (c.home / "sovrun.yaml").write_text(config)
    c.allow(REGION, {"evidence": "evidence"}, {DATA: "data", MODELS: "models"}, f"{HOST}:{PORT}",
            more="tls: { required: true, authority: true, client_certificate: [s3] }\n")


def launch_with(c, name, trick):
    """The trick happens between the scheduler's look at the data and the start of the ranks."""
    script = c.home / f"mpirun-{name}"
    script.write_text(f"#!/bin/sh\n{trick}\nexec mpirun \"$@\"\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    path = c.home / "sovrun.yaml"
    path.write_text(re.sub(r"\nlaunch: \{( mpirun: \S+,)?", f"\nlaunch: {{ mpirun: {script},", path.read_text()))
    c.run("down")
    c.up()


def recorded(c, event, job=None, at_least=0):
    """The ledger's events of that name, as data with the actor. It is written a moment after the fact."""
    limit = time.monotonic() + 10
    while True:
        found = [{**r["data"], "actor": r["actor"]} for r in c.ask("audit", "tail", "--lines", "1000")["records"]
                 if r["event"] == event and (job is None or r["job"] == job)]
        if len(found) >= at_least or time.monotonic() > limit:
            return found
        time.sleep(0.1)


def refused(c, job=None, at_least=0):
    return recorded(c, "egress.refused", job, at_least)


def settings(name):
    return [f"name={name}", f"checkpoint.to=s3://{MODELS}/{name}", "retry.max=0", "train.epochs=2"]


def wrong_region(c):
    done = c.run("submit", SPEC, *[f"--set={s}" for s in settings("abroad")], f"--set=checkpoint.to=s3://{ABROAD}/x")
    check("a job whose checkpoints would go to the other region's bucket is denied when it is submitted", done.returncode == 3,
          done.stderr)
    check("with the reason", ABROAD in done.stderr, done.stderr)
    done = c.run("submit", SPEC, *[f"--set={s}" for s in settings("abroad")], f"--set=data.train=s3://{ABROAD}/x")
    check("so is one whose data would come from there", done.returncode == 3 and ABROAD in done.stderr, done.stderr)
    told = recorded(c, "job.refused", at_least=2)
    check("both refusals stand in the ledger", len(told) == 2 and all(ABROAD in d["reason"] for d in told), told)
    config = c.home / "wrong.yaml"
    config.write_text((c.home / "sovrun.yaml").read_text().replace("kind: s3,", f"kind: s3, region: {OTHER_REGION},"))
    done = c.run("config", "check", config)
    check("a store in another region is no configuration", done.returncode == 2 and OTHER_REGION in done.stderr, done.stderr)


def baseline(c, scene):
    job = c.submit(SPEC, *settings("home"))
    shown = c.wait_over(job)
    if not check("through mTLS and by the right name the job trains", shown["job"]["state"] == "succeeded",
                 shown["job"]["reason"] + c.run("logs", job).stdout[-2000:]):
        return None
    check("and nothing was refused", not refused(c), refused(c))
    capture = Capture(scene.net, "control")
    done = subprocess.run([*scene.net.enter, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(scene.ca.file),
                           "--resolve", f"{HOST}:{PORT}:{FOREIGN}", f"https://{HOST}:{PORT}/"], capture_output=True, text=True,
                          timeout=20, check=False)
    seen = capture.packets()
    check("the foreign server answers whoever lets himself be led there, and the capture sees it",
          done.returncode == 0 and any(FOREIGN in line for line in seen), done.stderr + str(seen))
    return shown["job"]["spec"]["data"]["train"]


def cut_off(c, scene, train, name, trick, undo, kind):
    """A job that was admitted, and whose ranks find the world changed."""
    launch_with(c, name, trick)
    capture = Capture(scene.net, name)
    job = c.submit(SPEC, *settings(name), f"data.train={train}")
    shown = c.wait_over(job)
    seen = capture.packets()
    undo()
    check(f"{name}: the job is denied", shown["job"]["state"] == "failed" and shown["job"]["outcome"] == "denied",
          json.dumps(shown["job"])[:1500] + c.run("logs", job).stdout[-1500:])
    check(f"{name}: it says what was refused", FOREIGN in shown["job"]["reason"], shown["job"]["reason"])
    check(f"{name}: not one packet went to the foreign network", seen == [], seen)
    told = [r for r in refused(c, job, 1) if r["program"] == "trainer"]
    check(f"{name}: the ledger has it, with job, attempt and rank",
          told and all(r["kind"] == kind and FOREIGN in r["detail"] and r["attempt"] == 1 and r["rank"] in (0, 1) for r in told)
          and all(r["actor"] == f"supervisor:{job}.1" for r in told), told)


STRAY = """#!/usr/bin/python3
# What a library with ideas of its own might do in a rank.
import socket, sys
for kind, data in ((socket.SOCK_STREAM, None), (socket.SOCK_DGRAM, b"data")):
    s = socket.socket(socket.AF_INET, kind)
    s.settimeout(2)
    try:
        s.sendto(data, ("{foreign}", {port})) if data else s.connect(("{foreign}", {port}))
        print("went through", flush=True)
    except OSError as problem:
        print("did not:", problem, flush=True)
sys.exit(0)  # mpirun would kill the other rank otherwise
"""


def stray_rank(c, scene, train, name, fence):
    """A job whose ranks are a program that cares for no guard. The shown job, its log, the packets."""
    script = c.home / "stray-trainer"
    script.write_text(STRAY.format(foreign=FOREIGN, port=PORT))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    path = c.home / "sovrun.yaml"
    path.write_text(re.sub(r"\nlaunch: \{( mpirun: \S+,)?( trainer: \S+, fence: \S+,)?",
                           f"\nlaunch: {{ trainer: {script}, fence: {fence},", path.read_text()))
    c.run("down")
    c.up()
    capture = Capture(scene.net, name)
    job = c.submit(SPEC, *settings(name), f"data.train={train}")
    c.wait_over(job)
    seen = capture.packets()
    return job, c.run("logs", job).stdout, seen


def fenced(c, scene, train):
    job, log, seen = stray_rank(c, scene, train, "unfenced", "off")
    started = recorded(c, "attempt.started", job, 1)
    check("without a fence a stray connection of a rank leaves, and the capture sees it", any(FOREIGN in line for line in seen), log)
    check("and no fence is claimed", started and started[0]["fence"] == {"present": False, "why": "launch.fence: off"}, started)
    job, log, seen = stray_rank(c, scene, train, "fenced", "required")
    started = recorded(c, "attempt.started", job, 1)
    check("the fence is there, and evidence says so, with what it lets through",
          started and started[0]["fence"]["present"] and started[0]["fence"]["kind"] == "cgroup-bpf"
          and "127.0.0.0/8" in started[0]["fence"]["allowed"], started)
    check("inside of it the kernel says no, to TCP and UDP of both ranks", log.count("did not:") == 4 and "went through" not in log, log)
    check("not one packet of theirs went to the foreign network", seen == [], seen)
    told = [r for r in refused(c, job, 1) if r["place"] == "kernel fence"]
    check("the ledger has what the kernel refused", sum(r["count"] for r in told) == 4
          and all(r["detail"] == f"{FOREIGN}:{PORT}" and r["program"] == "trainer" and r["attempt"] == 1 for r in told), told)
    path = c.home / "sovrun.yaml"
    path.write_text(re.sub(r"\nlaunch: \{", f"\nlaunch: {{ fence_allow: [{FOREIGN}],", path.read_text()))
    c.run("down")
    c.up()
    job = c.submit(SPEC, *settings("let-through"), f"data.train={train}")
    c.wait_over(job)
    log = c.run("logs", job).stdout
    check("what launch.fence_allow lists is let through", log.count("went through") == 4, log)
    path.write_text(re.sub(r" (trainer|fence_allow): \S+,", "", path.read_text()))
    c.run("down")
    c.up()
    job = c.submit(SPEC, *settings("inside"), f"data.train={train}")
    shown = c.wait_over(job)
    check("a job trains inside of a fence", shown["job"]["state"] == "succeeded", shown["job"]["reason"])
    groups = [str(p) for p in pathlib.Path("/sys/fs/cgroup").rglob("sovrun.*")]
    check("no control group is left", not groups, groups)


def bare():
    """Where the kernel offers no control groups of version 2."""
    c = Cluster("sovereign-bare", ["unshare", "-m", "sh", "-c", "umount -a -t cgroup2 && exec \"$@\"", "-"])
    try:
        c.up()
        job = c.submit(SPEC, "train.epochs=2")
        shown = c.wait_over(job)
        started = recorded(c, "attempt.started", job, 1)
        check("without the means there is no fence, which evidence says, and the job trains",
              shown["job"]["state"] == "succeeded" and not started[0]["fence"]["present"] and "control groups" in started[0]["fence"]["why"],
              started)
        c.run("down")
        path = c.home / "sovrun.yaml"
        path.write_text(re.sub(r"\nlaunch: \{", "\nlaunch: { fence: required,", path.read_text()))
        c.up()
        job = c.submit(SPEC, "train.epochs=2", "retry.max=0")
        shown = c.wait_over(job)
        check("where it is required, no rank is started, and the reason says what is missing",
              shown["job"]["outcome"] == "denied" and "launch.fence: required" in shown["job"]["reason"]
              and "control groups" in shown["job"]["reason"], shown["job"]["reason"])
    finally:
        c.stop_quietly()


def command_line(c, scene, train):
    before = len(refused(c))
    scene.net.bend(FOREIGN)
    capture = Capture(scene.net, "command")
    done = c.run("data", "verify", train)
    submitted = c.run("submit", SPEC, *[f"--set={s}" for s in settings("late")], f"--set=data.train={train}")
    seen = capture.packets()
    scene.net.bend("127.0.0.1")
    check("the command line is refused as well", done.returncode == 3 and FOREIGN in done.stderr, done.stderr)
    check("the scheduler, too, when it looks at the data of a new job", submitted.returncode != 0, submitted.stderr)
    check("not one packet of theirs either", seen == [], seen)
    told = refused(c, None, before + 2)[before:]
    check("the ledger has both", {"sovrun", "scheduler"} <= {r["program"] for r in told}, told)
    socket = c.home / "run" / "api.sock"
    health = json.loads(subprocess.run(["curl", "-sS", "--unix-socket", socket, "http://x/v1/health"], capture_output=True,
                                       check=True).stdout)
    metrics = subprocess.run(["curl", "-sS", "--unix-socket", socket, "http://x/v1/metrics"], capture_output=True, text=True,
                             check=True).stdout
    count = re.search(r'sovrun_egress_refused_total\{program="sovrun",kind="address"\} (\d+)', metrics)
    check("a refusal that goes on is counted, and not a record for each try",
          all(r["count"] >= 1 for r in told) and len([r for r in told if r["program"] == "scheduler"]) <= 2, told)
    check("health and metrics count them", health["egress_refused"] > 0 and count and int(count.group(1)) > 0, metrics)


def all_in_one(c, scene):
    """`run` takes its state down at the end: what it was refused is told before."""
    c.run("down")
    scene.net.bend(FOREIGN)
    done = c.run("run", SPEC, *[f"--set={s}" for s in settings("run")])
    scene.net.bend("127.0.0.1")
    c.up()
    before = [r for r in refused(c) if r["program"] == "sovrun"]
    check("`run` is refused, and the ledger hears of it at the next start",
          done.returncode == 3 and len(before) >= 2 and "not in the ledger" not in done.stderr, done.stderr + str(before))


def main():
    if not ENDPOINT or not OTHER or not NGINX or not Net.possible():
        print("ok 1 # SKIP needs two S3 regions (tests/run.sh), nginx, tcpdump and the right to make a network namespace")
        print("1..1")
        return
    scene = Scene()
    c = Cluster("sovereign", scene.net.enter)
    try:
        for endpoint, region, bucket in ((ENDPOINT, REGION, DATA), (ENDPOINT, REGION, MODELS), (OTHER, OTHER_REGION, ABROAD)):
            make_bucket(endpoint, region, bucket)
        configure(c, scene)
        c.up()
        wrong_region(c)
        train = baseline(c, scene)
        if train:
            cut_off(c, scene, train, "bent-name", f"printf '127.0.0.1 localhost\\n{FOREIGN} {HOST}\\n' > {scene.net.hosts}",
                    lambda: scene.net.bend("127.0.0.1"), "address")
            cut_off(c, scene, train, "redirect", f"touch {scene.home.folder}/redirect",
                    (scene.home.folder / "redirect").unlink, "redirect")
            launch_with(c, "plain", "")
            command_line(c, scene, train)
            fenced(c, scene, train)
            all_in_one(c, scene)
            check("the ledger verifies", c.ask("audit", "verify")["ok"])
    finally:
        c.stop_quietly()
        scene.close()
    bare()
    check("nothing is left running", not left_over(c.home), left_over(c.home))


if __name__ == "__main__":
    main()
    finish()
