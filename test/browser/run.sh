#!/bin/sh
# Builds the binary, starts it with a simulated device on free ports, and a
# second one that needs an API key, and runs the browser test of Swagger UI
# against both. The tests of the console start gateways of their own.
# Needs Go, Node and Chromium; installs playwright-core and axe-core beside
# this script when they are missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
server='' keyed='' device=''

stop() {
	for pid in $device $server $keyed; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

free_port() {
	node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
}

# until_ok seconds command...: waits for the command to succeed.
until_ok() {
	left=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		left=$((left - 1))
		if [ "$left" -le 0 ]; then
			echo "run.sh: gave up waiting for: $*" >&2
			cat "$work"/*.log >&2
			exit 1
		fi
		sleep 0.1
	done
}

[ -d "$here/node_modules/axe-core" ] || (cd "$here" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --ignore-scripts >/dev/null)
(cd "$here/../.." && go build -o "$work/longwire" ./cmd/longwire && go build -o "$work/crowd" ./test/browser/crowd)

tcp=127.0.0.1:$(free_port)
http=127.0.0.1:$(free_port)
"$work/longwire" serve --tcp-addr "$tcp" --http-addr "$http" --data-dir "$work/data" >"$work/server.log" 2>&1 &
server=$!
until_ok 15 curl -fsS "http://$http/readyz"
"$work/longwire" connect --id demo --addr "$tcp" </dev/null >"$work/device.log" 2>&1 &
device=$!
until_ok 15 curl -fsS "http://$http/v1/clients/demo"

keyed_http=127.0.0.1:$(free_port)
key=$("$work/longwire" keys create --name browser --scopes clients:read --data-dir "$work/keyed" 2>/dev/null)
"$work/longwire" serve --tcp-addr "127.0.0.1:$(free_port)" --http-addr "$keyed_http" --data-dir "$work/keyed" >"$work/keyed.log" 2>&1 &
keyed=$!
until_ok 15 curl -fsS "http://$keyed_http/readyz"

for scenes in "$here"/console/*.test.mjs; do
	LONGWIRE="$work/longwire" CROWD="$work/crowd" node "$scenes"
done
LONGWIRE_URL="http://$http" LONGWIRE_DEVICE=demo LONGWIRE_KEYED_URL="http://$keyed_http" LONGWIRE_KEY=$key node "$here/swagger.test.mjs"
