package deviceauth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/gateway"
)

// service is an auth hook.
type service struct {
	*httptest.Server
	calls atomic.Int64

	mu     sync.Mutex
	status int
	body   string
	last   Question
	header http.Header
	block  chan struct{} // when not nil an answer waits for its closing
}

func startService(t *testing.T, status int, body string) *service {
	t.Helper()
	s := &service{status: status, body: body}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	json.Unmarshal(b, &s.last)
	s.header = r.Header
	status, body, block := s.status, s.body, s.block
	s.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}
	if status == http.StatusFound {
		w.Header().Set("Location", body)
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func (s *service) answers(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.body = status, body
}

func (s *service) wantCalls(t *testing.T, want int64) {
	t.Helper()
	if n := s.calls.Swap(0); n != want {
		t.Errorf("the hook was asked %d times, want %d", n, want)
	}
}

func TestHookDecides(t *testing.T) {
	s := startService(t, 200, `{"allow":true,"expires_in":3600,"more":"later"}`)
	d := open(t, Config{Hook: HookConfig{URL: s.URL + "/auth?tenant=7", Secret: "hook-secret"}})
	c := leaf(t, time.Now().Add(time.Hour))
	h := with(hello("meter-1", "tok"), c)
	h.Labels, h.Groups = map[string]string{"model": "x2"}, []string{"fleet"}
	g, err := d.register(h)
	if left := time.Until(g.ExpiresAt); err != nil || left < 59*time.Minute || left > time.Hour {
		t.Errorf("a yes for an hour: %v, %v", g.ExpiresAt, err)
	}
	want := Question{Client: "meter-1", Token: "tok", Remote: "192.0.2.7", Dialect: "v2", Transport: "tls",
		Certificate: &CertificateFacts{Subject: "CN=meter-1", Fingerprint: fmt.Sprintf("%x", sha256.Sum256([]byte("raw")))},
		Labels:      map[string]string{"model": "x2"}, Groups: []string{"fleet"}}
	if diff := cmp.Diff(want, s.last); diff != "" {
		t.Errorf("the hook was asked (-want +got):\n%s", diff)
	}
	if got := s.header.Get("Authorization"); got != "Bearer hook-secret" || s.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers are %v", s.header)
	}
	s.answers(200, `{"allow":true}`)
	d.wantIn(hello("meter-2", ""), time.Time{})
	s.answers(200, `{"allow":false}`)
	d.wantOut(hello("meter-2", ""), MethodHook, ReasonDenied)
	s.answers(200, `{"allow":false,"expires_in":0}`)
	d.wantOut(hello("meter-2", ""), MethodHook, ReasonDenied)
	s.answers(200, `{"allow":true,"expires_in":null}`)
	d.wantIn(hello("meter-3", ""), time.Time{})
	s.answers(403, `no`)
	d.wantOut(hello("meter-2", ""), MethodHook, ReasonDenied)
}

// What is no answer lets nobody in: the device comes back.
// TestAnAnswerIsReadByItsNames: a member in another case is another member.
func TestAnAnswerIsReadByItsNames(t *testing.T) {
	now := time.Unix(1e9, 0)
	for text, want := range map[string]Reason{
		`{"allow":true,"ALLOW":false}`: ReasonAccepted, `{"allow":false,"Allow":true}`: ReasonDenied, `{"ALLOW":true}`: ReasonHookFailed,
		`{"allow":false,"allow":true}`: ReasonHookFailed, `{"allow":true,"expires_in":60,"expires_in":null}`: ReasonHookFailed,
		`{"allow":null}`: ReasonHookFailed, `{"allow":true,"expires_in":-1}`: ReasonHookFailed, `{"allow":true,"Expires_In":-1}`: ReasonAccepted,
	} {
		if v, _ := readAnswer([]byte(text), now); v.reason != want {
			t.Errorf("%s: %s, want %s", text, v.reason, want)
		}
	}
}

func TestHookFailsClosed(t *testing.T) {
	elsewhere := startService(t, 200, `{"allow":true}`)
	s := startService(t, 200, "")
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"empty":          {200, ""},
		"not JSON":       {200, "yes"},
		"says nothing":   {200, "{}"},
		"null":           {200, `{"allow":null}`},
		"text":           {200, `{"allow":"true"}`},
		"negative time":  {200, `{"allow":true,"expires_in":-1}`},
		"no time":        {200, `{"allow":true,"expires_in":0}`},
		"too large":      {200, `{"allow":true}` + strings.Repeat(" ", maxAnswer)},
		"error":          {500, `{"allow":true}`},
		"not found":      {404, `{"allow":true}`},
		"a redirect":     {302, elsewhere.URL},
		"something else": {204, ""},
	} {
		d := open(t, Config{Hook: HookConfig{URL: s.URL}})
		s.answers(c.status, c.body)
		t.Run(name, func(t *testing.T) { (&door{d.Authenticator, t, d.log}).wantLater(hello("m", ""), ReasonHookFailed) })
	}
	elsewhere.wantCalls(t, 0) // the redirect was not followed
	s.Close()
	open(t, Config{Hook: HookConfig{URL: s.URL}}).wantLater(hello("m", ""), ReasonHookFailed)
}

