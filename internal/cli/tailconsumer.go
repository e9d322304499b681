package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

// Names of environment variables of a program that tail --exec runs.
const (
	envEventType     = "LONGWIRE_EVENT_TYPE"
	envEventID       = "LONGWIRE_EVENT_ID"
	envEventClient   = "LONGWIRE_EVENT_CLIENT"
	envEventTime     = "LONGWIRE_EVENT_TIME"
	envEventSequence = "LONGWIRE_EVENT_SEQUENCE"
)

// execGrace is how long a program may still run after an interrupt.
const execGrace = 10 * time.Second

// consumerTail holds the flags of tail that pull from a consumer.
type consumerTail struct {
	name   string
	exec   string // "" prints the events
	create bool
	spec   client.ConsumerSpec
	labels []string
}

func (t *consumerTail) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.name, "consumer", "", "pull from this consumer, and ack each event that is shown or handled")
	f.StringVar(&t.exec, "exec", "", "run this shell command for each event of the consumer; the event is on its standard input")
	f.BoolVar(&t.create, "create", false, "create the consumer, or give an existing one these filters")
	f.StringVar(&t.spec.Prefix, "prefix", "", "with --create: only events of clients whose id has this prefix")
	f.StringVar(&t.spec.Group, "group", "", "with --create: only events of clients in this group")
	f.StringArrayVar(&t.labels, "label", nil, "with --create: only events of clients with this label, name=value")
	f.StringVar(&t.spec.Start, "start", "", "with --create, of a new consumer: now (the default), earliest, a cursor, a time, or a duration such as 1h ago")
}

// check refuses flags that do not go together. The flags --types and --client select
// events of the stream, and those of a consumer that is created.
func (t *consumerTail) check(cmd *cobra.Command, q client.EventQuery) (err error) {
	switch {
	case t.name == "" && (t.exec != "" || t.create):
		return usagef("--exec and --create need --consumer")
	case t.name != "" && q.After != "":
		return usagef("a consumer has its own place: use --create --start, not --after")
	case t.exec != "" && cmd.Flags().Changed("output"):
		return usagef("--exec prints nothing itself: leave out --output")
	}
	if !t.create {
		filters := []string{"prefix", "group", "label", "start"}
		if t.name != "" {
			filters = append(filters, "types", "client")
		}
		for _, name := range filters {
			if cmd.Flags().Changed(name) {
				return usagef("--%s needs --consumer and --create", name)
			}
		}
	}
	if err := limitsSomething(cmd, "types", "client", "prefix", "group"); err != nil {
		return err
	}
	t.spec.Types, t.spec.Client = q.Types, q.Client
	t.spec.Labels, err = parsePairs("label", t.labels)
	return err
}

// tailConsumer handles the events of a consumer until an interrupt, or until limit events
// are handled.
func (e *environ) tailConsumer(ctx context.Context, api *client.Client, t *consumerTail, limit int) error {
	if t.create {
		if err := e.createConsumer(ctx, api, t); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	standBy := false
	o := client.ConsumeOptions{
		AckEvery: 1,
		Failed: func(ev client.Event, err error, pause time.Duration) {
			fmt.Fprintf(e.err, "longwire: %s %s of %q is not handled: %s; again in %s\n", printable(string(ev.Type)), printable(ev.ID),
				printable(ev.Data.Client), oneLine(err.Error()), pause.Round(10*time.Millisecond))
		},
		Waiting: func(err error, pause time.Duration) {
			if p, ok := errors.AsType[*client.Problem](err); ok && p.Code() == client.CodeLeaseHeld {
				if !standBy { // it asks every few seconds
					fmt.Fprintf(e.err, "longwire: waiting: %s\n", oneLine(e.explain(err)))
				}
				standBy = true
				return
			}
			fmt.Fprintf(e.err, "longwire: no events (%s), again in %s\n", oneLine(e.explain(err)), pause.Round(10*time.Millisecond))
		},
	}
	n := 0
	err := api.Consume(ctx, t.name, o, func(ctx context.Context, ev client.Event) error {
		standBy = false
		if err := e.handleEvent(ctx, t.exec, ev); err != nil {
			return err
		}
		if n++; n == limit {
			stop(errEnough)
		}
		return nil
	})
	if err == context.Cause(ctx) {
		return nil // an interrupt or the limit is the normal end
	}
	return err
}

var errEnough = errors.New("as many events as asked for")

// createConsumer creates a consumer. An existing one keeps its place, so that a service
// can always run with --create.
func (e *environ) createConsumer(ctx context.Context, api *client.Client, t *consumerTail) error {
	spec := t.spec
	_, err := api.Consumer(ctx, t.name)
	if err == nil {
		spec.Start = ""
	} else if p, ok := errors.AsType[*client.Problem](err); !ok || p.Code() != client.CodeConsumerNotFound {
		return err
	}
	_, err = api.CreateConsumer(ctx, t.name, spec)
	return err
}

// handleEvent runs the command with an event, or prints the event if there is none.
func (e *environ) handleEvent(ctx context.Context, command string, ev client.Event) error {
	if command == "" {
		return e.showEvent(ev)
	}
	body, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	cmd := shell(ctx, command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(body, '\n')), e.out, e.err
	cmd.Env = append(e.env[:len(e.env):len(e.env)], envEventType+"="+string(ev.Type), envEventID+"="+ev.ID, envEventClient+"="+ev.Data.Client,
		envEventTime+"="+ev.Time.Format(time.RFC3339Nano), envEventSequence+"="+ev.Sequence)
	// An interrupt leaves the program its time: if it exits with 0, its event is acked.
	cmd.Cancel, cmd.WaitDelay = func() error { return os.ErrProcessDone }, execGrace
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

func shell(ctx context.Context, command string) *exec.Cmd {
	if runtime.GOOS == "windows" {
		return exec.CommandContext(ctx, "cmd", "/C", command)
	}
	return exec.CommandContext(ctx, "sh", "-c", command)
}
