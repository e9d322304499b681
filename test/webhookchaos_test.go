//go:build unix

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/test/loopback"
)

// postedEvent is an event as a webhook's endpoint gets it.
type postedEvent struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Sequence string `json:"sequence"`
	Data     struct {
		Client    string `json:"client"`
		Epoch     int    `json:"epoch"`
		Reason    string `json:"reason"`
		MessageID string `json:"message_id"`
		Uplink    struct {
			Text string `json:"text"`
		} `json:"uplink"`
	} `json:"data"`
}

func (e *postedEvent) number() uint64 {
	n, _ := strconv.ParseUint(e.Sequence, 10, 64)
	return n
}

// endpoint takes events; trouble decides how it behaves.
type endpoint struct {
	*httptest.Server
	trouble func(n int64) // called before the answer to the nth request; a panic with http.ErrAbortHandler cuts the connection
	n       atomic.Int64
	mu      sync.Mutex
	took    []postedEvent // in the order in which they were answered with 200
}

func newEndpoint(t *testing.T, trouble func(n int64)) *endpoint {
	e := &endpoint{trouble: trouble}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var ev postedEvent
		if err != nil || json.Unmarshal(body, &ev) != nil {
			return
		}
		e.trouble(e.n.Add(1))
		e.mu.Lock()
		defer e.mu.Unlock()
		e.took = append(e.took, ev)
	}))
	t.Cleanup(e.Close)
	return e
}

// chaos has what the devices and the callers know, apart from the gateway.
type chaos struct {
	t       *testing.T
	addr    string
	url     atomic.Pointer[string]
	over    atomic.Bool
	mu      sync.Mutex
	uplinks map[string][]string // payloads that were acked, by client
	pushed  []string            // messages that were accepted
}

// device comes, sends, takes messages and goes, again and again.
func (c *chaos) device(id string) {
	for sent := 0; !c.over.Load(); {
		nc, err := net.Dial("tcp", c.addr)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		c.session(id, nc, &sent)
		nc.Close()
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
	}
}

func (c *chaos) session(id string, nc net.Conn, sent *int) {
	in := bufio.NewReader(nc)
	nc.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(nc, "REGISTER %s\n", id)
	for range 1 + rand.IntN(20) {
		*sent++
		text := fmt.Sprintf("%s-%d", id, *sent)
		fmt.Fprintf(nc, "DATA %d %s\n", *sent, text)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return // not acked: it may be stored or not
			}
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			number, _, _ := strings.Cut(rest, " ")
			switch {
			case word == "DATA":
				fmt.Fprintf(nc, "ACK %s\n", number)
			case word == "PING":
				fmt.Fprintln(nc, "PONG")
			case word == "ACK" && number == strconv.Itoa(*sent):
				c.mu.Lock()
				c.uplinks[id] = append(c.uplinks[id], text)
				c.mu.Unlock()
			}
			if word == "ACK" {
				break
			}
		}
		if c.over.Load() {
			return
		}
	}
}

// pusher pushes to devices that are there or not.
func (c *chaos) pusher(ids []string) {
	client := http.Client{Timeout: 5 * time.Second}
	for !c.over.Load() {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		res, err := client.Post(*c.url.Load()+"/v1/clients/"+ids[rand.IntN(len(ids))]+"/messages?on_unknown=queue", "text/plain", strings.NewReader("x"))
		if err != nil {
			continue
		}
		var a answer
		if json.NewDecoder(res.Body).Decode(&a) == nil && res.StatusCode == http.StatusAccepted {
			c.mu.Lock()
			c.pushed = append(c.pushed, a.ID)
			c.mu.Unlock()
		}
		res.Body.Close()
	}
}

// judge returns what an endpoint's events do not have, or have in a wrong order.
func (c *chaos) judge(took []postedEvent, acked []string) (complaints []string) {
	say := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	first := map[string]postedEvent{}
	last := map[string]postedEvent{} // of a client
	online := map[string]bool{}
	epoch := map[string]int{}
	got := map[string]bool{}
	for _, e := range took {
		if before, repeated := first[e.ID]; repeated {
			if before != e {
				say("event %s is %+v and then %+v", e.ID, before, e)
			}
			continue
		}
		first[e.ID] = e
		client := e.Data.Client
		if before := last[client]; before.number() >= e.number() {
			say("of %s comes %s after %s", client, e.Sequence, before.Sequence)
		}
		last[client] = e
		switch e.Type {
		case "message.received":
			got[e.Data.Uplink.Text] = true
		case "message.acked":
			got[e.Data.MessageID] = true
		case "client.connected", "client.replaced":
			if (e.Type == "client.connected") == online[client] {
				say("%s is %s while it is online: %t", client, e.Type, online[client])
			}
			if e.Data.Epoch != epoch[client]+1 {
				say("%s has epoch %d after %d", client, e.Data.Epoch, epoch[client])
			}
			online[client], epoch[client] = true, e.Data.Epoch
		case "client.disconnected":
			if !online[client] {
				say("%s has gone twice: %+v", client, e)
			}
			online[client] = false
		}
	}
	for client, texts := range c.uplinks {
		for _, text := range texts {
			if !got[text] {
				say("%s of %s was acked and is not told", text, client)
			}
		}
	}
	for _, id := range acked {
		if !got[id] {
			say("message %s is acked, and that is not told", id)
		}
	}
	return complaints
}

// slowestRetry returns the longest pause before a retry that can be under way after
// trouble of some length: all shorter ones of docs/guide/events.md were before it, each
// within 20 %.
func slowestRetry(trouble time.Duration) time.Duration {
	steps := []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	n := 0
	for spent := steps[0] * 4 / 5; spent <= trouble && n < len(steps)-1; spent += steps[n] * 4 / 5 {
		n++
	}
	return steps[n] * 6 / 5
}

