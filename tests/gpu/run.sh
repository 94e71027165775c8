#!/bin/bash
# run.sh [BUILD] - the one command for a card: the kernel cases on it, beside the CPU's, NCCL, and a short table last.
#
# BUILD is a folder with what was carried along (BUILD/tests/kernels/test_*, BUILD/tests/gpu/gpt_steps, BUILD/bench/bench_gpt, bench_kernels,
# BUILD/tests/mpi/test_nccl, missing libraries in BUILD/lib); without it they are built here, which takes nvcc, gcc and the libraries of README.md. Nothing comes from a registry. cuBLASLt
# and NCCL are taken from this machine: the loader's path, /usr/local/cuda, or Python's nvidia packages. Results:
# build/gpu/result.json.
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
    make DEPS=0 build/tests/kernels/test_{elements,linear,softmax,gpt,gpt_options,gpt_model,resume,cuda_host} \
        build/tests/gpu/gpt_steps build/bench/bench_gpt build/bench/bench_kernels >"$out/make.log" 2>&1 ||
        { tail -20 "$out/make.log"; echo "run.sh: the build failed: $out/make.log"; exit 2; }
    # Without nccl.h there is none, and the check below says so.
    if [ -e "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")/../include/nccl.h" ] || [ -e /usr/include/nccl.h ]; then
        make DEPS=0 build/tests/mpi/test_nccl >>"$out/make.log" 2>&1 ||
            { tail -20 "$out/make.log"; echo "run.sh: the build failed: $out/make.log"; exit 2; }
    fi
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
skip() { # name, why
    rows+=$(printf '%-28s skipped: %s' "$1" "$2")$'\n'
    json+="${json:+,}{\"name\":\"$1\",\"skipped\":\"$2\"}"
}
for test in "$B"/tests/kernels/test_*; do
    [ -x "$test" ] || continue
    name=$(basename "$test")
    SOVRUN_TEST_DEVICE=cpu check "cpu-$name" 300 "$test"
    SOVRUN_TEST_DEVICE=cuda check "cuda-$name" 300 "$test"
done
# Steps by the card beside the CPU's, and killed ones beside ones that nobody killed.
if [ -x "$B/tests/gpu/gpt_steps" ]; then
    export B OUT=$out
    check losses-small-fp32 120 tests/gpu/steps.sh losses 1e-4 cuda fp32 small 20
    check losses-124M-bf16 300 tests/gpu/steps.sh losses 1e-2 cuda bf16 124M 20
    check resume-fp32 120 tests/gpu/steps.sh killed cuda fp32 small 40
    check resume-bf16 120 tests/gpu/steps.sh killed cuda bf16 small 40
else
    skip steps "no tests/gpu/gpt_steps"
fi
# NCCL itself: one rank without MPI, which sends to itself, sums and trains; two where there are two cards.
nccl=$B/tests/mpi/test_nccl
have_nccl() {
    ldconfig -p 2>/dev/null | grep -q 'libnccl\.so\.2' && return 0
    local dir
    for dir in ${LD_LIBRARY_PATH//:/ }; do [ -e "$dir/libnccl.so.2" ] && return 0; done
    return 1
}
if [ ! -x "$nccl" ]; then skip nccl-one-rank "no tests/mpi/test_nccl: built without nccl.h"; elif ! have_nccl; then
    skip nccl-one-rank "no libnccl.so.2 on this machine"
else
    check nccl-one-rank 120 "$nccl" self
    if [ "$(nvidia-smi -L | wc -l)" -lt 2 ]; then skip nccl-two-ranks "one card"; elif ! command -v mpirun >/dev/null; then
        skip nccl-two-ranks "no mpirun"
    else
        check nccl-two-ranks 180 env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
            mpirun -np 2 --oversubscribe --mca pml ob1 --mca btl self,vader "$nccl" all
    fi
fi
if [ -x "$B/bench/bench_gpt" ]; then
    B=$B check speed "${BENCH_LIMIT:-1800}" python3 bench/bench_gpu.py "$out/speed.json"
    rows+=$(grep -E '^( |\{)' "$out/speed.log" | sed 's/^/  /')$'\n'
else
    skip speed "no bench/bench_gpt"
fi

# Out-of-bounds and races, last, as they take long: whoever has a card for minutes may stop here (SANITIZE=0).
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
for tool in memcheck racecheck; do
    if [ ! -x "$sanitizer" ] || [ "${SANITIZE:-1}" = 0 ]; then
        skip "$tool-test_gpt" "no compute-sanitizer, or SANITIZE=0"
        continue
    fi
    SOVRUN_TEST_DEVICE=cuda check "$tool-test_gpt" 600 "$sanitizer" --tool "$tool" --error-exitcode 9 "$B/tests/kernels/test_gpt"
done

printf '{"card":"%s","date":"%s","failed":%d,"checks":[%s]}\n' "$card" "$(date -u +%FT%TZ)" "$bad" "$json" >"$out/result.json"
echo "card: $card"
printf '%s' "$rows"
echo "written: $out/result.json"
exit $bad
