#!/usr/bin/python3
"""bench_gpu.py [OUT.json] - GPT-2's step on a card in bf16, by ours and by PyTorch (torch.compile, its own flash attention), in turn.

Tokens a second, and the share of the card's dense bf16 peak that the model's operations come to: (6 P + 6 L C T) a token,
of P parameters; attention's half below the diagonal counts, as is usual in tables of MFU since PaLM's (Chowdhery et al. 2022).
As many sequences of 1024 tokens as fit, 64 at most. PyTorch: TORCH_PYTHON, or python3, where it has one with CUDA.
ROUNDS, STEPS, MODELS ("124M 1558M") change what is run. No card: exit 3.

STATUS: never run on a card yet (docs/GPU.md).
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys

B = pathlib.Path(os.environ.get("B", "build"))
HERE = pathlib.Path(__file__).resolve().parent
ROUNDS, STEPS = int(os.environ.get("ROUNDS", "3")), int(os.environ.get("STEPS", "12"))
MODELS = os.environ.get("MODELS", "124M 1558M").split()
CONTEXT, VOCAB, SEQUENCES_MAX, WARM = 1024, 50257, 64, 4
SHAPES = {"124M": (12, 12, 768), "350M": (24, 16, 1024), "774M": (36, 20, 1280), "1558M": (48, 25, 1600)}
# Dense bf16, TFLOP/s, by the vendor's data sheets; a name's first match counts.
PEAKS = (("H100 PCIe", 756), ("H100 NVL", 835), ("H100", 989), ("H200", 989), ("A100", 312), ("A800", 312), ("H800", 989))


def card():
    try:
        told = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.splitlines()[0].strip() if told.stdout.strip() else None


def operations(layers, width):
    """Of a token: forward and backward."""
    parameters = layers * 12 * width * width + (VOCAB + CONTEXT) * width
    return 6 * parameters + 6 * layers * width * CONTEXT


def steps(command, environment, limit_s):
    """-> ms of a step, the median behind the first WARM; None and why."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s, env=dict(os.environ, **environment))
    except subprocess.TimeoutExpired:
        return None, f"more than {limit_s} s"
    times = [float(line.split()[0]) for line in done.stdout.splitlines() if line[:1].isdigit()]
    if done.returncode or len(times) < STEPS:
        return None, (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:300]
    return statistics.median(times[WARM:]), None


def commands(shape, sequences):
    layers, heads, width = SHAPES[shape]
    numbers = [str(n) for n in (layers, heads, width, CONTEXT, VOCAB, sequences, STEPS, 1)]
    python = os.environ.get("TORCH_PYTHON", "python3")
    return {"sovrun": [str(B / "bench" / "bench_gpt"), *numbers, "cuda", "bf16"],
            "PyTorch, compiled": [python, str(HERE / "gpt_torch.py"), *numbers, "compile", "cuda"]}


def fitting(shape):
    """The most sequences, by halves, that ours takes a few steps with."""
    sequences, why = SEQUENCES_MAX, None
    while sequences > 0:
        took, why = steps(commands(shape, sequences)["sovrun"], {}, 300)
        if took:
            return sequences, None
        sequences //= 2
    return 0, why


def measure(shape, peak):
    layers, _, width = SHAPES[shape]
    sequences, why = fitting(shape)
    row = {"model": shape, "sequences": sequences, "context": CONTEXT}
    if not sequences:
        return dict(row, failed=why)
    times = {name: [] for name in commands(shape, sequences)}
    for _ in range(ROUNDS):
        for name, command in commands(shape, sequences).items():
            took, why = steps(command, {}, 300)
            if took:
                times[name].append(took)
            else:
                row[f"{name} failed"] = why
    for name, took in times.items():
        if not took:
            continue
        speed = sequences * CONTEXT / statistics.median(took) * 1e3
        row[name] = {"ms": round(statistics.median(took), 2), "tokens_per_second": round(speed)}
        if peak:
            row[name]["mfu_percent"] = round(speed * operations(layers, width) / peak / 1e10, 1)
    pairs = list(zip(times["PyTorch, compiled"], times["sovrun"]))
    if pairs:
        row["ratio"] = round(statistics.median(theirs / ours for theirs, ours in pairs), 3)
    return row


def main():
    name = card()
    if not name:
        print("bench_gpu: no card: nvidia-smi names none. CUDA: compiled, not run")
        sys.exit(3)
    peak = next((tflops for word, tflops in PEAKS if word in name), None)
    rows = [measure(shape, peak) for shape in MODELS]
    for row in rows:
        print(json.dumps(row))
    if len(sys.argv) > 1:
        pathlib.Path(sys.argv[1]).write_text(json.dumps({"card": name, "peak_tflops": peak, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if any("failed" in row for row in rows) else 0)


if __name__ == "__main__":
    main()
