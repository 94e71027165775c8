#!/usr/bin/python3
"""A job's keys in an HSM (SoftHSM) and in a key service (moto): trained, rotated, still open; destroyed, shut for good."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

from cluster import B, LONG, ROOT, SPEC, Cluster, check, finish, kill, left_over


def edit(c, kind, settings, arns=()):
    """The embedded home with another key provider."""
    c.up()
    c.run("down")
    config = (c.home / "sovrun.yaml").read_text()
    config = re.sub(r"\nkeys: .*\n", f"\nkeys: {{ provider: {kind}, {settings} }}\n", config)
    config = config.replace("region: local", "region: eu-central-1")
    (c.home / "sovrun.yaml").write_text(config)
    allow(c, kind, arns)
    shutil.rmtree(c.home / "store")  # its buckets say that they lie in "local"


def allow(c, kind, arns):
    c.allow("eu-central-1", {"data": "data", "models": "models", "evidence": "evidence"}, keys=kind)
    policy = (c.home / "policy.yaml").read_text()
    if kind == "kms":
        endpoint = os.environ["SOVRUN_TEST_KMS_ENDPOINT"].split("//")[1]
        policy = policy.replace("regions:\n", f"regions:\n  - {{ name: keys, provider: s3, region: eu-central-1, endpoints: [\"{endpoint}\"] }}\n")
        policy = policy.replace("keys: { ", "keys: { arns: [" + ", ".join(f'\"{a}\"' for a in arns) + "], ")
    (c.home / "policy.yaml").write_text(policy)


def hsm_settings():
    """A token of this test's own, beside the one of the contract tests."""
    folder = B / "test" / "keys-softhsm"
    subprocess.run([ROOT / "tests" / "softhsm.sh", "start", folder], check=True)
    settings = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    os.environ["SOFTHSM2_CONF"] = settings["SOFTHSM2_CONF"]
    return settings




def no_secret_anywhere(c, secrets):
    """Arguments and environments of everything that runs in the home, and every log."""
    bad = []
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if str(c.home) not in os.readlink(proc / "cwd") + (proc / "cmdline").read_text():
                continue
            seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        except OSError:
            continue
        bad += [f"{proc}: {s[:3]}..." for s in secrets if s.encode() in seen]
    for log in [*c.home.glob("log/*"), *c.home.glob("attempts/*/*")]:
        if log.is_file():
            bad += [str(log) for s in secrets if s.encode() in log.read_bytes()]
    return bad


