#!/bin/bash
# test_cli.sh - the command line as scripts know it: exit codes and messages without services; up, down, up; Ctrl-C; and that
# nothing is left running. TAP lines.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build}
PYTHON=${PYTHON:-/usr/bin/python3}
sovrun=$PWD/$B/bin/sovrun
work=$PWD/$B/test/cli
home=$work/home
spec=$PWD/configs/demo/credit-risk.yaml
csv=$PWD/configs/demo/german-credit.csv
unset SOVRUN_HOME SOVRUN_URL SOVRUN_CONFIG

count=0 failed=0
check() { # name, status of the test
    count=$((count + 1))
    if [ "$2" = 0 ]; then echo "ok $count - $1"; return; fi
    failed=$((failed + 1))
    echo "not ok $count - $1"
    sed 's/^/    /' "$work/out" "$work/err" 2>/dev/null | head -20
}
run() { "$sovrun" "$@" --home "$home" >"$work/out" 2>"$work/err" </dev/null; }
# expect NAME CODE WORDS COMMAND...: the exit code, the words on standard error, and one "sovrun: " line there.
expect() {
    local name=$1 want=$2 words=$3 code
    shift 3
    run "$@"
    code=$?
    [ "$code" = "$want" ] || echo "exit $code, wanted $want" >>"$work/err"
    [ "$code" = "$want" ] && grep -qF -- "$words" "$work/err" && [ "$(grep -c '^sovrun: ' "$work/err")" = 1 ] && [ ! -s "$work/out" ]
    check "$name" $?
}
json() { "$PYTHON" -c 'import json,sys; d=json.load(open(sys.argv[1])); sys.exit(0 if eval(sys.argv[2]) else 1)' "$work/out" "$1"; }
ours() { # processes of this home: the scheduler's, supervisors', ranks' and Redis' command lines or folders name it
    local pid
    for pid in /proc/[0-9]*; do
        case $({ tr '\0' ' ' <"$pid/cmdline"; } 2>/dev/null) in
        *"$home"*) grep -q '^State:.Z' "$pid/status" 2>/dev/null || echo "${pid#/proc/}" ;;
        esac
    done
}
cleanup() { "$sovrun" down --home "$home" >/dev/null 2>&1; }

cleanup
rm -rf "$work"
mkdir -p "$work"
trap cleanup EXIT

# ---- without services ----
while IFS='|' read -r name want words args; do
    read -ra list <<<"$args"
    expect "$name" "$want" "$words" "${list[@]}"
