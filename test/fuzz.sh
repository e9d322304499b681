#!/bin/sh
# Runs every fuzz target of the module for the time given, or those whose names
# match: test/fuzz.sh 30s, test/fuzz.sh 1h 'FuzzAPI|FuzzSession'
# Each core has one target at a time, with one worker.
set -eu
cd "$(dirname "$0")/.."

# one DIR TARGET TIME fails when an input breaks the target. The go command may also
# end with "context deadline exceeded" when the time is over while its workers
# are busy; that is no finding: one is always written to a file, and said.
one() {
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$3" -parallel 1 -fuzzminimizetime 2s >"$log" 2>&1 && code=0 || code=$?
	said=$(tail -n 1 "$log")
	if [ "$code" != 0 ]; then
		if ! grep -q 'context deadline exceeded' "$log" || grep -qE 'Failing input|panic:|_test\.go:' "$log"; then
			echo "== $1 $2 FAILED"
			cat "$log"
			return 1
		fi
		said="(the time was over; nothing was found)"
	fi
	echo "== $2: $said"
}

if [ "${1:-}" = one ]; then
	one "$2" "$3" "$4"
	exit
fi
for_time=${1:-30s}
wanted=${2:-.}
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | sort | while read -r file; do
	grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | grep -E "$wanted" | sed "s#^#$(dirname "$file") #" || true
done | sed "s#\$# $for_time#" | xargs -r -n 3 -P "$(nproc 2>/dev/null || echo 1)" "$0" one
