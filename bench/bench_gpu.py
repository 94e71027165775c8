#!/usr/bin/python3
"""bench_gpu.py [OUT.json] - GPT-2's step on a card in bf16, by ours, by PyTorch (torch.compile, its own flash attention) and by llm.c, in turn.

Tokens a second, and the share of the card's dense bf16 peak that the model's operations come to: (6 P + 6 L C T) a token,
of P parameters; attention's half below the diagonal counts, as is usual in tables of MFU since PaLM's (Chowdhery et al. 2022).
As many sequences of 1024 tokens as fit, 64 at most. PyTorch: TORCH_PYTHON, or python3, where it has one with CUDA. llm.c: LLMC, a
folder with its train_gpt2cu, built for this card (docs/GPU.md). Then each of our kernels beside its floor (bench_kernels), and
attention beside PyTorch's ways, cuDNN's among them. ROUNDS, STEPS, MODELS ("124M 1558M") change what is run. No card: exit 3.

STATUS: never run on a card yet (docs/GPU.md).
"""
import json
import os
import pathlib
import random
import re
import statistics
import struct
import subprocess
import sys
import tempfile

B = pathlib.Path(os.environ.get("B", "build"))
HERE = pathlib.Path(__file__).resolve().parent
ROUNDS, STEPS = int(os.environ.get("ROUNDS", "3")), int(os.environ.get("STEPS", "12"))
MODELS = os.environ.get("MODELS", "124M 1558M").split()
CONTEXT, VOCAB, SEQUENCES_MAX, WARM = 1024, 50257, 64, 4
SHAPES = {"124M": (12, 12, 768), "350M": (24, 16, 1024), "774M": (36, 20, 1280), "1558M": (48, 25, 1600)}
# Dense bf16, TFLOP/s, and memory, GB/s, by the vendor's data sheets; a name's first match counts.
PEAKS = (("H100 PCIe", 756, 2000), ("H100 NVL", 835, 3938), ("H100", 989, 3350), ("H200", 989, 4800), ("H800", 989, 3350),
         ("A100-SXM4-40GB", 312, 1555), ("A100-PCIE-40GB", 312, 1555), ("A100", 312, 2039), ("A800", 312, 2039))
LLMC_MAGIC, LLMC_HEADER = 20240520, 256  # of its file of tokens: 256 numbers of 4 bytes, then 2 bytes a token


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


def python():
    return os.environ.get("TORCH_PYTHON", "python3")


def commands(shape, sequences):
    layers, heads, width = SHAPES[shape]
    numbers = [str(n) for n in (layers, heads, width, CONTEXT, VOCAB, sequences, STEPS, 1)]
    return {"sovrun": [str(B / "bench" / "bench_gpt"), *numbers, "cuda", "bf16"],
            "PyTorch, compiled": [python(), str(HERE / "gpt_torch.py"), *numbers, "compile", "cuda"]}


def llmc_steps(folder, shape, sequences):
    """The same of llm.c, whose models are named by their depth; no evaluation, no samples."""
    count = sequences * CONTEXT * 2 + 1
    tokens = random.Random(1).choices(range(VOCAB), k=count)
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "tokens.bin"
        header = struct.pack(f"<{LLMC_HEADER}i", LLMC_MAGIC, 1, count, *[0] * (LLMC_HEADER - 3))
        file.write_bytes(header + struct.pack(f"<{count}H", *tokens))
        command = [str(pathlib.Path(folder).resolve() / "train_gpt2cu"), "-i", str(file), "-j", str(file), "-e", f"d{SHAPES[shape][0]}",
                   "-b", str(sequences), "-t", str(CONTEXT), "-d", str(sequences * CONTEXT), "-x", str(STEPS), "-c", "0.1",
                   "-v", "1000000", "-m", "1", "-s", "0", "-h", "0"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=folder)
        except (OSError, subprocess.TimeoutExpired) as why:
            return None, str(why)[:300]
    times = [float(ms) for ms in re.findall(r"^step .*?\| ([0-9.]+) ms \|", done.stdout, re.M)]
    if len(times) < STEPS:
        return None, ((done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"])[-1][:300]
    return statistics.median(times[WARM:]), None


def kernels(shape, sequences, peaks, environment):
    """[(name, ms, floor in ms, percent of the peak)], and why there are none."""
    _, heads, width = SHAPES[shape]
    tflops, gigabytes = peaks or (0, 0)
    command = [B / "bench" / "bench_kernels", heads, width, CONTEXT, VOCAB, sequences, 1, "cuda", "bf16", gigabytes, tflops]
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=300,
                              env=dict(os.environ, **environment))
    except (OSError, subprocess.TimeoutExpired) as why:
        return [], str(why)[:300]
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(name, *map(float, numbers)) for name, *numbers in rows], done.stderr.strip()[:300]


