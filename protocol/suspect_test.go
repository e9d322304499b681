package protocol

import (
	"testing"
	"time"
)

func TestAClientIsSuspectASecondAfterItWasAskedUntilItsNextByte(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := answerServer(t, nil, hellos[dialect])
		d.until(epoch.Add(11*time.Second - tick))
		d.want(asked[dialect])
		d.wantDeadline(11 * time.Second)
		d.until(epoch.Add(11 * time.Second))
		d.want(suspect)
		d.recv(answer[dialect])
		d.want(alive)
		d.until(epoch.Add(21 * time.Second))
		d.want(asked[dialect])
		d.until(epoch.Add(22 * time.Second))
		d.want(suspect)
	})
}

func TestAClientThatAnswersInTimeIsNeverSuspect(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := answerServer(t, nil, hellos[dialect])
		for range 3 {
			d.advance(10 * time.Second)
			d.advance(time.Second - tick)
			d.recv(answer[dialect])
			d.want(asked[dialect])
			d.advance(tick)
		}
	})
}

// Otherwise a client could be given up before it is suspect.
func TestWithAShortGraceSuspicionBeginsInItsMiddle(t *testing.T) {
	d := answerServer(t, &Config{Grace: 500 * time.Millisecond}, helloV2)
	d.until(epoch.Add(10250 * time.Millisecond))
	d.want("out HEARTBEAT", suspect)
}

// A v1 client with an unanswered delivery is not asked (SPEC §3.5).
func TestAV1ClientWithADeliveryIsSuspectWhenItsHeartbeatIsOverdue(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(9 * time.Second)
	d.send(Data{Seq: 1, Payload: []byte("x")})
	d.until(epoch.Add(11*time.Second - tick))
	d.want(`out "\x05#x"`, "event sent 1")
	d.until(epoch.Add(11 * time.Second))
	d.want(suspect)
	d.recv("\x06#")
	d.want(alive, "event ack 1 ok after 2s")
}

func TestAProbeAsksNowAndReportsTheAnswer(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := answerServer(t, nil, hellos[dialect])
		d.advance(3 * time.Second)
		d.probe(true)
		d.probe(true) // joins the question
		d.want(asked[dialect])
		d.advance(40 * time.Millisecond)
		d.recv(answer[dialect])
		d.want(alive + " after 40ms")
		d.advance(10 * time.Second)
		d.recv(answer[dialect])
		d.want(asked[dialect]) // no second report
	})
}

func TestAProbeOfASuspectClientReportsTheSignOfLifeAndTheAnswer(t *testing.T) {
	d := answerServer(t, nil, helloV2)
	d.advance(10 * time.Second)
	d.advance(time.Second)
	d.probe(true)
	d.advance(200 * time.Millisecond)
	d.recv(answer[V2])
	d.want("out HEARTBEAT", suspect, alive, alive+" after 1.2s")
}

func TestAProbeAsksNoV1ClientThatOwesAnAck(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(time.Second) // the gap
	d.send(Data{Seq: 1, Payload: []byte("x")})
	d.probe(false)
	d.want(`out "\x05#x"`, "event sent 1")
}

func TestAProbeAsksNobodyBeforeARegistration(t *testing.T) {
	d := answerServer(t, nil, "")
	d.probe(false)
	d.want()
}

func (d *dialogue) probe(asks bool) {
	d.t.Helper()
	if got := d.s.Probe(d.now); got != asks {
		d.t.Errorf("asked %t, want %t", got, asks)
	}
	d.drain()
}