func TestSlowestRetry(t *testing.T) {
	for trouble, want := range map[time.Duration]time.Duration{
		0: 1200 * time.Millisecond, 2 * time.Second: 6 * time.Second, 12 * time.Second: 36 * time.Second, 3 * time.Minute: 12 * time.Minute,
		30 * time.Minute: 36 * time.Minute, 40 * time.Hour: 72 * time.Minute,
	} {
		if got := slowestRetry(trouble); got != want {
			t.Errorf("after %v of trouble: %v, want %v", trouble, got, want)
		}
	}
}

// The gateway is killed again and again while devices come and go and send, callers push,
// and the endpoints fail, hang and are down. At the end each endpoint has each event at
// least once, those of a client in order, repeats with the same id; presence alternates
// and epochs rise. LONGWIRE_CHAOS says for how long, LONGWIRE_TORTURE is half an hour.
func TestWebhooksInChaos(t *testing.T) {
	t.Parallel() // waits most of the time
	lasts := 12 * time.Second
	if os.Getenv("LONGWIRE_TORTURE") != "" {
		lasts = 30 * time.Minute
	}
	if text := os.Getenv("LONGWIRE_CHAOS"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal("LONGWIRE_CHAOS: ", err)
		}
	}
	c := &chaos{t: t, addr: loopback.FreeAddr(t), uplinks: map[string][]string{}}
	var calm atomic.Bool
	began := time.Now()
	steady := newEndpoint(t, func(int64) {})
	flaky := newEndpoint(t, func(n int64) {
		if calm.Load() {
			return
		}
		if down := time.Since(began) % (6 * time.Second); down > 4*time.Second {
			panic(http.ErrAbortHandler)
		}
		switch n % 29 {
		case 3, 11:
			panic(http.ErrAbortHandler)
		case 7:
			time.Sleep(1500 * time.Millisecond)
		}
	})
	data := t.TempDir()
	s := serve(t, c.addr, data)
	c.url.Store(&s.url)
	var hooks []string
	for _, e := range []*endpoint{steady, flaky} {
		a, err := s.call("POST", "/v1/webhooks", "application/json", `{"url":"`+e.URL+`","timeout":"1s","start":"earliest"}`)
		if err != nil || a.code != http.StatusCreated {
			t.Fatalf("create a webhook: %d, %v", a.code, err)
		}
		hooks = append(hooks, a.ID)
	}
	var ids []string
	var busy sync.WaitGroup
	for i := range 8 {
		ids = append(ids, fmt.Sprint("dev-", i))
		busy.Go(func() { c.device(ids[i]) })
	}
	busy.Go(func() { c.pusher(ids) })
	kills, running := 0, time.Now() // the start may have taken long
	for time.Since(running) < lasts {
		time.Sleep(time.Duration(2000+rand.IntN(1500)) * time.Millisecond)
		s.signal(t, syscall.SIGKILL)
		<-s.ended
		kills++
		s = serve(t, c.addr, data)
		c.url.Store(&s.url)
	}
	c.over.Store(true)
	busy.Wait()
	calm.Store(true)
	if lasts < 30*time.Minute { // in the long form every retry comes by itself
		for _, id := range hooks {
			if a, err := s.call("PATCH", "/v1/webhooks/"+id, "application/json", `{"state":"active"}`); err != nil || a.code != http.StatusOK {
				t.Fatalf("resume: %d, %v", a.code, err)
			}
		}
	}
	var state []byte
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the webhooks: %s", state)
		}
	})
	waitWithin(t, slowestRetry(time.Since(began))+time.Minute, "both endpoints have all", func() bool {
		var list struct {
			Items []struct {
				Lag    uint64 `json:"lag_events"`
				Parked int    `json:"parked_clients"`
			} `json:"items"`
		}
		res, err := s.http.Get(s.url + "/v1/webhooks")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		state, err = io.ReadAll(res.Body)
		if err != nil || json.Unmarshal(state, &list) != nil || len(list.Items) != 2 {
			return false
		}
		for _, w := range list.Items {
			if w.Lag > 0 || w.Parked > 0 {
				return false
			}
		}
		return true
	})
	var acked []string
	for _, id := range c.pushed {
		if a := s.get("/v1/messages/" + id); a.Status == "acked" {
			acked = append(acked, id)
		}
	}
	uplinks := 0
	for texts := range maps.Values(c.uplinks) {
		uplinks += len(texts)
	}
	for name, e := range map[string]*endpoint{"steady": steady, "flaky": flaky} {
		e.mu.Lock()
		took := slices.Clone(e.took)
		e.mu.Unlock()
		for _, complaint := range c.judge(took, acked) {
			t.Errorf("%s: %s", name, complaint)
		}
		// With one event withheld the judge complains.
		if i := slices.IndexFunc(took, func(e postedEvent) bool {
			return e.Type == "message.received" && slices.Contains(c.uplinks[e.Data.Client], e.Data.Uplink.Text)
		}); i >= 0 {
			without := slices.DeleteFunc(slices.Clone(took), func(e postedEvent) bool { return e.ID == took[i].ID })
			if len(c.judge(without, acked)) == 0 {
				t.Errorf("%s: the judge does not miss event %s", name, took[i].ID)
			}
		} else {
			t.Errorf("%s: no uplink came", name)
		}
		t.Logf("%s: %d requests taken, %d uplinks and %d acks among them, %d kills", name, len(took), uplinks, len(acked), kills)
	}
}
