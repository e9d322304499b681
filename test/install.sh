#!/usr/bin/env bash
# docs/guide/install.md for real: its commands for systemd, as printed, in a Debian
# that systemd has booted in a container of its own. Installs, makes the first key,
# opens both ports with TLS and a token, backs up by its timer's service, moves to
# a fresh host, and measures the gap of an upgrade.
#
# Needs root on Linux, debootstrap, systemd-nspawn, curl and openssl. Debian's
# packages are fetched; the container itself has no network. Its processes and
# mounts end with the script.
set -euo pipefail
cd "$(dirname "$0")/.."
ok() { printf 'ok: %s (%ss)\n' "$*" "$SECONDS"; }

subject="the install page"
. test/namespaces.sh
needs_namespaces debootstrap systemd-nspawn nsenter openssl

if [ -z "${LONGWIRE_INSTALL_WORK:-}" ]; then
	LONGWIRE_INSTALL_WORK=$(mktemp -d /var/tmp/longwire-install.XXXXXX)
	export LONGWIRE_INSTALL_WORK
	trap 'rm -rf --one-file-system "$LONGWIRE_INSTALL_WORK"' EXIT
	unshare --mount --pid --fork --mount-proc --kill-child "$0"
	exit
fi
work=$LONGWIRE_INSTALL_WORK root=$LONGWIRE_INSTALL_WORK/root
mount -t tmpfs -o mode=0755,size=4g longwire-install "$work" # fast, and gone with the namespace
go build -o "$work/longwire" ./cmd/longwire

# distribution makes the container's files: a Debian of this machine's release, whose
# C library fits the binary.
distribution() {
	rm -rf "$root"
	debootstrap --variant=minbase --include=systemd,systemd-sysv,curl,openssl,ca-certificates \
		"$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" "$root" >"$work/debootstrap.log" 2>&1
}
distribution || distribution || # the archive may be away for a moment
	cannot "debootstrap failed: $(tail -3 "$work/debootstrap.log")"
ok "a Debian is made"
mkdir -p "$root/root/deploy"
cp "$work/longwire" "$root/root/"
cp deploy/longwire.service "$root/root/deploy/"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"

# block SECTION LANGUAGE N prints the Nth block of the page's section.
block() {
	awk -v section="## $1" -v fence="\`\`\`$2" -v n="$3" '
		/^## /{on = $0 == section} on && $0 == fence && ++i == n {code = 1; next} /^```/{code = 0} code' docs/guide/install.md | grep . ||
		{ echo "install.md has no block $3 of $2 in $1" >&2; exit 1; }
}

systemd-nspawn -D "$root" --boot --private-network --register=no --keep-unit --console=pipe -M longwire -- systemd.show_status=0 </dev/null >"$work/nspawn.log" 2>&1 &
nspawn=$!
# The container's first process, and not one of nspawn's that has made room for it.
for _ in $(seq 300); do leader=$(pgrep -P "$nspawn" -x 'systemd|init') && break; sleep 0.1; done
[ -n "$leader" ] || { cat "$work/nspawn.log" >&2; exit 1; }

# inside runs a script on the host that is installed.
inside() { nsenter -t "$leader" -m -p -n -u -i env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root bash -euc "cd /root; $1" </dev/null; }
fail() {
	echo "FAILED: $*" >&2
	inside 'systemctl status longwire --no-pager; journalctl -u longwire -u longwire-backup --no-pager | tail -30' >&2 || tail -20 "$work/nspawn.log" >&2
	exit 1
}
step() { inside "$2" >"$work/step.log" 2>&1 || fail "$1: $(tail -20 "$work/step.log")"; }
until_ok() {
	for _ in $(seq 100); do inside "$2" >/dev/null 2>&1 && return; sleep 0.2; done
	fail "$1"
}
# wants WHAT SCRIPT TEXT: what the script prints holds the text.
wants() {
	local got
	got=$(inside "$2" 2>&1) || fail "$1: $got"
	case $got in *"$3"*) ok "$1" ;; *) fail "$1: wanted $3 in: $got" ;; esac
}
until_ok "systemd does not boot" "systemctl is-system-running | grep -E 'running|degraded'"
ok "systemd has booted"