// An answer without an end is not read to its end.
func TestHookThatNeverStopsTalking(t *testing.T) {
	const much = 64 << 20
	var sent atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for chunk := bytes.Repeat([]byte(" "), 64<<10); sent.Load() < much; {
			n, err := w.Write(chunk)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	d := open(t, Config{Hook: HookConfig{URL: s.URL, Timeout: time.Minute}})
	d.wantLater(hello("m", ""), ReasonHookFailed)
	s.Close() // waits for the handler
	if n := sent.Load(); n >= much {
		t.Errorf("%d bytes were taken", n)
	}
}

// An answer 101 leaves the connection open for another protocol. It is no answer at once:
// no timeout ends a read from such a connection.
func TestHookThatSwitchesProtocols(t *testing.T) {
	leave := make(chan bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		<-leave
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(leave) })
	d := open(t, Config{Hook: HookConfig{URL: s.URL, Timeout: time.Second}})
	done := make(chan bool)
	go func() {
		d.wantLater(hello("m", ""), ReasonHookFailed)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		leave <- true // which ends the request
		<-done
		t.Error("a hook with a timeout of 1s has not answered after 10s")
	}
}

// A lost HTTP/2 connection to the hook is noticed; internal/webhook has the whole test.
func TestLostConnectionsToTheHookAreNoticed(t *testing.T) {
	d := open(t, Config{Hook: HookConfig{URL: "https://hook.example"}})
	if c := d.hook.client.Transport.(*http.Transport).HTTP2; c == nil || c.SendPingTimeout <= 0 || c.SendPingTimeout+c.PingTimeout > 15*time.Second {
		t.Errorf("the settings of HTTP/2 are %+v, want that a silent connection closes within 15s", c)
	}
}

