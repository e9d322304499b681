package gateway

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func (l *RefusedList) from(addr string, id string, now time.Time) {
	a := netip.MustParseAddr(addr)
	l.Add(&Hello{Client: ClientID(id), Remote: netip.AddrPortFrom(a, 1)}, RefusedBlocked, now)
}

// One place cannot push out what others have left.
func TestListOfRefusedDevicesIsBounded(t *testing.T) {
	var l RefusedList
	now := time.Unix(1e9, 0)
	l.from("192.0.2.1", "honest", now)
	for i := range 5000 {
		l.from("198.51.100.1", fmt.Sprint("guess-", i), now)
	}
	if n := l.Len(); n != 1+maxRefusalsPerSource {
		t.Errorf("%d entries, want one and %d of the guesser", n, maxRefusalsPerSource)
	}
	for s := range 50 { // many places, each below its own bound
		for i := range 60 {
			l.from(fmt.Sprintf("203.0.113.%d", s), fmt.Sprintf("many-%d-%d", s, i), now)
		}
	}
	if n := l.Len(); n != maxRefusals || len(l.byID) != maxRefusals || len(l.bySource) > maxRefusals {
		t.Errorf("%d entries, %d by id, %d sources; want %d", n, len(l.byID), len(l.bySource), maxRefusals)
	}
	if _, ok := l.byID["honest"]; !ok {
		t.Error("the one entry of a quiet place was pushed out")
	}
	if _, ok := l.byID["guess-0"]; ok {
		t.Error("the oldest entry of the loudest place is still there")
	}
	total := 0
	for _, n := range l.bySource {
		total += n
	}
	if total != maxRefusals {
		t.Errorf("%d entries by source, want %d", total, maxRefusals)
	}
}

func (l *RefusedList) unnamedFrom(addr string, id string, now time.Time) {
	l.AddUnnamed(&Hello{Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 1)}, ReasonBadClientID, []byte(id), now)
}

// A stranger with many addresses cannot push out the entries of other networks, and an
// address has one entry, however many ids it sends.
func TestListOfUnnamedRegistrationsIsBounded(t *testing.T) {
	var l RefusedList
	now := time.Unix(1e9, 0)
	l.unnamedFrom("192.0.2.1", "honest?", now)
	for i := range 5000 {
		l.unnamedFrom("198.51.100.1", fmt.Sprint("guess?", i), now)
	}
	if n := l.Len(); n != 2 {
		t.Errorf("%d entries of two addresses", n)
	}
	for i := range 5000 { // the /64s of one /48
		l.unnamedFrom(fmt.Sprintf("2001:db8:1:%x::1", i), "x?", now)
	}
	if n := l.Len(); n != 2+maxRefusalsPerSource {
		t.Errorf("%d entries, want two and %d of the stranger's network", n, maxRefusalsPerSource)
	}
	for i := range 5000 { // many networks
		l.unnamedFrom(fmt.Sprintf("10.%d.%d.%d", i/100/200, i/100, i%100), "x?", now.Add(time.Second))
	}
	if n := l.Len(); n != maxRefusals {
		t.Errorf("%d entries, want %d", n, maxRefusals)
	}
	list := l.latest(now)
	if n := len(list); n != maxRefusals || list[n-1].Sample != "honest?" || list[n-1].Client != "" {
		t.Errorf("%d entries, and the oldest is %+v; want the one of the quiet network", n, list[n-1])
	}
	if n := len(l.latest(now.Add(time.Second))); n < maxRefusals/2 || n >= maxRefusals {
		t.Errorf("%d entries since a second later", n)
	}
}

// A sample is short and printable, whatever a stranger sends.
func TestSamplesArePrintable(t *testing.T) {
	for id, want := range map[string]string{
		"":                        "",
		"meter 7":                 "meter 7",
		"\x1b[2J\r\n\x00":         `\x1b[2J\r\n\x00`,
		"<script>\"'\\":           `<script>\"'\\`,
		"\u202e\u00e9\xff":        `\u202e\u00e9\xff`,
		strings.Repeat("a", 33):   strings.Repeat("a", 32) + "...",
		strings.Repeat("\xff", 9): strings.Repeat(`\xff`, 9),
	} {
		if got := sampleOf([]byte(id)); got != want {
			t.Errorf("%q is shown as %q, want %q", id, got, want)
		}
	}
	if n := len(sampleOf([]byte(strings.Repeat("\U0001f600", 100)))); n > 10*maxSample/4+3 {
		t.Errorf("a sample has %d bytes", n)
	}
}
