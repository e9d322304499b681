package hostile

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/internal/app"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/protocol"
)

// patience bounds every wait for something that has to happen. It is long for
// the sake of busy machines: a wait ends when its condition holds.
const patience = time.Minute

// behaviour is one way to misbehave.
type behaviour struct {
	name   string
	attack func(t *testing.T, s *site)
}

// site is a gateway with three honest devices, one for each dialect.
type site struct {
	*testing.T
	app    *app.App
	tcp    string // address of the device port
	http   string // address of the API
	key    string // API key of honest callers, "" for none
	honest []*honest
	log    *journal
	dialer func(ctx context.Context, addr string) (net.Conn, error) // of the honest; nil is plain TCP
	caller *http.Client                                             // of the honest
	trust  *tls.Config                                              // of honest callers; nil is plain HTTP

	memtable uint64 // bytes of the heap that the store may use for what was written last
}

// under attacks one gateway with each behaviour in turn.
func under(t *testing.T, change func(*config.Config), list []behaviour) {
	t.Helper()
	openSite(t, change, nil).face(list)
}

func (s *site) face(list []behaviour) {
	s.Helper()
	for _, b := range list {
		s.Run(b.name, func(t *testing.T) {
			s := *s
			s.T = t
			before := s.measure()
			b.attack(t, &s)
			before.heap += s.memtable
			s.wantRecovered(before)
		})
	}
}

// openSite starts a gateway in this process, with short deadlines and small
// bounds, so that reaching them takes neither long nor much.
func openSite(t *testing.T, change func(*config.Config), dialer func(context.Context, string) (net.Conn, error)) *site {
	t.Helper()
	s := &site{T: t, log: new(journal), dialer: dialer}
	s.open(change)
	return s
}

// open starts the gateway of a site that has its log and its dialer.
func (s *site) open(change func(*config.Config)) {
	t := s.T
	t.Helper()
	c := config.Default()
	c.TCP.Addr, c.HTTP.Addr, c.Data.Dir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	c.TCP.Driver = string(driver)
	c.TCP.Heartbeat = c.TCP.MaxHeartbeat // peers answer none
	c.TCP.RegisterTimeout = config.Duration(time.Second)
	c.TCP.WriteTimeout = config.Duration(500 * time.Millisecond)
	c.TCP.OutputBudget = 300 * config.KiB
	c.TCP.MaxUnregistered, c.TCP.MaxUnregisteredPerIP = 64, 64
	c.TCP.ClientMessageRate, c.TCP.ClientByteRate = 0, 0 // so that what lies behind them is reached
	c.HTTP.ReadHeaderTimeout = config.Duration(500 * time.Millisecond)
	c.HTTP.ReadTimeout = config.Duration(time.Second)
	c.HTTP.MaxHeader = 8 * config.KiB
	c.HTTP.MaxBody = 512 * config.KiB
	c.HTTP.MaxStreams, c.HTTP.MaxStreamsPerKey = 128, 128
	c.Auth.DeviceGroups = []string{"*"} // so that what a device says shows
	c.Events.Buffer = 256               // so that the ring of events is full, and stays as it is
	c.Events.BufferBytes = 256 * config.KiB
	c.Drain.RetrySpread = 0
	if change != nil {
		change(c)
	}
	if len(c.Auth.APIKeys) > 0 {
		s.key = c.Auth.APIKeys[0].Reveal()
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, secret := range append([]config.Secret{c.Auth.DeviceToken, c.Auth.DeviceHookSecret}, c.Auth.APIKeys...) {
		s.log.forbid(secret.Reveal())
	}
	a, err := app.New(c, slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	a.Start()
	s.caller = newCaller(s.trust.Clone())
	s.app, s.tcp, s.http = a, a.TCPAddr().String(), a.HTTPAddr().String()
	for _, d := range []protocol.Dialect{protocol.V1, protocol.V2, protocol.Text} {
		s.honest = append(s.honest, s.join(d, c.Auth.DeviceToken.Reveal()))
	}
	s.wantDriver()
	s.wantServed()
}

// stored tells that an attack writes n bytes to the store, which keeps them in
// memory until it has enough for a file.
func (s *site) stored(n int) {
	if storeInHeap {
		s.memtable += 2 * uint64(n)
	}
}

// honest is a device that acks what it gets, and stays.
type honest struct {
	id       string
	connects atomic.Int32
}

// join connects a device until the test ends. A v1 device has no field for a
// token: where one is needed it speaks v2.
func (s *site) join(d protocol.Dialect, token string) *honest {
	s.Helper()
	if token != "" && d == protocol.V1 {
		d = protocol.V2
	}
	h := &honest{id: "honest-" + d.String() + fmt.Sprint(len(s.honest))}
	online := make(chan struct{}, 1)
	dev, err := device.New(device.Config{
		Addr: s.tcp, ID: h.id, Dialect: d, Token: token, Dial: s.dialer, Logger: slog.New(slog.DiscardHandler),
		OnConnect: func(protocol.Registered) {
			if h.connects.Add(1) == 1 {
				online <- struct{}{}
			}
		},
	})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = dev.Run(ctx) // its end shows as a device that is not served
	}()
	s.Cleanup(func() { cancel(); <-done })
	select {
	case <-online:
	case <-time.After(patience):
		s.Fatalf("%s has not registered:\n%s", h.id, s.log)
	}
	return h
}

// wantServed pushes to each honest device and wants its ack, on the connection
// that it has had from the start.
func (s *site) wantServed() {
	s.Helper()
	for _, h := range s.honest {
		a := s.ask("POST", "/v1/clients/"+h.id+"/messages?mode=online&wait=20s", "ping", "Content-Type", "text/plain")
		if a.status != 200 || !strings.Contains(a.body, `"status":"acked"`) {
			s.Errorf("a push to %s: %d %s", h.id, a.status, a.body)
		}
		if n := h.connects.Load(); n != 1 {
			s.Errorf("%s has connected %d times: it was dropped", h.id, n)
		}
	}
}

// wantRecovered waits until what the attack took is given back.
func (s *site) wantRecovered(before footprint) {
	s.Helper()
	s.wantServed()
	var now footprint
	eventually(s.T, func() string { return fmt.Sprintf("the footprint is as before: %+v, was %+v", now, before) }, func() bool {
		now = s.measure()
		return now.within(before)
	})
	if n := s.metric("longwire_tcp_panics_total"); n != 0 {
		s.Errorf("%v connections have panicked:\n%s", n, s.log)
	}
	s.log.check(s.T)
}

// eventually waits for a condition, and says what it was when it does not come.
func eventually(t testing.TB, what func() string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what())
		}
	}
}

func (s *site) eventually(what string, ok func() bool) {
	s.Helper()
	eventually(s.T, func() string { return what }, ok)
}
