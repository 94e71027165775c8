#!/usr/bin/python3
"""The GPT against an independent one, written here in numpy and doubles from the formulas: losses of ten steps, every gradient of
the first, the parameters after the last, what it predicts; with each of its options; and the same bits for any number of threads
and whether activations are kept or computed again."""
import hashlib
import pathlib
import shutil
import subprocess

import numpy as np

from cluster import B, check, finish

PROGRAM = B / "tests" / "system" / "gpt_steps"
FOLDER = B / "test" / "gpt"


class Run:
    """One run of ours and what it wrote."""

    def __init__(self, name, layers, heads, width, context, vocab, sequences, length, steps=10, threads=1, document=0,
                 rms=0, rotary=0, swiglu=0, recompute=0, dropout=0):
        self.folder = FOLDER / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        numbers = (layers, heads, width, context, vocab, sequences, length, steps, threads, document, rms, rotary, swiglu, recompute, dropout)
        done = subprocess.run([PROGRAM, self.folder, *map(str, numbers)], capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise RuntimeError(f"gpt_steps: exit {done.returncode}: {done.stderr}")
        *self.losses, self.evaluated = (float(line) for line in done.stdout.split())
        self.rms, self.rotary, self.swiglu = rms, rotary, swiglu
        self.text = done.stdout
        self.layers, self.heads, self.width, self.steps, self.vocab = layers, heads, width, steps, vocab
        shape = (sequences, length)
        self.tokens, self.labels, self.starts = (np.fromfile(self.folder / f"{f}.i32", np.int32).reshape(shape) for f in ("tokens", "labels", "starts"))
        self.names = [line.split() for line in (self.folder / "names.txt").read_text().splitlines()]

    def vector(self, name):
        return np.fromfile(self.folder / f"{name}.f32", np.float32)

    def tensors(self, name):
        flat = self.vector(name).astype(np.float64)
        return {n: flat[int(f) : int(f) + int(c)].reshape([int(d) for d in dims]) for n, f, c, *dims in self.names}

    def digest(self):
        h = hashlib.sha256(self.text.encode())
        for name in ("grad", "after", "probs"):
            h.update(self.vector(name).tobytes())
        return h.hexdigest()


def norm(x, w, b):
    mean = x.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5)
    return (x - mean) * rstd * w + b, ((x - mean) * rstd, rstd)


def norm_back(d, w, kept):
    unit, rstd = kept
    axes = tuple(range(d.ndim - 1))
    g = d * w
    dx = (g - g.mean(-1, keepdims=True) - unit * (g * unit).mean(-1, keepdims=True)) * rstd
    return dx, (d * unit).sum(axes), d.sum(axes)


def rms(x, w):
    rstd = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    return x * rstd * w, (x * rstd, rstd)


def rms_back(d, w, kept):
    unit, rstd = kept
    g = d * w
    return (g - unit * (g * unit).mean(-1, keepdims=True)) * rstd, (d * unit).sum(tuple(range(d.ndim - 1)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(u))


def gelu_back(d, x):
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return d * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x))


