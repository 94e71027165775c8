#!/bin/bash
# rgw.sh start|stop DIR - a real S3 service for the tests, thrown away afterwards: Ceph's radosgw over one monitor and one
# object daemon that keeps everything in memory.
#
# All of it listens on 127.0.0.1, on ports that were free when it started, and lies below DIR. `start` returns when the first
# request is answered and writes DIR/env: shell assignments SOVRUN_TEST_S3_ENDPOINT, _REGION, _ACCESS_KEY, _SECRET_KEY,
# for the same service over TLS _TLS_ENDPOINT and _CA_FILE, and the gateway's _ADMIN_SOCKET. With
# SOVRUN_TEST_S3_OTHER_REGION=NAME a second gateway serves another region, a realm of its own with the same keys and none of
# the first one's buckets: DIR/env then has _OTHER_ENDPOINT too.
# A second start, after a kill too, ends the first one's processes before. Needs ceph-mon, ceph-osd, radosgw,
# openssl and curl.
set -Eeuo pipefail

usage() {
    echo "usage: tests/rgw.sh start|stop DIR" >&2
    exit 2
}
[ $# = 2 ] || usage
dir=$(realpath -m "$2")
region=${SOVRUN_TEST_S3_REGION:-eu-test-1}
other_region=${SOVRUN_TEST_S3_OTHER_REGION:-}
access=AKSOVRUNTEST
secret=sovrun-test-secret
export CEPH_CONF=$dir/ceph.conf

# The daemons of an earlier start, also of one that was killed half way: whatever names a file of DIR in its arguments.
ours() { # pid
    case $(cat "/proc/$1/comm" 2>/dev/null) in ceph-mon | ceph-osd | radosgw) ;; *) return 1 ;; esac
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null | grep -qF -- "$dir/"
}

