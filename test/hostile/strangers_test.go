package hostile

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// Whoever has shown no key may leave so many answers untaken, on however many
// connections, and each for so long.
func TestHostileStrangers(t *testing.T) {
	const most = 50 // http.max_requests
	alone(t, func(t *testing.T) {
		httpsSite(t, func(c *config.Config) { keyed(c); c.HTTP.MaxRequests = most }).face([]behaviour{
			{"refusals that nobody takes", func(t *testing.T, s *site) { hoardRefusals(t, s, most) }},
		})
	})
}

func hoardRefusals(t *testing.T, s *site, most int64) {
	const connections, each = 5, mostStreams
	before := runtime.NumGoroutine()
	var begun, ended atomic.Int64
	var list []*h2
	var reading sync.WaitGroup
	for range connections {
		c := s.h2(initialWindow, 0)
		list = append(list, c)
		reading.Go(func() { c.count(&begun, &ended) })
		for i := range uint32(each / 2) {
			_ = c.send(request(4*i+1, get("/v1/clients")) + request(4*i+3, get("/livez")))
		}
	}
	s.eventually("each is answered or cut off", func() bool { return begun.Load()+ended.Load() == connections*each })
	if got := begun.Load(); got != most {
		t.Errorf("%d answers wait, want %d", got, most)
	}
	const perConnection = 4 // of net/http, and ours
	if got := runtime.NumGoroutine() - before; got > int(most)+connections*perConnection {
		t.Errorf("%d goroutines more, for %d answers on %d connections", got, most, connections)
	}
	w := s.wire() // over HTTP/1.1 they are no more than connections
	_ = w.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if a := w.answer(); a.status != 200 {
		t.Errorf("/livez over HTTP/1.1: %d", a.status)
	}
	w.Close()
	s.eventually("those that wait are cut off", func() bool { return ended.Load() == connections*each })
	for _, c := range list {
		c.Close()
	}
	reading.Wait()
}

// count counts the answers that begin, and the requests that are cut off, to the
// end of the connection.
func (c *h2) count(begun, ended *atomic.Int64) {
	_ = c.SetReadDeadline(time.Now().Add(3 * patience)) // the test ends it
	for {
		switch kind, _, _, _ := c.next(); kind {
		case h2Headers:
			begun.Add(1)
		case h2Reset:
			ended.Add(1)
		case -1:
			return
		}
	}
}