done <<'ROWS'
no such command|2|did you mean 'list'?|lst
a group without its word|2|sovrun help model|model
an unknown option|2|did you mean '--wait'?|submit --wiat x.yaml
submit without a file|2|JOB.yaml is missing|submit
submit of a file that is not there|6|there is no|submit nowhere/x.yaml
run of a folder|2|is a folder|run configs
run of what has no end|2|larger than|run /dev/zero
run of a file that is not there|6|nowhere/x.yaml|run nowhere/x.yaml
run with a URL|2|sovrun submit --wait|run configs/demo/credit-risk.yaml --url unix:/x
show of what is no id|2|is no job's id|show nonsense
show without a cluster|6|sovrun up|show 261122-aaaaaa
list without a cluster|6|sovrun up|list
list of a state that does not exist|2|must be queued|list --state done
list by a URL where nobody is|4|does not answer|list --url unix:/tmp/there-is-no-socket
list by a URL of another kind|2|must be unix:PATH or http://HOST:PORT|list --url ftp://x
logs as a document and for ever|2|does not go with --follow|logs 261122-aaaaaa -f --json
logs of attempt 0|2|from 1 to|logs 261122-aaaaaa --attempt 0
watch of what is no id|2|is no job's id|watch 1
cancel of what is no id|2|is no job's id|cancel 1
why of what is no id|2|is no job's id|why 1
model ls of what is no id|2|is no job's id|model ls 1
model get of step x|2|must be the number of a step|model get 261122-aaaaaa --step x
model verify without a cluster|6|sovrun up|model verify 261122-aaaaaa
data stage with a class that is none|2|must be public|data stage x.csv s3://data/x --class secret
data stage to what is no address|2|s3://|data stage x.csv x
data stage to a whole bucket|2|must name a place|data stage x.csv s3://data
data stage in shards twice|2|give one of them|data stage x.csv s3://data/x --shards 2 --shard-records 5
data ls without a cluster|6|sovrun up|data ls
data verify of what is no address|2|s3://|data verify x
audit verify without a cluster|6|sovrun up|audit verify
audit tail of what is no id|2|is no job's id|audit tail --job 7
audit tail as a document and for ever|2|does not go with --follow|audit tail -f --json
config check of a file that is not there|6|nowhere.yaml|config check nowhere.yaml
config check of what is neither|2|--kind|config check .clang-format
config explain of what there is not|2|must be job, cluster or policy|config explain nothing
help of what there is not|2|sovrun help|help nothing
completion for another shell|2|bash|completion fish
down without a cluster|6|sovrun up|down
ROWS
[ ! -e "$home/sovrun.yaml" ]
check "none of that made a cluster" $?
"$sovrun" >"$work/out" 2>"$work/err"
[ $? = 2 ] && grep -q '^Usage: sovrun' "$work/err"
check "without a command: usage, exit 2" $?
for command in help version "config explain" "config explain cluster" "config explain policy" "help submit" "help model" "model --help"; do
    # shellcheck disable=SC2086 # words on purpose
    run $command && [ -s "$work/out" ] && [ ! -s "$work/err" ]
    check "$command: exit 0, on standard output" $?
done
for command in version "config explain" "config explain cluster"; do
    # shellcheck disable=SC2086
    run $command --json && json 'len(d) > 0'
    check "$command --json: one document" $?
