package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
)

// Bounds of a bulk request.
const (
	bulkWindow    = 512              // lines in progress at once
	bulkPayloads  = 4 << 20          // bytes of their payloads; a single one is smaller
	bulkBatch     = 384              // clients whose online deliveries begin together
	bulkPerClient = 16               // lines in progress that are online deliveries to one client
	bulkPending   = 8 << 20          // bytes of answers kept for a caller that sends its whole body before it reads
	bulkTimeout   = 30 * time.Second // for the next bytes of the body, or for the caller to take answers
)

// BulkLine is one line of a bulk request: the body of a push to an audience,
// and key as its idempotency key.
type BulkLine struct {
	PushMany
	Key *string `json:"key,omitempty" validate:"omitempty,idempotencykey" minLength:"1" maxLength:"255" example:"row-1"` // its idempotency key
} //@name BulkLine

// BulkResult answers one line. Status is the HTTP status of the same push alone.
type BulkResult struct {
	Line         int     `json:"line" validate:"required" example:"1"`                            // of the request, from 1
	Key          string  `json:"key,omitempty" example:"row-1"`                                   // that the line had
	Status       int     `json:"status" validate:"required" example:"202"`                        // the HTTP status that a single push would have had
	ID           string  `json:"id,omitempty" example:"msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"` // of the message
	State        string  `json:"state,omitempty" example:"queued"`                                // of the message
	Replayed     bool    `json:"replayed,omitempty"`                                              // the key had made the message before
	Reason       string  `json:"reason,omitempty"`                                                // as in a Message
	Result       *string `json:"result,omitempty"`                                                // the device's answer, as text
	ResultBase64 []byte  `json:"result_base64,omitempty" swaggertype:"string" format:"byte"`      // the same if it is no text
	// Unknown are the named clients that a limited key cannot reach.
	Unknown []gateway.ClientID `json:"unknown,omitempty" swaggertype:"array,string"`
	Problem *problem.Problem   `json:"problem,omitempty"` // why the line was refused
} //@name BulkResult

// BulkSummary is the last line of the answer. Without it the answer was cut.
// Done is false when the rest of the body was not read; problem says why.
type BulkSummary struct {
	Done     bool             `json:"done" validate:"required"`     // the whole request was read
	Lines    int              `json:"lines" validate:"required"`    // that were answered
	Accepted int              `json:"accepted" validate:"required"` // pushes that were accepted
	Failed   int              `json:"failed" validate:"required"`   // lines that were refused
	Problem  *problem.Problem `json:"problem,omitempty"`            // why the rest was not read
} //@name BulkSummary

// BulkAnswer describes the answer for the API's description. Each line of the
// answer is one of its members without the name: a result for each line of the
// request, then the summary.
type BulkAnswer struct {
	Result  BulkResult  `json:"result"`
	Summary BulkSummary `json:"summary"`
} //@name BulkAnswer

