#!/usr/bin/env bash
# The README's tour "Both ways": its blocks as printed, in one shell, with the waits of a
# person between them. Needs nc and Node.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
hook='' # the blocks set it
# What was started writes its files until it has ended.
trap 'jobs -p | xargs -r kill 2>/dev/null || true; wait; rm -rf "$work"' EXIT
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf - 2>/dev/null | tar -xf - -C "$work"
cd "$work"

fail() { echo "FAILED: $*" >&2; tail -n 20 gateway.log out.* >&2 || true; exit 1; }
# within TEXT FILE COUNT: the file has the text so often, after at most 20 seconds.
within() {
	for _ in $(seq 200); do
		[ "$(grep -ciF -- "$1" "$2" || true)" -lt "$3" ] || return 0
		sleep 0.1
	done
	fail "$2 does not have $1 $3 times"
}
ready() { within '"status":"ok"' <(for _ in $(seq 200); do curl -fs localhost:8080/readyz && break; sleep 0.1; done) 1; }

# blocks FILE HEADING DIRECTORY writes the section's blocks into files 1, 2, …
blocks() {
	mkdir "$3"
	awk -v heading="## $2" -v dir="$3" '/^## /{on = $0 == heading} on && /^```/{code = !code; n += code; next} on && code {print > (dir "/" n)}' "$1"
}
blocks README.md 'Both ways' tour
blocks README.zh-CN.md '双向' tour.zh
diff -r tour tour.zh || fail "the two READMEs differ"
printed=$(cd tour && echo ./*)
[ "$printed" = "./1 ./2 ./3 ./4 ./5" ] || fail "the section has the blocks $printed, this script knows five"
step() { # runs a block in this shell
	# shellcheck disable=SC1090 # it comes from the README
	. "tour/$1" >"out.$1" 2>&1
}

step 1
ready
step 2
within 21.5 out.2 1
within 'webhook-signature: v1,' out.2 1
within 'ACK 1' out.2 1
echo "ok: the signed request is shown"

step 3
ready
within '"text":"21.5"' out.3 1
echo "ok: the reading of before the kill -9 has arrived, with a valid signature"

step 4
within 'ACK 3' out.4 1
ready
within '"text":"21.6"' out.3 1
within '"text":"21.7"' out.3 1
echo "ok: so have the two of right before the next one"

# The last block ends both programs: the replay, in the background, has to come first.
head -n -2 tour/5 >tour/replay
tail -n 2 tour/5 >tour/6
step replay
for _ in $(seq 100); do
	[ "$(curl -fs "$hook/attempts" | grep -o '"replay":true' | wc -l)" -lt 3 ] || break
	sleep 0.1
done
step 6
[ "$(grep -o '"replay":true' out.6 | wc -l)" = 3 ] || fail "the replay is not in the attempts: $(cat out.6)"
[ "$(grep -c 'message.received meter-7' out.3)" = 3 ] || fail "the backend has not taken each event once: $(cat out.3)"
echo "ok: the replay has sent all three again, and the backend has dropped them"
