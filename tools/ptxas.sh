#!/bin/bash
# ptxas.sh FILE... - registers, shared memory and spills of each CUDA kernel, from what `ptxas -v` said when it was compiled.
# Prints a table for docs/GPU.md; exits 1 where a kernel spills. It reads the compiler, not a card: nothing here has run.
set -u
table=$(for file; do
    awk -v file="$(basename "$file" .cu.ptxas)" '
        /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4]; stack = stores = loads = 0 }
        /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
        /Used [0-9]+ registers/ {
            registers = shared = 0
            for (i = 1; i < NF; i++) {
                if ($i == "Used") registers = $(i + 1)
                if ($(i + 1) == "bytes" && $(i + 2) ~ /^smem/) shared = $i
            }
            print name, arch, file, registers, shared, stack, stores + loads
        }' "$file"
done)
[ -n "$table" ] || { echo "ptxas.sh: no kernels in: $*" >&2; exit 2; }
# Names as they are written: attention_kernel<64>.
printf '%s\n' "$table" | c++filt | sed -E 's/__nv_bfloat16/bf16/g; s/, /,/g; s/^(void )?([^ (]*::)?([A-Za-z_0-9]+(<[^>]*>)?)\([^)]*\)( \[[^]]*\])?/\3/; s/\(int\)//; s/<([0-9]+)>/<\1>/' |
    sort -k3,3 -k1,1 -k2,2 | awk '
        BEGIN { printf "| %-32s | %-27s | %-7s | %9s | %13s | %5s | %6s |\n", "kernel", "file", "code", "registers", "static shared", "stack", "spills"
                print "|---|---|---|---|---|---|---|" }
        { printf "| %-32s | %-27s | %-7s | %9d | %13d | %5d | %6d |\n", $1, $3 ".cu", $2, $4, $5, $6, $7
          kernels++; if ($7 > 0) { spilling++ } }
        END { printf "%d kernels compiled, %d spill; none has run\n", kernels, spilling; exit spilling > 0 }'