def both_attentions(shape, sequences, peaks):
    """As kernels(): all of them, and attention once more by mma.sync, which is another where the card has wgmma."""
    rows, why = kernels(shape, sequences, peaks, {})
    older, _ = kernels(shape, sequences, peaks, {"SOVRUN_ATTENTION": "mma"})
    return rows + [(f"{name}, mma", *numbers) for name, *numbers in older if name.startswith("attention")], why


def attention_of_torch(shape, sequences):
    """{way: [ms forward, ms backward]}; empty without PyTorch."""
    _, heads, width = SHAPES[shape]
    command = [python(), str(HERE / "attention_torch.py"), *map(str, (heads, width // heads, CONTEXT, sequences))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {line.split()[0]: [float(ms) for ms in line.split()[1:]] for line in done.stdout.splitlines()}


def fitting(shape):
    """The most sequences, by halves, that ours takes a few steps with."""
    sequences, why = SEQUENCES_MAX, None
    while sequences > 0:
        took, why = steps(commands(shape, sequences)["sovrun"], {}, 300)
        if took:
            return sequences, None
        sequences //= 2
    return 0, why


def in_turn(shape, sequences):
    """-> {name: [ms of a step, by round]}, {name: why there is none}"""
    ways = {name: lambda command=command: steps(command, {}, 300) for name, command in commands(shape, sequences).items()}
    if os.environ.get("LLMC"):
        ways["llm.c"] = lambda: llmc_steps(os.environ["LLMC"], shape, sequences)
    times, whys = {}, {}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            took, why = run()
            if took:
                times.setdefault(name, []).append(took)
            else:
                whys[name] = why
    return times, whys


def measure(shape, peaks):
    layers, _, width = SHAPES[shape]
    sequences, why = fitting(shape)
    row = {"model": shape, "sequences": sequences, "context": CONTEXT}
    if not sequences:
        return dict(row, failed=why)
    times, whys = in_turn(shape, sequences)
    row.update({f"{name} failed": why for name, why in whys.items()})
    for name, took in times.items():
        speed = sequences * CONTEXT / statistics.median(took) * 1e3
        row[name] = {"ms": round(statistics.median(took), 2), "tokens_per_second": round(speed)}
        if peaks:
            row[name]["mfu_percent"] = round(speed * operations(layers, width) / peaks[0] / 1e10, 1)
        if name != "sovrun" and "sovrun" in times:
            row[f"times {name}"] = round(statistics.median(theirs / ours for theirs, ours in zip(took, times["sovrun"])), 3)
    return row


def main():
    name = card()
    if not name:
        print("bench_gpu: no card: nvidia-smi names none. CUDA: compiled, not run")
        sys.exit(3)
    peaks = next((numbers for word, *numbers in PEAKS if word in name), None)
    rows = []
    for shape in MODELS:
        row = measure(shape, peaks)
        print(json.dumps(row), flush=True)
        if row["sequences"]:
            row["kernels"], row["kernels said"] = both_attentions(shape, row["sequences"], peaks)
            row["attention of PyTorch"] = attention_of_torch(shape, row["sequences"])
            for kernel in row["kernels"]:
                print("  %-26s %8.3f ms, floor %8.3f: %5.1f %%" % tuple(kernel), flush=True)
            for way, (forward, backward) in row["attention of PyTorch"].items():
                print(f"  attention of PyTorch, {way}: {forward:.3f} ms, backward {backward:.3f}", flush=True)
        rows.append(row)
    if len(sys.argv) > 1:
        told = {"card": name, "peak_tflops_and_gb_s": peaks, "rows": rows}
        pathlib.Path(sys.argv[1]).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if any("failed" in row for row in rows) else 0)


if __name__ == "__main__":
    main()