func TestHookThatDoesNotAnswerInTime(t *testing.T) {
	s := startService(t, 200, `{"allow":true}`)
	s.block = make(chan struct{})
	defer close(s.block)
	d := open(t, Config{Hook: HookConfig{URL: s.URL, Timeout: 20 * time.Millisecond}})
	d.wantLater(hello("m", ""), ReasonHookFailed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	slow := open(t, Config{Hook: HookConfig{URL: s.URL, Timeout: time.Minute}})
	if _, err := slow.Authenticate(ctx, hello("m", "")); err == nil {
		t.Error("a caller who has left was answered")
	}
}

func TestHooksAnswersAreRemembered(t *testing.T) {
	s := startService(t, 200, `{"allow":true,"expires_in":60}`)
	d := open(t, Config{Hook: HookConfig{URL: s.URL, AllowTTL: time.Hour, DenyTTL: time.Hour}})
	first, err := d.register(hello("m", "tok"))
	if err != nil {
		t.Fatal(err)
	}
	s.answers(200, `{"allow":false}`)
	d.wantIn(hello("m", "tok"), first.ExpiresAt) // not a minute from now: from the answer
	s.wantCalls(t, 1)
	d.wantOut(hello("m", "other"), MethodHook, ReasonDenied) // another input is another question
	d.wantOut(hello("m", "other"), MethodHook, ReasonDenied)
	s.wantCalls(t, 1)
	s.answers(500, "")
	d.wantLater(hello("m", "third"), ReasonHookFailed)
	d.wantLater(hello("m", "third"), ReasonHookFailed) // a failure is not remembered
	s.wantCalls(t, 2)
	if st := d.Stats().Hook; st.CacheHits != 2 || st.Cached != 2 {
		t.Errorf("hits %d, cached %d; want 2, 2", st.CacheHits, st.Cached)
	}
	for key := range d.hook.cache.byKey {
		if strings.Contains(string(key[:]), "tok") || key == sha256.Sum256(body(&gateway.Hello{Client: "m"})) {
			t.Error("a key of the cache shows what was asked")
		}
	}
}

func TestRememberedAnswersEnd(t *testing.T) {
	c := newAnswerCache(2)
	now := time.Unix(1e9, 0)
	yes := verdict{method: MethodHook, reason: ReasonAccepted}
	c.put(cacheKey{1}, yes, now.Add(time.Minute))
	if _, ok := c.get(cacheKey{1}, now.Add(time.Minute-1)); !ok {
		t.Error("forgotten before its time")
	}
	if _, ok := c.get(cacheKey{1}, now.Add(time.Minute)); ok {
		t.Error("remembered beyond its time")
	}
	short := yes
	short.expires = now.Add(time.Second)
	c.put(cacheKey{2}, short, now.Add(time.Minute))
	if _, ok := c.get(cacheKey{2}, now.Add(time.Second)); ok {
		t.Error("a yes outlives its grant")
	}
	for i := range byte(3) {
		c.put(cacheKey{10 + i}, yes, now.Add(time.Hour))
		c.get(cacheKey{10}, now) // used, so it stays
	}
	_, first := c.get(cacheKey{10}, now)
	_, second := c.get(cacheKey{11}, now)
	if !first || second || c.len() != 2 || len(c.byKey) != 2 {
		t.Errorf("the used one %v, the other %v, %d entries; want true, false, 2", first, second, c.len())
	}
}

// Devices that ask the same at the same time are one question; those beyond
// what may be asked at once are told to come back at once.
func TestHookIsNotOverrun(t *testing.T) {
	s := startService(t, 200, `{"allow":true}`)
	s.block = make(chan struct{})
	d := open(t, Config{Hook: HookConfig{URL: s.URL, Concurrency: 2, Timeout: 30 * time.Second, AllowTTL: time.Hour}})
	var same sync.WaitGroup
	for range 20 {
		same.Go(func() {
			if _, err := d.register(hello("m-0", "tok")); err != nil {
				t.Errorf("one of many that ask the same: %v", err)
			}
		})
	}
	for i := range 3 { // one is under way as well, two wait for their turn
		same.Go(func() {
			if _, err := d.register(hello(fmt.Sprint("m-", i+1), "tok")); err != nil {
				t.Errorf("one of those who wait for their turn: %v", err)
			}
		})
	}
	pending := func() int {
		d.hook.mu.Lock()
		defer d.hook.mu.Unlock()
		return len(d.hook.pending)
	}
	eventually(t, "four questions", func() bool { return pending() == 4 && s.calls.Load() == 2 })
	d.wantLater(hello("m-9", "tok"), ReasonHookBusy)
	if n := s.calls.Load(); n != 2 {
		t.Errorf("%d calls at once, want 2", n)
	}
	close(s.block)
	same.Wait()
	s.wantCalls(t, 4)
}

func TestHookThatFailsIsLeftAloneForAWhile(t *testing.T) {
	s := startService(t, 500, "")
	d := open(t, Config{Hook: HookConfig{URL: s.URL, AllowTTL: time.Hour}})
	s.answers(200, `{"allow":true}`)
	d.wantIn(hello("cached", ""), time.Time{})
	s.answers(500, "")
	for range breakerFailures {
		d.wantLater(hello("m", ""), ReasonHookFailed)
	}
	s.wantCalls(t, 1+breakerFailures)
	d.wantLater(hello("m", ""), ReasonHookOpen)
	d.wantIn(hello("cached", ""), time.Time{}) // what it has said before still counts
	s.wantCalls(t, 0)
	if st := d.Stats().Hook; st.Breaker != breakerIsOpen || st.Answers["failed"] != breakerFailures || st.Answers["allow"] != 1 {
		t.Errorf("breaker %d, answers %v", st.Breaker, st.Answers)
	}
	s.answers(200, `{"allow":true}`)
	d.hook.breaker.mu.Lock()
	d.hook.breaker.until = time.Now() // the pause is over
	d.hook.breaker.mu.Unlock()
	d.wantIn(hello("m", ""), time.Time{})
	if log := d.log.String(); !strings.Contains(log, "does not answer") || !strings.Contains(log, "answers again") {
		t.Errorf("the log says\n%s", log)
	}
}

func TestBreaker(t *testing.T) {
	var b breaker
	now := time.Unix(1e9, 0)
	fail := func() breakerChange {
		t.Helper()
		p, ok := b.allow(now)
		if !ok {
			t.Fatal("a call is not allowed")
		}
		return b.finish(p, false, now)
	}
	for range breakerFailures - 1 {
		fail()
	}
	b.finish(0, true, now) // in a row, not in all
	for range breakerFailures - 1 {
		fail()
	}
	if b.state(now) != breakerIsClosed {
		t.Fatal("open before its time")
	}
	allowed := func() bool { _, ok := b.allow(now); return ok }
	late, _ := b.allow(now) // of a call that begins while it is closed
	if fail() != breakerOpened || allowed() {
		t.Fatal("not open after failures in a row")
	}
	b.finish(late, false, now)
	for _, pause := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause, 8 * firstPause, 16 * firstPause, maxPause, maxPause} {
		if wait := b.until.Sub(now); b.pause != pause || wait < pause/2 || wait > pause {
			t.Errorf("pause %v, wait %v; want %v, jittered", b.pause, wait, pause)
		}
		now = now.Add(pause)
		p, ok := b.allow(now)
		if b.state(now) != breakerIsHalfOpen || !ok || allowed() {
			t.Fatal("want one call after a pause, and not two")
		}
		b.finish(p, false, now)
	}
	now = now.Add(maxPause)
	given, _ := b.allow(now)
	b.cancel(given)
	p, ok := b.allow(now)
	if !ok {
		t.Error("a call that was not made blocks the next")
	}
	b.cancel(given)
	if allowed() {
		t.Error("the end of an earlier probe ends the next")
	}
	if b.finish(p, true, now) != breakerClosed || b.state(now) != breakerIsClosed {
		t.Error("not closed by a success")
	}
}

