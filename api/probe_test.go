package api

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func TestProbeShowsTheAnswerOfTheDevice(t *testing.T) {
	h := newHarness(t)
	h.device("alive", gatewaytest.Options{Probe: func(l *gatewaytest.Link) bool {
		go l.Session.Alive(41500 * time.Microsecond)
		return true
	}})
	p := decode[Probe](h.call("POST", "/v1/clients/alive/probe", "").want(200))
	if p.ID != "alive" || p.Presence != "online" || p.RTTMs != 41.5 || !p.Asked || p.Confirmed == nil || !*p.Confirmed || p.LastSeenAt == "" || p.LastClose != nil {
		t.Errorf("got %+v", p)
	}
	h.device("gone", gatewaytest.Options{}).Disconnect(gateway.ReasonConnectionLost)
	p = decode[Probe](h.call("POST", "/v1/clients/gone/probe", "").want(200))
	if p.Presence != "offline" || p.Asked || p.LastClose == nil || p.LastClose.By != "network" {
		t.Errorf("got %+v", p)
	}
	h.call("POST", "/v1/clients/nobody/probe", "").wantProblem(404, "client-not-found")
	h.call("POST", "/v1/clients/alive/probe?now=1", "").wantProblem(400, problem.InvalidParameter)
}

func TestACallerThatHalfClosesGetsItsProbe(t *testing.T) {
	h := newHarness(t)
	h.device("silent", gatewaytest.Options{Probe: func(*gatewaytest.Link) bool { return true }})
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.serve(Config{Gateway: h.gateway}), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /v1/clients/silent/probe HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if status, body := readAnswer(t, conn, "POST"); status != 200 || !strings.Contains(body, `"asked":true`) {
		t.Errorf("answered %d %q, want 200 and the probe", status, body)
	}
}

func TestASuspectClientHasItsPresenceAndIsListed(t *testing.T) {
	h := newHarness(t)
	for _, id := range []gateway.ClientID{"a", "b"} {
		h.device(id, gatewaytest.Options{})
	}
	h.device("c", gatewaytest.Options{}).Session.Suspect()
	if c := decode[Client](h.call("GET", "/v1/clients/c", "").want(200)); c.Presence != "suspect" || !c.Online {
		t.Errorf("got %+v", c)
	}
	page := decode[ClientPage](h.call("GET", "/v1/clients?status=suspect&fields=presence", "").want(200))
	if len(page.Items) != 1 || page.Items[0].ID != "c" || page.Items[0].Presence != "suspect" {
		t.Errorf("suspect: %+v", page.Items)
	}
	if page := decode[ClientPage](h.call("GET", "/v1/clients?status=suspect&id=a&id=c", "").want(200)); len(page.Items) != 1 {
		t.Errorf("of two ids: %+v", page.Items)
	}
	if page := decode[ClientPage](h.call("GET", "/v1/clients?status=online", "").want(200)); len(page.Items) != 3 {
		t.Errorf("online: %+v", page.Items)
	}
	if s := decode[Stats](h.call("GET", "/v1/stats", "").want(200)); s.Online != 3 || s.Suspect == nil || *s.Suspect != 1 {
		t.Errorf("counted %d online and %d suspect", s.Online, s.Suspect)
	}
}

func TestProbesBeyondTheirBoundAreRefused(t *testing.T) {
	h := newHarness(t)
	asked := make(chan struct{}, gateway.MaxProbes)
	var waiting sync.WaitGroup
	var mute []*gatewaytest.Link
	id := func(i int) gateway.ClientID { return gateway.ClientID(fmt.Sprintf("mute-%d", i)) }
	for i := range gateway.MaxProbes {
		mute = append(mute, h.device(id(i), gatewaytest.Options{Probe: func(*gatewaytest.Link) bool { asked <- struct{}{}; return true }}))
	}
	h.device("one-more", gatewaytest.Options{})
	for i := range gateway.MaxProbes {
		waiting.Go(func() { h.gateway.Probe(t.Context(), id(i), "") })
	}
	for range gateway.MaxProbes {
		<-asked
	}
	h.call("POST", "/v1/clients/one-more/probe", "").wantProblem(429, problem.Kind(gateway.CodeTooManyProbes))
	for _, l := range mute {
		l.Session.Alive(time.Millisecond)
	}
	waiting.Wait()
}
