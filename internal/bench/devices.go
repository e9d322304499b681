package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// devices is the simulated clients of one server. Worker processes hold them, so
// that their CPU time is neither the server's nor the callers', as many in each
// as its limit of open files allows.
type devices struct {
	each    int // clients in one worker
	start   func(context.Context) (*worker, error)
	workers []*worker
	size    int // clients that have joined
}

// join has the next j.Count clients join, in all workers at the same time. j.First
// numbers the first client of these devices. The recorder counts the times from the
// call to each registration.
func (d *devices) join(ctx context.Context, j join) (*recorder, error) {
	j.Sources = j.withDefaults().Sources
	for len(d.workers)*d.each < d.size+j.Count {
		w, err := d.start(ctx)
		if err != nil {
			return nil, fmt.Errorf("start a worker: %w", err)
		}
		d.workers = append(d.workers, w)
	}
	reports, err := d.all(func(i int) order {
		part := j
		first, end := max(i*d.each, d.size), min((i+1)*d.each, d.size+j.Count)
		part.First, part.Count = j.First+first, max(end-first, 0)
		return order{Do: "join", Join: part}
	})
	if err != nil {
		return nil, err
	}
	var total recorder
	for i := range reports {
		total.add(&reports[i].Joined)
	}
	d.size += j.Count
	return &total, nil
}

// all gives an order to each worker at the same time.
func (d *devices) all(order func(i int) order) ([]report, error) {
	reports, errs := make([]report, len(d.workers)), make([]error, len(d.workers))
	var waiting sync.WaitGroup
	for i, w := range d.workers {
		waiting.Go(func() { reports[i], errs[i] = w.order(order(i)) })
	}
	waiting.Wait()
	return reports, errors.Join(errs...)
}

func (d *devices) tell(do string) ([]report, error) {
	return d.all(func(int) order { return order{Do: do} })
}

// ask has each client ask for a sign of life once and waits for the answers.
func (d *devices) ask(context.Context) error {
	_, err := d.tell("ask")
	return err
}

// drop disconnects all clients at once and without a CLOSE; they can join again.
func (d *devices) drop(context.Context) error {
	_, err := d.tell("drop")
	d.size = 0
	return err
}

// count adds up over the workers.
func (d *devices) count(context.Context) (total counts, err error) {
	reports, err := d.tell("count")
	for _, r := range reports {
		total.Lost += r.Counts.Lost
		total.Beats += r.Counts.Beats
	}
	return total, err
}

// check is an error when a client was lost.
func (d *devices) check(ctx context.Context) error {
	c, err := d.count(ctx)
	if err == nil && c.Lost > 0 {
		err = fmt.Errorf("%d of %d clients lost their connection", c.Lost, d.size)
	}
	return err
}

// close disconnects all clients and ends the workers.
func (d *devices) close() error {
	var errs []error
	for _, w := range d.workers {
		errs = append(errs, w.stop())
	}
	d.workers = nil
	return errors.Join(errs...)
}