// bulk pushes many messages in one request.
//
//	@ID				bulk
//	@Summary		Push many messages in one request
//	@Description	NDJSON in and out, streamed. Each line is a body of POST /v1/messages, plus `key` as its idempotency key, which a line with `mode=online` does not take (the header `Idempotency-Key` is refused); each answer line is written when its message is on disk, in the order of the lines. Messages to one client keep that order.
//	@Description	The last line sums up, so that a cut answer is seen: `{"done":true,"lines":3,"accepted":2,"failed":1}`, with `done` false and a `problem` when the rest was not read. With `wait` each line waits for its final state.
//	@Tags			messages
//	@Accept			application/x-ndjson
//	@Produce		application/x-ndjson
//	@Param			lines		body		BulkLine	true	"one such object per line"
//	@Param			wait		query		string		false	"wait for each line's final state, at most 60s"	example(5s)
//	@Param			Prefer		header		string		false	"wait=5 is the same as ?wait=5s"
//	@Success		200			{object}	BulkAnswer	"a BulkResult for each line, then a BulkSummary"
//	@x-scope		"messages:write"
//	@Router			/v1/messages/bulk [post]
func (s *server) bulk(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	wait := s.waitOf(q, r)
	if err := q.done(); err != nil {
		return err
	}
	switch mediaType(r) {
	case "application/x-ndjson", "application/ndjson", "application/jsonl":
	default:
		return problem.New(problem.UnsupportedMediaType,
			"send one JSON object per line: curl -H 'Content-Type: application/x-ndjson' --data-binary @pushes.ndjson '%s'", urlOf(w, r))
	}
	if r.Header["Idempotency-Key"] != nil { // it does not stop a repeat of the lines
		return problem.BadParameter("Idempotency-Key", "is for one push; in a bulk request each line has its own, as key")
	}
	if coding, err := contentCoding(r); err != nil {
		return err
	} else if coding != "" {
		return wrongCoding("identity", "a bulk request is read line by line and not decoded; send it without Content-Encoding")
	}
	view := viewOf(w)
	if err := view.Ready(); err != nil {
		return err
	}
	waits, release := s.patience(w, r)
	defer release()
	b := &bulkRun{server: s, view: view, waits: waits, principal: exchangeOf(w).principal, wait: wait.d,
		answers: newBulkAnswers(w)}
	b.answers.release = func(size int) { s.bodies.Give(b.principal, size) }
	reads, cancel := context.WithCancel(waits)
	defer cancel()
	defer context.AfterFunc(s.drain.began, cancel)()
	b.reads = reads
	w.Header()["Content-Type"] = []string{"application/x-ndjson"}
	w.Header()["X-Accel-Buffering"] = []string{"no"}
	wait.applied(w.Header())
	lines := s.newLineReader(w, r, b.principal)
	defer lines.close()
	lines.begin(r)
	w.WriteHeader(http.StatusOK)
	b.answers.start()
	defer b.answers.close() // also when run panics
	if err := b.run(lines); err != nil {
		return err
	}
	exchangeOf(w).lingers = b.early && r.ProtoMajor == 1
	return nil
}

// bulkRun is one bulk request. Its own goroutine reads and decodes lines and
// starts their pushes in that order, and waits for none of them.
type bulkRun struct {
	server    *server
	view      *tenant.View
	principal string
	waits     context.Context // ends the waits of all lines
	reads     context.Context // ends with waits and when the server drains
	wait      time.Duration
	answers   *bulkAnswers
	decoded   push // the line that was read last
	early     bool // the answer is complete and the caller may still send
}

func (b *bulkRun) run(lines *lineReader) error {
	defer context.AfterFunc(b.waits, b.answers.giveUp)()
	err := b.read(lines)
	summary := b.answers.wait()
	summary.Done = err == nil
	if err != nil {
		summary.Problem = problem.Of(err)
		code := problem.Kind(summary.Problem.Code())
		b.early = code != problem.RequestTimeout && code != problem.IncompleteBody
	}
	b.answers.add(summary)
	if b.answers.close() != nil {
		return errCallerGone
	}
	if b.server.drain.is() {
		lines.discard()
	}
	return nil
}

// read starts a push for every line. It stops at the end of the body, at a line
// that cannot be read, when the caller takes no answers, and when the server
// drains.
func (b *bulkRun) read(lines *lineReader) error {
	defer b.answers.batch.Flush()
	for number := 1; ; number++ {
		if !lines.buffered() {
			b.answers.batch.Flush()
		}
		line, err := lines.next()
		if ended := b.view.Alive(); ended != nil {
			return ended // checked first: a caller must not keep an ended key in use by sending
		}
		switch {
		case errors.Is(err, errNoMoreLines):
			return nil
		case err != nil && !errors.Is(err, errLongLine):
			return err
		case number > b.server.cfg.MaxBulkLines:
			p := problem.New(problem.PayloadTooLarge, "a bulk request has at most %d lines", b.server.cfg.MaxBulkLines)
			p.Limit = int64(b.server.cfg.MaxBulkLines)
			return p
		case err != nil:
			b.answers.enter(number, "", 0).refuse(problem.TooLarge(b.server.cfg.MaxBody, "the line"))
			continue
		case len(line) == 0:
			continue
		}
		if b.answers.failed() {
			return errCallerGone
		}
		if b.server.drain.is() {
			return drainingProblem()
		}
		if b.server.callers.Pace(b.reads, b.principal, b.server.cfg.Now, b.answers.batch.Flush) != nil {
			return b.cutShort()
		}
		b.line(number, line)
	}
}

