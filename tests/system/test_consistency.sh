#!/bin/bash
# A rank whose parameters are not those of the others is found, and named where the others outvote it.
set -uo pipefail

B=${B:-build}
program=$B/tests/mpi/test_consistency
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
advice="memory or a processor may be faulty there: look at that machine before it is used again"
failed=0

expect() { # ranks, second line
    local want got
    want=$'equal\n'"$2"
    got=$(timeout 120 mpirun -np "$1" --oversubscribe --mca pml ob1 --mca btl self,vader "$program" </dev/null)
    if [ "$got" = "$want" ]; then
        echo "ok - $1 ranks: $2"
    else
        printf 'not ok - %s ranks say:\n%s\n' "$1" "$got"
        failed=1
    fi
}

expect 1 equal
expect 2 "corrupt: ranks 0 to 1 disagree about the parameters, from slice 3 on ('layer.2'); $advice"
expect 4 "corrupt: rank 3 has other parameters than the rest, from slice 3 on ('layer.2'); $advice"
exit "$failed"
