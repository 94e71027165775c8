#!/bin/bash
# The promise of exact reduction: the same bits on 1, 2, 4 and 8 ranks, and without MPI at all.
set -euo pipefail

B=${B:-build}
program=$B/tests/mpi/test_exact
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1

want=$("$program" self)
echo "$want"
failed=0
for ranks in 1 2 4 8; do
    got=$(timeout 120 mpirun -np "$ranks" --oversubscribe --mca pml ob1 --mca btl self,vader "$program" </dev/null) ||
        { echo "not ok - $ranks ranks: exit status $?"; failed=1; continue; }
    if [ "$got" = "$want" ]; then
        echo "ok - $ranks ranks compute the same bits as one process"
    else
        printf 'not ok - %s ranks differ:\n%s\n' "$ranks" "$got"
        failed=1
    fi
done

late=$(timeout 60 mpirun -np 4 --oversubscribe --mca pml ob1 --mca btl self,vader "$program" late 2>/dev/null </dev/null) || true
case $late in
*"rank 0: sum with rank "*": rank 3 missed the deadline"*) echo "ok - of 4 ranks, the one that hangs is named by rank 0" ;;
*) printf 'not ok - a rank that hangs is not named:\n%s\n' "$late"; failed=1 ;;
esac
exit "$failed"
