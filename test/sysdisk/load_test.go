//go:build linux

package sysdisk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/device"
)

// load is devices and callers that work on one gateway, over its restarts.
type load struct {
	t     *testing.T
	addr  string // of the API
	facts facts
	wires wires

	deviceWires sync.Map      // of *wire to the client's id
	enough      chan struct{} // ends everything
	running     sync.WaitGroup
	counts      [5]atomic.Int64 // of pushes, bulk lines, cancels, expiries, uplinks
}

// clients of the load: devices, and ids that never connect.
var (
	online = []string{"dev-0", "dev-1", "dev-2", "dev-3"}
	away   = []string{"away-0", "away-1", "away-2"}
)

// loadClients are all of them.
func loadClients() []string { return append(append([]string{}, online...), away...) }

func newLoad(t *testing.T, g *gateway) *load {
	return &load{t: t, addr: g.httpAddr, enough: make(chan struct{})}
}

func (l *load) stopped() bool {
	select {
	case <-l.enough:
		return true
	default:
		return false
	}
}

// begin starts the devices and the callers.
func (l *load) begin(tcpAddr string) {
	for _, id := range online {
		l.device(id, tcpAddr)
	}
	for i, act := range []func(*caller, string){l.pushes, l.pushes, l.waits, l.lists, l.cancels, l.expiries, l.reads, l.labels} {
		l.running.Go(func() {
			c := newCaller(l.addr, &l.wires)
			defer c.close()
			for n := 0; !l.stopped(); n++ {
				act(c, fmt.Sprintf("%d-%d", i, n))
			}
		})
	}
	l.running.Go(l.bulks)
	l.running.Go(l.follow)
}

// finish ends them and notes what the devices saw.
func (l *load) finish() {
	close(l.enough)
	l.running.Wait()
	l.deviceWires.Range(func(w, id any) bool {
		l.facts.device(id.(string), w.(*wire))
		return true
	})
}

// pause is how long callers rest, and how soon they try again.
func (l *load) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.enough:
	}
}

// send pushes until there is an answer that settles it: an outcome that is unknown
// is asked for again by the idempotency key.
func (l *load) send(c *caller, p push, query string) (answer, bool) {
	for !l.stopped() {
		a, err := c.call("POST", p.path+query, p.key, p.body)
		if err == nil && (a.code == 200 || a.code == 202) {
			l.facts.accepted(a, p)
			l.counts[0].Add(1)
			return a, true
		}
		if err == nil && a.code != 503 {
			l.t.Errorf("POST %s = %d", p.path, a.code)
			return a, false
		}
		l.pause(5 * time.Millisecond)
	}
	return answer{}, false
}

// message is a push to one client; a device rejects what contains "no".
func message(client, name, more string) push {
	text := "m" + name
	switch rand.IntN(12) {
	case 0:
		text += " no"
	case 1:
		text += " later"
	case 2:
		text += strings.Repeat(" x", 200+rand.IntN(4000))
	case 3:
		text += strings.Repeat(" y", 10_000)
	}
	return push{path: "/v1/clients/" + client + "/messages", key: "k" + name, text: text,
		body: fmt.Sprintf(`{"text":%q,"on_unknown":"queue"%s}`, text, more)}
}

func anyOf(ids []string) string { return ids[rand.IntN(len(ids))] }

// pushes are durable, and some are repeated.
func (l *load) pushes(c *caller, name string) {
	p := message(anyOf(loadClients()), name, "")
	if _, ok := l.send(c, p, ""); ok && rand.IntN(4) == 0 {
		l.send(c, p, "")
	}
	l.pause(4 * time.Millisecond)
}

func (l *load) waits(c *caller, name string) {
	l.send(c, message(anyOf(online), name, ""), "?wait=2s")
	l.pause(4 * time.Millisecond)
}

// lists are pushes to many.
func (l *load) lists(c *caller, name string) {
	to := `{"clients":["dev-0","dev-1","dev-2"]}`
	if rand.IntN(2) == 0 {
		to = `{"all":true}`
	}
	p := push{path: "/v1/messages", key: "k" + name, text: "l" + name, body: fmt.Sprintf(`{"to":%s,"text":"l%s"}`, to, name)}
	l.send(c, p, "")
	l.pause(30 * time.Millisecond)
}

func (l *load) cancels(c *caller, name string) {
	p := message(anyOf(away), name, "")
	a, ok := l.send(c, p, "")
	if !ok {
		return
	}
	b, err := c.call("DELETE", "/v1/messages/"+a.ID, "", "")
	if err == nil && b.code == 200 {
		l.facts.final(b, "cancel")
		l.counts[2].Add(1)
	}
	l.pause(15 * time.Millisecond)
}

func (l *load) expiries(c *caller, name string) {
	p := message(anyOf(away), name, `,"ttl":"1s"`)
	a, ok := l.send(c, p, "")
	if !ok {
		return
	}
	b, err := c.call("GET", "/v1/messages/"+a.ID+"?wait=3s", "", "")
	if err == nil && b.code == 200 {
		l.facts.final(b, "GET with wait")
		l.counts[3].Add(1)
	}
}

