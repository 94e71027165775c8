#!/bin/bash
# What tests/gpu/run.sh does with steps of a GPT on a card, on the CPU: killed ones beside ones that nobody killed, and losses.
set -uo pipefail

export B=${B:-build}
mkdir -p "$B/test"
export OUT=$B/test
dir=$(mktemp -d "$B/test/gpt-steps-XXXXXX")
trap 'rm -rf "$dir"' EXIT
failed=0

tests/gpu/steps.sh killed cpu fp32 small 40 || failed=1
tests/gpu/steps.sh losses 0 cpu fp32 small 5 || failed=1
if tests/gpu/steps.sh losses 1 cpu bf16 small 5 >"$dir/refused" 2>&1; then
    echo "not ok - steps that a device cannot do are no success"
    failed=1
else
    echo "ok - steps that a device cannot do are no success"
fi
echo garbage >"$dir/state"
"$B/tests/gpu/gpt_steps" cpu fp32 small 2 "$dir/state" >/dev/null 2>"$dir/why"
if [ "$?" = 1 ] && grep -q 'is of another model' "$dir/why"; then
    echo "ok - a state that is none is refused"
else
    echo "not ok - a state that is none is refused"
    failed=1
fi
exit "$failed"
