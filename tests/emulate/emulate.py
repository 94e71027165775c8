#!/usr/bin/env python3
"""emulate.py FILE.cu - the same source for emulate.h, as C++ on standard output: launches, shared memory that a
launch asks for, and instructions in assembly are put in its words. Nothing else is changed. Headers that have such
instructions are put in the place of their #include."""
import re
import sys

INSTRUCTIONS = (
    (r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32", "emulated_mma(c, a, b0, b1);"),
    (r"ldmatrix\.sync\.aligned\.m8n8\.x4\.shared\.b16", "(void)at; emulated_ldmatrix(r, p, false);"),
    (r"ldmatrix\.sync\.aligned\.m8n8\.x4\.trans\.shared\.b16", "(void)at; emulated_ldmatrix(r, p, true);"),
    (r"cp\.async\.cg\.shared\.global", "(void)at; emulated_copy(to, from, bytes);"),
    (r"cp\.async\.commit_group", "emulated_copies_group();"),
    (r"cp\.async\.wait_group", "emulated_copies_wait(LEFT);"),
)


def read(path):
    with open(path, encoding="utf-8") as file:
        return f'#line 1 "{path}"\n{file.read()}'


path = sys.argv[1]
source = read(path)
for header in ("kernels/cuda/attention_mma.h",):
    here = source.find(f'#include "{header}"\n')
    if here >= 0:
        line = source.count("\n", 0, here) + 1
        source = source.replace(f'#include "{header}"\n', f'{read(header)}#line {line} "{path}"\n')
source = source.replace("extern __shared__ float4 shared[];", "float4 *shared = emulated_shared;")
for instruction, call in INSTRUCTIONS:
    source = re.sub(r"asm volatile\(\"" + instruction + r"[ ;].*?\);\n", call + "\n", source, flags=re.S)
source = re.sub(r"(\w+)<<<([^;]*?)>>>\(([^;]*?)\);", r"emulate_launch(\2, [=] { \1(\3); });", source, flags=re.S)
if "<<<" in source or re.search(r"\basm\b", source):
    sys.exit(f"{path}: something is left that emulate.py does not know")
print(f'#include "tests/emulate/emulate.h"\n{source}')
