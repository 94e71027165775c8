#!/usr/bin/python3
"""Kill -9 of each part in the middle of a job: it succeeds with the same model, nothing is left, nothing runs twice."""
import re
import threading
import time

from cluster import BIN, LONG, SPEC, Cluster, check, finish, kill, left_over, processes


class Watcher(threading.Thread):
    """Looks all the time for two attempts of one job beside each other: ranks under two launchers."""

    def __init__(self):
        super().__init__(daemon=True)
        self.twice, self.over = [], False

    def run(self):
        while not self.over:
            every = processes()
            launchers = {}
            for pid, (parent, program) in every.items():
                if program == str(BIN / "sovrun-trainer"):
                    launchers.setdefault(parent, []).append(pid)
            # Orphans (parent gone: reparented to init or the supervisor) of a launcher that just died are not an attempt.
            live = [p for p in launchers if p in every and every[p][1].endswith(("mpirun", "orterun"))]
            if len(live) > 1:
                self.twice.append(live)
            time.sleep(0.02)


def main():
    c = Cluster("kills")
    watcher = Watcher()
    try:
        c.up()
        whole = c.wait_over(c.submit(SPEC, *LONG))
        want = whole["job"]["result"]["model"]["sha256"]
        check("an unbroken job succeeds", whole["job"]["state"] == "succeeded", whole["job"]["reason"])
        watcher.start()
        for name, act, attempts in cases(c):
            job = c.submit(SPEC, *LONG)
            c.wait_step(job, 1500)
            at = c.ask("show", job)["pulse"]["step"]
            told = c.run("show", job).stdout
            act(job)
            shown = c.wait_over(job)
            if name == "a rank":
                row = [line for line in told.splitlines() if line.startswith("step time ")]
                check("show says where the time of a step goes", row and re.search(
                    r" ms: data [0-9.]+, compute [0-9.]+, reduce [0-9.]+, update [0-9.]+, checkpoint [0-9.]+, other [0-9.]+; slowest is rank [01] with [0-9.]+$",
                    row[0]), told)
            model = (shown["job"]["result"] or {}).get("model", {}).get("sha256")
            check(f"kill -9 of {name} near step {at}: the job succeeds", shown["job"]["state"] == "succeeded", shown["job"]["reason"])
            check(f"kill -9 of {name}: the same model to the bit", model == want, f"{model} is not {want}")
            check(f"kill -9 of {name}: {attempts} attempt(s)", shown["job"]["attempts"] == attempts, shown["attempts"])
        watcher.over = True
        watcher.join()
        check("no two attempts of one job ran beside each other", not watcher.twice, watcher.twice[:3])
        audit = c.ask("audit", "verify")
        check("the audit trail verifies", audit["ok"], audit)
        c.run("down")
        time.sleep(0.5)
        check("nothing is left running", not left_over(c.home), left_over(c.home))
    finally:
        c.stop_quietly()
    finish()



def cases(c):
    def rank(job):
        kill(c.ranks(job)[-1])

    def all_ranks(job):
        kill(*c.ranks(job))

    def launcher(job):
        kill(*c.below(c.supervisor(job), "orterun"))

    def supervisor(job):
        kill(c.supervisor(job))

    def scheduler(job):
        kill(c.scheduler())
        time.sleep(0.3)
        c.up()  # starts what is missing

    def redis(job):
        kill(c.redis())
        time.sleep(0.3)
        c.up()

    return [("a rank", rank, 2), ("all ranks", all_ranks, 2), ("mpirun", launcher, 2), ("the supervisor", supervisor, 2),
            ("the scheduler", scheduler, 1), ("Redis", redis, 1)]


if __name__ == "__main__":
    main()
