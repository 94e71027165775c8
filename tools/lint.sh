#!/bin/bash
# lint.sh - everything a machine can say about the source: tidy, clang's warnings, cppcheck, clang-tidy, shellcheck.
# Called by `make lint`, which gives PKG_CFLAGS. Prints what is wrong; exits 1 if anything is.
# shellcheck disable=SC2317 # functions are called through step()
set -u
cd "$(dirname "$0")/.." || exit 2
bad=0
step() { # name, command...
    local name=$1
    shift
    if out=$("$@" 2>&1); then echo "lint: $name ok"; else
        printf '%s\n' "$out" | head -80
        echo "lint: $name: see above"
        bad=1
    fi
}
mapfile -t sources < <(git ls-files '*.c')
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
# Some of it needs CUDA's headers: where they are not, it is left out.
case ${CUDA_CFLAGS:-} in
*SOVRUN_NCCL*) ;;
?*) mapfile -t sources < <(git ls-files '*.c' | grep -vE '^(trainer/comm_nccl|tests/emulate/nccl)') ;;
*) mapfile -t sources < <(git ls-files '*.c' | grep -vE '^(kernels/cuda/|tests/emulate/|trainer/comm_nccl)') ;;
esac
read -ra flags <<<"-std=gnu11 -D_GNU_SOURCE -I. ${PKG_CFLAGS:-} ${CUDA_CFLAGS:-}"

# clang sees what gcc does not: an err_code that nobody looks at.
clang_warnings() {
    printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 8 clang "${flags[@]}" -fsyntax-only -Wall -Wextra -Wshadow \
        -Wunused-result -Wstrict-prototypes -Wmissing-prototypes -Wimplicit-fallthrough -Werror
}
cppcheck_all() {
    cppcheck -q -j "$(nproc)" --std=c11 -U__clang__ -D__GNUC__ -I. --enable=warning,performance,portability --inline-suppr \
        --suppressions-list=tests/tidy/cppcheck.txt --error-exitcode=1 "${sources[@]}"
}
clang_tidy() {
    local out
    # A fixed list of checks that find bugs (.clang-tidy); matters of taste are left to review.
    out=$(printf '%s\n' "${sources[@]}" | grep -v '^tests/' | xargs -P "$(nproc)" -I{} clang-tidy --quiet {} -- "${flags[@]}" 2>/dev/null |
        grep -E 'warning:|error:')
    [ -z "$out" ] || { printf '%s\n' "$out" | sort -u; return 1; }
}
step tidy tests/tidy/tidy.sh
step clang clang_warnings
step cppcheck cppcheck_all
step clang-tidy clang_tidy
step shellcheck shellcheck "${scripts[@]}"
exit $bad
