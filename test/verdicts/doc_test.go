// Package verdicts explores the rules by which a delivery gets its verdict and
// an uplink its ack: every interleaving of a small world, with every fault.
//
// A world is one client's part of a gateway: the store with its unsynced
// records, the sessions, the device with its ledger, and two connections. Each
// move (a frame is read, a record is synced, a timer fires, an end fails) makes
// another world. The explorer visits all of them breadth first and checks the
// promises at each step; a second pass checks that a delivery can always make
// progress.
//
// A rule can be taken out. TestEachRuleIsNeeded takes out one after the other
// and expects the explorer to find a world in which a promise is broken.
//
// The actors (store, gate, device) share nothing but frames and moves.
//
// The rules are a model and run ahead of the code: today's registration claims
// with last_seq what a device has handled, and these rules have the gateway ask
// for each delivery up to an ask_through instead, because a claim says nothing of
// the verdict.
package verdicts
