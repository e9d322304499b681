package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/longwire/longwire/client"
)

// dryRun shows the audience that a push would have.
func (e *environ) dryRun(ctx context.Context, api *client.Client, to client.Audience, p client.Push) error {
	d, err := api.DryRun(ctx, to, p)
	if err != nil {
		return err
	}
	if e.json() {
		return e.printJSON(d)
	}
	fmt.Fprintf(e.out, "%s; nothing was pushed\n", recipientCount(d.Recipients))
	if d.Failed > 0 {
		fmt.Fprintf(e.out, "%d of them would fail at once: unknown, or the queue is full\n", d.Failed)
	}
	if len(d.Unknown) > 0 {
		fmt.Fprintln(e.out, "out of the key's reach:", printable(strings.Join(d.Unknown, ", ")))
	}
	if len(d.Sample) > 0 {
		more := ""
		if left := d.Recipients - d.Failed - len(d.Sample); left > 0 {
			more = fmt.Sprintf(" and %d more", left)
		}
		fmt.Fprintln(e.out, printable(strings.Join(d.Sample, ", "))+more)
	}
	return nil
}

func recipientCount(n int) string {
	if n == 1 {
		return "1 recipient"
	}
	return fmt.Sprintf("%d recipients", n)
}
