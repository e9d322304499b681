#!/usr/bin/env bash
# A Longwire text device with nothing but bash and nc.
#
#   ./device.sh localhost 6666 lamp-3 lamp-3.handled [token]
#
# Replace handle. It keeps the last 256 deliveries that it has handled, as many as a
# server may have unacked: a repeat is acked again with the same verdict, and not
# handled. The text dialect has no name for the server's log (SPEC 2.3): empty the
# file when the gateway begins with an empty store.
set -u
[ $# -ge 4 ] || { echo "usage: $0 HOST PORT ID HANDLED-FILE [TOKEN]" >&2; exit 2; }
host=$1 port=$2 id=$3 handled=$4 token=${5:--}
recent='' # what the file has, and what the disk did not take
heartbeat=${HEARTBEAT:-10} grace=2 # seconds; nc sees the end of a connection only when it writes, so ask often
[ ! -e "$handled" ] && [ ! -L "$handled" ] || recent=$(tail -n 256 "$handled") || exit 1

handle() { # handle NUMBER PAYLOAD: 0 is ACK, anything else NAK
	[ "${#2}" -le 1024 ] || return 1
	echo "handled $1 $2"
}

say() { printf '%s\n' "$*" >&3; } 2>/dev/null

remember() { # the new file, on the disk, then its name; before the ACK
	local lines
	lines=$(printf '%s\n' ${recent:+"$recent"} "$1" | tail -n 256) && recent=$lines
	printf '%s\n' "$recent" >"$handled.new" && sync "$handled.new" && mv "$handled.new" "$handled"
}

on_data() { # on_data NUMBER PAYLOAD
	local verdict
	verdict=$(printf '%s\n' "$recent" | awk -v n="$1" '$1 "" == n "" && /^[0-9]+ (ACK|NAK)$/ {v = $2} END {print v}') || return
	if [ -z "$verdict" ]; then
		verdict=NAK
		handle "$1" "$2" && verdict=ACK
		[ "${1#e}" != "$1" ] || remember "$1 $verdict" # e7 counts on this connection only
	fi
	say "$verdict $1"
}

live() { # until the connection ends; says how many ms to wait in retry
	local line verb rest n payload got asked='' half='' # of a line, when the network stands still
	say "REGISTER $id $token heartbeat=${heartbeat}s"
	while :; do
		IFS= read -r -t $((asked ? grace : heartbeat + grace)) line <&4
		got=$?
		line=$half$line
		if [ $got -ne 0 ]; then
			[ $got -gt 128 ] && [ -z "$asked" ] || return # the end, or silence again
			asked=1 half=$line
			say PING
			continue
		fi
		asked='' half=''
		line=${line%$'\r'}
		verb=${line%% *} rest=${line#* }
		n=${rest%% *} payload=${rest#"$n"}
		case $verb in
		PING) say PONG ;;
		DATA) on_data "$n" "${payload# }" ;;
		DATA64) on_data "$n" "$(printf %s "${payload# }" | base64 -d | tr -d '\000')" ;;
		REGISTERED) echo registered && registered=$SECONDS ;;
		ERROR) echo "$line" >&2 ;;
		CLOSE)
			echo "$line"
			[[ $n != 3[5-9][0-9][0-9] ]] || exit 1 # not to come back without a change
			retry=${payload# } retry=${retry%% *}
			return
			;;
		esac
	done
}

tries=0
pipes=$(mktemp -d)
trap 'kill ${nc:-} ${sleep:-} 2>/dev/null; rm -rf "$pipes"' EXIT
trap 'exit 0' INT TERM
trap '' PIPE
mkfifo "$pipes/out" "$pipes/in"
while :; do
	registered='' retry=0
	nc "$host" "$port" <"$pipes/out" >"$pipes/in" 2>/dev/null &
	nc=$!
	exec 3>"$pipes/out" 4<"$pipes/in"
	live
	exec 3>&- 4<&-
	kill "$nc" 2>/dev/null
	wait "$nc" 2>/dev/null
	[ -n "$registered" ] || echo "not registered at $host $port; it tries again"
	[ -n "$registered" ] && [ $((SECONDS - registered)) -gt 30 ] && tries=0
	ceiling=$((500 << tries)) # SPEC 7.4
	[ $ceiling -le 60000 ] || ceiling=60000
	sleep "$(awk -v r="$retry" -v c=$ceiling -v s=$RANDOM 'BEGIN {srand(s); print (r + rand() * c) / 1000}')" &
	sleep=$!
	wait $sleep # a signal ends it, and not a sleep
	sleep=''
	[ $tries -ge 7 ] || tries=$((tries + 1))
done
