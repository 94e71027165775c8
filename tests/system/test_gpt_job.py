#!/usr/bin/python3
"""A language model as a job: staged, trained, killed, resumed, on other numbers of ranks and threads; and what is refused, and when."""
import json
import random

from cluster import Cluster, check, finish, kill

SPEC = """name: words
model: { kind: gpt, layers: 2, heads: 2, width: 32, context: 16, dropout: 0.1 }
data: { train: s3://data/words/v1, format: tokens, holdout: 0.1 }
train: { epochs: 1, batch: 32, leaves: 4, lr: 3e-3, warmup: 10, schedule: cosine }
checkpoint: { to: s3://models/words, every: 20 steps }
retry: { max: 3, backoff: 0s }
"""


def write_text(path):
    """Sentences with a pattern that a small model can learn."""
    rng = random.Random(7)
    words = ["region", "ledger", "shard", "lease", "token", "gang", "rank", "queue"]
    lines = [f"the {(a := rng.choice(words))} holds the {rng.choice(words)} of the {a}." for _ in range(2500)]
    path.write_text("\n".join(lines) + "\n")


def stage(c, text, uri, *more):
    done = c.run("data", "stage", text, uri, "--class", "public", "--owner", "test", "--basis", "none", *more)
    check(f"{uri} is staged", done.returncode == 0, done.stderr)


def same_bits(c, spec):
    """Every number of ranks and threads, a kill on the way, every option: one model each."""
    want = c.wait_over(c.submit(spec, "resources.ranks=2"))
    metrics = want["job"]["result"]["metrics"]
    check("two ranks train it", want["job"]["state"] == "succeeded", want["job"]["reason"])
    check("it has learned the pattern: a byte costs a choice of three at most", metrics["holdout_perplexity"] < 3, metrics)
    check("what is told fits together: tokens, loss, perplexity",
          metrics["holdout_tokens"] > 1000 and metrics["holdout_tokens"] % 16 == 0
          and abs(metrics["holdout_perplexity"] - 2.718281828459045 ** metrics["holdout_loss"]) < 1e-9, metrics)
    sha256 = want["job"]["result"]["model"]["sha256"]
    for name, settings in {"one rank": ["resources.ranks=1"], "four ranks": ["resources.ranks=4"],
                           "three threads": ["resources.ranks=1", "resources.cpus_per_rank=3"],
                           "activations computed again": ["model.recompute=true"],
                           "two ranks that compare": ["resources.ranks=2", "train.compare_every=7"]}.items():
        shown = c.wait_over(c.submit(spec, *settings))
        result = shown["job"]["result"] or {}
        check(f"{name}: the same model to the bit", (result.get("model") or {}).get("sha256") == sha256, shown["job"]["reason"])
        check(f"{name}: the same perplexity to the bit", result.get("metrics", {}).get("holdout_perplexity") == metrics["holdout_perplexity"])

    longer = ["train.epochs=12", "train.lr=1e-3", "checkpoint.every=100"]  # long enough to be killed in the middle
    sha256 = c.wait_over(c.submit(spec, *longer))["job"]["result"]["model"]["sha256"]
    job = c.submit(spec, "resources.ranks=2", "name=killed", *longer)
    c.wait(job, lambda s: (s.get("pulse") or {}).get("checkpoint_step", -1) >= 100)
    kill(*c.ranks(job))
    shown = c.wait_over(job)
    check("killed and resumed on: two attempts", shown["job"]["attempts"] == 2, shown["job"]["reason"])
    check("killed and resumed: the same model to the bit", shown["job"]["result"]["model"]["sha256"] == sha256)
    check("it went on from a checkpoint", len(c.recorded("checkpoint.restored", job)) == 1)
    return job


