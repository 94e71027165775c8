#!/bin/bash
# tidy.sh - the rules of docs/CONVENTIONS.md that a machine can check: layers, sizes, words that are not merged.
# Prints each breach as file:line: what; exits 1 if there is one.
set -u
cd "$(dirname "$0")/../.." || exit 2
table=tests/tidy/layers.txt
bad=0
say() { printf '%s\n' "$*"; bad=1; }

sources() { find base core kernels trainer scheduler runner tests bench \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cpp' \) 2>/dev/null | sort; }

# 1. Includes: quoted ones by the folder table, <third-party> ones by the owner table.
# shellcheck disable=SC2016 # awk's own dollars
layers=$(sources | xargs awk -v table=$table '
    BEGIN {
        while ((getline line < table) > 0) {
            if (line ~ /^#/ || line ~ /^[ \t]*$/) continue
            n = split(line, word, /[ \t]+/)
            if (substr(word[1], 1, 1) == "<") { owner[word[1]] = word[2]; also[word[1]] = n > 2 ? word[3] : word[2]; continue }
            known[word[1]] = 1
            for (i = 2; i <= n; i++) {
                may[word[1], word[i]] = 1
                if (word[i] in known == 0 && word[i] != "." && word[1] != "tests" && word[1] != "bench")
                    print table ": " word[1] " names " word[i] ", which stands below it"
            }
        }
    }
    # The longest folder of the table that the path lies in.
    function folder(path,   f) {
        f = path
        while (sub(/\/[^\/]*$/, "", f)) if (f in known) return f
        return f in known ? f : ""
    }
    function allowed(from, to,   t) {
        if (from == to) return 1
        for (t = to; ; ) { if ((from, t) in may) return 1; if (!sub(/\/[^\/]*$/, "", t)) return 0 }
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, part, "\""); path = part[2]; from = folder(FILENAME); to = folder(path)
        if (from == "") print FILENAME ":" FNR ": this folder is not in " table
        else if (to == "") print FILENAME ":" FNR ": include \"" path "\" from the repository root"
        else if (from == "runner" && FILENAME == "runner/main.c") next
        else if (!allowed(from, to)) print FILENAME ":" FNR ": " from " may not include " to " (" path ")"
    }
    /^[ \t]*#[ \t]*include[ \t]*</ {
        match($0, /<[^>]*>/); header = substr($0, RSTART, RLENGTH)
        if (index(FILENAME, "bench/") == 1) next
        for (o in owner) if (index(header, o) == 1 && index(FILENAME, owner[o]) != 1 && index(FILENAME, also[o]) != 1)
            print FILENAME ":" FNR ": only " owner[o] " may include " header
    }' 2>&1)
[ -n "$layers" ] && say "$layers"

# 2. Sizes: a file under 600 lines, a function under 70.
sizes=$(sources | xargs awk '
    FNR == 1 { if (prev && lines >= 600) print prev ": " lines " lines; the limit is 599"; prev = FILENAME; open = 0 }
    { lines = FNR }
    /^{/ { open = FNR }
    /^}/ { if (open && FNR - open - 1 >= 70) print FILENAME ":" open ": a function of " FNR - open - 1 " lines; the limit is 69"; open = 0 }
    END { if (lines >= 600) print prev ": " lines " lines" }')
[ -n "$sizes" ] && say "$sizes"

# 3. Words and habits that are not merged.
forbid() { # pattern, what is wrong
    found=$(sources | grep -v '^tests/tidy/' | xargs grep -nE "$1" 2>/dev/null)
    [ -n "$found" ] && say "$found  <- $2"
}
forbid '\b(TODO|FIXME|XXX)\b' 'no such note is merged'
forbid '\bgoto\b' 'use CLEANUP'
forbid '\b(strcpy|strcat|sprintf|gets|strtok|atoi|atof|atol|system)\(' 'banned: unbounded or silent'
forbid '^typedef struct' 'structs are not typedef'"'"'d'
forbid '.{121,}' 'longer than 120 columns'
long=$(find . -path ./build -prune -o -path ./.git -prune -o -type f \( -name '*.sh' -o -name '*.py' -o -name '*.md' -o -name '*.yaml' \) -print0 |
    xargs -0 grep -lE '[[:blank:]]+$' 2>/dev/null)
[ -n "$long" ] && say "$long  <- trailing blanks"

[ $bad = 0 ] && echo "tidy: ok"
exit $bad
