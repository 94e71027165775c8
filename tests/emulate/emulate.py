#!/usr/bin/env python3
"""emulate.py FILE.cu - the same source for emulate.h, as C++ on standard output: launches, shared memory that a
launch asks for, and the tensor cores' instruction are put in its words. Nothing else is changed."""
import re
import sys

path = sys.argv[1]
source = open(path, encoding="utf-8").read()
source = source.replace("extern __shared__ float4 shared[];", "float4 *shared = emulated_shared;")
source, mma = re.subn(r"asm volatile\(\"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32.*?\);\n",
                      "emulated_mma(c, a, b0, b1);\n", source, flags=re.S)
source, loads = re.subn(r"asm volatile\(\"ldmatrix\.sync\.aligned\.m8n8\.x4(\.trans)?\.shared\.b16.*?\);\n",
                        lambda m: f"(void)at; emulated_ldmatrix(r, p, {'true' if m[1] else 'false'});\n", source, flags=re.S)
source, launches = re.subn(r"(\w+)<<<([^;]*?)>>>\(([^;]*?)\);", r"emulate_launch(\2, [=] { \1(\3); });", source, flags=re.S)
if "<<<" in source or re.search(r"\basm\b", source):
    sys.exit(f"{path}: something is left that emulate.py does not know")
print(f'#include "tests/emulate/emulate.h"\n#line 1 "{path}"\n{source}')
