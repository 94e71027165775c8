#!/bin/sh
# deps.sh run [test] [bench] [text] - install what is missing from the distribution's packages, and nothing where all is there.
#
# Debian and its kin: apt-get, as root or through sudo after saying what. Elsewhere: names what is missing and stops.
# DEPS=0 skips all of it.
set -eu

RUN="gcc make pkg-config libc6-dev libcurl4-openssl-dev libssl-dev libhiredis-dev libyaml-dev libjansson-dev
libmicrohttpd-dev libexpat1-dev libzstd-dev libp11-kit-dev libopenmpi-dev openmpi-bin redis-server procps python3 python3-numpy python3-cryptography"
TEST="libcmocka-dev zstd softhsm2 opensc python3-venv ceph-mon ceph-osd radosgw awscli nginx-light tcpdump iproute2 util-linux clang libclang-rt-14-dev clang-tidy clang-format cppcheck shellcheck curl git faketime"
BENCH="valgrind rclone nginx-light curl ceph-mon ceph-osd radosgw awscli"
TEXT="bible-kjv bible-kjv-text"

[ "${DEPS:-1}" = 0 ] && exit 0
wanted=
for set in "$@"; do
    case $set in
    run) wanted="$wanted $RUN" ;;
    test) wanted="$wanted $TEST" ;;
    bench) wanted="$wanted $BENCH" ;;
    text) wanted="$wanted $TEXT" ;;
    *) echo "usage: tools/deps.sh run [test] [bench] [text]" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "sovrun: this is not a Debian system. What these Debian packages hold must be there (DEPS=0 skips this check):" >&2
    # shellcheck disable=SC2086 # a list of words
    printf '  %s\n' $wanted >&2
    exit 1
fi

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || :)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "sovrun: as root, install:$missing" >&2
    exit 1
fi
echo "sovrun: installing from the distribution${as_root:+ (through sudo)}:$missing"
# A Redis or Ceph service of the system's own is not wanted: we start private ones.
# shellcheck disable=SC2086 # a list of words, and as_root may be empty
$as_root apt-get update -q >/dev/null
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends $missing >/dev/null
