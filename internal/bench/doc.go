// Package bench measures what the gateway reaches on a machine: `longwire
// bench`. Budgets are promises with a verdict; scenarios show what happens under
// a kind of load.
//
// A figure in messages per second says as much about the machine as about the
// program. So what is fast is compared with something bare that does the least
// possible of the same kind, in the same minutes on the same cores. For a budget
// both sides take turns, round by round, and the median of the rounds' ratios
// counts. How each figure comes about is told in docs/bench/README.md.
//
// The gateway under test is a process of its own, this binary again, so that
// its memory and its CPU time are its own. The load comes from the measuring
// process, over loopback, on the same cores, and from helpers, this binary too,
// where it needs more connections than one process may have.
//
//	the run        bench.go budget.go scenario.go rounds.go progress.go command.go
//	processes      process.go (start, stop, CPU, memory) collector.go (garbage) tls.go
//	floors         bare.go baredevices.go appendlog.go
//	the load       load.go (closed and open loop) pusher.go (HTTP) speaker.go (devices that
//	               wait for answers) crowd.go fleet.go helper.go (devices that ack)
//	budgets        idle.go list.go roster.go push.go store.go restart.go
//	scenarios      growth.go (connect) heartbeats.go (idle) sweep.go (push, durable, uplink)
//	               batches.go (bulk) broadcasts.go storm.go million.go
//	what is told   report.go text.go markdown.go capacity.go histogram.go format.go chart/
package bench
