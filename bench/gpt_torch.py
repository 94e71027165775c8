#!/usr/bin/python3
"""gpt_torch.py - the same steps as bench_gpt.c by PyTorch, for bench_train.py: GPT-2's layers, cross-entropy, AdamW.

    gpt_torch.py LAYERS HEADS WIDTH CONTEXT VOCAB SEQUENCES STEPS THREADS [compile] [cuda]

cuda: on the card, under autocast to bf16, as nanoGPT trains. A line a step: milliseconds of all of it, and of the update, and the loss. The last line: the most memory that was resident, in MiB. Its own scaled_dot_product_attention where it has one.
"""
import math
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, heads, width):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attention(self, x):
        b, t, c = x.shape
        q, k, v = (y.view(b, t, self.heads, c // self.heads).transpose(1, 2) for y in self.qkv(x).split(c, -1))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            s = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
            y = s.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).contiguous().view(b, t, c))

    def forward(self, x):
        x = x + self.attention(self.ln_1(x))
        return x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, layers, heads, width, context, vocab):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(heads, width) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        nn.init.normal_(self.wte.weight, std=0.02)

    def forward(self, tokens, labels):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.size(1), device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = self.ln_f(x) @ self.wte.weight.T
        return F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1))


def main():
    layers, heads, width, context, vocab, sequences, steps, threads = map(int, sys.argv[1:9])
    device = "cuda" if "cuda" in sys.argv[9:] else "cpu"
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high" if device == "cuda" else "highest")
    model = GPT(layers, heads, width, context, vocab).to(device)
    options = {"fused": True} if torch.__version__ >= "2.4" else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, **options)
    if "compile" in sys.argv[9:]:
        model = torch.compile(model)
    tokens, labels = (torch.randint(vocab, (sequences, context)).to(device) for _ in range(2))
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    for _ in range(steps):
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
            loss = model(tokens, labels)
        loss.backward()
        wait()
        between = time.perf_counter()
        optimizer.step()
        wait()
        now = time.perf_counter()
        print(f"{(now - begun) * 1e3:.2f} {(now - between) * 1e3:.2f} {loss.item():.6f}", flush=True)
    print(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}")


main()
