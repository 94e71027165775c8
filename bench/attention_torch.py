#!/usr/bin/python3
"""attention_torch.py HEADS SIZE CONTEXT SEQUENCES - causal attention in bf16 on a card by each way that PyTorch has.

One line a way: its name (flash: FlashAttention-2's kernels, cudnn: cuDNN's), milliseconds forward and backward, the medians
of five rounds of twenty. What a way cannot do is said on standard error.
"""
import statistics
import sys
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

WAYS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
ROUNDS, CALLS = 5, 20


def milliseconds(call):
    call()
    took = []
    for _ in range(ROUNDS):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(CALLS):
            call()
        torch.cuda.synchronize()
        took.append((time.perf_counter() - begun) * 1e3 / CALLS)
    return statistics.median(took)


def main():
    heads, size, context, sequences = map(int, sys.argv[1:5])
    q, k, v, dout = (torch.randn(sequences, heads, context, size, device="cuda", dtype=torch.bfloat16) for _ in range(4))
    for tensor in (q, k, v):
        tensor.requires_grad_()
    for name, way in WAYS.items():
        try:
            with sdpa_kernel(way):
                def attend():
                    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                forward = milliseconds(attend)
                out = attend()
                backward = milliseconds(lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True))
        except RuntimeError as why:
            print(f"attention_torch: {name}: {str(why).splitlines()[0]}", file=sys.stderr)
            continue
        print(f"{name} {forward:.4f} {backward:.4f}", flush=True)


main()
