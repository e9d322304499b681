package why

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A sentence is whole, whatever is known: no time is missing in its middle.
func wantWhole(t *testing.T, text string) {
	t.Helper()
	holes := regexp.MustCompile(`  |\bat[,;.]|\bsince[,;. ]*[,;.(]| until[,;.]|%!|\(\)|0001`)
	if holes.MatchString(text) || !strings.HasSuffix(text, ".") || !regexp.MustCompile(`^([A-Z1-9]|truck-1 )`).MatchString(text) {
		t.Errorf("not a whole sentence: %q", text)
	}
}

// Every state with every reason has a sentence, with and without the times that the store
// does not keep.
func TestEverySentenceIsWhole(t *testing.T) {
	reasons := append(gateway.DeliveryReasons(), "")
	for st := gateway.Queued; st <= gateway.Unknown; st++ {
		for _, reason := range reasons {
			for _, full := range []bool{false, true} {
				for attempts := range 3 {
					d := gateway.Delivery{Message: "msg_1", Client: "truck-1", State: st, Reason: reason, Attempts: attempts, ExpiresAt: now.Add(time.Hour)}
					q := &Delivery{Now: now, Delivery: d, Client: &gateway.Client{}}
					q.Sent = gateway.Transmissions{Known: full, Attempts: attempts}
					if full {
						q.Delivery.SentAt, q.Delivery.FinalAt, q.Sent.SentAt = now, now, now
						q.Client.LastSeenAt, q.Client.LastClose = now, gateway.ReasonKicked
					}
					v := OfDelivery(q)
					wantWhole(t, v.Sentence)
					if !slices.Contains(MessageCodes(), v.Code) {
						t.Errorf("code %q is not in the list", v.Code)
					}
					for _, line := range History(q, &v) {
						if !slices.Contains(LineCodes(), line.Code) || line.What == "" {
							t.Errorf("line %+v", line)
						}
					}
				}
			}
		}
	}
}

// At a live connection, notes may be missing: too many deliveries have some.
func TestStandingsWithoutNotes(t *testing.T) {
	first := &gateway.Delivery{Message: "msg_0"}
	for code, st := range map[Code]gateway.Standing{
		RetryLater:       {InWindow: true, RetryLater: 2},
		AskedNotAnswered: {InWindow: true, Asked: true},
		SentNotAcked:     {InWindow: true, Flushed: true},
		NotReading:       {InWindow: true, Link: gateway.LinkStats{Unwritten: 7}},
		AboutToSend:      {Window: 2, InFlight: 1, First: first},
		WindowFull:       {Window: 1, InFlight: 1, First: first},
		BehindAsk:        {Window: 1, InFlight: 1, First: first, Asking: true},
		Paced:            {Window: 1, Link: gateway.LinkStats{Paced: true}},
		Rollout:          {Window: 1, Waking: true},
	} {
		st.Live = true
		q := &Delivery{Now: now, Standing: st, Delivery: gateway.Delivery{Client: "truck-1", State: gateway.Queued, ExpiresAt: now}}
		v := OfDelivery(q)
		if v.Code != code {
			t.Errorf("%+v is %s, want %s", st, v.Code, code)
		}
		wantWhole(t, v.Sentence)
	}
}

// A device that says retry later again and again is no device that was only asked once,
// also in the moment when it has the message.
func TestARetryLoopIsNamedWhileTheDeviceHasTheMessage(t *testing.T) {
	q := &Delivery{Now: now, Standing: gateway.Standing{Live: true, InWindow: true, Flushed: true, Retried: gateway.ManyRetries, RetrySince: now},
		Delivery: gateway.Delivery{Client: "truck-1", State: gateway.Sent, Attempts: 1, SentAt: now, ExpiresAt: now.Add(time.Hour)}}
	v := OfDelivery(q)
	wantWhole(t, v.Sentence)
	if v.Code != RetryLater || v.Facts.RetryLater != gateway.ManyRetries || !strings.Contains(v.Sentence, "at least 6 times since") {
		t.Errorf("%+v", v)
	}
	q.Standing.WorkingAt = now
	if v := OfDelivery(q); v.Code != Working {
		t.Errorf("of a device that works on it now: %+v", v)
	}
}

// A client that owes the answer to a heartbeat is not simply online, and no message merely
// waits for it.
func TestASuspectClientIsNamed(t *testing.T) {
	c := &gateway.Client{Online: true, Suspect: true, ConnectedAt: now.Add(-time.Hour), ClientRecord: gateway.ClientRecord{ID: "truck-1", LastSeenAt: now.Add(-12 * time.Second)}}
	v, _ := OfClient(&Client{Now: now, ID: "truck-1", Client: c})
	wantWhole(t, v.Sentence)
	if v.Code != OnlineSuspect || !v.Facts.LastSeenAt.Equal(c.LastSeenAt) || !strings.Contains(v.Sentence, "(12 s ago)") {
		t.Errorf("%+v", v)
	}
	for code, st := range map[Code]gateway.Standing{
		ClientSuspect: {Live: true, InWindow: true, Flushed: true},
		WindowFull:    {Live: true, Window: 1, InFlight: 1, First: &gateway.Delivery{Message: "msg_0"}},
	} {
		v := OfDelivery(&Delivery{Now: now, Client: c, Standing: st, Delivery: gateway.Delivery{Client: "truck-1", ExpiresAt: now.Add(time.Hour)}})
		wantWhole(t, v.Sentence)
		if v.Code != code || !v.Facts.LastSeenAt.Equal(c.LastSeenAt) || !strings.Contains(v.Sentence, "does not answer a heartbeat") {
			t.Errorf("want %s: %+v", code, v)
		}
	}
}

