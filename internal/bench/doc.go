// Package bench measures the performance of the gateway on a machine: the program
// longwire-bench. Budgets are promises with a verdict; scenarios show the gateway
// under a kind of load.
//
// A number of messages per second says as much about the machine as about the
// program. So the gateway is compared with a bare server that does the least
// possible work of the same kind, in the same minutes on the same cores. The sides
// take turns, round by round, and the median of the rounds' ratios counts.
// docs/bench/README.md describes the method behind each figure.
//
// The gateway under test is a longwire process, so that the load does not count in
// its memory and CPU time. The floors and the simulated devices are processes of
// this binary. The HTTP callers are in the measuring process, or in wrk.
//
//	the run        bench.go scenarios.go (the table) machine.go command.go
//	processes      process.go (start, stop, CPU, calls) server.go (with clients) tls.go
//	devices        devices.go (simulated clients, in workers) frames.go (their wire)
//	floors         floor.go appendlog.go
//	the load       load.go (closed and open loop) callers.go wrk.go
//	measurements   compare.go webhook.go footprint.go heartbeats.go storm.go beside.go
//	               sessions.go sessionhost.go restart.go store.go
//	the report     report.go page.go chart.go figure.go
package bench
