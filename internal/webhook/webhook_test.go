package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// world is a gateway with webhooks over a store in memory, in virtual time. It is the
// network too: requests go to receivers by their host.
type world struct {
	*testing.T
	store     *faultyStore
	g         *gateway.Gateway
	m         *Manager
	mu        sync.Mutex
	receivers map[string]*receiver
	unread    atomic.Pointer[string] // the text of uplinks whose events cannot be encoded
}

// inWorld runs a test in virtual time.
func inWorld(t *testing.T, f func(w *world)) { inWorldOf(t, memstore.Options{}, gateway.Config{}, f) }

// inWorldOf is inWorld with a store and a gateway of one's own.
func inWorldOf(t *testing.T, o memstore.Options, cfg gateway.Config, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		s := &faultyStore{Store: memstore.New(o)}
		t.Cleanup(func() { s.Close() })
		w := &world{T: t, store: s, g: gatewaytest.New(t, s, cfg), receivers: map[string]*receiver{}}
		w.start()
		f(w)
	})
}

// faultyStore fails while a test says so.
type faultyStore struct {
	gateway.Store
	unread, unwritten atomic.Bool
	reads             atomic.Int64 // of events
	failAfter         atomic.Int64 // reads of events until all fail; 0 = none fails
	young             atomic.Bool  // the log has forgotten nothing, although its numbers begin high
	hidden            atomic.Bool  // no number of the log has an event
	puts              atomic.Int64 // writes of entries that succeed until all fail, plus 1; 0 = none fails
	unsure            atomic.Bool  // entries are written, and the caller gets an error
	mute              atomic.Bool  // no event can be noted
}

func (s *faultyStore) EventSpan() (forgotten, last uint64, err error) {
	if forgotten, last, err = s.Store.EventSpan(); s.young.Load() {
		forgotten = 0
	}
	return forgotten, last, err
}

func (s *faultyStore) Events(after uint64, limit int, buf []gateway.Event) ([]gateway.Event, uint64, error) {
	s.reads.Add(1)
	switch s.failAfter.Load() {
	case 0:
	case 1:
		return buf, 0, errors.New("the disk cannot be read")
	default:
		s.failAfter.Add(-1)
	}
	if s.hidden.Load() {
		_, last, err := s.Store.EventSpan()
		return buf, last, err
	}
	return s.Store.Events(after, limit, buf)
}

func (s *faultyStore) Client(id gateway.ClientID) (gateway.ClientRecord, error) {
	if s.unread.Load() {
		return gateway.ClientRecord{}, errors.New("the disk cannot be read")
	}
	return s.Store.Client(id)
}

func (s *faultyStore) Put(ctx context.Context, entries []gateway.Entry) error {
	if s.unwritten.Load() || s.puts.Load() == 1 {
		return errors.New("the disk cannot be written")
	}
	if s.puts.Load() > 1 {
		s.puts.Add(-1)
	}
	return errors.Join(s.Store.Put(ctx, entries), s.doubt())
}

func (s *faultyStore) doubt() error {
	if s.unsure.Load() {
		return errors.New("the disk may have the entries")
	}
	return nil
}

func (s *faultyStore) Note(ctx context.Context, e gateway.Event) error {
	if s.mute.Load() {
		return errors.New("the disk cannot be written")
	}
	return s.Store.Note(ctx, e)
}

// start starts a manager of the store, as a process that begins.
func (w *world) start() {
	w.Helper()
	m, err := New(Config{Gateway: w.g, Lookup: feed.NewLookup(w.g), Encode: w.encode, transport: w})
	if err != nil {
		w.Fatal(err)
	}
	m.Start()
	w.Cleanup(func() { m.Close() })
	w.m = m
}

// kill ends the manager without its last write, as a crash does.
func (w *world) kill() {
	w.m.mu.Lock()
	w.m.closed = true
	w.m.mu.Unlock()
	w.m.stop()
	w.m.readers.Wait()
	w.m.requests.Wait()
}

// body is what the tests send for an event.
type body struct {
	Seq    uint64
	Type   string
	Client string
	Text   string
}

func (w *world) encode(ev *gateway.Event, payloads bool) ([]byte, string, error) {
	if bad := w.unread.Load(); bad != nil && ev.Uplink != nil && string(ev.Uplink.Payload) == *bad {
		return nil, "", errors.New("the disk cannot be read")
	}
	return encode(ev, payloads)
}

func encode(ev *gateway.Event, payloads bool) ([]byte, string, error) {
	b := body{Seq: ev.Seq, Type: string(ev.Type), Client: string(ev.Client)}
	if ev.Uplink != nil && payloads {
		b.Text = string(ev.Uplink.Payload)
	}
	if len(ev.Result) > 0 && payloads {
		b.Text = string(ev.Result)
	}
	out, err := json.Marshal(b)
	return out, fmt.Sprint("evt_", ev.Seq), err
}

// receiver is an endpoint. Its answer is 204 at once unless a test says otherwise.
type receiver struct {
	w      *world
	host   string
	mu     sync.Mutex
	hook   Webhook
	got    []body
	tries  map[uint64]int
	busy   int
	most   int // requests at once
	answer func(ctx context.Context, b body, n int) *http.Response
}