// reads tell final states and sequences of uplinks.
func (l *load) reads(c *caller, _ string) {
	if a, err := c.call("GET", "/v1/messages?limit=50", "", ""); err == nil && a.code == 200 {
		for _, m := range a.Items {
			m.wire, m.upto = a.wire, a.upto
			l.facts.final(m, "list")
		}
	}
	client := anyOf(online)
	if a, err := c.call("GET", "/v1/uplinks?limit=1000&client="+client, "", ""); err == nil && a.code == 200 {
		for _, u := range a.Items[max(0, len(a.Items)-20):] {
			l.facts.uplinked(u, a.wire, a.upto, "list")
		}
	}
	l.pause(100 * time.Millisecond)
}

// labels rise.
func (l *load) labels(c *caller, name string) {
	_, n, _ := strings.Cut(name, "-")
	a, err := c.call("PATCH", "/v1/clients/dev-0", "", fmt.Sprintf(`{"labels":{"n":"%06s"}}`, n))
	if err == nil && a.code == 200 {
		told := a.Labels["n"]
		l.facts.add(fact{kind: "label", what: "label n of dev-0 is " + told, wire: a.wire, upto: a.upto, holds: func(v *view) error {
			if now := v.labels["dev-0"]["n"]; now < told {
				return fmt.Errorf("it is %q", now)
			}
			return nil
		}})
	}
	l.pause(50 * time.Millisecond)
}

// bulks are requests of many lines, each on a connection of its own.
func (l *load) bulks() {
	for n := 0; !l.stopped(); n++ {
		var pushes []push
		var body bytes.Buffer
		for i := range 30 {
			name := fmt.Sprintf("b%d-%d", n, i)
			client := anyOf(loadClients())
			p := message(client, name, "")
			fmt.Fprintf(&body, `{"to":{"client":%q},"text":%q,"on_unknown":"queue","key":"k%s"}`+"\n", client, p.text, name)
			pushes = append(pushes, p)
		}
		var w *wire
		hc := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := l.wires.dial(ctx, network, addr)
				w, _ = nc.(*wire)
				return nc, err
			}}}
		if res, err := hc.Post("http://"+l.addr+"/v1/messages/bulk", "application/x-ndjson", &body); err == nil {
			bufio.NewReader(res.Body).WriteTo(&bytes.Buffer{})
			res.Body.Close()
			l.facts.bulk(w, pushes)
			l.counts[1].Add(30)
		}
		l.pause(150 * time.Millisecond)
	}
}

// follow reads the event streams, one of each process.
func (l *load) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with the load, which follow outlives
		<-l.enough
		cancel()
	}()
	for !l.stopped() {
		var w *wire
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := l.wires.dial(ctx, network, addr)
				w, _ = nc.(*wire)
				return nc, err
			}}}
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+l.addr+"/v1/events", nil)
		if err != nil {
			panic(err) // the address is ours
		}
		req.Header.Set("Accept", "application/x-ndjson")
		if res, err := hc.Do(req); err == nil {
			bufio.NewReader(res.Body).WriteTo(&bytes.Buffer{})
			res.Body.Close()
			l.facts.events(w)
		}
		l.pause(5 * time.Millisecond)
	}
}

// device runs a device with the SDK. It answers with results, says no and later,
// and sends uplinks.
func (l *load) device(id, addr string) {
	var later sync.Map
	d, err := device.New(device.Config{Addr: addr, ID: id, Backoff: device.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond},
		Logger: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			nc, err := l.wires.dial(ctx, "tcp", addr)
			if w, ok := nc.(*wire); ok {
				l.deviceWires.Store(w, id)
			}
			return nc, err
		},
		Handler: func(_ context.Context, m device.Message) ([]byte, error) {
			text := string(m.Payload)
			if _, before := later.LoadOrStore(text, true); !before && strings.HasSuffix(text, " later") {
				return nil, device.Retry
			}
			if strings.HasSuffix(text, " no") {
				return nil, errors.New("no to " + text)
			}
			return []byte("done " + text[:min(len(text), 30)]), nil
		}})
	if err != nil {
		l.t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.running.Go(func() {
		<-l.enough
		cancel()
	})
	l.running.Go(func() { d.Run(ctx) })
	l.running.Go(func() {
		for n := 0; !l.stopped(); n++ {
			text, _ := json.Marshal(map[string]any{"from": id, "n": n})
			if d.Send(ctx, text) == nil {
				l.counts[4].Add(1)
			}
			l.pause(8 * time.Millisecond)
		}
	})
}

func (l *load) String() string {
	return fmt.Sprintf("%d pushes, %d bulk lines, %d cancels, %d expiries, %d uplinks", l.counts[0].Load(), l.counts[1].Load(),
		l.counts[2].Load(), l.counts[3].Load(), l.counts[4].Load())
}
