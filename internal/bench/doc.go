// Package bench measures the performance budgets as ratios in one run on one
// machine: `longwire bench`.
//
// A figure in messages per second says as much about the machine as about the
// program. So what is fast is compared with something simple that does the least
// possible of the same kind, in the same minutes on the same cores: an HTTP push
// with a bare chi handler, a durable accept with a loop that appends and syncs.
// Both sides take turns, round by round, and the median of the rounds' ratios
// counts.
//
// The gateway under test is a process of its own, this binary again, so that
// its memory and its CPU time are its own. The load comes from the measuring
// process, over loopback, on the same cores.
//
//	bench.go    what a run is            budget.go   what is promised
//	idle.go     clients that do nothing  push.go     HTTP pushes
//	list.go     pages of clients         store.go    durable accept, restart
//	crowd.go    simulated devices        loader.go   the HTTP callers
//	process.go  the processes under test report.go   table and JSON
package bench
