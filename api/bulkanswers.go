package api

import (
	"net/http"
	"sync"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// bulkLine is one line under way and, in the end, its answer.
type bulkLine struct {
	BulkResult
	answers *bulkAnswers
	size    int // bytes of the payload

	call *gateway.OnlineCall // of an online delivery
	push *gateway.PushCall   // of a stored one that is waited for

	// Guarded by answers.mu.
	client    gateway.ClientID // counted in perClient; "" = not
	deadline  time.Time        // of a started call; zero = none
	isStarted bool
	done      bool
}

// Answered implements gateway.OnlineWaiter.
func (l *bulkLine) Answered(r gateway.OnlineResult, err error) {
	if err != nil {
		l.refuse(err)
		return
	}
	l.Status, l.ID, l.State, l.Reason = http.StatusOK, string(r.Message), r.State.String(), r.Reason
	l.Result, l.ResultBase64 = result(r.Result)
	l.answered()
}

// refuse answers a line whose push was refused or has failed.
func (l *bulkLine) refuse(err error) {
	l.Problem = problem.Of(err)
	l.Status = l.Problem.Status
	l.answered()
}

// answered hands the line back: its answer is set.
func (l *bulkLine) answered() { l.answers.answered(l) }

// bulkAnswers holds the lines of one request that are under way and the answers
// that are not written yet. The goroutine that answers the oldest line appends
// its answer and the answers behind it that are ready. A separate goroutine, the
// writer, sends them: a caller may send its whole body before it reads an answer,
// and the reader must not wait for such a caller.
type bulkAnswers struct {
	w       http.ResponseWriter
	wire    *http.ResponseController
	written chan struct{} // closed when the writer has ended
	hurry   chan struct{} // has room for one: do not wait for more answers

	release func(size int) // gives back the memory of an answered line's payload

	batch gateway.OnlineBatch // owned by the reader, which flushes it before every wait

	mu        sync.Mutex
	progress  sync.Cond // lines or pending have become fewer; the reader waits for it
	changed   sync.Cond // pending, closed or err has changed; the writer waits for it
	lines     [bulkWindow]*bulkLine
	first     int  // oldest line under way, at first%bulkWindow
	next      int  // behind the newest
	full      bool // lines had no room; the reader resumes, with a batch, when three quarters are free
	payloads  int  // payload bytes of the lines under way
	perClient map[gateway.ClientID]int
	expiry    *time.Timer // of the first deadline; nil while no call has been started
	armed     bool
	gaveUp    bool // calls are ended as soon as they begin
	summary   BulkSummary

	pending []byte
	closed  bool
	err     error // of the first failed write; later answers are dropped
}

func newBulkAnswers(w http.ResponseWriter) *bulkAnswers {
	a := &bulkAnswers{w: w, wire: http.NewResponseController(w), written: make(chan struct{}), hurry: make(chan struct{}, 1),
		perClient: make(map[gateway.ClientID]int)}
	a.progress.L, a.changed.L = &a.mu, &a.mu
	return a
}

// enter makes a line with a payload of size bytes the last one under way, once
// there is room.
func (a *bulkAnswers) enter(number int, key string, size int) *bulkLine {
	l := &bulkLine{BulkResult: BulkResult{Line: number, Key: key}, answers: a, size: size}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.full = a.next-a.first == bulkWindow
	for a.full || a.payloads+size > bulkPayloads || len(a.pending) >= bulkPending && a.err == nil {
		a.awaitLocked()
	}
	a.payloads += size
	a.lines[a.next%bulkWindow] = l
	a.next++
	return l
}

// enterClient waits until few enough online deliveries to a client are under
// way, to leave its window to others too.
func (a *bulkAnswers) enterClient(l *bulkLine, id gateway.ClientID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.perClient[id] == bulkPerClient {
		a.awaitLocked()
	}
	a.perClient[id]++
	l.client = id
}

// awaitLocked waits for progress, which may depend on a delivery in the batch, so
// it flushes the batch first. Like sync.Cond.Wait it unlocks a.mu while it waits.
func (a *bulkAnswers) awaitLocked() {
	if a.batch.Clients() == 0 {
		a.progress.Wait()
		return
	}
	a.mu.Unlock()
	a.batch.Flush() // answers may come on this goroutine
	a.mu.Lock()
}

// timeOut ends the wait for the device.
func (l *bulkLine) timeOut() {
	if l.push != nil {
		l.push.TimeOut()
		return
	}
	l.call.TimeOut()
}

// started records that l's call has begun and lasts for wait. The call may be over
// already.
func (a *bulkAnswers) started(l *bulkLine, wait time.Duration) {
	a.mu.Lock()
	if !l.done {
		l.isStarted = true
		l.deadline = time.Now().Add(wait)
		a.armLocked(wait)
	}
	over := a.gaveUp && !l.done
	a.mu.Unlock()
	if over {
		l.timeOut()
	}
}

// giveUp ends the calls under way, and those to come as soon as they have begun.
func (a *bulkAnswers) giveUp() {
	a.mu.Lock()
	a.gaveUp = true
	var over []*bulkLine
	for i := a.first; i < a.next; i++ {
		if l := a.lines[i%bulkWindow]; l.isStarted && !l.done {
			over = append(over, l)
		}
	}
	a.mu.Unlock()
	for _, l := range over {
		l.timeOut()
	}
}

// armLocked sets the timer for the deadline in d, unless it waits for an earlier
// one. All lines wait for as long, so the deadlines rise.
func (a *bulkAnswers) armLocked(d time.Duration) {
	switch {
	case a.armed:
		return
	case a.expiry == nil:
		a.expiry = time.AfterFunc(d, a.expire)
	default:
		a.expiry.Reset(d)
	}
	a.armed = true
}

// expire ends the calls whose time is over.
func (a *bulkAnswers) expire() {
	now := time.Now()
	a.mu.Lock()
	a.armed = false
	var over []*bulkLine
	for i := a.first; i < a.next; i++ {
		l := a.lines[i%bulkWindow]
		if l.done || !l.isStarted {
			continue
		}
		if l.deadline.After(now) {
			a.armLocked(l.deadline.Sub(now))
			break
		}
		over = append(over, l)
	}
	a.mu.Unlock()
	for _, l := range over {
		l.timeOut()
	}
}

// answered marks l, and appends the answers whose turn has come.
func (a *bulkAnswers) answered(l *bulkLine) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l.done = true
	a.payloads -= l.size
	a.release(l.size)
	if l.client != "" {
		if n := a.perClient[l.client] - 1; n > 0 {
			a.perClient[l.client] = n
		} else {
			delete(a.perClient, l.client)
		}
	}
	for a.first < a.next {
		slot := &a.lines[a.first%bulkWindow]
		if !(*slot).done {
			break
		}
		a.appendLocked(&(*slot).BulkResult)
		*slot = nil
		a.first++
	}
	if !a.full || a.next-a.first <= bulkWindow/4 {
		a.full = false
		a.progress.Signal()
	}
	if a.first == a.next {
		a.flushNowLocked() // nothing more comes before the caller's next line
	}
}

