#!/bin/bash
# Several ranks and their cards, made up: each is told of, one that is not fit or fails is everybody's failure and is named.
set -uo pipefail

B=${B:-build}
program=$B/tests/mpi/test_cards
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
failed=0

run() { timeout 120 mpirun -np "$1" --oversubscribe --mca pml ob1 --mca btl self,vader "$program" "$2" </dev/null 2>/dev/null; }
expect() { # what it shows, ranks, what happens, lines
    local got
    got=$(run "$2" "$3")
    if [ "$got" = "$4" ]; then
        echo "ok - $1"
    else
        printf 'not ok - %s: %s ranks say:\n%s\n' "$1" "$2" "$got"
        failed=1
    fi
}
rank() { # rank, card, failed, joules, xids
    printf '{"card":"%s","ecc_corrected":null,"ecc_uncorrected":0,"failed":"%s","held_back":null,"host":"HOST","joules":%s,"rank":%s,"xids":%s}' \
        "$2" "$3" "$4" "$1" "$5"
}
bus='Xid 79: the card has fallen off the bus: restart the host'

if run 4 cpu; then echo "ok - ranks on the CPU have no cards"; else
    echo "not ok - ranks on the CPU have no cards"
    failed=1
fi
expect "what all cards used is summed up" 4 well \
    $'ok: \n'"{\"joules\":20,\"of_ranks\":4,\"ranks\":[$(rank 0 GPU-0 '' 5 '[]'),$(rank 1 GPU-1 '' 5 '[]'),$(rank 2 GPU-2 '' 5 '[]'),$(rank 3 GPU-3 '' 5 '[]')]}"
expect "a card that two ranks share counts once" 4 shared \
    $'ok: \n'"{\"joules\":10,\"of_ranks\":4,\"ranks\":[$(rank 0 GPU-0 '' 5 '[]'),$(rank 1 GPU-0 '' 5 '[]'),$(rank 2 GPU-1 '' 5 '[]'),$(rank 3 GPU-1 '' 5 '[]')]}"
expect "a rank on the CPU used no card" 2 mixed \
    $'ok: \n'"{\"joules\":5,\"of_ranks\":2,\"ranks\":[$(rank 0 GPU-0 '' 5 '[]'),{\"card\":\"\",\"ecc_corrected\":null,\"ecc_uncorrected\":null,\"failed\":\"\",\"held_back\":null,\"host\":\"HOST\",\"joules\":null,\"rank\":1,\"xids\":null}]}"
expect "one that is not fit refuses the start on all ranks" 4 unfit \
    "device: rank 3: card GPU-3 on host HOST is not fit to train: a bad row of its memory could not be replaced: have the card replaced
{\"joules\":null,\"of_ranks\":4,\"ranks\":[$(rank 0 GPU-0 '' 0 '[]'),$(rank 1 GPU-1 '' 0 '[]'),$(rank 2 GPU-2 '' 0 '[]'),$(rank 3 GPU-3 '' null '[]')]}"
expect "one that fails ends training on all ranks, and is named once" 4 xid \
    "device: rank 3: card GPU-3 on host HOST: $bus
{\"joules\":23,\"of_ranks\":4,\"ranks\":[$(rank 0 GPU-0 '' 5 '[]'),$(rank 1 GPU-1 '' 5 '[]'),$(rank 2 GPU-2 '' 5 '[]'),$(rank 3 GPU-3 "$bus" 8 '[79]')]}"
expect "a rank that fails alone does not wait for ever for the others" 2 alone \
    "apart, wait for the card: unspecified launch failure"
exit "$failed"
