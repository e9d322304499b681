#!/usr/bin/env bash
# Generates clients from docs/openapi.json, compiles them strictly and makes a
# call with each, against a gateway that needs a key and a simulated device:
# TypeScript (openapi-typescript), Go (oapi-codegen) and Python
# (openapi-generator). redocly finds nothing to say about the description. The
# TypeScript of docs/guide/uplinks.md is compiled and run, too.
# Needs Go, Node, a Java runtime and Debian's Python with urllib3, six, certifi
# and dateutil; installs what package.json pins beside this script.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
spec=$root/docs/openapi.json
generator=github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2
work=$(mktemp -d)
pids=()
stop() {
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait # what was started writes its files until it has ended
	rm -rf "$work"
}
trap stop EXIT
fail() { echo "FAILED: $*" >&2; tail -n 20 "$work"/*.log >&2; exit 1; }

# npm writes this file last.
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --ignore-scripts >/dev/null || npm ci --ignore-scripts >/dev/null
npx redocly lint --config redocly.yaml "$spec" >"$work/redocly.log" 2>&1 || fail "redocly"
grep -q 'You have' "$work/redocly.log" && fail "redocly warns"
echo "ok: redocly"

(cd "$root" && go build -o "$work/longwire" ./cmd/longwire)
free_port() { node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }
until_ok() {
	for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
	fail "gave up waiting for: $*"
}
devices=127.0.0.1:$(free_port)
LONGWIRE=http://127.0.0.1:$(free_port)
LONGWIRE_API_KEY=$("$work/longwire" keys create --name clients --scopes admin --data-dir "$work/data" 2>/dev/null)
"$work/longwire" serve --tcp-addr "$devices" --http-addr "${LONGWIRE#http://}" --data-dir "$work/data" >"$work/serve.log" 2>&1 &
pids+=($!)
until_ok curl -fsS "$LONGWIRE/readyz"
mkfifo "$work/keys"
"$work/longwire" connect --id demo --addr "$devices" <"$work/keys" >"$work/device.log" 2>&1 &
pids+=($!)
exec 3>"$work/keys"
export LONGWIRE LONGWIRE_API_KEY # only now: the gateway would take the first for a setting
until_ok curl -fsS -H "Authorization: Bearer $LONGWIRE_API_KEY" "$LONGWIRE/v1/clients/demo"

rm -rf generated
mkdir generated
npx openapi-typescript "$spec" -o generated/api.ts >"$work/typescript.log" 2>&1 || fail "openapi-typescript"
awk '/^```ts$/{on=1; next} /^```/{on=0} on' "$root/docs/guide/uplinks.md" >generated/uplinks.ts
npx tsc -p . >"$work/tsc.log" 2>&1 || fail "tsc"
node generated/js/call.js || fail "the call in TypeScript"
echo "21.5" >&3
timeout 20 node generated/js/read.js || fail "the program of uplinks.md"

mkdir -p "$work/go/longwire"
cp call.go.tmpl "$work/go/main.go"
(
	cd "$work/go"
	printf 'module generated\n\ngo 1.26\n' >go.mod
	go run "$generator" -generate types,client,skip-prune -package longwire -o longwire/api.go "$spec"
	go get github.com/oapi-codegen/runtime@v1.9.0
	go mod tidy
	go vet ./...
	go build -o call .
) >"$work/go.log" 2>&1 || fail "oapi-codegen"
"$work/go/call" || fail "the call in Go"

java -jar node_modules/@openapitools/openapi-generator-cli/bin/openapi-generator.jar generate -i "$spec" -g python --package-name longwire_api -o "$work/python" >"$work/python.log" 2>&1 ||
	fail "openapi-generator"
/usr/bin/python3 -W error -m compileall -q "$work/python" >"$work/compile.log" 2>&1 || fail "the client in Python does not compile"
PYTHONPATH=$work/python /usr/bin/python3 call.py || fail "the call in Python"
