// Package real explores the code that gives a delivery its verdict and an
// uplink its ack: gateway.Gateway with its sessions, the engine on a file system
// in memory, protocol.Session at both ends, and device.Ledger.
//
// Package verdicts, above this one, has the same promises and faults for a model
// of the rules. This package has no model. It makes one move after the other (a
// frame is read, a record is synced, a timer fires, an end fails), waits until
// every goroutine is idle, and compares callers' answers with the verdicts that
// the device's handler gave.
//
// A goroutine cannot be copied. The explorer therefore visits the worlds depth
// first and reaches each by its moves from the beginning. It knows a world by a
// hash of the state of all parts, unexported fields included, and goes no further
// from one that it has seen. A config limits the faults of a world.
//
// A config runs in a process of its own, because a pool of the engine would carry
// channels from one synctest bubble into another. One more build of this package can
// do without each rule. TestEachRuleIsNeeded removes one rule after the other there,
// and expects a broken promise. TestPromisesHold uses it with small bounds, for the
// configs that reach the bounds of the ledger and of undurable verdicts.
//
// The gateway's workers move deliveries before the next move begins, so a move
// meets no half-done step of a session. The order of records, frames, timers,
// syncs and faults is explored. tcpserver's part is in link_test.go, and
// device.Client's in device_test.go, both without sockets.
//
// LONGWIRE_TORTURE runs the configs with more faults.
package real