func (w *world) receiver(host string) *receiver {
	r := &receiver{w: w, host: host, tries: map[uint64]int{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.receivers[host] = r
	return r
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	r := w.receivers[req.URL.Host]
	w.mu.Unlock()
	if r == nil {
		return nil, fmt.Errorf("no host %s", req.URL.Host)
	}
	return r.take(req)
}

func (r *receiver) take(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var b body
	if err := json.Unmarshal(data, &b); err != nil {
		r.w.Error(err)
	}
	r.mu.Lock()
	r.verify(b, data, req.Header)
	r.tries[b.Seq]++
	n, answer := r.tries[b.Seq], r.answer
	r.busy++
	r.most = max(r.most, r.busy)
	r.mu.Unlock()
	res := status(http.StatusNoContent)
	if answer != nil {
		res = answer(req.Context(), b, n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy--
	if req.Context().Err() != nil {
		return nil, req.Context().Err()
	}
	if res.StatusCode/100 == 2 {
		r.got = append(r.got, b)
	}
	return res, nil
}

// verify checks a request as a receiver that follows the specification does.
func (r *receiver) verify(b body, data []byte, h http.Header) {
	if r.hook.Secret == "" {
		return
	}
	v, err := standardwebhooks.NewWebhook(r.hook.Secret)
	if err == nil {
		err = v.VerifyIgnoringTimestamp(data, h) // the time is virtual
	}
	if err != nil || h.Get("webhook-id") != fmt.Sprint("evt_", b.Seq) {
		r.w.Errorf("the signature of event %d: %v, %v", b.Seq, err, h)
	}
}

func status(code int, headers ...string) *http.Response {
	res := &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	for i := 0; i < len(headers); i += 2 {
		res.Header.Set(headers[i], headers[i+1])
	}
	return res
}

// texts returns the payloads that came from a client, in order.
func (r *receiver) texts(client string) string {
	var list []string
	for _, b := range r.all() {
		if b.Client == client {
			list = append(list, b.Text)
		}
	}
	return strings.Join(list, " ")
}

// all returns the bodies that were taken, in order.
func (r *receiver) all() []body {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) signedWith(h Webhook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = h
}

func (r *receiver) answers(f func(ctx context.Context, b body, n int) *http.Response) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

var uplinks = feed.Filter{Types: []string{"message.received"}}

func (w *world) create(r *receiver, s Spec) Webhook {
	w.Helper()
	s.URL = "https://" + r.host
	if s.Filter.Types == nil {
		s.Filter = uplinks
	}
	h, err := w.m.Create(w.Context(), s, apikey.Limit{}, true, w.g.LastEvent())
	if err != nil {
		w.Fatal(err)
	}
	r.mu.Lock()
	r.hook = h
	r.mu.Unlock()
	return h
}

func (w *world) status(h Webhook) Status {
	w.Helper()
	s, err := w.m.Get(h.ID, apikey.Limit{})
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) connect(id gateway.ClientID) *gatewaytest.Link {
	return gatewaytest.Connect(w.T, w.g, id, gatewaytest.Options{})
}

// send sends the payloads from to to of a device.
func (w *world) send(l *gatewaytest.Link, from, to int) {
	w.Helper()
	for i := from; i <= to; i++ {
		if err := l.Session.Received(w.Context(), uint64(i), fmt.Append(nil, i)); err != nil {
			w.Fatal(err)
		}
	}
	synctest.Wait()
}

// count returns the numbers from 1 to n as texts returns them.
func count(n int) string {
	var list []string
	for i := 1; i <= n; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return strings.Join(list, " ")
}

func (w *world) want(r *receiver, client, texts string) {
	w.Helper()
	if got := r.texts(client); got != texts {
		w.Errorf("%s has got of %s: %s\nwant %s", r.host, client, got, texts)
	}
}

// Each event comes once and signed, those of one client in order, several clients at
// once.
func TestEventsAreDelivered(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(context.Context, body, int) *http.Response {
			time.Sleep(10 * time.Millisecond)
			return status(200)
		})
		h := w.create(r, Spec{Concurrency: 3})
		for i := range 5 {
			w.send(w.connect(gateway.ClientID(fmt.Sprint("c", i))), 1, 50)
		}
		time.Sleep(2 * time.Second)
		for i := range 5 {
			w.want(r, fmt.Sprint("c", i), count(50))
		}
		if r.most != 3 {
			w.Errorf("%d requests at once, want 3", r.most)
		}
		if s := w.status(h); s.Lag != 0 || s.Waiting != 0 || s.LastSuccess.IsZero() {
			w.Errorf("at the end: %+v", s)
		}
	})
}

// The end of a message to many comes once to each webhook that may see it, also beside
// webhooks with a limit.
func TestTheEndOfAMessageToManyComesOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, id := range []gateway.ClientID{"a-1", "a-2"} {
			w.connect(id)
		}
		spec := func(host string) Spec {
			return Spec{URL: "https://" + host, Filter: feed.Filter{Types: []string{"message.completed"}}}
		}
		receivers := map[string]*receiver{}
		limits := map[string]apikey.Limit{"none": {}, "none-too": {}, "prefix": {Prefix: "a-"}, "longer": {Prefix: "a-1"}, "group": {Group: "g"}}
		for host, limit := range limits {
			receivers[host] = w.receiver(host)
			if _, err := w.m.Create(w.Context(), spec(host), limit, true, w.g.LastEvent()); err != nil {
				w.Fatal(err)
			}
		}
		w.note("a-1") // new webhooks read the log themselves, up to its end
		time.Sleep(time.Second)
		for owner, sees := range map[string][]string{"": {"none", "none-too"}, limits["prefix"].Owner(): {"none", "none-too", "prefix"},
			limits["longer"].Owner(): {"none", "none-too", "prefix", "longer"}, limits["group"].Owner(): {"none", "none-too", "group"}} {
			r, err := w.g.Push(w.Context(), gateway.PushRequest{To: gateway.Audience{All: true}, Payload: []byte("x"), Owner: owner})
			if err != nil {
				w.Fatal(err)
			}
			if _, err := w.g.Cancel(w.Context(), r.Message.ID); err != nil && gateway.CodeOf(err) != gateway.CodeAlreadyFinal {
				w.Fatal(err) // the devices may ack first
			}
			time.Sleep(time.Second)
			for host, r := range receivers {
				got := len(r.all())
				if want := map[bool]int{true: 1}[slices.Contains(sees, host)]; got != want {
					w.Errorf("a message of %q: its end comes %d times to the webhook with the limit %q, want %d", owner, got, host, want)
				}
				r.mu.Lock()
				r.got = nil
				r.mu.Unlock()
			}
		}
	})
}

