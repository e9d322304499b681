// Package audit records the changes that callers make: one line of JSON for each
// write to the API, without secrets and payloads.
//
// Recording does not delay the caller. Entries go through a bounded queue to one
// goroutine. If the disk is full or slow, entries are lost; their number is
// logged, and recorded as soon as the log can be written again. A line is passed
// to the operating system at once and synced within a second. A power cut may
// lose the last second and the time of a sync; a crash of the process loses only
// the queue.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Entry is one write. The tags are the members of a line of the file.
type Entry struct {
	At      time.Time `json:"time"`
	Who     string    `json:"who"`               // id of the key, "" if the API needs none
	Name    string    `json:"name"`              // the key's name
	What    string    `json:"msg"`               // one of the constants below
	Target  string    `json:"target"`            // the client, audience, message or key that was changed
	From    string    `json:"from"`              // address of the caller
	Request string    `json:"request_id"`        // id of the request, as in the log and in problems
	Caller  string    `json:"caller_request_id"` // the X-Request-Id of the caller, "" for none
	Via     string    `json:"via"`               // Console for a call by the cookie of a browser, "" for one with a key
	Count   int       `json:"count"`             // number of refusals in one entry; 0 for one
	Result  string    `json:"result"`            // "ok", or the code of the problem
	Message string    `json:"message_id"`        // id of the message, if there is one
	// Idempotency is a hash of the idempotency key, so that repeats can be
	// recognized.
	Idempotency string `json:"idempotency_key_hash"`
}

// Values of Entry.What.
const (
	Push         = "push"
	Cancel       = "cancel"
	UpdateClient = "client.update"
	CreateClient = "client.create"
	Disconnect   = "client.disconnect"
	Forget       = "client.forget"
	Probe        = "client.probe"
	CreateKey    = "key.create"
	RevokeKey    = "key.revoke"
	CreateToken  = "token.create"
	RevokeToken  = "token.revoke"

	DismissRefused = "refused.dismiss" // an entry of the refused devices

	StartTrace = "trace.start"
	EndTrace   = "trace.end"

	PutConsumer    = "consumer.put"
	DeleteConsumer = "consumer.delete"

	CreateWebhook = "webhook.create"
	UpdateWebhook = "webhook.update"
	DeleteWebhook = "webhook.delete"
	TestWebhook   = "webhook.test"
	ReplayWebhook = "webhook.replay"

	OpenSession     = "session.open"
	CloseSession    = "session.close"
	PutSimulator    = "simulator.put"
	DeleteSimulator = "simulator.delete"

	Refused = "refused" // a write without the key or the scope for it
)

// Values of Entry.Result besides the codes of problems.
const (
	OK   = "ok"   // the write was made
	Held = "held" // the entry stands for Count refusals of a source with too many entries
)

// Console is the value of Entry.Via.
const Console = "console"

// queueLen bounds the entries that wait to be written; more are lost.
const queueLen = 8192

// Log is an audit log. A nil Log records nothing.
type Log struct {
	pushes bool
	filed  bool // in a file, of which the next start reads the end
	out    writer
	log    *slog.Logger // for losses

	queue    chan Entry
	lost     atomic.Uint64 // entries since the start
	unsynced atomic.Uint64 // entries flushed since the last sync began
	done     sync.WaitGroup
	once     sync.Once
	ended    chan struct{} // closed by Close: no entry comes any more
	recent   recent

	mu         sync.Mutex
	complained time.Time // time of the last loss in the log
}

// writer collects lines; flush writes them.
type writer interface {
	write(Entry)
	full() bool   // flush now
	flush() error // after an error some or all collected lines are lost
	sync() error  // makes flushed entries durable; another goroutine may call it
	close() error // syncs first
}

// ToLog is the path that means the ordinary log.
const ToLog = "-"

// Open opens an audit log that appends to the file at path. With ToLog the
// entries go to log, with "" too, but without pushes, which are many. Close
// closes it.
func Open(path string, log *slog.Logger) (*Log, error) {
	l := newLog(nil, path != "", log)
	if path == "" || path == ToLog {
		l.out = &logWriter{log: log}
	} else {
		f, err := openFile(path)
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		l.out, l.filed = f, true
		if err := l.recent.readTail(path); err != nil { // a log that may be written and not read
			log.Warn("the audit log cannot be read; its earlier entries are not shown", "cause", err)
		}
	}
	l.start()
	return l, nil
}

func newLog(out writer, pushes bool, log *slog.Logger) *Log {
	return &Log{out: out, pushes: pushes, log: log, queue: make(chan Entry, queueLen), ended: make(chan struct{})}
}

// start begins the goroutines that Close ends.
func (l *Log) start() {
	l.recent.begin(time.Now())
	l.done.Go(l.run)
	l.done.Go(l.runSync)
}

// Wants reports whether an entry of this kind is recorded. Callers need not
// collect an entry that is not.
func (l *Log) Wants(what string) bool { return l != nil && (l.pushes || what != Push) }

