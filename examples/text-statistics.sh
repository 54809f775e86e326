#!/bin/sh
# Counts the lines, words and bytes of text files, and checksums them.
#
# A handler for longrun: it reads the names of files from stdin, one a line, reports progress on file
# descriptor 3, logs on stderr, and writes its result, a JSON document, on stdout.
#
#   longrun serve --handler 'text.statistics=sh examples/text-statistics.sh'
#   ls "$PWD"/*.md | longrun submit text.statistics - --watch
#
# PAUSE, in seconds for the whole of it, slows it down so that there is something to watch; PAUSE=0
# does not.
set -eu
LC_ALL=C
export LC_ALL

list=$(cat)
count=$(printf '%s\n' "$list" | grep -c .) || true
if [ "$count" -eq 0 ]; then
    echo "no files were named" >&2
    exit 64
fi
# About two dozen steps in all, at least one for each file.
steps=$((24 / count))
[ "$steps" -gt 0 ] || steps=1
total=$((count * steps))
pause=$(awk -v pause="${PAUSE-3.6}" -v total="$total" 'BEGIN { print pause / total }')
# POSIX knows whole seconds only; where that is all there is, they must do.
[ "$pause" = 0 ] || sleep 0.01 2>/dev/null || pause=1

statistics() { # of FILE, after BASE steps: its lines and words, with progress on the way
    lines=$(awk 'END { print NR }' <"$1")
    NAME=${1##*/} awk -v lines="$lines" -v steps="$steps" -v base="$2" -v total="$total" \
        -v pause="$pause" '
        function step() {
            part++
            print (base + part) "/" total, ENVIRON["NAME"] | "cat >&3"
            fflush("cat >&3")
            if (pause > 0) system("sleep " pause)
        }
        { words += NF; while (part < int(NR * steps / lines)) step() }
        END { while (part < steps) step(); print NR, words + 0 }' <"$1"
}

base=0
documents=
while IFS= read -r file; do
    [ -n "$file" ] || continue
    if [ ! -f "$file" ] || [ ! -r "$file" ]; then
        echo "cannot read $file" >&2
        exit 66
    fi
    counts=$(statistics "$file" "$base")
    bytes=$(($(wc -c <"$file")))
    checksum=$(cksum <"$file" | cut -d ' ' -f 1)
    name=$(printf '%s' "$file" | sed 's/\\/\\\\/g; s/"/\\"/g')
    documents="$documents${documents:+,}
  {\"file\": \"$name\", \"lines\": ${counts% *}, \"words\": ${counts#* }, \
\"bytes\": $bytes, \"cksum\": $checksum}"
    echo "$file: ${counts% *} lines, ${counts#* } words" >&2
    base=$((base + steps))
done <<END
$list
END

printf '{"files": [%s\n]}\n' "$documents"