// An event that fails does not hold up other clients, and neither does it hold up the
// mark. The later events of its client come after it.
func TestAPoisonEventHoldsUpItsClientAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, n int) *http.Response {
			if b.Client == "a" && b.Text == "1" && n < 5 {
				return status(500)
			}
			return status(200)
		})
		h := w.create(r, Spec{})
		a, b := w.connect("a"), w.connect("b")
		w.send(a, 1, 5)
		w.send(b, 1, 5)
		w.want(r, "b", count(5))
		w.want(r, "a", "")
		time.Sleep(8 * time.Second) // three tries
		if s := w.status(h); s.Parked != 1 || s.Lag != 0 || s.Waiting != 0 {
			w.Errorf("parked: %+v", s)
		} else if f := s.Refused; f.Clients != 1 || f.Client != "a" || f.Error == "" || time.Since(f.Since) < 7*time.Second {
			w.Errorf("refused: %+v, want the client a for some seconds", f)
		}
		w.send(a, 6, 6)
		w.send(b, 6, 6)
		w.want(r, "b", count(6))
		time.Sleep(40 * time.Second) // the fourth
		w.want(r, "a", "")
		w.send(a, 7, 7)
		time.Sleep(3 * time.Minute) // the fifth
		w.want(r, "a", count(7))
		if s := w.status(h); s.Parked != 0 || s.Lag != 0 || s.Refused != (Refused{}) {
			w.Errorf("at the end: %+v", s)
		}
		w.send(a, 8, 9)
		w.want(r, "a", count(9))
	})
}

// An event that fails for ever becomes a dead letter, and its client goes on. Dead
// letters can be sent again.
func TestDeadLetters(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		bad := func(_ context.Context, b body, n int) *http.Response {
			if b.Client == "a" && (b.Text == "2" || b.Text == "4") {
				return status(422)
			}
			return status(200)
		}
		r.answers(bad)
		h := w.create(r, Spec{RetryFor: time.Hour})
		a, b := w.connect("a"), w.connect("b")
		w.send(a, 1, 5)
		for i := 1; i <= 16; i++ { // the endpoint is not down
			w.send(b, i, i)
			time.Sleep(30 * time.Minute)
		}
		w.want(r, "a", "1 3 5")
		dead, _, err := w.m.Dead(h.ID, apikey.Limit{}, 0, 10)
		if err != nil || len(dead) != 2 || dead[0].Client != "a" || dead[0].Status != 422 {
			w.Fatalf("dead letters %+v, %v", dead, err)
		}
		if n, failed, err := w.m.Redeliver(w.Context(), h.ID, apikey.Limit{}); n != 0 || failed == "" || err != nil {
			w.Errorf("sent again: %d, %q, %v", n, failed, err)
		}
		r.answers(nil)
		if n, failed, err := w.m.Redeliver(w.Context(), h.ID, apikey.Limit{}); n != 2 || failed != "" || err != nil {
			w.Errorf("sent again: %d, %q, %v", n, failed, err)
		}
		w.want(r, "a", "1 3 5 2 4")
		if dead, _, err := w.m.Dead(h.ID, apikey.Limit{}, 0, 10); err != nil || len(dead) > 0 {
			w.Errorf("dead letters at the end: %+v, %v", dead, err)
		}
	})
}

// The dead letter of an event that could not be read has no body, and none is sent for it: a
// redelivery reads the event again.
func TestDeadLetterOfAnEventThatCannotBeRead(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{RetryFor: time.Hour})
		a, b := w.connect("a"), w.connect("b")
		two := "2"
		w.unread.Store(&two)
		w.send(a, 1, 3)
		for i := 11; i <= 26; i++ { // the endpoint is not down
			w.send(b, i, i)
			time.Sleep(30 * time.Minute)
		}
		w.want(r, "a", "1 3")
		dead := func() (all []DeadLetter) {
			w.Helper()
			all, _, err := w.m.Dead(h.ID, apikey.Limit{}, 0, 10)
			if err != nil {
				w.Fatal(err)
			}
			return all
		}
		if all := dead(); len(all) != 1 || all[0].Body != nil || all[0].Error != "the event cannot be read from the store" {
			w.Errorf("dead letters %+v, want the one of an unread event, without a body", all)
		}
		if n, failed, err := w.m.Redeliver(w.Context(), h.ID, apikey.Limit{}); n != 0 || failed != "the event cannot be read from the store" || err != nil {
			w.Errorf("sent again, while it cannot be read: %d, %q, %v", n, failed, err)
		}
		w.want(r, "a", "1 3")
		w.unread.Store(nil)
		if n, failed, err := w.m.Redeliver(w.Context(), h.ID, apikey.Limit{}); n != 1 || failed != "" || err != nil {
			w.Errorf("sent again: %d, %q, %v", n, failed, err)
		}
		w.want(r, "a", "1 3 2")
		if all := dead(); len(all) != 0 {
			w.Errorf("dead letters at the end: %+v", all)
		}
		w.store.Put(w.Context(), []gateway.Entry{entry(deadKey(h.ID, 1<<40), DeadLetter{Event: 1 << 40, Body: json.RawMessage("null")})})
		if n, failed, err := w.m.Redeliver(w.Context(), h.ID, apikey.Limit{}); n != 0 || failed != "" || err != nil || len(dead()) != 0 {
			w.Errorf("of an event that the log does not have: %d, %q, %v, %d letters are left; want none", n, failed, err, len(dead()))
		}
	})
}

// A stop, and a clock that was set meanwhile, do not make an event a dead letter at its next
// failure; the failures from before the stop count.
func TestRetryForOverARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, n int) *http.Response {
			if b.Client == "a" {
				return status(422)
			}
			return status(200)
		})
		h := w.create(r, Spec{RetryFor: 6 * time.Hour, Filter: acks})
		w.note("a")
		dead := func(when string, want int) {
			w.Helper()
			if all, _, err := w.m.Dead(h.ID, apikey.Limit{}, 0, 10); err != nil || len(all) != want {
				w.Errorf("%s: %d dead letters, %v; want %d", when, len(all), err, want)
			}
		}
		hours := func(n int) {
			for range n * 4 { // the endpoint is not down
				w.note("b")
				time.Sleep(15 * time.Minute)
			}
		}
		hours(3)
		since := w.status(h).Refused.Since
		if err := w.m.Close(); err != nil {
			w.Fatal(err)
		}
		time.Sleep(24 * time.Hour) // or the clock is set
		w.start()
		hours(2)
		dead("after five hours of failures", 0)
		if s := w.status(h); s.Parked != 1 || !s.Refused.Since.Equal(since) {
			w.Errorf("%d are parked, since %v; want 1, since %v", s.Parked, s.Refused.Since, since)
		}
		hours(4)
		dead("after nine", 1)
	})
}

