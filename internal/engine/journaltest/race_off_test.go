//go:build !race

package journaltest

// ordinary is how many schedules a run without the flag has.
const ordinary = 1000
