package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// counter answers each request with 204 and counts the requests.
type counter struct{ came chan bool }

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	_, err := io.Copy(io.Discard, req.Body)
	c.came <- true
	return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}, err
}

// BenchmarkDispatch is the cost of an event to one webhook, beside none and 999 others
// whose filters do not select it.
func BenchmarkDispatch(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkDispatch(b, n) })
	}
}

func benchmarkDispatch(b *testing.B, n int) {
	s := memstore.New(memstore.Options{})
	defer s.Close()
	g := gatewaytest.New(b, s, gateway.Config{})
	c := &counter{came: make(chan bool, 1000)}
	m, err := New(Config{Gateway: g, Lookup: feed.NewLookup(g), transport: c, Encode: func(ev *gateway.Event, _ bool) ([]byte, string, error) {
		out, err := json.Marshal(body{Seq: ev.Seq, Type: string(ev.Type), Client: string(ev.Client)})
		return out, fmt.Sprint("evt_", ev.Seq), err
	}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		f := filterOf(i)
		if i%7 > 4 { // it would select all
			f.Types = []string{"message.*"}
		}
		if i == 0 {
			f = feed.Filter{Client: "here"}
		}
		if _, err := m.Create(b.Context(), Spec{URL: "https://r", Filter: f}, apikey.Limit{}, true, g.LastEvent()); err != nil {
			b.Fatal(err)
		}
	}
	m.Start()
	defer m.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Note(context.Background(), gateway.Event{Type: gateway.EventClientConnected, Client: "here"}); err != nil {
			b.Fatal(err)
		}
		<-c.came
	}
}