// The dead letters of one webhook have a share of the disk: the oldest are dropped beyond it.
func TestDeadLettersHaveAShareOfTheDisk(t *testing.T) {
	inWorld(t, func(w *world) {
		r, other := w.receiver("r"), w.receiver("other")
		r.answers(func(_ context.Context, b body, _ int) *http.Response {
			if b.Client == "big" {
				return status(422)
			}
			return status(200)
		})
		h := w.create(r, Spec{RetryFor: time.Minute})
		for range 99 {
			w.create(other, Spec{Filter: feed.Filter{Types: []string{"message.completed"}}})
		}
		big, small := w.connect("big"), w.connect("small")
		payload := bytes.Repeat([]byte{0xff}, 1<<10) // in JSON six times as long
		const sent = 600
		for i := range sent {
			if err := big.Session.Received(w.Context(), uint64(i+1), payload); err != nil {
				w.Fatal(err)
			}
		}
		for i := range 6 * sent { // the endpoint is not down
			w.send(small, i+1, i+1)
			time.Sleep(30 * time.Second)
		}
		kept := func() (events []uint64, size int) {
			dead, _, err := w.m.Dead(h.ID, apikey.Limit{}, 0, 1000)
			if err != nil {
				w.Fatal(err)
			}
			for _, d := range dead {
				events, size = append(events, d.Event), size+len(d.Body)
			}
			return events, size
		}
		events, size := kept()
		if share := maxDeadBytes / 100; size > share || size < share/2 {
			w.Errorf("%d dead letters of %d bytes, the share is %d", len(events), size, share)
		}
		if n := w.m.Stats().DeadLetters; n != sent {
			w.Fatalf("%d dead letters, want %d", n, sent)
		}
		w.kill()
		w.start()
		w.send(small, 6*sent+1, 6*sent+1)
		if again, _ := kept(); !slices.Equal(again, events) {
			w.Errorf("after a restart the dead letters are %d, were %d", again, events)
		}
	})
}

// Nothing is lost while an endpoint is down, whatever comes in the meantime; it parks no
// client and sends one request for each step of the back-off.
func TestAnEndpointThatIsDown(t *testing.T) {
	inWorld(t, func(w *world) {
		r, other := w.receiver("r"), w.receiver("other")
		var requests atomic.Int64
		r.answers(func(ctx context.Context, _ body, _ int) *http.Response {
			requests.Add(1)
			<-ctx.Done() // it hangs
			return status(200)
		})
		h := w.create(r, Spec{Timeout: 5 * time.Second})
		w.create(other, Spec{})
		var links []*gatewaytest.Link
		for i := range 20 {
			links = append(links, w.connect(gateway.ClientID(fmt.Sprint("c", i))))
		}
		for _, l := range links {
			w.send(l, 1, 10)
		}
		time.Sleep(10 * time.Minute)
		for _, l := range links {
			w.send(l, 11, 120)
		}
		for i := range 20 { // more than are kept in memory, of clients that are not parked
			w.send(w.connect(gateway.ClientID(fmt.Sprint("d", i))), 1, 60)
		}
		before := requests.Load()
		time.Sleep(2 * time.Hour)
		if n := requests.Load() - before; n > 8 {
			w.Errorf("%d requests in two hours of silence", n)
		}
		s := w.status(h)
		if !s.Down || s.Waiting > maxWaiting || s.Lag < 1000 || s.Parked > len(links) {
			w.Errorf("down: %+v", s)
		}
		r.answers(nil)
		time.Sleep(2 * time.Hour)
		for i := range links {
			w.want(r, fmt.Sprint("c", i), count(120))
			w.want(other, fmt.Sprint("c", i), count(120))
			w.want(r, fmt.Sprint("d", i), count(60))
			w.want(other, fmt.Sprint("d", i), count(60))
		}
		if s := w.status(h); s.Down || s.Lag != 0 || s.Parked != 0 {
			w.Errorf("at the end: %+v", s)
		}
	})
}

// An endpoint that is down is probed although all its clients are parked, and nothing new
// comes.
func TestAnEndpointWithParkedClientsAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(context.Context, body, int) *http.Response { return status(500) })
		h := w.create(r, Spec{})
		w.send(w.connect("a"), 1, 3)
		w.send(w.connect("b"), 1, 3)
		time.Sleep(3 * time.Hour)
		if s := w.status(h); !s.Down || s.Parked != 2 {
			w.Errorf("down: %+v", s)
		}
		r.answers(nil)
		time.Sleep(2 * time.Hour)
		w.want(r, "a", count(3))
		w.want(r, "b", count(3))
		if s := w.status(h); s.Down || s.Parked != 0 {
			w.Errorf("at the end: %+v", s)
		}
	})
}

// Whoever has mended an endpoint need not wait for the next retry.
func TestResumingTriesParkedClientsAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, _ int) *http.Response {
			if b.Client == "a" {
				return status(500)
			}
			return status(200)
		})
		h := w.create(r, Spec{})
		w.send(w.connect("a"), 1, 3)
		b := w.connect("b")
		for i := 1; i <= 8; i++ { // the endpoint is not down
			w.send(b, i, i)
			time.Sleep(30 * time.Second)
		}
		r.answers(nil)
		if s := w.status(h); s.Parked != 1 || s.Down { // for ten minutes, after the fifth failure
			w.Errorf("before: %+v", s)
		}
		if err := w.m.Update(w.Context(), h.ID, apikey.Limit{}, func(s *Spec) error { s.State = Active; return nil }); err != nil {
			w.Fatal(err)
		}
		time.Sleep(time.Second)
		w.want(r, "a", count(3))
		if s := w.status(h); s.Parked != 0 {
			w.Errorf("after: %+v", s)
		}
	})
}

