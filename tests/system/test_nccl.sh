#!/bin/bash
# Sums from card to card, on emulated cards and over a stand-in for NCCL: the same bits as by MPI, and an end with the
# reason where something hangs or breaks. All ranks are on this host and talk by shared memory; nothing listens.
set -uo pipefail

B=${B:-build}
program=$B/tests/emulate/mpi/test_nccl
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
[ -x "$program" ] || { echo "ok - NCCL # SKIP this build found no CUDA or no nccl.h"; exit 0; }
failed=0

ranks() { # number, argument, what the stand-in is told
    EMULATED_NCCL=${3:-} timeout 120 mpirun -np "$1" --oversubscribe --mca pml ob1 --mca btl self,vader "$program" "$2" </dev/null 2>&1
}

for n in 1 2 4; do
    if got=$(ranks "$n" all); then
        echo "ok - $n ranks: sums, spreading and steps as by MPI"
    else
        printf 'not ok - %s ranks:\n%s\n' "$n" "$got"
        failed=1
    fi
done
if got=$("$program" self 2>&1); then echo "ok - one rank without MPI"; else
    printf 'not ok - one rank without MPI:\n%s\n' "$got"
    failed=1
fi

expect() { # name, text that is said, number, argument, what the stand-in is told
    local got
    got=$(ranks "$3" "$4" "${5:-}")
    case $got in
    *"$2"*) echo "ok - $1" ;;
    *) printf 'not ok - %s: it says\n%s\n' "$1" "$got"; failed=1 ;;
    esac
}
expect "a rank that hangs is named in time" ": rank 3 missed the deadline" 4 late
expect "messages that do not come through are no rank's fault" "all ranks are here, but NCCL's messages do not come through" 2 broken "stuck 4"
expect "a lost peer ends the exchange with NCCL's own words" \
    "NCCL on rank 0 of 2: remote process exited: the peer closed its connection" 2 broken "error 4"
expect "ranks that never connect give up" "open NCCL: rank 0: NCCL's ranks are not connected in time" 2 lonely lonely
expect "connections that carry nothing are noticed at once" "open NCCL: exchange with all ranks: all ranks are here" 2 lonely "stuck 1"
expect "NCCL is taken where each rank has a card" "nccl: 2 ranks, from card to card" 2 taken
expect "one rank has nothing to exchange" "mpi: one rank" 1 taken
if [ "$(id -u)" = 0 ] && unshare -u true 2>/dev/null; then
    hosts() { # number, argument: each rank on a host of its own, by name
        # shellcheck disable=SC2016 # for the shell on the host
        timeout 120 mpirun -np "$1" --oversubscribe --mca pml ob1 --mca btl self,vader unshare -u \
            sh -c 'hostname "host$OMPI_COMM_WORLD_RANK" && exec "$0" "$1"' "$program" "$2" </dev/null 2>&1
    }
    says() { # name, text, what was said
        case $3 in
        *"$2"*) echo "ok - $1" ;;
        *) printf 'not ok - %s: it says\n%s\n' "$1" "$3"; failed=1 ;;
        esac
    }
    says "over hosts NCCL is not taken where nobody names a network" "neither the policy (\`networks\`) nor NCCL_SOCKET_IFNAME" "$(hosts 2 taken)"
    got=$(NCCL_SOCKET_IFNAME=ib0 NCCL_NET_PLUGIN=foreign hosts 2 pinned)
    says "over hosts it is pinned to the policy's interfaces" "nccl: 2 ranks, from card to card, over eth1 and eth2" "$got"
    says "and to nothing else, whatever was set" \
        "NCCL_SOCKET_IFNAME==eth1,eth2 NCCL_SOCKET_FAMILY=AF_INET NCCL_IB_HCA= NCCL_IB_DISABLE=1 NCCL_NET_PLUGIN=none" "$got"
    says "RDMA goes by these interfaces' adapters" "NCCL_IB_HCA==mlx5_0:1 NCCL_IB_DISABLE= " "$(hosts 4 pinned)"
else
    echo "ok - NCCL over hosts # SKIP needs root, to name hosts"
fi
expect "on one host it stays on loopback, with interfaces or without" "NCCL_SOCKET_IFNAME==lo NCCL_SOCKET_FAMILY= " 2 pinned
expect "an older library is passed over" "mpi: through the host, no NCCL: rank 0: libnccl is 2.10.3" 2 taken old
export EMULATED_CARD=0
expect "two ranks on one card exchange through the host" "ranks 0 and 1 are both on card emulated:0" 2 taken
exit "$failed"
