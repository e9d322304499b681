package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// restart times starts of a gateway on a store with queued messages. The first one
// finds the store as fillStore left it, the later ones find it compacted.
type restart struct{}

// valueReady is the time from the start of the process to a green /readyz.
const valueReady = "ready"

func (restart) take(ctx context.Context, r *run, out *Scenario) error {
	dir, began := r.newDir("restart"), time.Now()
	if err := fillStore(ctx, dir, r.Queued); err != nil {
		return fmt.Errorf("fill a store: %w", err)
	}
	out.Notes = append(out.Notes, fmt.Sprintf("The store was filled in %s and closed in good order.", brief(time.Since(began))))
	t := Table{Of: fmt.Sprintf("%s messages queued for %s clients, start", thousands(r.Queued), thousands(recipients(r.Queued))), Columns: []Column{{"ready after", seconds}}}
	for i := range r.Rounds {
		took, err := r.timeToReady(ctx, dir)
		if err != nil {
			return err
		}
		out.value(valueReady, took.Seconds())
		t.add(fmt.Sprint(i+1), took.Seconds())
	}
	out.Tables = append(out.Tables, t)
	return nil
}

// timeToReady starts a gateway on the store, waits until it is ready, and stops it.
func (r *run) timeToReady(ctx context.Context, dir string) (took time.Duration, err error) {
	start := time.Now()
	t, err := r.start(ctx, process{role: gatewayServer, dir: dir})
	if err != nil {
		return 0, fmt.Errorf("start the gateway: %w", err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	err = waitFor(ctx, callTimeout, "a green /readyz", func() bool {
		status, _, err := t.call(ctx, "GET", "/readyz", "", nil)
		return err == nil && status == 200
	})
	return time.Since(start), err
}