// A crash repeats the requests of about a second and loses none.
func TestACrashLosesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, n int) *http.Response {
			if b.Client == "a" && b.Text == "3" && n < 4 {
				return status(500)
			}
			return status(200)
		})
		h := w.create(r, Spec{})
		a, b := w.connect("a"), w.connect("b")
		w.send(a, 1, 4)
		w.send(b, 1, 1)
		time.Sleep(10 * time.Second) // a is parked, and that is written
		w.send(b, 2, 2)
		w.kill()
		w.send(a, 5, 5)
		w.send(b, 3, 3)
		w.start()
		if s := w.status(h); s.Parked != 1 || s.Secret != h.Secret {
			w.Errorf("after the start: %+v", s)
		}
		time.Sleep(3 * time.Minute)
		w.want(r, "a", count(5))
		if got := r.texts("b"); got != "1 2 3" && got != "1 2 2 3" {
			w.Errorf("of b came %s", got)
		}
		ids := []uint64{}
		for _, x := range r.all() {
			ids = append(ids, x.Seq)
		}
		slices.Sort(ids)
		if n := len(slices.Compact(ids)); n != 8 {
			w.Errorf("%d events, want 8", n)
		}
	})
}

// An event whose client cannot be looked up is neither lost nor sent to another tenant.
func TestEventsThatCannotBeJudged(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		in, out := w.connect("in"), w.connect("out")
		groups := []string{"g"}
		if _, err := w.g.UpdateClient(w.Context(), "in", gateway.ClientChange{Groups: &groups}); err != nil {
			w.Fatal(err)
		}
		h, err := w.m.Create(w.Context(), Spec{URL: "https://r", Filter: uplinks}, apikey.Limit{Group: "g"}, true, w.g.LastEvent())
		if err != nil {
			w.Fatal(err)
		}
		r.signedWith(h)
		w.send(in, 1, 1)
		w.store.unread.Store(true)
		for i := 2; i <= 3; i++ {
			w.send(in, i, i)
			w.send(out, i-1, i-1)
			time.Sleep(10 * time.Second)
		}
		w.want(r, "in", "1")
		w.store.unread.Store(false)
		time.Sleep(10 * time.Second)
		w.send(in, 4, 4)
		w.want(r, "in", count(4))
		w.want(r, "out", "")
	})
}

// A webhook that was disabled while the store failed is not written after a later change.
func TestChangeOvertakesDisabling(t *testing.T) {
	for _, remove := range []bool{false, true} {
		inWorld(t, func(w *world) {
			r := w.receiver("r")
			r.answers(func(context.Context, body, int) *http.Response { return status(410) })
			h := w.create(r, Spec{})
			w.store.unwritten.Store(true)
			w.send(w.connect("a"), 1, 1)
			if s := w.status(h); s.Condition() != Disabled {
				w.Fatalf("after 410: %s", s.Condition())
			}
			r.answers(nil)
			w.store.unwritten.Store(false)
			var err error
			if remove {
				err = w.m.Delete(w.Context(), h.ID, apikey.Limit{})
			} else {
				err = w.m.Update(w.Context(), h.ID, apikey.Limit{}, func(s *Spec) error { s.State = Active; return nil })
			}
			if err != nil {
				w.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
			w.kill()
			w.start()
			switch list := w.m.List(apikey.Limit{}); {
			case remove && len(list) > 0:
				w.Errorf("a deleted webhook is back: %+v", list)
			case !remove && list[0].Condition() != Active:
				w.Errorf("after a restart it is %s", list[0].Condition())
			}
		})
	}
}

// 410 disables a webhook, an event says so, and enabling it goes on where it stopped.
func TestGoneDisables(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(context.Context, body, int) *http.Response { return status(410) })
		h := w.create(r, Spec{})
		a := w.connect("a")
		sub := w.g.SubscribeNow()
		w.send(a, 1, 3)
		if s := w.status(h); s.Condition() != Disabled || s.Reason == "" {
			w.Errorf("after 410: %s, %q", s.Condition(), s.Reason)
		}
		events, err := sub.Next(w.Context(), make([]gateway.Event, 0, 100))
		for err == nil && events[len(events)-1].Type != gateway.EventWebhookDisabled {
			events, err = sub.Next(w.Context(), events[:0])
		}
		if err != nil {
			w.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.send(a, 4, 4)
		r.answers(nil)
		w.kill()
		w.start()
		if s := w.status(h); s.Condition() != Disabled {
			w.Errorf("after a restart it is %s", s.Condition())
		}
		if err := w.m.Update(w.Context(), h.ID, apikey.Limit{}, func(s *Spec) error { s.State = Active; return nil }); err != nil {
			w.Fatal(err)
		}
		synctest.Wait()
		w.want(r, "a", count(4))
	})
}

// Five days without a success disable a webhook.
func TestAWebhookWithoutSuccessIsDisabled(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(context.Context, body, int) *http.Response { return status(302, "Location", "https://other") })
		h := w.create(r, Spec{})
		w.send(w.connect("a"), 1, 1)
		time.Sleep(4 * 24 * time.Hour)
		if s := w.status(h); s.Condition() != Active || !s.Down || !strings.Contains(s.LastError, "redirect") {
			w.Errorf("after four days: %+v", s)
		}
		time.Sleep(26 * time.Hour)
		if s := w.status(h); s.Condition() != Disabled {
			w.Errorf("after five days: %s", s.Condition())
		}
	})
}

// Retry-After of 429 and 503 is obeyed.
func TestRetryAfter(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		var mu sync.Mutex
		var at []time.Time
		r.answers(func(_ context.Context, _ body, n int) *http.Response {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			if len(at) == 1 {
				return status(429, "Retry-After", "40")
			}
			return status(200)
		})
		w.create(r, Spec{Concurrency: 1})
		w.send(w.connect("a"), 1, 2)
		w.send(w.connect("b"), 1, 1)
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(at) != 4 || at[1].Sub(at[0]) < 40*time.Second {
			w.Errorf("requests at %v", at)
		}
		w.want(r, "a", "1 2")
	})
}

// Retry-After is seconds or a date, and counts for an hour at most.
func TestFormsOfRetryAfter(t *testing.T) {
	now := time.Date(2026, time.November, 30, 21, 48, 26, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"3": 3 * time.Second, "003": 3 * time.Second, "0": 0, "3600": time.Hour, "3601": time.Hour,
		"9223372036854775808": time.Hour, "99999999999999999999999999": time.Hour, // no number is too large
		"": 0, "-1": 0, "3.5": 0, "0x10": 0, "soon": 0,
		"Mon, 30 Nov 2026 21:48:30 GMT": 4 * time.Second, "Monday, 30-Nov-26 21:48:30 GMT": 4 * time.Second, "Mon Nov 30 21:48:30 2026": 4 * time.Second,
		"Mon, 30 Nov 2026 21:48:00 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": time.Hour,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("Retry-After: %s is %v, want %v", v, got, want)
		}
	}
}

