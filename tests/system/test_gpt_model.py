#!/usr/bin/python3
"""What a GPT is worth outside its training: its exported file read by numpy alone, evaluated, begun with, and written with. A model
in the form of the public GPT-2's file, one of our own, and one out of a checkpoint; what does not fit is refused by its name."""
import base64
import hashlib
import json
import os
import pathlib
import struct
import sys
import time

try:
    import numpy as np
except ImportError:
    print("ok 1 - models of tokens # SKIP numpy is not there\n1..1")
    sys.exit(0)

from cluster import ROOT, Cluster, check, finish, kill, left_over

LAYERS, HEADS, WIDTH, CONTEXT, VOCAB = 2, 2, 32, 32, 257
HOLDOUT = 0.05
TYPES = {"F32": np.float32, "F16": np.float16, "U8": np.uint8}


def own_text():
    """Some of the repository's own words."""
    return "".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs").glob("*.md")))[:120000]


# ---- safetensors, in numpy alone ----


def read_file(path):
    data = pathlib.Path(path).read_bytes()
    (n,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + n])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + n + first:8 + n + last], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


def file_of(tensors, metadata=None):
    header, body = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, array in tensors.items():
        kind = next(k for k, t in TYPES.items() if array.dtype == t)
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(body), len(body) + array.nbytes]}
        body += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


