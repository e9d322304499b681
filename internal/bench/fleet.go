package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// hands are simulated clients somewhere: a crowd in this process, or the hold
// on one in another. Calls come one at a time.
type hands interface {
	join(ctx context.Context, m muster) (*latencies, error)
	ask(ctx context.Context) error
	drop(ctx context.Context) error
	count(ctx context.Context) (tally, error)
	close() error
}

// fleet is the simulated clients of one gateway, over as many processes as the
// limit of open files asks for.
type fleet struct {
	parts []hands // the first one is in this process
	sizes []int   // of the parts when all have joined
	size  int     // clients that have joined
	held  *int    // connections of this process
}

// split says how many of n connections each process holds: this one has room
// for here, each other for each.
func split(n, here, each int) []int {
	sizes := []int{min(n, max(here, 0))}
	for n -= sizes[0]; n > 0; n -= each {
		sizes = append(sizes, min(n, each))
	}
	return sizes
}

// newFleet makes room for n clients; none has joined yet.
func (b *bench) newFleet(ctx context.Context, n int) (*fleet, error) {
	f := &fleet{sizes: split(n, b.perProcess-b.held, b.perProcess), held: &b.held}
	f.parts = append(f.parts, &crowd{})
	b.held += f.sizes[0]
	for range f.sizes[1:] {
		h, err := b.help(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start a process for more clients: %w", err), f.close())
		}
		f.parts = append(f.parts, h)
	}
	return f, nil
}

// muster makes a fleet and has all of it join.
func (b *bench) muster(ctx context.Context, m muster) (*fleet, error) {
	f, err := b.newFleet(ctx, m.Count)
	if err != nil {
		return nil, err
	}
	if _, err := f.join(ctx, m); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// span is a row of clients by number.
type span struct{ first, count int }

// deal says which of the clients from number from on, count of them, belong to
// each part: parts of the given sizes hold the numbers from 0 on, in order.
func deal(sizes []int, from, count int) []span {
	spans := make([]span, len(sizes))
	begin := 0
	for i, size := range sizes {
		first, end := max(begin, from), min(begin+size, from+count)
		spans[i] = span{first, max(end-first, 0)}
		begin += size
	}
	return spans
}

// join has the next m.Count clients join, in all processes at the same time.
// m.First is the number of the first client of the fleet.
func (f *fleet) join(ctx context.Context, m muster) (*latencies, error) {
	m.Sources = m.withDefaults().Sources
	spans := deal(f.sizes, f.size, m.Count)
	times := make([]*latencies, len(f.parts))
	err := f.each(func(i int, h hands) (err error) {
		if spans[i].count == 0 {
			times[i] = &latencies{}
			return nil
		}
		part := m
		part.First, part.Count = m.First+spans[i].first, spans[i].count
		times[i], err = h.join(ctx, part)
		return err
	})
	if err != nil {
		return nil, err
	}
	var total latencies
	for _, t := range times {
		total.add(t)
	}
	f.size += m.Count
	return &total, nil
}

// each does something with all parts at the same time.
func (f *fleet) each(do func(i int, h hands) error) error {
	errs := make([]error, len(f.parts))
	var all sync.WaitGroup
	for i, h := range f.parts {
		all.Go(func() { errs[i] = do(i, h) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// ask has each client ask for a sign of life, and waits for the answers.
func (f *fleet) ask(ctx context.Context) error {
	return f.each(func(_ int, h hands) error { return h.ask(ctx) })
}

// drop disconnects everybody at once and without a word; they can join again.
func (f *fleet) drop(ctx context.Context) error {
	err := f.each(func(_ int, h hands) error { return h.drop(ctx) })
	f.size = 0
	return err
}

// count adds up over the parts.
func (f *fleet) count(ctx context.Context) (total tally, err error) {
	parts := make([]tally, len(f.parts))
	err = f.each(func(i int, h hands) (err error) { parts[i], err = h.count(ctx); return err })
	for _, t := range parts {
		total.Lost += t.Lost
		total.Beats += t.Beats
	}
	return total, err
}

// check tells when clients were lost: what was measured then is worth nothing.
func (f *fleet) check(ctx context.Context) error {
	t, err := f.count(ctx)
	if err == nil && t.Lost > 0 {
		err = fmt.Errorf("%d of %d clients lost their connection", t.Lost, f.size)
	}
	return err
}

// close disconnects everybody and ends the processes.
func (f *fleet) close() error {
	err := f.each(func(_ int, h hands) error { return h.close() })
	*f.held -= f.sizes[0]
	return err
}