done
run completion && bash -n "$work/out" && grep -q 'complete .*sovrun' "$work/out"
check "completion: a script that bash takes" $?
words=$(bash -c ". '$work/out'; COMP_WORDS=(sovrun model g); COMP_CWORD=2; _sovrun; echo \${COMPREPLY[@]}
                 COMP_WORDS=(sovrun li); COMP_CWORD=1; _sovrun; echo \${COMPREPLY[@]}
                 COMP_WORDS=(sovrun logs --fo); COMP_CWORD=2; _sovrun; echo \${COMPREPLY[@]}" 2>/dev/null | tr '\n' ' ')
[ "$words" = "get list --follow " ]
check "completion: of commands, of a group's words, of options ($words)" $?
while read -r file; do
    run config check "$file" && grep -q '^ok: ' "$work/out"
    check "config check $file" $?
done < <(find configs -name '*.yaml' | sort)
sed 's/epochs/epohcs/' "$spec" >"$work/bad.yaml"
expect "config check of a job with a slip" 2 "bad.yaml:$(grep -n epohcs "$work/bad.yaml" | cut -d: -f1): train.epohcs" config check "$work/bad.yaml"
printf 'a: %s' "$(printf '[%.0s' $(seq 40))" >"$work/deep.yaml"
expect "config check of what is nested too deep" 2 "nested deeper than 16" config check --kind job "$work/deep.yaml"
expect "config check with --set" 2 "--set train.lr" config check "$spec" --set train.lr=fast

# ---- up, down, up ----
run up && [ "$("$sovrun" up --home "$home" | cut -d: -f1)" = "already up" ]
check "up, and up again changes nothing" $?
run config check "$home/sovrun.yaml" && run list --json && json 'd == {"jobs": []}'
check "the cluster that up makes is a good one, and empty" $?
[ "$(stat -c %a "$home/run/redis.sock" "$home/run/api.sock" "$home/run/token" "$home" | tr '\n' ' ')" = "600 600 600 700 " ]
check "its sockets and secrets are its owner's alone" $?
for n in 1 2 3; do "$sovrun" up --home "$home" >"$work/up$n" 2>&1 & done
wait
[ "$(ours | wc -l)" = 2 ]
check "ups at once start nothing twice" $?
old=$(cut -d' ' -f1 "$home/run/redis.pid")
rm -f "$home/run/redis.pid" "$home/run/scheduler.pid"
run up && kill -0 "$old" && [ "$(ours | wc -l)" = 2 ]
check "a lost pid file starts nothing twice" $?
run down && [ -z "$(ours)" ]
check "down ends what runs, without its pid files too" $?
run down && grep -q '^nothing was running' "$work/out"
check "down again has nothing to do" $?
run up --json && json 'd["started"] and d["redis"]["pid"] and d["scheduler"]["pid"]'
check "and up again" $?

# ---- data ----
run data stage "$csv" s3://data/credit/v1 --class public --owner ana --shards 3 && grep -q '1000 records in 3 shards' "$work/out"
check "data stage" $?
run data stage "$csv" s3://data/credit/v1 --class public --owner ana --shards 3 && grep -q '^already there' "$work/out"
check "data stage of the same again does nothing" $?
run data ls --json && json 'd["datasets"][0]["uri"] == "s3://data/credit/v1" and d["datasets"][0]["records"] == 1000'
check "data ls knows it" $?
run data verify s3://data/credit/v1 && run data verify s3://data/credit/v1/ --json && json 'd["ok"] and d["shards"] == 3'
check "data verify" $?

# ---- down while a job runs: it goes on at the next up ----
long=(--set train.epochs=1500 --set train.lr=2e-4 --set checkpoint.every=1000)
wait_step() { # job, step
    for _ in $(seq 300); do
        run show "$1" --json && json "(d.get('pulse') or {}).get('step', 0) >= $2" && return 0
        sleep 0.1
    done
    return 1
}
job=$("$sovrun" submit "$spec" "${long[@]}" --home "$home" 2>"$work/err")
wait_step "$job" 500
run down && [ -z "$(ours)" ] && grep -q 'go on at the next up' "$work/out"
check "down with a running job leaves nothing running and says what becomes of it" $?
run up && run show "$job" --json && json 'd["job"]["state"] in ("queued", "starting", "running")'
check "the job is there after up" $?
for _ in $(seq 300); do # its log tells, not the pulse, which may still be the first attempt's
    run logs "$job" --attempt 2 && grep -q 'checkpoint.restored' "$work/out" && break
    sleep 0.1
done
grep -q 'checkpoint.restored' "$work/out"
check "its second attempt goes on from the checkpoint" $?
run show "$job" --json && json 'd["attempts"][0]["outcome"] == "stopped" and d["job"]["retries"] == 0'
check "and its first one was stopped, which costs it no retry" $?
run list && grep -q "$job  credit-risk  running" "$work/out"
check "list shows it" $?

# ---- Ctrl-C ----
setsid "$sovrun" submit "$spec" "${long[@]}" --wait --home "$home" >"$work/out" 2>"$work/err" &
waiting=$!
for _ in $(seq 100); do grep -q submitted "$work/err" && break; sleep 0.05; done
other=$(awk '/^submitted/ { print $2 }' "$work/err")
sleep 0.3
kill -INT "$waiting"
wait "$waiting"
[ $? = 1 ] && grep -q "job $other goes on" "$work/err"
check "Ctrl-C at submit --wait leaves the job" $?
run show "$other" --json && json 'd["job"]["state"] != "cancelled"'
check "which is still there" $?
run cancel "$other" && run watch "$other" && run show "$other" --json && json 'd["job"]["state"] == "cancelled"'
check "cancel, and watch to its end" $?
run cancel "$job" && run watch "$job"
check "the other one too" $?
run submit "$spec" --wait --json --set train.lr=100 --set train.clip=0 --set retry.max=0
[ $? = 5 ] && json 'd["state"] == "failed" and "diverged" in d["reason"] and d["model"] is None'
check "a job that fails: one document that says why, exit 5" $?
run down
rm -rf "$home"

setsid "$sovrun" run "$spec" "${long[@]}" --home "$home" >"$work/out" 2>"$work/err" &
running=$!
for _ in $(seq 200); do grep -q ' running' "$work/err" && break; sleep 0.05; done
sleep 1
kill -INT "$running"
wait "$running"
[ $? = 5 ] && grep -q 'waiting for its last checkpoint' "$work/err" && grep -q 'cancelled' "$work/err"
check "Ctrl-C at run cancels the job, exit 5" $?
[ -z "$(ours)" ]
check "and takes down what it brought up" $?
setsid "$sovrun" run "$spec" "${long[@]}" --home "$home" >"$work/out" 2>"$work/err" &
running=$!
for _ in $(seq 200); do grep -q ' running' "$work/err" && break; sleep 0.05; done
kill -HUP "$running"
wait "$running"
[ $? = 5 ] && [ -z "$(ours)" ]
check "a terminal that is closed does the same" $?
run run "$spec" --set train.epochs=2
hint=$(sed -n 's/^ *fetch it: sovrun //p' "$work/out")
read -ra words <<<"$hint"
run "${words[@]}" -o "$work/hinted" && [ -s "$work/hinted" ]
check "run says how its model is fetched, and so it is, without services ($hint)" $?
run up && job=$("$sovrun" list --json --home "$home" | "$PYTHON" -c 'import json,sys; print(json.load(sys.stdin)["jobs"][2]["id"])')
run model ls "$job" --json && json 'd["artifacts"][0]["kind"] == "checkpoint" and d["artifacts"][0]["ok"]'
check "its last checkpoint is there" $?
step=$("$PYTHON" -c 'import json,sys; print(json.load(open(sys.argv[1]))["artifacts"][0]["step"])' "$work/out")
expect "it has no finished model" 6 "--step N" model get "$job" -o "$work/m"
run model get "$job" --step "$step" -o "$work/m.safetensors" && "$PYTHON" tools/predict.py "$work/m.safetensors" "$csv" --json >"$work/out" &&
    json '0 < d["auc"] < 1 and d["records"] == 1000'
check "the model of its checkpoint can be fetched and used" $?
run run "$spec" --json && job2=$("$PYTHON" -c 'import json,sys; print(json.load(open(sys.argv[1]))["job"])' "$work/out")
run model get "$job2" -o "$work/final" && run model get "$job2" --step 500 -o "$work/step" && "$PYTHON" - "$work/final" "$work/step" <<'PY'
import json, struct, sys
def header(path):
    data = open(path, "rb").read()
    return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]]), data