// cutShort returns the reason why a wait for the key's rate ended early.
func (b *bulkRun) cutShort() error {
	if b.server.drain.is() {
		return drainingProblem()
	}
	if err := b.view.Alive(); err != nil {
		return err
	}
	return errCallerGone
}

// line decodes one line and starts its push.
func (b *bulkRun) line(number int, data []byte) {
	p := &b.decoded
	*p = push{wait: waiting{d: b.wait}}
	key, err := p.readLine(data)
	if err != nil {
		p.Payload = nil // it is not kept
	}
	if err == nil && p.dryRun {
		err = problem.InvalidBody("/dry_run", "is for POST /v1/messages: a line of a bulk request is pushed")
	}
	if err == nil && p.online && key != "" {
		err = problem.InvalidBody("/key", "needs mode=durable in a bulk request: push the message alone, with the header Idempotency-Key")
	}
	if err == nil {
		err = p.identify(key, b.principal)
	}
	size := len(p.Payload)
	if err == nil {
		if err = b.server.bodies.Take(b.principal, size); err != nil {
			size = 0
		}
	}
	l := b.answers.enter(number, key, size)
	defer func() {
		if cause := recover(); cause != nil {
			b.panicked(l, cause)
		}
	}()
	switch {
	case err != nil:
		l.refuse(err)
	case p.online:
		b.start(l, p.onlineRequest())
	default:
		b.store(l, &p.PushRequest)
	}
}

// panicked answers a line whose push had a bug.
func (b *bulkRun) panicked(l *bulkLine, cause any) {
	b.server.log.LogAttrs(context.Background(), slog.LevelError, "bulk line panicked", slog.Int("line", l.Line),
		slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
	l.refuse(fmt.Errorf("panic: %v", cause))
}

// start begins an online delivery. The session keeps the order of a client's
// deliveries.
func (b *bulkRun) start(l *bulkLine, r gateway.OnlineRequest) {
	b.answers.enterClient(l, r.Client)
	l.call = new(gateway.OnlineCall)
	if err := b.view.StartOnline(l.call, r, l, &b.answers.batch); err != nil {
		l.refuse(err)
		return
	}
	b.answers.started(l, l.call.Wait())
	if b.answers.batch.Clients() >= bulkBatch {
		b.answers.batch.Flush()
	}
}

// store pushes a durable message. The store keeps the order of the lines.
func (b *bulkRun) store(l *bulkLine, r *gateway.PushRequest) {
	stored := func(receipt tenant.Receipt, err error) { b.stored(l, &receipt, err) }
	if b.wait == 0 {
		b.view.StartPush(nil, r, stored)
		return
	}
	l.push = new(gateway.PushCall)
	b.view.StartPush(l.push, r, stored)
	b.answers.started(l, b.wait)
}

// stored answers a line.
func (b *bulkRun) stored(l *bulkLine, receipt *tenant.Receipt, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			b.panicked(l, cause)
		}
	}()
	if err != nil {
		l.refuse(err)
		return
	}
	l.Replayed, l.Unknown = receipt.Replayed, receipt.Unknown
	b.accepted(l, &receipt.Message)
	l.answered()
}

// accepted puts the state of a line's message into its answer.
func (b *bulkRun) accepted(a *bulkLine, m *gateway.Message) {
	a.Status, a.ID, a.State = http.StatusAccepted, string(m.ID), statusOf(m)
	if b.wait > 0 && m.Completed() {
		a.Status = http.StatusOK
	}
	if m.Client == "" || !m.Completed() {
		return
	}
	if d, err := b.view.Delivery(m); err == nil {
		a.Reason = d.Reason
		a.Result, a.ResultBase64 = result(d.Result)
	}
}
