//go:build unix

package history

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// callers are the programs behind the gateway. Each notes its answers in the book.
type callers struct {
	g       *gateway
	book    *book
	seed    uint64
	clients []string
	stop    chan struct{}
	running sync.WaitGroup
	events  sync.WaitGroup
}

func (c *callers) start() {
	for i := range 4 {
		c.loop(fmt.Sprint("single", i), 25*time.Millisecond, (*caller).single)
	}
	c.loop("waiting0", 10*time.Millisecond, (*caller).waiting)
	c.loop("waiting1", 10*time.Millisecond, (*caller).waiting)
	c.loop("keyed", 20*time.Millisecond, (*caller).keyed)
	c.loop("bulk", 200*time.Millisecond, (*caller).bulk)
	c.loop("list", 60*time.Millisecond, (*caller).list)
	c.loop("online", 20*time.Millisecond, (*caller).online)
	c.loop("cancel", 60*time.Millisecond, (*caller).cancel)
	c.loop("read", 5*time.Millisecond, (*caller).read)
}

// caller is one of them. It belongs to its goroutine.
type caller struct {
	*callers
	name string
	n    int
	rnd  *rand.Rand
}

// loop runs turns, with a pause after each, until stop is closed.
func (c *callers) loop(name string, pause time.Duration, turn func(*caller)) {
	one := &caller{callers: c, name: name, rnd: random(c.seed, name)}
	c.running.Go(func() {
		for {
			turn(one)
			select {
			case <-c.stop:
				return
			case <-time.After(upTo(one.rnd, 2*pause)):
			}
		}
	})
}