// Monitor mode decides nothing, delays nothing and tells.
func TestMonitorOnlyReports(t *testing.T) {
	s := startService(t, 200, `{"allow":false}`)
	d := open(t, Config{SharedToken: "s", Hook: HookConfig{URL: s.URL, Monitor: true, Concurrency: 1, Timeout: 20 * time.Second}})
	d.wantIn(hello("m", "s"), time.Time{})
	d.wantOut(hello("m", "wrong"), MethodShared, ReasonWrongToken)
	eventually(t, "a report", func() bool { return d.Stats().Hook.Monitored["deny"] == 1 })
	if log := d.log.String(); !strings.Contains(log, "would have refused a device") || !strings.Contains(log, "client=m ") {
		t.Errorf("the log says\n%s", log)
	}
	s.wantCalls(t, 1) // nobody asks about a device that others refuse
	s.answers(500, "")
	d.wantIn(hello("m", "s"), time.Time{})
	eventually(t, "a failure", func() bool { return d.Stats().Hook.Monitored["failed"] == 1 })
	s.mu.Lock()
	s.block = make(chan struct{})
	s.mu.Unlock()
	for range 10 { // the hook is stuck, and the devices are not
		d.wantIn(hello("m", "s"), time.Time{})
	}
	eventually(t, "those that nobody asks about", func() bool { return d.Stats().Hook.Monitored["skipped"] >= 8 })
	close(s.block)
	open(t, Config{Hook: HookConfig{URL: s.URL, Monitor: true}}).wantIn(hello("m", ""), time.Time{})
}

func TestHookBesideTokens(t *testing.T) {
	s := startService(t, 200, `{"allow":true}`)
	either := open(t, Config{SharedToken: "s", Hook: HookConfig{URL: s.URL}})
	either.wantIn(hello("m", "s"), time.Time{})
	s.wantCalls(t, 0) // the token is enough
	either.wantIn(hello("m", "for the hook"), time.Time{})
	s.wantCalls(t, 1)
	both := open(t, Config{SharedToken: "s", Hook: HookConfig{URL: s.URL}, RequireAll: true})
	both.wantOut(hello("m", "wrong"), MethodShared, ReasonWrongToken)
	s.wantCalls(t, 0)
	s.answers(403, "")
	both.wantOut(hello("m", "s"), MethodHook, ReasonDenied)
}

