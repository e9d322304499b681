package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/gateway"
)

// decode(encode(e)) = e for every kind of event.
func TestEventRoundTrip(t *testing.T) {
	at, red := time.Unix(5, 6).UTC(), "red"
	mask := bitmap{}
	mask.set(5)
	mask.set(chunkBits + 9)
	groups := []string{"g"}
	for _, e := range []event{
		&acceptEvent{Acceptance: gateway.Acceptance{ID: "msg_00000000-0001-7000-8000-000000000001", To: gateway.Audience{Labels: map[string]string{"a": "b"}},
			Payload: []byte("x"), Metadata: map[string]string{"k": "v"}, CreatedAt: at, ExpiresAt: at, Scope: "s",
			IdempotencyKey: "k", Fingerprint: [32]byte{1}, QueueUnknown: true, Encoding: gateway.EncodingJSON},
			mask: mask, maxQueued: 3, maxQueuedBytes: 4, keyTTL: time.Hour},
		&settleEvent{gateway.Outcome{Message: "odd id", Client: "c", Seq: 4, State: gateway.Rejected, Reason: "r",
			Attempts: 2, SentAt: at, At: at, Result: []byte("no")}},
		&cancelEvent{"msg_00000000-0002-7000-8000-000000000002", at}, &purgeEvent{"c", at},
		&registerEvent{gateway.Registration{Client: "c", Labels: map[string]string{}, Groups: groups, At: at}},
		&registerEvent{gateway.Registration{Client: "c", Groups: groups, Guarded: map[string]bool{"h": true, "g": true}, At: at}},
		&disconnectedEvent{"c", at, "why"},
		&updateEvent{"c", gateway.ClientChange{Labels: map[string]*string{"x": nil, "y": &red}, Groups: &groups, BlockedUntil: &at}},
		&uplinkEvent{gateway.Uplink{Client: "c", Session: "s", Number: 3, At: at, Payload: []byte("up")}},
		&expireEvent{"msg_00000000-0003-7000-8000-000000000003", at}, &forgetMessageEvent{"msg_00000000-0004-7000-8000-000000000004", at}, &forgetKeyEvent{[]byte("k"), at},
		&forgetUplinksEvent{9, 10}, &forgetClientEvent{"c", at, at}, &forgetOrdinalEvent{5, at}, &probeEvent{},
	} {
		r := &record{writer: 1, incarnation: 2, seq: 3, at: 4, events: []event{e}}
		got, err := decodeRecord(r.encode())
		if err != nil {
			t.Errorf("%T: %v", e, err)
			continue
		}
		if diff := cmp.Diff(e, got.events[0], cmp.AllowUnexported(acceptEvent{}, cancelEvent{}, purgeEvent{},
			disconnectedEvent{}, updateEvent{}, expireEvent{}, forgetMessageEvent{}, forgetKeyEvent{}, forgetUplinksEvent{},
			forgetClientEvent{}, forgetOrdinalEvent{})); diff != "" {
			t.Errorf("%T (-want +got):\n%s", e, diff)
		}
	}
}

// What an earlier version has written is read as it was meant, or refused.
func TestOlderFormats(t *testing.T) {
	at := time.Unix(0, 1234).UTC()
	d := &decoder{}
	older := putTime(putStrings(putBool(putMap(putBool(putString(nil, "c"), false), nil), true), []string{"g"}), at)
	d.b = older
	want := &registerEvent{gateway.Registration{Client: "c", Groups: []string{"g"}, At: at}}
	if diff := cmp.Diff(want, decodeRegister(d)); diff != "" || d.end() != nil {
		t.Errorf("a registration before guarded groups: %v (-want +got):\n%s", d.end(), diff)
	}

	ackThrough := putTime(putUint(putString(nil, "c"), 7), at)
	if e, err := decodeEvent(evAckThrough, ackThrough); err == nil || e != nil || !strings.Contains(err.Error(), "the version that wrote") {
		t.Errorf("an event that is no longer applied is read as %v, error %v", e, err)
	}
}

// FuzzRecord shows that no input makes the decoder fall over.
func FuzzRecord(f *testing.F) {
	f.Add((&record{events: []event{&probeEvent{}, &cancelEvent{"m", time.Unix(1, 0)}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		for k := evAccept; k <= evProbe; k++ {
			if e, err := decodeEvent(k, b); err == nil {
				_ = e.encode(nil)
			}
		}
		_, _ = decodeRecord(b)
	})
}
