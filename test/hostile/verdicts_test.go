package hostile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// Devices that lie about deliveries, or that number what they send as they like.
func TestHostileVerdicts(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		soon := func(c *config.Config) { c.TCP.AckTimeout = config.Duration(500 * time.Millisecond) }
		under(t, soon, []behaviour{
			{"a position of another log, and of the future", forgedAskThrough},
			{"answers without an agreement", answersWithoutAgreement},
			{"a payload that is answered send it", sendAsAnAnswer},
			{"working without pause", workingFlood},
			{"a question that is not answered", askUnanswered},
			{"results at the bound and beyond it", largeResults},
			{"uplink numbers that repeat, fall, wrap and jump", anyNumbers},
			{"two connections with the same uplink numbers", sameNumbersTwice},
			{"REGISTER while blocked", registerBlocked},
		})
	})
}

// Codes of ASK answers.
const (
	send    = "\x03"
	working = "\x05"
)

const asks = `"ask_through":0`

// ack answers a delivery.
func ack(seq uint64, code string) string { return frame(tAck, number(seq)+code) }

// push queues a message for a client and returns its id.
func (s *site) push(client, payload string) (id string) {
	s.Helper()
	a := s.ask("POST", "/v1/clients/"+client+"/messages", payload, "Content-Type", "text/plain")
	var m struct{ ID string }
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.status != 202 {
		s.Fatalf("push: %d %s %v", a.status, a.body, err)
	}
	return m.ID
}

// wantStatus waits until a message's description has some text.
func (s *site) wantStatus(id, text string) {
	s.Helper()
	var a answer
	eventually(s.T, func() string { return fmt.Sprintf("%s in %s", text, clip(a.body)) }, func() bool {
		a = s.ask("GET", "/v1/messages/"+id, "")
		return strings.Contains(a.body, text)
	})
}

// wantDelivery reads the next DATA: its number and payload, which an ASK has not.
func (p *peer) wantDelivery(payload string) (seq uint64) {
	p.s.Helper()
	body := p.want(tData)
	seq, n := binary.Uvarint([]byte(body))
	if body[n:] != payload {
		p.s.Fatalf("DATA %d %q, want %q", seq, clip(body[n:]), payload)
	}
	return seq
}

// welcome is a REGISTER_ACK.
type welcome struct {
	Log     string
	Resumed bool
	Ask     bool
}

// registers is register with the answer.
func (s *site) registers(id string, more ...string) (*peer, welcome) {
	s.Helper()
	p := s.dial()
	_ = p.send(frame(tRegister, fmt.Sprintf(`{"id":%q,%s}`, id, strings.Join(more, ",")))) // the answer is judged
	var w welcome
	if err := json.Unmarshal([]byte(p.want(tRegisterAck)), &w); err != nil {
		s.Fatal(err)
	}
	return p, w
}

// A device answers for itself alone, and only for what there is.
func forgedAskThrough(t *testing.T, s *site) {
	p, w := s.registers("forger", asks)
	id := s.push("forger", "for you")
	seq := p.wantDelivery("for you")
	p.Close()

	const other, beyond = `longwire_registrations_not_resumed_total{cause="other_log"}`, `longwire_registrations_not_resumed_total{cause="beyond_log"}`
	for _, claim := range []struct {
		counter, log string
		through      uint64
	}{
		{beyond, w.Log, math.MaxUint64},
		{beyond, w.Log, seq + 1<<40}, // what is given out is reserved in blocks
		{other, "another", math.MaxUint64},
		{other, "another", seq},
	} {
		s.counted(claim.counter, 1, func() {
			p, got := s.registers("forger", fmt.Sprintf(`"log":%q,"ask_through":%d`, claim.log, claim.through))
			if want := (welcome{w.Log, false, true}); got != want {
				t.Errorf("%+v was answered %+v, want %+v", claim, got, want)
			}
			p.wantDelivery("for you")
			p.Close()
		})
	}
	if a := s.ask("GET", "/v1/messages/"+id, ""); strings.Contains(a.body, `"completed":true`) || strings.Contains(a.body, "acked") {
		t.Errorf("settled by a claim: %s", a.body)
	}
	p, got := s.registers("forger", fmt.Sprintf(`"log":%q,"ask_through":%d`, w.Log, seq))
	if !got.Resumed || p.wantDelivery("") != seq { // an ASK
		t.Errorf("an honest ask_through was answered %+v", got)
	}
	_ = p.send(ack(seq, "\x00"))
	s.wantStatus(id, `"status":"acked"`)
	p.Close()
}