class Reference:
    def __init__(self, run):
        self.r, self.p = run, run.tensors("params")
        B_, T = run.tokens.shape
        t = np.arange(T)
        self.position = t[None, :] - run.starts
        sees = (t[None, None, :] <= t[None, :, None]) & (t[None, None, :] >= run.starts[:, :, None])
        size = run.width // run.heads
        angle = self.position[:, None, :, None] * 10000.0 ** (-2 * np.arange(size // 2) / size)
        self.turn = np.exp(1j * angle)  # B 1 T size/2
        self.mask = np.where(sees, 0.0, -np.inf)[:, None]  # B 1 T T

    def split(self, x):
        B_, T, C = x.shape
        return x.reshape(B_, T, self.r.heads, C // self.r.heads).transpose(0, 2, 1, 3)

    @staticmethod
    def join(x):
        B_, H, T, D = x.shape
        return x.transpose(0, 2, 1, 3).reshape(B_, T, H * D)

    def turned(self, x, turn):
        """Each pair, half a head apart, is a complex number."""
        half = x.shape[-1] // 2
        z = (x[..., :half] + 1j * x[..., half:]) * turn
        return np.concatenate([z.real, z.imag], -1)

    def norm(self, x, w, name):
        return rms(x, w[f"{name}.weight"]) if self.r.rms else norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm_back(self, d, w, name, kept, into):
        if self.r.rms:
            dx, into[f"{name}.weight"] = rms_back(d, w[f"{name}.weight"], kept)
        else:
            dx, into[f"{name}.weight"], into[f"{name}.bias"] = norm_back(d, w[f"{name}.weight"], kept)
        return dx

    def forward(self):
        p, r, self.kept = self.p, self.r, []
        x = p["wte.weight"][r.tokens]
        if not r.rotary:
            x = x + p["wpe.weight"][self.position]
        for i in range(r.layers):
            w = {k[len(f"h.{i}."):]: v for k, v in p.items() if k.startswith(f"h.{i}.")}
            k = {"w": w}
            k["ln1"], k["n1"] = self.norm(x, w, "ln_1")
            q, key, v = (self.split(y) for y in np.split(k["ln1"] @ w["attn.c_attn.weight"] + w["attn.c_attn.bias"], 3, -1))
            if r.rotary:
                q, key = self.turned(q, self.turn), self.turned(key, self.turn)
            s = q @ key.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1]) + self.mask
            a = np.exp(s - s.max(-1, keepdims=True))
            a /= a.sum(-1, keepdims=True)
            k.update(q=q, k=key, v=v, a=a, att=self.join(a @ v))
            x = x + k["att"] @ w["attn.c_proj.weight"] + w["attn.c_proj.bias"]
            k["ln2"], k["n2"] = self.norm(x, w, "ln_2")
            k["fc"] = k["ln2"] @ w["mlp.c_fc.weight"] + w["mlp.c_fc.bias"]
            if r.swiglu:
                k["gate"] = k["ln2"] @ w["mlp.c_gate.weight"] + w["mlp.c_gate.bias"]
                k["active"] = k["gate"] * sigmoid(k["gate"]) * k["fc"]
            else:
                k["active"] = gelu(k["fc"])
            x = x + k["active"] @ w["mlp.c_proj.weight"] + w["mlp.c_proj.bias"]
            self.kept.append(k)
        self.final, self.nf = self.norm(x, p, "ln_f")
        logits = self.final @ p["wte.weight"].T
        e = np.exp(logits - logits.max(-1, keepdims=True))
        self.probs = e / e.sum(-1, keepdims=True)
        self.told = self.r.labels >= 0
        label = np.where(self.told, self.r.labels, 0)
        loss = -np.log(np.take_along_axis(self.probs, label[..., None], -1)[..., 0])
        return (loss * self.told).sum()

    def backward(self):
        p, r, g = self.p, self.r, {}
        flat = lambda x: x.reshape(-1, x.shape[-1])
        d = self.probs.copy()
        np.put_along_axis(d, np.where(self.told, r.labels, 0)[..., None], np.take_along_axis(d, np.where(self.told, r.labels, 0)[..., None], -1) - 1, -1)
        d *= self.told[..., None]
        g["wte.weight"] = flat(d).T @ flat(self.final)
        dx = self.norm_back(d @ p["wte.weight"], p, "ln_f", self.nf, g)
        for i in reversed(range(r.layers)):
            k = self.kept[i]
            w, mine = k["w"], {}
            mine["mlp.c_proj.weight"], mine["mlp.c_proj.bias"] = flat(k["active"]).T @ flat(dx), flat(dx).sum(0)
            dactive, dln = dx @ w["mlp.c_proj.weight"].T, 0
            if r.swiglu:
                s = sigmoid(k["gate"])
                dgate, dfc = dactive * k["fc"] * (s + k["gate"] * s * (1 - s)), dactive * k["gate"] * s
                mine["mlp.c_gate.weight"], mine["mlp.c_gate.bias"] = flat(k["ln2"]).T @ flat(dgate), flat(dgate).sum(0)
                dln = dgate @ w["mlp.c_gate.weight"].T
            else:
                dfc = gelu_back(dactive, k["fc"])
            mine["mlp.c_fc.weight"], mine["mlp.c_fc.bias"] = flat(k["ln2"]).T @ flat(dfc), flat(dfc).sum(0)
            dx = dx + self.norm_back(dln + dfc @ w["mlp.c_fc.weight"].T, w, "ln_2", k["n2"], mine)
            mine["attn.c_proj.weight"], mine["attn.c_proj.bias"] = flat(k["att"]).T @ flat(dx), flat(dx).sum(0)
            datt = self.split(dx @ w["attn.c_proj.weight"].T)
            dv, da = k["a"].transpose(0, 1, 3, 2) @ datt, datt @ k["v"].transpose(0, 1, 3, 2)
            ds = k["a"] * (da - (da * k["a"]).sum(-1, keepdims=True)) / np.sqrt(datt.shape[-1])
            dq, dk = ds @ k["k"], ds.transpose(0, 1, 3, 2) @ k["q"]
            if r.rotary:
                dq, dk = self.turned(dq, self.turn.conj()), self.turned(dk, self.turn.conj())
            dqkv = np.concatenate([self.join(dq), self.join(dk), self.join(dv)], -1)
            mine["attn.c_attn.weight"], mine["attn.c_attn.bias"] = flat(k["ln1"]).T @ flat(dqkv), flat(dqkv).sum(0)
            dx = dx + self.norm_back(dqkv @ w["attn.c_attn.weight"].T, w, "ln_1", k["n1"], mine)
            g.update({f"h.{i}.{name}": v for name, v in mine.items()})
        np.add.at(g["wte.weight"], r.tokens, dx)
        if not r.rotary:
            g["wpe.weight"] = np.zeros_like(p["wpe.weight"])
            np.add.at(g["wpe.weight"], self.position, dx)
        return g

    def train(self):
        m = {k: np.zeros_like(v) for k, v in self.p.items()}
        v = {k: np.zeros_like(x) for k, x in self.p.items()}
        losses, self.first = [], None
        for t in range(1, self.r.steps + 1):
            total, count = self.forward(), (self.r.labels >= 0).sum()
            losses.append(total / count)
            g = self.backward()
            self.first = self.first or g
            for k, x in self.p.items():
                d = g[k] / count
                m[k], v[k] = 0.9 * m[k] + 0.1 * d, 0.95 * v[k] + 0.05 * d * d
                x -= 1e-3 * 0.1 * x + 1e-3 * (m[k] / (1 - 0.9**t)) / (np.sqrt(v[k] / (1 - 0.95**t)) + 1e-8)
        return losses


def agrees(name, run):
    ref = Reference(run)
    losses = ref.train()
    worst = max(abs(a - b) / b for a, b in zip(run.losses, losses))
    check(f"{name}: the losses of {run.steps} steps are the reference's", worst < 2e-5, (worst, run.losses, losses))
    check(f"{name}: it learns", run.losses[-1] < run.losses[0], run.losses)
    ours = run.tensors("grad")
    off = {k: np.abs(ours[k] - g).max() / max(np.abs(g).max(), 1e-6) for k, g in ref.first.items()}
    check(f"{name}: each gradient of the first step is", set(ours) == set(ref.first) and max(off.values()) < 1e-4,
          sorted(off.items(), key=lambda x: -x[1])[:5])
    after = run.tensors("after")
    apart = {k: np.abs(after[k] - ref.p[k]).max() for k in after}
    check(f"{name}: so are the parameters in the end", max(apart.values()) < 3e-4, sorted(apart.items(), key=lambda x: -x[1])[:5])
    loss = ref.forward() / (run.labels >= 0).sum()
    check(f"{name}: and their loss without a backward pass", abs(run.evaluated - loss) < 1e-4 * loss, (run.evaluated, loss))
    probs = run.vector("probs").reshape(len(run.tokens), run.vocab)
    check(f"{name}: and what it predicts", np.abs(probs - ref.probs[:, -1]).max() < 2e-4, np.abs(probs - ref.probs[:, -1]).max())


TODAY = {"rms": 1, "rotary": 1, "swiglu": 1}


def options(shape, large):
    for option in TODAY:
        agrees(f"{option} alone", Run(option, **shape, **{option: 1}))
    agrees("RMSNorm, rotary positions and SwiGLU, documents", Run("today", **{**shape, "document": 29}, **TODAY))
    agrees("the same, the smallest", Run("today-smallest", 1, 1, 2, 2, 2, 1, 2, **TODAY))
    agrees("the same, more than a block of everything", Run("today-large", **{**large, "heads": 4, "document": 170}, **TODAY))
    for name, one in (("GPT-2's", {}), ("today's", TODAY)):
        for dropout in (0, 10):
            kinds = [Run(f"again-{again}-{threads}", **{**large, "heads": 4}, **one, document=170, dropout=dropout, recompute=again, threads=threads).digest()
                     for again, threads in ((0, 1), (1, 1), (0, 2), (1, 3))]
            check(f"{name} with {dropout} % dropout: activations kept or computed again, 1, 2 or 3 threads: the same bits", len(set(kinds)) == 1, kinds)


def main():
    shape = {"layers": 3, "heads": 4, "width": 32, "context": 96, "vocab": 97, "sequences": 3, "length": 96}
    agrees("a small one", Run("small", **shape))
    agrees("documents packed into sequences", Run("documents", **{**shape, "document": 29}))
    agrees("a short sequence in a large context", Run("short", **{**shape, "length": 7}))
    agrees("the smallest", Run("smallest", 1, 1, 2, 2, 2, 1, 2))
    large = {"layers": 2, "heads": 3, "width": 96, "context": 300, "vocab": 1111, "sequences": 2, "length": 300, "steps": 3}
    agrees("more than a block of everything", Run("large", **large))
    digests = {threads: Run(f"threads-{threads}", **large, threads=threads).digest() for threads in (1, 2, 3, 7)}
    check("1, 2, 3 and 7 threads give the same bits", len(set(digests.values())) == 1, digests)
    options(shape, large)
    padding = Run("small", **shape).vector("after")
    end = max(int(f) + int(c) for _, f, c, *_ in Run("small", **shape).names)
    check("the padding stays zero", not padding[end:].any())


if __name__ == "__main__":
    main()
    finish()
