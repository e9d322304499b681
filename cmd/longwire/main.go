// Command longwire is the gateway, its tools and a simulated device in one
// binary. This file holds signals and the exit code; package internal/cli holds
// the commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/longwire/longwire/internal/app"
	"github.com/longwire/longwire/internal/cli"
)

func main() {
	ctx, end := context.WithCancel(context.Background())
	go endOnSignal(end)
	os.Exit(cli.Main(ctx, cli.Program{Serve: app.Run}, os.Args[1:]))
}

// endOnSignal calls end, which starts the drain, at the first signal. Later
// signals change nothing, except a second interrupt: it ends the process at once,
// because a person at a terminal presses Ctrl-C again for that. The goroutine runs
// as long as the process.
func endOnSignal(end context.CancelFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	for interrupted := false; ; {
		switch s := <-signals; {
		case s != os.Interrupt:
		case interrupted:
			os.Exit(exitInterrupted)
		default:
			interrupted = true
		}
		end()
	}
}

// exitInterrupted is 128 and the number of SIGINT, as shells have it.
const exitInterrupted = 130
