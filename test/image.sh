#!/usr/bin/env bash
# The image for real: builds the Dockerfile as it is, runs the image read-only
# and without capabilities, with and without TLS, and brings up the compose file
# with its demo devices.
#
# Needs root on Linux, dockerd with its client, docker-compose, curl, openssl and
# a static busybox. The script starts a dockerd of its own, in namespaces of its
# own: its networks, mounts and processes end with the script. No registry is
# asked: the base image is this machine's Go with the modules it has.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s (%ss)\n' "$*" "$SECONDS"; }
ok() { say "ok: $*"; }

subject="the image"
. test/namespaces.sh
needs_namespaces dockerd docker docker-compose busybox curl openssl

if [ -z "${LONGWIRE_IMAGE_WORK:-}" ]; then
	go mod download # while there is a network
	LONGWIRE_IMAGE_WORK=$(mktemp -d /var/tmp/longwire-image.XXXXXX)
	export LONGWIRE_IMAGE_WORK
	group=$(basename "$LONGWIRE_IMAGE_WORK")
	trap 'rm -rf "$LONGWIRE_IMAGE_WORK"; rmdir "/sys/fs/cgroup/$group" /sys/fs/cgroup/*/"$group" 2>/dev/null || true' EXIT
	# With the first process of the namespace all others end, and so do its mounts
	# and networks.
	unshare --net --mount --pid --fork --mount-proc --kill-child "$0"
	exit
fi
work=$LONGWIRE_IMAGE_WORK
mount -t tmpfs -o mode=0755,size=8g longwire-image "$work" # fast, and gone with the namespace
ip link set lo up
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/client COMPOSE_PROJECT_NAME=longwire
# The daemon ends before the script does: in good order it unmounts what it has.
dockerd -H "$DOCKER_HOST" --data-root "$work/root" --exec-root "$work/exec" -p "$work/pid" --cgroup-parent "/$(basename "$work")" >"$work/dockerd.log" 2>&1 &
daemon=$!
trap 'docker ps -aq | xargs -r docker rm -f >/dev/null 2>&1 || true; kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT

fail() {
	echo "FAILED: $*" >&2
	tail -3 "$work/dockerd.log" >&2
	for c in $(docker ps -aq); do
		docker inspect -f '{{.Name}} {{.State.Status}} {{json .State.Health}}' "$c" >&2
		docker logs --tail 20 "$c" >&2
	done
	exit 1
}

# until_ok SECONDS WHAT COMMAND...: waits for the command to succeed.
until_ok() {
	local left=$(($1 * 5)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || fail "$what"
		sleep 0.2
	done
}
until_ok 30 "dockerd does not start" docker info

# The base image: a shell, a toolchain, roots of authorities, modules.
base=$work/base
mkdir -p "$base"/{bin,etc/ssl/certs,tmp,root,usr/local,go/pkg/mod/cache}
cp "$(command -v busybox)" "$base/bin/busybox"
for name in sh mkdir; do ln -s busybox "$base/bin/$name"; done
cp -L /etc/ssl/certs/ca-certificates.crt "$base/etc/ssl/certs/"
goroot=$(go env GOROOT) modules=$(go env GOMODCACHE)/cache/download
image=$(sed -n 's/^ARG GO_IMAGE=//p' Dockerfile)
tar -cf - --transform "s#^${goroot#/}#usr/local/go#S;s#^${modules#/}#go/pkg/mod/cache/download#S" -C "$base" . -C / "${goroot#/}" "${modules#/}" |
	docker import -c 'ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOTOOLCHAIN=local' - "$image" >/dev/null
rm -r "$base"
ok "$image is imported"

# The Dockerfile names a front end of BuildKit, which only a registry has; the
# classic builder reads the same file.
DOCKER_BUILDKIT=0 docker build -q -t longwire . >"$work/build.log" 2>&1 || fail "the image does not build: $(tail -20 "$work/build.log")"
size=$(docker image inspect -f '{{.Size}}' longwire)
[ "$size" -lt 60000000 ] || fail "the image has $size bytes"
ok "the Dockerfile builds an image of $((size / 1000000)) MB"

# The list of its parts is in it, and names this binary.
parts=$(docker create longwire)
docker cp "$parts:/longwire.cdx.json" "$work/longwire.cdx.json" >/dev/null
docker cp "$parts:/longwire" "$work/longwire" >/dev/null
docker rm "$parts" >/dev/null
grep -q "$(sha256sum "$work/longwire" | cut -d' ' -f1)" "$work/longwire.cdx.json" || fail "the SBOM is of another binary"
grep -qF "\"$image\"" "$work/longwire.cdx.json" || fail "the SBOM does not name $image"
rm "$work/longwire"
ok "the image has its SBOM"

confined=(--read-only --cap-drop ALL --security-opt no-new-privileges:true --memory 1g)
gateway=("${confined[@]}" --health-interval 1s)
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = healthy ]; }

