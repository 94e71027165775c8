#!/usr/bin/python3
"""demo_gpt.py - a small GPT on the King James Bible, and the promise of the same bits. `make demo-gpt` runs it.

Takes the text from Debian's package bible-kjv-text by its own reader, stages it as tokens (bytes), trains with two ranks, compares
the perplexity on the held-out end with that of a model of byte pairs, and prints a sample. Then trains on its beginning with 1, 2 and
4 ranks, with 3 threads a rank, and with a rank killed on the way: five models, one SHA-256. Exits 0 only where all of it holds.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import demo
import numpy

OUT = demo.OUT = demo.ROOT / "build" / "demo-gpt"
demo.HOME = OUT / "home"
demo.DEADLINE_S = 600
SPEC = demo.ROOT / "configs" / "demo" / "kjv-gpt.yaml"
DATA = "s3://data/kjv/v1"
CONTEXT, HOLDOUT = 64, 0.05  # as in the file
END = 256                    # of a document, in the byte tokenizer
BEGINNING, BEGINNING_BYTES = "s3://data/genesis/v1", 400_000
SHORT = [f"data.train={BEGINNING}", "checkpoint.every=20"]
PROMPT = "And God said"


def read_text():
    reader = shutil.which("bible")
    if not reader:
        sys.exit("demo: the reader `bible` is not there: apt-get install bible-kjv bible-kjv-text")
    text = subprocess.run([reader, "Gen1:1-Rev22:21"], capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    if len(text) < 4_000_000:
        sys.exit(f"demo: `bible` gave {len(text)} bytes, which is not the whole Bible")
    return text


def bigram_perplexity(text):
    """Of byte pairs counted in the part that is trained on, over the part that is held out: the very tokens that the GPT predicts there.
    With the smoothing that suits it best."""
    tokens = numpy.frombuffer(text, dtype=numpy.uint8).astype(numpy.int64)
    tokens = numpy.append(tokens, END)
    sequences = (len(tokens) - 1) // CONTEXT
    first = (sequences - int(sequences * HOLDOUT + 0.5)) * CONTEXT
    counts = numpy.zeros((END + 1, END + 1))
    numpy.add.at(counts, (tokens[:first], tokens[1 : first + 1]), 1)
    of, to = tokens[first : sequences * CONTEXT], tokens[first + 1 : sequences * CONTEXT + 1]
    best = numpy.inf
    for smooth in (1, 0.1, 0.01, 0.001):
        probs = (counts + smooth) / (counts + smooth).sum(axis=1, keepdims=True)
        best = min(best, float(numpy.exp(-numpy.log(probs[of, to]).mean())))
    return best, len(to)


def stage(name, uri, shards):
    return demo.ask("data", "stage", OUT / name, uri, "--tokens", "bytes", "--shards", str(shards), "--class", "public", "--owner", "demo",
                    "--basis", "public domain")


def submit(name, *settings):
    return demo.ask("submit", SPEC, *[f"--set={s}" for s in [f"name={name}", *settings]])["job"]["id"]


def follow(job):
    """Waits, and says now and then how far it is."""
    told = 0

    def until(shown):
        nonlocal told
        pulse = shown.get("pulse") or {}
        if pulse.get("phase") == "train" and pulse.get("step", 0) >= told:
            demo.say(f"  step {pulse['step']}/{pulse['steps']}: loss {pulse['loss']:.4f}")
            told = pulse["step"] + pulse["steps"] // 8
        return demo.over(shown)

    return demo.wait(job, until, "the language model")


def train_and_kill():
    job = submit("kjv-killed", *SHORT)
    demo.wait(job, lambda s: (s.get("pulse") or {}).get("checkpoint_step", -1) >= 40 or demo.over(s), "a checkpoint")
    victims = demo.ranks_of(job)
    if victims:
        os.kill(victims[-1], signal.SIGKILL)
    return demo.wait(job, demo.over, "the killed job")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    text = read_text()
    (OUT / "kjv.txt").write_bytes(text)
    (OUT / "genesis.txt").write_bytes(text[:BEGINNING_BYTES])
    demo.say("starting a private cluster")
    demo.sovrun("up")
    staged = stage("kjv.txt", DATA, 1)
    stage("genesis.txt", BEGINNING, 8)
    demo.say(f"staged the King James Bible: {staged['records']:,} tokens")

    job = submit("kjv-gpt")
    demo.say(f"training {job}: a GPT of 2 layers and 128 numbers a token, two ranks under mpirun")
    shown = follow(job)
    metrics = shown["job"]["result"]["metrics"]
    bigram, tokens = bigram_perplexity(text)
    demo.say(f"perplexity over {metrics['holdout_tokens']:,} tokens it has not seen: {metrics['holdout_perplexity']:.3f}; "
             f"of a model of byte pairs: {bigram:.3f}")

    sample = demo.sovrun("model", "sample", job, "--prompt", PROMPT, "--tokens", "240", "--temperature", "0.7", "--seed", "1").stdout
    demo.say("what it says, once begun:")
    print("\n".join(f"    {line}" for line in (PROMPT + sample).strip().splitlines()), flush=True)

    demo.say("its beginning alone, with other ranks and threads, and with a rank killed: the same bits?")
    killed = train_and_kill()
    models = {"2 ranks, one killed": killed["job"]["result"]["model"]["sha256"]}
    for name, settings in {"1 rank": ["resources.ranks=1"], "2 ranks": [], "4 ranks": ["resources.ranks=4"],
                           "2 ranks of 3 threads": ["resources.cpus_per_rank=3"]}.items():
        result = demo.wait(submit("kjv-short", *SHORT, *settings), demo.over, name)["job"]["result"]
        models[name] = result["model"]["sha256"]
    for name, sha256 in models.items():
        demo.say(f"  {name:22s} {sha256[:16]}…")

    summary = {
        "holdout_tokens": metrics["holdout_tokens"],
        "bigram_tokens": tokens,
        "perplexity": metrics["holdout_perplexity"],
        "bigram_perplexity": bigram,
        "models": models,
        "killed_attempts": killed["job"]["attempts"],
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    good = (len(sample) > 100 and tokens == metrics["holdout_tokens"] and metrics["holdout_perplexity"] < bigram and len(set(models.values())) == 1
            and killed["job"]["attempts"] == 2)
    demo.say("below the byte pairs, and five times the same model to the bit" if good else "NOT as it should be")
    print(json.dumps(summary, indent=2))
    return 0 if good else 1


if __name__ == "__main__":
    demo.STARTED = time.monotonic()
    try:
        code = main()
    finally:
        subprocess.run([demo.BIN / "sovrun", "down", "--home", demo.HOME], capture_output=True, check=False)
    sys.exit(code)
