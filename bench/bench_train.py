#!/usr/bin/python3
"""bench_train.py - a GPT's step by ours and by PyTorch, in turn: ROUNDS times each, medians of the steps behind the first.

The peers that there are: Debian's PyTorch (with OpenBLAS's OpenMP build, which is its faster one), and another Python with a
PyTorch of its own, named by TORCH_PYTHON. Shapes are those that llm.c and nanoGPT are usually timed at. THREADS: "1 2".

The share of the ceiling: multiply-adds that the model's formulas ask for, against what our matrix products reach at their best
(bench_gemm ceiling, in the same minutes). Memory: the most that was resident, the interpreter included.
"""
import os
import pathlib
import statistics
import subprocess
import sys

B = pathlib.Path(os.environ.get("B", "build"))
HERE = pathlib.Path(__file__).resolve().parent
ROUNDS = int(os.environ.get("ROUNDS", "3"))
STEPS = int(os.environ.get("STEPS", "4"))
THREADS = [int(t) for t in os.environ.get("THREADS", "1 2").split()]
OPENBLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp"
# name: layers heads width context vocabulary sequences
SHAPES = {
    "124M, B 4, T 64": (12, 12, 768, 64, 50257, 4),
    "L 6, C 384, T 256, B 8, V 256": (6, 6, 384, 256, 256, 8),
    "L 6, C 384, T 256, B 8, V 50257": (6, 6, 384, 256, 50257, 8),
}


def run(command, shape, threads, environment, *more):
    """-> (ms of a step, ms of its update, MiB at most): medians behind the first step."""
    done = subprocess.run([*command, *map(str, (*shape, STEPS, threads)), *more], capture_output=True, text=True, check=False,
                          env=dict(os.environ, OMP_NUM_THREADS=str(threads), **environment))
    lines = [line.split() for line in done.stdout.splitlines()]
    if done.returncode or len(lines) != STEPS + 1:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return (*(statistics.median(float(line[i]) for line in lines[1:-1]) for i in (0, 1)), float(lines[-1][1]))


def ceiling(threads):
    done = subprocess.run([B / "bench" / "bench_gemm", "ceiling", str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def gflop(shape):
    """Of a step: three times the forward pass's products; attention's, of which causality leaves half."""
    layers, _, width, context, vocabulary, sequences = shape
    tokens = context * sequences
    return 3 * 2e-9 * tokens * (layers * (12 * width * width + context * width) + vocabulary * width)


def version(python, environment):
    done = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True, check=False,
                          env=dict(os.environ, **environment))
    return done.stdout.strip() if done.returncode == 0 else None


def peers():
    found = []
    for name, python, environment in (("Debian's PyTorch", "/usr/bin/python3", {"LD_LIBRARY_PATH": OPENBLAS}),
                                      ("PyTorch", os.environ.get("TORCH_PYTHON", ""), {})):
        told = version(python, environment) if python else None
        if told:
            found.append((f"{name} {told}", [python, str(HERE / "gpt_torch.py")], environment))
    return found


def main():
    others = peers()
    if not others:
        print("bench_train: no PyTorch: install python3-torch and libopenblas0-openmp, or name one by TORCH_PYTHON", file=sys.stderr)
    for name, shape in SHAPES.items():
        for threads in THREADS:
            ours, theirs, most = [], {label: [] for label, _, _ in others}, 0
            for _ in range(ROUNDS):
                most = max(most, ceiling(threads))
                ours.append(run([B / "bench" / "bench_gpt"], shape, threads, {}))
                for label, command, environment in others:
                    theirs[label].append(run(command, shape, threads, environment))
            step, update, memory = (statistics.median(x[i] for x in ours) for i in (0, 1, 2))
            tokens = shape[3] * shape[5]
            print(f"\n{name}; {threads} thread{'s' if threads > 1 else ''}")
            print(f"  {'sovrun':34} {step:9.0f} ms a step ({update:.0f} of it the update) {tokens / step * 1e3:8.0f} tokens/s, "
                  f"{memory:.0f} MiB; {gflop(shape) / step * 1e5 / most:.0f} % of the {most:.0f} GFLOP/s that matrix products reach")
            for label, times in theirs.items():
                ratio = statistics.median(t[0] / o[0] for t, o in zip(times, ours))
                print(f"  {label:34} {statistics.median(t[0] for t in times):9.0f} ms a step "
                      f"({statistics.median(t[1] for t in times):.0f}), {statistics.median(t[2] for t in times):.0f} MiB; "
                      f"ours is {ratio:.2f} x as fast", flush=True)


main()
