#!/bin/bash
# Steps of a GPT killed by SIGKILL, at whatever moment, and gone on with: the bits are those of steps that nobody killed. On the
# CPU here; tests/gpu/run.sh does so on a card.
set -uo pipefail

B=${B:-build}
program=$B/tests/gpu/gpt_steps
mkdir -p "$B/test"
dir=$(mktemp -d "$B/test/gpt-steps-XXXXXX")
trap 'rm -rf "$dir"' EXIT
failed=0
tell() { # what it shows, 0 or 1
    if [ "$2" = 0 ]; then echo "ok - $1"; else echo "not ok - $1"; failed=1; fi
}

"$program" cpu fp32 small 40 >"$dir/whole"
tell "forty steps are trained" "$?"
awk 'NR == 1 { first = $2 } NR == 40 { last = $2 } END { exit !(last < first) }' "$dir/whole"
tell "and the loss falls" "$?"

kills=0
for _ in 1 2 3; do
    "$program" cpu fp32 small 40 "$dir/state" >>"$dir/parts" 2>&1 &
    pid=$!
    for _ in $(seq 200); do
        [ "$(grep -c '^[0-9]' "$dir/parts" 2>/dev/null)" -ge $((3 * (kills + 1))) ] && break
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.01
    done
    kill -9 "$pid" 2>/dev/null && kills=$((kills + 1))
    wait "$pid" 2>/dev/null
done
"$program" cpu fp32 small 40 "$dir/state" >"$dir/end"
tell "killed and begun again, they come to their end" "$?"
[ "$(tail -1 "$dir/end")" = "$(tail -1 "$dir/whole")" ]
tell "with the same bits" "$?"
[ "$kills" -gt 0 ] && [ "$(wc -l <"$dir/end")" -le 40 ]
tell "and not from the beginning" "$?"

echo garbage >"$dir/state"
"$program" cpu fp32 small 40 "$dir/state" >/dev/null 2>"$dir/why"
[ "$?" = 1 ] && grep -q 'is of another model' "$dir/why"
tell "a state that is none is refused" "$?"
exit "$failed"
