#!/usr/bin/env bash
# 10,000 TCP connections that stay half open: SYNs from as many addresses that never
# answer, in a network of their own. Devices and callers get in beside them, and the
# gateway has no file for any of them. The kernel's part is tried twice: with a queue
# that holds them all, and with one that is full, where SYN cookies let newcomers in.
#
# Then connections that become half open: a route drops the packets between devices and
# gateway, in both directions. A probe says so within 2 s, and suspect comes before
# offline.
set -euo pipefail
cd "$(dirname "$0")/.."
subject="10,000 half-open connections"
# shellcheck source=test/namespaces.sh
. test/namespaces.sh

if [ "${1:-}" != inside ]; then
	needs_namespaces ip python3 curl nsenter
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	go build -o "$work" ./cmd/longwire
	unshare --net --mount --pid --fork --mount-proc "$0" inside "$work"
	exit
fi

work=$2
fail() { echo "FAILED: $*" >&2; cat "$work/serve.log" >&2; exit 1; }
half_open() { awk '$4 == "03"' /proc/net/tcp | wc -l; }
files() { find "/proc/$gateway/fd" -mindepth 1 | wc -l; }

# Answers to the attackers' addresses come back on the loopback device, and end there.
ip link set lo up
ip route add 10.0.0.0/8 dev lo
for name in all default lo; do echo 0 >"/proc/sys/net/ipv4/conf/$name/rp_filter"; done
echo 1 >/proc/sys/net/ipv4/tcp_syncookies
echo 32768 >/proc/sys/net/ipv4/tcp_max_syn_backlog

syns() { # port, how many
	python3 - "$@" <<'PYTHON'
import socket, struct, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
to = socket.inet_aton("127.0.0.1")

def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

for i in range(count):
    source = struct.pack("!I", (10 << 24) + i + 1)
    head = struct.pack("!HHIIBBHHH", 40000, port, i, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = source + to + struct.pack("!BBH", 0, 6, len(head))
    head = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(head), 0, 0, 64, 6, 0, source, to)
    raw.sendto(ip + head, ("127.0.0.1", 0))
PYTHON
}

for backlog in 16384 1024; do
	echo "$backlog" >/proc/sys/net/core/somaxconn
	"$work/longwire" serve --tcp-addr 127.0.0.1:6666 --http-addr 127.0.0.1:8080 --data-dir "$work/data-$backlog" >"$work/serve.log" 2>&1 &
	gateway=$!
	for _ in $(seq 100); do curl -fs 127.0.0.1:8080/readyz >/dev/null && break; sleep 0.1; done
	before=$(files)
	for port in 6666 8080; do syns $port 10000; done
	held=$(half_open)
	[ "$backlog" = 1024 ] || [ "$held" -ge 19000 ] || fail "$held connections are half open, want 20,000"
	[ "$held" -ge 1000 ] || fail "$held connections are half open with a queue of $backlog"
	[ "$(files)" -le $((before + 5)) ] || fail "the gateway has $(files) files, before it had $before"
	"$work/longwire" connect --id demo --addr 127.0.0.1:6666 >"$work/device.log" 2>&1 &
	device=$!
	for _ in $(seq 100); do grep -q connected "$work/device.log" && break; sleep 0.1; done
	for _ in $(seq 50); do
		answer=$(curl -s --max-time 10 -H 'Content-Type: text/plain' --data hello '127.0.0.1:8080/v1/clients/demo/messages?wait=5s')
		case $answer in *'"status":"acked"'*) ;; *) fail "a push beside them: $answer" ;; esac
	done
	echo "ok: beside $held half-open connections, with a queue of $backlog for each port, 50 pushes on new connections are acked"
	kill "$device" "$gateway"
	wait "$gateway" || fail "the gateway has ended with $?"
	wait "$device" 2>/dev/null || true
done

# The devices are in a network of their own, behind a pair of interfaces.
unshare --net sleep 300 &
network=$!
devices() { nsenter --net="/proc/$network/ns/net" "$@"; }
until [ "$(readlink "/proc/$network/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link add near type veth peer name far netns "$network"
ip address add 192.168.77.1/24 dev near
ip link set near up
devices ip address add 192.168.77.2/24 dev far
devices ip link set far up
drops() { # add or del
	ip route "$1" blackhole 192.168.77.2/32
	devices ip route "$1" blackhole 192.168.77.1/32
}

"$work/longwire" serve --tcp-addr 192.168.77.1:6666 --http-addr 127.0.0.1:8080 --data-dir "$work/data-drops" --insecure >"$work/serve.log" 2>&1 &
gateway=$!
for _ in $(seq 100); do curl -fs 127.0.0.1:8080/readyz >/dev/null && break; sleep 0.1; done
presence() { curl -s "127.0.0.1:8080/v1/clients/$1" | grep -o '"presence":"[a-z]*"' | cut -d'"' -f4; }
probe() { # prints the presence; fails if the answer takes longer than 2 s
	curl -s --max-time 2 -X POST "127.0.0.1:8080/v1/clients/$1/probe" | grep -o '"presence":"[a-z]*"' | cut -d'"' -f4
}
for dialect in v1 v2; do
	devices "$work/longwire" connect --dialect "$dialect" --id "far-$dialect" --addr 192.168.77.1:6666 >"$work/device.log" 2>&1 &
	device=$!
	for _ in $(seq 100); do [ "$(presence "far-$dialect")" = online ] && break; sleep 0.1; done
	answer=$(probe "far-$dialect") || true
	[ "$answer" = online ] || fail "a probe before packets are dropped: '$answer', want online"
	drops add
	answer=$(probe "far-$dialect") || true
	[ "$answer" = suspect ] || fail "a probe of a half-open connection: '$answer', want suspect"
	seen=$(for _ in $(seq 100); do presence "far-$dialect"; sleep 0.05; done | uniq | tr '\n' ' ')
	[ "$seen" = "suspect offline " ] || fail "after the probe the device was ${seen:-nothing}, want suspect and offline"
	answer=$(probe "far-$dialect") || true
	[ "$answer" = offline ] || fail "a probe of the ended connection: '$answer', want offline"
	echo "ok: a probe of a half-open $dialect connection says suspect within 2 s, and the gateway ends it"
	drops del
	kill "$device"
	wait "$device" 2>/dev/null || true
done
kill "$gateway" "$network"
wait "$gateway" || fail "the gateway has ended with $?"
