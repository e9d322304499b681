package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/apikey"
)

// usageError reports a mistyped command: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

// errSilent is a failure that the output has already shown: exit code 1 without
// another line.
var errSilent = errors.New("failed")

// oneLine returns an error on one line, safe for a terminal. Joined errors have a line
// each; a semicolon divides them.
func oneLine(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return printable(strings.Join(lines, "; "))
}

// explain returns an error of the API with advice on the next step.
func (e *environ) explain(err error) string {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		if hint := e.hint(p); hint != "" {
			return p.Error() + "; " + hint
		}
		return p.Error()
	}
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return err.Error() + "; the gateway did not answer in time, so the outcome of a change is unknown"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		what := op.Err.Error()
		if u, ok := errors.AsType[*url.Error](err); ok {
			if at, perr := url.Parse(u.URL); perr == nil {
				return fmt.Sprintf("cannot reach the gateway at %s://%s: %s; is \"longwire serve\" running there? Set --server or LONGWIRE_SERVER",
					at.Scheme, at.Host, what)
			}
		}
	}
	if advice := networkAdvice(err); advice != "" {
		return err.Error() + "; " + advice
	}
	return err.Error()
}

// hint returns advice on a problem for a person at a terminal.
func (e *environ) hint(p *client.Problem) string {
	if key, err := e.key(); p.Code() == client.CodeUnauthenticated && err == nil && apikey.CheckSecret(key) != nil {
		return "the key given is mistyped: copy it again"
	}
	return hints[p.Code()]
}

// hints has advice by the code of a problem.
var hints = map[client.Code]string{
	client.CodeUnauthenticated:   `give a key with --api-key or LONGWIRE_API_KEY; "longwire keys create" makes one`,
	client.CodeInsufficientScope: `"longwire keys create" makes a key with other scopes`,
	client.CodeClientNotFound:    `"longwire clients ls --status all" lists the known clients`,
	client.CodeClientOffline:     "without --mode online the message waits until the client is back",
	client.CodeConsumerNotFound:  "--create creates it",
	client.CodeMessageNotFound:   `"longwire messages ls" lists recent ones`,
	client.CodeAckTimeout:        "the device may still have received it; wait longer with --wait",
	client.CodeQueueFull:         `try again when the queue is shorter; "longwire clients kick --purge" cancels it`,
	client.CodeTooManyClients:    `"longwire clients forget" removes clients that are no longer used`,
	client.CodeTooManyRecipients: "--dry-run shows the audience; nothing was pushed",
	client.CodeEventsFull:        "try again in the next hour, or give the event log more room with events.max_bytes",
	client.CodeDiskFull:          "give the gateway's disk, or data.max_disk, more room",
	client.CodeDraining:          notAccepting,
	client.CodeUnavailable:       notAccepting,
	client.CodeRouteNotFound:     "--server has the address without a path; or the gateway is of another version",
	"":                           "this does not look like a gateway's answer; check --server",
}

const notAccepting = `the gateway has promised nothing; try again when "longwire health" reports that it is ready`