// appendLocked counts an answer and puts it behind the others.
func (a *bulkAnswers) appendLocked(r *BulkResult) {
	a.summary.Lines++
	if r.Problem != nil {
		a.summary.Failed++
	} else {
		a.summary.Accepted++
	}
	if b, ok := appendBulkResult(a.pending, r); ok {
		a.putLocked(b)
		return
	}
	a.encodeLocked(r)
}

// encodeLocked appends v as a line.
func (a *bulkAnswers) encodeLocked(v any) {
	e := encoders.Get().(*encoder)
	defer e.release()
	e.encode(v)
	a.putLocked(append(a.pending, e.buf.Bytes()...))
}

// putLocked replaces a.pending by a longer slice.
func (a *bulkAnswers) putLocked(pending []byte) {
	if a.err != nil {
		return
	}
	if len(a.pending) == 0 {
		a.changed.Signal()
	}
	a.pending = pending
	if len(pending) >= flushAt {
		a.flushNowLocked()
	}
}

// flushNowLocked makes the writer wait for no more answers.
func (a *bulkAnswers) flushNowLocked() {
	select {
	case a.hurry <- struct{}{}:
	default:
	}
}

// add appends the summary, which is no answer to a line.
func (a *bulkAnswers) add(v any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.encodeLocked(v)
}

// failed reports whether the caller can no longer be answered.
func (a *bulkAnswers) failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err != nil
}

// wait returns when every line is answered, with their counts.
func (a *bulkAnswers) wait() BulkSummary {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.first < a.next {
		a.progress.Wait()
	}
	if a.expiry != nil {
		a.expiry.Stop()
	}
	return a.summary
}

// start launches the writer, which ends in close.
func (a *bulkAnswers) start() { go a.write() }

// close writes the pending answers, ends the writer and returns its error.
func (a *bulkAnswers) close() error {
	a.mu.Lock()
	a.closed = true
	a.changed.Signal()
	a.flushNowLocked()
	a.mu.Unlock()
	<-a.written
	return a.err
}

const (
	// flushAt is how many bytes of answers are written without being waited for.
	flushAt = 32 << 10
	// flushDelay is how long an answer waits for others while lines are under way,
	// so that they share a write.
	flushDelay = 2 * time.Millisecond
)

func (a *bulkAnswers) write() {
	defer close(a.written)
	pause := time.NewTimer(flushDelay)
	defer pause.Stop()
	var batch []byte
	for a.pendingAny() {
		pause.Reset(flushDelay)
		select {
		case <-a.hurry:
		case <-pause.C:
		}
		batch = a.take(batch[:0])
		if len(batch) == 0 {
			continue // the answers that hurry announced have been written
		}
		a.wire.SetWriteDeadline(time.Now().Add(bulkTimeout)) // writers in memory have none
		_, err := a.w.Write(batch)
		if err == nil {
			err = a.wire.Flush()
		}
		if err != nil {
			a.fail(err)
		}
	}
}

// pendingAny waits until there is something to write; false at the end.
func (a *bulkAnswers) pendingAny() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.pending) == 0 && !a.closed {
		a.changed.Wait()
	}
	return len(a.pending) > 0
}

// take swaps the pending answers for an empty buffer.
func (a *bulkAnswers) take(empty []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	batch := a.pending
	a.pending = empty
	a.progress.Signal()
	return batch
}

func (a *bulkAnswers) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	a.pending = nil
	a.progress.Signal()
}
