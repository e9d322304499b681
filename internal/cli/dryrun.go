package cli

import (
	"context"
	"fmt"
	"io"
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
	var b strings.Builder
	fmt.Fprintf(&b, "%s; nothing was pushed\n", recipientCount(d.Recipients))
	if d.Failed > 0 {
		fmt.Fprintf(&b, "%d of them would fail at once: unknown, or the queue is full\n", d.Failed)
	}
	if len(d.Unknown) > 0 {
		fmt.Fprintln(&b, "out of the key's reach:", printable(strings.Join(d.Unknown, ", ")))
	}
	if len(d.Sample) > 0 {
		more := ""
		if left := d.Recipients - d.Failed - len(d.Sample); left > 0 {
			more = fmt.Sprintf(" and %d more", left)
		}
		fmt.Fprintln(&b, printable(strings.Join(d.Sample, ", "))+more)
	}
	_, err = io.WriteString(e.out, b.String())
	return err
}

func recipientCount(n int) string {
	if n == 1 {
		return "1 recipient"
	}
	return fmt.Sprintf("%d recipients", n)
}
