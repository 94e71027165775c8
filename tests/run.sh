#!/bin/bash
# run.sh all|fast|threads [NAME...] - run the tests that are built in $B, count them, and leave nothing behind.
#
# all: everything, with a private Redis, Ceph RGW, SoftHSM token and key service (moto). fast: the same without the system tests (sanitizers).
# threads: what uses threads. NAMEs keep only the tests whose path holds one of them.
# CUDA=compiled|none, from make: what is said of it at the end.
# Every test prints TAP lines ("ok ...", "not ok ...", "ok ... # SKIP"); the last line here is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 2
B=${B:-build}
export B PYTHON=${PYTHON:-/usr/bin/python3} CMOCKA_MESSAGE_OUTPUT=TAP
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
[ -n "${VECTORS:-}" ] && export VECTORS
mode=${1:-all}
shift
out=$B/test
mkdir -p "$out"

started=()
stop_services() { for service in "${started[@]}"; do "tests/$service.sh" stop "$out/$service" >/dev/null 2>&1; done; }
trap stop_services EXIT
trap 'exit 130' INT TERM
start_service() { # redis | rgw | softhsm | moto
    if ! "tests/$1.sh" start "$out/$1" >"$out/$1.log" 2>&1; then
        echo "not ok - tests/$1.sh start: see $out/$1.log"
        tail -5 "$out/$1.log"
        exit 1
    fi
    started+=("$1")
    set -a
    # shellcheck disable=SC1090 # written by the service's own script
    . "$out/$1/env"
    set +a
}

case $mode in
all) dirs="unit fuzz kernels contract" scripts=$(ls tests/tidy/tidy.sh tests/system/test_*.sh tests/system/test_*.py) ;;
fast) dirs="unit fuzz kernels contract" scripts='' ;;
threads) dirs='' scripts='' ;;
*) echo "usage: tests/run.sh all|fast|threads [NAME...]" >&2; exit 2 ;;
esac
list=()
for dir in $dirs; do
    for source in tests/"$dir"/*.c; do list+=("$B/${source%.c}"); done
done
if [ "$mode" = threads ]; then
    while read -r name; do list+=("$B/tests/$name"); done < <(grep -v '^#' tests/threads.txt)
fi
[ "$mode" = all ] && for test in "$B"/tests/emulate/test_*; do [ -x "$test" ] && list+=("$test"); done
for script in $scripts; do list+=("$script"); done

wanted() { # a test's path against the NAMEs
    [ $# = 1 ] && return 0
    local path=$1 name
    shift
    for name; do case $path in *"$name"*) return 0 ;; esac; done
    return 1
}

# Some need a second region beside the first, to be kept out of.
for test in "${list[@]}"; do
    case $test in *test_sovereign* | *test_selftest*) wanted "$test" "$@" && export SOVRUN_TEST_S3_OTHER_REGION=us-test-1 ;; esac
done
for service in redis rgw softhsm moto; do start_service $service; done

passed=0 failed=0 skipped=0
for test in "${list[@]}"; do
    wanted "$test" "$@" || continue
    # The CUDA kernels' cases on the host's emulation of a card's threads.
    case $test in */emulate/*) export SOVRUN_TEST_DEVICE=cuda ;; *) unset SOVRUN_TEST_DEVICE ;; esac
    log=$out/$(echo "${test#"$B"/}" | tr / -).log
    begun=$SECONDS
    timeout --kill-after=10 "${TEST_TIMEOUT:-900}" "$test" >"$log" 2>&1
    code=$?
    # cmocka says "not ok N # SKIP", others "ok N # SKIP": both are skipped, neither passed nor failed.
    skip=$(grep -cE '^(not )?ok .*# SKIP' "$log")
    good=$(grep -E '^ok ' "$log" | grep -cvE '# SKIP')
    bad=$(grep -E '^not ok ' "$log" | grep -cvE '# SKIP')
    # A test that ended badly without saying so, or said nothing at all, has failed.
    if [ "$code" != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
    if [ "$code" = 0 ] && [ $((good + bad + skip)) = 0 ]; then good=1; fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
    printf '%-44s %4d passed %3d failed %3d skipped  %3d s\n' "${test#"$B"/}" "$good" "$bad" "$skip" $((SECONDS - begun))
    [ "$bad" != 0 ] && { grep -vE '^(ok|TAP|1\.\.)' "$log" | tail -40; echo "    (exit $code; all of it: $log)"; }
done
case ${CUDA:-} in # nothing here claims more of a card's kernels than that they compile
compiled) echo "CUDA: compiled, not run$(nvidia-smi -L >/dev/null 2>&1 && echo ' here: there is a card, tests/gpu/run.sh runs them')" ;;
none) echo "CUDA: not compiled (no nvcc)" ;;
esac
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
