package history

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// aDay is a small history without a fault.
func aDay() *history {
	begin := time.Now().Add(-time.Hour)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	j := &journal{client: "d", dialect: "v2", entries: []entry{
		{at: at(1), what: got, conn: 1, seq: 1, payload: "one"},
		{at: at(1), what: handled, conn: 1, seq: 1, payload: "one", result: "done"},
		{at: at(1), what: answered, conn: 1, seq: 1, payload: "one", result: "done"},
		{at: at(2), what: got, conn: 1, seq: 2, payload: "two"},
		{at: at(2), what: handled, conn: 1, seq: 2, payload: "two", code: codeReject, result: "jammed"},
		{at: at(2), what: asked, conn: 2, seq: 2},
		{at: at(2), what: answered, conn: 2, seq: 2, code: codeReject, result: "jammed"},
		{at: at(3), what: got, conn: 2, seq: 4, payload: "four"},
		{at: at(3), what: handled, conn: 2, seq: 4, payload: "four"},
		{at: at(6), what: answered, conn: 2, seq: 4, payload: "four"},
		{at: at(7), what: got, conn: 2, seq: 1, ephemeral: true, payload: "now"},
		{at: at(7), what: answered, conn: 2, seq: 1, ephemeral: true, payload: "now", result: "yes"},
		{at: at(8), what: sent, conn: 2, seq: 9, payload: "up nine"},
		{at: at(8), what: stored, conn: 2, seq: 9, payload: "up nine"},
		{at: at(8), what: sent, conn: 2, seq: 5, payload: "up five"},
		{at: at(8), what: stored, conn: 2, seq: 5, code: codeLater, payload: "up five"},
		{at: at(9), what: sent, conn: 2, seq: 5, payload: "up five"},
		{at: at(9), what: stored, conn: 2, seq: 5, payload: "up five"},
		{at: at(9), what: proved, conn: 2, seq: 18},
		{at: at(9), what: wanted, payload: "up nine"},
		{at: at(9), what: done, payload: "up nine"},
		{at: at(9), what: unsaved, conn: 2, seq: 1, payload: "one"},
		{at: at(9), what: handled, conn: 3, seq: 1, payload: "one", result: "done"},
	}}
	b := newBook()
	for payload, id := range map[digest]string{"one": "m1", "two": "m2", "three": "m3", "four": "m4"} {
		b.accepted(b.wants(&pushed{payload: payload, to: []string{"d"}}), id)
	}
	b.wants(&pushed{payload: "now", to: []string{"d"}, online: true, answer: outcome{status: "acked", result: "yes"}})
	b.cancels("m4")
	b.notes = []note{
		{begin: at(1), end: at(1), where: "GET", id: "m1", client: "d", outcome: outcome{status: "queued"}},
		{begin: at(2), end: at(2), where: "GET", id: "m1", client: "d", outcome: outcome{"acked", "", "done"}},
		{begin: at(3), end: at(3), where: "event message.acked", id: "m1", client: "d", outcome: outcome{status: "acked"}},
	}
	b.event("evt_1", told{"message.acked", "m1", "d"})
	h := &history{journals: map[string]*journal{"d": j}, book: b, messages: map[string]shown{}, deliveries: map[delivery]shown{},
		uplinks: map[string][]shown{"d": {{Session: "s", Number: 9, Text: "up nine"}, {Session: "s", Number: 5, Text: "up five"}}}}
	for _, m := range []shown{
		{ID: "m1", Text: "one", State: "acked", Result: "done", Attempts: 1, SentAt: at(1), FinalAt: at(1)},
		{ID: "m2", Text: "two", State: "rejected", Reason: "device_rejected", Result: "jammed", Attempts: 1, SentAt: at(2), FinalAt: at(2)},
		{ID: "m3", Text: "three", State: "expired", FinalAt: at(20), ExpiresAt: at(20)},
		{ID: "m4", Text: "four", State: "canceled", Attempts: 1, SentAt: at(3), FinalAt: at(4), LateAckAt: at(6)},
	} {
		m.Client, m.CreatedAt = "d", at(0)
		if m.ExpiresAt.IsZero() {
			m.ExpiresAt = at(600)
		}
		h.messages[m.ID], h.deliveries[delivery{m.ID, "d"}] = m, m
	}
	return h
}

