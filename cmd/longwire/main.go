// Command longwire is the gateway, its tools and a simulated device in one
// binary. This file holds signals and the exit code; package internal/cli holds
// the commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/internal/app"
	"github.com/longwire/longwire/internal/bench"
	"github.com/longwire/longwire/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends ctx, which starts the drain. From then on signals
	// have their default effect again: a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Main(ctx, cli.Program{
		Serve: app.Run,
		More:  []*cobra.Command{bench.Command(os.Stdout)},
	}, os.Args[1:]))
}
