package record

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/gateway"
)

// decode(encode(e)) = e for every kind of event.
func TestEventRoundTrip(t *testing.T) {
	at, red := time.Unix(5, 6).UTC(), "red"
	mask := Bitmap{0: new(Bitset), 1: new(Bitset)}
	mask[0].Set(5)
	mask[1].Set(ChunkBits + 9)
	groups := []string{"g"}
	bounds := DefaultBounds()
	bounds.RejectTwins, bounds.SmallAudience = true, 0
	for _, e := range []Event{
		&Accept{Acceptance: gateway.Acceptance{ID: "msg_00000000-0001-7000-8000-000000000001", To: gateway.Audience{Labels: map[string]string{"a": "b"}},
			Payload: []byte("x"), Metadata: map[string]string{"k": "v"}, CreatedAt: at, ExpiresAt: at, Scope: "s",
			IdempotencyKey: "k", Fingerprint: [32]byte{1}, QueueUnknown: true, Encoding: gateway.EncodingJSON, Rate: 200},
			Mask: mask},
		&Accept{Acceptance: gateway.Acceptance{ID: "msg_00000000-0001-7000-8000-000000000001", To: gateway.Audience{Client: "c"},
			Payload: []byte("x"), CreatedAt: at, ExpiresAt: at, Scope: "s", IdempotencyKey: "k", Online: true}},
		&Settle{gateway.Outcome{Message: "odd id", Client: "c", Seq: 4, State: gateway.Rejected, Reason: "r",
			Attempts: 2, SentAt: at, At: at, Result: []byte("no")}},
		&Accept{Acceptance: gateway.Acceptance{ID: "msg_00000000-0001-7000-8000-000000000001", CreatedAt: at, ExpiresAt: at.Add(time.Hour),
			To: gateway.Audience{All: true}, Payload: []byte("bounded"), MaxRecipients: 412}},
		&Cancel{"msg_00000000-0002-7000-8000-000000000002", at}, &Purge{"c", at, gateway.Span{}}, &Purge{"c", at, gateway.Span{After: 3, Through: 7}},
		&Register{gateway.Registration{Client: "c", Reported: map[string]string{}, Groups: groups, At: at}},
		&Register{gateway.Registration{Client: "c", Groups: groups, Guarded: map[string]bool{"h": true, "g": true}, At: at,
			Account: "t", Session: "s", Dialect: "v2", Remote: "192.0.2.1:7"}},
		&Disconnected{gateway.Disconnection{Client: "c", Epoch: 7, At: at, Reason: "why", Session: "s"}},
		&Update{Client: "c", Change: gateway.ClientChange{Labels: map[string]*string{"x": nil, "y": &red}, Groups: &groups, BlockedUntil: &at}},
		&Update{Client: "c", Created: at},
		&Uplink{gateway.Uplink{Client: "c", Session: "s", Number: 3, At: at, Payload: []byte("up")}},
		&Expire{"msg_00000000-0003-7000-8000-000000000003", at}, &ForgetMessage{"msg_00000000-0004-7000-8000-000000000004", at}, &ForgetKey{[]byte("k"), at},
		&ForgetUplinks{9, 10}, &ForgetClient{"c", at, at}, &ForgetOrdinal{5, at}, &Probe{},
		&Opened{After: 1 << 63, Floor: Numbers{1, 2, 3}}, &Bounded{bounds}, &ForgetEvents{7, 8},
		&Note{gateway.Event{Type: gateway.EventMessageLateAck, Client: "c", Message: "odd id", State: gateway.Rejected, Reason: "r", Attempts: 1,
			At: at, Result: []byte("no"), Detail: "d"}},
		&Note{gateway.Event{Type: gateway.EventStoreRepaired, At: at, Repair: &gateway.StoreRepair{After: 7, Since: at}}},
		&RemoveClient{"c", at},
		&Put{[]gateway.Entry{{Key: "k", Value: []byte("v")}, {Key: "empty", Value: []byte{}}, {Key: "gone"}}},
	} {
		r := &Commit{Writer: 1, Boot: 2, N: 3, At: 4, Events: []Event{e}}
		got, err := Decode(r.Encode())
		if err != nil {
			t.Errorf("%T: %v", e, err)
			continue
		}
		if diff := cmp.Diff(e, got.Events[0], cmp.AllowUnexported(Accept{}, Cancel{}, Purge{},
			Disconnected{}, Update{}, Expire{}, ForgetMessage{}, ForgetKey{}, ForgetUplinks{},
			ForgetClient{}, ForgetOrdinal{})); diff != "" {
			t.Errorf("%T (-want +got):\n%s", e, diff)
		}
	}
}

// What an earlier version has written is read as it was meant, or refused.
func TestOlderFormats(t *testing.T) {
	at := time.Unix(0, 1234).UTC()
	ackThrough := PutTime(PutUint(PutString(nil, "c"), 7), at)
	if e, err := decodeEvent(KindAckThrough, ackThrough); err == nil || e != nil || !strings.Contains(err.Error(), "the version that wrote") {
		t.Errorf("an event that is no longer applied is read as %v, error %v", e, err)
	}
}

// FuzzRecord shows that no input makes the decoder fall over.
func FuzzRecord(f *testing.F) {
	f.Add((&Commit{Events: []Event{&Probe{}, &Cancel{"m", time.Unix(1, 0)}}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		for k := KindAccept; k <= KindRemoveClient; k++ {
			if e, err := decodeEvent(k, b); err == nil {
				_ = e.encode(nil)
			}
		}
		_, _ = Decode(b)
	})
}

// The error of a damaged row still names it when an iterator's key has changed.
func TestCorruptErrorKeepsItsKey(t *testing.T) {
	for _, value := range []string{"", "damaged"} {
		key := []byte("key")
		_, err := CheckSum(key, []byte(value))
		copy(key, "an iterator's next")
		if c, ok := errors.AsType[*CorruptError](err); !ok || string(c.Key) != "key" {
			t.Errorf("the damaged row is %v, want that of key", err)
		}
	}
}
