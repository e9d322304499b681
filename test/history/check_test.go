package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// history is a whole run: what the devices saw and did, what the callers wanted
// and were told, and what the API shows in the end.
type history struct {
	journals   map[string]*journal // by client
	book       *book
	messages   map[string]shown // by id
	deliveries map[delivery]shown
	uplinks    map[string][]shown // by client
	troubles   []span             // when what reached the gateway may not have counted
}

type delivery struct{ id, client string }

// span is a time from begin to end.
type span struct{ begin, end time.Time }

// Slack of comparisons between the two processes' clocks, which are the same
// clock: the API cuts times to milliseconds.
const (
	clockSlack = 50 * time.Millisecond // a turn of the gateway with a device has one time
	wireSlack  = 4 * time.Second       // the longest that bytes stay on their way in a test
	syncSlack  = time.Second           // until what the gateway has read is on its disk
	sweepSlack = time.Second           // until what has expired is found: an ack before that still counts
)

// check returns every fault of a history.
func (h *history) check() []fault {
	c := &checker{history: h, indexes: map[string]*index{}}
	for client, j := range h.journals {
		c.indexes[client] = newIndex(j)
	}
	for _, j := range h.journals {
		c.faults = append(c.faults, j.faults...)
		c.checkOrder(j)
		c.checkOnce(j)
		c.checkAnswers(j)
		c.checkUplinks(j)
	}
	c.faults = append(c.faults, h.book.faults...)
	c.checkMessages()
	for at, d := range h.deliveries {
		c.checkDelivery(at, d)
	}
	c.checkTold()
	c.checkOnline()
	slices.SortFunc(c.faults, func(a, b fault) int { return cmp.Compare(a.rule, b.rule) })
	return c.faults
}

type checker struct {
	*history
	indexes map[string]*index // by client
	faults  []fault
}

func (c *checker) wrong(rule, client string, trace []entry, format string, args ...any) {
	c.faults = append(c.faults, fault{rule, client, fmt.Sprintf(format, args...), trace})
}

// checkMessages: what was accepted is there, once, and nothing else is.
func (c *checker) checkMessages() {
	ids := map[digest]string{}
	for id, m := range c.messages {
		payload := digestOf([]byte(m.Text))
		switch p := c.book.pushes[payload]; {
		case p == nil:
			c.wrong("unknown message", "", nil, "%s has the payload %q, which was not pushed", id, payload)
		case ids[payload] != "":
			c.wrong("two messages for one push", p.to[0], nil, "%s and %s have the payload %q, pushed with a key: %t", id, ids[payload], payload, p.keyed)
		case p.refused:
			c.wrong("refused message is stored", p.to[0], nil, "%s %q", id, payload)
		case p.online:
			c.wrong("online message is stored", p.to[0], nil, "%s %q", id, payload)
		default:
			c.checkRecipients(id, p)
		}
		ids[payload] = id
	}
	for _, p := range c.book.pushes {
		for _, id := range p.ids {
			if ids[p.payload] != id {
				c.wrong("accepted message is gone", p.to[0], nil, "%s was the answer to the push of %q, which is now %q", id, p.payload, ids[p.payload])
			}
		}
	}
}

func (c *checker) checkRecipients(id string, p *pushed) {
	for _, client := range p.to {
		if _, ok := c.deliveries[delivery{id, client}]; !ok {
			c.wrong("accepted message is gone", client, nil, "%s has no delivery", id)
		}
	}
}

// checkDelivery compares a state with the journal.
func (c *checker) checkDelivery(at delivery, d shown) {
	j := c.indexes[at.client]
	m := c.messages[at.id]
	if j == nil {
		c.wrong("unknown message", at.client, nil, "%s is for a client that nobody pushed to", at.id)
		return
	}
	v := view{checker: c, at: at, shown: d, old: j.dialect == "v1", trace: j.about(digestOf([]byte(m.Text))), journal: j}
	if v.ExpiresAt.IsZero() {
		v.ExpiresAt = m.ExpiresAt
	}
	if v.CreatedAt.IsZero() {
		v.CreatedAt = m.CreatedAt
	}
	switch d.status() {
	case "acked":
		v.acked()
	case "rejected":
		v.rejected()
	case "expired":
		v.expired()
	case "canceled":
		if !c.book.canceled[at.id] {
			v.wrong("canceled by no caller", "")
		}
	default:
		v.wrong("no verdict", "it is not failed by a limit, nor without a final state")
	}
	v.times()
	v.late()
}

// view is one delivery beside its device's journal.
type view struct {
	*checker
	at delivery
	shown
	old     bool // v1: acks have no number, verdict or result
	trace   []entry
	journal *index
}

