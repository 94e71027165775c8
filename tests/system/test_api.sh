#!/bin/bash
# The real daemon with a private Redis, over its Unix socket and over TCP, with curl: who is let in, what is refused, what a job
# looks like from outside; and what is left when it is killed, and when it is asked to end.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build}
PYTHON=${PYTHON:-/usr/bin/python3}
mkdir -p "$B/test"
dir=$(mktemp -d "$PWD/$B/test/api-XXXXXX") || exit 1
home=$dir/h
scheduler=
count=0 failed=0
# shellcheck disable=SC2317 # the trap calls it
clean() {
    [ -n "$scheduler" ] && kill -9 "$scheduler" 2>/dev/null
    for pid in $(pgrep -f "attempt --home $home "); do kill -9 "$pid"; done
    tests/redis.sh stop "$dir/redis" >/dev/null 2>&1
    rm -rf "$dir"
}
trap clean EXIT

check() { # name, wanted, got
    count=$((count + 1))
    if [ "$2" = "$3" ]; then echo "ok $count - $1"; else
        failed=$((failed + 1))
        echo "not ok $count - $1"
        echo "    wanted '$2', got '$3'"
    fi
}
bail() {
    echo "not ok $((count + 1)) - $*"
    tail -5 "$dir/log"
    exit 1
}
start_scheduler() {
    "$B/bin/sovrun-scheduler" --home "$home" 2>>"$dir/log" &
    scheduler=$!
    for _ in $(seq 200); do # 10 s
        case $(ask GET /v1/health) in *'"leader":true'*) return ;; esac
        sleep 0.05
    done
    bail "the scheduler does not lead"
}
ask() { # method, target, curl options...: the answer's body
    local method=$1 target=$2
    shift 2
    curl -s --max-time 40 --unix-socket "$home/run/api.sock" -X "$method" "$@" "http://scheduler$target"
}
status() { # the same: the status
    ask "$@" -o /dev/null -w '%{http_code}'
}
tcp() { # target, curl options...: the status
    local target=$1
    shift
    curl -s --max-time 40 -o /dev/null -w '%{http_code}' "$@" "http://127.0.0.1:$(cat "$home/run/api.port")$target"
}
pick() { # a Python expression over `d`, from JSON on standard input
    "$PYTHON" -c "import json, sys; d = json.load(sys.stdin); print($1)" 2>/dev/null
}
body() { # --set assignments...: what is sent to submit
    "$PYTHON" -c 'import json, sys; print(json.dumps({"file": "job.yaml", "spec": open(sys.argv[1]).read(), "set": sys.argv[2:]}))' \
        "$dir/job.yaml" "$@"
}
wait_for_state() { # id, states...: the state that came
    local id=$1 state
    shift
    for _ in $(seq 300); do # 30 s
        state=$(ask GET "/v1/jobs/$id" | pick "d['job']['state']")
        for want; do [ "$state" = "$want" ] && echo "$state" && return; done
        sleep 0.1
    done
    echo "$state"
}
cat >"$dir/job.yaml" <<'YAML'
name: nightly
queue: default
model: { kind: mlp, hidden: [8] }
data: { train: s3://data/set, holdout: 0.2, target: class, positive: bad }
resources: { ranks: 1 }
train: { epochs: 2, batch: 16, leaves: 8 }
checkpoint: { to: s3://models/m, key: demo }
retry: { max: 1, backoff: 100ms }
YAML

tests/redis.sh start "$dir/redis" >/dev/null || bail "Redis does not start"
"$B/tests/system/sched_home" "$home" || bail "no home"
sed -i "s|unix:run/redis.sock|unix:$dir/redis/redis.sock|" "$home/sovrun.yaml"

# ---- before and around it ----
"$B/bin/sovrun-scheduler" --help >"$dir/help" 2>&1
check "--help succeeds" 0 $?
"$B/bin/sovrun-scheduler" --home "$home" --no-such-option 2>/dev/null
check "an unknown option is bad usage" 2 $?
"$B/bin/sovrun-scheduler" --home "$dir/none" 2>/dev/null
check "a home that is not there is not found" 6 $?
start_scheduler
"$B/bin/sovrun-scheduler" --home "$home" 2>"$dir/second"
check "a second scheduler of the home gives up" 4 $?
check "and says why" 1 "$(grep -c 'runs already' "$dir/second")"
check "the first goes on" true "$(ask GET /v1/health | pick "str(d['leader']).lower()")"
check "its pid file names it" "$scheduler" "$(cut -d' ' -f1 "$home/run/scheduler.pid")"

# ---- who is let in ----
token=$(cat "$home/run/token")
check "the socket is its owner's alone" 600 "$(stat -c %a "$home/run/api.sock")"
check "over TCP without a token: 401" 401 "$(tcp /v1/health)"
check "with a wrong token: 401" 401 "$(tcp /v1/health -H "authorization: Bearer ${token%?}x")"
check "with a part of the token: 401" 401 "$(tcp /v1/health -H "authorization: Bearer ${token%?}")"
check "with the token by another scheme: 401" 401 "$(tcp /v1/health -u "token:$token")"
check "with the token: 200" 200 "$(tcp /v1/health -H "authorization: Bearer $token")"
check "401 says nothing of what is there" 401 "$(tcp /v1/nothing)"
check "a body without a token is not read" 401 "$(body | tcp /v1/jobs -d @-)"

# ---- what is refused ----
check "an unknown path: 404" 404 "$(status GET /v1/nothing)"
check "a known path, another method: 405" 405 "$(status DELETE /v1/jobs)"
check "an unknown job: 404" 404 "$(status GET /v1/jobs/261122-zzzzzz)"
check "a path that climbs: 404" 404 "$(status GET /v1/jobs/..%2f..%2fetc --path-as-is)"
check "bad JSON: 400" 400 "$(status POST /v1/jobs -d '{"spec":')"
check "bad JSON says usage" usage "$(ask POST /v1/jobs -d '{"spec":' | pick "d['error']['code']")"
check "a wrong setting names file and line" "job.yaml:3" \
    "$(ask POST /v1/jobs -d '{"file":"job.yaml","spec":"name: a\nqueue: default\nmodle: {}\n"}' | pick "d['error']['text'][:10]")"
head -c 3000000 /dev/zero | tr '\0' 'x' >"$dir/large"
check "a body that is too large: 413" 413 "$(status POST /v1/jobs -H 'expect:' --data-binary "@$dir/large")"
check "the same in chunks: 413" 413 "$(status POST /v1/jobs -H 'expect:' -H 'transfer-encoding: chunked' --data-binary "@$dir/large")"
check "a head that is too large is refused" 4 "$(status GET /v1/jobs -H "x-large: $(head -c 100000 "$dir/large")" | cut -c1)"
check "a query that is too long: 400" 400 "$(status GET "/v1/jobs?limit=$(head -c 200 "$dir/large")")"
check "a limit that is none: 400" 400 "$(status GET '/v1/jobs?limit=many')"
check "a job that policy denies: 403" 403 "$(body data.train=s3://elsewhere/set | status POST /v1/jobs -d @-)"
check "checkpoints where the ledger lies: 403" 403 "$(body checkpoint.to=s3://evidence/ledger/x | status POST /v1/jobs -d @-)"

# ---- a job's life ----
id=$(body | ask POST /v1/jobs -d @- | pick "d['job']['id']")
check "a submitted job has an id" 13 "${#id}"
check "and succeeds" succeeded "$(wait_for_state "$id" succeeded failed)"
check "its result is there" True "$(ask GET "/v1/jobs/$id" | pick "d['job']['result'] is not None")"
check "its attempt tells its supervisor" True "$(ask GET "/v1/jobs/$id" | pick "d['attempts'][0]['supervisor_pid'] > 1")"
check "it is listed" "$id" "$(ask GET /v1/jobs | pick "d['jobs'][0]['id']")"
check "why says that it is over" "it has succeeded" "$(ask GET "/v1/jobs/$id/why" | pick "d['reason'][:16]")"
check "its log is over" true "$(ask GET "/v1/jobs/$id/logs" -D - -o /dev/null | tr -d '\r' | sed -n 's/^x-sovrun-over: //p')"
check "it cannot be cancelled any more: 409" 409 "$(status POST "/v1/jobs/$id/cancel")"
again=$(echo '{"key":"k1",'"$(body | cut -c2-)" | ask POST /v1/jobs -d @- | pick "d['job']['id']")
check "a key gives the same job again" "$again" "$(echo '{"key":"k1",'"$(body | cut -c2-)" | ask POST /v1/jobs -d @- | pick "d['job']['id']")"
wait_for_state "$again" succeeded failed >/dev/null

# ---- waiting holds up nobody ----
seen=$(ask GET "/v1/jobs/$id/watch" | pick "d['seen']")
ask GET "/v1/jobs/$id/watch?seen=$seen&wait_ms=20000" >"$dir/watched" &
watcher=$!
check "others are answered while one waits" 200 "$(status GET /v1/nodes)"
check "and it still waits" "" "$(cat "$dir/watched")"

# ---- killed, and asked to end ----
long=$(body train.epochs=100000 checkpoint.every=100000 | ask POST /v1/jobs -d @- | pick "d['job']['id']")
check "a long job runs" running "$(wait_for_state "$long" running failed)"
supervisor=$(ask GET "/v1/jobs/$long" | pick "d['attempts'][0]['supervisor_pid']")
kill -9 "$scheduler"
wait "$scheduler" 2>/dev/null
wait "$watcher"
start_scheduler
check "a new scheduler leads after a kill, and the job runs on" running "$(wait_for_state "$long" running failed queued)"
check "in its first attempt" 1 "$(ask GET "/v1/jobs/$long" | pick "d['job']['attempts']")"
kill "$scheduler"
wait "$scheduler"
check "asked to end, the scheduler ends well" 0 $?
check "and takes its files along" "scheduler.lock token" "$(cd "$home/run" && echo *)"
kill -0 "$supervisor" 2>/dev/null
check "while the job runs on" 0 $?
start_scheduler
check "cancelling stops it" 200 "$(status POST "/v1/jobs/$long/cancel")"
check "it is cancelled" cancelled "$(wait_for_state "$long" cancelled failed succeeded)"
left() { ps -o pid=,stat= -s "$supervisor" | awk '$2 !~ /Z/'; }
for _ in $(seq 50); do
    [ -z "$(left)" ] && break
    sleep 0.1
done
check "and nothing of it is left" "" "$(left)"

# ---- the state goes away ----
tests/redis.sh stop "$dir/redis"
check "without a state: 503" 503 "$(status GET /v1/jobs)"
check "health is answered all the same" 200 "$(status GET /v1/health)"
tests/redis.sh start "$dir/redis" >/dev/null
for _ in $(seq 200); do [ "$(status GET /v1/jobs)" = 200 ] && break; sleep 0.05; done
check "with the state back, jobs are still there" "$long" "$(ask GET '/v1/jobs?limit=1' | pick "d['jobs'][0]['id']")"
for _ in $(seq 200); do case $(ask GET /v1/health) in *'"leader":true'*) break ;; esac; sleep 0.05; done
id=$(body | ask POST /v1/jobs -d @- | pick "d['job']['id']")
check "and a new one is taken and done" succeeded "$(wait_for_state "$id" succeeded failed)"
echo "1..$count"
exit $((failed != 0))
