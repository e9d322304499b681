#!/usr/bin/env bash
# The README's first minute, for real: start the gateway with its one command,
# be a device with nc, push with curl, stop it with SIGTERM.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
export LONGWIRE_DATA_DIR=$work/data
api=http://localhost:8080

fail() { echo "FAILED: $*" >&2; [ -f "$work/serve.log" ] && sed 's/^/serve: /' "$work/serve.log" >&2; exit 1; }
want() { # want WHAT TEXT: the answer on standard input holds TEXT
	local got; got=$(cat)
	case $got in *"$2"*) echo "ok: $1" ;; *) fail "$1: wanted $2 in: $got" ;; esac
}

go build -o "$work/longwire" ./cmd/longwire # so that the signal reaches the gateway and not the go command
"$work/longwire" serve >"$work/serve.log" 2>&1 &
pid=$!
# What was started writes its files until it has ended.
trap 'jobs -p | xargs -r kill 2>/dev/null || true; wait; rm -rf "$work"' EXIT
for _ in $(seq 100); do curl -fs $api/readyz >/dev/null 2>&1 && break; sleep 0.1; done
curl -fs $api/readyz | want "ready" '"status":"ok"'

# A device typed by hand: registers, acks what it gets.
mkfifo "$work/keys"
nc localhost 6666 <"$work/keys" >"$work/device.log" &
nc_pid=$!
exec 3>"$work/keys"
echo "REGISTER demo" >&3
for _ in $(seq 100); do grep -q '^REGISTERED' "$work/device.log" && break; sleep 0.1; done
want "registered" REGISTERED <"$work/device.log"
curl -fs $api/v1/clients | want "listed" '"id":"demo"'

curl -fs -d 'hello' "$api/v1/clients/demo/messages?wait=10s" >"$work/push.json" &
push_pid=$!
for _ in $(seq 100); do grep -q '^DATA' "$work/device.log" && break; sleep 0.1; done
seq=$(awk '/^DATA/ {print $2; exit}' "$work/device.log")
[ -n "$seq" ] || fail "the device got no DATA: $(cat "$work/device.log")"
echo "ACK $seq opened" >&3
wait "$push_pid" || fail "push"
want "acked" '"status":"acked"' <"$work/push.json"
want "with the device's answer" opened <"$work/push.json"

# A person who answers nothing, neither the message nor PING, is kept.
curl -fs -d 'hello again' "$api/v1/clients/demo/messages?wait=14s" | want "not answered" '"status":"sent"'
grep -q '^PING' "$work/device.log" || fail "the device was not asked: $(cat "$work/device.log")"
curl -fs $api/v1/clients | want "kept, and unconfirmed" '"confirmed":false'

# What nobody is there for waits on disk, through kill -9.
exec 3>&-
wait "$nc_pid" 2>/dev/null || true
for _ in $(seq 100); do curl -fs $api/v1/clients | grep -q '"id":"demo"' || break; sleep 0.1; done
id=$(curl -fs -d 'for later' $api/v1/clients/demo/messages | grep -o 'msg_[0-9a-f-]*' | head -1)
[ -n "$id" ] || fail "no message id"
kill -9 "$pid"; wait "$pid" 2>/dev/null || true
"$work/longwire" serve >"$work/serve.log" 2>&1 &
pid=$!
for _ in $(seq 100); do curl -fs $api/readyz >/dev/null 2>&1 && break; sleep 0.1; done
curl -fs "$api/v1/messages/$id" | want "still queued after kill -9" '"status":"queued"'
"$work/longwire" connect --id demo --ack auto >"$work/connect.log" 2>&1 &
nc_pid=$!
curl -fs "$api/v1/messages/$id?wait=10s" | want "acked when the device is back" '"status":"acked"'

kill -TERM "$pid"
code=0; wait "$pid" || code=$?
[ "$code" = 0 ] || fail "SIGTERM: exit code $code"
echo "ok: exit 0 after SIGTERM"
