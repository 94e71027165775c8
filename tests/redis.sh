#!/bin/bash
# redis.sh start|stop DIR - a private Redis on a unix socket in DIR, as durable as the product wants it, for tests.
#
# start: writes DIR/env with SOVRUN_TEST_REDIS=unix:DIR/redis.sock and returns when it answers. A DIR that has been used
# before keeps its data. stop: ends it and returns when it is gone. REDIS_EXTRA: more lines for redis.conf.
set -u
usage() { echo "usage: tests/redis.sh start|stop DIR" >&2; exit 2; }
[ $# = 2 ] || usage
dir=$2

alive() { kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
running() { [ -s "$dir/redis.pid" ] && alive "$(cat "$dir/redis.pid")"; }

start() {
    mkdir -p "$dir" || exit 1
    if running; then echo "redis.sh: $dir is in use already" >&2; exit 1; fi
    local here
    here=$(cd "$dir" && pwd) || exit 1
    # Relative to `dir`: a socket's path may have no more than 107 bytes.
    cat >"$dir/redis.conf" <<CONF
port 0
unixsocket redis.sock
unixsocketperm 700
dir "$here"
pidfile "$here/redis.pid"
logfile "$here/redis.log"
daemonize yes
save ""
appendonly yes
appendfsync always
maxmemory-policy noeviction
${REDIS_EXTRA:-}
CONF
    rm -f "$dir/redis.pid"
    redis-server "$dir/redis.conf" || exit 1
    for _ in $(seq 200); do # 10 s
        # An answer of any kind will do: it may ask for a password.
        if [ -s "$dir/redis.pid" ] && (cd "$dir" && redis-cli -s redis.sock ping 2>&1) | grep -qE 'PONG|NOAUTH'; then
            printf 'SOVRUN_TEST_REDIS=unix:%s/redis.sock\n' "$dir" >"$dir/env"
            return 0
        fi
        sleep 0.05
    done
    echo "redis.sh: no answer; see $dir/redis.log" >&2
    stop
    exit 1
}

stop() {
    running || return 0
    local pid
    pid=$(cat "$dir/redis.pid")
    kill "$pid" 2>/dev/null
    for _ in $(seq 100); do # 5 s, then by force
        alive "$pid" || { rm -f "$dir/redis.pid"; return 0; }
        sleep 0.05
    done
    kill -9 "$pid" 2>/dev/null
    rm -f "$dir/redis.pid"
}

case $1 in
start) start ;;
stop) stop ;;
*) usage ;;
esac
