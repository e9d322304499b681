// Package state is the deterministic state machine of the store: rows, and the rules
// by which events change them.
//
//	record + rows → Machine → changes of rows, results, feed
//
// It is pure. It has no clock, no goroutine and no I/O but the Reader that it is
// given: times and ids come with the events, decisions are taken in log order, and
// the same log gives the same rows, byte for byte. Its caches are invisible.
//
// A View reads a state that is durable, for callers: queries, the queue of a client,
// the walks that find rows past their time, and the check of all rows. The table of
// rows is in keys.go.
package state
