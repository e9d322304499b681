package api

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// sendUp sends an uplink from a device.
func sendUp(t *testing.T, l *gatewaytest.Link, number uint64, payload string) {
	t.Helper()
	if err := l.Session.Received(t.Context(), number, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func TestUplinksFromTheBeginningAndFromNow(t *testing.T) {
	h := newHarness(t)
	a := h.device("a", gatewaytest.Options{})
	if p := decode[UplinkPage](h.call("GET", "/v1/uplinks?after=now", "").want(200)); len(p.Items) != 0 || p.NextAfter != 0 {
		t.Errorf("now, of nothing: %+v", p)
	}
	for i := range uint64(5) {
		sendUp(t, a, i+1, "before")
	}
	for _, all := range []string{"", "?after=0", "?after=earliest"} {
		if p := decode[UplinkPage](h.call("GET", "/v1/uplinks"+all, "").want(200)); len(p.Items) != 5 {
			t.Errorf("%q: %d uplinks, want all five", all, len(p.Items))
		}
	}
	now := decode[UplinkPage](h.call("GET", "/v1/uplinks?after=now", "").want(200))
	if len(now.Items) != 0 {
		t.Errorf("after=now has %+v", now.Items)
	}
	sendUp(t, a, 6, "behind")
	p := decode[UplinkPage](h.call("GET", fmt.Sprint("/v1/uplinks?after=", now.NextAfter), "").want(200))
	if len(p.Items) != 1 || text(p.Items[0].Text) != "behind" {
		t.Errorf("behind now: %+v, want the one that came after", p.Items)
	}
	for before, want := range map[uint64]uint64{2: 1, 6: 5, 1_000_000: 6} {
		q := fmt.Sprint("/v1/uplinks?order=desc&before=", before)
		if p := decode[UplinkPage](h.call("GET", q, "").want(200)); p.NextAfter != want {
			t.Errorf("%s: next_after is %d, want %d", q, p.NextAfter, want)
		}
	}
	for _, bad := range []string{"after=latest", "after=-1", fmt.Sprint("after=", now.NextAfter+100), "after=18446744073709551615", "wait=61s", "since=1764277522", "until=1764277522", "since=yesterday"} {
		h.call("GET", "/v1/uplinks?"+bad, "").wantProblem(400, problem.InvalidParameter)
	}
}

func TestUplinksOfATime(t *testing.T) { synctest.Test(t, testUplinksOfATime) }

func testUplinksOfATime(t *testing.T) {
	h := newHarness(t)
	a, b := h.device("a", gatewaytest.Options{}), h.device("b", gatewaytest.Options{})
	for i := range uint64(20) {
		sendUp(t, a, i+1, "x")
		sendUp(t, b, i+1, "x")
		time.Sleep(time.Second)
	}
	all := decode[UplinkPage](h.call("GET", "/v1/uplinks", "").want(200)).Items
	from, to := all[8].ReceivedAt, all[30].ReceivedAt
	var want, got []uint64
	for _, u := range all {
		if u.Client == "a" && u.ReceivedAt >= from && u.ReceivedAt < to {
			want = append(want, u.Seq)
		}
	}
	for after := uint64(0); ; {
		p := decode[UplinkPage](h.call("GET", fmt.Sprintf("/v1/uplinks?client=a&limit=3&since=%s&until=%s&after=%d", from, to, after), "").want(200))
		if p.More && len(p.Items) != 3 {
			t.Errorf("a page of %d items, and more to come: want it full", len(p.Items))
		}
		for _, u := range p.Items {
			got = append(got, u.Seq)
		}
		if after = p.NextAfter; !p.More {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("from %s to %s: %v, want %v", from, to, got, want)
	}
	if p := decode[UplinkPage](h.call("GET", "/v1/uplinks?until=1h", "").want(200)); len(p.Items) != 0 {
		t.Errorf("%d uplinks of an hour ago", len(p.Items))
	}
}

// A caller that waits gets the uplink when it is stored, of the client that it has
// asked for.
func TestUplinksAreWaitedFor(t *testing.T) { synctest.Test(t, testUplinksAreWaitedFor) }

func testUplinksAreWaitedFor(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxStreams = 1 })
	a, b := h.device("a", gatewaytest.Options{}), h.device("b", gatewaytest.Options{})
	sendUp(t, a, 1, "old")
	if p := decode[UplinkPage](h.call("GET", "/v1/uplinks?wait=30s", "").want(200)); len(p.Items) != 1 {
		t.Fatalf("what is there is answered at once: %+v", p)
	}
	answers := make(chan UplinkPage, 1)
	go func() {
		answers <- decode[UplinkPage](h.call("GET", "/v1/uplinks?after=now&client=a&wait=30s", "").want(200))
	}()
	synctest.Wait()
	sendUp(t, b, 1, "of another")
	synctest.Wait()
	if len(answers) != 0 {
		t.Error("another client's uplink ended the wait")
	}
	sendUp(t, a, 2, "new")
	p := <-answers
	if len(p.Items) != 1 || text(p.Items[0].Text) != "new" {
		t.Errorf("waited for %+v, want the new one of a", p.Items)
	}
	began := time.Now()
	quiet := decode[UplinkPage](h.call("GET", fmt.Sprintf("/v1/uplinks?after=%d", p.NextAfter), "", "Prefer", "wait=20").want(200))
	if took := time.Since(began); took != 20*time.Second || len(quiet.Items) != 0 || quiet.NextAfter != p.NextAfter {
		t.Errorf("nothing came: %+v after %v, want the same position after 20 s", quiet, took)
	}
}

// after=0 is the beginning of the events, too, and now is their end.
func TestEventsFromTheBeginning(t *testing.T) {
	h := newHarness(t)
	h.device("a", gatewaytest.Options{})
	for i, c := range []struct {
		query string
		told  bool
	}{{"?after=0", true}, {"?after=earliest", true}, {"?after=now", false}, {"", false}} {
		r := h.subscribe("/v1/events" + c.query)
		r.block() // the retry time
		h.device(gateway.ClientID(fmt.Sprint("b", i)), gatewaytest.Options{})
		first := r.event()
		if got := first.Subject == "a"; got != c.told || first.Type != "client.connected" {
			t.Errorf("%q begins with %s of %s", c.query, first.Type, first.Subject)
		}
	}
}

// TestTheEndOfUplinksIsTheLast: a page that ends before the newest uplinks has not read them.
func TestTheEndOfUplinksIsTheLast(t *testing.T) {
	read := 0
	h := newHarness(t, func(c *Config) { c.UplinksRead = func() { read++ } })
	if err := h.device("a", gatewaytest.Options{}).Session.Received(t.Context(), 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		query string
		want  int
	}{{"?until=1h", 0}, {"", 1}} {
		h.call("GET", "/v1/uplinks"+c.query, "").want(200)
		if read != c.want {
			t.Errorf("after GET /v1/uplinks%s the end was reached %d times, want %d", c.query, read, c.want)
		}
	}
}
