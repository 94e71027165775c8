#!/usr/bin/env python3
"""emulate.py FILE.cu - the same source for emulate.h, as C++ on standard output: launches, shared memory that a
launch asks for, and instructions in assembly are put in its words. Nothing else is changed. Headers that have such
instructions are put in the place of their #include."""
import re
import sys

HEADERS = ("kernels/cuda/attention_mma.h", "kernels/cuda/attention_lanes.h",
           "kernels/cuda/attention_wgmma.h", "kernels/cuda/wgmma.h")
INSTRUCTIONS = (
    (r"ex2\.approx\.ftz\.f32", "y = exp2f(x);"),
    (r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32", "emulated_mma(c, a, b0, b1);"),
    (r"ldmatrix\.sync\.aligned\.m8n8\.x4\.shared\.b16", "(void)at; emulated_ldmatrix(r, p, false);"),
    (r"ldmatrix\.sync\.aligned\.m8n8\.x4\.trans\.shared\.b16", "(void)at; emulated_ldmatrix(r, p, true);"),
    (r"cp\.async\.cg\.shared\.global", "(void)at; emulated_copy(to, from, bytes);"),
    (r"cp\.async\.commit_group", "emulated_copies_group();"),
    (r"cp\.async\.wait_group", "emulated_copies_wait(LEFT);"),
    (r"mbarrier\.init\.shared::cta\.b64", "(void)at; emulated_barrier_init(barrier, arrivals);"),
    (r"fence\.mbarrier_init\.release\.cluster", "emulated_barriers_told();"),
    (r"fence\.proxy\.async\.shared::cta", ""),
    (r"mbarrier\.arrive\.expect_tx\.shared::cta\.b64", "(void)at; emulated_barrier_arrive(barrier, bytes);"),
    (r"mbarrier\.arrive\.shared::cta\.b64", "(void)at; emulated_barrier_arrive(barrier, 0);"),
    (r"\{ \.reg \.pred passed;", "(void)at; done = emulated_barrier_passed(barrier, parity);"),
    (r"cp\.async\.bulk\.tensor\.4d\.shared::cluster\.global\.mbarrier::complete_tx::bytes",
     "(void)at; emulated_bulk_copy(to, map, column, head, token, b, barrier);"),
    (r"wgmma\.fence\.sync\.aligned", "emulated_wgmma_begin();"),
    (r"wgmma\.commit_group\.sync\.aligned", "emulated_wgmma_group();"),
    (r"wgmma\.wait_group\.sync\.aligned", "emulated_wgmma_wait(LEFT);"),
    (r"\{ \.reg \.pred adds;", "emulated_wgmma(sum, left, right, add, TURNED);"),
    (r"// settled", "(void)sum;"),
)


def with_headers(path):
    """The text of a file, and of the headers that it includes where they have instructions."""
    lines = [f'#line 1 "{path}"\n']
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            header = re.fullmatch(r'#include "(.*)"\n', line)
            if header and header[1] in HEADERS:
                line = f'{with_headers(header[1])}#line {number + 1} "{path}"\n'
            lines.append(line)
    return "".join(lines)


path = sys.argv[1]
source = with_headers(path)
source = source.replace("extern __shared__ float4 shared[];", "float4 *shared = emulated_shared;")
for instruction, call in INSTRUCTIONS:
    source = re.sub(r"asm(?: volatile)?\(\"" + instruction + r"[ ;].*?\);\n", call + "\n", source, flags=re.S)
source = re.sub(r"(\w+)<<<([^;]*?)>>>\(([^;]*?)\);", r"emulate_launch(\2, \1, \3);", source, flags=re.S)
if "<<<" in source or re.search(r"\basm\b", source):
    sys.exit(f"{path}: something is left that emulate.py does not know")
print(f'#include "tests/emulate/emulate.h"\n{source}')
