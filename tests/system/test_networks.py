#!/usr/bin/python3
"""Ranks on two hosts keep to the policy's networks. The hosts are namespaces with two cables between them, the fabric and the LAN;
their names lead to the LAN, and Open MPI reaches the other host by an agent in the place of ssh. What crosses the LAN is captured."""
import os
import re
import shutil
import signal
import subprocess

from cluster import B, ROOT, SPEC, Cluster, check, finish
from rig import TCPDUMP, die_with_us, hold_namespaces, wait_until

FABRIC, LAN = "10.20.0", "192.168.7"
MPIRUN = shutil.which("mpirun")


class Hosts:
    """alpha, where the cluster runs, and beta."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{LAN}.1 alpha\n{LAN}.2 beta\n")
        self.holders = []
        self.alpha, self.beta = self.hold("alpha"), self.hold("beta")
        for cable, net in (("fab0", FABRIC), ("lan0", LAN)):
            self.inside(self.alpha, "ip", "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", str(self.beta))
            for n, pid in ((1, self.alpha), (2, self.beta)):
                self.inside(pid, "ip", "address", "add", f"{net}.{n}/24", "dev", cable)
                self.inside(pid, "ip", "link", "set", cable, "up")
        self.agent = folder / "agent"
        self.agent.write_text(f"#!/bin/sh\n[ \"$1\" = beta ] || exit 1\nshift\nexec nsenter -t {self.beta} -n -m -u -- sh -c \"$*\"\n")
        self.agent.chmod(0o755)
        self.enter = ["nsenter", "-t", str(self.alpha), "-n", "-m", "-u", "--"]

    def hold(self, name):
        self.holders.append(hold_namespaces(self.folder / "hosts", name))
        return self.holders[-1].pid

    @staticmethod
    def inside(pid, *words):
        subprocess.run(["nsenter", "-t", str(pid), "-n", *words], check=True, capture_output=True)

    def cut_fabric_of_beta(self):
        """It can still reach alpha's address there: by the LAN."""
        self.inside(self.beta, "ip", "address", "flush", "dev", "fab0")
        self.inside(self.beta, "ip", "route", "add", f"{FABRIC}.0/24", "via", f"{LAN}.1")

    def close(self):
        for p in self.holders:
            p.kill()
            p.wait()


