#!/bin/bash
# moto.sh start|stop DIR - an AWS-compatible key service (moto) on a free loopback port, for the tests.
#
# `start` returns when it answers and writes DIR/env: SOVRUN_TEST_KMS_ENDPOINT, _REGION, _ACCOUNT. Its keys are in memory
# and go with it. Needs build/venv (tools/venv.sh).
set -euo pipefail

usage() {
    echo "usage: tests/moto.sh start|stop DIR" >&2
    exit 2
}
[ $# = 2 ] || usage
dir=$(realpath -m "$2")
server=build/venv/bin/moto_server
cd "$(dirname "$0")/.."

ours() { # pid
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null | grep -qF -- "moto_server"
}

stop() {
    local pid
    pid=$(cat "$dir/pid" 2>/dev/null) || return 0
    if ours "$pid"; then kill -9 "$pid" 2>/dev/null || true; fi
    rm -f "$dir/pid"
}

free_port() { # first port to look at
    local port
    for ((port = $1; port < $1 + 1000; port++)); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    return 1
}

start() {
    local port tries
    stop
    [ -x $server ] || { echo "moto.sh: no $server: make deps-test" >&2; exit 1; }
    rm -rf "$dir"
    mkdir -p "$dir"
    port=$(free_port $((25000 + RANDOM % 900)))
    $server -H 127.0.0.1 -p "$port" >"$dir/log" 2>&1 &
    echo $! >"$dir/pid"
    for ((tries = 0; tries < 300; tries++)); do
        curl -sf -o /dev/null "http://127.0.0.1:$port/moto-api/" && break
        ours "$(cat "$dir/pid")" || break
        sleep 0.1
    done
    curl -sf -o /dev/null "http://127.0.0.1:$port/moto-api/" || { stop; tail -3 "$dir/log" >&2; exit 1; }
    cat >"$dir/env" <<END
SOVRUN_TEST_KMS_ENDPOINT=http://127.0.0.1:$port
SOVRUN_TEST_KMS_REGION=eu-central-1
SOVRUN_TEST_KMS_ACCOUNT=123456789012
END
}

case $1 in
start) start ;;
stop) stop ;;
*) usage ;;
esac
