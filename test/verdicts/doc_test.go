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
// The rules are a model. The code that keeps them is in gateway (the sessions),
// internal/engine (the store) and device (the ledger); protocol/SPEC.md has the
// words. Where the device registers with an ask_through, the gateway asks for each
// delivery up to there, because that number says nothing of a verdict.
package verdicts
