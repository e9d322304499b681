// Package history checks whole histories of the real gateway: devices that keep a
// journal and callers that note every answer work through a proxy that cuts their
// connections at random bytes, while the gateway is killed, stopped and out of
// disk. At the end every state, reason, result and time that the API shows is
// compared with the journals.
//
// The devices speak the protocol with a codec of their own (protocol/SPEC.md), so
// that a mistake in package protocol or in the SDK is not on both sides. A few
// programs use the Go SDK: they crash and start again with the ledger's file, or
// without it, and this package's codec reads their connections.
//
// LONGWIRE_TORTURE runs the long form: 500 kills and 10,000 cut connections, in at
// most 20 minutes (go test -timeout 30m). LONGWIRE_HISTORY_SEED repeats the choices
// of a run, LONGWIRE_HISTORY_BINARY names another gateway, and with
// LONGWIRE_HISTORY_LAST_SEQ the devices send last_seq instead of ask_through.
package history