// Of two requests at once the longer Retry-After counts, and a replay obeys it, too.
func TestTheLongestRetryAfterIsForAllRequests(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		var mu sync.Mutex
		var at []time.Time
		r.answers(func(_ context.Context, b body, n int) *http.Response {
			mu.Lock()
			first := len(at) < 2
			at = append(at, time.Now())
			mu.Unlock()
			switch {
			case !first:
				return status(200)
			case b.Client == "a":
				time.Sleep(time.Second)
				return status(429, "Retry-After", "40")
			}
			time.Sleep(2 * time.Second)
			return status(503, "Retry-After", "5")
		})
		h := w.create(r, Spec{Concurrency: 2})
		w.send(w.connect("a"), 1, 1)
		w.send(w.connect("b"), 1, 1)
		time.Sleep(10 * time.Second)
		if err := w.m.Replay(h.ID, apikey.Limit{}, 0, w.g.LastEvent()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(at) != 6 || at[2].Sub(at[0]) < 41*time.Second {
			w.Errorf("asked for 40 s a second after the first request: requests at %v", at)
		}
	})
}

// The events wait, too, when a replay is asked to.
func TestARetryAfterOfAReplayIsForEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{})
		a := w.connect("a")
		w.send(a, 1, 1)
		var refused time.Time
		var early atomic.Int64
		r.answers(func(_ context.Context, b body, n int) *http.Response {
			switch {
			case refused.IsZero():
				refused = time.Now()
				return status(429, "Retry-After", "40")
			case time.Since(refused) < 40*time.Second:
				early.Add(1)
			}
			return status(200)
		})
		if err := w.m.Replay(h.ID, apikey.Limit{}, 0, w.g.LastEvent()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.send(a, 2, 2)
		time.Sleep(time.Minute)
		if n := len(r.all()); early.Load() > 0 || n != 3 {
			w.Errorf("%d requests in the 40 s after %v, %d were taken", early.Load(), refused, n)
		}
	})
}

// A disconnection whose client is back within Settle is not told.
func TestSettle(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{Settle: 30 * time.Second, Filter: feed.Filter{Types: []string{"client.*"}}})
		a := w.connect("a")
		a.Disconnect(gateway.ReasonConnectionLost)
		synctest.Wait()
		time.Sleep(10 * time.Second)
		a = w.connect("a")
		time.Sleep(time.Minute)
		a.Disconnect(gateway.ReasonConnectionLost)
		time.Sleep(20 * time.Second)
		types := func() (list []string) {
			for _, b := range r.all() {
				list = append(list, b.Type)
			}
			return list
		}
		if got := types(); len(got) != 1 {
			w.Errorf("before the time is over: %v", got)
		}
		time.Sleep(20 * time.Second)
		if got := types(); strings.Join(got, " ") != "client.connected client.disconnected" {
			w.Errorf("told: %v", got)
		}
		if s := w.status(h); s.Lag != 0 || s.Waiting != 0 {
			w.Errorf("at the end: %+v", s)
		}
	})
}

// The answer to an uplink is pushed to the device, once even if the event is repeated.
func TestReply(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, n int) *http.Response {
			res := status(200, "Content-Type", "text/plain", "Longwire-TTL", "10m")
			res.Body = io.NopCloser(strings.NewReader("re: " + b.Text))
			return res
		})
		w.create(r, Spec{Reply: true})
		a := w.connect("a")
		w.send(a, 1, 1)
		w.kill() // before the cursor is written
		w.start()
		time.Sleep(5 * time.Second)
		w.want(r, "a", "1 1")
		got := a.Transmissions()
		if len(got) != 1 || string(got[0].Payload) != "re: 1" {
			w.Errorf("the device has got %+v", got)
		}
	})
}

// A replay up to a number that no event has ends there, and does not wait for an event.
func TestAReplayOfALogWithoutEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		w.store.young.Store(true)
		h := w.create(w.receiver("r"), Spec{})
		for range 2 {
			if err := w.m.Replay(h.ID, apikey.Limit{}, 0, w.g.LastEvent()); err != nil {
				w.Errorf("a replay of nothing: %v", err)
			}
			synctest.Wait()
		}
	})
}

// A webhook that comes to the end of a log whose last numbers have no events has caught up.
// It does not wait for an event with the slot of another.
func TestACatchUpWithoutEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		w.store.young.Store(true)
		h := w.create(w.receiver("r"), Spec{})
		w.set(h, Paused)
		w.m.mu.Lock()
		w.m.endpoints[h.ID].at = 0 // as after a crash
		w.m.mu.Unlock()
		w.set(h, Active)
		synctest.Wait()
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if n := len(w.m.slots); n != 0 {
			w.Errorf("%d slots are taken", n)
		}
		if e := w.m.endpoints[h.ID]; e.behind {
			w.Errorf("it is at %d, the log at %d", e.at, w.m.position)
		}
	})
}

// A scan for parked clients ends where numbers have no events: it does not keep other
// clients from the next scan.
func TestAScanWithoutEvents(t *testing.T) {
	inWorldOf(t, memstore.Options{}, gateway.Config{EventBuffer: 1}, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, _ int) *http.Response {
			if b.Client == "a" {
				return status(500)
			}
			return status(200)
		})
		h := w.create(r, Spec{Filter: feed.Filter{Types: []string{"message.*"}}})
		w.note("a")
		w.note("b")
		time.Sleep(10 * time.Second)
		if s := w.status(h); s.Parked != 1 {
			w.Fatalf("after three failures: %+v", s)
		}
		w.store.hidden.Store(true) // as those of numbers that a crash has skipped
		time.Sleep(2 * time.Minute)
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if w.m.endpoints[h.ID].scanning {
			w.Error("the scan waits for an event")
		}
	})
}