class Gpt:
    """GPT-2 in doubles, from a file's tensors."""

    def __init__(self, tensors, heads=HEADS):
        self.p = {k.removeprefix("transformer."): v.astype(np.float64) for k, v in tensors.items()}
        self.heads = heads
        self.layers = sum(k.endswith("ln_1.weight") for k in self.p)

    def norm(self, x, name):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5) * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def dense(self, x, name):
        return x @ self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def attend(self, x, block):
        T, C = x.shape
        q, k, v = (y.reshape(T, self.heads, -1).transpose(1, 0, 2) for y in np.split(self.dense(x, f"{block}.attn.c_attn"), 3, -1))
        s = q @ k.transpose(0, 2, 1) / np.sqrt(C // self.heads)
        s = np.where(np.tril(np.ones((T, T), bool)), s, -np.inf)
        s = np.exp(s - s.max(-1, keepdims=True))
        return self.dense(((s / s.sum(-1, keepdims=True)) @ v).transpose(1, 0, 2).reshape(T, C), f"{block}.attn.c_proj")

    def log_probs(self, ids):
        """(T, V): of what comes behind each of the ids."""
        x = self.p["wte.weight"][ids] + self.p["wpe.weight"][:len(ids)]
        for i in range(self.layers):
            x = x + self.attend(self.norm(x, f"h.{i}.ln_1"), f"h.{i}")
            u = self.dense(self.norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
            u = 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
            x = x + self.dense(u, f"h.{i}.mlp.c_proj")
        logits = self.norm(x, "ln_f") @ self.p["wte.weight"].T
        logits -= logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def holdout_loss(self, ids, share):
        """As a job looks at the end of a shard: its last whole sequences."""
        every = (len(ids) - 1) // CONTEXT
        count = int(every * share + 0.5)
        losses = []
        for s in range(every - count, every):
            part = ids[s * CONTEXT:(s + 1) * CONTEXT + 1]
            losses.append(-self.log_probs(part[:-1])[np.arange(CONTEXT), part[1:]].mean())
        return float(np.mean(losses))


def public_tensors(positions=CONTEXT + 16, seed=7, kind=np.float32, above="transformer."):
    """A model of our sizes by the names of the public GPT-2's file, with all that is in there besides."""
    draw = np.random.default_rng(seed)
    C = WIDTH

    def normal(*shape):
        return (0.08 * draw.standard_normal(shape)).astype(kind)

    t = {"wte.weight": normal(VOCAB, C), "wpe.weight": normal(positions, C)}
    for i in range(LAYERS):
        b = f"h.{i}"
        t |= {f"{b}.ln_1.weight": 1 + normal(C), f"{b}.ln_1.bias": normal(C), f"{b}.ln_2.weight": 1 + normal(C), f"{b}.ln_2.bias": normal(C),
              f"{b}.attn.c_attn.weight": normal(C, 3 * C), f"{b}.attn.c_attn.bias": normal(3 * C), f"{b}.attn.c_proj.weight": normal(C, C),
              f"{b}.attn.c_proj.bias": normal(C), f"{b}.mlp.c_fc.weight": normal(C, 4 * C), f"{b}.mlp.c_fc.bias": normal(4 * C),
              f"{b}.mlp.c_proj.weight": normal(4 * C, C), f"{b}.mlp.c_proj.bias": normal(C),
              f"{b}.attn.bias": np.tril(np.ones((1, 1, positions, positions), np.uint8)), f"{b}.attn.masked_bias": np.array(-1e4, np.float32)}
    t |= {"ln_f.weight": 1 + normal(C), "ln_f.bias": normal(C)}
    t = {above + k: v.astype(kind) if v.dtype.kind == "f" and v.ndim else v for k, v in t.items()}
    t["lm_head.weight"] = t[f"{above}wte.weight"].copy()
    return t


def put(c, key, data):
    """An object of the embedded store, bucket models, as its own put would leave it."""
    folder = c.home / "store" / "models" / "objects" / key / "@"
    folder.mkdir(parents=True)
    (folder / f"{time.time_ns():016x}-{os.urandom(6).hex()}").write_bytes(data)
    return f"s3://models/{key}"


# ---- jobs ----


def spec_of(c, name, data, more="", task="train", ranks=1, batch=32):
    path = c.home / "specs" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"name: {name}\ntask: {task}\n"
                    f"model: {{ kind: gpt, layers: {LAYERS}, heads: {HEADS}, width: {WIDTH}, context: {CONTEXT}{more} }}\n"
                    f"data: {{ {data}, holdout: {HOLDOUT} }}\nresources: {{ ranks: {ranks} }}\n"
                    f"train: {{ epochs: 1, batch: {batch}, leaves: 4, lr: 3e-3 }}\n"
                    f"checkpoint: {{ to: s3://models/{name}, every: 20 steps, keep: 10 }}\n")
    return path


def result(shown):
    return shown["job"]["result"]


class Jobs:
    def __init__(self, c, data):
        self.c, self.data = c, data

    def run(self, name, uri, task="evaluate", ranks=1, *settings):
        spec = spec_of(self.c, name, self.data, f", from: \"{uri}\"", task, ranks)
        return self.c.wait_over(self.c.submit(spec, *settings))

    def good(self, name, *arguments):
        shown = self.run(name, *arguments)
        if not check(f"{name}: it succeeds", shown["job"]["state"] == "succeeded", shown["job"]["reason"]):
            raise RuntimeError(shown["job"]["reason"])
        return shown

    def refused(self, what, uri, *words, settings=()):
        shown = self.run("refused", uri, "evaluate", 2, *settings)
        attempts, reason = shown["attempts"], shown["job"]["reason"]
        check(f"{what}: a user's error, tried once, that says why", shown["job"]["state"] == "failed" and len(attempts) == 1
              and attempts[0]["outcome"] == "user_error" and all(w in reason for w in words), f"{reason} {attempts}")

    def not_taken(self, what, uri, *words):
        done = self.c.run("submit", spec_of(self.c, "refused", self.data, f", from: \"{uri}\"", "evaluate"))
        check(f"{what}: refused at submission", done.returncode in (2, 3) and all(w in done.stderr for w in words), f"{done.returncode}: {done.stderr}")


# ---- tests ----


def exported(c, job, trained, ids):
    """The file alone makes the same model: in another program, in doubles."""
    path = c.home / "model.safetensors"
    c.ask("model", "get", job, "-o", path)
    tensors, metadata = read_file(path)
    model = Gpt(tensors)
    m = result(trained)["metrics"]
    check("the file says what it is", metadata["format"] == "sovrun.gpt.v1" and "begun_from" not in metadata
          and json.loads(metadata["tokenizer"])["name"] == "bytes", metadata)
    check("numpy's loss on the hold-out part is the trainer's", abs(model.holdout_loss(ids, HOLDOUT) - m["holdout_loss"]) < 2e-5,
          f"{model.holdout_loss(ids, HOLDOUT)} {m}")
    for prompt in ("The scheduler ", "a", "## "):
        said = c.ask("model", "sample", job, "--prompt", prompt, "--tokens", 50, "--temperature", 0)
        window, worst = list(prompt.encode()), 0.0
        for token in said["ids"]:
            probs = model.log_probs(np.array(window[-CONTEXT:]))[-1]
            worst = max(worst, float(probs.max() - probs[token]))
            window.append(token)
        check(f"numpy's most probable tokens behind '{prompt}' are the sampler's, beyond the context too",
              len(said["ids"]) == 50 and worst < 1e-4, f"{worst} {said}")
    return path


def sampling(c, job):
    def said(*arguments):
        return c.ask("model", "sample", job, "--prompt", "The ", "--tokens", 40, *arguments)

    one = said("--seed", 5)
    check("the same seed gives the same text", said("--seed", 5)["ids"] == one["ids"])
    check("another seed another", said("--seed", 6)["ids"] != one["ids"])
    check("of the one most probable token the most probable text", said("--top-k", 1)["ids"] == said("--temperature", 0)["ids"])
    check("JSON says prompt, text and how many", one["prompt"] == "The " and one["tokens"] == len(one["ids"]) and one["text"] and not one["ended"], one)
    plain = c.run("model", "sample", job, "--prompt", "The ", "--tokens", 40, "--seed", 5)
    check("the text alone on standard output", plain.stdout == one["text"] + "\n", f"{plain.stdout!r} {one['text']!r}")
    start = c.ask("model", "sample", job, "--tokens", 10)
    check("without a prompt a document begins", start["prompt"] == "" and start["tokens"] <= 10, start)
    step = c.ask("model", "sample", job, "--prompt", "The ", "--step", 20, "--tokens", 5, "--prefix", "s3://models/gpt")
    check("a checkpoint writes, too", step["step"] == 20 and step["tokens"] == 5, step)
    for arguments, code, word in ((["--temperature", "-1"], 2, "--temperature"), (["--step", 21], 6, "no checkpoint of step 21"),
                                  (["--tokens", 0], 2, "--tokens")):
        done = c.run("model", "sample", job, *arguments)
        check(f"{' '.join(map(str, arguments))}: exit {code}", done.returncode == code and word in done.stderr, f"{done.returncode} {done.stderr}")
    check("and each time the ledger was told", len(c.recorded("export.allowed", job, 5)) >= 5)


def evaluating(c, jobs, job, trained, path):
    """Our own model and our own checkpoint, on any number of ranks."""
    m, manifest = result(trained)["metrics"], result(trained)["model"]["manifest"]
    for ranks in (1, 2, 4):
        shown = jobs.good(f"eval-{ranks}", f"s3://models/{manifest}", "evaluate", ranks)
        r = result(shown)
        check(f"{ranks} rank(s): to the bit the figures of the training job", r["metrics"]["loss"] == m["holdout_loss"]
              and r["metrics"]["perplexity"] == m["holdout_perplexity"] and r["metrics"]["tokens"] == m["holdout_tokens"], f"{r} {m}")
        check("and what was looked at is named", r["model"]["sha256"] == result(trained)["model"]["sha256"] and r["model"]["uri"].endswith(manifest), r)
    left = c.ask("model", "ls", shown["job"]["id"])["artifacts"]
    check("it leaves no checkpoint and no model", left == [], left)
    told = c.recorded("model.evaluated", shown["job"]["id"])
    check("the ledger has the figures", len(told) == 1 and float(told[0]["data"]["loss"]) == m["holdout_loss"], told)
    text = c.run("show", shown["job"]["id"]).stdout
    check("show shows them", "perplexity" in text and "tokens" in text and "evaluate" not in c.run("why", shown["job"]["id"]).stderr, text)
    checkpoints = [a["manifest"] for a in c.ask("model", "ls", job)["artifacts"] if a["kind"] == "checkpoint" and a["step"] == 20]
    shown = jobs.good("eval-checkpoint", f"s3://models/{checkpoints[0]}", "evaluate", 2)
    got = c.ask("model", "get", job, "--step", 20, "-o", path.with_suffix(".20"))
    check("of a checkpoint: the file that `model get --step` makes", result(shown)["model"]["sha256"] == got["sha256"], f"{result(shown)} {got}")
    check("and another loss", result(shown)["metrics"]["loss"] != m["holdout_loss"])
    whole = jobs.good("eval-all", f"s3://models/{manifest}", "evaluate", 2, "data.holdout=0")
    check("without a hold-out part all of it is looked at", result(whole)["metrics"]["tokens"] > 10 * m["holdout_tokens"], result(whole))
    return checkpoints[0]


def beginning(c, jobs, checkpoint):
    shown = jobs.good("begun", f"s3://models/{checkpoint}", "train", 2)
    job = shown["job"]["id"]
    again = jobs.good("begun", f"s3://models/{checkpoint}", "train", 4)
    check("begun with a checkpoint: the same model on 2 and 4 ranks", result(shown)["model"]["sha256"] == result(again)["model"]["sha256"])
    told = c.recorded("model.begun_from", job)
    _, metadata = read_file(pathlib.Path(c.ask("model", "get", job, "-o", c.home / "begun.safetensors")["file"]))
    check("what it began with stands in the ledger, by address, version and hash", len(told) == 1 and told[0]["data"]["uri"].endswith(checkpoint)
          and told[0]["data"]["version"] and len(told[0]["data"]["sha256"]) == 64, told)
    check("and in the model", metadata["begun_from"] == told[0]["data"]["sha256"], metadata)
    manifest = next((c.home / "store" / "models" / "objects" / result(shown)["model"]["manifest"] / "@").glob("*-*"))
    payload = json.loads(base64.b64decode(json.loads(manifest.read_text())["payload"]))
    check("and in its manifest", payload["meta"]["begun_from"] == told[0]["data"]["sha256"], payload["meta"])
    spec = spec_of(c, "killed", jobs.data, f", from: \"s3://models/{checkpoint}\"", "train", 2)
    whole = c.wait_over(c.submit(spec, "train.epochs=8", "checkpoint.every=5"))
    job = c.submit(spec, "train.epochs=8", "checkpoint.every=5", "retry.backoff=0s")
    c.wait_step(job, 10)
    kill(c.ranks(job)[0])
    shown_2 = c.wait_over(job)
    check("killed and gone on from its own checkpoint: the same model, and begun with only once", len(shown_2["attempts"]) == 2
          and result(shown_2)["model"]["sha256"] == result(whole)["model"]["sha256"] and len(c.recorded("model.begun_from", job)) == 1, shown_2)
    better = result(shown)["metrics"]["holdout_loss"]
    check("it goes on from there", better < result(jobs.good("before", f"s3://models/{checkpoint}"))["metrics"]["loss"], better)


def public_files(c, jobs, ids):
    """Numpy's own file, as the public one is made."""
    tensors = public_tensors()
    uri = put(c, "public.safetensors", file_of(tensors, {"format": "pt"}))
    r = result(jobs.good("public", uri, "evaluate", 2))
    loss = Gpt(tensors).holdout_loss(ids, HOLDOUT)
    check("the public form: numpy's loss", abs(r["metrics"]["loss"] - loss) < 2e-5, f"{r['metrics']} {loss}")
    check("and the file's hash", r["model"]["sha256"] == hashlib.sha256(file_of(tensors, {"format": "pt"})).hexdigest(), r)
    half = public_tensors(kind=np.float16, above="", positions=CONTEXT)
    del half["lm_head.weight"]
    r = result(jobs.good("public-half", put(c, "half.safetensors", file_of(half)), "evaluate", 1))
    check("in halves, without the word in front: numpy's loss", abs(r["metrics"]["loss"] - Gpt(half).holdout_loss(ids, HOLDOUT)) < 2e-5, r["metrics"])
    shown = jobs.good("public-train", uri, "train", 2)
    check("and training begins with it", result(shown)["metrics"]["holdout_loss"] < loss, result(shown)["metrics"])

    def spoilt(what, change, *words):
        t = dict(tensors)
        change(t)
        jobs.refused(what, put(c, f"{what.replace(' ', '-')}.safetensors", file_of(t)), *words)

    name = "transformer.h.1.mlp.c_fc.weight"
    spoilt("a tensor that is missing", lambda t: t.pop(name), "'h.1.mlp.c_fc.weight' is missing")
    spoilt("a tensor of another shape", lambda t: t.update({name: t[name].T.copy()}), f"'{name}' is (128, 32), and the model's (32, 128)")
    spoilt("a tensor of another type", lambda t: t.update({name: t[name].astype(np.uint8)}), f"'{name}' is of type U8")
    spoilt("a tensor of no model", lambda t: t.update({"transformer.h.2.ln_1.bias": t["transformer.h.1.ln_1.bias"]}), "'transformer.h.2.ln_1.bias' is none")
    spoilt("another last matrix", lambda t: t.update({"lm_head.weight": t["lm_head.weight"] + 1}), "'lm_head.weight' is not wte.weight again")
    spoilt("too few positions", lambda t: t.update({"transformer.wpe.weight": t["transformer.wpe.weight"][:CONTEXT - 1]}), "model.context")
    spoilt("another vocabulary", lambda t: t.update({"transformer.wte.weight": t["transformer.wte.weight"][:-1]}), "model.vocab")
    spoilt("what is no number", lambda t: t.update({name: np.full_like(t[name], np.nan)}), f"'{name}' holds what is no number")
    jobs.refused("no such file at all", put(c, "noise.safetensors", b"\xff" * 100), "noise.safetensors")


def ours_that_do_not_fit(c, jobs, manifest):
    jobs.refused("another number of heads", f"s3://models/{manifest}", "model.heads 2", settings=["model.heads=4"])
    jobs.not_taken("an object that is not there", "s3://models/nothing.safetensors", "model.from", "there is no")
    jobs.not_taken("a bucket that is nobody's", "s3://elsewhere/gpt2.safetensors", "policy rule bucket", "model.from")
    jobs.not_taken("the evidence", "s3://evidence/gpt2.safetensors", "policy rule purpose", "model.from")
    jobs.not_taken("what is no manifest", "s3://models/gpt/manifest.json", "no manifest's key")
    original = next((c.home / "store" / "models" / "objects" / manifest / "@").glob("*-*")).read_bytes()
    doc = json.loads(original)
    payload = base64.b64decode(doc["payload"]).replace(b'"step":', b'"step" :')
    doc["payload"] = base64.b64encode(payload).decode()
    moved = manifest.replace("gpt/", "forged/")
    jobs.refused("a manifest that we did not sign", put(c, moved, json.dumps(doc).encode()), moved)
    jobs.refused("a manifest in another place", put(c, manifest.replace("gpt/", "moved/"), original), "moved/")
    c.run("key", "create", "passing")
    spec = spec_of(c, "passing", jobs.data)
    shown = c.wait_over(c.submit(spec, "checkpoint.key=passing"))
    gone = c.run("key", "destroy", "passing", "--confirm", "passing")
    check("a key is destroyed", gone.returncode == 0, gone.stderr)
    jobs.refused("a model whose key was destroyed", f"s3://models/{result(shown)['model']['manifest']}", "model.from", "key")


def byte_pairs(c):
    """A tokenizer of files: they lie beside the dataset, and the model knows them by their hashes."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters, more = {}, 0
    for b in range(256):
        letters[b] = chr(b) if b in printable else chr(256 + more)
        more += b not in printable
    vocab = {letters[b]: b for b in range(256)}
    merges = [("t", "h"), ("th", "e"), (letters[32], "the"), ("i", "n"), ("e", "r")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    vocab["<|endoftext|>"] = len(vocab)
    (c.home / "vocab.json").write_text(json.dumps(vocab))
    (c.home / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    done = c.run("data", "stage", c.home / "specs" / "own.txt", "s3://data/pairs", "--tokens", "bpe", "--vocab", c.home / "vocab.json",
                 "--merges", c.home / "merges.txt")
    job = c.submit(spec_of(c, "pairs", "train: \"s3://data/pairs\", format: tokens"))
    shown = c.wait_over(job)
    if not check("byte pairs: a job trains", shown["job"]["state"] == "succeeded", f"{shown['job']['reason']} {done.stderr}"):
        return
    said = c.ask("model", "sample", job, "--prompt", "in the", "--tokens", 30, "--seed", 3)
    words = {v: k for k, v in vocab.items()}
    back = {v: k for k, v in letters.items()}
    text = bytes(back[ch] for i in said["ids"] for ch in words[i]).decode("utf-8", "replace")
    check("its text is that of its tokens", len(said["ids"]) > 0 and "".join(ch for ch in said["text"] if ch.isalnum() and ch.isascii())
          == "".join(ch for ch in text if ch.isalnum() and ch.isascii()), f"{said} {text!r}")
    done = c.run("model", "sample", job, "--prefix", "s3://models/pairs", "--tokens", 3)
    check("without the job's record the dataset must be named", done.returncode == 2 and "--data" in done.stderr, done.stderr)
    done = c.run("model", "sample", job, "--prefix", "s3://models/pairs", "--data", "s3://data/pairs", "--tokens", 3)
    check("and is enough", done.returncode == 0, done.stderr)


def exports_are_asked(c, job):
    c.run("down")
    policy = c.home / "policy.yaml"
    policy.write_text(policy.read_text().split("exports:")[0])
    done = c.run("model", "sample", job, "--prefix", "s3://models/gpt", "--prompt", "The ")
    check("a policy that lets no model out lets none speak", done.returncode == 3 and "policy rule export" in done.stderr and not done.stdout,
          f"{done.returncode} {done.stderr}")


def main():
    c = Cluster("gpt_model")
    text = own_text()
    ids = np.frombuffer(text.encode() + b"\0", np.uint8).astype(np.int64)
    ids[-1] = 256
    try:
        c.up()
        (c.home / "specs").mkdir()
        (c.home / "specs" / "own.txt").write_text(text)
        job = c.submit(spec_of(c, "gpt", "train: \"file://own.txt\", format: text", ranks=2))
        trained = c.wait_over(job)
        if not check("a gpt trains", trained["job"]["state"] == "succeeded", trained["job"]["reason"]):
            return
        jobs = Jobs(c, f"train: \"{trained['job']['spec']['data']['train']}\", format: tokens")
        path = exported(c, job, trained, ids)
        sampling(c, job)
        checkpoint = evaluating(c, jobs, job, trained, path)
        beginning(c, jobs, checkpoint)
        public_files(c, jobs, ids)
        ours_that_do_not_fit(c, jobs, result(trained)["model"]["manifest"])
        byte_pairs(c)
        exports_are_asked(c, job)
    except (RuntimeError, OSError, KeyError, IndexError) as error:
        check("the test goes to its end", False, repr(error))
    finally:
        c.stop_quietly()
    check("nothing of it still runs", not left_over(c.home), left_over(c.home))
    finish()


if __name__ == "__main__":
    main()