// alter changes what the API shows of a message.
func (h *history) alter(id string, change func(*shown)) {
	d := h.deliveries[delivery{id, "d"}]
	change(&d)
	h.deliveries[delivery{id, "d"}] = d
}

// The checker passes a history without a fault, and finds each fault that is
// planted in it, by its rule.
func TestCheckerFindsWhatIsPlanted(t *testing.T) {
	for _, f := range aDay().check() {
		t.Errorf("a history without a fault: %v", f)
	}
	for name, plant := range map[string]struct {
		rule  string
		alter func(*history, []entry)
	}{
		"an ack that was none":             {"acked without an ack", func(_ *history, e []entry) { e[2].code = codeLater }},
		"an ack of another delivery":       {"acked without an ack", func(_ *history, e []entry) { e[2].seq, e[2].payload = 7, "seven" }},
		"a reject that was an ack":         {"rejected without a reject", func(_ *history, e []entry) { e[6].code = codeOK }},
		"another result":                   {"result differs", func(_ *history, e []entry) { e[2].result = "other" }},
		"an ack without an act":            {"verdict without an act", func(_ *history, e []entry) { e[1].what, e[22].what = closed, closed }},
		"an order that is none":            {"order", func(_ *history, e []entry) { e[0].seq, e[1].seq, e[2].seq = 3, 3, 3 }},
		"a second payload for a sequence":  {"sequence given twice", func(_ *history, e []entry) { e[7].seq = 2 }},
		"an act that is repeated":          {"handled twice", func(_ *history, e []entry) { e[5] = e[4] }},
		"an ack that came late":            {"times", func(_ *history, e []entry) { e[2].at = e[2].at.Add(time.Minute) }},
		"an online ack that was none":      {"online answer without an ack", func(_ *history, e []entry) { e[11].ephemeral = false }},
		"an uplink with another payload":   {"uplink lost", func(_ *history, e []entry) { e[13].payload = "other" }},
		"an uplink that nobody acked":      {"uplink never acked", func(_ *history, e []entry) { e[13].code = codeLater }},
		"a Send that has returned nil":     {"uplink lost", func(_ *history, e []entry) { e[19].payload, e[20].payload = "up ten", "up ten" }},
		"a Send that has not returned":     {"uplink never acked", func(_ *history, e []entry) { e[20].what = closed }},
		"an act that was saved":            {"handled twice", func(_ *history, e []entry) { e[21].what = closed }},
		"an ok for a reject":               {"answer differs from the act", func(_ *history, e []entry) { e[4].code, e[6].code = codeReject, codeOK }},
		"a result that is another's":       {"answer differs from the act", func(_ *history, e []entry) { e[2].result = "other" }},
		"a rejected delivery that's acked": {"acked without an ack", func(h *history, _ []entry) { h.alter("m2", func(d *shown) { d.State, d.Reason = "acked", "" }) }},
		"a result that is lost":            {"result differs", func(h *history, _ []entry) { h.alter("m1", func(d *shown) { d.Result = "" }) }},
		"an expired delivery that's acked": {"acked and never sent", func(h *history, _ []entry) { h.alter("m3", func(d *shown) { d.State = "acked" }) }},
		"an early expiry":                  {"expired early", func(h *history, _ []entry) { h.alter("m3", func(d *shown) { d.FinalAt = d.FinalAt.Add(-time.Second) }) }},
		"a verdict that expired": {"verdict lost", func(h *history, _ []entry) {
			h.alter("m4", func(d *shown) { d.State = "expired"; d.FinalAt = d.ExpiresAt })
		}},
		"a verdict after the expiry": {"verdict after expiry", func(h *history, _ []entry) {
			h.alter("m1", func(d *shown) { d.FinalAt = d.ExpiresAt.Add(time.Minute) })
		}},
		"a cancel that no caller wanted": {"canceled by no caller", func(h *history, _ []entry) { delete(h.book.canceled, "m4") }},
		"a late ack that is none":        {"late ack without an ack", func(h *history, _ []entry) { h.alter("m3", func(d *shown) { d.LateAckAt = d.FinalAt }) }},
		"a late ack beside a verdict":    {"late ack beside a verdict", func(h *history, _ []entry) { h.alter("m1", func(d *shown) { d.LateAckAt = d.FinalAt }) }},
		"a verdict that was not lost": {"acked without an ack", func(h *history, _ []entry) {
			h.alter("m1", func(d *shown) { d.Reason, d.Result = "verdict_not_kept", "" })
		}},
		"no attempt":                      {"attempts", func(h *history, _ []entry) { h.alter("m1", func(d *shown) { d.Attempts = 0 }) }},
		"a state that is not final":       {"no verdict", func(h *history, _ []entry) { h.alter("m1", func(d *shown) { d.State = "queued" }) }},
		"a state that was told otherwise": {"final state changed", func(h *history, _ []entry) { h.book.notes[1].status = "expired" }},
		"a state that was taken back":     {"final state taken back", func(h *history, _ []entry) { h.book.notes[0].begin = time.Now(); h.book.notes[0].end = time.Now() }},
		"an event that came twice":        {"event told twice", func(h *history, _ []entry) { h.book.event("evt_2", told{"message.acked", "m1", "d"}) }},
		"a message that is gone":          {"accepted message is gone", func(h *history, _ []entry) { delete(h.messages, "m1") }},
		"a second message for a push":     {"two messages for one push", func(h *history, _ []entry) { m := h.messages["m1"]; h.messages["m5"] = m }},
		"an uplink that is gone":          {"uplink lost", func(h *history, _ []entry) { h.uplinks["d"] = h.uplinks["d"][1:] }},
		"an uplink that is gone later":    {"uplink lost after retry later", func(h *history, _ []entry) { h.uplinks["d"] = h.uplinks["d"][:1] }},
		"an uplink that is there twice":   {"uplink stored twice", func(h *history, _ []entry) { h.uplinks["d"] = append(h.uplinks["d"], h.uplinks["d"][0]) }},
		"an uplink that nobody sent":      {"unknown uplink", func(h *history, _ []entry) { h.uplinks["d"][0].Text = "other" }},
	} {
		h := aDay()
		plant.alter(h, h.journals["d"].entries)
		if faults := h.check(); !slices.ContainsFunc(faults, func(f fault) bool { return f.rule == plant.rule }) {
			t.Errorf("%s: the checker found %v, want a fault by %q", name, faults, plant.rule)
		}
	}
}

// mustNotice plants faults in a history that has none: a rejected delivery and an
// acked one change their states, and an acked uplink is removed.
func (h *history) mustNotice(t *testing.T) {
	t.Helper()
	for from, to := range map[string]string{"acked": "rejected", "rejected": "acked"} {
		for at, d := range h.deliveries {
			if d.status() == from && d.Reason != "too_large_for_protocol" {
				altered := d
				altered.RawStatus = []byte(`"` + to + `"`)
				h.deliveries[at] = altered
				if len(h.check()) == 0 {
					t.Errorf("the checker does not find that %s is %s, and was %s", at.id, to, from)
				}
				h.deliveries[at] = d
				break
			}
		}
	}
	for _, client := range slices.Sorted(maps.Keys(h.uplinks)) {
		all := h.uplinks[client]
		if h.uplinks[client] = nil; len(all) > 0 && len(h.check()) == 0 {
			t.Errorf("the checker does not find that the uplinks of %s are gone", client)
		}
		h.uplinks[client] = all
	}
}