func answersWithoutAgreement(_ *testing.T, s *site) {
	id := s.push("forger", "not agreed")
	for _, code := range []string{"\x03", "\x04", "\x05", "\x06", "\xff"} {
		p := s.register("forger")
		_ = p.send(ack(p.wantDelivery("not agreed"), code))
		p.wantClose(3500, "protocol_error")
	}
	for _, code := range []string{"\x06", "\xff"} {
		p := s.register("forger", asks)
		_ = p.send(ack(p.wantDelivery("not agreed"), code))
		p.wantClose(3500, "protocol_error")
	}
	p := s.register("forger", asks)
	_ = p.send("\x05\x52\x01\x01") // a question from a device
	p.wantClose(3500, "protocol_error")

	p = s.register("forger")
	_ = p.send(ack(p.wantDelivery("not agreed"), "\x00"))
	s.wantStatus(id, `"status":"acked"`)
	p.Close()
}

func sendAsAnAnswer(_ *testing.T, s *site) {
	p := s.register("forger", asks)
	id := s.push("forger", "again")
	s.counted("longwire_payloads_not_handled_total", 1, func() {
		_ = p.send(ack(p.wantDelivery("again"), send))
		s.wantStatus(id, `"reason":"retry_later"`)
	})
	_ = p.send(ack(p.wantDelivery("again"), "\x00"))
	s.wantStatus(id, `"status":"acked"`)
	p.Close()
}

func workingFlood(_ *testing.T, s *site) {
	p := s.register("forger", asks)
	id := s.push("forger", "work")
	seq := p.wantDelivery("work")
	s.counted(`longwire_tcp_stale_acks_total{kind="working_too_soon"}`, 1999, func() {
		const long = 3 << 10
		_ = p.send(ack(seq, working+strings.Repeat("x", long)+"end"))
		_ = p.send(strings.Repeat(ack(seq, working+"later"), 1999))
		s.wantStatus(id, `"progress":"`+strings.Repeat("x", 1<<10-3)+`end"`)
		_ = p.send(ack(seq, "\x00done"))
		s.wantStatus(id, `"result":"done"`)
	})
	_ = p.send(strings.Repeat(ack(seq, working), 1000) + frame(tHeartbeat, ""))
	p.want(tHeartbeatAck)
	s.wantStatus(id, `"status":"acked"`)
	p.Close()
}

func askUnanswered(t *testing.T, s *site) {
	p, w := s.registers("forger", asks)
	id := s.push("forger", "quiet")
	seq := p.wantDelivery("quiet")
	p.Close()
	s.counted(`longwire_ask_answers_total{answer="none"}`, 1, func() {
		p, _ = s.registers("forger", fmt.Sprintf(`"log":%q,"ask_through":%d`, w.Log, seq))
		if got := p.wantDelivery(""); got != seq {
			t.Errorf("asked for %d, want %d", got, seq)
		}
		later := s.push("forger", "behind it")
		p.wantDelivery("quiet") // after the ack timeout
		_ = p.send(ack(p.wantDelivery("behind it"), "\x00") + ack(seq, "\x00"))
		s.wantStatus(id, `"status":"acked"`)
		s.wantStatus(later, `"status":"acked"`)
	})
	p.Close()
}

func largeResults(t *testing.T, s *site) {
	const most = 256 << 10
	s.stored(5 * most)
	p := s.register("forger", asks)
	for _, code := range []string{"\x00", "\x01"} {
		id := s.push("forger", "large")
		_ = p.send(ack(p.wantDelivery("large"), code+strings.Repeat("r", most)))
		s.wantStatus(id, `:"`+strings.Repeat("r", most)+`"`)
	}
	id := s.push("forger", "larger")
	seq := p.wantDelivery("larger")
	_ = p.send(ack(seq, working+strings.Repeat("r", most)))
	s.wantStatus(id, `"progress":"`+strings.Repeat("r", 1<<10)+`"`)
	for _, code := range []string{"\x00", "\x01", working} {
		_ = p.send(ack(seq, code+strings.Repeat("r", most+1)))
		p.wantClose(3500, "frame_too_large")
		p = s.register("forger", asks)
		seq = p.wantDelivery("larger")
	}
	_ = p.send(ack(seq, "\x00"))
	s.wantStatus(id, `"status":"acked"`)
	p.Close()
}