// The time to live of a reply is written as in the API.
func TestTimeToLiveOfAReply(t *testing.T) {
	for text, want := range map[string]time.Duration{"10m": 10 * time.Minute, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour, "90": 90 * time.Second, "1.5h": 90 * time.Minute,
		"31d": 0, "0": 0, "500ms": 0, "-5s": 0, "1d12h": 0, "soon": 0, "d": 0, "4194304d": 0} {
		k := replyKindOf(http.Header{"Longwire-Ttl": {text}})
		if ok := k.err == nil; ok != (want > 0) || ok && k.ttl != want {
			t.Errorf("%q is %v, %v, want %v", text, k.ttl, k.err, want)
		}
	}
}

// One tenant does not take the places of all.
func TestTooManyWebhooksOfATenant(t *testing.T) {
	inWorld(t, func(w *world) {
		create := func(limit apikey.Limit) error {
			_, err := w.m.Create(w.Context(), Spec{URL: "https://r", State: Paused}, limit, true, 0)
			return err
		}
		for range 100 {
			if err := create(apikey.Limit{Prefix: "a-"}); err != nil {
				w.Fatal(err)
			}
		}
		if err := create(apikey.Limit{Prefix: "a-"}); !errors.Is(err, ErrTooMany) {
			w.Errorf("beyond the tenant's places: %v", err)
		}
		for _, other := range []apikey.Limit{{Prefix: "b-"}, {Group: "a-"}, {}} {
			if err := create(other); err != nil {
				w.Errorf("of %+v: %v", other, err)
			}
		}
	})
}

// Filters, rotation, deletion, and what another tenant sees.
func TestWebhooksOfTenants(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		limit := apikey.Limit{Prefix: "a-"}
		h, err := w.m.Create(w.Context(), Spec{URL: "https://r", Filter: uplinks}, limit, false, w.g.LastEvent())
		if err != nil {
			w.Fatal(err)
		}
		r.signedWith(h)
		w.send(w.connect("a-1"), 1, 1)
		w.send(w.connect("b-1"), 1, 1)
		if len(r.all()) != 1 || r.all()[0].Client != "a-1" || r.all()[0].Text != "" {
			w.Errorf("got %+v, want the event of a-1 without its payload", r.all())
		}
		if _, err := w.m.Get(h.ID, apikey.Limit{Prefix: "b-"}); err != ErrNotFound {
			w.Errorf("another tenant gets %v", err)
		}
		if n := len(w.m.List(apikey.Limit{Group: "g"})); n != 0 {
			w.Errorf("another tenant lists %d", n)
		}
		next, err := w.m.Rotate(w.Context(), h.ID, limit)
		if err != nil || next.Secret == h.Secret {
			w.Fatalf("rotated: %v", err)
		}
		for _, secret := range []string{h.Secret, next.Secret} { // both sign
			r.signedWith(Webhook{Secret: secret})
			w.send(w.connect("a-1"), 2, 2)
		}
		time.Sleep(25 * time.Hour)
		w.send(w.connect("a-1"), 3, 3)
		if err := w.m.Delete(w.Context(), h.ID, limit); err != nil {
			w.Fatal(err)
		}
		before := len(r.all())
		w.send(w.connect("a-1"), 4, 4)
		time.Sleep(time.Minute)
		if len(r.all()) != before || len(w.m.List(apikey.Limit{})) != 0 {
			w.Error("a deleted webhook goes on")
		}
		if page, err := w.g.Entries("webhook", "", 10); err != nil || len(page.Items) > 1 { // the dispatcher's position
			w.Errorf("entries are left: %v, %v", page.Items, err)
		}
	})
}

// The attempts that are kept are the last ones, and fewer when there are many webhooks.
func TestAttemptsAreBounded(t *testing.T) {
	var a attempts
	add := func(from, to, webhooks int) {
		for i := from; i <= to; i++ {
			a.add(Attempt{Try: i}, webhooks)
		}
	}
	want := func(n, newest int) {
		t.Helper()
		list := a.list()
		if len(list) != n || list[0].Try != newest || list[n-1].Try != newest-n+1 {
			t.Errorf("%d attempts from %d to %d, want %d up to %d", len(list), list[0].Try, list[len(list)-1].Try, n, newest)
		}
	}
	add(1, 10, 1)
	want(10, 10)
	add(11, 2500, 1)
	want(keptAttempts, 2500)
	add(2501, 2510, 1000)
	want(allAttempts/1000, 2510)
	add(2511, 2512, 10_000)
	want(leastAttempts, 2512)
	add(2513, 2600, 1)
	want(leastAttempts+1+88, 2600) // there is room again
}

// A webhook gets no event before its start, also if none was there to read the log.
func TestAWebhookStartsAtItsPosition(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		a := w.connect("a")
		w.send(a, 1, 3)
		h := w.create(r, Spec{})
		w.send(a, 4, 4)
		w.want(r, "a", "4")
		time.Sleep(2 * time.Second)
		w.kill()
		w.start()
		w.send(a, 5, 5)
		w.want(r, "a", "4 5")
		if s := w.status(h); s.Lag != 0 {
			w.Errorf("at the end: %+v", s)
		}
	})
}

// Changes that come at once are all made: none goes back to what another has read.
func TestChangesAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		h := w.create(w.receiver("r"), Spec{})
		const n = 20
		var changes sync.WaitGroup
		for range n {
			changes.Go(func() {
				err := w.m.Update(w.Context(), h.ID, apikey.Limit{}, func(s *Spec) error {
					name := s.Name
					runtime.Gosched() // the others run
					s.Name = name + "x"
					return nil
				})
				if err != nil {
					w.Error(err)
				}
			})
		}
		changes.Wait()
		if s := w.status(h); len(s.Name) != n {
			w.Errorf("%d of %d changes are left", len(s.Name), n)
		}
	})
}