(final, a), (step, b) = header(sys.argv[1]), header(sys.argv[2])
sys.exit(0 if final == step and a != b else 1)
PY
check "a checkpoint's model has the form of the final one, and other numbers" $?
rm -f "$home/run/redis.sock" "$home/run/api.sock"
run down && [ -z "$(ours)" ]
check "down finds what no longer listens" $?
expect "model ls without a scheduler asks for --prefix" 4 "--prefix" model ls "$job"
run model ls "$job" --prefix s3://models/credit && run model verify "$job" --prefix s3://models/credit
check "and with it needs none" $?
run audit verify --json && json 'd["ok"] and d["records"] > 5 and not d["end_known"]'
check "audit verify works without services, and says that the end is not known" $?
run up && run audit verify --json && json 'd["ok"] and d["end_known"]'
check "with them it is" $?
run audit tail -n 3 --json && json 'len(d["records"]) == 3'
check "audit tail" $?
victim=$(find "$home/store/evidence/objects" -type f -path '*segment*' | sort | head -1)
"$PYTHON" - "$victim" <<'PY'
import os, sys
path = sys.argv[1]
data = open(path, "rb").read()
os.chmod(path, 0o600)
open(path, "wb").write(data.replace(b"job.submitted", b"job.submittex"))
PY
run audit verify --json
[ $? = 1 ] && json 'not d["ok"] and d["bad"]["why"]'
check "audit verify of a changed record: exit 1, and it is named" $?
run down && [ -z "$(ours)" ]
check "nothing is left running" $?
echo "1..$count"
exit $((failed > 0))