// uplinkNumbers lists the numbers of a client's uplinks, in the order in which
// they were stored.
func (s *site) uplinkNumbers(client string) (all []uint64) {
	s.Helper()
	var page struct {
		Items []struct{ Number uint64 }
	}
	a := s.ask("GET", "/v1/uplinks?limit=1000&client="+client, "")
	if err := json.Unmarshal([]byte(a.body), &page); err != nil {
		s.Fatalf("uplinks: %v %s", err, clip(a.body))
	}
	for _, u := range page.Items {
		all = append(all, u.Number)
	}
	return all
}

// uplinks sends one uplink after the other, and wants an ok for each.
func (p *peer) uplinks(numbers ...uint64) {
	p.s.Helper()
	for _, n := range numbers {
		_ = p.send(frame(tData, number(n)+"up")) // the ack is judged
		if got, want := p.want(tAck), number(n)+"\x00"; got != want {
			p.s.Fatalf("uplink %d was answered %q, want %q", n, got, want)
		}
	}
}

func (s *site) wantUplinks(client string, want ...uint64) {
	s.Helper()
	if got := s.uplinkNumbers(client); !slices.Equal(got, want) {
		s.Errorf("stored: %d, want %d", got, want)
	}
}

func anyNumbers(_ *testing.T, s *site) {
	p := s.register("numbers-2")
	p.uplinks(5, 7, 6, 7, 5, 1<<40, 1<<40, 8, 8)
	s.wantUplinks("numbers-2", 5, 7, 6, 1<<40, 8)
	p.uplinks(math.MaxUint64, math.MaxUint64, 8) // 8 is forgotten, and so stored again
	s.wantUplinks("numbers-2", 5, 7, 6, 1<<40, 8, math.MaxUint64, 8)

	p.Close()
	p = s.register("numbers-4")
	p.uplinks(math.MaxUint64-1, math.MaxUint64, 1, 2, math.MaxUint64, 2, 1)
	s.wantUplinks("numbers-4", math.MaxUint64-1, math.MaxUint64, 1, 2)
	_ = p.send(frame(tData, "\x00zero"))
	p.wantClose(3500, "protocol_error")
}

func sameNumbersTwice(_ *testing.T, s *site) {
	first := s.register("numbers-3")
	first.uplinks(1, 2, 3)
	second := s.register("numbers-3")
	second.uplinks(2, 1, 2, 4)
	first.wantClose(3001, "replaced")
	s.wantUplinks("numbers-3", 1, 2, 3, 2, 1, 4)
	second.Close()
}

// refusedRegister are members of a REGISTER that would change what the gateway
// knows of a client if it were taken.
var refusedRegister = fmt.Sprintf(`"labels":{"forged":"1"},"groups":["forged"],"window":1,"heartbeat_ms":1000,"log":"x","ask_through":%d`, uint64(math.MaxUint64))

// known is all that the API says of a client, byte for byte, and of its queue.
func (s *site) known(client string) string {
	s.Helper()
	var all []string
	for _, target := range []string{"/v1/clients/" + client, "/v1/clients/" + client + "/messages", "/v1/uplinks?client=" + client, "/v1/clients?group=forged"} {
		a := s.ask("GET", target, "")
		all = append(all, fmt.Sprintf("%s %d %s", target, a.status, clockOfPage.ReplaceAllString(a.body, "")))
	}
	return strings.Join(all, "\n")
}

// clockOfPage is the time of the answer.
var clockOfPage = regexp.MustCompile(`,"now":"[^"]*"`)

func (s *site) wantKnown(client, before string) {
	s.Helper()
	if now := s.known(client); now != before {
		s.Errorf("a refused REGISTER has changed\n%s\nto\n%s", before, now)
	}
}

func registerBlocked(t *testing.T, s *site) {
	p := s.register("outlaw", `"labels":{"true":"1"},"groups":["true"]`)
	p.uplinks(1)
	id := s.push("outlaw", "waits")
	p.wantDelivery("waits")
	if a := s.ask("DELETE", "/v1/clients/outlaw?block=10m", ""); a.status >= 300 {
		t.Fatalf("block: %d %s", a.status, a.body)
	}
	p.wantClose(3002, "kicked")
	s.eventually("the outlaw is offline", func() bool {
		return strings.Contains(s.ask("GET", "/v1/clients/outlaw", "").body, `"last_close":{"reason":"kicked"`)
	})
	before := s.known("outlaw")
	for range 20 {
		p := s.dial()
		_ = p.send(frame(tRegister, `{"id":"outlaw",`+refusedRegister+`}`))
		p.wantClose(3502, "blocked")
	}
	s.wantKnown("outlaw", before)
	s.wantStatus(id, `"status":"queued"`)
}