// Events that were answered are not sent again after a change of the webhook, after a pause
// or after an orderly stop, although an earlier event of another client still waits: for its
// request, for a retry or because the client may come back.
func TestAnEndOfARunRepeatsNothingThatWasAnswered(t *testing.T) {
	for name, end := range map[string]func(w *world, h Webhook){
		"stop": func(w *world, h Webhook) {
			if err := w.m.Close(); err != nil {
				w.Fatal(err)
			}
			w.start()
		},
		"rotation": func(w *world, h Webhook) {
			if _, err := w.m.Rotate(w.Context(), h.ID, apikey.Limit{}); err != nil {
				w.Fatal(err)
			}
		},
		"pause": func(w *world, h Webhook) { w.set(h, Paused); w.set(h, Active) },
	} {
		for _, waits := range []string{"request", "retry", "settles"} {
			t.Run(name+" "+waits, func(t *testing.T) {
				inWorld(t, func(w *world) {
					r, held := w.receiver("r"), true
					r.answers(func(ctx context.Context, b body, _ int) *http.Response {
						r.mu.Lock()
						hold := held && b.Client == "a" && b.Text == "1"
						r.mu.Unlock()
						switch {
						case hold && waits == "request":
							<-ctx.Done()
						case hold:
							return status(500)
						}
						return status(200)
					})
					s := Spec{Filter: feed.Filter{Types: []string{"message.received", "client.disconnected"}}, Settle: time.Minute, Timeout: MaxTimeout}
					a, b, c := w.connect("a"), w.connect("b"), w.connect("c")
					h := w.create(r, s)
					if waits == "settles" {
						c.Disconnect(gateway.ReasonConnectionLost)
						synctest.Wait()
					} else {
						w.send(a, 1, 3)
					}
					w.send(b, 1, 50)
					w.want(r, "b", count(50))
					time.Sleep(2500 * time.Millisecond) // of virtual time: the second try has failed, too
					r.signedWith(Webhook{})             // the secret may change
					end(w, h)
					r.mu.Lock()
					held = false
					r.mu.Unlock()
					w.send(b, 51, 52)
					time.Sleep(2 * time.Minute)
					w.want(r, "b", count(52))
					if waits == "settles" {
						w.want(r, "c", "")
						if got := slices.ContainsFunc(r.all(), func(b body) bool { return b.Client == "c" }); !got {
							t.Error("the end of the connection did not come")
						}
					} else {
						w.want(r, "a", count(3))
					}
					if s := w.status(h); s.Parked != 0 || s.Lag != 0 || s.Waiting != 0 {
						t.Errorf("at the end: %+v", s)
					}
				})
			})
		}
	}
}

// During a redelivery a change counts from the next dead letter on: each goes to the URL of
// the webhook with its secrets, and none to a webhook that is deleted.
func TestChangesDuringARedelivery(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(w *world, h Webhook) error
		old, new int
	}{
		"delete": {func(w *world, h Webhook) error { return w.m.Delete(w.Context(), h.ID, apikey.Limit{}) }, 1, 0},
		"url": {func(w *world, h Webhook) error {
			err := w.m.Update(w.Context(), h.ID, apikey.Limit{}, func(s *Spec) error { s.URL = "https://new"; return nil })
			return err
		}, 1, 3},
		"rotation": {func(w *world, h Webhook) error {
			next, err := w.m.Rotate(w.Context(), h.ID, apikey.Limit{})
			w.receivers["old"].signedWith(next) // which verifies the next requests
			return err
		}, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				old, moved := w.receiver("old"), w.receiver("new")
				h := w.create(old, Spec{RetryFor: time.Minute})
				old.answers(func(_ context.Context, b body, _ int) *http.Response {
					if b.Client == "a" {
						return status(422)
					}
					return status(200)
				})
				a, b := w.connect("a"), w.connect("b")
				w.send(a, 1, 4)
				for i := 1; i <= 80; i++ { // the endpoint is not down
					w.send(b, i, i)
					time.Sleep(10 * time.Second)
				}
				if dead, _, err := w.m.Dead(h.ID, apikey.Limit{}, 0, 10); err != nil || len(dead) != 4 {
					t.Fatalf("%d dead letters, %v; want 4", len(dead), err)
				}
				var once sync.Once
				old.answers(func(context.Context, body, int) *http.Response {
					once.Do(func() {
						if err := c.change(w, h); err != nil {
							t.Error(err)
						}
					})
					return status(200)
				})
				before := len(old.all())
				_, failed, err := w.m.Redeliver(w.Context(), h.ID, apikey.Limit{})
				if deleted := name == "delete"; failed != "" || errors.Is(err, ErrNotFound) != deleted {
					t.Errorf("the redelivery: %q, %v", failed, err)
				}
				if got := len(old.all()) - before; got != c.old {
					t.Errorf("the first endpoint has got %d, want %d", got, c.old)
				}
				if got := len(moved.all()); got != c.new {
					t.Errorf("the new endpoint has got %d, want %d", got, c.new)
				}
			})
		})
	}
}

// Each secret signs for a day after its rotation, however many rotations follow, up to a
// bound; a restart does not change that.
func TestEachSecretSignsForADay(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		all := []Webhook{w.create(r, Spec{})}
		a, n := w.connect("a"), 0
		rotate := func() {
			w.Helper()
			next, err := w.m.Rotate(w.Context(), all[0].ID, apikey.Limit{})
			if err != nil {
				w.Fatal(err)
			}
			all = append(all, next)
		}
		accepted := func(hooks ...Webhook) {
			w.Helper()
			for _, h := range hooks {
				r.signedWith(h)
				n++
				w.send(a, n, n)
			}
		}
		rotate()
		time.Sleep(time.Hour)
		rotate()
		accepted(all...)
		if err := w.m.Close(); err != nil {
			w.Fatal(err)
		}
		w.start()
		accepted(all...)
		time.Sleep(23*time.Hour - time.Second)
		accepted(all...)
		time.Sleep(2 * time.Second) // the first one has ended
		if s := w.status(all[0]); len(s.secrets(time.Now())) != 2 {
			w.Errorf("%d secrets sign, want 2", len(s.secrets(time.Now())))
		}
		accepted(all[1:]...)
		for range 2 * maxOlder {
			rotate()
		}
		accepted(all[len(all)-maxOlder-2:]...)
		if s := w.status(all[0]); len(s.secrets(time.Now())) != maxOlder+2 || len(s.Older) != maxOlder {
			w.Errorf("%d secrets sign, and %d are kept", len(s.secrets(time.Now())), len(s.Older))
		}
		w.want(r, "a", count(n))
	})
}
