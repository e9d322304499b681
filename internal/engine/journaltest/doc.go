// Package journaltest has a shared journal in memory that misbehaves as journals may. Its
// tests are a harness that runs several nodes over it, one step at a time.
//
// A schedule is a seed. The harness draws from it which process does the next step:
// an event is handed in, a record is made, an append arrives, is lost or comes again, a
// record is read and applied, a process is killed, restarted, paused, or copied. It
// checks that all nodes have one state, that each answered event is in it once, and that
// a process with a successor answers nothing.
//
//	log.go                the journal
//	rows_test.go          rows in memory, with the crashes of a state that is not synced
//	node_test.go          one process: a state machine and a journal.Writer
//	events_test.go        the events that it is given
//	steps_test.go         the steps
//	check_test.go         the properties
//	rules_test.go         each rule of the protocol, to be left out by a test
//	schedule_test.go      many schedules, with all rules and without each
package journaltest