def life_of_a_key(c, name):
    """Train, rotate, read, resume, destroy."""
    job = c.submit(SPEC, "checkpoint.key=bank")
    shown = c.wait_over(job)
    if not check(f"{name}: a job trains and succeeds", shown["job"]["state"] == "succeeded",
                 shown["job"]["reason"] + c.run("logs", job).stdout[-1500:]):
        return
    done = c.run("model", "get", job, "-o", c.home / "first.safetensors")
    check(f"{name}: its model opens", done.returncode == 0, done.stderr)

    long_job = c.submit(SPEC, "checkpoint.key=bank", *LONG)
    c.wait_step(long_job, 600)
    rotated = c.run("key", "rotate", "bank", "--json")
    answer = json.loads(rotated.stdout or "{}")
    check(f"{name}: the key is rotated while a job runs", rotated.returncode == 0 and answer["version"] == 2 and answer["rewrapped"] > 0
          and not answer["failed"], rotated.stdout + rotated.stderr)
    again = c.run("key", "rotate", "bank", "--no-new", "--json")
    second, finished = json.loads(again.stdout or "{}"), len(c.ask("model", "ls", job)["artifacts"])
    check(f"{name}: what was wrapped again is not once more; what the running job wrote since is", again.returncode == 0
          and finished > 1 and second["rewrapped"] <= second["found"] - finished, again.stdout + again.stderr)
    early = c.run("key", "destroy", "bank", "--version", "1", "--confirm", "bank")
    check(f"{name}: a key under which a job runs is not destroyed", early.returncode != 0 and long_job in early.stderr, early.stderr)
    kill(*c.ranks(long_job))
    shown = c.wait_over(long_job)
    check(f"{name}: a job that is killed goes on from a checkpoint whose key was wrapped again",
          shown["job"]["state"] == "succeeded" and len(shown["attempts"]) == 2
          and any("checkpoint.restored" in line for line in c.run("logs", long_job).stdout.splitlines()),
          shown["job"]["reason"] + c.run("logs", long_job).stdout[-1500:])
    c.run("key", "rotate", "bank", "--no-new")

    refused = c.run("key", "destroy", "bank", "--version", "1", "--confirm", "blank")
    check(f"{name}: a destruction that is not confirmed does not happen", refused.returncode == 2 and "nothing was destroyed" in refused.stderr,
          refused.stderr)
    gone = c.run("key", "destroy", "bank", "--version", "1", "--confirm", "bank")
    check(f"{name}: the old version is destroyed", gone.returncode == 0, gone.stderr)
    done = c.run("model", "get", job, "-o", c.home / "second.safetensors")
    check(f"{name}: what was wrapped again opens without it, to the same bytes", done.returncode == 0
          and (c.home / "first.safetensors").read_bytes() == (c.home / "second.safetensors").read_bytes(), done.stderr)
    check(f"{name}: and verifies", c.run("model", "verify", job).returncode == 0)

    gone = c.run("key", "destroy", "bank", "--confirm", "bank")
    check(f"{name}: the key is destroyed", gone.returncode == 0, gone.stderr)
    shut = c.run("model", "get", job, "-o", c.home / "third.safetensors")
    check(f"{name}: what it sealed does not open any more, and says why", shut.returncode == 6 and "bank" in shut.stderr
          and not (c.home / "third.safetensors").exists(), f"exit {shut.returncode}: {shut.stderr}")
    late = c.run("submit", SPEC, "--set=checkpoint.key=bank")
    check(f"{name}: nobody can submit a job under it", late.returncode == 2 and "no key 'bank'" in late.stderr, late.stderr)
    least = {"key.create": 2, "key.created": 2, "key.rewrapped": 1, "key.destroy": 2, "key.destroyed": 2}
    told = {kind: len(c.recorded(kind, at_least=n)) for kind, n in least.items()}
    check(f"{name}: the ledger has every move of the key, each intent before its deed",
          told["key.create"] == told["key.created"] == 2 and told["key.rewrapped"] >= 1 and told["key.destroy"] == told["key.destroyed"] == 2,
          told)
    check(f"{name}: the ledger verifies", c.ask("audit", "verify")["ok"])


def hsm():
    settings = hsm_settings()
    pin = pathlib.Path(settings["SOVRUN_TEST_HSM_PIN_FILE"]).read_text().strip()
    c = Cluster("keys-hsm")
    try:
        edit(c, "pkcs11", f"module: {settings['SOVRUN_TEST_HSM_MODULE']}, token: {settings['SOVRUN_TEST_HSM_TOKEN']}, "
                f"pin_file: {settings['SOVRUN_TEST_HSM_PIN_FILE']}")
        c.up()
        made = c.run("key", "create", "bank")
        check("hsm: an admin makes a key", made.returncode == 0, made.stderr)
        listed = subprocess.run(["pkcs11-tool", "--module", settings["SOVRUN_TEST_HSM_MODULE"], "--token-label",
                                 settings["SOVRUN_TEST_HSM_TOKEN"], "--login", "--pin", pin, "--list-objects", "--type", "secrkey"],
                                capture_output=True, text=True, check=False)
        check("hsm: another client sees it in the token, sensitive and not to be extracted",
              "bank.v1" in listed.stdout and "never extractable" in listed.stdout and "sensitive" in listed.stdout,
              listed.stdout + listed.stderr)
        life_of_a_key(c, "hsm")
        check("hsm: the PIN is in no argument, environment or log", not no_secret_anywhere(c, [pin]), no_secret_anywhere(c, [pin]))
    finally:
        c.stop_quietly()
    check("hsm: nothing is left running", not left_over(c.home), left_over(c.home))


def wrong_pin():
    """Tried once: a token locks itself after a few."""
    settings = hsm_settings()
    c = Cluster("keys-pin")
    try:
        edit(c, "pkcs11", f"module: {settings['SOVRUN_TEST_HSM_MODULE']}, token: {settings['SOVRUN_TEST_HSM_TOKEN']}, "
                "pin_file: keys/pin")
        (c.home / "keys" / "pin").touch(mode=0o600)
        (c.home / "keys" / "pin").write_text("not-the-pin\n")
        c.up()
        done = c.run("key", "ls")
        check("a wrong PIN is refused and said to be that", done.returncode == 3 and "PIN is wrong" in done.stderr
              and "not-the-pin" not in done.stderr, f"exit {done.returncode}: {done.stderr}")
        (c.home / "keys" / "pin").write_bytes(pathlib.Path(settings["SOVRUN_TEST_HSM_PIN_FILE"]).read_bytes())
        check("and the token is not locked by it", c.run("key", "ls").returncode == 0)
    finally:
        c.stop_quietly()