func (v *view) wrong(rule, why string) {
	v.checker.wrong(rule, v.at.client, v.trace, "%s %.40q is %s %s result %.60q, attempts %d, created %s, sent %s, final %s, expires %s, late ack %s %s",
		v.at.id, v.messages[v.at.id].Text, v.status(), v.Reason, v.Result, v.Attempts, clock(v.CreatedAt), clock(v.SentAt), clock(v.FinalAt),
		clock(v.ExpiresAt), clock(v.LateAckAt), why)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("04:05.000")
}

// answers are the acks that the device sent with one of these codes.
func (v *view) answers(codes ...byte) (found []entry) {
	for _, e := range v.trace {
		if e.what == answered && slices.Contains(codes, e.code) {
			found = append(found, e)
		}
	}
	return found
}

func (v *view) first(w what) (entry, bool) {
	i := slices.IndexFunc(v.trace, func(e entry) bool { return e.what == w })
	if i < 0 {
		return entry{}, false
	}
	return v.trace[i], true
}

// verdict compares the shown result with the acks that the device sent.
func (v *view) verdict(acks []entry) {
	result := digestOf([]byte(v.Result))
	if !v.old && !slices.ContainsFunc(acks, func(e entry) bool { return e.result == result }) {
		v.wrong("result differs", fmt.Sprintf("the device sent %.60q", acks[0].result))
	}
	v.settledAt(acks)
}

// settledAt checks what every verdict of a device has.
func (v *view) settledAt(acks []entry) {
	if !v.old && len(v.of(handled)) == 0 {
		v.wrong("verdict without an act", "the device never handled it")
	}
	if v.Attempts == 0 && len(v.of(got)) > 0 && len(v.of(asked)) == 0 {
		v.wrong("attempts", "the device got it and was not asked")
	}
	if v.FinalAt.Before(acks[0].at.Add(-clockSlack)) {
		v.wrong("times", "it was final before the device's first ack")
	}
	if !v.ExpiresAt.IsZero() && v.FinalAt.After(v.ExpiresAt.Add(sweepSlack)) {
		v.wrong("verdict after expiry", "an ack that comes later is a late ack")
	}
}

func (v *view) of(w what) (found []entry) {
	for _, e := range v.trace {
		if e.what == w {
			found = append(found, e)
		}
	}
	return found
}

func (v *view) acked() {
	ok, unkept := v.answers(codeOK), v.answers(codeNotKept)
	switch {
	case v.Reason == "verdict_not_kept":
		if len(unkept) == 0 {
			v.wrong("acked without an ack", "the device never said that it has no verdict")
		} else if v.Result != "" {
			v.wrong("result differs", "a verdict that was not kept has none")
		}
	case len(ok) > 0 && v.Reason == "":
		v.verdict(ok)
	case len(v.of(got)) == 0:
		v.wrong("acked and never sent", "")
	case len(v.answers(codeReject)) > 0:
		v.wrong("acked without an ack", "the device rejected it")
	default:
		v.wrong("acked without an ack", "")
	}
}

func (v *view) rejected() {
	switch acks := v.answers(codeReject); {
	case v.Reason == "too_large_for_protocol":
		if len(v.of(got)) > 0 {
			v.wrong("rejected without a reject", "it was sent")
		}
	case v.Reason != "device_rejected" || len(acks) == 0:
		v.wrong("rejected without a reject", "")
	default:
		v.verdict(acks)
	}
}

func (v *view) expired() {
	if v.FinalAt.Before(v.ExpiresAt) {
		v.wrong("expired early", "")
	}
	if e, ok := v.first(got); ok && e.at.After(v.ExpiresAt.Add(wireSlack)) {
		v.wrong("sent after expiry", "")
	}
	for _, e := range v.answers(codeOK, codeReject, codeNotKept) {
		if !v.old && v.counted(e) {
			v.wrong("verdict lost", fmt.Sprintf("the gateway had read the ack of %s before", clock(e.at)))
			return
		}
	}
}

// counted reports whether the gateway has read ack e in time to settle the
// delivery with it. An ack counts only for what its connection has brought.
func (v *view) counted(e entry) bool {
	brought := slices.ContainsFunc(v.trace, func(o entry) bool {
		return o.conn == e.conn && (o.what == got || o.what == asked) && o.place < e.place
	})
	proofs := v.journal.proofs[e.conn]
	i := slices.IndexFunc(proofs, func(at int) bool { return int(v.journal.entries[at].seq) > e.place })
	if !brought || i < 0 {
		return false
	}
	end := v.journal.entries[proofs[i]].at
	return end.Before(v.ExpiresAt) && !slices.ContainsFunc(v.troubles, func(s span) bool {
		return s.begin.Before(end.Add(syncSlack)) && s.end.After(e.at.Add(-syncSlack))
	})
}

