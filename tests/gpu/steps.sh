#!/bin/bash
# steps.sh losses MOST DEVICE PRECISION MODEL STEPS - are a device's losses within the share MOST of the CPU's in fp32?
# steps.sh killed DEVICE PRECISION MODEL STEPS - are the bits of steps that SIGKILL ended, and that went on, those of steps that
# nobody killed?
#
# B: the folder of the build; OUT: where to leave what the steps say. Prints TAP; exit 1 where it is not so.
set -uo pipefail
program=${B:-build}/tests/gpu/gpt_steps
out=$(mktemp -d "${OUT:-${B:-build}}/steps-XXXXXX") || exit 2
trap 'rm -rf "$out"' EXIT

tell() { # what it shows, 0 or 1
    if [ "$2" = 0 ]; then echo "ok - $1"; else
        echo "not ok - $1"
        exit 1
    fi
}
case ${1:-} in
losses)
    most=$2 device=$3 precision=$4 model=$5 steps=$6
    "$program" cpu fp32 "$model" "$steps" >"$out/cpu"
    tell "$model, $steps steps by the CPU" "$?"
    "$program" "$device" "$precision" "$model" "$steps" >"$out/device"
    tell "$model, $steps steps by $device in $precision" "$?"
    worst=$(paste "$out/cpu" "$out/device" | awk '
        /^[0-9]/ { off = ($4 - $2) / $2; if (off < 0) off = -off; if (off > worst) worst = off; n++ }
        END { if (n == '"$steps"') printf "%g\n", worst }')
    [ -n "$worst" ] && awk -v worst="$worst" -v most="$most" 'BEGIN { exit !(worst <= most) }'
    tell "their losses are ${worst:-not known how far} apart at most, as a share; allowed are $most" "$?"
    ;;
killed)
    device=$2 precision=$3 model=$4 steps=$5
    "$program" "$device" "$precision" "$model" "$steps" >"$out/whole"
    tell "$model, $steps steps by $device in $precision" "$?"
    awk -v n="$steps" 'NR == 1 { first = $2 } NR == n { last = $2 } END { exit !(last < first) }' "$out/whole"
    tell "and the loss falls" "$?"
    kills=0
    for round in 1 2 3; do
        "$program" "$device" "$precision" "$model" "$steps" "$out/state" >>"$out/parts" 2>&1 &
        pid=$!
        while [ "$(grep -c '^[0-9]' "$out/parts")" -lt $((3 * round)) ] && kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
        kill -9 "$pid" 2>/dev/null && kills=$((kills + 1))
        wait "$pid" 2>/dev/null
    done
    "$program" "$device" "$precision" "$model" "$steps" "$out/state" >"$out/end"
    tell "killed $kills times and begun again, they come to their end" "$?"
    [ "$kills" -gt 0 ] && [ "$(wc -l <"$out/end")" -le "$steps" ]
    tell "not from the beginning" "$?"
    [ "$(tail -1 "$out/end")" = "$(tail -1 "$out/whole")" ]
    tell "with the same bits: $(tail -1 "$out/end")" "$?"
    ;;
*)
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
    ;;
esac