// errQueueFull is why an entry was lost that was not written.
var errQueueFull = errors.New("too many entries wait to be written")

// Record queues an entry; it never waits. After Close it drops the entry.
func (l *Log) Record(e Entry) {
	if !l.Wants(e.What) {
		return
	}
	select {
	case l.queue <- e:
	default:
		if lost, due := l.lose(1); due {
			go l.log.Error("the audit log takes no entries; some are lost", "cause", errQueueFull, "lost", lost) // this log may take nothing either
		}
	}
}

// Lost is how many entries were lost since the start. Of a batch that failed, all
// entries count, although some may be in the file.
func (l *Log) Lost() uint64 {
	if l == nil {
		return 0
	}
	return l.lost.Load()
}

// closePatience bounds the wait of Close for a file that takes nothing.
const closePatience = 5 * time.Second

// Close writes the queued entries, syncs them and ends the log. Entries that cannot be
// written in time are lost, which is an error.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.once.Do(func() { close(l.ended) })
	closed := make(chan error, 1)
	go func() {
		l.done.Wait()
		closed <- l.out.close()
	}()
	late := time.NewTimer(closePatience)
	defer late.Stop()
	select {
	case err := <-closed:
		return err
	case <-late.C:
		return fmt.Errorf("the file takes no entries; the last %d and those being written may be lost", len(l.queue))
	}
}

// complainEvery bounds how often a loss is logged.
const complainEvery = time.Minute

// complain counts n entries as lost and logs the loss.
func (l *Log) complain(text string, n uint64, cause error) {
	if lost, due := l.lose(n); due {
		l.log.Error(text, "cause", cause, "lost", lost)
	}
}

// lose counts n entries as lost. It returns how many were lost since the start, and
// whether to log that now.
func (l *Log) lose(n uint64) (lost uint64, due bool) {
	lost = l.lost.Add(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	if due = time.Since(l.complained) >= complainEvery; due {
		l.complained = time.Now()
	}
	return lost, due
}

// run writes entries until Close, in batches if they come fast.
func (l *Log) run() {
	told := uint64(0)  // losses in the record so far
	batch := uint64(0) // entries that are not flushed
	for {
		var e Entry
		select {
		case e = <-l.queue:
		case <-l.ended:
			select {
			case e = <-l.queue:
			default:
				return // every entry is flushed
			}
		}
		if n := l.lost.Load(); n != told {
			l.add(Entry{At: e.At, What: "lost", Target: fmt.Sprintf("up to %d entries since the start", n), Result: "lost"})
			told = n
		}
		l.add(e)
		batch++
		if len(l.queue) > 0 && !l.out.full() {
			continue
		}
		if err := l.out.flush(); err != nil {
			l.complain("the audit log cannot be written; entries are lost", batch, err) // the batch may include the line about earlier losses
		} else {
			l.unsynced.Add(batch)
		}
		batch = 0
	}
}

func (l *Log) add(e Entry) {
	l.out.write(e)
	l.recent.add(e)
}

// syncEvery is how often the record is synced while it has new lines.
const syncEvery = time.Second

// runSync syncs beside run, so that a slow disk does not hold up the queue.
func (l *Log) runSync() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-tick.C:
			l.sync()
		}
	}
}

// sync makes the flushed entries durable. After a failed sync they count as lost,
// because the operating system may have dropped them.
func (l *Log) sync() {
	n := l.unsynced.Swap(0)
	if n == 0 {
		return
	}
	if err := l.out.sync(); err != nil {
		l.complain("the audit log cannot be synced; entries may be lost", n, err)
	}
}

// record returns an entry as a line of a log; empty members are left out.
func (e *Entry) record() slog.Record {
	list := append(make([]slog.Attr, 0, 12), slog.Bool("audit", true))
	for _, a := range [...][2]string{{"who", e.Who}, {"name", e.Name}, {"target", e.Target}, {"from", e.From}, {"request_id", e.Request}, {"caller_request_id", e.Caller}, {"via", e.Via},
		{"result", e.Result}, {"message_id", e.Message}, {"idempotency_key_hash", e.Idempotency}} {
		if a[1] != "" {
			list = append(list, slog.String(a[0], a[1]))
		}
	}
	if e.Count > 0 {
		list = append(list, slog.Int("count", e.Count))
	}
	r := slog.NewRecord(e.At, slog.LevelInfo, e.What, 0)
	r.AddAttrs(list...)
	return r
}

// logWriter writes to the ordinary log.
type logWriter struct {
	log *slog.Logger
	err error // of the writes since the last flush
}

func (w *logWriter) write(e Entry) {
	w.err = errors.Join(w.err, w.log.Handler().Handle(context.Background(), e.record()))
}

func (w *logWriter) flush() error {
	err := w.err
	w.err = nil
	return err
}

func (*logWriter) full() bool   { return true }
func (*logWriter) sync() error  { return nil }
func (*logWriter) close() error { return nil }
