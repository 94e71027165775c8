#!/bin/bash
# softhsm.sh start|stop DIR - a token of SoftHSM below DIR, for the tests: an HSM in software behind the same PKCS#11 calls.
#
# `start` writes DIR/env: SOFTHSM2_CONF and SOVRUN_TEST_HSM_MODULE, _TOKEN, _PIN_FILE. There is no process to stop.
# Needs softhsm2.
set -euo pipefail

usage() {
    echo "usage: tests/softhsm.sh start|stop DIR" >&2
    exit 2
}
[ $# = 2 ] || usage
dir=$(realpath -m "$2")

start() {
    local module
    module=$(find /usr/lib /usr/local/lib -name libsofthsm2.so 2>/dev/null | head -1)
    [ -n "$module" ] || { echo "softhsm.sh: no libsofthsm2.so: install softhsm2" >&2; exit 1; }
    rm -rf "$dir"
    mkdir -p "$dir/tokens"
    cat >"$dir/softhsm2.conf" <<END
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
slots.removable = false
END
    (umask 077 && head -c 12 /dev/urandom | base64 | tr -d '+/=\n' >"$dir/pin")
    # The token is thrown away with its folder, and its PIN is made for this run alone: it may stand in arguments here.
    SOFTHSM2_CONF=$dir/softhsm2.conf softhsm2-util --init-token --free --label sovrun-test --pin "$(cat "$dir/pin")" \
        --so-pin "$(cat "$dir/pin")" >/dev/null
    cat >"$dir/env" <<END
SOFTHSM2_CONF=$dir/softhsm2.conf
SOVRUN_TEST_HSM_MODULE=$module
SOVRUN_TEST_HSM_TOKEN=sovrun-test
SOVRUN_TEST_HSM_PIN_FILE=$dir/pin
END
}

case $1 in
start) start ;;
stop) rm -rf "$dir/tokens" ;;
*) usage ;;
esac