# stops NAME: ends within ten seconds, with 0.
stops() {
	local began=$SECONDS
	docker stop -t 35 "$1" >/dev/null
	[ $((SECONDS - began)) -le 10 ] || fail "$1 took $((SECONDS - began)) s to stop"
	[ "$(docker inspect -f '{{.State.ExitCode}}' "$1")" = 0 ] || fail "$1 ended with $(docker inspect -f '{{.State.ExitCode}}' "$1")"
	ok "$(docker inspect -f '{{.Name}}' "$1") stops in $((SECONDS - began)) s with 0"
}

# acked ID [CURL OPTIONS]: a push to the client waits for its ack and gets it.
acked() {
	local id=$1 answer
	shift
	answer=$(curl -sS -d hello "$@" "$api/v1/clients/$id/messages?wait=10s")
	case $answer in *'"status":"acked"'*) ok "a push to $id is acked" ;; *) fail "a push to $id: $answer" ;; esac
}

# Without TLS.
api=http://127.0.0.1:8080
install -d -o 65532 -g 65532 -m 0700 "$work/backup"
docker run -d --name plain "${gateway[@]}" -v plain:/data -v "$work/backup:/backup" -p 127.0.0.1:8080:8080 -e LONGWIRE_INSECURE=true longwire >/dev/null
until_ok 30 "the container is not healthy" healthy plain
docker run -d --name plain-device "${confined[@]}" --no-healthcheck --network container:plain longwire connect --id demo >/dev/null
until_ok 15 "the device does not come" curl -fsS "$api/v1/clients/demo"
acked demo
docker exec plain /longwire store backup /backup/first >/dev/null || fail "store backup in the container"
docker exec plain /longwire store verify --data-dir /backup/first >/dev/null || fail "the backup is not sound"
ok "a backup is taken and verified within the container"
if docker logs plain 2>&1 | grep -e '"level":"WARN"' -e '"level":"ERROR"'; then fail "the container warns"; fi
stops plain
docker start plain >/dev/null
until_ok 30 "the container is not healthy after a second start" healthy plain
curl -fsS "$api/v1/messages" | grep -q '"status":"acked"' || fail "the volume has lost a message"
ok "a second start on the same volume"
docker rm -f plain-device plain >/dev/null

# With TLS on both ports, a key and a device token.
mkdir "$work/tls"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gateway.example \
	-addext subjectAltName=DNS:gateway.example,IP:127.0.0.1 -keyout "$work/tls/key.pem" -out "$work/tls/cert.pem" 2>/dev/null
run() { docker run --rm "${confined[@]}" --no-healthcheck -v tls:/data -v "$work/tls:/tls" --user 65532:65532 "$@"; }
chown -R 65532:65532 "$work/tls"
key=$(run longwire keys create --name image --scopes admin 2>/dev/null)
token=$(run longwire devices token create --client demo --file /tls/devices.yaml 2>/dev/null)
docker network create field >/dev/null
docker run -d --name tls "${gateway[@]}" --network field --network-alias gateway.example -v tls:/data -v "$work/tls:/tls:ro" -p 127.0.0.1:8443:8080 \
	-e LONGWIRE_TCP_TLS=required -e LONGWIRE_TCP_TLS_CERT_FILE=/tls/cert.pem -e LONGWIRE_TCP_TLS_KEY_FILE=/tls/key.pem \
	-e LONGWIRE_HTTP_TLS_CERT_FILE=/tls/cert.pem -e LONGWIRE_HTTP_TLS_KEY_FILE=/tls/key.pem \
	-e LONGWIRE_AUTH_DEVICE_TOKENS_FILE=/tls/devices.yaml longwire >/dev/null
