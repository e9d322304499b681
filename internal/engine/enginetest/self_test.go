package enginetest

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
)

// faulty names the fault of this process; see TestSuiteSees.
const faulty = "ENGINETEST_FAULT"

// faults are stores that break one sentence of the contract each.
var faults = map[string]func(s *memstore.Store) gateway.Store{
	"loses an ack now and then":  func(s *memstore.Store) gateway.Store { return &losesAcks{Store: s} },
	"notifies twice":             func(s *memstore.Store) gateway.Store { return notifiesTwice{s} },
	"notifies before it is true": func(s *memstore.Store) gateway.Store { return notifiesEarly{s} },
	"newest first":               func(s *memstore.Store) gateway.Store { return newestFirst{s} },
	"forgets keys":               func(s *memstore.Store) gateway.Store { return forgetsKeys{s} },
	"skips a row a page":         func(s *memstore.Store) gateway.Store { return skipsRows{s} },
	"never expires":              func(s *memstore.Store) gateway.Store { return neverExpires{s} },
	"forgets late acks":          func(s *memstore.Store) gateway.Store { return forgetsLateAcks{s} },
	"does not survive":           func(s *memstore.Store) gateway.Store { return &losesAll{Store: s} },
}

type losesAcks struct {
	*memstore.Store
	n atomic.Int32
}

func (f *losesAcks) Settle(o gateway.Outcome, urgent bool) error {
	if f.n.Add(1)%3 == 0 {
		return nil
	}
	return f.Store.Settle(o, urgent)
}

type notifiesTwice struct{ *memstore.Store }

func (f notifiesTwice) Observe(o gateway.Observer) { f.Store.Observe(twice{o}) }

type twice struct{ gateway.Observer }

func (t twice) Changed(l []gateway.Change) {
	t.Observer.Changed(l)
	t.Observer.Changed(l)
}

// notifiesEarly shows a reported final state only to later readers.
type notifiesEarly struct{ *memstore.Store }

func (f notifiesEarly) Delivery(id gateway.MessageID, c gateway.ClientID) (gateway.Delivery, error) {
	d, err := f.Store.Delivery(id, c)
	if d.State == gateway.Rejected {
		d.State = gateway.Queued
	}
	return d, err
}

type newestFirst struct{ *memstore.Store }

func (f newestFirst) Next(q gateway.TransmissionQuery, buf []gateway.Transmission) ([]gateway.Transmission, gateway.Seq, error) {
	n := len(buf)
	buf, last, err := f.Store.Next(q, buf)
	slices.Reverse(buf[n:])
	return buf, last, err
}

type forgetsKeys struct{ *memstore.Store }

func (f forgetsKeys) Accept(ctx context.Context, a gateway.Acceptance) (gateway.Receipt, error) {
	a.IdempotencyKey = ""
	return f.Store.Accept(ctx, a)
}

type skipsRows struct{ *memstore.Store }

func (f skipsRows) Clients(q gateway.ClientQuery) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) {
	p, err := f.Store.Clients(q)
	p.Next += "~" // behind the next row where that begins alike
	if len(p.Items) > 1 {
		p.Items = p.Items[:len(p.Items)-1]
	}
	return p, err
}

type neverExpires struct{ *memstore.Store }

func (neverExpires) Expire(time.Time) {}

type forgetsLateAcks struct{ *memstore.Store }

func (f forgetsLateAcks) Settle(o gateway.Outcome, urgent bool) error {
	if d, err := f.Store.Delivery(o.Message, o.Client); err == nil && d.State.Final() {
		return nil
	}
	return f.Store.Settle(o, urgent)
}

type losesAll struct{ *memstore.Store }

func (f *losesAll) Reopen() (gateway.Store, error) {
	return &losesAll{Store: memstore.New(memstore.Options{})}, f.Store.Close()
}

// TestSuiteSees runs both suites against each faulty store, each in a process
// of its own, and wants them to fail: a suite that lets everything pass proves
// nothing.
func TestSuiteSees(t *testing.T) {
	for name := range faults {
		for _, suite := range []string{"TestRun", "TestModel"} {
			t.Run(name+"/"+suite, func(t *testing.T) {
				t.Parallel()
				cmd := exec.Command(os.Args[0], "-test.run=^"+suite+"$", "-test.failfast",
					"-rapid.checks=1000", "-rapid.shrinktime=0s", "-rapid.nofailfile") // the first failure ends it
				cmd.Env = append(os.Environ(), faulty+"="+name)
				out, err := cmd.CombinedOutput()
				if err == nil || !strings.Contains(string(out), "--- FAIL: "+suite) {
					t.Errorf("the suite passes, or ended otherwise: %v\n%s", err, out)
				}
			})
		}
	}
}

// inFaultyProcess returns how to open the faulty store, nil in a sound process.
func inFaultyProcess() Open {
	wrap := faults[os.Getenv(faulty)]
	if wrap == nil {
		return nil
	}
	patience = 300 * time.Millisecond
	return func(t *testing.T, o Options) gateway.Store { return wrap(sound(o)) }
}

func sound(o Options) *memstore.Store {
	return memstore.New(memstore.Options{Now: o.Now, StatusRetention: o.StatusRetention, ForgetAfter: o.ForgetAfter,
		QueueLen: o.QueueLen, QueueBytes: o.QueueBytes, MaxClients: o.MaxClients})
}

func openSound(_ *testing.T, o Options) gateway.Store { return sound(o) }

// TestRun and TestModel run the suites against the faulty store of a faulty
// process, and in a sound one against a sound store.
func TestRun(t *testing.T) {
	if open := inFaultyProcess(); open != nil {
		Run(t, open)
		return
	}
	Run(t, openSound)
}

func TestModel(t *testing.T) {
	if open := inFaultyProcess(); open != nil {
		RunModel(t, openSound, open)
		return
	}
	RunModel(t, openSound, openSound)
}
