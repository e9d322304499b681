package gateway

import (
	"fmt"
	"net/netip"
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
