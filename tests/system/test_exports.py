#!/usr/bin/python3
"""The gate before a model leaves the store: denied without a row of the policy's exports, allowed with one, both in the ledger."""
import re
import time

from cluster import SPEC, Cluster, check, finish, left_over

PREFIX = "s3://models/credit"


def events(c, kind, want):
    """The ledger is written behind the answer."""
    for _ in range(100):
        found = [r for r in c.ask("audit", "tail", "-n", "500")["records"] if r["event"] == kind]
        if len(found) >= want:
            break
        time.sleep(0.1)
    return found


def change(c, exports, roles=""):
    """Other exports, and other roles; a scheduler reads them when it starts."""
    c.run("down")
    policy, config = c.home / "policy.yaml", c.home / "sovrun.yaml"
    policy.write_text(policy.read_text().split("exports:")[0] + exports)
    config.write_text(re.sub(r"\nroles: .*\n", "\n", config.read_text()) + roles)


def refused(c, name, done, file, *words):
    check(f"{name}: exit 3, and why", done.returncode == 3 and all(w in done.stderr for w in words), f"exit {done.returncode}: {done.stderr}")
    check(f"{name}: no file", not file.exists())


def main():
    c = Cluster("exports")
    file = c.home / "model.safetensors"
    try:
        c.up()
        job = c.submit(SPEC, "train.epochs=2", "checkpoint.every=10")
        shown = c.wait_over(job)
        if not check("a job trains and succeeds", shown["job"]["state"] == "succeeded", shown["job"]["reason"]):
            return
        done = c.run("model", "get", job, "-o", file)
        check("in an embedded home its own user takes the model", done.returncode == 0 and file.exists(), done.stderr)
        allowed = events(c, "export.allowed", 1)
        data = allowed[0]["data"] if allowed else {}
        check("the ledger says who took what, by which line", len(allowed) == 1 and allowed[0]["job"] == job
              and allowed[0]["actor"].startswith("user:") and data["sha256"] == shown["job"]["result"]["model"]["sha256"]
              and data["to"] == "outside" and data["role"] == "admin" and re.fullmatch(r"policy\.yaml:\d+: exports", data["reason"]), allowed)
        file.unlink()

        port = (c.home / "run" / "api.port").read_text().strip()
        refused(c, "another user (the token, no admin)", c.run("model", "get", job, "-o", file, "--url", f"http://127.0.0.1:{port}"), file,
                "denied by policy rule export: policy.yaml:", "'token' (role engineer)")

        change(c, "")
        c.up()
        refused(c, "without a row", c.run("model", "get", job, "-o", file), file, "policy rule export: policy.yaml: exports: no row lets",
                "kinds: [model], to: [outside] } would")
        refused(c, "a checkpoint's model without a row", c.run("model", "get", job, "--step", 20, "-o", file), file, "policy rule export")
        check("model verify writes nothing out, and needs no row", c.run("model", "verify", job).returncode == 0)
        change(c, "exports: [{ who: [\"role:admin\"], kinds: [metrics, report], to: [outside] }]\n")
        c.up()
        refused(c, "with a row for something else", c.run("model", "get", job, "-o", file), file, "policy rule export: policy.yaml:")
        change(c, "exports: [{ who: [\"role:admin\"], kinds: [model], to: [outside] }]\n", "roles: { admin: [somebody-else] }\n")
        c.up()
        refused(c, "with another role", c.run("model", "get", job, "-o", file), file, "(role engineer)")
        found = events(c, "export.refused", 5)
        check("each refusal is in the ledger", len(found) == 5 and {r["job"] for r in found} == {job}
              and all(r["data"]["rule"] == "export" and r["data"]["reason"] for r in found), found)

        c.run("down")
        refused(c, "with all services down, and --prefix", c.run("model", "get", job, "--prefix", PREFIX, "-o", file), file, "(role engineer)")
        change(c, "exports: [{ who: [\"role:admin\"], kinds: [model], to: [outside] }]\n")
        done = c.run("model", "get", job, "--prefix", PREFIX, "-o", file)
        check("down and allowed: the model comes", done.returncode == 0 and file.exists(), done.stderr)
        check("and what was brought up to ask is down again", not left_over(c.home), left_over(c.home))
        file.unlink()
        config = c.home / "sovrun.yaml"
        config.write_text(config.read_text().replace("embedded: true", "embedded: false"))
        done = c.run("model", "get", job, "--prefix", PREFIX, "-o", file)
        check("a scheduler of somebody else's that is away: later, and no file", done.returncode == 4 and "record in the ledger" in done.stderr
              and not file.exists(), f"exit {done.returncode}: {done.stderr}")
        config.write_text(config.read_text().replace("embedded: false", "embedded: true"))
        c.up()
        check("what happened while it was down is in the ledger, too", len(events(c, "export.refused", 6)) == 6
              and len(events(c, "export.allowed", 2)) == 2)
        check("the ledger verifies", c.ask("audit", "verify")["ok"])
    finally:
        c.stop_quietly()
    check("nothing is left running", not left_over(c.home), left_over(c.home))


if __name__ == "__main__":
    main()
    finish()