class Lan:
    """TCP on the LAN's cable, as alpha sees it."""

    def __init__(self, hosts, name):
        self.file, self.log = hosts.folder / f"{name}.pcap", hosts.folder / f"{name}.log"
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(["nsenter", "-t", str(hosts.alpha), "-n", "--", TCPDUMP, "-i", "lan0", "-n", "-U", "-Z", "root",
                                             "--immediate-mode", "-w", str(self.file), "tcp"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=die_with_us)
        wait_until("tcpdump", lambda: "listening on" in self.log.read_text())

    def packets(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        shown = subprocess.run([TCPDUMP, "-n", "-r", str(self.file)], check=False, capture_output=True, text=True)
        return [line for line in shown.stdout.splitlines() if line.strip()]


def configure(c, hosts, networks, transport="self,vader,tcp", trick="", fence="auto"):
    script = c.home / "mpirun"
    script.write_text(f"#!/bin/sh\n{trick}\nexec {MPIRUN} --host alpha,beta --mca plm_rsh_agent {hosts.agent} \"$@\"\n")
    script.chmod(0o755)
    config = (c.home / "sovrun.yaml").read_text()
    launch = f"launch: {{ mpirun: {script}, transport: \"{transport}\", fence: {fence}, oversubscribe: true, log_bytes_max: 64MiB }}"
    (c.home / "sovrun.yaml").write_text(re.sub(r"launch: \{.*\}", launch, config))
    policy = (c.home / "policy.yaml").read_text()
    named = f", networks: [{networks}]" if networks else ""
    (c.home / "policy.yaml").write_text(re.sub(r"region: local(, networks: \[.*\])? \}", f"region: local{named} }}", policy))
    c.run("down")
    c.up()


def run(c, seconds=180):
    job = c.submit(SPEC, "resources.ranks=2", "train.epochs=4")
    return job, c.wait_over(job, seconds)["job"]


def pinned(c, hosts):
    configure(c, hosts, f"{FABRIC}.0/24, \"fd00:20::/64\"")
    lan = Lan(hosts, "pinned")
    job, shown = run(c)
    seen = lan.packets()
    log = c.run("logs", job).stdout
    check("ranks on two hosts train over the policy's networks", shown["state"] == "succeeded", (shown, log))
    check("and no packet of TCP crosses any other", seen == [], "\n".join(seen[:20]))
    events = c.recorded("networks.pinned", job)
    check("the ledger has each host's interfaces", len(events) == 1 and events[0]["data"] == {
        "networks": [f"{FABRIC}.0/24", "fd00:20::/64"], "of_hosts": 2,
        "hosts": [{"host": name, "ranks": 1, "interfaces": [{"name": "fab0", "address": f"{FABRIC}.{n}"}], "adapters": []}
                  for n, name in ((1, "alpha"), (2, "beta"))]}, events)
    fence = c.recorded("attempt.started", job)[0]["data"]["fence"]
    check("where there is a fence, it lets them through", not fence["present"] or f"{FABRIC}.0/24" in fence["allowed"], fence)
    return job


def unpinned(c, hosts):
    configure(c, hosts, "", fence="off")
    lan = Lan(hosts, "unpinned")
    job, shown = run(c)
    check("without networks in the policy any is used, as before", shown["state"] == "succeeded", (shown, c.run("logs", job).stdout))
    check("which the capture would have shown", lan.packets() != [])
    check("and nothing is said to be pinned", c.recorded("networks.pinned", job, at_least=0, seconds=0) == [])


def refused(c, job, shown, name, *texts):
    detail = (shown, c.run("logs", job).stdout[-3000:])
    check(name, shown["state"] == "failed" and shown["outcome"] == "denied" and all(t in shown["reason"] for t in texts), detail)
    check("it is not tried again", len(c.attempts(job)) == 1, c.attempts(job))


def refusals(c, hosts):
    configure(c, hosts, "10.99.0.0/16")
    job, shown = run(c)
    refused(c, job, shown, "a host that has none of the networks starts nothing", "host alpha has no interface in the policy's networks (10.99.0.0/16)",
            f"fab0 {FABRIC}.1", f"lan0 {LAN}.1", "give it an address there")
    configure(c, hosts, f"{FABRIC}.0/24", trick="unset OMPI_MCA_btl_tcp_if_include", fence="off")
    job, shown = run(c)
    refused(c, job, shown, "a launcher that drops them is found out", "on host alpha Open MPI was started with", "must hand it on as it is")
    hosts.cut_fabric_of_beta()
    configure(c, hosts, f"{FABRIC}.0/24", fence="off")
    job, shown = run(c)
    refused(c, job, shown, "the other host asks for itself", "host beta has no interface in the policy's networks", f"lan0 {LAN}.2")


def asked(c, hosts):
    """By the command that asks, and at submission."""
    job_file = c.home / "job.yaml"
    job_file.write_text(SPEC.read_text())
    configure(c, hosts, f"{FABRIC}.0/24", "self,vader,uct")
    answer = c.run("policy", "check", job_file, "--set", "data.train=s3://data/x", "--data-class", "public", "--json")
    check("another fabric is denied before anything starts", answer.returncode == 3 and '"rule": "networks"' in answer.stdout
          and "only tcp keeps to networks" in answer.stdout, answer)
    shown = c.ask("policy", "show")
    check("policy show has them", shown["regions"][0]["networks"] == [f"{FABRIC}.0/24"], shown)
    check("so has its table", "NETWORKS" in c.run("policy", "show").stdout)
    explained = c.run("config", "explain", "policy").stdout
    check("config explain knows them", "networks" in explained and "where they are on several hosts" in re.sub(r"\s+", " ", explained), explained)


def main():
    possible = os.geteuid() == 0 and TCPDUMP and MPIRUN and subprocess.run(
        ["unshare", "-n", "-m", "-u", "true"], check=False, capture_output=True).returncode == 0
    if not possible:
        print("ok 1 - ranks on two hosts # SKIP needs root, namespaces and tcpdump")
        return
    hosts = Hosts(ROOT / B / "test" / "networks-hosts")
    c = Cluster("networks", hosts.enter)
    try:
        c.up()
        pinned(c, hosts)
        unpinned(c, hosts)
        asked(c, hosts)
        refusals(c, hosts)
    finally:
        c.stop_quietly()
        hosts.close()
    finish()


main()