// An outage is there while the breaker is open, and while devices are turned away without
// it; it has the time of the first failure.
func TestAnOutageOfTheHookIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := true
		d := open(t, Config{Hook: HookConfig{URL: "http://hook.invalid/"}})
		d.hook.client.Transport = tripper(func(*http.Request) (*http.Response, error) {
			if fails {
				return nil, context.DeadlineExceeded
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`{"allow":true}`))}, nil
		})
		want := func(ok bool, devices int, registrations uint64, open bool, since time.Time) {
			t.Helper()
			o, is := d.HookOutage()
			if is != ok || ok && (o.Devices != devices || o.Registrations != registrations || o.Open != open || !o.Since.Equal(since) || o.LastError != "no answer within 3s") {
				t.Errorf("outage %+v, %v; want %v of %d devices and %d registrations, open %v, since %v", o, is, ok, devices, registrations, open, since)
			}
		}
		begin := time.Now()
		for n := range breakerFailures {
			want(false, 0, 0, false, begin)
			d.wantLater(hello(fmt.Sprint("m", n%2), ""), ReasonHookFailed)
		}
		want(true, 2, breakerFailures, true, begin)
		d.wantLater(hello("m7", ""), ReasonHookOpen)
		time.Sleep(2 * outageQuiet) // the breaker is half open, and no device has come
		want(true, 3, breakerFailures+1, true, begin)
		d.wantLater(hello("m7", ""), ReasonHookFailed)
		want(true, 3, breakerFailures+2, true, begin)
		time.Sleep(2 * outageQuiet)
		fails = false
		d.wantIn(hello("m1", ""), time.Time{})
		want(false, 0, 0, false, begin)

		begin = time.Now() // every other call fails, so the breaker stays closed
		for n := range 2 * breakerFailures {
			if fails = n%2 == 0; fails {
				d.wantLater(hello("m", ""), ReasonHookFailed)
			} else {
				d.wantIn(hello("m", ""), time.Time{})
			}
		}
		want(true, 1, breakerFailures, false, begin)
		time.Sleep(outageQuiet + time.Second)
		want(false, 0, 0, false, begin)
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A service may close a connection that was idle at the moment in which the next question
// takes it. The gateway asks again.
func TestAQuestionOutlivesAnIdleConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { ln.Close() })
	const yes = `{"allow":true}`
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			if q, err := http.ReadRequest(in); err == nil {
				io.Copy(io.Discard, q.Body)
				if _, sent := q.Header["Idempotency-Key"]; sent {
					t.Error("a header without a value was sent")
				}
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(yes), yes)
				http.ReadRequest(in) // the next question gets no answer
			}
			c.Close()
		}
	})
	d := open(t, Config{Hook: HookConfig{URL: "http://" + ln.Addr().String()}})
	for i := range 3 {
		d.wantIn(hello(fmt.Sprint("m-", i), ""), time.Time{})
	}
	d.Close()
}

// A service that accepts connections and says nothing keeps none of them beyond the timeout.
func TestAConnectionThatIsNotMadeInTimeCloses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := open(t, Config{Hook: HookConfig{URL: "https://" + ln.Addr().String(), Timeout: 50 * time.Millisecond}})
	d.wantLater(hello("m", ""), ReasonHookFailed)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("a connection for a question that has ended is still open: %v", err)
	}
}

// 403 is a no, whatever page a proxy puts into it.
func TestAForbiddenPageIsANo(t *testing.T) {
	s := startService(t, 403, strings.Repeat("<p>", maxAnswer))
	open(t, Config{Hook: HookConfig{URL: s.URL}}).wantOut(hello("m", ""), MethodHook, ReasonDenied)
}

// Calls that the end of the gateway ends are no failures of the hook.
func TestTheEndIsNoFailureOfTheHook(t *testing.T) {
	s := startService(t, 200, `{"allow":true}`)
	s.block = make(chan struct{})
	d := open(t, Config{Hook: HookConfig{URL: s.URL, Timeout: time.Minute}})
	var asked sync.WaitGroup
	for i := range breakerFailures {
		asked.Go(func() { d.register(hello(fmt.Sprint("m-", i), "")) })
	}
	eventually(t, "all calls", func() bool { return s.calls.Load() == breakerFailures })
	d.Close()
	close(s.block)
	asked.Wait()
	if log := d.log.String(); strings.Contains(log, "does not answer") {
		t.Errorf("the log says\n%s", log)
	}
}

// roundTrip is a hook without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A call from before the pause that fails or is given up does not end the one call after
// the pause.
func TestEarlierCallsDoNotEndAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Config{Hook: HookConfig{URL: "http://hook.example", Concurrency: 2, Timeout: 10 * time.Second}})
		d.hook.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			time.Sleep(12 * time.Second)
			return nil, errors.New("broken")
		})
		b := &d.hook.breaker
		pause := func() time.Duration {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.pause
		}
		for _, id := range []string{"slow-1", "slow-2", "waits"} { // two slots until 12 s; the third call gives up at 10 s
			go d.register(hello(id, ""))
		}
		synctest.Wait()
		b.mu.Lock()
		b.open(firstPause, time.Now())
		b.mu.Unlock()
		time.Sleep(5 * time.Second)
		go d.register(hello("probe", "")) // waits for a slot until 15 s
		time.Sleep(5500 * time.Millisecond)
		d.wantLater(hello("m", ""), ReasonHookOpen)
		time.Sleep(2 * time.Second)
		if p := pause(); p != firstPause {
			t.Errorf("the pause is %v after failures from before it, want %v", p, firstPause)
		}
		time.Sleep(15 * time.Second)
		if p := pause(); p != 2*firstPause {
			t.Errorf("the pause is %v after the probe has failed, want %v", p, 2*firstPause)
		}
		d.Close()
	})
}