// A device that falls over each message comes back at once: the row of closes tells.
func TestConnectionsThatDoNotLastAreNamed(t *testing.T) {
	u := &gateway.Unstable{Client: "truck-1", Since: now.Add(-time.Minute), Count: 7, Reason: gateway.ReasonConnectionLost}
	c := &gateway.Client{Online: true, ConnectedAt: now, ClientRecord: gateway.ClientRecord{ID: "truck-1", LastSeenAt: now}}
	const words = "7 have ended in quick succession since 2026-01-02 03:03:05 UTC, the last one with connection_lost"
	for _, online := range []bool{true, false} {
		c.Online = online
		v, _ := OfClient(&Client{Now: now, ID: "truck-1", Client: c, Unstable: u})
		if v.Facts.Disconnects != 7 || !strings.Contains(v.Sentence, words) || online != (v.Code == OnlineUnstable) {
			t.Errorf("%+v", v)
		}
		d := gateway.Delivery{Client: "truck-1", Attempts: 4, SentAt: now, ExpiresAt: now.Add(time.Hour)}
		v = OfDelivery(&Delivery{Now: now, Client: c, Unstable: u, Delivery: d, Standing: gateway.Standing{Live: online, InWindow: true, Flushed: true}})
		wantWhole(t, v.Sentence)
		if v.Facts.Disconnects != 7 || !strings.Contains(v.Sentence, words) {
			t.Errorf("%+v", v)
		}
	}
}

// An expired message says where its client was, if that is certain.
func TestAnExpiredMessageSaysWhereItsClientWas(t *testing.T) {
	d := gateway.Delivery{Client: "truck-1", State: gateway.Expired, CreatedAt: now.Add(-time.Hour), FinalAt: now.Add(-time.Minute)}
	for words, c := range map[string]*gateway.Client{
		"sent to truck-1.": nil,
		"sent to truck-1, which has never connected.":                 {},
		"which has connected only at 2026-01-02 03:04:05 UTC.":        {Online: true, ConnectedAt: now},
		"before it could be sent to truck-1.":                         {Online: true, ConnectedAt: now.Add(-time.Hour)},
		"which is offline, last seen at 2026-01-01 03:04:05 UTC (1 d": {ClientRecord: gateway.ClientRecord{LastSeenAt: now.Add(-24 * time.Hour)}},
	} {
		v := OfDelivery(&Delivery{Now: now, Client: c, Delivery: d, Sent: gateway.Transmissions{Known: true}})
		if v.Code != ExpiredUnsent || !strings.Contains(v.Sentence, words) {
			t.Errorf("%q, want %q", v.Sentence, words)
		}
	}
}

func TestEveryCloseAndRefusalHasWords(t *testing.T) {
	for _, reason := range gateway.CloseReasons() {
		c := &gateway.Client{ClientRecord: gateway.ClientRecord{ID: "truck-1", LastSeenAt: now.Add(-time.Hour), LastClose: reason}}
		v, ok := OfClient(&Client{Now: now, ID: "truck-1", Client: c})
		wantWhole(t, v.Sentence)
		if by := v.Facts.ClosedBy; !ok || v.Code != Code("closed_by_"+by) || !strings.Contains(v.Sentence, reason) {
			t.Errorf("%s: %+v", reason, v)
		}
	}
	c := &gateway.Client{ClientRecord: gateway.ClientRecord{ID: "truck-1", LastSeenAt: now.Add(-time.Hour), LastClose: gateway.ReasonHungUp}}
	if v, _ := OfClient(&Client{Now: now, ID: "truck-1", Client: c}); !strings.Contains(v.Sentence, "the device closed the connection without a goodbye (hung_up)") {
		t.Errorf("of a device that hung up: %q", v.Sentence)
	}
	for _, reason := range gateway.RefusalReasons() {
		if because[reason] == "" {
			t.Errorf("no words for %s", reason)
		}
	}
	if v, ok := OfClient(&Client{Now: now, ID: "truck-1"}); ok {
		t.Errorf("of an unknown client: %+v", v)
	}
}

func TestSpansHaveTwoUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 59 * time.Second: "59 s", 61 * time.Second: "1 min 1 s", 3*time.Hour + 12*time.Minute: "3 h 12 min", 50 * time.Hour: "2 d 2 h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if got := number(1_234_567); got != "1,234,567" {
		t.Error(got)
	}
}

// A delivery that has expired or was canceled, and that may have been sent, says so: silence
// would read as "never sent".
func TestUnknownSendsAreSaid(t *testing.T) {
	for _, st := range []gateway.State{gateway.Expired, gateway.Canceled} {
		d := gateway.Delivery{Message: "msg_1", Client: "truck-1", State: st, CreatedAt: now, FinalAt: now}
		for _, sent := range []gateway.Transmissions{{}, {Known: true}, {Known: true, Attempts: 1, SentAt: now}} {
			q := &Delivery{Now: now, Delivery: d, Sent: sent}
			v := OfDelivery(q)
			var codes []string
			for _, line := range History(q, &v) {
				codes = append(codes, line.Code)
			}
			want := []string{"accepted", st.String()}
			if !sent.Known {
				want = slices.Insert(want, 1, "sends_unknown")
			} else if sent.Attempts > 0 {
				want = slices.Insert(want, 1, "sent")
			}
			if !slices.Equal(codes, want) || strings.Contains(v.Sentence, "is not known any more") == sent.Known {
				t.Errorf("%+v: history %v, want %v; %s", sent, codes, want, v.Sentence)
			}
		}
	}
}