// call makes one request. An error says that the outcome is unknown.
func (c *callers) call(method, path, contentType, key string, body []byte) (int, shown, error) {
	req, err := http.NewRequest(method, "http://"+c.g.httpAddr+path, bytes.NewReader(body))
	if err != nil {
		return 0, shown{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.g.callers.Do(req)
	if err != nil {
		return 0, shown{}, err
	}
	defer resp.Body.Close()
	var s shown
	all, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(all, &s)
	}
	return resp.StatusCode, s, err
}

// payload is new, and fits v1 now and then.
func (c *caller) payload() string {
	c.n++
	size := 8 << c.rnd.IntN(4)
	if c.rnd.IntN(10) == 0 {
		size = 200 << c.rnd.IntN(7)
	}
	return padded(c.rnd, fmt.Sprintf("%s/%d", c.name, c.n), size)
}

func (c *caller) client() string { return c.clients[c.rnd.IntN(len(c.clients))] }

// ttl is short for one message in three.
func (c *caller) ttl() string {
	if c.rnd.IntN(3) > 0 {
		return "10m"
	}
	return fmt.Sprintf("%dms", 1000+c.rnd.IntN(2000))
}

func (c *caller) single() { c.push("", "", false) }

// waiting pushes and waits for the verdict.
func (c *caller) waiting() { c.push("?wait=1s", "", false) }

// keyed repeats a push until it is answered, and once more now and then.
func (c *caller) keyed() {
	c.push("", fmt.Sprintf("%s-%d-%d", c.name, c.seed, c.n), c.rnd.IntN(3) == 0)
}

func (c *caller) push(query, key string, again bool) {
	payload, to := c.payload(), c.client()
	p := c.book.wants(&pushed{payload: digestOf([]byte(payload)), to: []string{to}, keyed: key != ""})
	body, err := json.Marshal(map[string]string{"text": payload, "ttl": c.ttl()})
	if err != nil {
		panic(err)
	}
	path := "/v1/clients/" + to + "/messages" + query
	for !c.try(p, path, key, body) && key != "" && !c.stopped() {
		<-time.After(5 * time.Millisecond)
	}
	if again {
		c.try(p, path, key, body)
	}
}

// try makes one attempt; false says that the outcome is unknown.
func (c *caller) try(p *pushed, path, key string, body []byte) bool {
	begin := time.Now()
	code, s, err := c.call("POST", path, "application/json", key, body)
	switch {
	case err != nil || code == 503:
		c.book.mu.Lock()
		p.unknown = true
		c.book.mu.Unlock()
		return false
	case code == 200 || code == 202:
		c.book.accepted(p, s.ID)
		if len(p.to) == 1 {
			c.book.tell("the push's answer", begin, s.ID, p.to[0], outcomeOf(&s))
		}
	case code == 413: // a v1 client is connected, and cannot take it
		c.book.mu.Lock()
		// Of a repeat it says nothing about the first; net/http repeats what has a key.
		p.refused = !p.keyed && !p.unknown && len(p.ids) == 0
		c.book.mu.Unlock()
	default:
		c.book.wrong("push refused", p.to[0], fmt.Sprintf("%s = %d %s", p.payload, code, s.Reason))
	}
	return true
}

func (c *callers) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// list pushes to some clients at once.
func (c *caller) list() {
	payload := c.payload()
	var to []string
	for _, i := range c.rnd.Perm(len(c.clients))[:2+c.rnd.IntN(3)] {
		to = append(to, c.clients[i])
	}
	p := c.book.wants(&pushed{payload: digestOf([]byte(payload)), to: to})
	body, err := json.Marshal(map[string]any{"text": payload, "ttl": c.ttl(), "to": map[string]any{"clients": to}})
	if err != nil {
		panic(err)
	}
	c.try(p, "/v1/messages", "", body)
}

// bulk pushes some lines in one request. Their answers count one by one, also
// when the last ones are lost.
func (c *caller) bulk() {
	var body bytes.Buffer
	var lines []*pushed
	for range 2 + c.rnd.IntN(8) {
		payload, to := c.payload(), c.client()
		lines = append(lines, c.book.wants(&pushed{payload: digestOf([]byte(payload)), to: []string{to}, keyed: true}))
		json.NewEncoder(&body).Encode(map[string]any{"text": payload, "ttl": c.ttl(), "to": map[string]any{"client": to},
			"key": fmt.Sprintf("%s-%d-%d", c.name, c.seed, c.n)})
	}
	for range 1 + c.rnd.IntN(2) { // the repeat has the same keys
		c.answers(lines, body.Bytes())
	}
}

func (c *caller) answers(lines []*pushed, body []byte) {
	resp, err := c.g.callers.Post("http://"+c.g.httpAddr+"/v1/messages/bulk", "application/x-ndjson", bytes.NewReader(body))
	if err != nil {
		return
	}
	defer resp.Body.Close()
	for r := json.NewDecoder(resp.Body); ; {
		var a shown
		if err := r.Decode(&a); err != nil || a.Done {
			return
		}
		if a.ID != "" && a.Line >= 1 && a.Line <= len(lines) && a.State != "" {
			c.book.accepted(lines[a.Line-1], a.ID)
		}
	}
}

// online delivers now or never.
func (c *caller) online() {
	payload, to := c.payload(), c.client()
	p := c.book.wants(&pushed{payload: digestOf([]byte(payload)), to: []string{to}, online: true})
	body, err := json.Marshal(map[string]string{"text": payload, "mode": "online"})
	if err != nil {
		panic(err)
	}
	code, s, err := c.call("POST", "/v1/clients/"+to+"/messages?wait=1s", "application/json", "", body)
	if err == nil && code == 200 {
		c.book.mu.Lock()
		p.answer = outcomeOf(&s)
		c.book.mu.Unlock()
	}
}

// cancel withdraws a message that was accepted just now.
func (c *caller) cancel() {
	id := c.book.recent(10, c.rnd.IntN)
	if id == "" {
		return
	}
	c.book.cancels(id)
	begin := time.Now()
	if code, s, err := c.call("DELETE", "/v1/messages/"+id, "", "", nil); err == nil && code == 200 && s.Deliveries == "" {
		c.book.tell("cancel", begin, id, s.Client, outcomeOf(&s))
	}
}

// read looks at a message, waiting for it now and then.
func (c *caller) read() {
	id := c.book.recent(1+c.rnd.IntN(500), c.rnd.IntN)
	if id == "" {
		return
	}
	query := ""
	if c.rnd.IntN(10) == 0 {
		query = "?wait=200ms"
	}
	begin := time.Now()
	code, s, err := c.call("GET", "/v1/messages/"+id+query, "", "", nil)
	switch {
	case err != nil || code == 503:
	case code != 200:
		c.book.wrong("accepted message is gone", "", fmt.Sprintf("%s = %d", id, code))
	case s.Deliveries == "":
		c.book.tell("GET", begin, id, s.Client, outcomeOf(&s))
	default:
		if code, page, err := c.call("GET", s.Deliveries, "", "", nil); err == nil && code == 200 {
			for _, d := range page.Items {
				c.book.tell("GET deliveries", begin, id, d.Client, outcomeOf(&d))
			}
		}
	}
}

// follow reads the event stream, as SSE and as lines in turn, until ctx ends.
func (c *callers) follow(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		c.stream(ctx, []string{"text/event-stream", "application/x-ndjson"}[n%2])
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *callers) stream(ctx context.Context, accept string) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+c.g.httpAddr+"/v1/events?types=message.*", nil)
	if err != nil {
		return
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultTransport.RoundTrip(req) // without the callers' time limit
	if err != nil {
		return
	}
	defer resp.Body.Close()
	for r := bufio.NewReader(resp.Body); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimPrefix(line, "data: ")
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e struct {
			ID, Type string
			Data     struct {
				shown
				MessageID string `json:"message_id"`
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			c.book.wrong("events", "", fmt.Sprintf("%.200s: %v", line, err))
			return
		}
		if d := &e.Data; d.Client != "" && final(d.status()) && e.Type == "message."+d.status() {
			c.book.event(e.ID, told{e.Type, d.MessageID, d.Client})
			c.book.tell("event "+e.Type, time.Now(), d.MessageID, d.Client, outcomeOf(&d.shown))
		}
	}
}
