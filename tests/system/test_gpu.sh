#!/bin/bash
# test_gpu.sh - `sovrun gpu ls` over a library that stands in for NVIDIA's, and without one. TAP lines.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build}
PYTHON=${PYTHON:-/usr/bin/python3}
sovrun=$PWD/$B/bin/sovrun
work=$PWD/$B/test/gpu
mkdir -p "$work"
export SOVRUN_HOME=$work/home SOVRUN_TEST_NVML=$work/cards
unset SOVRUN_CONFIG SOVRUN_URL

count=0 failed=0
check() { # name, status
    count=$((count + 1))
    if [ "$2" = 0 ]; then echo "ok $count - $1"; return; fi
    failed=$((failed + 1))
    echo "not ok $count - $1"
    sed 's/^/    /' "$work/out" "$work/err" | head -20
}
ls_cards() { LD_LIBRARY_PATH=$PWD/$B/tests/nvml/now "$sovrun" gpu ls "$@" >"$work/out" 2>"$work/err" </dev/null; }
json() { "$PYTHON" -c 'import json,sys; c=json.load(open(sys.argv[1]))["cards"]; sys.exit(0 if eval(sys.argv[2]) else 1)' "$work/out" "$1"; }
card() { # number, more lines
    printf 'card\nname NVIDIA H100\nuuid GPU-%d\nbus 00000000:%02d:00.0\nmemory 85520809984\necc 1\nuncorrected 0\n%s' "$1" "$1" "${2:-}"
}

{ echo driver 580.95.05; card 1 $'celsius 41\nmilliwatts 121500\n'; card 2; } >"$SOVRUN_TEST_NVML"
ls_cards && grep -qE '^ *0 +NVIDIA H100 +GPU-1 +00000000:01:00.0 +79.6 GiB +on +41 C +\? +121 W +fit$' "$work/out" && [ ! -s "$work/err" ]
check "cards that are fit are listed: exit 0" $?
ls_cards --json && json 'len(c) == 2 and c[0]["fit"] and c[0]["celsius"] == 41 and c[0]["driver"] == "580.95.05" and c[1]["uuid"] == "GPU-2"'
check "as JSON" $?
json 'c[1]["celsius"] is None and c[1]["millijoules"] is None and c[1]["ecc_uncorrected"] == 0'
check "what is not known is null" $?
{ card 1; card 2 $'rows_pending 1\nrows_failed 0\n'; } >"$SOVRUN_TEST_NVML"
ls_cards --json
[ $? = 1 ] && json 'c[0]["fit"] and not c[1]["fit"] and "reset the card" in c[1]["why"]'
check "one that is not fit: exit 1, and what to do" $?
{ card 1; card 2 $'absent 15\n'; } >"$SOVRUN_TEST_NVML"
ls_cards --json
[ $? = 1 ] && json 'c[0]["fit"] and not c[1]["fit"] and "GPU is lost" in c[1]["why"] and c[1]["index"] == 1'
check "one that cannot be looked at hides no other" $?
echo init 9 >"$SOVRUN_TEST_NVML"
ls_cards
[ $? = 6 ] && grep -q '^sovrun: no NVIDIA card can be seen on this host: .*Driver Not Loaded' "$work/err" && [ ! -s "$work/out" ]
check "a driver that is not loaded: exit 6" $?
if ldconfig -p | grep -q libnvidia-ml.so.1; then
    echo "ok $((count += 1)) - without a library: exit 6 # SKIP this host has one"
else
    "$sovrun" gpu ls --json >"$work/out" 2>"$work/err"
    [ $? = 6 ] && grep -q 'libnvidia-ml.so.1' "$work/err" && [ ! -s "$work/out" ]
    check "without a library: exit 6" $?
fi
echo "1..$count"
exit $((failed > 0))