step "install" "$(block systemd sh 1)"
until_ok "the gateway does not start" "systemctl is-active longwire && curl -fsS http://localhost:8080/readyz"
wants "installed, and ready" "stat -c '%a %U' /var/lib/private/longwire" "700 "
inside "$(block systemd sh 2)" >"$root/root/me.key" 2>"$work/step.log" || fail "the first key: $(cat "$work/step.log")"
wants "the first key is asked for" "curl -s -o /dev/null -w '%{http_code}' http://localhost:8080/v1/clients; curl -fsS -H \"Authorization: Bearer \$(cat me.key)\" http://localhost:8080/v1/clients" '401{"items":[],"now":'

# Open the ports.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
	-addext subjectAltName=DNS:localhost -keyout "$root/etc/longwire/tls.key" -out "$root/etc/longwire/tls.crt" 2>/dev/null
chmod 0644 "$root/etc/longwire/tls.crt"
block systemd yaml 1 >"$root/etc/longwire/longwire.yaml"
inside "$(block systemd sh 3)" >"$root/root/meter-7.token" 2>"$work/step.log" || fail "a token: $(cat "$work/step.log")"
mkdir -p "$root/etc/systemd/system/longwire.service.d"
block systemd ini 1 >"$root/etc/systemd/system/longwire.service.d/override.conf"
step "check and restart" "systemctl daemon-reload; $(block systemd sh 4)"
# shellcheck disable=SC2016 # for the shell inside
api='curl -fsS --cacert /etc/longwire/tls.crt -H "Authorization: Bearer $(cat /root/me.key)" https://localhost:8080'
until_ok "the gateway is not ready with TLS" "$api/readyz"
inside "systemd-run -q --unit meter longwire connect --id meter-7 --addr localhost:6666 --ca /etc/longwire/tls.crt --token \$(cat meter-7.token)" || fail "a device"
until_ok "the device does not come" "$api/v1/clients/meter-7"
wants "a push to a device with a token, both over TLS" "$api/v1/clients/meter-7/messages?wait=10s -d hello" '"status":"acked"'
step "a push that waits" "$api/v1/clients/meter-8/messages?on_unknown=queue -d later"

# An upgrade: the gap that callers see.
began=$(date +%s%N)
step "restart" "systemctl restart longwire"
until_ok "the gateway does not come back" "$api/readyz"
gap=$((($(date +%s%N) - began) / 1000000))
[ $gap -lt 15000 ] || fail "an upgrade takes $gap ms"
until_ok "the device does not come back" "$api/v1/clients/meter-7 | grep '\"online\":true'"
ok "restarted: callers waited $gap ms, the device is back"

# The scheduled backup: the page has both files in one block.
block "Scheduled backup" ini 1 | awk -v root="$root" '/^# \//{out = root $2; next} {print >out}'
step "the scheduled backup" "$(block "Scheduled backup" sh 1)"
wants "the timer's service has made a backup" "systemctl is-active longwire-backup.timer; longwire store verify --data-dir /var/lib/longwire-backup/* | grep verified" ok

# Root's backup beside a stopped gateway leaves files that the gateway can open.
step "a backup beside a stopped gateway" "$(printf '%s\n' 'systemctl stop longwire' 'longwire store backup /root/aside --data-dir /var/lib/longwire' 'systemctl start longwire')"
until_ok "the gateway does not start after root's backup" "$api/readyz"
ok "root made a backup while the gateway was stopped"

# Move to another host: the same one, emptied.
step "back up and stop" "$(printf '%s\n' 'systemctl stop longwire' 'longwire store backup /var/lib/longwire-backup/move --data-dir /var/lib/longwire' 'cp -a /var/lib/longwire-backup/move /root/move')"
step "a fresh host" "rm -rf /var/lib/private/longwire /var/lib/longwire"
step "restore and start" "$(block "Move to another host" sh 1)"
until_ok "the restored gateway is not ready" "$api/readyz"
wants "restored: the key is good, and the message waits" "$api/v1/clients/meter-8/messages" '"status":"queued"'

# Restored into the directory of a gateway that has run here before: its owner is
# the gateway's user.
step "restore again" "$(printf '%s\n' 'systemctl stop longwire' 'find /var/lib/private/longwire -mindepth 1 -delete' "$(block "Move to another host" sh 1)")"
until_ok "the gateway restored over its own directory is not ready" "$api/readyz"
ok "restored over an emptied directory"
step "a key beside a stopped gateway" "$(printf '%s\n' 'systemctl stop longwire' 'longwire keys create --data-dir /var/lib/longwire --name more --scopes admin' 'systemctl start longwire')"
until_ok "the gateway does not read a key that root made" "$api/readyz"
ok "root made a key while the gateway was stopped"
