package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/longwire/longwire/client"
)

// gateway stands in for a running one, so that the examples run by themselves.
func gateway() *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/clients/{id}/messages", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.PathValue("id") == "truck-18" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"type":"/docs/problems/client-offline","title":"Client offline","status":409}`)
			return
		}
		io.WriteString(w, `{"id":"msg_0193f2","status":"acked","result":"locked"}`)
	})
	mux.HandleFunc("POST /v1/messages/bulk", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"line":1,"key":"row-1","status":202,"id":"msg_1"}`+"\n"+`{"done":true,"accepted":1,"failed":0}`+"\n")
	})
	mux.HandleFunc("GET /v1/clients", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"items":[{"id":"truck-17","online":true,"dialect":"v2"},{"id":"truck-18","online":true,"dialect":"text"}]}`)
	})
	mux.HandleFunc("GET /v1/uplinks", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"items":[{"seq":11,"client":"meter-7","number":1,"text":"21.5"},{"seq":12,"client":"meter-8","number":1,"text":"19.0"},`+
			`{"seq":15,"client":"meter-7","number":1,"text":"21.5"},{"seq":16,"client":"meter-7","number":2,"text":"21.6"},`+
			`{"seq":17,"client":"lamp-1","text":"on"},{"seq":18,"client":"lamp-1","text":"on"}],"next_after":18,"more":false}`)
	})
	mux.HandleFunc("GET /v1/consumers/orders/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"items":[{"id":"evt_1","type":"message.received","sequence":"7","data":{"client":"truck-17","uplink":{"client":"truck-17","text":"21.5"}}}],"through":"7","lease":"l"}`)
	})
	mux.HandleFunc("/v1/consumers/orders", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"name":"orders"}`) })
	mux.HandleFunc("POST /v1/consumers/orders/ack", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"name":"orders"}`) })
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "id: 7\nevent: message.received\ndata: {\"type\":\"message.received\",\"subject\":\"truck-17\",\"data\":{\"client\":\"truck-17\",\"uplink\":{\"seq\":4,\"client\":\"truck-17\",\"text\":\"21.5\"}}}\n\n")
	})
	return httptest.NewServer(mux)
}

func dial() (*client.Client, func()) {
	s := gateway()
	c, err := client.New(s.URL)
	if err != nil {
		log.Fatal(err)
	}
	return c, s.Close
}

func ExampleClient_Push() {
	c, done := dial()
	defer done()
	m, err := c.Push(context.Background(), "truck-17", client.Push{
		Payload: client.JSON(map[string]string{"cmd": "lock"}),
		TTL:     time.Hour,
		Wait:    5 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Status, string(m.Answer()))
	// Output: acked locked
}

func ExampleProblem() {
	c, done := dial()
	defer done()
	_, err := c.Push(context.Background(), "truck-18", client.Push{Payload: client.Text("ring"), Mode: client.Online})
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Code() == client.CodeClientOffline {
		fmt.Println("not there:", p.Status)
	}
	// Output: not there: 409
}

func ExampleClient_Clients() {
	c, done := dial()
	defer done()
	for info, err := range c.Clients(context.Background(), client.ClientQuery{Prefix: "truck-"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.ID, info.Dialect)
	}
	// Output:
	// truck-17 v2
	// truck-18 text
}

func ExampleClient_Bulk() {
	c, done := dial()
	defer done()
	items := slices.Values([]client.BulkItem{{
		To:   client.Audience{Client: "truck-17"},
		Push: client.Push{Payload: client.Text("hello"), IdempotencyKey: "row-1"},
	}})
	for r, err := range c.Bulk(context.Background(), items) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Key, r.Status, r.ID)
	}
	// Output: row-1 202 msg_1
}

func ExampleClient_Events() {
	c, done := dial()
	defer done()
	for ev, err := range c.Events(context.Background(), client.EventQuery{Types: []string{"message.*"}}) {
		if err != nil {
			log.Fatal(err)
		}
		if ev.Type == client.EventMessageReceived {
			fmt.Println(ev.Subject, ev.Data.Uplink.Display())
		}
		break
	}
	// Output: truck-17 21.5
}

// consume hands each event to save, which drops those whose ID it has. It returns when ctx
// ends.
func consume(ctx context.Context, c *client.Client, save func(ev client.Event) error) error {
	spec := client.ConsumerSpec{Types: []string{"message.received"}}
	if _, err := c.CreateConsumer(ctx, "orders", spec); err != nil {
		return err
	}
	return c.Consume(ctx, "orders", client.ConsumeOptions{}, func(ctx context.Context, ev client.Event) error {
		return save(ev)
	})
}

// A backend behind a firewall that takes events from a consumer.
func ExampleClient_Consume() {
	c, done := dial()
	defer done()
	ctx, stop := context.WithCancel(context.Background())
	consume(ctx, c, func(ev client.Event) error {
		fmt.Println(ev.Data.Client, ev.Data.Uplink.Display())
		stop()
		return nil
	})
	// Output: truck-17 21.5
}

// A repeat has the number of the uplink that it repeats. A backend that survives
// its process stores seen and after with the readings.
func ExampleClient_Uplinks() {
	c, done := dial()
	defer done()
	type key struct {
		client string
		number uint64
	}
	seen, after := map[key]bool{}, uint64(0)
	for u, err := range c.Uplinks(context.Background(), client.UplinkQuery{After: after}) {
		if err != nil {
			log.Fatal(err)
		}
		after = u.Seq
		k := key{u.Client, u.Number}
		if u.Number != 0 && seen[k] {
			continue // a repeat
		}
		seen[k] = true
		fmt.Println(u.Client, u.Number, u.Display())
	}
	// Output:
	// meter-7 1 21.5
	// meter-8 1 19.0
	// meter-7 2 21.6
	// lamp-1 0 on
	// lamp-1 0 on
}

// readUplinks hands each uplink to save, which keeps it together with the cursor.
func readUplinks(ctx context.Context, cursor uint64, save func(u client.Uplink, after uint64) error) {
	c, err := client.New("http://localhost:8080")
	if err != nil {
		log.Fatal(err)
	}
	for u, err := range c.Uplinks(ctx, client.UplinkQuery{After: cursor, Follow: true}) {
		if err != nil {
			log.Fatal(err) // start again from the saved cursor
		}
		if err := save(u, u.Seq); err != nil { // the reading and the cursor
			log.Fatal(err)
		}
	}
}

// A backend that stores uplinks and continues behind the last one.
func ExampleClient_Uplinks_follow() {
	readUplinks(context.Background(), 0, func(u client.Uplink, after uint64) error {
		fmt.Println(u.Client, u.Display(), after)
		return nil
	})
}
