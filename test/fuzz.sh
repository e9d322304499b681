#!/bin/sh
# Runs every fuzz target of the module for the time given, or those whose names
# match: test/fuzz.sh 30s, test/fuzz.sh 1h 'FuzzAPI|FuzzSession'
set -eu
cd "$(dirname "$0")/.."
for_time=${1:-30s}
wanted=${2:-.}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz DIR TARGET fails when an input breaks the target. The go command may also
# end with "context deadline exceeded" when the time is over while its workers
# are busy; that is no finding: one is always written to a file, and said.
fuzz() {
	go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$for_time" -fuzzminimizetime 2s >"$log" 2>&1 && code=0 || code=$?
	tail -n 3 "$log"
	[ "$code" = 0 ] && return 0
	if grep -q 'context deadline exceeded' "$log" && ! grep -qE 'Failing input|panic:|_test\.go:' "$log"; then
		echo "(the time was over; nothing was found)"
		return 0
	fi
	cat "$log"
	return 1
}

grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | sort | while read -r file; do
	dir=$(dirname "$file")
	grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | grep -E "$wanted" | while read -r target; do
		echo "== $dir $target"
		fuzz "$dir" "$target" || exit 1
	done || exit 1
done
