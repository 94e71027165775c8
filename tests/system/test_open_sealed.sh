#!/bin/bash
# What C seals, tools/open_sealed.py opens, and the other way round; what is wrong, both refuse and write nothing.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build}
PYTHON=${PYTHON:-/usr/bin/python3}
mkdir -p "$B/test"
dir=$(mktemp -d "$B/test/open-sealed-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
if ! "$PYTHON" -c 'import cryptography' 2>/dev/null; then
    echo "ok - open_sealed.py # SKIP $PYTHON has no cryptography"
    exit 0
fi
fail() { echo "not ok - $*"; exit 1; }
c() { "$B/tests/system/seal_file" "$1" "$dir/context.json" "$dir/key" "$2" "$3" 2>"$dir/said"; }
py() { "$PYTHON" tools/open_sealed.py --context "$dir/context.json" --key-file "$dir/key" --in "$1" --out "$2" "${@:3}" 2>"$dir/said"; }
context() { # plain bytes, part
    cat >"$dir/context.json" <<END
{"cluster": "eu-1", "region": "eusc-de-east-1", "job": "261122-k3m9qz", "artifact": "model/für-alle", "part": $2,
 "part_count": 2, "bucket": "bank-models", "key": "credit/ein Schlüssel/0", "plain_bytes": $1}
END
}
refused() { # what, command...
    local what=$1
    shift
    "$@" && fail "$what was accepted"
    [ -e "$dir/out" ] && fail "$what: something was written"
    [ -e "$dir/out.partial" ] && fail "$what: a partial file stayed"
    [ -s "$dir/said" ] || fail "$what: no reason was given"
    grep -q Traceback "$dir/said" && fail "$what: $(tail -1 "$dir/said")"
}

(umask 077; head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$dir/key")

# Empty, small, a segment less one, exactly full, one more, several.
for bytes in 0 1 1000 1048543 1048544 1048545 3000000; do
    head -c "$bytes" /dev/urandom >"$dir/plain"
    context "$bytes" 0
    c seal "$dir/plain" "$dir/sealed" || fail "C seals $bytes bytes: $(cat "$dir/said")"
    py "$dir/sealed" "$dir/opened" || fail "Python opens $bytes bytes: $(cat "$dir/said")"
    cmp -s "$dir/plain" "$dir/opened" || fail "C to Python: $bytes bytes differ"
    py "$dir/plain" "$dir/sealed" --seal || fail "Python seals $bytes bytes: $(cat "$dir/said")"
    c open "$dir/sealed" "$dir/opened" || fail "C opens $bytes bytes: $(cat "$dir/said")"
    cmp -s "$dir/plain" "$dir/opened" || fail "Python to C: $bytes bytes differ"
done

# The key on standard input, as hex and as raw bytes; the file that is written is private.
"$PYTHON" tools/open_sealed.py --context "$dir/context.json" --in "$dir/sealed" --out "$dir/opened" <"$dir/key" || fail "hex key on stdin"
cmp -s "$dir/plain" "$dir/opened" || fail "hex key on stdin: bytes differ"
[ "$(stat -c %a "$dir/opened")" = 600 ] || fail "the opened file is not private"
"$PYTHON" -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(open(sys.argv[1]).read()))' "$dir/key" |
    "$PYTHON" tools/open_sealed.py --context "$dir/context.json" --in "$dir/sealed" --out "$dir/opened" ||
    fail "raw key on stdin"
cmp -s "$dir/plain" "$dir/opened" || fail "raw key on stdin: bytes differ"

context 3000000 1
refused "another context (Python)" py "$dir/sealed" "$dir/out"
refused "another context (C)" c open "$dir/sealed" "$dir/out"
context 3000000 0
head -c -1 "$dir/sealed" >"$dir/cut"
refused "a cut object (Python)" py "$dir/cut" "$dir/out"
refused "a cut object (C)" c open "$dir/cut" "$dir/out"
head -c $((74 + 2 * 1048576)) "$dir/sealed" >"$dir/cut"
refused "an object cut between segments (Python)" py "$dir/cut" "$dir/out"
refused "an object cut between segments (C)" c open "$dir/cut" "$dir/out"
: >"$dir/cut"
refused "an empty file (Python)" py "$dir/cut" "$dir/out"
refused "an empty file (C)" c open "$dir/cut" "$dir/out"
{ head -c 2000000 "$dir/sealed"; printf 'x'; tail -c +2000002 "$dir/sealed"; } >"$dir/altered"
cmp -s "$dir/altered" "$dir/sealed" && printf 'y' | dd of="$dir/altered" bs=1 seek=2000000 conv=notrunc status=none
refused "an altered object (Python)" py "$dir/altered" "$dir/out"
refused "an altered object (C)" c open "$dir/altered" "$dir/out"
echo '{}' >"$dir/context.json"
refused "an empty context (Python)" py "$dir/sealed" "$dir/out"
context '"3000000"' 0
refused "a length that is text (Python)" py "$dir/sealed" "$dir/out"
context 3000000 0
chmod 640 "$dir/key"
refused "a key file that others may read (Python)" py "$dir/sealed" "$dir/out"
grep -q 'chmod 600' "$dir/said" || fail "no advice: $(cat "$dir/said")"
refused "a key file that others may read (C)" c open "$dir/sealed" "$dir/out"
chmod 600 "$dir/key"
echo 00 >"$dir/key"
refused "a short key (Python)" py "$dir/sealed" "$dir/out"
echo ok
