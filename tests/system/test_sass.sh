#!/bin/bash
# tools/sass.py over listings as nvdisasm writes them, good and bad ones. `make gpu-report` has it read our own kernels.
set -uo pipefail

export B=${B:-build}
mkdir -p "$B/test"
dir=$(mktemp -d "$B/test/sass-XXXXXX")
trap 'rm -rf "$dir"' EXIT
failed=0
check() { # name, exit wanted, text wanted, command...
    local name=$1 wanted=$2 text=$3 code
    shift 3
    "$@" >"$dir/out" 2>&1
    code=$?
    if [ "$code" = "$wanted" ] && grep -qF -- "$text" "$dir/out"; then echo "ok - $name"; else
        echo "not ok - $name: exit $code"
        cat "$dir/out"
        failed=1
    fi
}
# A listing stands for the cubin: the disassembler prints it.
cat >"$dir/nvdisasm" <<'END'
#!/bin/sh
cat "$2"
END
chmod +x "$dir/nvdisasm"
listing() { # file, instructions in front of the loop, in it before its product, behind its product, behind its wait
    {
        echo ".text.kernel:"
        echo "        /*0010*/                   $2 ;"
        echo ".L_x_1:"
        echo "        /*0020*/                   $3 ;"
        echo "        /*0030*/                   HGMMA.64x64x16.F32.BF16 R24, R88, gdesc[UR8], R24, gsb0 ;"
        echo "        /*0040*/                   $4 ;"
        echo "        /*0050*/                   WARPGROUP.DEPBAR.LE gsb0, 0x0 ;"
        echo "        /*0060*/                   $5 ;"
        echo "        /*0070*/              @!P0 BRA \`(.L_x_1) ;"
        echo "        /*0080*/                   EXIT ;"
    } >"$1"
}
python=${PYTHON:-python3}

listing "$dir/fresh" "MOV R1, R2" "LDSM.16.M88.4 R88, [R4]" "IADD3 R5, R5, 0x1, RZ" "F2FP.BF16.F32.PACK_AB R88, R24, R25"
check "an operand that each turn loads anew may be written" 0 "1 products of warpgroups in loops: their registers are kept apart" "$python" tools/sass.py "$dir/nvdisasm" "$dir/fresh"
listing "$dir/kept" "LDSM.16.M88.4 R88, [R4]" "NOP" "IADD3 R5, R5, 0x1, RZ" "FADD R6, R24, R25"
check "an operand from before the loop may stay" 0 "kept apart" "$python" tools/sass.py "$dir/nvdisasm" "$dir/kept"
listing "$dir/lost" "LDSM.16.M88.4 R88, [R4]" "NOP" "NOP" "F2FP.BF16.F32.PACK_AB R89, R24, R25"
check "an operand from before the loop may not be written there" 1 "R89 of the product at 0030 is written at 0060" "$python" tools/sass.py "$dir/nvdisasm" "$dir/lost"
listing "$dir/early" "MOV R1, R2" "LDSM.16.M88.4 R88, [R4]" "FADD R6, R24, R25" "NOP"
check "a sum may not be read before the wait" 1 "0040: FADD R6, R24, R25 touches a product that is not done" "$python" tools/sass.py "$dir/nvdisasm" "$dir/early"
listing "$dir/used" "MOV R1, R2" "LDSM.16.M88.4 R88, [R4]" "MOV R90, R7" "NOP"
check "an operand may not be written before the wait" 1 "0040: MOV R90, R7 touches a product that is not done" "$python" tools/sass.py "$dir/nvdisasm" "$dir/used"
check "one bad listing of several is enough" 1 "R89" "$python" tools/sass.py "$dir/nvdisasm" "$dir/fresh" "$dir/lost"
sed '/BRA/d' "$dir/kept" >"$dir/loopless"
check "what cannot be read is not called good" 2 "no loop around its products" "$python" tools/sass.py "$dir/nvdisasm" "$dir/loopless"
exit "$failed"
