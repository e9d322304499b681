#!/usr/bin/env bash
# The README's way from laptop to internet, its commands as printed: both
# listeners on all addresses with TLS, a key, a device token.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
pids=()
# What was started writes its files until it has ended.
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf - 2>/dev/null | tar -xf - -C "$work"
cd "$work"

fail() { echo "FAILED: $*" >&2; sed 's/^/serve: /' serve.log device.log >&2 || true; exit 1; }

# The commands of the section, and how many there are.
mapfile -t cmds < <(awk '/^## /{on=0} /^## From laptop to internet/{on=1} /^```/{code=!code; next} on && code' README.md)
[ ${#cmds[@]} = 7 ] || fail "the section has ${#cmds[@]} commands, this script knows seven"

for c in "${cmds[@]:0:4}"; do bash -euc "$c" 2>setup.log || fail "$c: $(cat setup.log)"; done
bash -c "exec ${cmds[4]}" >serve.log 2>&1 & pids+=($!)
for _ in $(seq 100); do curl -fs --cacert cert.pem https://localhost:8443/readyz >/dev/null && break; sleep 0.1; done
bash -c "exec ${cmds[5]}" >device.log 2>&1 & pids+=($!)
for _ in $(seq 100); do grep -q connected device.log && break; sleep 0.1; done
answer=$(bash -euc "${cmds[6]}" 2>push.log) || fail "push: $answer"
case $answer in *'"status":"acked"'*) echo "ok: pushed with a key to a device with a token, both over TLS" ;; *) fail "push: $answer" ;; esac

# Nobody else gets in.
code=$(curl -s -o /dev/null -w '%{http_code}' --cacert cert.pem https://localhost:8443/v1/clients)
[ "$code" = 401 ] || fail "without a key: $code"
echo "ok: 401 without a key"
timeout 10 ./longwire connect --id demo --addr localhost:6666 --ca cert.pem --token wrong >wrong.log 2>&1 || true
grep -q unauthorized wrong.log || fail "a wrong token: $(cat wrong.log)"
echo "ok: a wrong token is refused"
