package test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
	"github.com/longwire/longwire/tcpserver"
)

// A device may say retry later for ten minutes, over a connection that is lost:
// it still gets the message, and the message its verdict.
func TestTenMinutesOfRetryLaterLoseNoMessage(t *testing.T) {
	for name, dialect := range map[string]protocol.Dialect{"v2": protocol.V2, "text": protocol.Text} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { tenMinutesOfRetryLater(t, dialect) }) })
	}
}

func tenMinutesOfRetryLater(t *testing.T, dialect protocol.Dialect) {
	ln := &wires{waiting: make(chan net.Conn), closed: make(chan struct{})}
	g := gatewayBehind(t, ln)
	start := time.Now()
	var times atomic.Int64
	var conn atomic.Pointer[net.Conn]
	lock, err := device.New(device.Config{ID: "lock", Dialect: dialect, Logger: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, string) (net.Conn, error) {
			c := ln.dial()
			conn.Store(&c)
			return c, nil
		},
		Handler: func(_ context.Context, m device.Message) ([]byte, error) {
			times.Add(1)
			if time.Since(start) < 10*time.Minute {
				return nil, device.Retry
			}
			return nil, errors.New("jammed")
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { lock.Run(ctx) })
	defer running.Wait()
	defer cancel()
	synctest.Wait()
	rec, err := g.Push(ctx, gateway.PushRequest{To: gateway.Audience{Client: "lock"}, Payload: []byte("open")})
	if err != nil {
		t.Fatal(err)
	}
	state := func() gateway.Delivery {
		t.Helper()
		d, err := g.Delivery(rec.Message.ID, "lock")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	time.Sleep(4 * time.Minute)
	(*conn.Load()).Close()
	time.Sleep(5*time.Minute + 59*time.Second)
	if d := state(); d.State != gateway.Queued || d.Reason != gateway.ReasonRetryLater || times.Load() < 11 {
		t.Errorf("after ten minutes and %d transmissions it is %v %s, want queued %s and more than the ten attempts", times.Load(), d.State, d.Reason, gateway.ReasonRetryLater)
	}
	time.Sleep(time.Minute + time.Second)
	if d := state(); d.State != gateway.Rejected || string(d.Result) != "jammed" {
		t.Errorf("a minute later it is %v %s %q, want the device's rejection", d.State, d.Reason, d.Result)
	}
}

// gatewayBehind is a gateway in memory that serves a listener until the test ends.
func gatewayBehind(t *testing.T, ln net.Listener) *gateway.Gateway {
	t.Helper()
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	w := wheel.New()
	w.Start()
	t.Cleanup(w.Stop)
	srv, err := tcpserver.New(tcpserver.Config{Listener: ln, Gateway: g, Wheel: w, Driver: tcpserver.DriverPortable})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve() })
	t.Cleanup(func() {
		srv.Close()
		serving.Wait()
	})
	return g
}

// wires is a listener in memory.
type wires struct {
	waiting chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *wires) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.waiting <- theirs
	return ours
}

func (l *wires) Accept() (net.Conn, error) {
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *wires) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *wires) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6666} }