func (v *view) times() {
	if !v.SentAt.IsZero() && (v.SentAt.Before(v.CreatedAt.Add(-clockSlack)) || v.SentAt.After(v.FinalAt.Add(clockSlack)) && v.status() != "canceled" && v.status() != "expired") {
		v.wrong("times", "it was sent before it was created, or after it was final")
	}
	if v.FinalAt.IsZero() || v.FinalAt.Before(v.CreatedAt.Add(-clockSlack)) {
		v.wrong("times", "it was final before it was created")
	}
}

// late: an ack that comes after a final state which is no verdict of the device.
func (v *view) late() {
	if v.LateAckAt.IsZero() {
		return
	}
	acks := v.answers(codeOK, codeReject, codeNotKept)
	switch {
	case v.status() == "acked" || v.status() == "rejected":
		v.wrong("late ack beside a verdict", "")
	case len(acks) == 0 || v.LateAckAt.Before(acks[0].at.Add(-clockSlack)):
		v.wrong("late ack without an ack", "")
	case !v.old && !slices.ContainsFunc(acks, func(e entry) bool {
		return e.result == digestOf([]byte(v.LateResult)) && (e.code == codeReject) == (v.LateVerdict == "reject")
	}):
		v.wrong("result differs", fmt.Sprintf("the late ack is shown as %s %.60q", v.LateVerdict, v.LateResult))
	}
}

// checkOrder: what a device sees for the first time has a higher sequence than
// all before, and a sequence is one payload.
func (c *checker) checkOrder(j *journal) {
	payloads, highest := map[uint64]digest{}, uint64(0)
	for i, e := range j.entries {
		if e.what != got || e.ephemeral || e.seq == 0 {
			continue
		}
		before, seen := payloads[e.seq]
		switch {
		case seen && before != e.payload:
			c.wrong("sequence given twice", j.client, nil, "%d was %q and is %q", e.seq, before, e.payload)
		case !seen && e.seq < highest:
			c.wrong("order", j.client, j.entries[max(0, i-10):i+1], "%d %q came for the first time after %d", e.seq, e.payload, highest)
		}
		payloads[e.seq], highest = e.payload, max(highest, e.seq)
	}
}

// checkOnce: a device that kept its ledger acts once, and gets an online delivery
// once.
func (c *checker) checkOnce(j *journal) {
	acted, online := map[digest]int{}, map[digest]int{}
	for i, e := range j.entries {
		switch {
		case e.what == forgot:
			clear(acted)
		case e.what == unsaved:
			delete(acted, e.payload)
		case e.what == got && e.ephemeral:
			if online[e.payload]++; online[e.payload] > 1 {
				c.wrong("online message came twice", j.client, nil, "%q", e.payload)
			}
		case e.what == handled && !e.ephemeral:
			if acted[e.payload]++; acted[e.payload] > 1 {
				c.wrong("handled twice", j.client, j.entries[max(0, i-10):i+1], "%q", e.payload)
			}
		}
	}
}

// checkAnswers: a device says what it did. Of a reject it may forget the reason; of
// anything it may say that it has forgotten the verdict.
func (c *checker) checkAnswers(j *journal) {
	x := c.indexes[j.client]
	for payload, places := range x.stored {
		if j.dialect == "v1" {
			return
		}
		var acts []entry
		for _, e := range x.entriesAt(places) {
			if e.what == handled {
				acts = append(acts, e)
			}
			verdict := e.code == codeOK || e.code == codeReject || e.code == codeNotKept
			if e.what == answered && verdict && !slices.ContainsFunc(acts, func(act entry) bool {
				return e.code == codeNotKept || e.code == act.code && (e.result == act.result || e.code == codeReject && e.result == "")
			}) {
				c.wrong("answer differs from the act", j.client, x.entriesAt(places), "%d %q was answered %d %.60q", e.seq, payload, e.code, e.result)
			}
		}
	}
}

// checkTold: an answer with a final state holds for ever.
func (c *checker) checkTold() {
	ended := map[delivery]note{}
	for _, n := range slices.SortedFunc(slices.Values(c.book.notes), func(a, b note) int { return a.end.Compare(b.end) }) {
		at := delivery{n.id, n.client}
		d, ok := c.deliveries[at]
		if !ok {
			continue // checkMessages says so
		}
		if !final(n.status) {
			if before, ok := ended[at]; ok && before.end.Before(n.begin) {
				c.wrong("final state taken back", n.client, nil, "%s was %s by %s and later %s by %s", n.id, before.status, before.where, n.status, n.where)
			}
			continue
		}
		if _, ok := ended[at]; !ok {
			ended[at] = n
		}
		if end := outcomeOf(&d); !n.agrees(end) {
			c.wrong("final state changed", n.client, c.indexes[n.client].about(digestOf([]byte(c.messages[n.id].Text))),
				"%s was told as %v by %s at %s and ended as %v", n.id, n.outcome, n.where, clock(n.end), end)
		}
	}
	times := map[told]int{}
	for _, e := range c.book.events {
		if times[e]++; times[e] > 1 {
			c.wrong("event told twice", e.client, nil, "%s of %s", e.event, e.id)
		}
	}
}