until_ok 30 "the container with TLS is not healthy" healthy tls
docker run -d --name tls-device "${confined[@]}" --no-healthcheck -v "$work/tls:/tls:ro" --network field \
	longwire connect --id demo --addr gateway.example:6666 --ca /tls/cert.pem --token "$token" >/dev/null
tls=(--cacert "$work/tls/cert.pem" --resolve gateway.example:8443:127.0.0.1 -H "Authorization: Bearer $key")
api=https://gateway.example:8443
until_ok 15 "the device does not come over TLS" curl -fsS "${tls[@]}" "$api/v1/clients/demo"
acked demo "${tls[@]}"
stops tls
docker rm -f tls-device tls >/dev/null

# The compose file with its demo.
api=http://127.0.0.1:8080
printf 'services: {longwire: {healthcheck: {interval: 1s}}}\n' >"$work/soon.yml"
compose() { docker-compose -f docker-compose.yml -f "$work/soon.yml" "$@"; }
compose --profile demo up -d --no-build >"$work/compose.log" 2>&1 || fail "compose: $(cat "$work/compose.log")"
until_ok 30 "the service of the compose file is not healthy" healthy "$(compose ps -q longwire)"
ok "the compose file is up"
for id in demo-1 slow seed; do
	until_ok 20 "$id does not come" curl -fsS "$api/v1/clients/$id"
	acked "$id"
done
for c in $(compose --profile demo ps -q); do
	status=$(docker inspect -f '{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$c")
	case $status in *unhealthy* | *exited* | *restarting*) fail "$status" ;; esac
done
ok "all services run, none is unhealthy"
stops "$(compose ps -q longwire)"
compose --profile demo down -v >/dev/null 2>&1

# The override of docs/guide/install.md, which opens the compose file with keys and
# TLS. Older forms of compose do not know !override: they merge lists.
site=$work/site
mkdir -p "$site/secrets"
sed '/^    ports:/,/^    volumes:/{/volumes:/!d}' docker-compose.yml >"$site/docker-compose.yml"
awk '/^## /{on=0} /^## Compose/{on=1} /^```/{code=!code; next} on && code' docs/guide/install.md | sed 's/!override //' >"$site/compose.override.yml"
grep -q LONGWIRE_AUTH_API_KEYS_FILE "$site/compose.override.yml" || fail "install.md has no override for compose"
key=lwk_$(openssl rand -hex 24) token=$(openssl rand -hex 24)
printf %s "$key" >"$site/secrets/api-keys"
printf %s "$token" >"$site/secrets/device-token"
cp "$work/tls/cert.pem" "$site/secrets/tls.crt"
cp "$work/tls/key.pem" "$site/secrets/tls.key"
chown -R 65532:65532 "$site/secrets"
chmod 0400 "$site"/secrets/*
site() { docker-compose --project-directory "$site" -f "$site/docker-compose.yml" -f "$site/compose.override.yml" -f "$work/soon.yml" "$@"; }
site up -d --no-build >"$work/compose.log" 2>&1 || fail "compose with the override: $(cat "$work/compose.log")"
until_ok 30 "the service with keys and TLS is not healthy" healthy "$(site ps -q longwire)"
made=$(site exec -T longwire /longwire keys create --name backend --scopes clients:read,messages:write 2>/dev/null)
docker run -d --name site-device "${confined[@]}" --no-healthcheck -v "$work/tls:/tls:ro" --network "container:$(site ps -q longwire)" \
	longwire connect --id demo --addr 127.0.0.1:6666 --ca /tls/cert.pem --token "$token" >/dev/null
tls=(--cacert "$work/tls/cert.pem" --resolve gateway.example:8080:127.0.0.1 -H "Authorization: Bearer $made")
api=https://gateway.example:8080
until_ok 15 "the device does not come to the opened service" curl -fsS "${tls[@]}" "$api/v1/clients/demo"
acked demo "${tls[@]}"
code=$(curl -s -o /dev/null -w '%{http_code}' --cacert "$work/tls/cert.pem" --resolve gateway.example:8080:127.0.0.1 "$api/v1/clients")
[ "$code" = 401 ] || fail "without a key the opened service answers $code"
ok "the compose file opens with keys and TLS as the page says"
stops "$(site ps -q longwire)"
docker rm -f site-device >/dev/null
site down -v >/dev/null 2>&1
say "the image does what its pages say"