def roles():
    c = Cluster("keys-roles")
    try:
        c.up()
        c.run("down")
        config = (c.home / "sovrun.yaml").read_text()
        (c.home / "sovrun.yaml").write_text(config + "roles: { admin: [somebody-else] }\n")
        c.up()
        for act in (["create", "bank"], ["rotate", "demo"], ["destroy", "demo", "--confirm", "demo"]):
            done = c.run("key", *act)
            check(f"key {act[0]} is refused to who is no admin", done.returncode == 3 and "role admin" in done.stderr, done.stderr)
        check("and the key is still there", [k["name"] for k in c.ask("key", "ls")["keys"]] == ["demo"])
        check("each refusal is in the ledger", len(c.recorded("key.refused", at_least=3)) == 3)
    finally:
        c.stop_quietly()


def key_service():
    endpoint = os.environ.get("SOVRUN_TEST_KMS_ENDPOINT")
    if not endpoint:
        print("ok - # SKIP no SOVRUN_TEST_KMS_ENDPOINT: tests/run.sh gives one")
        return
    region, account = os.environ["SOVRUN_TEST_KMS_REGION"], os.environ["SOVRUN_TEST_KMS_ACCOUNT"]
    c = Cluster("keys-kms")
    prefix = f"sys{os.getpid()}"
    try:
        edit(c, "kms", f"endpoint: \"{endpoint}\", alias_prefix: {prefix}, credentials_file: keys/kms.yaml",
             [f"arn:aws:kms:{region}:{account}:key/*"])
        credentials = c.home / "keys" / "kms.yaml"
        credentials.touch(mode=0o600)
        credentials.write_text("access_key: AKIDSYSTEM\nsecret_key: kms-secret-of-the-test\n")
        c.up()
        made = c.run("key", "create", "bank")
        check("kms: an admin makes a key", made.returncode == 0, made.stderr)
        life_of_a_key(c, "kms")
        check("kms: the secret key is in no argument, environment or log", not no_secret_anywhere(c, ["kms-secret-of-the-test"]))
        c.run("down")
        allow(c, "kms", [f"arn:aws:kms:{region}:999999999999:key/*"])
        c.up()
        foreign = c.run("key", "create", "other")
        check("kms: a key of a foreign account is denied", foreign.returncode == 3 and "ARN" in foreign.stderr,
              f"exit {foreign.returncode}: {foreign.stderr}")
    finally:
        c.stop_quietly()
    check("kms: nothing is left running", not left_over(c.home), left_over(c.home))


def independent_client():
    """The AWS command line opens what our provider wrapped."""
    endpoint = os.environ.get("SOVRUN_TEST_KMS_ENDPOINT")
    if not endpoint:
        return
    environment = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "AKIDCLI", "AWS_SECRET_ACCESS_KEY": "cli",
                   "AWS_DEFAULT_REGION": os.environ["SOVRUN_TEST_KMS_REGION"], "AWS_EC2_METADATA_DISABLED": "true"}

    def aws(*arguments):
        done = subprocess.run(["/usr/bin/aws", "--endpoint-url", endpoint, "--output", "json", "kms", *arguments],
                              capture_output=True, text=True, env=environment, check=False)
        return done.returncode, json.loads(done.stdout or "null"), done.stderr

    ours = json.loads(subprocess.run([B / "tests" / "system" / "kms_wrap", endpoint, os.environ["SOVRUN_TEST_KMS_REGION"]],
                                     capture_output=True, text=True, check=True).stdout)
    blob = B / "test" / "kms-blob"
    blob.write_bytes(bytes.fromhex(ours["blob"]))
    context = ",".join(f"{k}={v}" for k, v in ours["context"].items())
    code, opened, said = aws("decrypt", "--ciphertext-blob", f"fileb://{blob}", "--encryption-context", context)
    import base64
    import hashlib
    check("the AWS command line opens what our provider wrapped",
          code == 0 and hashlib.sha256(base64.b64decode(opened["Plaintext"])).hexdigest() == ours["key_sha256"]
          and opened["KeyId"] == ours["arn"], said)
    code, _, said = aws("decrypt", "--ciphertext-blob", f"fileb://{blob}", "--encryption-context", context.replace("job=", "job=x"))
    check("and not under another context", code != 0, said)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    hsm()
    wrong_pin()
    roles()
    key_service()
    independent_client()
    finish()
