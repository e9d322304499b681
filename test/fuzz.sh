#!/bin/sh
# Runs every fuzz target of the module for the time given, or those whose names
# match: test/fuzz.sh 30s, test/fuzz.sh 1h 'FuzzAPI|FuzzSession'
# Each package is built once. Each core has one target at a time, with one worker.
set -eu

# one BINARY DIR TARGET TIME fails when an input breaks the target. A fuzzer may also end
# with "context deadline exceeded" when the time is over while its workers are busy; that
# is no finding: one is always written to a file, and said.
one() {
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	cd "$2"
	"$1" -test.run '^$' -test.fuzz "^$3\$" -test.fuzztime "$4" -test.parallel 1 -test.fuzzminimizetime 2s \
		-test.fuzzcachedir "$(go env GOCACHE)/fuzz/$(go list .)" >"$log" 2>&1 && code=0 || code=$?
	said=$(tail -n 2 "$log" | head -n 1)
	if [ "$code" != 0 ]; then
		if ! grep -q 'context deadline exceeded' "$log" || grep -qE 'Failing input|panic:|_test\.go:' "$log"; then
			echo "== $2 $3 FAILED"
			cat "$log"
			return 1
		fi
		said="(the time was over; nothing was found)"
	fi
	echo "== $3: $said"
}

if [ "${1:-}" = one ]; then
	one "$2" "$3" "$4" "$5"
	exit
fi
cd "$(dirname "$0")/.."
for_time=${1:-30s}
wanted=${2:-.}
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
targets=$(grep -rE '^func Fuzz[A-Z]' --include='*_test.go' . | sed -E 's#^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]+).*#\1 \2#' | sort |
	grep -E " .*($wanted)" || true)
for dir in $(echo "$targets" | cut -d' ' -f1 | uniq); do
	go test -c -fuzz . -o "$built/$dir/fuzz" "$dir"
done
echo "$targets" | sed -E "/./!d; s#^([^ ]*) (.*)#$built/\\1/fuzz \\1 \\2 $for_time#" |
	xargs -r -n 4 -P "$(nproc 2>/dev/null || echo 1)" "$PWD/test/fuzz.sh" one