// agrees compares what was told with the end. Events leave out what is long.
func (n note) agrees(end outcome) bool {
	if !strings.HasPrefix(n.where, "event") {
		return n.outcome == end
	}
	return n.status == end.status && (n.result == "" || n.result == end.result)
}

// checkOnline: the answer to a push with mode online is the device's own.
func (c *checker) checkOnline() {
	for _, p := range c.book.pushes {
		if !p.online || !final(p.answer.status) {
			continue
		}
		x := c.indexes[p.to[0]]
		code, places := byte(codeOK), x.online[p.payload]
		if p.answer.status == "rejected" {
			code = codeReject
		}
		old := x.dialect == "v1" // there an online delivery looks like any other
		if old {
			places = x.stored[p.payload]
		}
		if !slices.ContainsFunc(x.entriesAt(places), func(e entry) bool {
			return e.what == answered && (old || e.code == code && e.result == p.answer.result)
		}) {
			c.wrong("online answer without an ack", p.to[0], x.entriesAt(places), "%q is %v", p.payload, p.answer)
		}
	}
}

// number names an uplink in a session.
type number struct {
	session string
	number  uint64
}

// checkUplinks: what was acked is there with its number and its bytes, and
// nothing else is.
func (c *checker) checkUplinks(j *journal) {
	listed, sentIt, putOff, ackedIt := map[uint64]map[digest]bool{}, map[uint64]digest{}, map[uint64]bool{}, map[uint64]bool{}
	there, open := map[digest]bool{}, map[digest]bool{} // by payload: listed; wanted and not done
	twice := map[number]bool{}
	var payloads []string // sent by v1
	for _, e := range j.entries {
		if e.what == sent {
			sentIt[e.seq] = e.payload
			payloads = append(payloads, string(e.payload))
		}
		if e.what == stored {
			putOff[e.seq] = putOff[e.seq] || e.code == codeLater
			ackedIt[e.seq] = ackedIt[e.seq] || e.code == codeOK
		}
		if e.what == given {
			ackedIt[e.seq] = true // it is not waited for
		}
		if e.what == wanted || e.what == done {
			open[e.payload] = e.what == wanted
		}
	}
	for _, u := range c.uplinks[j.client] {
		payload, n := digestOf([]byte(u.Text)), u.number()
		if listed[n] == nil {
			listed[n] = map[digest]bool{}
		}
		listed[n][payload], there[payload] = true, true
		at := number{u.Session, n}
		switch {
		case j.dialect == "v1":
			if !slices.ContainsFunc(payloads, func(p string) bool { return strings.HasPrefix(p, string(payload)) }) {
				c.wrong("unknown uplink", j.client, nil, "%q was not sent", payload)
			}
		case sentIt[n] != payload:
			c.wrong("unknown uplink", j.client, nil, "%d %q was not sent", n, payload)
		case twice[at] && !putOff[n]:
			c.wrong("uplink stored twice", j.client, j.uplink(n), "%d %q in session %s", n, payload, u.Session)
		}
		twice[at] = true
	}
	for _, e := range j.entries {
		if e.what == stored && e.code == codeOK && !listed[e.seq][e.payload] {
			rule := "uplink lost"
			if putOff[e.seq] {
				rule = "uplink lost after retry later"
			}
			c.wrong(rule, j.client, j.uplink(e.seq), "%d %q was acked", e.seq, e.payload)
		}
	}
	for n := range sentIt {
		if j.dialect != "v1" && !ackedIt[n] {
			c.wrong("uplink never acked", j.client, j.uplink(n), "%d", n)
		}
	}
	for payload, waits := range open {
		switch {
		case waits:
			c.wrong("uplink never acked", j.client, nil, "Send of %q has not returned nil", payload)
		case !there[payload]:
			c.wrong("uplink lost", j.client, nil, "Send of %q has returned nil", payload)
		}
	}
}

// uplink returns the entries about one number.
func (j *journal) uplink(n uint64) (found []entry) {
	for _, e := range j.entries {
		if (e.what == sent || e.what == stored) && e.seq == n {
			found = append(found, e)
		}
	}
	return found
}
