package hostile

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"testing"

	"github.com/longwire/longwire/internal/config"
)

// With tcp.duplicate_id=reject nobody can take an id that is connected.
func TestHostileTwins(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		under(t, func(c *config.Config) { c.TCP.DuplicateID = config.RejectDuplicate }, []behaviour{
			{"the id of a device that is online", func(t *testing.T, s *site) {
				for _, h := range s.honest {
					for range 20 {
						s.wantTwinRefused(h.id)
					}
				}
			}},
			{"REGISTER that is refused, with labels and a position", func(t *testing.T, s *site) {
				holder := s.register("holder", `"labels":{"true":"1"},"groups":["true"]`)
				holder.uplinks(1)
				id := s.push("holder", "waits")
				seq := holder.wantDelivery("waits")
				s.wantStatus(id, `"status":"sent"`)
				before := ofNoHeartbeat(s.known("holder"))
				for range 20 {
					p := s.dial()
					_ = p.send(frame(tRegister, `{"id":"holder",`+refusedRegister+`}`))
					holder.want(tHeartbeat)
					_ = holder.send(frame(tHeartbeatAck, ""))
					p.wantClose(3503, "id_in_use")
				}
				if after := ofNoHeartbeat(s.known("holder")); after != before {
					t.Errorf("a refused REGISTER has changed\n%s\nto\n%s", before, after)
				}
				_ = holder.send(ack(seq, "\x00"))
				s.wantStatus(id, `"status":"acked"`)
				holder.Close()
			}},
			{"the id of a device that does not answer", func(t *testing.T, s *site) {
				s.register("mute")
				p := s.dial()
				_ = p.send(frame(tRegister, `{"id":"mute"}`))
				p.wantClose(3005, "overloaded")
				s.register("mute").Close() // the first connection ends with its grace
			}},
		})
	})
}

// wantTwinRefused registers id until the device that has it answers in time.
func (s *site) wantTwinRefused(id string) {
	s.Helper()
	for {
		p := s.dial()
		_ = p.send(frame(tRegister, fmt.Sprintf(`{"id":%q}`, id)))
		body := p.want(tClose)
		p.wantGone()
		if code := binary.BigEndian.Uint16([]byte(body)); code == 3503 {
			return
		} else if code != 3005 {
			s.Fatalf("a twin of %s got %d, want 3503", id, code)
		}
	}
}

// ofNoHeartbeat returns what is known of a client without the members that a heartbeat
// changes: the gateway asks the device whose id another one wants.
func ofNoHeartbeat(known string) string { return heartbeatMembers.ReplaceAllString(known, "") }

var heartbeatMembers = regexp.MustCompile(`,"(last_seen_at|rtt_ms|bytes_in|bytes_out)":[^,}]*`)

// With a token nobody gets as far as an id.
func TestHostileWithoutToken(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		token := func(c *config.Config) { c.Auth.DeviceToken = "correct-horse-battery-staple" }
		under(t, token, []behaviour{
			{"the id of a device that is online", func(t *testing.T, s *site) {
				for _, guess := range []string{``, `,"token":""`, `,"token":"correct-horse-battery-stapl"`, `,"token":"correct-horse-battery-staple "`} {
					p := s.dial()
					_ = p.send(frame(tRegister, fmt.Sprintf(`{"id":%q%s}`, s.honest[0].id, guess)))
					p.wantClose(3501, "unauthorized")
				}
				p := s.dial()
				_ = p.send("REGISTER " + s.honest[0].id + " wrong\n")
				p.wantLineClose(3501, "unauthorized")
			}},
			{"v1, which has no token", func(t *testing.T, s *site) {
				s.counted(closedBy("register_timeout"), 1, func() {
					p := s.dial()
					_ = p.send("\x01#" + s.honest[0].id)
					if said := p.wantGone(); said != v1Refused {
						t.Errorf("v1 was told %q, want 2#er", said)
					}
				})
			}},
		})
	})
}
