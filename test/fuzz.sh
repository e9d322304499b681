#!/bin/sh
# Runs every fuzz target of the module for the time given: test/fuzz.sh 30s
set -eu
cd "$(dirname "$0")/.."
for_time=${1:-30s}
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | sort | while read -r file; do
	dir=$(dirname "$file")
	grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | while read -r target; do
		echo "== $dir $target"
		go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$for_time"
	done
done
