package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// devices controls the simulated clients of one server. They are in worker
// processes, so that their CPU time counts neither for the server nor for the
// callers. Each worker has as many clients as its limit of open files allows.
type devices struct {
	each    int // clients in one worker
	start   func(context.Context) (*worker, error)
	workers []*worker
	size    int // clients that have joined
}

// join makes the next j.Count clients join, in all workers at the same time.
// j.First is the number of their first client. The recorder has the time from the
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

// all sends an order to each worker at the same time.
func (d *devices) all(order func(i int) order) ([]report, error) {
	reports, errs := make([]report, len(d.workers)), make([]error, len(d.workers))
	var waiting sync.WaitGroup
	for i, w := range d.workers {
		waiting.Go(func() { reports[i], errs[i] = w.order(order(i)) })
	}
	waiting.Wait()
	return reports, errors.Join(errs...)
}

func (d *devices) orderAll(do string) ([]report, error) {
	return d.all(func(int) order { return order{Do: do} })
}

// ask makes each client send one heartbeat and waits for the answers.
func (d *devices) ask(context.Context) error {
	_, err := d.orderAll("ask")
	return err
}

// drop disconnects all clients at once without a CLOSE. They can join again.
func (d *devices) drop(context.Context) error {
	_, err := d.orderAll("drop")
	d.size = 0
	return err
}

// count adds up the counts of the workers.
func (d *devices) count(context.Context) (total counts, err error) {
	reports, err := d.orderAll("count")
	for _, r := range reports {
		total.Lost += r.Counts.Lost
		total.Beats += r.Counts.Beats
	}
	return total, err
}

// check returns an error if a client was lost.
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