def the_file(c, job):
    out = c.home / "words.safetensors"
    done = c.run("model", "get", job, "-o", out)
    check("the model is fetched", done.returncode == 0, done.stderr)
    raw = out.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    meta = header.pop("__metadata__")
    check("it has GPT-2's names", {"wte.weight", "wpe.weight", "h.0.attn.c_attn.weight", "h.1.mlp.c_proj.bias", "ln_f.weight"} <= set(header))
    check("and shapes", header["h.0.attn.c_attn.weight"]["shape"] == [32, 96] and header["wte.weight"]["shape"] == [257, 32])
    model, tokenizer = json.loads(meta["model"]), json.loads(meta["tokenizer"])
    check("it says what it is", meta["format"] == "sovrun.gpt.v1" and model["layers"] == 2 and model["vocab"] == 257 and model["kind"] == "gpt", meta)
    check("and how text becomes tokens", tokenizer == {"end": 256, "files": [], "name": "bytes", "vocabulary": 257}, tokenizer)
    newest = max(a["step"] for a in c.ask("model", "ls", job)["artifacts"] if a["kind"] == "checkpoint")
    step = c.run("model", "get", job, "--step", newest, "-o", c.home / "step.safetensors")
    raw = (c.home / "step.safetensors").read_bytes() if step.returncode == 0 else b"\0" * 8
    check("a checkpoint becomes a file of the same form", step.returncode == 0
          and json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"] == meta, step.stderr)


def options(c, spec):
    models = set()
    for setting in ("model.norm=rms", "model.positions=rotary", "model.mlp=swiglu"):
        shown = c.wait_over(c.submit(spec, setting))
        result = shown["job"]["result"] or {"model": {"sha256": ""}, "metrics": {"holdout_perplexity": 99}}
        models.add(result["model"]["sha256"])
        check(f"{setting} trains", shown["job"]["state"] == "succeeded" and result["metrics"]["holdout_perplexity"] < 3.5, shown["job"]["reason"])
    check("each is another model", len(models) == 3)


def plain_file(c, text):
    """As a user begins: a text file, and a job beside it."""
    spec = c.home / "plain.yaml"
    spec.write_text(SPEC.replace("s3://data/words/v1, format: tokens", f"'file://{text}', format: text"))
    done = c.run("submit", spec, "--wait")
    check("a plain text is staged and trained on", done.returncode == 0 and "perplexity" in done.stdout, done.stderr + done.stdout)


def refusals(c, spec, text):
    csv = c.home / "small.csv"
    csv.write_text("a,b\n" + "1,x\n2,y\n" * 50)
    stage(c, csv, "s3://data/table/v1")
    stage(c, text, "s3://data/lines/v1")
    cases = [
        ("columns for a gpt", ["data.train=s3://data/table/v1"], 2, "is of format csv; this model trains on tokens"),
        ("text that is not made tokens of", ["data.train=s3://data/lines/v1"], 2, "sovrun data stage --tokens"),
        ("a vocabulary that is too small", ["model.vocab=256"], 2, "must be at least 257"),
        ("a width that heads do not divide", ["model.heads=5"], 2, "must be a multiple of model.heads"),
        ("a context longer than the data", ["model.context=60000"], None, "sequences of 60000 tokens"),
    ]
    for name, settings, code, words in cases:
        done = c.run("submit", spec, *[f"--set={s}" for s in settings], "--wait")
        check(f"{name} is refused: {words}", (done.returncode == code if code else done.returncode != 0) and words in done.stderr + done.stdout,
              f"exit {done.returncode}\n{done.stderr}{done.stdout}")
    huge = c.wait_over(c.submit(spec, "model.width=4096", "model.layers=12", "model.heads=16"))
    check("what no object could hold is refused before the training", huge["job"]["state"] == "failed" and "an object at most" in huge["job"]["reason"],
          huge["job"]["reason"])
    check("and not tried again", huge["job"]["attempts"] == 1)
    large = c.wait_over(c.submit(spec, "model.context=16384", "train.batch=1024", "train.leaves=1", "data.holdout=0", "model.width=512",
                                 "model.layers=8", "resources.ranks=1", "data.train=s3://data/words/v1"))
    check("what no machine here could hold is refused with the sizes", large["job"]["state"] == "failed" and "activations" in large["job"]["reason"]
          and "To reduce:" in large["job"]["reason"], large["job"]["reason"])
    bf16 = c.wait_over(c.submit(spec, "train.precision=bf16", "resources.device=cpu"))
    check("a precision that the CPU has not is refused by its setting, once", bf16["job"]["state"] == "failed" and bf16["job"]["attempts"] == 1
          and "train.precision" in bf16["job"]["reason"] and "does not multiply in bf16" in bf16["job"]["reason"], bf16["job"]["reason"])


def no_card(c, spec):
    """Where there is no driver: once, with what to do. A job that has begun waits for one, as often as it may retry."""
    if c.run("gpu", "ls").returncode != 6:
        print("# this host has a driver: nothing to see of one that has none")
        return
    shown = c.wait_over(c.submit(spec, "resources.device=cuda"))["job"]
    check("a card that the host has not is refused by its setting, once", shown["state"] == "failed" and shown["attempts"] == 1
          and shown["outcome"] == "user_error" and "resources.device: cuda" in shown["reason"], shown)
    if "has no device" in shown["reason"]:
        print("# this build has no CUDA: nothing more to see")
        return
    check("with what to do", "give the host a driver and a card, or set resources.device: auto or cpu" in shown["reason"], shown["reason"])
    flag, script, config = c.home / "failed-once", c.home / "mpirun-once", (c.home / "sovrun.yaml").read_text()
    script.write_text(f"#!/bin/sh\n[ -e {flag} ] || {{ touch {flag}; kill -9 $$; }}\nexec mpirun \"$@\"\n")
    script.chmod(0o755)
    (c.home / "sovrun.yaml").write_text(config.replace("\nlaunch: {", f"\nlaunch: {{ mpirun: {script},"))
    c.run("down")
    c.up()
    shown = c.wait_over(c.submit(spec, "resources.device=cuda", "retry.max=2"))["job"]
    check("behind an attempt that failed otherwise it is tried again", shown["state"] == "failed" and shown["attempts"] == 3
          and shown["outcome"] == "failed" and "resources.device: cuda" in shown["reason"], shown)


def main():
    c = Cluster("gpt-job")
    c.up()
    try:
        text, spec = c.home / "words.txt", c.home / "words.yaml"
        write_text(text)
        spec.write_text(SPEC)
        stage(c, text, "s3://data/words/v1", "--tokens", "bytes", "--shards", "6")
        job = same_bits(c, spec)
        the_file(c, job)
        options(c, spec)
        plain_file(c, text)
        refusals(c, spec, text)
        no_card(c, spec)
    finally:
        c.stop_quietly()
    finish()


main()
