package hostile

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// TestHostileEvents: a device writes more uplinks than its share of the event log's hour
// holds, and a second one connects without pause; see
// engine.TestNobodyWipesTheEventsOfOthers for hours of it.
func TestHostileEvents(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		s := openSite(t, func(c *config.Config) { c.Events.MaxBytes = 1 << 20 }, nil)
		quiet := s.register("quiet")
		uplink := func(p *peer, n int) byte {
			t.Helper()
			_ = p.SetReadDeadline(time.Now().Add(patience))
			if err := p.send(frame(tData, number(uint64(n))+"x")); err != nil {
				t.Fatal(err)
			}
			return p.want(tAck)[len(number(uint64(n)))]
		}
		if code := uplink(quiet, 1); code != 0 {
			t.Fatalf("the first uplink is answered %d", code)
		}
		noisy := s.register("noisy")
		stored, later := 0, 0
		for n := 1; later < 20; n++ {
			switch code := uplink(noisy, n); {
			case code == 0 && n < 20_000:
				stored++
			case code == 2:
				later++
			default:
				t.Fatalf("uplink %d is answered %d, want ok (0) and then retry later (2)", n, code)
			}
		}
		if stored < 500 {
			t.Errorf("only %d uplinks were stored", stored)
		}
		if code := uplink(quiet, 2); code != 0 {
			t.Errorf("beside %d uplinks of another device, one is answered %d, want ok (0)", stored, code)
		}
		if n := s.metric(`longwire_events_refused_total{what="uplink"}`); int(n) != later {
			t.Errorf("%v refused uplinks are counted, want %d", n, later)
		}
		refused := ""
		for i := 0; refused == ""; i++ {
			if i > 10_000 {
				t.Fatal("a device connects without end")
			}
			p := s.dial()
			_ = p.send(frame(tRegister, `{"id":"flaps"}`))
			switch typ, body, err := p.next(); {
			case err != nil:
				t.Fatal(err)
			case typ == tClose:
				refused = body
			}
			p.Close()
		}
		if code := binary.BigEndian.Uint16([]byte(refused)); code != 3005 || !strings.Contains(refused, "overloaded") {
			t.Errorf("the device that connects again and again gets %q, want 3005 overloaded", refused)
		}
		if n := s.metric(`longwire_events_refused_total{what="registration"}`); n < 1 {
			t.Error("the refused registration is not counted")
		}
		a := s.ask("GET", "/v1/events?after=earliest&follow=false&client=quiet", "")
		if n := strings.Count(a.body, "message.received"); a.status != 200 || n < 2 {
			t.Errorf("the quiet device's uplinks: %d, %d of 2: %s", a.status, n, a.body)
		}
		s.wantServed()
	})
}