stop() {
    local entry pid tries
    for entry in /proc/[0-9]*; do
        pid=${entry#/proc/}
        ours "$pid" || continue
        # The data is to be thrown away, so nothing is asked politely.
        kill -9 "$pid" 2>/dev/null || true
        for ((tries = 0; tries < 100; tries++)); do
            ours "$pid" || break
            sleep 0.05
        done
    done
}

# Below the range that the kernel hands out by itself, so that no connection takes it between our look and the bind.
free_port() { # first port to look at
    local port
    for ((port = $1; port < $1 + 1000; port++)); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    echo "rgw.sh: no free port from $1 on" >&2
    return 1
}

repeat() { # tries, command...: until it succeeds
    local tries=$1 i
    shift
    for ((i = 0; i < tries; i++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    echo "rgw.sh: gave up: $*" >&2
    return 1
}

write_conf() {
    cat >"$CEPH_CONF" <<END
[global]
fsid = $fsid
mon host = v1:127.0.0.1:$mon_port
mon initial members = a
public addr = 127.0.0.1
ms bind msgr2 = false
ms bind port min = $osd_port
ms bind port max = $((osd_port + 200))
auth cluster required = none
auth service required = none
auth client required = none
run dir = $dir/run
admin socket = $dir/run/\$name.asok
log file = $dir/log/\$name.log
log to stderr = false
err to stderr = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 2000
osd crush chooseleaf type = 0
mon data avail warn = 1
mon data avail crit = 0
mon cluster log to file = false
paxos propose interval = 0.02
paxos min wait = 0.01
[mon]
mon data = $dir/mon
[osd]
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = 4294967296
# Without these two the daemon dies at one start in five.
osd crush update on start = false
osd class update on start = false
# A radosgw that was killed is back in 3 s rather than 30.
osd client watch timeout = 3
osd op num shards = 2
osd op num threads per shard = 1
[client]
rgw data = $dir/rgw
rgw num rados handles = 1
rgw thread pool size = 32
rgw sts key = 0123456789abcdef
rgw s3 auth use sts = true
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = arn:aws:kms:eu-test-1:123456789012:key/sse-test-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
rgw enable usage log = false
rgw gc obj min wait = 5
rgw gc processor period = 10
rgw gc processor max time = 10
# So that http://BUCKET.localhost:PORT/ is tried too.
rgw dns name = localhost
$(gateway_conf rgw "$region" "$rgw_port ssl_endpoint=127.0.0.1:$tls_port ssl_certificate=$dir/tls.pem ssl_private_key=$dir/tls.key")
$([ -z "$other_region" ] || gateway_conf other "$other_region" "$other_port")
END
}

gateway_conf() { # name, region, port and what else the frontend needs
    cat <<END
[client.$1]
rgw realm = $2
rgw zonegroup = $2
rgw zone = $2-a
rgw frontends = beast tcp_nodelay=1 endpoint=127.0.0.1:$3
END
}

# Signs itself, so it is its own authority; good for the name that the S3 client checks.
make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$dir/tls.key" -out "$dir/tls.pem" 2>/dev/null
}

start_cluster() {
    local osd_id
    osd_id=$(cat /proc/sys/kernel/random/uuid)
    monmaptool --create --fsid "$fsid" --addv a "v1:127.0.0.1:$mon_port" --set-min-mon-release 16 "$dir/monmap" >/dev/null
    ceph-mon -i a --mkfs --conf "$CEPH_CONF" --monmap "$dir/monmap"
    ceph-mon -i a --conf "$CEPH_CONF" --pid-file "$dir/mon.pid"
    # Right after its birth the monitor refuses for a moment.
    repeat 100 ceph osd new "$osd_id"
    ceph osd crush add-bucket default root 2>/dev/null || true
    repeat 100 ceph osd crush add osd.0 1.0 root=default
    ceph-osd -i 0 --mkfs --conf "$CEPH_CONF" --osd-uuid "$osd_id" >/dev/null 2>&1
    ceph-osd -i 0 --conf "$CEPH_CONF" --pid-file "$dir/osd.pid" >/dev/null
}

start_gateway() { # name, region, endpoint
    local region=$2 endpoint=$3
    local admin=(radosgw-admin "--rgw-realm=$region")
    "${admin[@]}" realm create --default >/dev/null
    "${admin[@]}" zonegroup create "--rgw-zonegroup=$region" "--api-name=$region" "--endpoints=$endpoint" --master --default >/dev/null
    "${admin[@]}" zone create "--rgw-zonegroup=$region" "--rgw-zone=$region-a" "--endpoints=$endpoint" --master --default >/dev/null
    # A name that it does not know would be taken for a bucket's.
    "${admin[@]}" zonegroup get "--rgw-zonegroup=$region" | sed "s/\"hostnames\": \[\]/\"hostnames\": [\"localhost\", \"s3.$region.test\"]/" |
        "${admin[@]}" zonegroup set "--rgw-zonegroup=$region" >/dev/null
    "${admin[@]}" period update --commit >/dev/null
    "${admin[@]}" "--rgw-zonegroup=$region" "--rgw-zone=$region-a" user create --uid=test --display-name=test \
        "--access-key=$access" "--secret-key=$secret" >/dev/null
    # What the test user may assume: all that it may do itself, less what a session's own policy leaves out.
    "${admin[@]}" "--rgw-zonegroup=$region" "--rgw-zone=$region-a" role create --role-name=ranks --path=/ --assume-role-policy-doc='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam:::user/test"]},"Action":["sts:AssumeRole"]}]}' >/dev/null
    "${admin[@]}" "--rgw-zonegroup=$region" "--rgw-zone=$region-a" role-policy put --role-name=ranks --policy-name=all --policy-doc='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}' >/dev/null
    radosgw -n "client.$1" --conf "$CEPH_CONF" --pid-file "$dir/$1.pid"
    repeat 400 curl -sf -o /dev/null "$endpoint/"
}

start() {
    stop
    rm -rf "$dir"
    mkdir -p "$dir"/{mon,osd,run,log,rgw}
    local fsid mon_port osd_port rgw_port tls_port other_port
    fsid=$(cat /proc/sys/kernel/random/uuid)
    mon_port=$(free_port $((14000 + RANDOM % 4000)))
    osd_port=$(free_port $((20000 + RANDOM % 4000)))
    rgw_port=$(free_port $((26000 + RANDOM % 3000)))
    tls_port=$(free_port $((29500 + RANDOM % 2000)))
    other_port=$(free_port $((18000 + RANDOM % 1900)))
    endpoint=http://127.0.0.1:$rgw_port
    make_certificate
    write_conf
    trap stop ERR
    start_cluster
    start_gateway rgw "$region" "$endpoint"
    [ -z "$other_region" ] || start_gateway other "$other_region" "http://127.0.0.1:$other_port"
    cat >"$dir/env" <<END
SOVRUN_TEST_S3_ENDPOINT=$endpoint
SOVRUN_TEST_S3_REGION=$region
SOVRUN_TEST_S3_ACCESS_KEY=$access
SOVRUN_TEST_S3_SECRET_KEY=$secret
SOVRUN_TEST_S3_TLS_ENDPOINT=https://127.0.0.1:$tls_port
SOVRUN_TEST_S3_CA_FILE=$dir/tls.pem
SOVRUN_TEST_S3_ROLE=arn:aws:iam:::role/ranks
SOVRUN_TEST_S3_SSE_KEY=arn:aws:kms:eu-test-1:123456789012:key/sse-test-1
SOVRUN_TEST_S3_ADMIN_SOCKET=$dir/run/client.rgw.asok
END
    [ -z "$other_region" ] || echo "SOVRUN_TEST_S3_OTHER_ENDPOINT=http://127.0.0.1:$other_port" >>"$dir/env"
}

case $1 in
start) start ;;
stop) stop ;;
*) usage ;;
esac
