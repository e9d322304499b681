package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// created checks the body of the last call that created a consumer: created REGEXP.
func created(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: created REGEXP")
	}
	c := &ts.Value(gatewayKey{}).(*fakeGateway).consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	if !regexp.MustCompile(args[0]).MatchString(c.created) {
		ts.Fatalf("the consumer was created with %s", c.created)
	}
}

// fakeConsumer is a consumer "orders" of a gateway that has four events.
type fakeConsumer struct {
	mu      sync.Mutex
	created string // the body of the last PUT
	acked   int
}

func (c *fakeConsumer) routes(api *http.ServeMux) {
	api.HandleFunc("GET /v1/consumers/orders", func(w http.ResponseWriter, r *http.Request) { c.show(w, r, false) })
	api.HandleFunc("PUT /v1/consumers/orders", func(w http.ResponseWriter, r *http.Request) { c.show(w, r, true) })
	api.HandleFunc("GET /v1/consumers/orders/events", c.pull)
	api.HandleFunc("POST /v1/consumers/orders/ack", c.ack)
}

func (c *fakeConsumer) show(w http.ResponseWriter, r *http.Request, create bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if create {
		body, _ := io.ReadAll(r.Body)
		c.created = string(body)
	}
	if c.created == "" {
		problem(404, "consumer-not-found", "No such consumer", "")(w, r)
		return
	}
	say(200, `{"name":"orders","types":[]}`)(w, r)
}

func (c *fakeConsumer) pull(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.created == "" {
		problem(404, "consumer-not-found", "No such consumer", "")(w, r)
		return
	}
	if c.acked == 4 {
		c.mu.Unlock()
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
		c.mu.Lock()
	}
	var events []string
	for n := c.acked + 1; n <= 4; n++ {
		events = append(events, fmt.Sprintf(`{"id":"evt_%d","type":"message.received","subject":"truck-17","sequence":"%d",`+
			`"time":"2026-11-22T08:00:0%d.000Z","data":{"client":"truck-17","uplink":{"seq":%d,"client":"truck-17","text":"21.%d"}}}`, n, n, n, n, n))
	}
	say(200, `{"items":[`+strings.Join(events, ",")+`],"through":"4","lease":"l"}`)(w, r)
}

func (c *fakeConsumer) ack(w http.ResponseWriter, r *http.Request) {
	var body struct{ Through string }
	json.NewDecoder(r.Body).Decode(&body)
	n := 0
	fmt.Sscan(body.Through, &n)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked = max(c.acked, n)
	say(200, `{"name":"orders"}`)(w, r)
}
