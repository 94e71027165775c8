#!/bin/bash
# run.sh [BUILD] - the one command for a card: the kernel cases on it, beside the CPU's, and a short table last.
#
# BUILD is a folder with kernel tests that was carried along (BUILD/tests/kernels/test_*); without it they are built
# here, which takes nvcc, gcc and the libraries of README.md. Nothing comes from a registry. cuBLASLt is taken from
# this machine: the loader's path, /usr/local/cuda, or Python's nvidia packages. Results: build/gpu/result.json.
#
# STATUS: never run on a card yet (docs/GPU.md).
set -u
cd "$(dirname "$0")/../.." || exit 2
out=${OUT:-build/gpu}
mkdir -p "$out"
card=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | head -1)
[ -n "$card" ] || { echo "run.sh: no card: nvidia-smi names none. CUDA: compiled, not run"; exit 3; }

B=${1:-build}
if [ $# = 0 ]; then
    make DEPS=0 build/tests/kernels/test_{elements,linear,softmax,gpt,gpt_options,cuda_host} >"$out/make.log" 2>&1 ||
        { tail -20 "$out/make.log"; echo "run.sh: the build failed: $out/make.log"; exit 2; }
fi

# The libraries: where this host keeps them, and those that were carried along.
wheels=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null || echo /nonexistent)
for dir in "$B/lib" /usr/local/cuda/lib64 "$wheels"/*/lib; do
    [ -d "$dir" ] && LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$dir
done
export LD_LIBRARY_PATH CMOCKA_MESSAGE_OUTPUT=TAP

bad=0 rows='' json=''
check() { # name, seconds allowed, command...
    local name=$1 limit=$2 begun=$SECONDS code good failed
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>&1
    code=$?
    good=$(grep -cE '^ok ' "$out/$name.log") failed=$(grep -cE '^not ok ' "$out/$name.log")
    [ "$code" = 0 ] || bad=1
    rows+=$(printf '%-28s %5d passed %4d failed   exit %-3d %4d s' "$name" "$good" "$failed" "$code" $((SECONDS - begun)))$'\n'
    json+="${json:+,}{\"name\":\"$name\",\"passed\":$good,\"failed\":$failed,\"exit\":$code,\"seconds\":$((SECONDS - begun))}"
    [ "$code" = 0 ] || grep -vE '^(ok|TAP|1\.\.)' "$out/$name.log" | tail -12
}
for test in "$B"/tests/kernels/test_*; do
    [ -x "$test" ] || continue
    name=$(basename "$test")
    SOVRUN_TEST_DEVICE=cpu check "cpu-$name" 300 "$test"
    SOVRUN_TEST_DEVICE=cuda check "cuda-$name" 300 "$test"
done
# Out-of-bounds and races, on the cases that are small.
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
for tool in memcheck racecheck; do
    [ -x "$sanitizer" ] || break
    SOVRUN_TEST_DEVICE=cuda check "$tool-test_gpt" 600 "$sanitizer" --tool "$tool" --error-exitcode 9 "$B/tests/kernels/test_gpt"
done

printf '{"card":"%s","date":"%s","failed":%d,"checks":[%s]}\n' "$card" "$(date -u +%FT%TZ)" "$bad" "$json" >"$out/result.json"
echo "card: $card"
printf '%s' "$rows"
echo "written: $out/result.json"
exit $bad
