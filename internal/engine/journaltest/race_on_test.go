//go:build race

package journaltest

// ordinary is how many schedules a run without the flag has: the race detector makes
// each ten times slower.
const ordinary = 150
