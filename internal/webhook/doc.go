// Package webhook posts events to web backends: each event at least once, the events of
// one client in order, signed after the Standard Webhooks specification
// (https://www.standardwebhooks.com).
//
//	log → dispatcher → index → endpoint: lanes, one per client → requests
//	              ↘ catch-up reader of an endpoint that is behind ↗
//
// An endpoint has a mark: what lies at or below it in the log is done, but for parked
// clients. An event that fails three times parks its client: the mark passes it, and the
// client's later events are read from the log again after the retry. Marks
// and parked clients are entries of the store, written once a second, so that a crash
// loses no request. It repeats about a second of them, and those behind the mark. When a
// run or the process ends in order, the clients whose events wait are parked, and the mark
// passes all: no request that was answered is repeated.
package webhook
