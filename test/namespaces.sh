# Sourced by scripts that need a Linux of their own, after subject= (what they check):
# cannot, and the checks of this machine.
# shellcheck shell=bash

# cannot says that nothing was checked. In CI that is a failure.
cannot() {
	printf '\nNOT CHECKED: %s, for %s\n\n' "${subject:?}" "$*" >&2
	[ -z "${CI:-}" ]
	exit
}

# needs_namespaces checks that this is root on Linux, that the tools are there, and that
# namespaces can be made. Only a machine that gives no right to make them is let off.
needs_namespaces() {
	[ "$(uname)" = Linux ] || cannot "this is not Linux"
	[ "$(id -u)" = 0 ] || cannot "it needs root"
	local tool
	for tool in unshare "$@"; do
		command -v "$tool" >/dev/null || cannot "there is no $tool"
	done
	unshare --net --mount --pid --fork --mount-proc true 2>/dev/null || {
		echo "NOT CHECKED: $subject: this machine gives no right to make namespaces"
		exit 0
	}
}
