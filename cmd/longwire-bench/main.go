// Command longwire-bench measures the performance of a longwire gateway on this
// machine. This file holds signals and the exit code; package internal/bench holds
// the measurements.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/longwire/longwire/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench.Command(os.Stdout).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "longwire-bench: %v\n", err)
		os.Exit(1)
	}
}
